//! The peers of the rows `render_*`: the same series in their own registries, rendered by their own encoders.

use crate::contest::Contestant;
use crate::inputs::BOUNDS;
use crate::render::{all, renderer};
use tachograph::LabelValue;

const FAMILY: usize = 1_000;
const NAMES: [&str; 3] = ["hundred", "ten", "digit"];

fn values() -> impl Iterator<Item = [&'static str; 3]> {
    all().map(|(hundred, ten, digit)| [hundred.as_str(), ten.as_str(), digit.as_str()])
}

pub(crate) fn prometheus(lines: usize) -> Contestant {
    renderer("prometheus", lines, prometheus_body(lines))
}

/// What gathers and encodes so many counters, and says how many bytes that gave.
pub(crate) fn prometheus_body(lines: usize) -> impl FnMut() -> usize + 'static {
    let registry = prometheus::Registry::new();
    for index in 0..lines / FAMILY {
        let opts = prometheus::Opts::new(format!("bench_{index}_total"), "Raised by a bench");
        let family = prometheus::IntCounterVec::new(opts, &NAMES).expect("good names");
        values().for_each(|values| family.with_label_values(&values).inc_by(86_415));
        registry.register(Box::new(family)).expect("a new name");
    }
    encode(registry)
}

pub(crate) fn prometheus_histograms(series: usize) -> Contestant {
    let registry = prometheus::Registry::new();
    for index in 0..series.div_ceil(FAMILY) {
        let opts = prometheus::HistogramOpts::new(format!("bench_{index}_seconds"), "Filled by a bench");
        let family = prometheus::HistogramVec::new(opts.buckets(BOUNDS.to_vec()), &NAMES).expect("good names");
        values().for_each(|values| (0..12).for_each(|n| family.with_label_values(&values).observe(f64::from(n) / 4.0)));
        registry.register(Box::new(family)).expect("a new name");
    }
    let lines = series.div_ceil(FAMILY) * FAMILY * crate::render::HISTOGRAM_LINES;
    renderer("prometheus", lines, encode(registry))
}

fn encode(registry: prometheus::Registry) -> impl FnMut() -> usize + 'static {
    let mut out = String::new();
    move || {
        out.clear();
        prometheus::TextEncoder::new().encode_utf8(&registry.gather(), &mut out).expect("it encodes");
        out.len()
    }
}

type ClientLabels = [(&'static str, &'static str); 3];

fn client_labels([hundred, ten, digit]: [&'static str; 3]) -> ClientLabels {
    [(NAMES[0], hundred), (NAMES[1], ten), (NAMES[2], digit)]
}

pub(crate) fn client(lines: usize) -> Contestant {
    use prometheus_client::metrics::{counter::Counter, family::Family};
    let mut registry = prometheus_client::registry::Registry::default();
    for index in 0..lines / FAMILY {
        let family = Family::<ClientLabels, Counter>::default();
        values().for_each(|values| {
            family.get_or_create(&client_labels(values)).inc_by(86_415);
        });
        registry.register(format!("bench_{index}"), "Raised by a bench", family);
    }
    client_encoder(registry, lines)
}

pub(crate) fn client_histograms(series: usize) -> Contestant {
    use prometheus_client::metrics::{family::Family, histogram::Histogram};
    let mut registry = prometheus_client::registry::Registry::default();
    for index in 0..series.div_ceil(FAMILY) {
        let family = Family::<ClientLabels, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
        let fill = |values| {
            let histogram = family.get_or_create_owned(&client_labels(values));
            (0..12).for_each(|n| histogram.observe(f64::from(n) / 4.0));
        };
        values().for_each(fill);
        registry.register(format!("bench_{index}_seconds"), "Filled by a bench", family);
    }
    client_encoder(registry, series.div_ceil(FAMILY) * FAMILY * crate::render::HISTOGRAM_LINES)
}

fn client_encoder(registry: prometheus_client::registry::Registry, lines: usize) -> Contestant {
    let mut out = String::new();
    renderer("prometheus-client", lines, move || {
        out.clear();
        prometheus_client::encoding::text::encode(&mut out, &registry).expect("it encodes");
        out.len()
    })
}

macro_rules! ten_values {
    ($($name:ident),*) => {$(
        #[derive(measured::FixedCardinalityLabel, Clone, Copy)]
        enum $name { V0, V1, V2, V3, V4, V5, V6, V7, V8, V9 }
    )*};
}

ten_values!(MeasuredHundred, MeasuredTen, MeasuredDigit);

#[derive(measured::LabelGroup, Clone, Copy)]
#[label(set = MeasuredSet)]
struct MeasuredLabels {
    hundred: MeasuredHundred,
    ten: MeasuredTen,
    digit: MeasuredDigit,
}

fn measured_labels() -> impl Iterator<Item = MeasuredLabels> {
    use measured::FixedCardinalityLabel;
    (0..FAMILY).map(|index| MeasuredLabels {
        hundred: MeasuredHundred::decode(index / 100),
        ten: MeasuredTen::decode(index / 10 % 10),
        digit: MeasuredDigit::decode(index % 10),
    })
}

pub(crate) fn measured(lines: usize) -> Contestant {
    let make = |index| {
        let family = measured::CounterVec::<MeasuredSet>::dense();
        measured_labels().for_each(|labels| family.inc_by(labels, 86_415));
        (format!("bench_{index}_total"), family)
    };
    measured_encoder((0..lines / FAMILY).map(make).collect(), lines)
}

pub(crate) fn measured_histograms(series: usize) -> Contestant {
    use measured::metric::histogram::Thresholds;
    let make = |index| {
        let thresholds = Thresholds::with_buckets(BOUNDS);
        let family = measured::HistogramVec::<MeasuredSet, 11>::dense_with_metadata(thresholds);
        measured_labels().for_each(|labels| (0..12).for_each(|n| family.observe(labels, f64::from(n) / 4.0)));
        (format!("bench_{index}_seconds"), family)
    };
    let families = series.div_ceil(FAMILY);
    measured_encoder((0..families).map(make).collect(), families * FAMILY * crate::render::HISTOGRAM_LINES)
}

fn measured_encoder<F>(families: Vec<(String, F)>, lines: usize) -> Contestant
where
    F: measured::metric::MetricFamilyEncoding<measured::text::BufferedTextEncoder> + 'static,
{
    use measured::metric::group::Encoding as _;
    use measured::metric::name::MetricName;
    // Its names must live as long as the program.
    let leak = |(name, family): (String, F)| (MetricName::from_str(String::leak(name)), family);
    let families: Vec<_> = families.into_iter().map(leak).collect();
    let mut encoder = measured::text::BufferedTextEncoder::new();
    renderer("measured", lines, move || {
        for (name, family) in &families {
            encoder.write_help(*name, "Filled by a bench").expect("a buffer takes it");
            family.collect_family_into(*name, &mut encoder).expect("a buffer takes it");
        }
        encoder.finish().len()
    })
}

pub(crate) fn metrics(lines: usize) -> Contestant {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    each_key(lines / FAMILY, "total", |key, metadata| {
        metrics::Recorder::register_counter(&recorder, key, metadata).increment(86_415);
    });
    metrics_encoder(recorder, lines)
}

pub(crate) fn metrics_histograms(series: usize) -> Contestant {
    let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
    let recorder = builder.set_buckets(&BOUNDS).expect("good bounds").build_recorder();
    let families = series.div_ceil(FAMILY);
    each_key(families, "seconds", |key, metadata| {
        let histogram = metrics::Recorder::register_histogram(&recorder, key, metadata);
        (0..12).for_each(|n| histogram.record(f64::from(n) / 4.0));
    });
    metrics_encoder(recorder, families * FAMILY * crate::render::HISTOGRAM_LINES)
}

fn each_key(families: usize, suffix: &str, mut register: impl FnMut(&metrics::Key, &metrics::Metadata<'_>)) {
    let metadata = metrics::Metadata::new("bench", metrics::Level::INFO, None);
    for index in 0..families {
        for values in values() {
            let labels: Vec<metrics::Label> =
                client_labels(values).iter().map(|(name, value)| metrics::Label::new(*name, *value)).collect();
            register(&metrics::Key::from_parts(format!("bench_{index}_{suffix}"), labels), &metadata);
        }
    }
}

fn metrics_encoder(recorder: metrics_exporter_prometheus::PrometheusRecorder, lines: usize) -> Contestant {
    let handle = recorder.handle();
    renderer("metrics-exporter-prometheus", lines, move || {
        let _keeps = &recorder;
        handle.render().len()
    })
}
