//! `tacho watch`: a line each interval of a few series of one region.
//!
//! Counters and histograms are shown as rates between two looks, so their first one is N/A. Ends when the region's writer
//! dies, with the last values.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value as Json, json};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::{self, Now};
use tachograph_exporter::{Family, Kind, Schema, Series, Snapshot, Value, Verdict, distribution, table};

use crate::cli::Watch;
use crate::output::{self, FOUND};

/// Most series of one watch: more do not fit a line.
const MOST: usize = 16;
/// Lines between two headers.
const PAGE: usize = 20;
/// Width that a header of names may take; past it the columns are numbered.
const WIDTH: usize = 80;

#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("{metric} matches no metric of {region}; `tacho show {region}` lists them")]
    Nothing { metric: String, region: String },
    #[error("{count} series match, and a line holds {MOST}; name fewer, such as NAME{{LABEL=\"VALUE\"}}")]
    TooMany { count: usize },
}

pub(crate) fn run(args: &Watch) -> ExitCode {
    let directories = args.directories.open();
    let reader = match directories.resolve(&args.region) {
        Ok(reader) => reader,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let patterns: Vec<Pattern> = args.metrics.iter().map(|metric| Pattern::new(metric)).collect();
    let started = Instant::now();
    let (mut before, mut columns, mut schema): (Option<Look>, Vec<usize>, Option<Arc<Schema>>) = (None, vec![], None);
    for line in 0..args.count.unwrap_or(u64::MAX) {
        let due = args.interval.saturating_mul(u32::try_from(line).unwrap_or(u32::MAX));
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let snapshot = match reader.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return output::fail_as(&error, args.json),
        };
        let now = Now::read();
        let changed = !schema.as_ref().is_some_and(|schema| Arc::ptr_eq(schema, &snapshot.schema));
        if changed {
            columns = match columns_of(&snapshot, &patterns, &args.metrics) {
                Ok(columns) => columns,
                Err(error) => return output::fail_as(&error, args.json),
            };
            schema = Some(Arc::clone(&snapshot.schema));
        }
        let look = Look { snapshot, at: now };
        let verdict = look.snapshot.region.verdict;
        let text = if args.json {
            format!("{}\n", look.json(before.as_ref(), &columns))
        } else {
            let header = changed || line.is_multiple_of(PAGE as u64);
            look.text(before.as_ref(), &columns, header)
        };
        let region = &look.snapshot.region;
        let last =
            (!verdict.is_alive()).then(|| format!("{} is {}: these are its last values", region.name, region.verdict));
        let code = output::print(text, ExitCode::SUCCESS);
        if code != ExitCode::SUCCESS {
            return code;
        }
        if let Some(last) = last {
            output::say(&last);
            // Nothing is said of the writer of a copy.
            return if verdict == Verdict::Copy { ExitCode::SUCCESS } else { FOUND };
        }
        before = Some(look);
    }
    ExitCode::SUCCESS
}

/// What METRIC asks for: a glob over names, and labels that a series must have.
struct Pattern {
    name: Filter,
    labels: Vec<(String, String)>,
}

impl Pattern {
    fn new(metric: &str) -> Self {
        let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
        Self { name: Filter::new(name), labels: json::labels(labels.strip_suffix('}').unwrap_or(labels)) }
    }

    fn matches(&self, family: &Family, series: &Series<'_>) -> bool {
        self.name.matches(&family.name) && {
            let labels = json::labels(series.labels);
            self.labels.iter().all(|label| labels.contains(label))
        }
    }
}

/// The series that match, in the order in which they were asked for.
fn columns_of(snapshot: &Snapshot, patterns: &[Pattern], metrics: &[String]) -> Result<Vec<usize>, WatchError> {
    let mut columns = Vec::new();
    for (pattern, metric) in patterns.iter().zip(metrics) {
        let series = snapshot.schema.series.iter().enumerate();
        let of = |series: &Series<'_>| snapshot.schema.families.get(series.family);
        let matching = series.filter(|(_, series)| of(series).is_some_and(|family| pattern.matches(family, series)));
        let matching: Vec<usize> = matching.map(|(index, _)| index).collect();
        if matching.is_empty() {
            let region = snapshot.region.name.clone();
            return Err(WatchError::Nothing { metric: metric.clone(), region });
        }
        columns.extend(matching.into_iter().filter(|index| !columns.contains(index)).collect::<Vec<_>>());
    }
    if columns.len() > MOST { Err(WatchError::TooMany { count: columns.len() }) } else { Ok(columns) }
}

/// A snapshot and when it was taken.
struct Look {
    snapshot: Snapshot,
    at: Now,
}

impl Look {
    fn series(&self, index: usize) -> Option<(&Family, Series<'_>)> {
        let series = self.snapshot.schema.series.get(index)?;
        Some((self.snapshot.schema.families.get(series.family)?, series))
    }

    fn name(&self, index: usize) -> String {
        self.series(index).map_or_else(String::new, |(family, series)| {
            let braces = if series.labels.is_empty() { String::new() } else { format!("{{{}}}", series.labels) };
            let rate = matches!(family.kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential);
            table::printable(&format!("{}{braces}{}", family.name, if rate { " /s" } else { "" }))
        })
    }

    fn text(&self, before: Option<&Self>, columns: &[usize], header: bool) -> String {
        let names: Vec<String> = columns.iter().map(|index| self.name(*index)).collect();
        let at = table::moment(self.at.realtime_ns);
        // The day stands in the header.
        let (day, time) = at.split_once(' ').unwrap_or(("", &at));
        let time = time.trim_end_matches(" UTC");
        let columns_of =
            |named: bool| names.iter().zip(columns).map(move |(name, index)| self.width(name, *index, named));
        let named = columns_of(true).map(|width| width + 2).sum::<usize>() + time.len() <= WIDTH;
        let widths: Vec<usize> = columns_of(named).collect();
        // Two spaces stand between columns, whatever is in them.
        let cells = |cells: Vec<String>| {
            cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:>width$}")).collect::<String>()
        };
        let mut text = String::new();
        if header && named {
            let _ = writeln!(text, "{:8}{}", "UTC", cells(names.clone()));
        } else if header {
            let _ = writeln!(text, "{} of {}, UTC of {day}:", columns.len(), self.snapshot.region.name);
            for (number, name) in (1..).zip(&names) {
                let _ = writeln!(text, "  [{number}] {name}");
            }
            let numbers = (1..=names.len()).map(|number| format!("[{number}]")).collect();
            let _ = writeln!(text, "{:8}{}", "", cells(numbers));
        }
        let values = columns.iter().map(|index| self.cell(before, *index)).collect();
        let _ = writeln!(text, "{time}{}", cells(values));
        text
    }

    /// Columns that a series takes: room for what it shows, and for its name where that stands above.
    fn width(&self, name: &str, index: usize, named: bool) -> usize {
        let histogram = matches!(self.snapshot.value(index), Value::Histogram { .. });
        let least = if histogram { "123456.0 p99<=0.00123456".len() } else { 10 };
        if named { name.chars().count().max(if histogram { least } else { 0 }) } else { least }
    }

    fn cell(&self, before: Option<&Self>, index: usize) -> String {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "N/A".to_owned(), |rate| format!("{rate:.1}"));
        match self.value(before, index) {
            Shown::Value(value) => table::rounded(value),
            Shown::Rate(per_second) => rate(per_second),
            Shown::Observations(per_second, p99) => {
                let bound = p99.map_or_else(String::new, |p99| format!(" p99<={}", table::rounded(p99)));
                format!("{}{bound}", rate(per_second))
            }
        }
    }

    fn json(&self, before: Option<&Self>, columns: &[usize]) -> Json {
        let value = |index: &usize| {
            let (family, series) = self.series(*index)?;
            let labels = json::labels(series.labels).into_iter().map(|(name, value)| (name, Json::String(value)));
            let labels: serde_json::Map<String, Json> = labels.collect();
            let mut object = json!({ "name": family.name, "labels": labels, "kind": family.kind.as_str() });
            let fields = object.as_object_mut()?;
            match self.value(before, *index) {
                Shown::Value(value) => drop(fields.insert("value".to_owned(), json::float(value))),
                Shown::Rate(rate) => drop(fields.insert("per_second".to_owned(), json!(rate))),
                Shown::Observations(rate, p99) => {
                    fields.insert("per_second".to_owned(), json!(rate));
                    fields.insert("p99".to_owned(), p99.map_or(Json::Null, json::float));
                }
            }
            Some(object)
        };
        let values: Vec<Json> = columns.iter().filter_map(value).collect();
        let at_seconds = self.at.realtime_ns as f64 / 1e9;
        let region = &self.snapshot.region;
        json!({ "version": 1, "region": region.name, "verdict": region.verdict, "at_seconds": at_seconds, "series": values })
    }

    fn value(&self, before: Option<&Self>, index: usize) -> Shown {
        let earlier = before.and_then(|before| Some((before, before.index_of(self, index)?)));
        let seconds = |before: &Self| (self.at.monotonic_ns.saturating_sub(before.at.monotonic_ns)) as f64 / 1e9;
        let rate = |before: &Self, by: f64| Some(by / seconds(before)).filter(|rate| rate.is_finite());
        let counter = self.series(index).is_some_and(|(family, _)| family.kind == Kind::Counter);
        let was = earlier.map(|(before, index)| (before, before.snapshot.value(index)));
        match (self.snapshot.value(index), was) {
            (Value::Histogram { buckets, .. }, Some((before, Value::Histogram { buckets: earlier, .. }))) => {
                let between = distribution::between(earlier, buckets);
                let bounds = self.series(index).map_or(&[][..], |(family, _)| &family.bounds);
                let p99 = distribution::quantile(bounds, &between, 0.99);
                Shown::Observations(rate(before, distribution::count(&between) as f64), p99)
            }
            (Value::Histogram { .. }, _) => Shown::Observations(None, None),
            (Value::U64(value), Some((before, Value::U64(earlier)))) if counter => {
                Shown::Rate(rate(before, value.saturating_sub(earlier) as f64))
            }
            (Value::F64(value), Some((before, Value::F64(earlier)))) if counter => {
                Shown::Rate(rate(before, (value - earlier).max(0.0)))
            }
            _ if counter => Shown::Rate(None),
            (Value::U64(value) | Value::States(value), _) => Shown::Value(value as f64),
            (Value::I64(value), _) => Shown::Value(value as f64),
            (Value::F64(value), _) => Shown::Value(value),
            (Value::Info, _) => Shown::Value(1.0),
        }
    }

    /// The same series here, by its slot and how often that was given away.
    fn index_of(&self, later: &Self, index: usize) -> Option<usize> {
        if Arc::ptr_eq(&self.snapshot.schema, &later.snapshot.schema) {
            return Some(index);
        }
        let (_, wanted) = later.series(index)?;
        let same = |series: Series<'_>| series.slot == wanted.slot && series.generation == wanted.generation;
        self.snapshot.schema.series.iter().position(same)
    }
}

/// What is shown of a series.
enum Shown {
    Value(f64),
    /// A second; `None` at the first look.
    Rate(Option<f64>),
    /// Observations a second, and the 99th percentile of those.
    Observations(Option<f64>, Option<f64>),
}
