//! Why a crashed writer ended, from facts alone: the region's own words first, then what the kernel says of its process.
//!
//! Pure: the facts are gathered by `reader/judgement.rs` (the region) and `process_image.rs` (the kernel, and regions of
//! the same name). Nothing is guessed: what nobody noted is [`Cause::Killed`], and a panic is never a cause of its own.

use serde::Serialize;
use tachograph_layout::RegionState;

/// Why a crashed writer ended.
///
/// ```
/// use tachograph_exporter::cause::Cause;
/// assert_eq!(Cause::ALL.map(Cause::as_str), ["signal", "exit", "unwound", "exec", "out_of_memory", "killed"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A fatal signal, which the writer recorded.
    Signal,
    /// It called `exit`, or returned from `main`, without closing its region.
    Exit,
    /// Its region was dropped while a panic unwound.
    Unwound,
    /// Its process lives, and runs another program, or the same one anew: `exec`.
    Exec,
    /// It was killed, and its memory cgroup counted an out-of-memory kill meanwhile.
    OutOfMemory,
    /// It was ended from outside (SIGKILL, a signal that it does not record, the machine): nothing else is known.
    Killed,
}

impl Cause {
    /// All causes, in the order in which they are asked for.
    pub const ALL: [Self; 6] = [Self::Signal, Self::Exit, Self::Unwound, Self::Exec, Self::OutOfMemory, Self::Killed];

    /// The word that people, JSON and metrics have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::Unwound => "unwound",
            Self::Exec => "exec",
            Self::OutOfMemory => "out_of_memory",
            Self::Killed => "killed",
        }
    }

    /// The cause with that word.
    ///
    /// ```
    /// use tachograph_exporter::cause::Cause;
    /// assert!(Cause::ALL.iter().all(|cause| Cause::from_word(cause.as_str()) == Some(*cause)));
    /// assert_eq!(Cause::from_word("boredom"), None);
    /// ```
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// What is to be said where the writer's memory cgroup was watched. Only a writer that left no word of its own can
    /// have been killed for want of memory, and only where the count rose between a look while it lived and one after.
    ///
    /// ```
    /// use tachograph_exporter::cause::{Cause, OomKills};
    /// let rose = Some(OomKills { while_alive: 2, after_death: 3 });
    /// assert_eq!(Cause::Killed.given(rose), Cause::OutOfMemory);
    /// assert_eq!(Cause::Signal.given(rose), Cause::Signal, "its own word stands");
    /// assert_eq!(Cause::Killed.given(Some(OomKills { while_alive: 3, after_death: 3 })), Cause::Killed);
    /// assert_eq!(Cause::Killed.given(None), Cause::Killed, "nobody looked");
    /// ```
    #[must_use]
    pub const fn given(self, kills: Option<OomKills>) -> Self {
        match (self, kills) {
            (Self::Killed, Some(kills)) if kills.after_death > kills.while_alive => Self::OutOfMemory,
            _ => self,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the writer's memory cgroup counted as out-of-memory kills: `oom_kill` of `memory.events`, or of
/// `memory.oom_control` in version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct OomKills {
    /// At the last look while the writer lived.
    pub while_alive: u64,
    /// At a look after its death.
    pub after_death: u64,
}

/// What a cause is made of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeathFacts {
    /// A thread claimed the fatal record, and the process did not go on for long after it.
    pub(crate) fatal: bool,
    /// The region's own word on its state.
    pub(crate) state: Option<RegionState>,
    /// The process lives on without the region.
    pub(crate) process_lives: bool,
}

impl DeathFacts {
    /// The rule.
    pub(crate) const fn cause(self) -> Cause {
        match self.state {
            _ if self.fatal => Cause::Signal,
            Some(RegionState::Exited) => Cause::Exit,
            Some(RegionState::Unwound) => Cause::Unwound,
            _ if self.process_lives => Cause::Exec,
            _ => Cause::Killed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_own_words_come_first() {
        let nothing = DeathFacts { state: Some(RegionState::Live), ..DeathFacts::default() };
        assert_eq!(nothing.cause(), Cause::Killed);
        assert_eq!(DeathFacts { process_lives: true, ..nothing }.cause(), Cause::Exec);
        let exited = DeathFacts { state: Some(RegionState::Exited), ..nothing };
        assert_eq!(exited.cause(), Cause::Exit);
        assert_eq!(DeathFacts { process_lives: true, ..exited }.cause(), Cause::Exit, "it is just ending");
        assert_eq!(DeathFacts { fatal: true, ..exited }.cause(), Cause::Signal);
        assert_eq!(DeathFacts { state: Some(RegionState::Unwound), ..nothing }.cause(), Cause::Unwound);
        assert_eq!(DeathFacts { state: None, ..nothing }.cause(), Cause::Killed);
    }
}
