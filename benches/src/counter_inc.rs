//! Row `counter_inc`: raising a counter by 1 through its handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tachograph::{Counter, Region};

use crate::contest::{Effort, Line};
use crate::modes::{Entry, row};
use crate::subject::Subject;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries = [
        Entry::of::<Counter>(),
        Entry::of::<Plain>(),
        Entry::of::<prometheus::IntCounter>(),
        Entry::of::<prometheus_client::metrics::counter::Counter>(),
        Entry::of::<Metriken>(),
        Entry::of::<Measured>(),
        Entry::of::<Metrics>(),
    ];
    row("counter_inc", effort, &entries)
}

/// The floor: a word that is raised by a plain load and store, exact from one thread only.
#[derive(Clone, Copy)]
struct Plain(&'static AtomicU64);

impl Subject for Plain {
    const NAME: &'static str = "plain_add";
    const SAME_IS_ONE: bool = false;

    fn make(count: usize) -> Vec<Self> {
        let words: &'static [AtomicU64] = (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        words.iter().map(Self).collect()
    }

    fn same(threads: usize) -> Vec<Self> {
        Self::apart(threads)
    }

    fn apart(threads: usize) -> Vec<Self> {
        // On cache lines of their own.
        Self::make(threads * 32).into_iter().step_by(32).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn done(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Subject for Counter {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::private("bench").expect("private memory");
        let register = |index| region.counter(&format!("bench_{index}_total"), "Raised by a bench").expect("room");
        (0..count).map(register).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn act(&self, _: u64) {
        self.inc();
    }

    fn done(&self) -> u64 {
        self.get()
    }
}

impl Subject for prometheus::IntCounter {
    const NAME: &'static str = "prometheus";

    fn make(count: usize) -> Vec<Self> {
        let make = |index| Self::new(format!("bench_{index}_total"), "Raised by a bench").expect("a good name");
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.inc();
    }

    fn done(&self) -> u64 {
        self.get()
    }
}

impl Subject for prometheus_client::metrics::counter::Counter {
    const NAME: &'static str = "prometheus-client";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::default()).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.inc();
    }

    fn done(&self) -> u64 {
        self.get()
    }
}

#[derive(Clone, Copy)]
struct Metriken(&'static metriken::Counter);

impl Subject for Metriken {
    const NAME: &'static str = "metriken";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self(Box::leak(Box::default()))).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.0.increment();
    }

    fn done(&self) -> u64 {
        self.0.value()
    }
}

#[derive(Clone)]
struct Measured(Arc<measured::Counter>);

impl Subject for Measured {
    const NAME: &'static str = "measured";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self(Arc::new(measured::Counter::new()))).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.0.inc();
    }

    fn done(&self) -> u64 {
        self.0.get_metric().count.load(Relaxed)
    }
}

/// A handle of the `metrics` crate, registered with its Prometheus exporter.
#[derive(Clone)]
struct Metrics {
    counter: metrics::Counter,
    name: Arc<str>,
    exporter: PrometheusHandle,
}

impl Subject for Metrics {
    const NAME: &'static str = "metrics-exporter-prometheus";

    fn make(count: usize) -> Vec<Self> {
        use metrics::Recorder;
        let recorder = PrometheusBuilder::new().build_recorder();
        let metadata = metrics::Metadata::new("bench", metrics::Level::INFO, None);
        let make = |index| {
            let name = format!("bench_{index}_total");
            let counter = recorder.register_counter(&metrics::Key::from_name(name.clone()), &metadata);
            Self { counter, name: name.into(), exporter: recorder.handle() }
        };
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, _: u64) {
        self.counter.increment(1);
    }

    fn done(&self) -> u64 {
        exposed(&self.exporter.render(), &self.name)
    }
}

/// The value of a series in an exposition.
pub(crate) fn exposed(text: &str, series: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}
