//! What is different between two snapshots: `tacho diff`. Two regions, two copies, or one region at two moments.
//!
//! Series are told apart by name and labels. Pure: it renders nothing and reads no clock; `table.rs` and JSON show it. Its
//! work and size follow those of the snapshots.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

use crate::json::float;
use crate::schema::Kind;
use crate::{Snapshot, Value, Verdict, distribution};

/// What is different.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// Always 1.
    pub version: u32,
    /// The one side.
    pub a: Side,
    /// The other.
    pub b: Side,
    /// Whether both are one region: then what counters went up by was counted between the two moments.
    pub same_region: bool,
    /// Series of both whose values differ, in the order of B.
    pub changed: Vec<Change>,
    /// Series of both with equal values.
    pub unchanged: u64,
    /// Series that only A has.
    pub only_in_a: Vec<Name>,
    /// Series that only B has.
    pub only_in_b: Vec<Name>,
}

/// One of the two.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// The region's name.
    pub region: String,
    /// Where it was read.
    pub path: String,
    /// What had become of its writer.
    pub verdict: Verdict,
    /// The moment of its values, in seconds since the Unix epoch.
    pub at_seconds: f64,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Name {
    /// Metric name.
    pub name: String,
    /// Label block, escaped; empty where there are none.
    pub labels: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.labels.is_empty() { f.write_str(&self.name) } else { write!(f, "{}{{{}}}", self.name, self.labels) }
    }
}

/// A series whose values differ.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Which.
    #[serde(flatten)]
    pub series: Name,
    /// Its kind.
    #[serde(serialize_with = "kind")]
    pub kind: Kind,
    /// How its values differ; a histogram's are its count's.
    #[serde(flatten)]
    pub values: Pair,
    /// The sums of a histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Pair>,
    /// Its medians, as upper bounds of their buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<Pair>,
    /// Its 99th percentiles, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Pair>,
}

/// Two numbers and how they differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// A's.
    #[serde(serialize_with = "number")]
    pub a: f64,
    /// B's.
    #[serde(serialize_with = "number")]
    pub b: f64,
    /// B's less A's.
    #[serde(serialize_with = "number")]
    pub change: f64,
    /// B's by A's; `None` where A's is 0 or either is no number.
    pub ratio: Option<f64>,
}

impl Pair {
    /// ```
    /// let pair = tachograph_exporter::diff::Pair::new(2.0, 5.0);
    /// assert_eq!((pair.change, pair.ratio), (3.0, Some(2.5)));
    /// assert_eq!(tachograph_exporter::diff::Pair::new(0.0, 5.0).ratio, None);
    /// ```
    #[must_use]
    pub fn new(a: f64, b: f64) -> Self {
        let ratio = b / a;
        Self { a, b, change: b - a, ratio: Some(ratio).filter(|ratio| ratio.is_finite()) }
    }
}

impl Diff {
    /// Compares. `at_ns` is the moment of each one's values: nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(a: &Snapshot, b: &Snapshot, at_ns: (u64, u64)) -> Self {
        let before: HashMap<(&str, &str), usize> =
            series(a).map(|(name, labels, index)| ((name, labels), index)).collect();
        let mut diff = Self {
            version: 1,
            a: Side::new(a, at_ns.0),
            b: Side::new(b, at_ns.1),
            same_region: a.region.uuid == b.region.uuid,
            changed: Vec::new(),
            unchanged: 0,
            only_in_a: Vec::new(),
            only_in_b: Vec::new(),
        };
        let mut met = vec![false; a.schema.series.len()];
        for (name, labels, index) in series(b) {
            let series = Name { name: name.to_owned(), labels: labels.to_owned() };
            // Of another kind it is another series: no number of the one says anything of the other's.
            let kind = |snapshot: &Snapshot, index: usize| family(snapshot, index).map(|family| family.kind);
            let other = before.get(&(name, labels)).filter(|other| kind(a, **other) == kind(b, index));
            let Some(&other) = other else {
                diff.only_in_b.push(series);
                continue;
            };
            if let Some(met) = met.get_mut(other) {
                *met = true;
            }
            match Change::new(series, (a, other), (b, index)) {
                Some(change) => diff.changed.push(change),
                None => diff.unchanged += 1,
            }
        }
        let gone = self::series(a).filter(|(.., index)| met.get(*index) == Some(&false));
        diff.only_in_a =
            gone.map(|(name, labels, _)| Name { name: name.to_owned(), labels: labels.to_owned() }).collect();
        diff
    }
}

impl Side {
    fn new(snapshot: &Snapshot, at_ns: u64) -> Self {
        Self {
            region: snapshot.region.name.clone(),
            path: snapshot.region.path.display().to_string(),
            verdict: snapshot.region.verdict,
            at_seconds: at_ns as f64 / 1e9,
        }
    }
}

impl Change {
    fn new(series: Name, (a, one): (&Snapshot, usize), (b, other): (&Snapshot, usize)) -> Option<Self> {
        let family = family(b, other)?;
        let plain =
            |values| Self { series: series.clone(), kind: family.kind, values, sum: None, p50: None, p99: None };
        match (a.value(one), b.value(other)) {
            (Value::Histogram { buckets: from, sum: before }, Value::Histogram { buckets: to, sum: after }) => {
                if from == to && before == after {
                    return None;
                }
                let bounds = &self::family(a, one)?.bounds;
                let quantile = |share| {
                    let of = |bounds, buckets| distribution::quantile(bounds, buckets, share).unwrap_or(f64::NAN);
                    Some(Pair::new(of(bounds, from), of(&family.bounds, to)))
                };
                let counts = Pair::new(distribution::count(from) as f64, distribution::count(to) as f64);
                let sum = Some(Pair::new(before, after));
                Some(Self { sum, p50: quantile(0.5), p99: quantile(0.99), ..plain(counts) })
            }
            (Value::U64(from), Value::U64(to)) if from != to => {
                // Exact beyond 2^53, where the difference of two floats is not.
                let change = if to >= from { (to - from) as f64 } else { -((from - to) as f64) };
                Some(plain(Pair { change, ..Pair::new(from as f64, to as f64) }))
            }
            (from, to) => {
                let (from, to) = (scalar(from)?, scalar(to)?);
                let same = from == to || (from.is_nan() && to.is_nan());
                (!same).then(|| plain(Pair::new(from, to)))
            }
        }
    }
}

/// A value that is one number; a state set's is the bits of its states.
fn scalar(value: Value<'_>) -> Option<f64> {
    match value {
        Value::U64(value) | Value::States(value) => Some(value as f64),
        Value::I64(value) => Some(value as f64),
        Value::F64(value) => Some(value),
        Value::Histogram { .. } | Value::Info => None,
    }
}

fn family(snapshot: &Snapshot, index: usize) -> Option<&crate::Family> {
    snapshot.schema.families.get(snapshot.schema.series.get(index)?.family)
}

fn series(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &str, usize)> {
    let families = snapshot.schema.families.iter();
    families.flat_map(|family| {
        let named = |index: usize| Some((family.name.as_str(), snapshot.schema.series.get(index)?.labels, index));
        family.series.clone().filter_map(named)
    })
}

fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    float(*value).serialize(serializer)
}

fn kind<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}
