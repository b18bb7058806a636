//! Gathers the facts of a report, once: from the region, its directory, and its recording where there is one.

use std::collections::HashSet;

use tachograph_layout::RegionState;

use super::history::Found;
use super::neighbours::{Lives, Neighbours};
use super::timeline::Parts;
use super::{
    Basis, Burst, DiedOf, Extreme, Headline, Known, List, MOST, Memory, Process, Report, Successor, Unfinished,
    UnfinishedState, charts, death, history, inference, seconds, series_name,
};
use crate::cause::Cause;
use crate::evidence::{ActivityState, Evidence, Panic, Stuck};
use crate::json::Now;
use crate::recording::{LastFacts, RecordedRegion};
use crate::{ReadError, RegionInfo, RegionReader, Snapshot, Value, Verdict};

/// Busy with one message for longer than this, an actor counts as stuck.
const STUCK_NS: u64 = 5_000_000_000;
/// An actor that panicked and ended is told where that was so long before the end at most.
const LATELY_NS: u64 = 300_000_000_000;

/// What a report is on.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The region.
    pub reader: &'a RegionReader,
    /// Where its other lives are looked for, and what crashed about the same time.
    pub neighbours: &'a Neighbours<'a>,
    /// Its recording.
    pub recorded: Option<&'a RecordedRegion>,
    /// What is known of it beside: its case, and what its death was counted as.
    pub known: Option<&'a Known>,
}

impl Subject<'_> {
    /// Makes the report. What can't be read beside the region is told in it.
    ///
    /// # Errors
    /// [`ReadError`] where the region itself can't be read.
    pub fn report(&self) -> Result<Report, ReadError> {
        let now = Now::read();
        let mut snapshot = self.reader.snapshot()?;
        let evidence = self.reader.evidence()?;
        // A copy is away from its directory: others of its name need not have anything to do with it.
        let from_case = self.reader.is_of_a_case();
        let is_copy = from_case || snapshot.region.verdict == Verdict::Copy;
        let last = self.recorded.and_then(RecordedRegion::last_facts);
        if snapshot.region.cause == Some(Cause::Killed) {
            // It can't tell itself that it was killed for want of memory, or ran another program; who watched it can.
            let counted = Cause::Killed.given(last.and_then(|last| last.kills));
            let known = self.known.and_then(Known::cause).unwrap_or(Cause::Killed);
            snapshot.region.cause = Some(if known == Cause::Killed { counted } else { known });
        }
        let region = &snapshot.region;
        let died_of = death::died_of(region, &evidence);
        let lives = if is_copy { Lives::default() } else { self.neighbours.lives(region) };
        let seen_ns = last.filter(|last| last.alive).map_or(0, |last| last.at_ns);
        let end_ns = end_ns(region, &evidence, now, seen_ns);
        let mut headline = headline(region, &died_of, end_ns, lives.crashes);
        if region.verdict == Verdict::Crashed && !is_copy {
            headline.others = List::first(self.neighbours.others(region), MOST);
        }
        let found = self.recorded.map(|recorded| history::read(recorded, end_ns));
        let unfinished = unfinished(&evidence, found.as_ref(), region.tick_period_ns);
        let successor = lives.successor.map(|next| successor(&next, end_ns));
        let timeline = Parts {
            region,
            headline: &headline,
            died_of: &died_of,
            evidence: &evidence,
            unfinished: &unfinished.entries,
            history: found.as_ref(),
            successor: successor.as_ref(),
        }
        .lines();
        let extremes = extremes(&snapshot, found.as_ref());
        let charts = self.recorded.zip(found.as_ref()).map(|(recorded, found)| {
            let names = found.stopped.entries.iter().map(|one| &one.series);
            let names = names.chain(found.moved.iter().flat_map(|moved| &moved.entries).map(|one| &one.series));
            let names = names.chain(found.extremes.entries.iter().map(|one| &one.series));
            let mut seen = HashSet::new();
            let names = names.filter(|name| seen.insert((*name).clone())).cloned().collect();
            charts::read(recorded, end_ns, names)
        });
        let basis = self.basis(&evidence, found.as_ref(), lives.problems);
        let mut report = Report {
            version: 1,
            frames: death::frames(region, &died_of),
            caught_panics: death::survived(&evidence, &died_of),
            process: process(region),
            memory: self.memory(region, last, found.as_ref()),
            not_known: not_known(region, &evidence, found.as_ref()),
            stopped_first: found.as_ref().map(|found| found.stopped.clone()),
            moved_most: found.as_ref().and_then(|found| found.moved.clone()),
            headline,
            died_of,
            successor,
            evidence: basis,
            from_case,
            timeline,
            unfinished,
            extremes,
            may_mean: Vec::new(),
            not_linked: Vec::new(),
            charts: charts.unwrap_or_default(),
        };
        (report.may_mean, report.not_linked) = inference::infer(&report);
        Ok(report)
    }

    /// Its memory as it was last seen, by whoever saw it last: the recording, or the case that was written of it.
    fn memory(&self, region: &RegionInfo, last: Option<LastFacts>, found: Option<&Found>) -> Option<Memory> {
        let kept = self.known.and_then(|known| known.manifest.as_ref()?.facts);
        let rose = last.and_then(|last| last.kills).map(|kills| kills.after_death.saturating_sub(kills.while_alive));
        let last = last.map(|last| (last.at_ns, last.facts)).into_iter().chain(kept).max_by_key(|(at_ns, _)| *at_ns);
        let (at_ns, facts) = last?;
        let first = found.and_then(|found| found.first_kills);
        let counted = facts.memory.map(|memory| memory.oom_kills);
        let kills = counted.zip(first).map(|(last, first)| last.saturating_sub(first)).or(rose);
        Some(Memory {
            at_seconds: seconds(at_ns),
            process: facts.process,
            cgroup: facts.memory,
            // One was seen by whoever tells the cause, though its count is not kept.
            oom_kills_meanwhile: if region.cause == Some(Cause::OutOfMemory) {
                kills.filter(|kills| *kills > 0)
            } else {
                kills
            },
        })
    }

    fn basis(&self, evidence: &Evidence, found: Option<&Found>, mut problems: Vec<String>) -> Basis {
        problems.extend(found.iter().flat_map(|found| found.problems.iter().cloned()).take(MOST));
        let (panics, notes) = (&evidence.panics, &evidence.notes);
        let left_out = panics.left_out + notes.left_out + evidence.activities.left_out + evidence.pulses.left_out;
        Basis {
            findings: List::first(self.reader.verify(), MOST),
            history: found.and_then(|found| found.span.clone()),
            case: self.known.and_then(|known| known.case.as_ref()).map(|path| path.display().to_string()),
            notes_lost: notes.lost,
            panics_lost: panics.lost,
            actors_untold: evidence.activities.overflows,
            left_out,
            anything_recorded: panics.seen > 0
                || notes.written > 0
                || !evidence.activities.actors.is_empty()
                || evidence.fatal.is_some(),
            problems,
        }
    }
}

/// The moment that the report is on: when it ended, as well as that is known, or now. The recorder saw it alive at
/// `seen_ns`.
fn end_ns(region: &RegionInfo, evidence: &Evidence, now: Now, seen_ns: u64) -> u64 {
    if region.verdict.is_alive() {
        now.realtime_ns
    } else if region.ended_exactly() {
        region.ended_ns()
    } else {
        // A note, a panic or a beat may be later than the last tick.
        evidence.until.realtime_ns.max(region.ended_ns()).max(seen_ns)
    }
}

fn headline(region: &RegionInfo, died_of: &DiedOf, end_ns: u64, crashes: Vec<RegionInfo>) -> Headline {
    let told = died_of.signal.is_some() || matches!(region.state, Some(RegionState::Exited | RegionState::Unwound));
    let died = region.verdict == Verdict::Crashed || (region.verdict == Verdict::Copy && told);
    // A copy's lock is away, so its reader tells no cause; its own words do.
    let own = match (&died_of.signal, region.state) {
        (Some(_), _) => Some(Cause::Signal),
        (None, Some(RegionState::Exited)) => Some(Cause::Exit),
        (None, Some(RegionState::Unwound)) => Some(Cause::Unwound),
        _ => None,
    };
    let cause = region.cause.or(own).filter(|_| died);
    let signal = died_of.signal.as_ref().map(|signal| signal.name.clone());
    Headline {
        region: region.name.clone(),
        path: region.path.display().to_string(),
        verdict: region.verdict,
        died,
        // A case tells the cause, and its copy of the region the signal.
        why: signal
            .filter(|_| cause == Some(Cause::Signal))
            .or_else(|| region.why())
            .or_else(|| cause.map(|cause| cause.to_string())),
        cause,
        copied_as: region.copied_as,
        at_seconds: seconds(end_ns),
        at_exactly: region.verdict.is_alive() || region.ended_exactly(),
        lived_seconds: seconds(end_ns.saturating_sub(region.created_realtime_ns)),
        others: List::default(),
        burst: Burst::of(region, crashes).filter(|_| region.verdict == Verdict::Crashed),
    }
}

fn process(region: &RegionInfo) -> Process {
    Process {
        pid: region.pid,
        exe: region.exe.clone(),
        version: region.version.clone(),
        build_id: region.build_id.clone(),
        host: region.host.clone(),
        this_boot: crate::region_file::boot_id() == Some(region.boot_id),
        started_seconds: seconds(region.created_realtime_ns),
        restarts: region.restarts,
    }
}

fn successor(next: &RegionInfo, end_ns: u64) -> Successor {
    Successor {
        started_seconds: seconds(next.created_realtime_ns),
        after_seconds: seconds(next.created_realtime_ns.saturating_sub(end_ns)),
        pid: next.pid,
        verdict: next.verdict,
    }
}

/// `tick_ns` is the period of the writer's clock for activities: a message looks up to that much longer than it takes, so
/// that a usual time below two of them tells nothing.
fn unfinished(evidence: &Evidence, found: Option<&Found>, tick_ns: u64) -> List<Unfinished> {
    let lately = |panic: &&Panic| evidence.until.since_ns(panic.at.monotonic_ns) <= LATELY_NS;
    let panicked = evidence.panics.latest.iter().filter(lately).filter_map(|panic| panic.by.actor.as_ref());
    let panicked: HashSet<_> = panicked.collect();
    let mut list: Vec<Unfinished> = Vec::new();
    for activity in &evidence.activities.actors {
        let full = activity.mailbox_capacity > 0 && activity.mailbox_depth >= activity.mailbox_capacity;
        let state = match activity.stuck(STUCK_NS) {
            _ if panicked.contains(&activity.actor) => UnfinishedState::Panicked,
            Some(Stuck::Busy) => UnfinishedState::Stuck,
            Some(Stuck::Full) => UnfinishedState::Stuck,
            _ if activity.state != ActivityState::Live => continue,
            None if full => UnfinishedState::Full,
            None if activity.busy_ns.is_some() => UnfinishedState::Busy,
            None => continue,
        };
        let usual =
            found.and_then(|found| found.usual.get(&activity.actor)).filter(|ns| **ns >= tick_ns.saturating_mul(2));
        let usual = usual.map(|ns| seconds(*ns));
        list.push(Unfinished {
            activity: activity.clone(),
            state,
            clock_seconds: seconds(tick_ns),
            usual_seconds: usual,
        });
    }
    list.sort_by_key(|one| (one.state, std::cmp::Reverse(one.activity.busy_ns)));
    List::first(list, MOST)
}

/// The recording's extremes, then those that the region keeps itself, where the last value is that extreme still.
fn extremes(snapshot: &Snapshot, found: Option<&Found>) -> List<Extreme> {
    let mut list = found.map_or_else(Vec::new, |found| found.extremes.entries.clone());
    for family in &snapshot.schema.families {
        for index in family.series.clone() {
            let Some((value, at_ns)) = snapshot.since_start(index) else { continue };
            if value != snapshot.value(index) {
                continue;
            }
            let value = match value {
                Value::I64(value) => value as f64,
                Value::F64(value) => value,
                _ => continue,
            };
            let labels = snapshot.schema.series.get(index).map_or("", |series| series.labels);
            let which = if family.kind == crate::Kind::WatermarkMin { "lowest" } else { "highest" };
            let series = series_name(&family.name, labels);
            list.push(Extreme { series, which, value, since_seconds: seconds(at_ns), since_start: true });
        }
    }
    let more = found.map_or(0, |found| found.extremes.more);
    let List { entries, more: cut } = List::first(list, MOST);
    List { entries, more: more + cut }
}

fn not_known(region: &RegionInfo, evidence: &Evidence, found: Option<&Found>) -> Vec<String> {
    let mut list = Vec::new();
    if found.is_none() {
        list.push(
            "The minutes before: nothing was recorded. `tacho serve --recorder.dir=DIR`, running while the application does, \
             records them; name its directory by --recorder.dir."
                .to_owned(),
        );
    } else if found.is_some_and(|found| found.span.is_none()) {
        list.push("The minutes before: the recording holds no sample of this region while it lived.".to_owned());
    } else if found.is_some_and(|found| found.moved.is_none()) {
        list.push("What moved most: the recording is shorter than 40 s.".to_owned());
    }
    if region.cause == Some(Cause::Killed) {
        let what = match evidence.crash_hooks {
            Some(true) => {
                "its crash hooks were on and recorded no signal, so it was SIGKILL, SIGTERM or another that they leave alone."
            }
            Some(false) => {
                "its crash hooks were off, so any signal may have. `Region::builder(..).crash_hooks(true)` records those \
                 of crashes; SIGKILL and SIGTERM are never recorded."
            }
            None => {
                "whether its crash hooks were on is not told. With them a fatal signal is recorded, and SIGKILL and \
                 SIGTERM never are."
            }
        };
        list.push(format!("What killed it: {what}"));
    }
    if let Some(verdict) = region.copied_as {
        list.push(format!("What became of it: its writer was {verdict} when this case was written."));
    } else if region.verdict == Verdict::Copy {
        list.push(
            "Whether its writer lives, or how it ended: this is a copy, away from its lock, with the state that it had. \
             A case (`tacho case REGION -o FILE`) holds the verdict and the cause beside such a copy. Times are as of its \
             last housekeeping tick."
                .to_owned(),
        );
    }
    if evidence.activities.actors.is_empty() {
        list.push("Who was doing what: no actor claimed an activity slot.".to_owned());
    }
    if evidence.notes.written == 0 {
        list.push("Its last words: no note was written.".to_owned());
    }
    if evidence.fatal_unfinished.is_some() {
        list.push("The whole of the fatal signal: its record was begun and not completed.".to_owned());
    }
    list
}
