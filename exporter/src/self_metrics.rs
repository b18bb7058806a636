//! The exporter's own metrics: what it sees of the regions, how its scrapes go, and its process.
//!
//! They live in a registry of the `prometheus` crate and are gathered into a [`Snapshot`], so that they are rendered by
//! the same code as a region's. The server updates them once a scrape, by one thread at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prometheus::{Counter, Gauge, IntCounter, IntGaugeVec, Opts, Registry};
use rustix::time::{ClockId, clock_gettime};

use crate::label_block::escaped;
use crate::region_metrics::RegionMetrics;
use crate::schema::{Family, Kind, Number, Schema};
use crate::series::Series;
use crate::writer_metrics::WriterProcesses;
use crate::{PartsError, RegionInfo, Snapshot};

pub use crate::region_metrics::Seen;

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
    regions: RegionMetrics,
    scrapes: IntCounter,
    scrape_errors: IntCounter,
    scrape_duration: Gauge,
}

impl SelfMetrics {
    /// Registers them all.
    ///
    /// # Errors
    /// [`SelfMetricsError::Registry`]: none is expected.
    pub fn new() -> Result<Self, SelfMetricsError> {
        let registry = Registry::new();
        let build =
            Opts::new("tacho_exporter_build_info", "What this exporter was built from, as labels of a constant 1.");
        let build = IntGaugeVec::new(build, &["version", "revision"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION]).set(1);
        let writers = WriterProcesses::new()?;
        let process = Process { inner: ProcessCollector::for_self(), cpu: cpu()?, writers: writers.clone() };
        registry.register(Box::new(process))?;
        let regions = RegionMetrics::new()?;
        registry.register(Box::new(regions.clone()))?;
        let scrapes = IntCounter::new("tacho_scrapes_total", "Renderings of all regions.")?;
        let scrape_errors = IntCounter::new("tacho_scrape_errors_total", "Renderings that failed.")?;
        let scrape_duration = Gauge::new(
            "tacho_scrape_duration_seconds",
            "How long the last finished rendering took, compression included.",
        )?;
        registry.register(Box::new(scrapes.clone()))?;
        registry.register(Box::new(scrape_errors.clone()))?;
        registry.register(Box::new(scrape_duration.clone()))?;
        Ok(Self { regions, scrapes, scrape_errors, scrape_duration, registry, last: Mutex::default(), writers })
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
        self.writers.observe(regions.iter().map(|seen| seen.region));
        self.regions.observe(regions, unreadable, problems, now_monotonic_ns);
    }

    /// Sets how many families were left out.
    pub fn set_clashes(&self, left_out: usize, shown: usize) {
        self.regions.set_clashes(left_out, shown);
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
                Kind::Counter => (&mut self.lane, metric.get_counter().number()),
                _ => (&mut self.shared, metric.get_gauge().number()),
            };
            let cell = plane.len() as u64;
            plane.push(value.to_bits());
            self.schema.series.push(Series {
                family: self.schema.families.len(),
                // In the order of the list: those of one family are told once.
                slot: cell as u32,
                generation: 0,
                labels: &labels(metric),
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

/// The number in a counter or a gauge of that crate's model. The model is made of other types, with another word for it, where
/// any crate of a build turns on that crate's feature `protobuf`. The word that is the type's own comes before the trait's.
trait Number64 {
    fn number(&self) -> f64;
    #[allow(dead_code, reason = "the type has one of them itself")]
    fn value(&self) -> f64;
    #[allow(dead_code, reason = "the type has one of them itself")]
    fn get_value(&self) -> f64;
}

macro_rules! number64 {
    ($($model:ty),*) => {
        $(impl Number64 for $model {
            fn number(&self) -> f64 {
                self.get_value()
            }

            fn value(&self) -> f64 {
                self.get_value()
            }

            fn get_value(&self) -> f64 {
                self.value()
            }
        })*
    };
}

number64!(prometheus::proto::Counter, prometheus::proto::Gauge);

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
                Value::F64(value) => (snapshot.schema.series.get(index).expect("a series").labels.to_owned(), value),
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
