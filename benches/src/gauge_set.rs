//! Row `gauge_set`: setting a gauge through its handle. What is proved is the last value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tachograph::{Gauge, Region};

use crate::contest::{Effort, Line};
use crate::modes::{Entry, row};
use crate::subject::Subject;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries = [
        Entry::of::<Ours>(),
        Entry::of::<Plain>(),
        Entry::of::<Prometheus>(),
        Entry::of::<Client>(),
        Entry::of::<Metriken>(),
        Entry::of::<Measured>(),
        Entry::of::<Metrics>(),
    ];
    row("gauge_set", effort, &entries)
}

macro_rules! gauge {
    ($(#[$doc:meta])* $name:ident($inner:ty) $crate_name:literal, $make:expr, $set:expr, $get:expr $(, $enter:expr)?) => {
        $(#[$doc])*
        #[derive(Clone)]
        struct $name($inner);

        impl Subject for $name {
            const NAME: &'static str = $crate_name;

            fn make(count: usize) -> Vec<Self> {
                let make: fn(usize) -> Vec<$inner> = $make;
                make(count).into_iter().map(Self).collect()
            }

            $(fn enter_thread() {
                $enter();
            })?

            #[inline]
            fn act(&self, step: u64) {
                let set: fn(&$inner, i64) = $set;
                set(&self.0, step as i64 + 1);
            }

            /// The value it holds: one more than the last step.
            fn done(&self) -> u64 {
                let get: fn(&$inner) -> i64 = $get;
                get(&self.0) as u64
            }

            fn prove(metrics: &[Self], _: u64, _: u64, each: u64) {
                // A thread's last store is of the last step, and the last store of all is some thread's last one.
                let last = metrics.iter().map(Self::done).max();
                assert_eq!(last, Some(each), "{} does not hold the last value", Self::NAME);
            }
        }
    };
}

gauge! {
    Ours(Gauge<i64>) "tachograph",
    |count| {
        let region = Region::private("bench").expect("private memory");
        (0..count).map(|index| region.gauge(&format!("bench_{index}"), "Set by a bench").expect("room")).collect()
    },
    |gauge, value| gauge.set(value),
    |gauge| gauge.get(),
    tachograph::enter_thread
}

gauge! {
    /// The floor: a word on a cache line of its own.
    Plain(&'static AtomicU64) "plain_store",
    |count| {
        let words: &'static [AtomicU64] = (0..count * 32).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        words.iter().step_by(32).collect()
    },
    |word, value| word.store(value as u64, Relaxed),
    |word| word.load(Relaxed) as i64
}

gauge! {
    Prometheus(prometheus::IntGauge) "prometheus",
    |count| {
        let make = |index| prometheus::IntGauge::new(format!("bench_{index}"), "Set by a bench").expect("a good name");
        (0..count).map(make).collect()
    },
    |gauge, value| gauge.set(value),
    |gauge| gauge.get()
}

gauge! {
    Client(prometheus_client::metrics::gauge::Gauge) "prometheus-client",
    |count| (0..count).map(|_| prometheus_client::metrics::gauge::Gauge::default()).collect(),
    |gauge, value| { gauge.set(value); },
    |gauge| gauge.get()
}

gauge! {
    Metriken(&'static metriken::Gauge) "metriken",
    |count| (0..count).map(|_| &*Box::leak(Box::default())).collect(),
    |gauge, value| { gauge.set(value); },
    |gauge| gauge.value()
}

gauge! {
    Measured(Arc<measured::Gauge>) "measured",
    |count| (0..count).map(|_| Arc::new(measured::Gauge::new())).collect(),
    |gauge, value| gauge.set(value),
    |gauge| gauge.get_metric().count.load(Relaxed)
}

gauge! {
    /// A handle of the `metrics` crate, registered with its Prometheus exporter; its series' value is read back.
    Metrics(Exported) "metrics-exporter-prometheus",
    |count| {
        use metrics::Recorder;
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let metadata = metrics::Metadata::new("bench", metrics::Level::INFO, None);
        let make = |index| {
            let name = format!("bench_{index}");
            let gauge = recorder.register_gauge(&metrics::Key::from_name(name.clone()), &metadata);
            Exported { gauge, name: name.into(), exporter: recorder.handle() }
        };
        (0..count).map(make).collect()
    },
    |exported, value| exported.gauge.set(value as f64),
    |exported| crate::counter_inc::exposed(&exported.exporter.render(), &exported.name) as i64
}

#[derive(Clone)]
struct Exported {
    gauge: metrics::Gauge,
    name: Arc<str>,
    exporter: metrics_exporter_prometheus::PrometheusHandle,
}
