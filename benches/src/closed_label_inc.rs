//! Row `closed_label_inc`: raising one series of a family by its label values, which are known beforehand.
//!
//! The family has 64 label sets of two labels. `tachograph` among the peers is our own counter without labels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tachograph::{Counter, Desc, Family, LabelSet, LabelValue, Region};

use crate::contest::{Effort, Line};
use crate::modes::{Entry, row};
use crate::subject::Subject;

tachograph::label_value! {
    enum Major: "major" { M0 = "0", M1 = "1", M2 = "2", M3 = "3", M4 = "4", M5 = "5", M6 = "6", M7 = "7" }
}
tachograph::label_value! {
    enum Minor: "minor" { N0 = "0", N1 = "1", N2 = "2", N3 = "3", N4 = "4", N5 = "5", N6 = "6", N7 = "7" }
}

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries = [
        Entry::of::<Ours>(),
        Entry::of::<Plain>(),
        Entry::of::<Counter>(),
        Entry::of::<Metriken>(),
        Entry::of::<Measured>(),
        Entry::of::<Prometheus>(),
        Entry::of::<Client>(),
        Entry::of::<OpenTelemetry>(),
    ];
    row("closed_label_inc", effort, &entries)
}

/// The label values of a family's `index`-th series.
fn labels(index: usize) -> (Major, Minor) {
    (Major::all()[index / 8], Minor::all()[index % 8])
}

#[derive(Clone, Copy)]
struct Ours {
    family: Family<Counter, (Major, Minor)>,
    labels: (Major, Minor),
}

impl Subject for Ours {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::private("bench").expect("private memory");
        let family = region.family(Desc::new("bench_total", "Raised by a bench")).expect("room");
        (0..count).map(|index| Self { family, labels: labels(index) }).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn act(&self, _: u64) {
        self.family.at(self.labels).inc();
    }

    fn done(&self) -> u64 {
        self.family.at(self.labels).get()
    }
}

/// The floor: a word of an array, picked by the labels' index, and a plain add.
#[derive(Clone, Copy)]
struct Plain {
    words: &'static [AtomicU64; 64],
    labels: (Major, Minor),
}

impl Subject for Plain {
    const NAME: &'static str = "plain_add";
    const SAME_IS_ONE: bool = false;

    fn make(count: usize) -> Vec<Self> {
        let words = Box::leak(Box::new([const { AtomicU64::new(0) }; 64]));
        (0..count).map(|index| Self { words, labels: labels(index) }).collect()
    }

    fn same(threads: usize) -> Vec<Self> {
        Self::apart(threads)
    }

    fn apart(threads: usize) -> Vec<Self> {
        (0..threads).flat_map(|_| Self::make(1)).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        let word = &self.words[self.labels.index()];
        word.store(word.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn done(&self) -> u64 {
        self.words[self.labels.index()].load(Relaxed)
    }
}

#[derive(Clone, Copy)]
struct Metriken {
    group: &'static metriken::CounterGroup,
    labels: (Major, Minor),
}

impl Subject for Metriken {
    const NAME: &'static str = "metriken";

    fn make(count: usize) -> Vec<Self> {
        let group = Box::leak(Box::new(metriken::CounterGroup::new(64)));
        (0..count).map(|index| Self { group, labels: labels(index) }).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.group.increment(self.labels.index());
    }

    fn done(&self) -> u64 {
        self.group.value(self.labels.index()).unwrap_or(0)
    }
}

#[derive(measured::FixedCardinalityLabel, Clone, Copy)]
enum MeasuredMajor {
    M0,
    M1,
    M2,
    M3,
    M4,
    M5,
    M6,
    M7,
}

#[derive(measured::FixedCardinalityLabel, Clone, Copy)]
enum MeasuredMinor {
    N0,
    N1,
    N2,
    N3,
    N4,
    N5,
    N6,
    N7,
}

#[derive(measured::LabelGroup, Clone, Copy)]
#[label(set = MeasuredSet)]
struct MeasuredLabels {
    major: MeasuredMajor,
    minor: MeasuredMinor,
}

#[derive(Clone)]
struct Measured {
    family: Arc<measured::CounterVec<MeasuredSet>>,
    labels: MeasuredLabels,
}

impl Subject for Measured {
    const NAME: &'static str = "measured";

    fn make(count: usize) -> Vec<Self> {
        use measured::FixedCardinalityLabel;
        let family = Arc::new(measured::CounterVec::dense());
        let labels =
            |index| MeasuredLabels { major: MeasuredMajor::decode(index / 8), minor: MeasuredMinor::decode(index % 8) };
        (0..count).map(|index| Self { family: Arc::clone(&family), labels: labels(index) }).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.family.inc(self.labels);
    }

    fn done(&self) -> u64 {
        self.family.get_metric(self.family.with_labels(self.labels)).count.load(Relaxed)
    }
}

#[derive(Clone)]
struct Prometheus {
    family: prometheus::IntCounterVec,
    labels: [&'static str; 2],
}

impl Subject for Prometheus {
    const NAME: &'static str = "prometheus";

    fn make(count: usize) -> Vec<Self> {
        let opts = prometheus::Opts::new("bench_total", "Raised by a bench");
        let family = prometheus::IntCounterVec::new(opts, &["major", "minor"]).expect("good names");
        let values = |index| {
            let (major, minor) = labels(index);
            [major.as_str(), minor.as_str()]
        };
        (0..count).map(|index| Self { family: family.clone(), labels: values(index) }).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.family.with_label_values(&self.labels).inc();
    }

    fn done(&self) -> u64 {
        self.family.with_label_values(&self.labels).get()
    }
}

type ClientFamily = prometheus_client::metrics::family::Family<(u8, u8), prometheus_client::metrics::counter::Counter>;

#[derive(Clone)]
struct Client {
    family: ClientFamily,
    labels: (u8, u8),
}

impl Subject for Client {
    const NAME: &'static str = "prometheus-client";

    fn make(count: usize) -> Vec<Self> {
        let family = ClientFamily::default();
        (0..count).map(|index| Self { family: family.clone(), labels: (index as u8 / 8, index as u8 % 8) }).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.family.get_or_create(&self.labels).inc();
    }

    fn done(&self) -> u64 {
        self.family.get_or_create(&self.labels).get()
    }
}

#[derive(Clone)]
struct OpenTelemetry {
    counter: opentelemetry::metrics::Counter<u64>,
    labels: [KeyValue; 2],
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Subject for OpenTelemetry {
    const NAME: &'static str = "opentelemetry_sdk";

    fn make(count: usize) -> Vec<Self> {
        let exporter = InMemoryMetricExporter::default();
        // Read when it is asked, not by the clock.
        let reader =
            PeriodicReader::builder(exporter.clone()).with_interval(std::time::Duration::from_secs(3600)).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let counter = provider.meter("bench").u64_counter("bench").build();
        let values = |index| {
            let (major, minor) = labels(index);
            [KeyValue::new("major", major.as_str()), KeyValue::new("minor", minor.as_str())]
        };
        let make = |index| Self {
            counter: counter.clone(),
            labels: values(index),
            provider: provider.clone(),
            exporter: exporter.clone(),
        };
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.counter.add(1, &self.labels);
    }

    fn done(&self) -> u64 {
        self.exporter.reset();
        self.provider.force_flush().expect("a collection");
        let resources = self.exporter.get_finished_metrics().expect("the collected metrics");
        let metrics = resources.iter().flat_map(|one| one.scope_metrics()).flat_map(|scope| scope.metrics());
        metrics.map(|metric| self.value(metric.data())).sum()
    }
}

impl OpenTelemetry {
    fn value(&self, data: &AggregatedMetrics) -> u64 {
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = data else { return 0 };
        let own = sum.data_points().filter(|point| point.attributes().all(|one| self.labels.contains(one)));
        own.map(|point| point.value()).sum()
    }
}
