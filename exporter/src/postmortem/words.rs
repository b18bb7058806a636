//! The report's sentences: one function a fact, for text and page alike. Decides nothing, and escapes nothing.

use super::timeline::{said, who};
use super::{Frames, List, Other, Report, Unfinished, UnfinishedState, frames};
use crate::Verdict;
use crate::cause::Cause;
use crate::evidence::{ActivityState, Panic, Sender};
use crate::table::{moment, rounded, span};

/// A moment.
pub(crate) fn at(seconds: f64) -> String {
    moment((seconds * 1e9) as u64)
}

/// The headline in one line.
pub(crate) fn headline(report: &Report) -> String {
    let head = &report.headline;
    let why = head.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    let when = at(head.at_seconds);
    let shortly = if head.at_exactly { "" } else { "or shortly after " };
    match head.verdict {
        Verdict::Running => format!("{} is running at {when}: what follows is as of now", head.region),
        Verdict::Hung => {
            format!("{} is hung at {when}: {}", head.region, head.why.as_deref().unwrap_or("a promise is broken"))
        }
        Verdict::Closed => format!("{} was closed in order at {when}", head.region),
        Verdict::Crashed => format!("{} crashed at {shortly}{when}{why}", head.region),
        Verdict::Copy if head.died => format!("{}, a copy: died at {shortly}{when}{why}", head.region),
        Verdict::Copy if head.copied_as == Some(Verdict::Hung) => {
            let why = head.why.as_deref().unwrap_or("a promise is broken");
            format!("{} was hung at {when}, when this case was written: {why}", head.region)
        }
        Verdict::Copy if head.copied_as.is_some() => {
            format!("{} was running at {when}, when this case was written", head.region)
        }
        Verdict::Copy => format!("{}, a copy as of {when}", head.region),
    }
}

/// What the burst of crashes is.
pub(crate) fn burst(report: &Report) -> Option<String> {
    let burst = report.headline.burst.as_ref()?;
    let place = match (&burst.first_path, burst.is_first) {
        (Some(path), false) => format!("this is a later one; the first is {path}"),
        _ => "this is the first".to_owned(),
    };
    let apart = span(burst.last_seconds - burst.first_seconds);
    Some(format!("one of {} crashes within {apart}; {place}", burst.deaths))
}

/// Other regions that crashed about the same time.
pub(crate) fn others(report: &Report) -> Option<String> {
    let List { entries, more } = &report.headline.others;
    let one = |other: &Other| {
        let why = other.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let apart = other.at_seconds - report.headline.at_seconds;
        let when = if apart < 0.0 { "before" } else { "after" };
        format!("{}{why}, {} {when}", other.region, span(apart.abs()))
    };
    let told: Vec<String> = entries.iter().take(OTHERS).map(one).collect();
    let more = more + entries.len().saturating_sub(OTHERS) as u64;
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!told.is_empty()).then(|| format!("crashed about the same time: {}{rest}", told.join("; ")))
}

/// Other regions that are named.
const OTHERS: usize = 6;

/// What it died of, in sentences.
pub(crate) fn death(report: &Report) -> Vec<String> {
    let died = &report.died_of;
    let mut list = Vec::new();
    if let Some(panic) = &died.panic {
        list.push(format!("Panic: {}.", said(panic)));
    }
    for panic in &died.further_panics {
        if panic.gave_up().is_some() {
            list.push(format!("Then, the same death, the runtime gave up: \"{}\".", panic.message));
            continue;
        }
        let place = if panic.place.is_empty() { "an unknown place" } else { &panic.place };
        list.push(format!("While that one was unwinding, the same death, \"{}\" at {place}.", panic.message));
    }
    if let Some(signal) = &died.signal {
        let code = signal.code_name.as_ref().map_or_else(|| format!("code {}", signal.code), Clone::clone);
        let address = signal.address.map_or_else(String::new, |address| format!(", address {address:#x}"));
        let then = if died.panic.is_some() { "Then, the same death, " } else { "" };
        // An abort sends itself its signal.
        let sent = match signal.sender.filter(|sender| sender.pid != report.process.pid) {
            None => String::new(),
            Some(Sender { pid: 0, uid }) => format!(", sent by a process outside its pid namespace, of user {uid}"),
            Some(Sender { pid, uid }) => format!(", sent by process {pid} of user {uid}"),
        };
        let stack =
            if died.at_stack_pointer { format!(", at the stack pointer {:#x}", signal.stack) } else { String::new() };
        list.push(format!("{then}{} ({code}{address}{stack}) in {}{sent}.", signal.name, who(&signal.by)));
    }
    if let Some(thread) = died.unfinished_by_thread {
        list.push(format!("Thread {thread} began to record a fatal signal and did not come to its end."));
    }
    if list.is_empty() {
        list.push(match (report.headline.died, report.headline.cause) {
            (false, _) => match report.headline.verdict {
                Verdict::Copy if report.headline.copied_as.is_some() => {
                    "Nothing: it lived when this case was written.".to_owned()
                }
                Verdict::Copy => {
                    "Not known: this is a copy, and none of a signal, an exit or an unwinding is recorded in it. \
                     Whether its writer was killed, or lives, a copy can't hold: ask the region in its place, or a case of it."
                        .to_owned()
                }
                Verdict::Closed => "Nothing: it closed its region in order.".to_owned(),
                Verdict::Running | Verdict::Hung => "Nothing: it lives.".to_owned(),
                Verdict::Crashed => "Nothing: no end is recorded.".to_owned(),
            },
            (true, Some(Cause::Exit)) => {
                "It called exit, or returned from main, without closing its region. No panic of the main thread was recorded."
                    .to_owned()
            }
            (true, Some(Cause::Unwound)) => "Its region was dropped while a panic unwound; the panic was not recorded.".to_owned(),
            (true, Some(Cause::Exec)) => "Its process runs on with another program (exec), without the region.".to_owned(),
            (true, Some(Cause::OutOfMemory)) => "It was killed, and its memory cgroup counted an out-of-memory kill.".to_owned(),
            (true, _) => "It was ended from outside (SIGKILL, or a signal that nothing recorded). Who did it is not known.".to_owned(),
        });
    }
    list
}

/// Frames of a survived panic that are shown.
const SURVIVED_FRAMES: usize = 6;

/// The frames of a survived panic, the innermost ones; `None` where it has none.
pub(crate) fn survived_frames(report: &Report, panic: &Panic) -> Option<String> {
    let frames = Frames::of_panic(panic, &report.process.exe, &report.process.build_id)?;
    Some(format!("frames {}", frames.shown(SURVIVED_FRAMES)))
}

/// How to name those.
pub(crate) fn survived_command(report: &Report, panics: &[Panic]) -> Option<String> {
    let frames = panics.iter().filter_map(|panic| Frames::of_panic(panic, "", ""));
    let places: Vec<u64> =
        frames.flat_map(|frames| frames.places(0).take(SURVIVED_FRAMES).collect::<Vec<_>>()).collect();
    frames::command(&report.process.exe, places)
}

/// That there are no frames of the death.
pub(crate) fn no_frames(report: &Report) -> &'static str {
    if report.caught_panics.entries.iter().any(|panic| !panic.frames.is_empty()) {
        "none of its end were recorded; those of panics that it survived stand below"
    } else {
        "none were recorded"
    }
}

/// That the recording tells nothing of series.
pub(crate) fn no_history(report: &Report) -> &'static str {
    match report.evidence.history {
        Some(_) => "not known: the recording is shorter than 40s",
        None => "not known: nothing was recorded",
    }
}

/// That no series moved.
pub(crate) const NONE_MOVED: &str = "nothing moved otherwise in the last 10s than in the 5 minutes before";
/// That no series fell silent.
pub(crate) const NONE_SILENT: &str = "no series was silent for more than 10 times its usual gap";

/// An actor that was not idle.
pub(crate) fn unfinished(one: &Unfinished) -> String {
    let activity = &one.activity;
    let state = match one.state {
        UnfinishedState::Panicked => "panicked",
        UnfinishedState::Stuck => "stuck",
        UnfinishedState::Full => "mailbox full",
        UnfinishedState::Busy => "busy",
    };
    // An actor that ended is at nothing any more: how long ago that was says nothing of it.
    let busy_ns = activity.busy_ns.filter(|_| activity.state == ActivityState::Live);
    let doing = match (&activity.doing, busy_ns) {
        (Some(doing), Some(busy)) => format!(", in {doing} for {}", busy_for(busy, one.clock_seconds)),
        (Some(doing), None) => format!(", in {doing}"),
        (None, _) => String::new(),
    };
    let usual = match one.usual_seconds {
        Some(usual) => format!(" (usually {} where it was seen busy)", span(usual)),
        None if activity.handled > 0 => format!(" ({} messages handled)", activity.handled),
        None => String::new(),
    };
    let mailbox = match (activity.mailbox_depth, activity.mailbox_capacity) {
        (0, _) => String::new(),
        (depth, 0) => format!(", {depth} messages waiting"),
        (depth, capacity) => format!(", mailbox {depth} of {capacity}"),
    };
    format!("{}: {state}{doing}{usual}{mailbox}", activity.actor)
}

/// For how long an actor was busy. When a message began is known to a period of the writer's clock only, which ticks once a
/// period: of less than two of them only what it was less than is known.
pub(crate) fn busy_for(busy_ns: u64, clock_seconds: f64) -> String {
    let busy = busy_ns as f64 / 1e9;
    if clock_seconds > 0.0 && busy < 2.0 * clock_seconds {
        return format!("less than {}", span(((busy / clock_seconds).floor() + 1.0) * clock_seconds));
    }
    span(busy)
}

/// A moved series.
pub(crate) fn moved(one: &super::Moved) -> String {
    let (before, last) = match one.what {
        "rate" => (format!("{:.1}/s", one.before), format!("{:.1}/s", one.last)),
        "p99" => (format!("p99 <= {}", rounded(one.before)), format!("p99 <= {}", rounded(one.last))),
        _ => (rounded(one.before), rounded(one.last)),
    };
    format!("{}: {before} before, {last} in the last 10s", one.series)
}

/// An extreme.
pub(crate) fn extreme(one: &super::Extreme) -> String {
    let of = if one.since_start { "since the start" } else { "of the recording" };
    format!("{}: {}, the {} {of}, at {}", one.series, rounded(one.value), one.which, at(one.since_seconds))
}

/// A series that stopped.
pub(crate) fn silent(one: &super::Silent) -> String {
    let (silent, usual) = (span(one.silent_seconds), span(one.usual_gap_seconds));
    format!(
        "{}: silent for {silent} at the end, usually for {usual}; last change {}",
        one.series,
        at(one.last_change_seconds)
    )
}

/// Bytes in the largest unit that leaves a number above 1.
fn bytes(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Its memory, in one line.
pub(crate) fn memory(report: &Report) -> String {
    let Some(memory) = &report.memory else { return "not known: nothing was recorded".to_owned() };
    let process = memory
        .process
        .map(|process| format!("{} resident, {} threads", bytes(process.resident_bytes), process.threads));
    let cgroup = memory.cgroup.map(|cgroup| {
        let limit =
            cgroup.limit_bytes.map_or_else(|| "without limit".to_owned(), |limit| format!("of {}", bytes(limit)));
        format!("cgroup {} {limit}", bytes(cgroup.usage_bytes))
    });
    let kills = match memory.oom_kills_meanwhile {
        Some(0) => "no out-of-memory kill counted".to_owned(),
        Some(1) => "1 out-of-memory kill counted".to_owned(),
        Some(kills) => format!("{kills} out-of-memory kills counted"),
        None if report.headline.cause == Some(Cause::OutOfMemory) => "an out-of-memory kill counted".to_owned(),
        None => "out-of-memory kills not known".to_owned(),
    };
    let parts: Vec<String> = process.into_iter().chain(cgroup).chain([kills]).collect();
    format!("{} (at {})", parts.join("; "), at(memory.at_seconds))
}

/// What became of the name.
pub(crate) fn successor(report: &Report) -> String {
    match &report.successor {
        Some(next) => {
            let after = span(next.after_seconds);
            format!(
                "{after} later, at {}, as pid {}, which is {} now",
                at(next.started_seconds),
                next.pid,
                next.verdict
            )
        }
        None if report.from_case => "not known: this is a case".to_owned(),
        None if report.headline.verdict == Verdict::Copy => "not known: this is a copy".to_owned(),
        None => "no".to_owned(),
    }
}

/// How many panics the ring had no room for.
pub(crate) fn panics_lost(report: &Report) -> Option<String> {
    let lost = report.evidence.panics_lost;
    (lost > 0)
        .then(|| format!("and {lost} more, of which nothing is kept: the region holds the first panic and the last 8"))
}

/// What the report stands on, in lines of a name and a text.
pub(crate) fn basis(report: &Report) -> Vec<(&'static str, String)> {
    let basis = &report.evidence;
    let count = basis.findings.entries.len() as u64 + basis.findings.more;
    let verify =
        if count == 0 { "nothing is wrong with the file".to_owned() } else { format!("{count} findings in the file") };
    let mut list = vec![("verify", verify)];
    list.push((
        "history",
        match &basis.history {
            Some(span_) => {
                let gaps = match span_.gaps {
                    0 => "no gaps".to_owned(),
                    gaps => format!("{gaps} gaps, the longest {}", span(span_.longest_gap_seconds)),
                };
                let lost = match span_.lost {
                    0 => String::new(),
                    1 => ", 1 tick lost".to_owned(),
                    lost => format!(", {lost} ticks lost"),
                };
                let unseen = if span_.series_not_followed > 0 {
                    format!(", {} series not followed", span_.series_not_followed)
                } else {
                    String::new()
                };
                let reach = span(span_.last_seconds - span_.first_seconds);
                format!(
                    "{reach} to {}, {} samples, one each {}, {gaps}{lost}{unseen}",
                    at(span_.last_seconds),
                    span_.samples,
                    span(span_.interval_seconds)
                )
            }
            None => "none was recorded".to_owned(),
        },
    ));
    let none = || "none is kept of it; `tacho case` makes one".to_owned();
    list.push(("case", basis.case.clone().unwrap_or_else(none)));
    let lost: Vec<String> = [
        (basis.notes_lost, "older notes"),
        (basis.panics_lost, "panics between the first and the latest"),
        (basis.actors_untold, "actors without a slot"),
        (basis.left_out, "half-written or damaged records"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    list.push(("losses", if lost.is_empty() { "none known".to_owned() } else { lost.join(", ") }));
    list
}
