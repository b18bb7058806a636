//! What the facts may mean together, and what they do not link. The last part of a report, told as inference.
//!
//! Each sentence rests on facts that stand in the report; none names a cause that nobody recorded.

use std::collections::HashSet;

use super::timeline::who;
use super::words::busy_for;
use super::{Frames, Report, UnfinishedState};
use crate::Verdict;
use crate::cause::Cause;

/// What happened within so many seconds of a series falling silent may have to do with it.
const NEAR: f64 = 1.5;
/// Share of the memory limit from which on memory is told.
const TIGHT: f64 = 0.95;

/// That few calls repeat over many frames, as in a recursion.
fn repeated(frames: &Frames) -> Option<String> {
    let distinct: HashSet<u64> = frames.frames.iter().map(|frame| frame.address).collect();
    let (count, distinct) = (frames.frames.len(), distinct.len());
    (count >= 16 && distinct * 4 <= count)
        .then(|| format!(", and {count} frames are of {distinct} calls again and again"))
}

/// What it may mean, and what is not linked.
pub(crate) fn infer(report: &Report) -> (Vec<String>, Vec<String>) {
    let (mut may_mean, mut not_linked) = (Vec::new(), Vec::new());
    let dead = report.headline.died;
    let stuck: Vec<_> = report
        .unfinished
        .entries
        .iter()
        .filter(|one| matches!(one.state, UnfinishedState::Stuck | UnfinishedState::Full))
        .collect();
    for one in stuck.iter().take(3) {
        let activity = &one.activity;
        let (actor, doing) = (&activity.actor, activity.doing.as_deref().unwrap_or("something"));
        let busy = activity.busy_ns.map_or_else(String::new, |ns| format!(" for {}", busy_for(ns, one.clock_seconds)));
        let full = activity.mailbox_capacity > 0 && activity.mailbox_depth >= activity.mailbox_capacity;
        let rest = if full { ", and its mailbox was full: whoever sent to it waited or was refused" } else { "" };
        may_mean.push(format!("{actor} was stuck in {doing}{busy}{rest}."));
    }
    if let Some(silent) = report.stopped_first.as_ref().and_then(|stopped| stopped.entries.first()) {
        let near = |at: f64| (at - silent.last_change_seconds).abs() <= NEAR;
        let began =
            |one: &super::Unfinished| report.headline.at_seconds - one.activity.busy_ns.unwrap_or(0) as f64 / 1e9;
        let stall = stuck.iter().find(|one| near(began(one)));
        let mut panics = report.died_of.panic.iter().chain(&report.caught_panics.entries);
        let panic = panics.rfind(|panic| near(panic.at.realtime_ns as f64 / 1e9));
        if let Some(one) = stall {
            let doing = one.activity.doing.as_deref().unwrap_or("its message");
            may_mean.push(format!("{} went silent when {} began {doing}.", silent.series, one.activity.actor));
        }
        if let Some(panic) = panic {
            let by = panic.by.actor.as_ref().map_or_else(|| who(&panic.by), ToString::to_string);
            may_mean.push(format!("{} went silent when {by} panicked.", silent.series));
        }
        if stall.is_none() && panic.is_none() {
            not_linked.push(format!("why {} went silent first", silent.series));
        }
    }
    let tight = report.memory.as_ref().and_then(|memory| memory.cgroup).and_then(|memory| {
        let share = memory.usage_bytes as f64 / memory.limit_bytes.filter(|limit| *limit > 0)? as f64;
        (share >= TIGHT).then_some(share)
    });
    if let Some(share) = tight {
        may_mean.push(format!("Memory was short: its cgroup was at {:.0} % of its limit.", share * 100.0));
    }
    if dead && report.headline.cause == Some(Cause::Killed) {
        let oom = report.memory.as_ref().and_then(|memory| memory.oom_kills_meanwhile);
        not_linked.push(match oom {
            Some(0) => {
                "who killed it: no signal was recorded, and no out-of-memory kill was counted while it lived".to_owned()
            }
            _ => "who killed it, and with what: nothing of it stands in the region".to_owned(),
        });
    }
    if report.died_of.at_stack_pointer {
        let by = report.died_of.signal.as_ref().map_or_else(|| "a thread".to_owned(), |signal| who(&signal.by));
        let again = report.frames.as_ref().and_then(repeated).unwrap_or_default();
        may_mean.push(format!(
            "The stack of {by} overflowed: there was no memory at its stack pointer{again}. Rust's runtime says so on stderr \
             and ends the process by SIGABRT, which is the exit status that its parent saw."
        ));
    }
    if report.died_of.panic.is_some() {
        let by = report.died_of.panic.as_ref().and_then(|panic| panic.by.actor.as_ref());
        for one in stuck.iter().filter(|one| Some(&one.activity.actor) != by).take(3) {
            not_linked.push(format!("whether the panic has to do with {} being stuck", one.activity.actor));
        }
    }
    for panic in report.caught_panics.entries.iter().rev().take(2) {
        let place = if panic.place.is_empty() { "an unknown place" } else { &panic.place };
        let line = format!("whether the survived panic at {place} has to do with the end");
        if dead && !not_linked.contains(&line) {
            not_linked.push(line);
        }
    }
    if dead && report.headline.burst.as_ref().is_some_and(|burst| !burst.is_first) {
        may_mean.push("This is not the first crash of its burst: the first one tells more of the cause.".to_owned());
    }
    if [Some(report.headline.verdict), report.headline.copied_as].contains(&Some(Verdict::Hung)) {
        not_linked.push("what the silent loop waits for".to_owned());
    }
    (may_mean, not_linked)
}
