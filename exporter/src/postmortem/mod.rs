//! The report on a region: what died, how and when, who was doing what, what went quiet first, and what is not known.
//!
//! The facts are gathered once (`gather.rs`, `history.rs`) into one [`Report`], which text, JSON and HTML render; so all
//! three say the same. It works on living, dead, archived and copied regions, on another machine too: times and ages are
//! the region's own. It never guesses a cause; what it infers stands apart, and what it does not know is said.
//!
//! Every byte that it is made of is foreign: lists are bounded by [`MOST`], texts are escaped where they are rendered.

mod burst;
mod charts;
mod death;
mod frames;
mod gather;
mod history;
mod html;
mod inference;
mod known;
mod neighbours;
mod text;
mod timeline;
mod words;

use serde::Serialize;

use crate::Verdict;
use crate::cause::Cause;
use crate::diff::Name;
use crate::evidence::{Activity, Fatal, Panic};
use crate::recording::{MemoryFacts, ProcessFacts};
use crate::verify::Finding;

pub use burst::{Burst, Other};
pub use charts::Chart;
pub use frames::Frames;
pub use gather::Subject;
pub use history::{Extreme, Moved, Silent, Span};
pub use html::page;
pub use known::Known;
pub use neighbours::Neighbours;
pub use timeline::{Line, Source};

/// Most entries of each list of a report; what is beyond is counted.
pub const MOST: usize = 200;

/// What is known of a region's end, or of how it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Always 1.
    pub version: u32,
    /// Name, when, and which burst of crashes it belongs to.
    pub headline: Headline,
    /// What it died of.
    pub died_of: DiedOf,
    /// Where it was when it died.
    pub frames: Option<Frames>,
    /// Panics that it survived.
    pub caught_panics: List<Panic>,
    /// The process, its build, its host.
    pub process: Process,
    /// Its memory, as the flight recorder saw it last.
    pub memory: Option<Memory>,
    /// What became of its name afterwards.
    pub successor: Option<Successor>,
    /// Whether it was made of a case.
    pub from_case: bool,
    /// What all this stands on.
    pub evidence: Basis,
    /// What happened, in order.
    pub timeline: List<Line>,
    /// Actors that were busy, stuck or had panicked.
    pub unfinished: List<Unfinished>,
    /// Series that went silent, the first one first; `None` where nothing was recorded.
    pub stopped_first: Option<List<Silent>>,
    /// Series that moved most in the last 10 s; `None` where nothing was recorded.
    pub moved_most: Option<List<Moved>>,
    /// Last values at an extreme.
    pub extremes: List<Extreme>,
    /// What it may mean: inferred, not known.
    pub may_mean: Vec<String>,
    /// What the data does not link.
    pub not_linked: Vec<String>,
    /// What is not known, each with how it could have been.
    pub not_known: Vec<String>,
    /// Recorded series to draw.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
}

impl Report {
    /// Whether it tells of a crash, a hang or damage: exit code 1.
    #[must_use]
    pub fn found(&self) -> bool {
        let clean = matches!(self.headline.verdict, Verdict::Running | Verdict::Closed)
            || (self.headline.verdict == Verdict::Copy && !self.headline.died);
        let clean = clean && self.headline.copied_as != Some(Verdict::Hung);
        !clean || !self.evidence.findings.entries.is_empty()
    }
}

/// Entries, and how many more there were.
#[derive(Debug, Clone, Serialize)]
pub struct List<T> {
    /// At most [`MOST`].
    pub entries: Vec<T>,
    /// How many more.
    pub more: u64,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), more: 0 }
    }
}

impl<T> List<T> {
    /// The first of them.
    fn first(mut entries: Vec<T>, most: usize) -> Self {
        let more = entries.len().saturating_sub(most) as u64;
        entries.truncate(most);
        Self { entries, more }
    }

    /// The last of them.
    fn last(mut entries: Vec<T>, most: usize) -> Self {
        let more = entries.len().saturating_sub(most);
        entries.drain(..more);
        Self { entries, more: more as u64 }
    }
}

/// Which region, and when.
#[derive(Debug, Clone, Serialize)]
pub struct Headline {
    /// The region's name.
    pub region: String,
    /// Where its file was read.
    pub path: String,
    /// What became of its writer.
    pub verdict: Verdict,
    /// Whether the region itself says that its writer came to an end out of order, or its lock does.
    pub died: bool,
    /// Why it crashed.
    pub cause: Option<Cause>,
    /// The same in a few words.
    pub why: Option<String>,
    /// Of a case that was written while its writer lived: running or hung, as it was then.
    pub copied_as: Option<Verdict>,
    /// When it died, or the moment of this report: seconds since the Unix epoch, by the writer's clock.
    pub at_seconds: f64,
    /// Whether that moment was noted as it came; else it ended then or shortly after, within its ticks' period or so.
    pub at_exactly: bool,
    /// How long it had lived.
    pub lived_seconds: f64,
    /// The crashes around it.
    pub burst: Option<Burst>,
    /// Other regions that crashed within seconds of it.
    pub others: List<Other>,
}

/// What it died of.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiedOf {
    /// The panic that ended it: of the thread that raised the signal, or of the main thread, just before the end.
    pub panic: Option<Panic>,
    /// Panics of the same thread while that one was unwinding, up to the one by which the runtime gave up.
    pub further_panics: Vec<Panic>,
    /// The signal.
    pub signal: Option<Fatal>,
    /// Whether the address at fault is within a page of the stack pointer, as where a stack overflows.
    pub at_stack_pointer: bool,
    /// A thread that began to record a signal and did not come to its end.
    pub unfinished_by_thread: Option<u64>,
}

/// The process.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Its id, in its own pid namespace.
    pub pid: u32,
    /// Path of its executable.
    pub exe: String,
    /// The application's version.
    pub version: String,
    /// Build id of the executable, in hexadecimal.
    pub build_id: String,
    /// Host name.
    pub host: String,
    /// Whether it ran in this machine's present boot.
    pub this_boot: bool,
    /// When it started: seconds since the Unix epoch.
    pub started_seconds: f64,
    /// How often it was restarted with its counters continued.
    pub restarts: u64,
}

/// Its memory.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// When that was: seconds since the Unix epoch.
    pub at_seconds: f64,
    /// The process.
    pub process: Option<ProcessFacts>,
    /// Its memory cgroup.
    pub cgroup: Option<MemoryFacts>,
    /// Out-of-memory kills that the cgroup counted from the first sample to the last.
    pub oom_kills_meanwhile: Option<u64>,
}

/// The region that had the name next.
#[derive(Debug, Clone, Serialize)]
pub struct Successor {
    /// When it was built: seconds since the Unix epoch.
    pub started_seconds: f64,
    /// How long after the death.
    pub after_seconds: f64,
    /// Its process.
    pub pid: u32,
    /// What became of it.
    pub verdict: Verdict,
}

/// What the report stands on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Basis {
    /// What `tacho verify` finds.
    pub findings: List<Finding>,
    /// What was recorded of it.
    pub history: Option<Span>,
    /// The case about it: the one file for the ticket.
    pub case: Option<String>,
    /// Notes that the ring had no room for.
    pub notes_lost: u64,
    /// Panics that the ring had no room for.
    pub panics_lost: u64,
    /// Actors that found no activity slot.
    pub actors_untold: u64,
    /// Records that were half written or damaged.
    pub left_out: u64,
    /// Whether a handler was there to record panics and signals is not stored; whether anything was ever recorded is.
    pub anything_recorded: bool,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// An actor that was not idle.
#[derive(Debug, Clone, Serialize)]
pub struct Unfinished {
    /// The actor and what it was doing.
    #[serde(flatten)]
    pub activity: Activity,
    /// What is the matter with it.
    pub state: UnfinishedState,
    /// The period of the clock that marks when a message began, in seconds: it began up to that much later than is told.
    pub clock_seconds: f64,
    /// What it usually takes for a message, where the recording tells: its median in seconds.
    pub usual_seconds: Option<f64>,
}

/// What is the matter with an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum UnfinishedState {
    /// It panicked.
    Panicked,
    /// Busy for longer than it may be, or with a full mailbox.
    Stuck,
    /// Its mailbox is full.
    Full,
    /// Busy.
    Busy,
}

/// A series, as reports name it.
pub(crate) fn series_name(name: &str, labels: &str) -> Name {
    Name { name: name.to_owned(), labels: labels.to_owned() }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
