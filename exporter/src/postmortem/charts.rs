//! Recorded series as points to draw: those that the report names. A second pass over the recording, as bounded as the
//! first: few series, few points each.

use serde::Serialize;

use super::history::REACH_NS;
use super::seconds;
use crate::diff::Name;
use crate::recording::RecordedRegion;
use crate::{Kind, Snapshot, Value, distribution};

/// Points of a chart at most.
const POINTS: usize = 300;
/// Charts of a report at most.
pub(crate) const CHARTS: usize = 12;

/// A series over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// Which.
    #[serde(flatten)]
    pub series: Name,
    /// What is drawn: `per second` or `value`.
    pub what: &'static str,
    /// Seconds since the Unix epoch, and the value then.
    pub points: Vec<(f64, f64)>,
}

/// Reads the points of these series, up to the end.
pub(crate) fn read(recorded: &RecordedRegion, end_ns: u64, names: Vec<Name>) -> Vec<Chart> {
    let start_ns = end_ns.saturating_sub(REACH_NS);
    let mut window = recorded.window(start_ns, end_ns);
    let mut charts: Vec<(Chart, Option<(u64, f64)>)> = names
        .into_iter()
        .take(CHARTS)
        .map(|series| (Chart { series, what: "value", points: Vec::new() }, None))
        .collect();
    let step_ns = REACH_NS / POINTS as u64;
    while let Some(sample) = window.next_sample() {
        let at_ns = sample.realtime_ns;
        for (chart, before) in &mut charts {
            // One point a step, and the last minute whole.
            let due = before.is_none_or(|(last_ns, _)| at_ns.saturating_sub(last_ns) >= step_ns);
            if !due && end_ns.saturating_sub(at_ns) > 60_000_000_000 || chart.points.len() >= 4 * POINTS {
                continue;
            }
            let Some((value, counts)) = find(&sample.snapshot, &chart.series) else { continue };
            if counts {
                chart.what = "per second";
                if let Some((last_ns, last)) = *before {
                    let rate = (value - last).max(0.0) / seconds(at_ns.saturating_sub(last_ns)).max(1e-3);
                    chart.points.push((seconds(at_ns), rate));
                }
            } else if value.is_finite() {
                chart.points.push((seconds(at_ns), value));
            }
            *before = Some((at_ns, value));
        }
    }
    charts.into_iter().map(|(chart, _)| chart).filter(|chart| chart.points.len() > 1).collect()
}

/// The number of a series, and whether it only counts.
fn find(snapshot: &Snapshot, name: &Name) -> Option<(f64, bool)> {
    let family = snapshot.schema.families.iter().find(|family| family.name == name.name)?;
    let same = |index: &usize| snapshot.schema.series.get(*index).is_some_and(|series| series.labels == name.labels);
    let index = family.series.clone().find(same)?;
    Some(match snapshot.value(index) {
        Value::U64(value) | Value::States(value) => (value as f64, family.kind == Kind::Counter),
        Value::I64(value) => (value as f64, false),
        Value::F64(value) => (value, family.kind == Kind::Counter),
        Value::Histogram { buckets, .. } => (distribution::count(buckets) as f64, true),
        Value::Info => return None,
    })
}
