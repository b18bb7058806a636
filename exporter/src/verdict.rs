//! The verdict on a region: what became of its writer, from facts alone.
//!
//! Pure: the facts are gathered in `reader/judgement.rs`, and here they become one word. Nothing is guessed: a region
//! whose lock can't be asked gives an error there, not a verdict here.

use serde::Serialize;
use tachograph_layout::RegionState;

/// What became of the writer of a region.
///
/// ```
/// use tachograph_exporter::Verdict;
/// assert_eq!(Verdict::Crashed.as_str(), "crashed");
/// assert!(Verdict::Running.is_alive() && Verdict::Hung.is_alive() && !Verdict::Copy.is_alive());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The writer holds its lock.
    Running,
    /// The writer holds its lock, and broke a promise of its own.
    Hung,
    /// The writer shut the region down in an orderly way.
    Closed,
    /// The writer is gone and did not close the region.
    Crashed,
    /// The file is away from its lock: it is told with the state it had, and nothing is said of its writer.
    #[default]
    Copy,
}

impl Verdict {
    /// The word that people and JSON read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Hung => "hung",
            Self::Closed => "closed",
            Self::Crashed => "crashed",
            Self::Copy => "copy",
        }
    }

    /// Whether the writer lives: running or hung.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Hung)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a verdict is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The file stands in an `archive` directory.
    pub(crate) archived: bool,
    /// The file is called `<header name>.tacho`, with a lock file beside it.
    pub(crate) beside_lock: bool,
    /// Another process holds that lock.
    pub(crate) lock_held: bool,
    /// The path no longer leads to the file that is held open: another region stands there.
    pub(crate) replaced: bool,
    /// The region was written since this machine's boot.
    pub(crate) this_boot: bool,
    /// The region's own word on its state; `None` where it is no known state.
    pub(crate) state: Option<RegionState>,
    /// A promise of the writer is broken, if it lives.
    pub(crate) promise_broken: bool,
}

impl Facts {
    /// The rule. An archived file, one whose place another took, or one from another boot is dead by definition.
    pub(crate) const fn verdict(self) -> Verdict {
        let closed = matches!(self.state, Some(RegionState::Closed));
        let dead = self.archived || self.replaced;
        if !dead && !self.beside_lock {
            return Verdict::Copy;
        }
        // A closed region whose lock is held is one that its name's next writer is about to archive.
        if closed {
            return Verdict::Closed;
        }
        if dead || !self.this_boot || !self.lock_held {
            return Verdict::Crashed;
        }
        if self.promise_broken { Verdict::Hung } else { Verdict::Running }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIVE: Facts = Facts {
        archived: false,
        beside_lock: true,
        lock_held: true,
        replaced: false,
        this_boot: true,
        state: Some(RegionState::Live),
        promise_broken: false,
    };

    #[test]
    fn each_fact_turns_the_verdict() {
        assert_eq!(ALIVE.verdict(), Verdict::Running);
        assert_eq!(Facts { state: Some(RegionState::Building), ..ALIVE }.verdict(), Verdict::Running);
        let hung = Facts { promise_broken: true, ..ALIVE };
        assert_eq!(hung.verdict(), Verdict::Hung);
        assert_eq!(Facts { lock_held: false, ..hung }.verdict(), Verdict::Crashed, "the dead promise nothing");
        assert_eq!(Facts { lock_held: false, ..ALIVE }.verdict(), Verdict::Crashed);
        assert_eq!(Facts { this_boot: false, ..ALIVE }.verdict(), Verdict::Crashed);
        assert_eq!(Facts { replaced: true, ..ALIVE }.verdict(), Verdict::Crashed);
        assert_eq!(Facts { archived: true, beside_lock: false, ..ALIVE }.verdict(), Verdict::Crashed);
        assert_eq!(Facts { beside_lock: false, ..ALIVE }.verdict(), Verdict::Copy);
        let closed = Facts { state: Some(RegionState::Closed), lock_held: false, ..ALIVE };
        assert_eq!(closed.verdict(), Verdict::Closed);
        assert_eq!(Facts { archived: true, ..closed }.verdict(), Verdict::Closed);
        assert_eq!(Facts { state: Some(RegionState::Unwound), lock_held: false, ..ALIVE }.verdict(), Verdict::Crashed);
        assert_eq!(Facts { state: None, lock_held: false, ..ALIVE }.verdict(), Verdict::Crashed);
    }
}
