//! Memory a series, ours beside the peers': `cargo run --release -p tachograph-benches --bin memory [-- --json]`.
//!
//! Of ours it is what the region reserves for it (a group's own needs, at 16 lanes: record, names, cells in every lane),
//! and what the process keeps on its heap beside; of a peer, the heap bytes that are still allocated when a thousand
//! series stand in its registry, counted by the allocator. All have the same three labels and, where they have buckets,
//! the same eleven bounds. A series of ours is shared by all threads without contention, which is what the lanes are for.

use allocation_counter::measure;
use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialHistogram, Family, Gauge, Histogram, LabelSet, Metric, Needs,
    Region, Registrable, UpDownCounter, WatermarkMax,
};

const LANES: u64 = 16;
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

tachograph::label_value! { enum Method: "method" {
    A = "m0", B = "m1", C = "m2", D = "m3", E = "m4", F = "m5", G = "m6", H = "m7", I = "m8", J = "m9",
} }
tachograph::label_value! { enum Route: "route" {
    A = "r0", B = "r1", C = "r2", D = "r3", E = "r4", F = "r5", G = "r6", H = "r7", I = "r8", J = "r9",
} }
tachograph::label_value! { enum Code: "code" {
    A = "c0", B = "c1", C = "c2", D = "c3", E = "c4", F = "c5", G = "c6", H = "c7", I = "c8", J = "c9",
} }

type Labels = (Method, Route, Code);
const NAMES: [&str; 3] = ["method", "route", "code"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--json" => true,
        _ => return Err("usage: memory [--json]".into()),
    };
    let bounds = || Desc::new("bench_seconds", "Filled by a bench").buckets(Buckets::bounds(BOUNDS));
    let plain = |name: &str| Desc::new(name, "Written by a bench");
    let rows = [
        ("counter", ours::<Counter>(plain("bench_total"))?, counters()),
        ("gauge", ours::<Gauge<i64>>(plain("bench_gauge"))?, gauges()),
        ("updown_counter", ours::<UpDownCounter>(plain("bench_updown"))?, gauges()),
        ("watermark", ours::<WatermarkMax>(plain("bench_peak"))?, Vec::new()),
        ("histogram_11_bounds", ours::<Histogram>(bounds())?, histograms()),
        ("duration_histogram_11_bounds", ours::<DurationHistogram>(bounds())?, histograms()),
        ("exponential_histogram_default", ours::<ExponentialHistogram>(plain("bench_native"))?, Vec::new()),
    ];
    if !json {
        println!("{:<31}{:>13}{:>11}  {:<29}{:>11}", "kind", "region bytes", "heap bytes", "peer", "peer bytes");
    }
    for (kind, (region, heap), peers) in rows {
        let peers: Vec<(&str, Option<f64>)> = if peers.is_empty() {
            vec![("none", None)]
        } else {
            peers.into_iter().map(|(p, b)| (p, Some(b))).collect()
        };
        for (peer, bytes) in peers {
            if json {
                let line = serde_json::json!({
                    "row": "memory_series", "kind": kind, "ours_region_bytes": region, "ours_heap_bytes": heap,
                    "peer": peer, "peer_bytes": bytes,
                });
                println!("{line}");
            } else {
                let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}"));
                println!("{kind:<31}{region:>13.0}{heap:>11.1}  {peer:<29}{bytes:>11}");
            }
        }
    }
    Ok(())
}

/// Bytes of the region and of the heap that a series of a family takes.
fn ours<M: Metric>(desc: Desc) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let Needs { families, series, cells, shared, string_bytes, label_bytes, bounds, .. } =
        Family::<M, Labels>::needs(&desc);
    assert_eq!(series as usize, Labels::COUNT, "a family of a thousand");
    let words = [(families, 256), (series, 64), (cells, 8 * LANES), (shared, 64), (bounds, 8)];
    let bytes: u64 = words.iter().map(|(count, size)| u64::from(*count) * size).sum();
    let bytes = bytes + u64::from(string_bytes) + u64::from(label_bytes);

    let region = Region::builder("memory").lanes(LANES as usize).families(64).series(series.max(64));
    let region = region.cells(cells.max(64)).shared(shared.max(64)).bounds(bounds.max(64)).string_bytes(1 << 20);
    let region = region.private()?;
    let mut family = None;
    let heap = measure(|| family = Some(region.family::<M, Labels>(desc)));
    family.ok_or("not registered")??;
    Ok((bytes as f64 / Labels::COUNT as f64, heap.bytes_current as f64 / Labels::COUNT as f64))
}

/// Heap bytes a series that `keep` leaves allocated when it has made a thousand.
fn kept<T>(make: impl FnOnce() -> T) -> f64 {
    let mut kept = None;
    let heap = measure(|| kept = Some(make()));
    let bytes = heap.bytes_current as f64 / Labels::COUNT as f64;
    assert!(kept.is_some() && bytes > 8.0, "a series takes no memory: nothing was kept");
    bytes
}

fn each_set(mut with: impl FnMut(&[&'static str])) {
    Labels::sets().iter().for_each(|set| with(set));
}

fn counters() -> Vec<(&'static str, f64)> {
    use prometheus_client::metrics::{counter, family};
    vec![
        (
            "prometheus",
            kept(|| {
                let family = prometheus::IntCounterVec::new(prometheus::Opts::new("bench_total", "Raised"), &NAMES)
                    .expect("good");
                each_set(|set| family.with_label_values(set).inc());
                family
            }),
        ),
        (
            "prometheus-client",
            kept(|| {
                let family = family::Family::<Vec<(&'static str, &'static str)>, counter::Counter>::default();
                each_set(|set| {
                    family.get_or_create(&pairs(set)).inc();
                });
                family
            }),
        ),
        (
            "metrics-exporter-prometheus",
            metrics_kept(|recorder, key, metadata| {
                metrics::Recorder::register_counter(recorder, key, metadata).increment(1);
            }),
        ),
    ]
}

fn gauges() -> Vec<(&'static str, f64)> {
    use prometheus_client::metrics::{family, gauge};
    vec![
        (
            "prometheus",
            kept(|| {
                let family =
                    prometheus::IntGaugeVec::new(prometheus::Opts::new("bench_gauge", "Set"), &NAMES).expect("good");
                each_set(|set| family.with_label_values(set).set(1));
                family
            }),
        ),
        (
            "prometheus-client",
            kept(|| {
                let family = family::Family::<Vec<(&'static str, &'static str)>, gauge::Gauge>::default();
                each_set(|set| {
                    family.get_or_create(&pairs(set)).set(1);
                });
                family
            }),
        ),
        (
            "metrics-exporter-prometheus",
            metrics_kept(|recorder, key, metadata| {
                metrics::Recorder::register_gauge(recorder, key, metadata).set(1.0);
            }),
        ),
    ]
}

fn histograms() -> Vec<(&'static str, f64)> {
    use prometheus_client::metrics::{family, histogram};
    vec![
        (
            "prometheus",
            kept(|| {
                let opts = prometheus::HistogramOpts::new("bench_seconds", "Filled").buckets(BOUNDS.to_vec());
                let family = prometheus::HistogramVec::new(opts, &NAMES).expect("good");
                each_set(|set| family.with_label_values(set).observe(0.3));
                family
            }),
        ),
        (
            "prometheus-client",
            kept(|| {
                let new: fn() -> histogram::Histogram = || histogram::Histogram::new(BOUNDS);
                let family =
                    family::Family::<Vec<(&'static str, &'static str)>, histogram::Histogram>::new_with_constructor(
                        new,
                    );
                each_set(|set| family.get_or_create(&pairs(set)).observe(0.3));
                family
            }),
        ),
    ]
}

fn pairs(set: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    NAMES.into_iter().zip(set.iter().copied()).collect()
}

fn metrics_kept(
    write: impl Fn(&metrics_exporter_prometheus::PrometheusRecorder, &metrics::Key, &metrics::Metadata<'_>),
) -> f64 {
    let metadata = metrics::Metadata::new("bench", metrics::Level::INFO, None);
    kept(|| {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        each_set(|set| {
            let labels: Vec<metrics::Label> =
                pairs(set).into_iter().map(|(name, value)| metrics::Label::from_static_parts(name, value)).collect();
            write(&recorder, &metrics::Key::from_parts("bench", labels), &metadata);
        });
        recorder
    })
}
