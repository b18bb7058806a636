//! `tacho diff`: what is different between two regions, copies or moments.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use tachograph_exporter::diff::{Diff, Pair};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::Now;
use tachograph_exporter::moment::{Moment, MomentError};
use tachograph_exporter::recording::{RecordedRegion, Recordings};
use tachograph_exporter::table::{self, Table};
use tachograph_exporter::{Directories, Snapshot};

use crate::cli;
use crate::output;

pub(crate) fn run(args: &cli::Diff) -> ExitCode {
    let directories = args.directories.open();
    let recorder_dir = args.recordings.path();
    // What was asked in a wrong way is wrong whatever there is to be found.
    let (a, b) = match Asked::of(&args.a).and_then(|a| Ok((a, Asked::of(&args.b)?))) {
        Ok(asked) => asked,
        Err(error) => return output::misused(&error, args.json),
    };
    let side = |asked: Asked<'_>| asked.side(&directories, &recorder_dir);
    let (a, b) = match side(a).and_then(|a| Ok((a, side(b)?))) {
        Ok(sides) => sides,
        Err(error) if error.is::<MomentError>() => return output::misused(error.as_ref(), args.json),
        Err(error) => return output::fail_as(error.as_ref(), args.json),
    };
    let mut diff = Diff::new(&a.0, &b.0, (a.1, b.1));
    if let Some(pattern) = &args.filter {
        let filter = Filter::new(pattern);
        diff.changed.retain(|change| filter.matches(&change.series.name));
        diff.only_in_a.retain(|series| filter.matches(&series.name));
        diff.only_in_b.retain(|series| filter.matches(&series.name));
    }
    if args.json {
        return match serde_json::to_string(&diff) {
            Ok(json) => output::print(format!("{json}\n"), ExitCode::SUCCESS),
            Err(error) => output::fail_as(&error, true),
        };
    }
    output::print(text(&diff), ExitCode::SUCCESS)
}

type Side = (Snapshot, u64);

/// What one side is to be.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    /// A region as it is.
    Region(&'a str),
    /// A region as it was recorded at a moment.
    Recorded(&'a str, Moment),
}

impl<'a> Asked<'a> {
    fn of(region: &'a str) -> Result<Self, MomentError> {
        let moment = region.split_once('@').filter(|(_, time)| *time != "crash" && !region.contains('/'));
        let Some((name, time)) = moment else { return Ok(Self::Region(region)) };
        // `@crash-10s` counts from the crash, all else stands for itself.
        let time = if time.starts_with("crash") { &region[name.len()..] } else { time };
        Ok(Self::Recorded(name, time.parse()?))
    }

    fn side(self, directories: &Directories, recorder_dir: &Path) -> Result<Side, Box<dyn std::error::Error>> {
        let region = match self {
            Self::Region(region) => region,
            Self::Recorded(name, moment) => return recorded(directories, recorder_dir, name, moment),
        };
        let snapshot = directories.resolve(region)?.snapshot()?;
        let at_ns = snapshot.region.at_ns(Now::read().realtime_ns);
        Ok((snapshot, at_ns))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{directory}: nothing of {name} is recorded just before {at}{since}; `tacho serve --recorder.dir` records")]
struct NotRecorded {
    directory: String,
    name: String,
    at: String,
    since: String,
}

/// The last sample until a moment.
fn recorded(
    directories: &Directories,
    recorder_dir: &Path,
    name: &str,
    moment: Moment,
) -> Result<Side, Box<dyn std::error::Error>> {
    let recordings = Recordings::open(recorder_dir)?;
    for problem in recordings.problems() {
        output::say(&problem.to_string());
    }
    let crash = match moment {
        Moment::FromCrash(_) => Some(directories.resolve(&format!("{name}@crash"))?.info()?),
        _ => None,
    };
    let at_ns = moment.at(Now::read().realtime_ns, crash.as_ref().map(|crash| crash.ended_ns()))?;
    let of_crash = |uuid: [u8; 16]| crash.as_ref().is_none_or(|crash| crash.uuid == uuid);
    let regions = recordings.named(name).rev().filter(|region| of_crash(region.origin().region_uuid()));
    let regions: Vec<&RecordedRegion> = regions.collect();
    for region in &regions {
        // Of the finest span that reaches so far; a window from there on is short.
        let reach = region.spans().iter().filter(|span| span.first_ns <= at_ns).map(|span| span.interval_ns).min();
        let Some(interval_ns) = reach else { continue };
        let last_ns = region.spans().iter().map(|span| span.last_ns).max().unwrap_or(at_ns).min(at_ns);
        let mut window = region.window(last_ns.saturating_sub(interval_ns.saturating_mul(10)), at_ns);
        let mut last = None;
        while let Some(sample) = window.next_sample() {
            last = Some((sample.snapshot.clone(), sample.realtime_ns));
        }
        if let Some(side) = last {
            return Ok(side);
        }
    }
    let first = regions.iter().flat_map(|region| region.spans()).map(|span| span.first_ns).min();
    let since = first.map_or_else(String::new, |first| format!(" (from {} on, it is)", table::moment(first)));
    let (directory, at) = (recorder_dir.display().to_string(), table::moment(at_ns));
    Err(NotRecorded { directory, name: name.to_owned(), at, since }.into())
}

fn text(diff: &Diff) -> String {
    let side = |letter: char, side: &tachograph_exporter::diff::Side| {
        let at = table::moment((side.at_seconds * 1e9) as u64);
        table::printable(&format!("{letter}  {} ({}) at {at}, {}", side.region, side.verdict, side.path))
    };
    let mut text = format!("{}\n{}\n", side('A', &diff.a), side('B', &diff.b));
    let seconds = diff.b.at_seconds - diff.a.at_seconds;
    if diff.same_region {
        let apart = table::span(seconds.abs());
        let _ = writeln!(text, "One region, {apart} apart{}.", if seconds < 0.0 { ", B the earlier" } else { "" });
    } else {
        text.push_str("Two regions: what a counter differs by was not counted between the two moments.\n");
    }
    if !diff.changed.is_empty() {
        let mut rows = Table::new(&["METRIC", "KIND", "", ">A", ">B", ">CHANGE", ">RATIO"]);
        for change in &diff.changed {
            let pairs = [("count", change.sum.map(|_| change.values)), ("sum", change.sum)];
            let pairs = pairs.into_iter().chain([("p50 <=", change.p50), ("p99 <=", change.p99)]);
            let single = ("", change.sum.is_none().then_some(change.values));
            for (index, (what, pair)) in
                std::iter::once(single).chain(pairs).filter_map(|(what, pair)| Some((what, pair?))).enumerate()
            {
                let first = |text: String| if index == 0 { text } else { String::new() };
                let Pair { a, b, change: by, ratio } = pair;
                rows.row(vec![
                    first(change.series.to_string()),
                    first(change.kind.as_str().to_owned()),
                    what.to_owned(),
                    number(a),
                    number(b),
                    signed(by),
                    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}x")),
                ]);
            }
        }
        let _ = write!(text, "\n{rows}");
    }
    for (letter, only) in [('A', &diff.only_in_a), ('B', &diff.only_in_b)] {
        if !only.is_empty() {
            let _ = writeln!(text, "\nonly in {letter}");
            only.iter().for_each(|series| text.push_str(&format!("  {}\n", table::printable(&series.to_string()))));
        }
    }
    let _ = writeln!(text, "\n{} series differ, {} are equal.", diff.changed.len(), diff.unchanged);
    text
}

fn number(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { table::float(value) }
}

fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 && value.is_finite() { format!("+{text}") } else { text }
}
