//! `tacho history`: how series went, out of a recording. Here is what is asked for: which recordings, which window.

mod cells;
mod form;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use tachograph_exporter::case::{self, Case};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::Now;
use tachograph_exporter::recording::history::Rows;
use tachograph_exporter::recording::{RecordedRegion, Recordings};
use tachograph_exporter::{Verdict, table};

pub(crate) use cells::short;
use form::Output;

use crate::cli::History;
use crate::output::{self, FOUND};

/// Rows of a table where the user did not say.
const ROWS: u64 = 40;

pub(crate) fn run(args: &History) -> ExitCode {
    match Found::of(args) {
        Ok(found) => found.show(args),
        Err(error) => output::fail_as(&*error, args.json),
    }
}

type Failure = Box<dyn std::error::Error>;

/// The recordings asked for, and the window.
struct Found {
    regions: Vec<RecordedRegion>,
    from_ns: u64,
    to_ns: u64,
    /// Where the blocks are unpacked.
    _case: Option<Case>,
}

impl Found {
    fn of(args: &History) -> Result<Self, Failure> {
        let (name, is_crash) = match args.region.strip_suffix("@crash") {
            Some(name) => (name, true),
            None => (args.region.as_str(), false),
        };
        let path = Path::new(&args.region);
        let is_path =
            args.region.contains('/') || args.region.ends_with(".tachorec") || case::is_case(path) || path.is_dir();
        let directory = if is_path { path.to_owned() } else { args.recordings.path() };
        let case = case::is_case(path).then(|| Case::open(path)).transpose()?;
        let recordings = match &case {
            Some(case) => {
                case.problems().iter().for_each(|problem| output::say(&format!("{}: {problem}", args.region)));
                case.recordings()?
            }
            None => Recordings::open(&directory)?,
        };
        for problem in recordings.problems() {
            output::say(&problem.to_string());
        }
        let mut regions: Vec<RecordedRegion> =
            if is_path { recordings.regions().to_vec() } else { recordings.named(name).cloned().collect() };
        if regions.is_empty() {
            let names: std::collections::BTreeSet<&str> =
                recordings.regions().iter().map(|region| region.origin().name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let recorded = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return Err(format!("{}: no recording of {name}; recorded there: {recorded}", directory.display()).into());
        }
        // The newest recording that ends in a crash; where it is asked for, only that one counts.
        let crash = regions.iter().enumerate().rev().find_map(|(index, region)| Some((index, crash(region)?)));
        let now = Now::read().realtime_ns;
        let mut to_ns = args.to.map(|to| to.at(now, crash.map(|(_, (at, _))| at))).transpose()?;
        if is_crash {
            let (index, (_, last_ns)) = crash.ok_or_else(|| format!("{name}: no crash is recorded"))?;
            regions = vec![regions.swap_remove(index)];
            to_ns = to_ns.or(Some(last_ns));
        }
        // What was copied away ends with its last sample, however long ago that was.
        let end = || regions.iter().flat_map(RecordedRegion::spans).map(|span| span.last_ns).max();
        let ends_by_itself = args.to.is_none() && (is_crash || is_path);
        let to_ns = to_ns.or_else(|| end().filter(|_| is_path)).unwrap_or(now);
        // "Before now" counts from where the window ends: a dead region's last minutes, not empty ones.
        let anchor = if ends_by_itself { to_ns } else { now };
        let from_ns = args.from.at(anchor, crash.map(|(_, (at, _))| at))?;
        if from_ns > to_ns {
            return Err(format!("--from {} is after --to {}", table::moment(from_ns), table::moment(to_ns)).into());
        }
        Ok(Self { regions, from_ns, to_ns, _case: case })
    }

    fn show(&self, args: &History) -> ExitCode {
        let filter = Filter::new(&args.metric);
        let step_ns = match args.step {
            Some(step) => u64::try_from(step.as_nanos()).unwrap_or(u64::MAX),
            None if args.csv || args.json => 0,
            None => self.recorded() / ROWS,
        };
        let mut out = Output::new(args);
        let mut code = ExitCode::SUCCESS;
        for (index, region) in self.regions.iter().enumerate() {
            let mut rows = Rows::new(region.window(self.from_ns, self.to_ns), &filter, step_ns);
            let mut first = true;
            for row in rows.by_ref() {
                if first && index > 0 {
                    out.replaced(region, row.realtime_ns);
                }
                first = false;
                if out.row(&row, region).is_err() {
                    return ExitCode::SUCCESS;
                }
            }
            for problem in rows.problems() {
                output::say(&problem.to_string());
            }
        }
        if out.rows == 0 {
            output::say(&self.nothing(&args.metric));
            code = FOUND;
        }
        out.end(self, code)
    }

    /// How much of the window is recorded at all, in nanoseconds.
    fn recorded(&self) -> u64 {
        let spans: Vec<_> = self.regions.iter().flat_map(RecordedRegion::spans).collect();
        let first = spans.iter().map(|span| span.first_ns).min().unwrap_or(0).max(self.from_ns);
        let last = spans.iter().map(|span| span.last_ns).max().unwrap_or(0).min(self.to_ns);
        last.saturating_sub(first)
    }

    /// Why there is no row: with the span that there really is.
    fn nothing(&self, metric: &str) -> String {
        let mut text =
            format!("no sample of {metric} from {} to {}", table::moment(self.from_ns), table::moment(self.to_ns));
        for region in &self.regions {
            for span in region.spans() {
                let (first, last) = (table::moment(span.first_ns), table::moment(span.last_ns));
                let every = table::span(span.interval_ns as f64 / 1e9);
                let _ = write!(text, "\n{}: recorded every {every} from {first} to {last}", region.origin().name);
            }
        }
        text
    }
}

/// Where a recording ends in a crash: the last sign of life, and the last sample, which was taken of the dead region.
fn crash(region: &RecordedRegion) -> Option<(u64, u64)> {
    let last_ns = region.spans().iter().map(|span| span.last_ns).max()?;
    let mut window = region.window(last_ns, u64::MAX);
    let mut crash = None;
    while let Some(sample) = window.next_sample() {
        let region = &sample.snapshot.region;
        crash = (region.verdict == Verdict::Crashed).then(|| (region.ended_ns(), sample.realtime_ns));
    }
    crash
}
