//! How single series went: rows of a window, with rates and with quantiles of what was observed between two rows.
//!
//! Called by `tacho history` and by reports. A row of a counter or histogram tells of the time since the row before; where
//! something was not recorded in between, or another process wrote it, there is no rate rather than a wrong one.

use std::collections::HashMap;

use super::window::Window;
use crate::distribution;
use crate::filter::Filter;
use crate::schema::Family;
use crate::series::Series;
use crate::snapshot::{Snapshot, Value};

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When: nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// Metric name.
    pub name: String,
    /// Label block, escaped; empty where the series has no labels.
    pub labels: String,
    /// How long nothing was recorded just before, in nanoseconds.
    pub gap_ns: Option<u64>,
    /// What it was.
    pub point: Point,
}

/// What a series was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// An integer that goes up, and its growth a second since the row before.
    Count(u64, Option<f64>),
    /// A float that goes up, and its growth a second since the row before.
    Sum(f64, Option<f64>),
    /// A number that goes up and down.
    Integer(i64),
    /// A number that goes up and down.
    Float(f64),
    /// The states that are on.
    States(Vec<String>),
    /// A histogram.
    Histogram(Observed),
}

/// A histogram: all its observations, and those since the row before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Observations since the region was built.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Those since the row before; `None` where there is no row before that they could be counted from.
    pub since: Option<Since>,
}

/// The observations between two rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Since {
    /// How many.
    pub count: u64,
    /// How many a second.
    pub rate: f64,
    /// Their mean; NaN where there were none.
    pub mean: f64,
    /// Upper bounds of the buckets that hold the 50th, 90th and 99th percentile; NaN where there were none.
    pub quantiles: [f64; 3],
}

/// The percentiles of [`Since::quantiles`].
pub const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Rows of the series that a filter matches, at least `step_ns` apart.
#[derive(Debug)]
pub struct Rows<'a> {
    window: Window,
    filter: &'a Filter,
    step_ns: u64,
    /// When the last rows were, on the monotonic clock.
    last_ns: Option<u64>,
    /// Pause in samples that were passed over.
    gap_ns: Option<u64>,
    before: HashMap<(String, String, u64), Before>,
    ready: std::vec::IntoIter<Row>,
}

/// A series at the row before.
#[derive(Debug)]
struct Before {
    monotonic_ns: u64,
    sum: f64,
    count: u64,
    buckets: Vec<u64>,
}

impl<'a> Rows<'a> {
    /// Rows of a window. The filter is matched with a metric's name, and with name and labels as a series is written:
    /// `mc_calls_total{outcome="ok"}`.
    #[must_use]
    pub fn new(window: Window, filter: &'a Filter, step_ns: u64) -> Self {
        let before = HashMap::new();
        Self { window, filter, step_ns, last_ns: None, gap_ns: None, before, ready: Vec::new().into_iter() }
    }

    /// What could not be read so far.
    #[must_use]
    pub fn problems(&self) -> &[crate::Problem] {
        self.window.problems()
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(row);
            }
            let sample = self.window.next_sample()?;
            let (realtime_ns, monotonic_ns) = (sample.realtime_ns, sample.monotonic_ns);
            // Half an interval early is in time: ticks are not exact.
            let slack = sample.interval_ns / 2;
            let due = self.last_ns.is_none_or(|last| monotonic_ns.saturating_sub(last) + slack >= self.step_ns);
            let mut rows = Vec::new();
            if due {
                let snapshot = &sample.snapshot;
                for (index, family, series) in matching(snapshot, self.filter) {
                    let key = (family.name.clone(), series.labels.to_owned(), series.created_realtime_ns);
                    let (point, now) = point(snapshot, family, index, monotonic_ns, self.before.get(&key));
                    self.before.insert(key, now);
                    rows.push(Row {
                        realtime_ns,
                        name: family.name.clone(),
                        labels: series.labels.to_owned(),
                        gap_ns: None,
                        point,
                    });
                }
                self.last_ns = Some(monotonic_ns);
            }
            if let Some(gap) = self.window.gap_ns() {
                self.gap_ns = Some(self.gap_ns.unwrap_or(0).max(gap));
            }
            if due {
                let gap_ns = self.gap_ns.take();
                rows.iter_mut().for_each(|row| row.gap_ns = gap_ns);
                // Series that are gone need not be remembered; those that come back begin anew.
                self.before.retain(|_, before| before.monotonic_ns == monotonic_ns);
            }
            self.ready = rows.into_iter();
        }
    }
}

/// The series that a filter matches.
fn matching<'a>(snapshot: &'a Snapshot, filter: &'a Filter) -> impl Iterator<Item = (usize, &'a Family, Series<'a>)> {
    snapshot.schema.families.iter().flat_map(move |family| {
        let all = filter.matches(&family.name);
        family.series.clone().filter_map(move |index| {
            let series = snapshot.schema.series.get(index)?;
            let one = || !series.labels.is_empty() && filter.matches(&format!("{}{{{}}}", family.name, series.labels));
            (all || one()).then_some((index, family, series))
        })
    })
}

fn point(
    snapshot: &Snapshot,
    family: &Family,
    index: usize,
    monotonic_ns: u64,
    before: Option<&Before>,
) -> (Point, Before) {
    let mut now = Before { monotonic_ns, sum: 0.0, count: 0, buckets: Vec::new() };
    let seconds = before.map_or(0.0, |before| monotonic_ns.saturating_sub(before.monotonic_ns) as f64 / 1e9);
    let before = before.filter(|_| seconds > 0.0);
    let is_counter = family.kind == crate::Kind::Counter;
    let point = match snapshot.value(index) {
        Value::U64(value) if is_counter => {
            now.count = value;
            // A counter that fell is another one: no rate rather than a wrong one.
            let grown = before.and_then(|before| value.checked_sub(before.count));
            Point::Count(value, grown.map(|grown| grown as f64 / seconds))
        }
        Value::F64(value) if is_counter => {
            now.sum = value;
            Point::Sum(value, before.map(|before| (value - before.sum) / seconds))
        }
        Value::U64(value) => i64::try_from(value).map_or(Point::Float(value as f64), Point::Integer),
        Value::I64(value) => Point::Integer(value),
        Value::F64(value) => Point::Float(value),
        Value::Info => Point::Integer(1),
        Value::States(states) => {
            let on = (0..64_u32).zip(&family.states).filter(|(bit, _)| states >> bit & 1 == 1);
            Point::States(on.map(|(_, state)| state.clone()).collect())
        }
        Value::Histogram { buckets, sum } => {
            now.count = distribution::count(buckets);
            now.sum = sum;
            now.buckets = buckets.to_vec();
            let since = before.filter(|before| before.buckets.len() == buckets.len()).map(|before| {
                let new = distribution::between(&before.buckets, buckets);
                let count = distribution::count(&new);
                let mean = if count == 0 { f64::NAN } else { (sum - before.sum) / count as f64 };
                let quantiles =
                    QUANTILES.map(|share| distribution::quantile(&family.bounds, &new, share).unwrap_or(f64::NAN));
                Since { count, rate: count as f64 / seconds, mean, quantiles }
            });
            Point::Histogram(Observed { count: now.count, sum, since })
        }
    };
    (point, now)
}
