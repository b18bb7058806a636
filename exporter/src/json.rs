//! JSON: what `--json` prints and what the server's API answers. One object each, with `"version": 1`.
//!
//! Fields are added over time, never renamed or removed within a version. A number that JSON has no form for is a
//! string as Prometheus writes it (`"+Inf"`), and `null` where nothing was measured (NaN).

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::distribution;
use crate::evidence::Evidence;
use crate::filter::Filter;
use crate::label_block;
use crate::number;
use crate::schema::Family;
use crate::series::Series;
use crate::{Finding, Problem, RegionInfo, Snapshot, Value, Verdict};

/// A region in a list.
///
/// ```
/// use tachograph_exporter::{RegionInfo, Verdict, json::RegionEntry};
/// let region = RegionInfo { name: "mc-0".into(), verdict: Verdict::Running, pid: 7, ..RegionInfo::default() };
/// let now = tachograph_exporter::json::Now { realtime_ns: 2_500_000_000, monotonic_ns: 1_000_000_000 };
/// let entry = serde_json::to_value(RegionEntry::new(region, now, 2)).unwrap();
/// assert_eq!(entry["verdict"], "running");
/// assert_eq!(entry["uptime_seconds"], 2.5);
/// assert_eq!(entry["heartbeat_age_seconds"], 1.0);
/// assert_eq!(entry["crashes"], 2);
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct RegionEntry {
    /// All facts about it.
    #[serde(flatten)]
    pub region: RegionInfo,
    /// Why the verdict is what it is: [`RegionInfo::why`].
    pub why: Option<String>,
    /// How long its writer lives or lived.
    pub uptime_seconds: f64,
    /// Time since the last housekeeping tick of a living writer.
    pub heartbeat_age_seconds: Option<f64>,
    /// When a dead writer gave its last sign of life, in seconds since the Unix epoch.
    pub dead_since_seconds: Option<f64>,
    /// How many regions of that name crashed: archived ones, and this one where it did.
    pub crashes: u64,
}

/// Two clocks, read together.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// The monotonic clock.
    pub monotonic_ns: u64,
}

impl Now {
    /// The clocks as they are now.
    ///
    /// ```
    /// assert!(tachograph_exporter::json::Now::read().realtime_ns > 1_700_000_000_000_000_000);
    /// ```
    #[must_use]
    pub fn read() -> Self {
        let read = |clock| {
            let time = rustix::time::clock_gettime(clock);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
            seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or(0))
        };
        Self {
            realtime_ns: read(rustix::time::ClockId::Realtime),
            monotonic_ns: read(rustix::time::ClockId::Monotonic),
        }
    }
}

impl RegionEntry {
    /// A region as it looks now. `crashes` counts archived crashes and this region's own.
    #[must_use]
    pub fn new(region: RegionInfo, now: Now, crashes: u64) -> Self {
        let alive = region.verdict.is_alive();
        let age = now.monotonic_ns.saturating_sub(region.tick_monotonic_ns);
        Self {
            why: region.why(),
            uptime_seconds: seconds(region.uptime_ns(now.realtime_ns)),
            heartbeat_age_seconds: alive.then(|| seconds(age)),
            dead_since_seconds: matches!(region.verdict, Verdict::Closed | Verdict::Crashed)
                .then(|| seconds(region.ended_ns())),
            crashes,
            region,
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// `tacho ls --json`, and the API's list.
#[must_use]
pub fn regions(entries: &[RegionEntry], problems: &[Problem]) -> Json {
    json!({ "version": 1, "regions": entries, "problems": problems })
}

/// The API's evidence.
#[must_use]
pub fn evidence(entry: &RegionEntry, evidence: &Evidence) -> Json {
    json!({ "version": 1, "region": entry, "evidence": evidence })
}

/// `tacho verify --json`.
#[must_use]
pub fn findings(name: &str, path: &std::path::Path, findings: &[Finding]) -> Json {
    json!({ "version": 1, "region": name, "path": path.display().to_string(), "findings": findings })
}

/// `tacho show --json`, and the API's values: the families whose names match, with at most `limit` series in all.
/// `"truncated"` says whether the limit left any out.
#[must_use]
pub fn values(entry: &RegionEntry, snapshot: &Snapshot, filter: &Filter, limit: usize) -> Json {
    let mut left = limit;
    let mut truncated = false;
    let mut families = Vec::new();
    for family in snapshot.schema.families.iter().filter(|family| filter.matches(&family.name)) {
        let mut shown = Vec::new();
        for index in family.series.clone() {
            let Some(series) = snapshot.schema.series.get(index) else { continue };
            if left == 0 {
                truncated = true;
                break;
            }
            left -= 1;
            shown.push(series_json(snapshot, family, &series, index, ""));
        }
        families.push(json!({
            "name": family.name,
            "kind": family.kind.as_str(),
            "help": family.help,
            "unit": family.unit,
            "series": shown,
        }));
    }
    json!({
        "version": 1,
        "region": entry,
        "families": families,
        "truncated": truncated,
        "damaged": snapshot.schema.damaged,
    })
}

/// One series: its labels, then those of the block `more`; its value.
pub(crate) fn series_json(snapshot: &Snapshot, family: &Family, series: &Series<'_>, index: usize, more: &str) -> Json {
    let mut object = Map::new();
    let pairs = labels(series.labels).into_iter().chain(labels(more)).map(|(name, value)| (name, Json::String(value)));
    object.insert("labels".to_owned(), Json::Object(pairs.collect()));
    if series.retired {
        object.insert("retired".to_owned(), Json::Bool(true));
    }
    let (key, value) = match snapshot.value(index) {
        Value::U64(value) => ("value", json!(value)),
        Value::I64(value) => ("value", json!(value)),
        Value::F64(value) => ("value", float(value)),
        Value::Info => ("value", json!(1)),
        Value::States(states) => {
            let on = (0..).zip(&family.states).map(|(bit, state)| {
                let bit: u32 = bit;
                (state.clone(), Json::Bool(bit < 64 && states >> bit & 1 == 1))
            });
            ("states", Json::Object(on.collect()))
        }
        Value::Histogram { buckets, sum } => {
            let bounds = family.bounds.iter().copied().chain([f64::INFINITY]);
            let list = bounds.zip(buckets).map(|(bound, count)| json!({ "upper": float(bound), "count": count }));
            object.insert("count".to_owned(), json!(distribution::count(buckets)));
            object.insert("sum".to_owned(), float(sum));
            ("buckets", Json::Array(list.collect()))
        }
    };
    object.insert(key.to_owned(), value);
    if let Some((value, at)) = snapshot.since_start(index) {
        let value = match value {
            Value::F64(value) => float(value),
            Value::I64(value) => json!(value),
            _ => Json::Null,
        };
        object.insert("since_start".to_owned(), json!({ "value": value, "at_seconds": seconds(at) }));
    }
    Json::Object(object)
}

/// A number in JSON, or in the forms above where JSON has none.
///
/// ```
/// assert_eq!(tachograph_exporter::json::float(f64::INFINITY), "+Inf");
/// assert!(tachograph_exporter::json::float(f64::NAN).is_null());
/// ```
#[must_use]
pub fn float(value: f64) -> Json {
    if value.is_finite() {
        return json!(value);
    }
    if value.is_nan() {
        return Json::Null;
    }
    let mut text = Vec::new();
    number::push_f64(&mut text, value);
    Json::String(String::from_utf8_lossy(&text).into_owned())
}

/// The pairs of a label block, unescaped.
///
/// ```
/// let pairs = tachograph_exporter::json::labels(r#"a="x\"y",b="""#);
/// assert_eq!(pairs, [("a".to_owned(), "x\"y".to_owned()), ("b".to_owned(), String::new())]);
/// ```
#[must_use]
pub fn labels(block: &str) -> Vec<(String, String)> {
    let pairs = label_block::pairs(block);
    pairs.map(|(name, value)| (name.to_owned(), label_block::unescaped(value).into_owned())).collect()
}
