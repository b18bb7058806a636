//! Row `histogram_bounds_f64`: one observation, an `f64`, into eleven buckets with bounds of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tachograph::{Buckets, Desc, Histogram, Region};

use crate::contest::{Effort, Line};
use crate::inputs::{BOUNDS, seconds};
use crate::modes::{Entry, row};
use crate::subject::Subject;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries = [
        Entry::of::<Histogram>(),
        Entry::of::<Bare>(),
        Entry::of::<prometheus::Histogram>(),
        Entry::of::<Client>(),
        Entry::of::<Measured>(),
        Entry::of::<Metrics>(),
        Entry::of::<OpenTelemetry>(),
    ];
    row("histogram_bounds_f64", effort, &entries)
}

impl Subject for Histogram {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::builder("bench").cells(4096).private().expect("private memory");
        let desc =
            |index| Desc::new(format!("bench_{index}_seconds"), "Filled by a bench").buckets(Buckets::bounds(BOUNDS));
        (0..count).map(|index| region.register(desc(index)).expect("room")).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn act(&self, step: u64) {
        self.observe(seconds(step));
    }

    fn done(&self) -> u64 {
        self.count()
    }
}

/// The floor: a search of the bounds, a plain add to the bucket and to the sum, exact from one thread only.
#[derive(Clone, Copy)]
struct Bare(&'static [AtomicU64; 48]);

impl Subject for Bare {
    const NAME: &'static str = "bare_histogram";
    const SAME_IS_ONE: bool = false;

    fn make(count: usize) -> Vec<Self> {
        // Each in a block of its own, so as far apart as cache lines are.
        let words = || Box::leak(Box::new([const { AtomicU64::new(0) }; 48]));
        (0..count).map(|_| Self(words())).collect()
    }

    fn same(threads: usize) -> Vec<Self> {
        Self::make(threads)
    }

    #[inline]
    fn act(&self, step: u64) {
        let value = seconds(step);
        let bucket = BOUNDS.iter().map(|bound| usize::from(value > *bound)).sum::<usize>();
        let (bucket, sum) = (&self.0[bucket], &self.0[12]);
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        sum.store((f64::from_bits(sum.load(Relaxed)) + value).to_bits(), Relaxed);
    }

    fn done(&self) -> u64 {
        self.0[..12].iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

impl Subject for prometheus::Histogram {
    const NAME: &'static str = "prometheus";

    fn make(count: usize) -> Vec<Self> {
        let make = |index| {
            let opts = prometheus::HistogramOpts::new(format!("bench_{index}_seconds"), "Filled by a bench");
            Self::with_opts(opts.buckets(BOUNDS.to_vec())).expect("good bounds")
        };
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.observe(seconds(step));
    }

    fn done(&self) -> u64 {
        self.get_sample_count()
    }
}

#[derive(Clone)]
struct Client(prometheus_client::metrics::histogram::Histogram);

impl Subject for Client {
    const NAME: &'static str = "prometheus-client";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self(prometheus_client::metrics::histogram::Histogram::new(BOUNDS))).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.0.observe(seconds(step));
    }

    fn done(&self) -> u64 {
        client_count(&self.0)
    }
}

/// The count of a histogram of `prometheus-client`. It has no getter, and of native histograms no text: what is left is
/// how it shows itself to a debugger.
pub(crate) fn client_count(histogram: &prometheus_client::metrics::histogram::Histogram) -> u64 {
    let shown = format!("{histogram:?}");
    let count = shown.split_once("count: ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit));
    count.and_then(|digits| digits.collect::<String>().parse().ok()).expect("a count is shown")
}

#[derive(Clone)]
struct Measured(Arc<measured::Histogram<11>>);

impl Subject for Measured {
    const NAME: &'static str = "measured";

    fn make(count: usize) -> Vec<Self> {
        use measured::metric::histogram::Thresholds;
        let make = |_| Self(Arc::new(measured::Histogram::with_metadata(Thresholds::with_buckets(BOUNDS))));
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.0.get_metric().observe(seconds(step));
    }

    fn done(&self) -> u64 {
        use measured::metric::MetricFamilyEncoding;
        let mut encoder = measured::text::BufferedTextEncoder::new();
        let name = measured::metric::name::MetricName::from_str("bench");
        self.0.collect_family_into(name, &mut encoder).expect("a buffer takes it");
        crate::counter_inc::exposed(&String::from_utf8_lossy(&encoder.finish()), "bench_count")
    }
}

/// A handle of the `metrics` crate, registered with its Prometheus exporter.
#[derive(Clone)]
struct Metrics {
    histogram: metrics::Histogram,
    count: Arc<str>,
    exporter: metrics_exporter_prometheus::PrometheusHandle,
}

impl Subject for Metrics {
    const NAME: &'static str = "metrics-exporter-prometheus";

    fn make(count: usize) -> Vec<Self> {
        use metrics::Recorder;
        let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
        let recorder = builder.set_buckets(&BOUNDS).expect("good bounds").build_recorder();
        let metadata = metrics::Metadata::new("bench", metrics::Level::INFO, None);
        let make = |index| {
            let name = format!("bench_{index}_seconds");
            let histogram = recorder.register_histogram(&metrics::Key::from_name(name.clone()), &metadata);
            Self { histogram, count: format!("{name}_count").into(), exporter: recorder.handle() }
        };
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.histogram.record(seconds(step));
    }

    fn done(&self) -> u64 {
        crate::counter_inc::exposed(&self.exporter.render(), &self.count)
    }
}

#[derive(Clone)]
struct OpenTelemetry {
    histogram: opentelemetry::metrics::Histogram<f64>,
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Subject for OpenTelemetry {
    const NAME: &'static str = "opentelemetry_sdk";

    fn make(count: usize) -> Vec<Self> {
        let make = |_| {
            let exporter = InMemoryMetricExporter::default();
            // Read when it is asked, not by the clock.
            let reader =
                PeriodicReader::builder(exporter.clone()).with_interval(std::time::Duration::from_secs(3600)).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).build();
            let meter = provider.meter("bench");
            let histogram = meter.f64_histogram("bench").with_boundaries(BOUNDS.to_vec()).build();
            Self { histogram, provider, exporter }
        };
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.histogram.record(seconds(step), &[]);
    }

    fn done(&self) -> u64 {
        self.exporter.reset();
        self.provider.force_flush().expect("a collection");
        let resources = self.exporter.get_finished_metrics().expect("the collected metrics");
        let metrics = resources.iter().flat_map(|one| one.scope_metrics()).flat_map(|scope| scope.metrics());
        let count = |data: &AggregatedMetrics| match data {
            AggregatedMetrics::F64(MetricData::Histogram(all)) => all.data_points().map(|one| one.count()).sum(),
            _ => 0,
        };
        metrics.map(|metric| count(metric.data())).sum()
    }
}
