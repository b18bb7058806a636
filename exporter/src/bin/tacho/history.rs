//! `tacho history`: how series went, out of a recording.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tachograph_exporter::case::{self, Case};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::Now;
use tachograph_exporter::recording::history::{Point, QUANTILES, Row, Rows};
use tachograph_exporter::recording::{RecordedRegion, Recordings};
use tachograph_exporter::{Verdict, number, table};

use crate::cli::History;
use crate::output::{self, FOUND};
use crate::plot::Plot;

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
        let directory = if is_path { path.to_owned() } else { recorder_directory(args.recorder_dir.as_deref()) };
        let case = case::is_case(path).then(|| Case::open(path)).transpose()?;
        let recordings = match &case {
            Some(case) => {
                case.problems().iter().for_each(|problem| output::say(&format!("{}: {problem}", args.region)));
                case.recordings()?
            }
            None => Recordings::open(&directory)?,
        };
        for problem in recordings.problems() {
            output::say(&format!("{}: {}", problem.path.display(), problem.error));
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
                output::say(&format!("{}: {}", problem.path.display(), problem.error));
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
        crash = (region.verdict == Verdict::Crashed).then(|| (region.last_sign_ns(), sample.realtime_ns));
    }
    crash
}

/// The recorder's directory: given, from the environment, or the usual one.
pub(crate) fn recorder_directory(given: Option<&Path>) -> PathBuf {
    let variable = || std::env::var_os("TACHOGRAPH_RECORDER_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    given.map(Path::to_owned).or_else(variable).unwrap_or_else(|| "/var/lib/tacho".into())
}

/// What is printed, in the form that was asked for.
struct Output {
    form: Form,
    rows: usize,
    regions: Vec<Json>,
}

enum Form {
    Table(table::Table),
    Plot(Vec<(String, Plot)>),
    Csv,
    Json(Vec<Json>),
}

impl Output {
    fn new(args: &History) -> Self {
        let form = if args.json {
            Form::Json(Vec::new())
        } else if args.csv {
            output::print("time,region,metric,labels,value,rate,mean,p50,p90,p99,gap_seconds\n", ExitCode::SUCCESS);
            Form::Csv
        } else if args.plot {
            Form::Plot(Vec::new())
        } else {
            Form::Table(table::Table::new(&["TIME", "SERIES", ">VALUE", ">RATE/S", ">MEAN", ">P50", ">P99", "GAP"]))
        };
        Self { form, rows: 0, regions: Vec::new() }
    }

    /// Another region took the place of the one before.
    fn replaced(&mut self, region: &RecordedRegion, realtime_ns: u64) {
        let restarted = format!("-- {} restarted, pid {} --", region.origin().name, region.origin().pid);
        match &mut self.form {
            Form::Table(table) => table.row(vec![time(realtime_ns), restarted]),
            Form::Plot(plots) => plots.iter_mut().for_each(|(_, plot)| plot.push(realtime_ns, f64::NAN)),
            Form::Csv | Form::Json(_) => {}
        }
    }

    fn row(&mut self, row: &Row, region: &RecordedRegion) -> Result<(), ()> {
        self.rows += 1;
        let series = if row.labels.is_empty() { row.name.clone() } else { format!("{}{{{}}}", row.name, row.labels) };
        let cells = Cells::of(&row.point);
        match &mut self.form {
            Form::Table(table) => {
                let gap = row.gap_ns.map_or_else(String::new, |gap| format!("{} not recorded", span(gap)));
                let [p50, _, p99] = cells.quantiles.map(short);
                table.row(vec![
                    time(row.realtime_ns),
                    series,
                    cells.value,
                    short(cells.rate),
                    short(cells.mean),
                    p50,
                    p99,
                    gap,
                ]);
            }
            Form::Plot(plots) => {
                let value = if cells.is_rate { cells.rate } else { cells.number };
                if !plots.iter().any(|(known, _)| *known == series) {
                    plots.push((series.clone(), Plot::default()));
                }
                if let Some((_, plot)) = plots.iter_mut().find(|(known, _)| *known == series) {
                    if row.gap_ns.is_some() {
                        plot.push(row.realtime_ns, f64::NAN);
                    }
                    plot.push(row.realtime_ns, value);
                }
            }
            Form::Csv => {
                let exact = |value: f64| if value.is_nan() { String::new() } else { float(value) };
                let [p50, p90, p99] = cells.quantiles.map(exact);
                let fields = [
                    exact_time(row.realtime_ns),
                    region.origin().name.clone(),
                    row.name.clone(),
                    row.labels.clone(),
                    cells.value,
                    exact(cells.rate),
                    exact(cells.mean),
                    p50,
                    p90,
                    p99,
                    row.gap_ns.map_or_else(String::new, |gap| float(gap as f64 / 1e9)),
                ];
                let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
                return written(&format!("{}\n", line.join(",")));
            }
            Form::Json(rows) => {
                let mut object = json!({
                    "time_seconds": row.realtime_ns as f64 / 1e9,
                    "uuid": region.origin().uuid,
                    "metric": row.name,
                    "labels": row.labels,
                });
                cells.put(&row.point, &mut object);
                if let Some(gap) = row.gap_ns {
                    object["gap_seconds"] = json!(gap as f64 / 1e9);
                }
                rows.push(object);
            }
        }
        Ok(())
    }

    fn end(mut self, found: &Found, code: ExitCode) -> ExitCode {
        match self.form {
            Form::Table(_) | Form::Plot(_) if self.rows == 0 => code,
            Form::Table(table) => output::print(table.to_string(), code),
            Form::Plot(plots) => {
                let mut text = String::new();
                for (series, plot) in plots.iter().take(MOST_PLOTS) {
                    let _ = writeln!(text, "{}\n{plot}", table::printable(series));
                }
                if plots.len() > MOST_PLOTS {
                    let _ = writeln!(text, "{} more series; name fewer", plots.len() - MOST_PLOTS);
                }
                output::print(text, code)
            }
            Form::Csv => code,
            Form::Json(rows) => {
                for region in &found.regions {
                    let spans: Vec<Json> = region
                        .spans()
                        .iter()
                        .map(|span| {
                            json!({
                                "interval_seconds": span.interval_ns as f64 / 1e9,
                                "first_seconds": span.first_ns as f64 / 1e9,
                                "last_seconds": span.last_ns as f64 / 1e9,
                            })
                        })
                        .collect();
                    self.regions.push(json!({"origin": region.origin(), "spans": spans}));
                }
                let object = json!({"version": 1, "regions": self.regions, "rows": rows});
                output::print(format!("{object}\n"), code)
            }
        }
    }
}

/// Most series that are drawn.
const MOST_PLOTS: usize = 12;

/// A point as it is shown; NaN for what it has not.
struct Cells {
    value: String,
    number: f64,
    is_rate: bool,
    rate: f64,
    mean: f64,
    quantiles: [f64; 3],
}

impl Cells {
    fn of(point: &Point) -> Self {
        let nan = f64::NAN;
        let none =
            Self { value: String::new(), number: nan, is_rate: false, rate: nan, mean: nan, quantiles: [nan; 3] };
        match point {
            Point::Count(value, rate) => Self {
                value: value.to_string(),
                number: *value as f64,
                is_rate: true,
                rate: rate.unwrap_or(nan),
                ..none
            },
            Point::Sum(value, rate) => {
                Self { value: float(*value), number: *value, is_rate: true, rate: rate.unwrap_or(nan), ..none }
            }
            Point::Integer(value) => Self { value: value.to_string(), number: *value as f64, ..none },
            Point::Float(value) => Self { value: float(*value), number: *value, ..none },
            Point::States(on) => Self {
                value: if on.is_empty() { "none".to_owned() } else { on.join("+") },
                number: on.len() as f64,
                ..none
            },
            Point::Histogram(seen) => {
                let since = seen.since.as_ref();
                Self {
                    value: seen.count.to_string(),
                    number: seen.count as f64,
                    is_rate: true,
                    rate: since.map_or(nan, |since| since.rate),
                    mean: since.map_or(nan, |since| since.mean),
                    quantiles: since.map_or([nan; 3], |since| since.quantiles),
                }
            }
        }
    }

    /// Puts the point into a JSON object.
    fn put(&self, point: &Point, object: &mut Json) {
        let number = |value: f64| {
            if value.is_nan() {
                Json::Null
            } else {
                serde_json::Number::from_f64(value).map_or_else(|| json!(float(value)), Json::Number)
            }
        };
        match point {
            Point::Count(value, _) => object["value"] = json!(value),
            Point::Integer(value) => object["value"] = json!(value),
            Point::Sum(value, _) | Point::Float(value) => object["value"] = number(*value),
            Point::States(on) => object["states"] = json!(on),
            Point::Histogram(seen) => {
                object["count"] = json!(seen.count);
                object["sum"] = number(seen.sum);
                if let Some(since) = &seen.since {
                    object["since_count"] = json!(since.count);
                    object["mean"] = number(since.mean);
                    let quantiles = QUANTILES.iter().zip(since.quantiles);
                    let quantiles: Vec<Json> =
                        quantiles.map(|(share, bound)| json!({"quantile": share, "upper": number(bound)})).collect();
                    object["quantiles"] = json!(quantiles);
                }
            }
        }
        if self.is_rate {
            object["rate"] = number(self.rate);
        }
    }
}

fn written(text: &str) -> Result<(), ()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes()).map_err(drop)
}

/// A field of CSV.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn float(value: f64) -> String {
    let mut text = Vec::new();
    number::push_f64(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

/// A number for a table: four digits are enough there.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if !size.is_finite() => float(value),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.3e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn span(ns: u64) -> String {
    table::span(ns as f64 / 1e9)
}

fn time(realtime_ns: u64) -> String {
    stamp(realtime_ns, "%Y-%m-%d %H:%M:%S%.3f UTC")
}

fn exact_time(realtime_ns: u64) -> String {
    stamp(realtime_ns, "%Y-%m-%dT%H:%M:%S%.9fZ")
}

fn stamp(realtime_ns: u64, form: &str) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(realtime_ns))
        .map_or_else(|_| realtime_ns.to_string(), |time| time.strftime(form).to_string())
}
