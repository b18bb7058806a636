//! What happened, in one order: notes, panics, the signal, actors, the region's own life, and what the recorder saw, each
//! line with its source. Pure: made of what was gathered.

use serde::Serialize;

use super::history::Found;
use super::{DiedOf, Headline, List, MOST, Successor, Unfinished, UnfinishedState, seconds};
use crate::evidence::{ActivityState, Evidence, Panic};
use crate::table;
use crate::{RegionInfo, Verdict};

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// The region's own state: built, ticked, ended.
    Region,
    /// A line of the application's log.
    Note,
    /// An actor's slot.
    Activity,
    /// A crash slot: a panic or the fatal signal.
    Crash,
    /// The flight recorder.
    Recorder,
}

impl Source {
    /// The word that marks a line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Note => "note",
            Self::Activity => "activity",
            Self::Crash => "crash",
            Self::Recorder => "recorder",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// When: seconds since the Unix epoch.
    pub at_seconds: f64,
    /// Seconds after the moment that the report is on; negative before it.
    pub from_end_seconds: f64,
    /// Where it comes from.
    pub source: Source,
    /// What it was.
    pub text: String,
}

/// Of what the lines are made.
pub(crate) struct Parts<'a> {
    pub(crate) region: &'a RegionInfo,
    pub(crate) headline: &'a Headline,
    pub(crate) died_of: &'a DiedOf,
    pub(crate) evidence: &'a Evidence,
    pub(crate) unfinished: &'a [Unfinished],
    pub(crate) history: Option<&'a Found>,
    pub(crate) successor: Option<&'a Successor>,
}

impl Parts<'_> {
    /// The lines, oldest first; the latest [`MOST`] of them.
    pub(crate) fn lines(&self) -> List<Line> {
        let mut lines = Vec::new();
        let end_ns = (self.headline.at_seconds, self.evidence.until);
        let mut line = |at_seconds: f64, source: Source, text: String| {
            lines.push(Line { at_seconds, from_end_seconds: at_seconds - end_ns.0, source, text });
        };
        let region = self.region;
        line(seconds(region.created_realtime_ns), Source::Region, format!("built by pid {}", region.pid));
        for note in &self.evidence.notes.lines {
            line(seconds(note.at.realtime_ns), Source::Note, format!("{} {}", note.level.as_str(), note.text));
        }
        for panic in self.evidence.panics.all() {
            let what = if self.died_of.is_of(panic) { "panic" } else { "panic, survived" };
            line(seconds(panic.at.realtime_ns), Source::Crash, format!("{what}: {}", said(panic)));
        }
        if let Some(fatal) = &self.evidence.fatal {
            let text = format!("{} in {}", fatal.name, who(&fatal.by));
            line(seconds(fatal.at.realtime_ns), Source::Crash, text);
        }
        // Ages count on the monotonic clock: the wall clock may have been set in between.
        for one in self.unfinished.iter().filter(|one| one.activity.busy_ns.is_some()) {
            let busy_ns = one.activity.busy_ns.unwrap_or(0);
            let text = format!("{} begins {}", one.activity.actor, one.activity.doing.as_deref().unwrap_or("?"));
            let ends = one.state == UnfinishedState::Busy || one.activity.state != ActivityState::Live;
            let stuck = if ends { "" } else { ", and does not end it" };
            // The clock that marks it ticks once a period.
            let late = match one.clock_seconds {
                period if period > 0.0 => format!(" (or up to {} later)", table::span(period)),
                _ => String::new(),
            };
            line(
                seconds(end_ns.1.realtime_ns.saturating_sub(busy_ns)),
                Source::Activity,
                format!("{text}{late}{stuck}"),
            );
        }
        if let Some(history) = self.history {
            for (actor, since_ns) in history.full_since.iter().take(MOST) {
                line(seconds(*since_ns), Source::Recorder, format!("{actor}: mailbox full from here to the end"));
            }
            for silent in &history.stopped.entries {
                let text = format!("{} changes for the last time", silent.series);
                line(silent.last_change_seconds, Source::Recorder, text);
            }
            for (ended_ns, gap_ns) in &history.gaps {
                let text = format!("nothing recorded for {}", table::span(seconds(*gap_ns)));
                line(seconds(*ended_ns), Source::Recorder, text);
            }
        }
        if region.ticks > 0 {
            line(
                seconds(region.tick_realtime_ns),
                Source::Region,
                format!("last housekeeping tick, number {}", region.ticks),
            );
        }
        if region.state_realtime_ns > region.created_realtime_ns && self.headline.verdict != Verdict::Running {
            use tachograph_layout::RegionState;
            let text = match region.state {
                Some(RegionState::Closed) => Some("closed in order"),
                Some(RegionState::Unwound) => Some("given up while a panic unwound"),
                Some(RegionState::Exited) => Some("exit was called, or main returned, with the region open"),
                _ => None,
            };
            if let Some(text) = text {
                line(seconds(region.state_realtime_ns), Source::Region, text.to_owned());
            }
        }
        if let Some(next) = self.successor {
            line(next.started_seconds, Source::Region, format!("the name starts again, pid {}", next.pid));
        }
        lines.sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
        List::last(folded(lines), MOST)
    }
}

/// Three or more notes in a row that differ in nothing but their numbers are the first and the last of them.
fn folded(lines: Vec<Line>) -> Vec<Line> {
    let digit = |char: &char| !char.is_ascii_digit();
    let alike = |one: &Line, next: &Line| {
        one.source == Source::Note
            && next.source == Source::Note
            && one.text.chars().filter(digit).eq(next.text.chars().filter(digit))
    };
    let mut folded = Vec::with_capacity(lines.len());
    for run in lines.chunk_by(alike) {
        match run {
            [first, .., last] if run.len() > 2 => {
                let text = format!("{} (the last of {} such notes in a row)", last.text, run.len());
                folded.extend([first.clone(), Line { text, ..last.clone() }]);
            }
            few => folded.extend_from_slice(few),
        }
    }
    folded
}

/// What a panic said, where, and in whom.
pub(crate) fn said(panic: &Panic) -> String {
    let place = if panic.place.is_empty() { "an unknown place" } else { &panic.place };
    format!("\"{}\" at {place}, in {}", panic.message, who(&panic.by))
}

/// A thread, and the actor that it ran.
pub(crate) fn who(by: &crate::evidence::Culprit) -> String {
    let thread = if by.thread_name.is_empty() { "thread".to_owned() } else { format!("thread {}", by.thread_name) };
    let thread = format!("{thread} ({})", by.thread_id);
    match (&by.actor, by.activity) {
        (Some(actor), _) => format!("{actor}, {thread}"),
        (None, Some(slot)) => format!("an actor whose slot {slot} went to another since, {thread}"),
        (None, None) => thread,
    }
}
