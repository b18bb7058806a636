//! What a recording tells of the minutes before: which series went silent, which moved most, which stood at an extreme.
//!
//! One pass over the samples, oldest first, in memory that follows the number of series and never the length of the
//! window. Times are the recorder's realtime; it samples on the writer's machine.

mod track;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::{List, seconds, series_name};
use track::{Track, median};

use crate::Snapshot;
use crate::diff::Name;
use crate::evidence::{Activity, ActivityState, Actor};
use crate::recording::{RecordedRegion, Sample, Window};
use crate::schema::{Family, Kind, Schema};

/// How far back a report looks: the series' usual pace is told from this long before the end.
pub(crate) const REACH_NS: u64 = 30 * 60 * SECOND;
/// The last moments, which are held against what was before.
const LAST_NS: u64 = 10 * SECOND;
/// What they are held against.
const BEFORE_NS: u64 = 300 * SECOND;
const SECOND: u64 = 1_000_000_000;
/// A recording shorter than this tells of no series whether it moved.
const SHORTEST_SECONDS: f64 = 40.0;
/// Series that are followed; those beyond are counted.
const MOST_SERIES: usize = 50_000;
/// The latest of a list that grows.
const GAPS: usize = 64;
/// Entries of each list.
const MOST: usize = 12;

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// The first sample that was looked at: seconds since the Unix epoch.
    pub first_seconds: f64,
    /// The last one while the writer lived.
    pub last_seconds: f64,
    /// Samples looked at.
    pub samples: u64,
    /// Time between two of them, at the end.
    pub interval_seconds: f64,
    /// Pauses in between that are longer than they were meant to be.
    pub gaps: u64,
    /// The longest of those.
    pub longest_gap_seconds: f64,
    /// Samples that the recorder left out.
    pub lost: u64,
    /// Series beyond those that were followed.
    pub series_not_followed: u64,
}

/// A series that went silent before the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Silent {
    /// Which.
    #[serde(flatten)]
    pub series: Name,
    /// When it last changed: seconds since the Unix epoch.
    pub last_change_seconds: f64,
    /// How long before the end that was.
    pub silent_seconds: f64,
    /// Its median time between two changes.
    pub usual_gap_seconds: f64,
}

/// A series that moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// Which.
    #[serde(flatten)]
    pub series: Name,
    /// What is compared: `rate` (a second), `level` (mean) or `p99`.
    pub what: &'static str,
    /// In the five minutes before.
    #[serde(serialize_with = "number")]
    pub before: f64,
    /// In the last ten seconds.
    #[serde(serialize_with = "number")]
    pub last: f64,
}

/// A last value that is the largest or smallest there was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extreme {
    /// Which.
    #[serde(flatten)]
    pub series: Name,
    /// `highest` or `lowest`.
    pub which: &'static str,
    /// The value.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// Since when it is that: seconds since the Unix epoch.
    pub since_seconds: f64,
    /// Whether it is the extreme since the start, told by the region itself, or that of the recording.
    pub since_start: bool,
}

fn number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    crate::json::float(*value).serialize(serializer)
}

/// What one pass found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) span: Option<Span>,
    pub(crate) stopped: List<Silent>,
    /// `None` where the recording is too short to tell.
    pub(crate) moved: Option<List<Moved>>,
    pub(crate) extremes: List<Extreme>,
    /// What its memory cgroup had counted at the first sample.
    pub(crate) first_kills: Option<u64>,
    /// Median nanoseconds that an actor was seen busy with one message.
    pub(crate) usual: HashMap<Actor, u64>,
    /// Since when an actor's mailbox was full without a break, to the end: nanoseconds since the Unix epoch.
    pub(crate) full_since: Vec<(Actor, u64)>,
    /// Pauses: when each ended, and how long it was.
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) problems: Vec<String>,
}

/// Reads the recording of a region up to its end.
pub(crate) fn read(recorded: &RecordedRegion, end_ns: u64) -> Found {
    let mut window = recorded.window(end_ns.saturating_sub(REACH_NS), end_ns);
    let mut pass = Pass::new(end_ns);
    while advance(&mut window, &mut pass) {}
    let mut found = pass.finish();
    found.problems.extend(window.problems().iter().map(|one| format!("{}: {}", one.path.display(), one.error)));
    found
}

fn advance(window: &mut Window, pass: &mut Pass) -> bool {
    let Some(sample) = window.next_sample() else { return false };
    pass.take(sample);
    if let Some(gap_ns) = window.gap_ns() {
        pass.gap(gap_ns);
    }
    true
}

/// One pass under way.
struct Pass {
    end_ns: u64,
    tracks: Vec<Track>,
    by_name: HashMap<(String, String), usize>,
    /// The structure of the last sample, and the track of each of its series.
    schema: Option<(Arc<Schema>, Vec<Option<usize>>)>,
    span: Option<Span>,
    now_ns: u64,
    interval_ns: u64,
    first_kills: Option<u64>,
    busy: HashMap<Actor, Busy>,
    gaps: Vec<(u64, u64)>,
    not_followed: u64,
}

/// How an actor was seen.
#[derive(Default)]
struct Busy {
    /// The longest that each message was seen to take, the latest ones.
    took: Vec<u64>,
    message: (u64, u64),
    full_since: Option<u64>,
}

impl Pass {
    fn new(end_ns: u64) -> Self {
        Self {
            end_ns,
            tracks: Vec::new(),
            by_name: HashMap::new(),
            schema: None,
            span: None,
            now_ns: 0,
            interval_ns: 0,
            first_kills: None,
            busy: HashMap::new(),
            gaps: Vec::new(),
            not_followed: 0,
        }
    }

    fn take(&mut self, sample: &Sample) {
        let now_ns = sample.realtime_ns;
        if let Some(memory) = sample.facts.memory {
            self.first_kills.get_or_insert(memory.oom_kills);
        }
        // What is sampled of the dead says nothing of when series stopped.
        if !sample.snapshot.region.verdict.is_alive() {
            return;
        }
        let interval_seconds = seconds(sample.interval_ns);
        self.interval_ns = sample.interval_ns;
        self.now_ns = now_ns;
        let first_seconds = seconds(now_ns);
        let span = self.span.get_or_insert(Span {
            first_seconds,
            last_seconds: first_seconds,
            samples: 0,
            interval_seconds,
            gaps: 0,
            longest_gap_seconds: 0.0,
            lost: 0,
            series_not_followed: 0,
        });
        (span.last_seconds, span.interval_seconds) = (seconds(now_ns), interval_seconds);
        span.samples += 1;
        span.lost = span.lost.saturating_add(sample.lost);
        self.actors(now_ns, sample.monotonic_ns, &sample.activities);
        self.values(now_ns, &sample.snapshot);
    }

    fn gap(&mut self, gap_ns: u64) {
        if let Some(span) = &mut self.span {
            span.gaps += 1;
            span.longest_gap_seconds = span.longest_gap_seconds.max(seconds(gap_ns));
        }
        if self.gaps.len() == GAPS {
            self.gaps.remove(0);
        }
        self.gaps.push((self.now_ns, gap_ns));
    }

    fn actors(&mut self, now_ns: u64, monotonic_ns: u64, activities: &[Activity]) {
        for activity in activities.iter().filter(|activity| activity.state == ActivityState::Live).take(10_000) {
            if self.busy.len() >= 10_000 && !self.busy.contains_key(&activity.actor) {
                continue;
            }
            let busy = self.busy.entry(activity.actor.clone()).or_default();
            let full = activity.mailbox_capacity > 0 && activity.mailbox_depth >= activity.mailbox_capacity;
            busy.full_since = full.then(|| busy.full_since.unwrap_or(now_ns));
            if activity.doing.is_some() {
                let message = (activity.since_monotonic_ns, activity.handled);
                let took = monotonic_ns.saturating_sub(activity.since_monotonic_ns);
                if busy.message == message {
                    // Seen again, still at it.
                    busy.took.pop();
                } else if busy.took.len() == GAPS {
                    busy.took.remove(0);
                }
                busy.took.push(took);
                busy.message = message;
            }
        }
    }

    fn values(&mut self, now_ns: u64, snapshot: &Snapshot) {
        let known = self.schema.as_ref().is_some_and(|(schema, _)| Arc::ptr_eq(schema, &snapshot.schema));
        if !known {
            let tracks = snapshot.schema.series.iter().map(|series| {
                let family = snapshot.schema.families.get(series.family)?;
                self.track(family, series.labels, now_ns)
            });
            let tracks = tracks.collect();
            self.schema = Some((Arc::clone(&snapshot.schema), tracks));
        }
        let Some((_, tracks)) = &self.schema else { return };
        for (index, track) in tracks.iter().enumerate() {
            if let Some(track) = track.and_then(|track| self.tracks.get_mut(track)) {
                track.take(now_ns, self.end_ns, snapshot.value(index));
            }
        }
    }

    fn track(&mut self, family: &Family, labels: &str, now_ns: u64) -> Option<usize> {
        if family.kind == Kind::Info {
            return None;
        }
        let key = (family.name.clone(), labels.to_owned());
        if let Some(index) = self.by_name.get(&key) {
            return Some(*index);
        }
        if self.tracks.len() == MOST_SERIES {
            self.not_followed += 1;
            return None;
        }
        self.tracks.push(Track::new(series_name(&family.name, labels), family, now_ns));
        self.by_name.insert(key, self.tracks.len() - 1);
        Some(self.tracks.len() - 1)
    }

    fn finish(self) -> Found {
        let Self { tracks, span, now_ns, interval_ns, first_kills, busy, gaps, not_followed, .. } = self;
        let alive: Vec<&Track> = tracks.iter().filter(|track| track.seen_ns == now_ns).collect();
        let mut stopped: Vec<Silent> = alive.iter().filter_map(|track| track.silent(now_ns, interval_ns)).collect();
        stopped.sort_by(|one, other| one.last_change_seconds.total_cmp(&other.last_change_seconds));
        let long_enough = span.as_ref().is_some_and(|span| span.last_seconds - span.first_seconds >= SHORTEST_SECONDS);
        let mut moved: Vec<(f64, Moved)> = alive.iter().filter_map(|track| track.moved(now_ns)).collect();
        moved.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let moved: Vec<Moved> = moved.into_iter().map(|(_, moved)| moved).collect();
        let mut extremes: Vec<Extreme> = alive.iter().filter_map(|track| track.extreme(now_ns)).collect();
        extremes.sort_by(|one, other| other.since_seconds.total_cmp(&one.since_seconds));
        let usual = busy.iter().filter_map(|(actor, busy)| {
            // The one that it is still busy with is not usual yet.
            let took = busy.took.split_last()?.1;
            Some((actor.clone(), median(took)?))
        });
        let full = busy.iter().filter_map(|(actor, busy)| Some((actor.clone(), busy.full_since?)));
        let mut full_since: Vec<(Actor, u64)> = full.collect();
        full_since.sort_by_key(|(_, since)| *since);
        Found {
            usual: usual.collect(),
            span: span.map(|span| Span { series_not_followed: not_followed, ..span }),
            stopped: List::first(stopped, MOST),
            moved: long_enough.then(|| List::first(moved, MOST)),
            extremes: List::first(extremes, MOST),
            first_kills,
            full_since,
            gaps,
            problems: Vec::new(),
        }
    }
}
