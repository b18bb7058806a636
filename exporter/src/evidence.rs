//! What a region holds beside its values: who was doing what, the promises of loops, the last lines of the log, panics,
//! and the signal that it died of. None of these are metrics, and no metrics format shows them.
//!
//! Plain and owned; made by [`crate::RegionReader::evidence`] (`evidence/read.rs`), shown by `ls`, `show` and the reports.
//! Texts hold no character that drives a terminal. Ages count on the monotonic clock of the boot that the region was
//! written in, so that a clock that was set never makes them negative.

mod death;
mod read;
mod signal;

use serde::{Serialize, Serializer};

use crate::json::Now;

pub(crate) use read::{activities, fatal, pulses, read, stuck};

/// A moment on both clocks.
///
/// ```
/// use tachograph_exporter::evidence::Moment;
/// let (before, after) = (Moment { realtime_ns: 900, monotonic_ns: 10 }, Moment { realtime_ns: 5, monotonic_ns: 40 });
/// assert_eq!(after.since_ns(before.monotonic_ns), 30, "though somebody set the clock back");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Moment {
    /// Nanoseconds since the Unix epoch, by the clock as it was set then.
    pub realtime_ns: u64,
    /// The monotonic clock: comparable within one boot.
    pub monotonic_ns: u64,
}

impl Moment {
    /// Nanoseconds since a time of the monotonic clock of the same boot; 0 where that is later.
    #[must_use]
    pub const fn since_ns(self, monotonic_ns: u64) -> u64 {
        self.monotonic_ns.saturating_sub(monotonic_ns)
    }
}

impl From<Now> for Moment {
    fn from(now: Now) -> Self {
        Self { realtime_ns: now.realtime_ns, monotonic_ns: now.monotonic_ns }
    }
}

/// What a region holds beside its values.
///
/// ```
/// use tachograph_exporter::evidence::Evidence;
/// let nothing = Evidence::default();
/// assert!(nothing.fatal.is_none() && nothing.notes.lines.is_empty());
/// assert_eq!(serde_json::to_value(&nothing).unwrap()["panics"]["seen"], 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Evidence {
    /// What ages count to: now where the writer lives, else its last sign of life.
    pub until: Moment,
    /// Who was doing what.
    pub activities: Activities,
    /// The promises of loops.
    pub pulses: Pulses,
    /// The last lines of the log.
    pub notes: Notes,
    /// Panics, survived or not.
    pub panics: Panics,
    /// Whether panics and fatal signals are recorded at all; `None` where the region does not tell.
    pub crash_hooks: Option<bool>,
    /// The signal that the writer died of.
    pub fatal: Option<Fatal>,
    /// A thread that began to record a fatal signal and did not come to its end, by the kernel's id.
    pub fatal_unfinished: Option<u64>,
}

/// The activities of a region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Activities {
    /// By slot.
    pub actors: Vec<Activity>,
    /// Actors that found no slot.
    pub overflows: u64,
    /// Slots that were half written, or damaged.
    pub left_out: u64,
}

/// An actor: who it is and what it is, or was, doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Activity {
    /// Number of its slot.
    pub slot: u64,
    /// Type and id.
    #[serde(flatten)]
    pub actor: Actor,
    /// Whether the actor still runs.
    pub state: ActivityState,
    /// The message that it is busy with; `None` where it is idle.
    pub doing: Option<String>,
    /// Since when it is doing that, or idle, on the monotonic clock, as coarse as the housekeeping tick. It may belong
    /// to the message before or after `doing`.
    pub since_monotonic_ns: u64,
    /// Nanoseconds that it was busy with this message at [`Evidence::until`]; `None` where it is idle.
    pub busy_ns: Option<u64>,
    /// Messages in its mailbox.
    pub mailbox_depth: u64,
    /// Messages that its mailbox holds; 0 where it has no bound.
    pub mailbox_capacity: u64,
    /// Messages handled.
    pub handled: u64,
    /// When the slot was claimed: nanoseconds since the Unix epoch.
    pub claimed_realtime_ns: u64,
}

/// Type and id of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Actor {
    /// Type of the actor.
    #[serde(rename = "type")]
    pub actor_type: String,
    /// Its id.
    pub id: String,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.actor_type, self.id)
    }
}

/// Whether an actor still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ActivityState {
    /// It does, or did when the writer died.
    #[default]
    Live,
    /// It ended.
    Ended,
    /// It ended while its thread was unwinding: it panicked, or whoever owned it did.
    Unwound,
}

/// Why an actor counts as stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stuck {
    /// It is busy with one message for longer than it may be.
    Busy,
    /// It is busy, and its mailbox is full.
    Full,
}

impl Activity {
    /// Why the actor is stuck, where it is: it runs, is busy, and either is so with one message for longer than
    /// `longest_ns`, or has a full mailbox.
    ///
    /// ```
    /// use tachograph_exporter::evidence::{Activity, Stuck};
    /// let idle = Activity { mailbox_depth: 4, mailbox_capacity: 4, ..Activity::default() };
    /// assert_eq!(idle.stuck(10), None);
    /// let busy = Activity { busy_ns: Some(3), ..idle };
    /// assert_eq!(busy.stuck(10), Some(Stuck::Full));
    /// assert_eq!(Activity { busy_ns: Some(11), ..busy }.stuck(10), Some(Stuck::Busy));
    /// ```
    #[must_use]
    pub const fn stuck(&self, longest_ns: u64) -> Option<Stuck> {
        match (self.state, self.busy_ns) {
            (ActivityState::Live, Some(busy)) if busy > longest_ns => Some(Stuck::Busy),
            (ActivityState::Live, Some(_))
                if self.mailbox_capacity > 0 && self.mailbox_depth >= self.mailbox_capacity =>
            {
                Some(Stuck::Full)
            }
            _ => None,
        }
    }
}

/// The pulses of a region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pulses {
    /// By slot.
    pub loops: Vec<Pulse>,
    /// Slots that were half written, or damaged.
    pub left_out: u64,
}

/// A loop's promise to come round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pulse {
    /// Name of the loop.
    pub name: String,
    /// How often it came round.
    pub count: u64,
    /// When it last did, on the monotonic clock.
    pub beat_monotonic_ns: u64,
    /// How old the last beat may be.
    pub max_age_ns: u64,
    /// How old it was at [`Evidence::until`].
    pub age_ns: u64,
    /// Whether that is older than it may be.
    pub broken: bool,
}

/// The ring of notes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Notes {
    /// Those that are kept, oldest first.
    pub lines: Vec<Note>,
    /// Notes ever written.
    pub written: u64,
    /// Older ones that the ring has no room for.
    pub lost: u64,
    /// Slots that were half written, or damaged.
    pub left_out: u64,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Note {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// How severe.
    pub level: Level,
    /// Kernel's id of the thread.
    pub thread_id: u64,
    /// The text.
    pub text: String,
}

/// How severe a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// For information.
    #[default]
    Info,
    /// For who looks for a fault.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    /// The word that people and JSON read.
    ///
    /// ```
    /// assert_eq!(tachograph_exporter::evidence::Level::Warn.as_str(), "warn");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The panics of a region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Panics {
    /// The first one of the process' life. It may stand in `latest`, too.
    pub first: Option<Panic>,
    /// The latest ones, oldest first.
    pub latest: Vec<Panic>,
    /// Panics ever seen.
    pub seen: u64,
    /// Those between the first and the latest that are not kept.
    pub lost: u64,
    /// Slots that were half written, or damaged.
    pub left_out: u64,
}

impl Panics {
    /// Those that are kept, oldest first, each once.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Panic> {
        let first = self.first.iter().filter(|first| self.latest.iter().all(|one| one.number != first.number));
        first.chain(&self.latest)
    }
}

/// A panic, survived or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Panic {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// Who.
    #[serde(flatten)]
    pub by: Culprit,
    /// What it said.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
    /// Where the thread was, innermost first.
    pub frames: Vec<Frame>,
    /// How many of the innermost frames are the recorder's and the runtime's, and not where the panic was.
    pub runtime_frames: u64,
}

/// The signal that a writer died of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Fatal {
    /// When.
    pub at: Moment,
    /// Signal number.
    pub signal: u32,
    /// Its name, such as `SIGSEGV`.
    pub name: String,
    /// `si_code`.
    pub code: i32,
    /// Its name, such as `SEGV_MAPERR`; `None` where this version knows none.
    pub code_name: Option<String>,
    /// The address that was at fault, where the signal tells of one.
    #[serde(serialize_with = "hex_or_null")]
    pub address: Option<u64>,
    /// Who sent it, where a process did: the writer itself where it called `abort`.
    pub sender: Option<Sender>,
    /// Instruction pointer.
    #[serde(serialize_with = "hex")]
    pub instruction: u64,
    /// Less the load address of the executable; `None` where it is outside of that.
    #[serde(serialize_with = "hex_or_null")]
    pub instruction_offset: Option<u64>,
    /// Stack pointer.
    #[serde(serialize_with = "hex")]
    pub stack: u64,
    /// Whether the thread had a panic that it was not over with; `None` where the writer does not tell.
    pub panicking: Option<bool>,
    /// Who.
    #[serde(flatten)]
    pub by: Culprit,
    /// Where the thread was, innermost first.
    pub frames: Vec<Frame>,
}

/// The process that sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sender {
    /// Its id, in the writer's pid namespace; 0 where it is not visible there.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// The thread that panicked or raised a signal, and the actor that it ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Culprit {
    /// Kernel's id of the thread.
    pub thread_id: u64,
    /// Its name.
    pub thread_name: String,
    /// Slot of the activity that the thread marked.
    pub activity: Option<u64>,
    /// The actor of that slot; `None` where the slot went to another one later.
    pub actor: Option<Actor>,
}

/// A return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Frame {
    /// As it was in the process.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// Less the load address of the executable: what a symbolizer wants, with the build id. `None` where it is below
    /// that, or 4 GiB and more behind: in a shared library, which the region does not name.
    #[serde(serialize_with = "hex_or_null")]
    pub offset: Option<u64>,
}

/// As text, since JSON's numbers lose the low bits of an address.
fn hex<S: Serializer>(word: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{word:#x}"))
}

#[allow(clippy::ref_option, reason = "the form that serde calls")]
fn hex_or_null<S: Serializer>(word: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match word {
        Some(word) => hex(word, serializer),
        None => serializer.serialize_none(),
    }
}
