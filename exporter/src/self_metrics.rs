//! The exporter's own metrics: what it sees of the regions, how its scrapes go, and its process.
//!
//! They live in a registry of the `prometheus` crate and are gathered into a [`Snapshot`], so that they are rendered by
//! the same code as a region's. The server updates them once a scrape, by one thread at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prometheus::{Counter, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use rustix::time::{ClockId, clock_gettime};

use crate::label_block::escaped;
use crate::schema::{Family, Kind, Number, Schema, Series};
use crate::writer_metrics::WriterProcesses;
use crate::{PartsError, RegionInfo, Snapshot};

/// Version control revision that the binary was built from, where the build said so in `$TACHOGRAPH_REVISION`.
pub const REVISION: &str = match option_env!("TACHOGRAPH_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Why the exporter's own metrics can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfMetricsError {
    /// The registry refused a metric.
    #[error("the exporter's own metrics can't be registered")]
    Registry(#[from] prometheus::Error),
    /// What was gathered makes no snapshot.
    #[error("the exporter's own metrics make no snapshot")]
    Parts(#[from] PartsError),
}

/// What a scrape saw of one region.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The region.
    pub region: &'a RegionInfo,
    /// Families and series that were left out of its snapshot as damaged.
    pub damaged: u64,
}

/// The exporter's own metrics.
///
/// ```
/// use tachograph_exporter::{RegionInfo, Verdict};
/// use tachograph_exporter::self_metrics::{Seen, SelfMetrics};
/// let own = SelfMetrics::new()?;
/// let region = RegionInfo { name: "mc-0".into(), verdict: Verdict::Running, ..RegionInfo::default() };
/// own.observe(&[Seen { region: &region, damaged: 0 }], &[], 0, 0);
/// let snapshot = own.snapshot()?;
/// assert!(snapshot.schema.families.iter().any(|family| family.name == "tacho_region_up"));
/// # Ok::<(), tachograph_exporter::self_metrics::SelfMetricsError>(())
/// ```
#[derive(Debug)]
pub struct SelfMetrics {
    registry: Registry,
    /// The structure of the last snapshot: given out again while it stays the same, so that plans stay valid.
    last: Mutex<Arc<Schema>>,
    writers: WriterProcesses,
    up: IntGaugeVec,
    info: IntGaugeVec,
    heartbeat: GaugeVec,
    series: IntGaugeVec,
    series_capacity: IntGaugeVec,
    lanes: IntGaugeVec,
    lanes_capacity: IntGaugeVec,
    lane_overflows: IntCounterVec,
    registrations_dropped: IntCounterVec,
    label_overflows: IntCounterVec,
    observations_dropped: IntCounterVec,
    memory_locked: IntGaugeVec,
    unlinked: IntGaugeVec,
    damaged: IntGaugeVec,
    problems: IntGauge,
    clashes: IntGauge,
    scrapes: IntCounter,
    scrape_errors: IntCounter,
    scrape_duration: Gauge,
}

/// The label of all metrics about one region; never renamed, since these are the exporter's own.
const REGION: &[&str] = &["tacho_region"];

impl SelfMetrics {
    /// Registers them all.
    ///
    /// # Errors
    /// [`SelfMetricsError::Registry`]: none is expected.
    pub fn new() -> Result<Self, SelfMetricsError> {
        let registry = Registry::new();
        let build = int_vec(
            &registry,
            "tacho_exporter_build_info",
            "What this exporter was built from, as labels of a constant 1.",
            &["version", "revision"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION]).set(1);
        let writers = WriterProcesses::new()?;
        let process = Process { inner: ProcessCollector::for_self(), cpu: cpu()?, writers: writers.clone() };
        registry.register(Box::new(process))?;
        let gauges = |name, help| int_vec(&registry, name, help, REGION);
        let counters = |name, help| {
            let vec = IntCounterVec::new(Opts::new(name, help), REGION)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let heartbeat = GaugeVec::new(
            Opts::new("tacho_region_heartbeat_age_seconds", "Time since the living writer's last housekeeping tick."),
            REGION,
        )?;
        registry.register(Box::new(heartbeat.clone()))?;
        let problems = IntGauge::new("tacho_region_problems", "Files and directories that could not be read.")?;
        let clashes = IntGauge::new(
            "tacho_family_clashes",
            "Families left out because an older region has another kind or other bounds under their name.",
        )?;
        let scrapes = IntCounter::new("tacho_scrapes_total", "Renderings of all regions.")?;
        let scrape_errors = IntCounter::new("tacho_scrape_errors_total", "Renderings that failed.")?;
        let scrape_duration =
            Gauge::new("tacho_scrape_duration_seconds", "How long the last finished rendering took.")?;
        registry.register(Box::new(problems.clone()))?;
        registry.register(Box::new(clashes.clone()))?;
        registry.register(Box::new(scrapes.clone()))?;
        registry.register(Box::new(scrape_errors.clone()))?;
        registry.register(Box::new(scrape_duration.clone()))?;
        Ok(Self {
            up: gauges("tacho_region_up", "Whether the region's writer is alive.")?,
            info: int_vec(
                &registry,
                "tacho_region_info",
                "The region and its writer, as labels of a constant 1.",
                &["tacho_region", "state", "pid", "version", "exe", "build_id", "host"],
            )?,
            heartbeat,
            series: gauges("tacho_region_series", "Series slots in use.")?,
            series_capacity: gauges("tacho_region_series_capacity", "Series slots that the region has.")?,
            lanes: gauges("tacho_region_lanes", "Lanes ever used, the shared one included.")?,
            lanes_capacity: gauges("tacho_region_lanes_capacity", "Lanes that the region has.")?,
            lane_overflows: counters(
                "tacho_region_lane_overflows_total",
                "Threads that found no free lane and share one: correct, but slower.",
            )?,
            registrations_dropped: counters("tacho_region_registrations_dropped_total", "Registrations refused.")?,
            label_overflows: counters(
                "tacho_region_label_overflows_total",
                "Label sets that went to an overflow series.",
            )?,
            observations_dropped: counters(
                "tacho_region_observations_dropped_total",
                "Observations dropped: NaN, or negative where that has no meaning.",
            )?,
            memory_locked: gauges("tacho_region_memory_locked", "Whether the region is locked into memory.")?,
            unlinked: gauges("tacho_region_unlinked", "Whether something removed the living writer's file.")?,
            damaged: gauges("tacho_region_damaged", "Families and series left out because they are damaged.")?,
            problems,
            clashes,
            scrapes,
            scrape_errors,
            scrape_duration,
            registry,
            last: Mutex::default(),
            writers,
        })
    }

    /// Adds metrics of another part of the exporter.
    ///
    /// # Errors
    /// [`SelfMetricsError::Registry`] where their names are taken.
    pub(crate) fn register(&self, collector: Box<dyn Collector>) -> Result<(), SelfMetricsError> {
        Ok(self.registry.register(collector)?)
    }

    /// Sets everything that is seen anew at each scrape. `unreadable` names regions whose file is there and can't be
    /// read: they are not up.
    pub fn observe(&self, regions: &[Seen<'_>], unreadable: &[&str], problems: usize, now_monotonic_ns: u64) {
        for vec in [
            &self.up,
            &self.info,
            &self.series,
            &self.series_capacity,
            &self.lanes,
            &self.lanes_capacity,
            &self.memory_locked,
            &self.unlinked,
            &self.damaged,
        ] {
            vec.reset();
        }
        for vec in
            [&self.lane_overflows, &self.registrations_dropped, &self.label_overflows, &self.observations_dropped]
        {
            vec.reset();
        }
        self.heartbeat.reset();
        self.writers.observe(regions.iter().map(|seen| seen.region));
        for name in unreadable {
            self.up.with_label_values(&[name]).set(0);
        }
        for seen in regions {
            self.observe_region(seen, now_monotonic_ns);
        }
        self.problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
    }

    fn observe_region(&self, seen: &Seen<'_>, now_monotonic_ns: u64) {
        let region = seen.region;
        let name = &[region.name.as_str()];
        let alive = region.verdict.is_alive();
        self.up.with_label_values(name).set(i64::from(alive));
        self.info
            .with_label_values(&[
                region.name.as_str(),
                region.verdict.as_str(),
                &region.pid.to_string(),
                &region.version,
                &region.exe,
                &region.build_id,
                &region.host,
            ])
            .set(1);
        // A dead region's numbers go at once: only that it is down, and what it was, stays.
        if !alive {
            return;
        }
        let age = now_monotonic_ns.saturating_sub(region.tick_monotonic_ns);
        self.heartbeat.with_label_values(name).set(Duration::from_nanos(age).as_secs_f64());
        let set = |vec: &IntGaugeVec, value: u64| vec.with_label_values(name).set(value.min(i64::MAX as u64) as i64);
        set(&self.series, region.capacity.series.used);
        set(&self.series_capacity, region.capacity.series.capacity);
        set(&self.lanes, region.capacity.lanes.used);
        set(&self.lanes_capacity, region.capacity.lanes.capacity);
        set(&self.memory_locked, u64::from(region.memory_locked));
        set(&self.unlinked, u64::from(region.unlinked));
        set(&self.damaged, seen.damaged);
        self.lane_overflows.with_label_values(name).inc_by(region.lane_overflows);
        self.registrations_dropped.with_label_values(name).inc_by(region.registrations_dropped);
        self.label_overflows.with_label_values(name).inc_by(region.label_overflows);
        self.observations_dropped.with_label_values(name).inc_by(region.dropped_observations);
    }

    /// Sets how many families were left out.
    pub fn set_clashes(&self, clashes: usize) {
        self.clashes.set(i64::try_from(clashes).unwrap_or(i64::MAX));
    }

    /// Counts a scrape that begins.
    pub fn count_scrape(&self) {
        self.scrapes.inc();
    }

    /// Notes how a scrape ended.
    pub fn scrape_ended(&self, took: Duration, failed: bool) {
        self.scrape_duration.set(took.as_secs_f64());
        if failed {
            self.scrape_errors.inc();
        }
    }

    /// Gathers the registry. Structure that did not change is shared with the snapshot before.
    ///
    /// # Errors
    /// [`SelfMetricsError::Parts`]: none is expected.
    pub fn snapshot(&self) -> Result<Snapshot, SelfMetricsError> {
        let mut parts = Parts::default();
        for family in self.registry.gather() {
            parts.family(&family);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if **last != parts.schema {
            *last = Arc::new(parts.schema);
        }
        Ok(Snapshot::from_parts(RegionInfo::default(), Arc::clone(&last), parts.lane, parts.shared)?)
    }
}

fn int_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

/// What a snapshot is made of.
#[derive(Default)]
struct Parts {
    schema: Schema,
    lane: Vec<u64>,
    shared: Vec<u64>,
}

impl Parts {
    fn family(&mut self, family: &MetricFamily) {
        let (kind, number) = match family.get_field_type() {
            MetricType::COUNTER => (Kind::Counter, Number::F64),
            MetricType::GAUGE => (Kind::Gauge, Number::F64),
            // The exporter has no metric of another type.
            _ => return,
        };
        let mut owned = Family::new(family.name(), family.help(), kind, number);
        let start = self.schema.series.len();
        for metric in family.get_metric() {
            let (plane, value) = match kind {
                Kind::Counter => (&mut self.lane, metric.get_counter().get_value()),
                _ => (&mut self.shared, metric.get_gauge().get_value()),
            };
            let cell = plane.len() as u64;
            plane.push(value.to_bits());
            self.schema.series.push(Series {
                family: self.schema.families.len(),
                slot: 0,
                generation: 0,
                labels: labels(metric),
                created_realtime_ns: 0,
                retired: false,
                cell,
                cells: 1,
            });
            if owned.label_names.is_empty() {
                owned.label_names = metric.get_label().iter().map(|pair| pair.name().to_owned()).collect();
            }
        }
        owned.series = start..self.schema.series.len();
        self.schema.families.push(owned);
    }
}

fn labels(metric: &Metric) -> String {
    let pairs = metric.get_label().iter().map(|pair| format!("{}=\"{}\"", pair.name(), escaped(pair.value())));
    pairs.collect::<Vec<_>>().join(",")
}

fn cpu() -> Result<Counter, prometheus::Error> {
    Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
}

/// The crate's collector, whose CPU time is in whole seconds, with one that has the fraction.
/// Beside this process' own series stand those of each living writer, told apart by the region's label.
struct Process {
    inner: ProcessCollector,
    cpu: Counter,
    writers: WriterProcesses,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.inner.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let spent = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
        self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
        let mut families = self.inner.collect();
        families.retain(|family| family.name() != "process_cpu_seconds_total");
        families.extend(self.cpu.collect());
        self.writers.join(&mut families);
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, Verdict};

    fn values(snapshot: &Snapshot, name: &str) -> Vec<(String, f64)> {
        let family = snapshot.schema.families.iter().find(|family| family.name == name);
        let series = family.map_or(0..0, |family| family.series.clone());
        series
            .map(|index| match snapshot.value(index) {
                Value::F64(value) => (snapshot.schema.series[index].labels.clone(), value),
                other => panic!("{name}: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_dead_region_keeps_only_up_and_info() {
        let own = SelfMetrics::new().unwrap();
        let alive = RegionInfo {
            name: "a".into(),
            verdict: Verdict::Running,
            tick_monotonic_ns: 500,
            exe: "/bin/a\"b".into(),
            lane_overflows: 7,
            ..RegionInfo::default()
        };
        let dead = RegionInfo { name: "d".into(), verdict: Verdict::Crashed, ..RegionInfo::default() };
        let seen = [Seen { region: &alive, damaged: 2 }, Seen { region: &dead, damaged: 0 }];
        own.observe(&seen, &["u"], 3, 1_500_000_500);
        let snapshot = own.snapshot().unwrap();
        let labels = |region: &str| format!("tacho_region=\"{region}\"");
        let up = [(labels("a"), 1.0), (labels("d"), 0.0), (labels("u"), 0.0)];
        assert_eq!(values(&snapshot, "tacho_region_up"), up);
        assert_eq!(values(&snapshot, "tacho_region_heartbeat_age_seconds"), [(labels("a"), 1.5)]);
        assert_eq!(values(&snapshot, "tacho_region_lane_overflows_total"), [(labels("a"), 7.0)]);
        assert_eq!(values(&snapshot, "tacho_region_damaged"), [(labels("a"), 2.0)]);
        assert_eq!(values(&snapshot, "tacho_region_problems"), [(String::new(), 3.0)]);
        let info = values(&snapshot, "tacho_region_info");
        assert_eq!(info.len(), 2);
        assert!(info.iter().any(|(labels, _)| labels.contains(r#"exe="/bin/a\"b""#)), "{info:?}");
        assert!(values(&snapshot, "process_cpu_seconds_total")[0].1 > 0.0);
    }

    #[test]
    fn structure_is_shared_while_it_stays_the_same() {
        let own = SelfMetrics::new().unwrap();
        let first = own.snapshot().unwrap();
        own.count_scrape();
        let second = own.snapshot().unwrap();
        assert!(Arc::ptr_eq(&first.schema, &second.schema));
        assert_eq!(values(&second, "tacho_scrapes_total"), [(String::new(), 1.0)]);
    }
}
