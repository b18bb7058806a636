//! Regions whose structure is valid and whose texts, names and numbers are chosen to break a format: whatever files say, no
//! body is refused by a reader of its format, none is taken for something else, and the region beside them is served.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tachograph_layout::{FamilyRecord, Kind, Number, SectionKind, SeriesRecord};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get_with};
use tachograph_tests::process::{Running, binary, eventually, tool};
use tachograph_tests::readers::{Read, bits, read, series};
use tachograph_tests::scraper::Api;
use tachograph_tests::tmpfs;

/// Regions laid out by hand, from the layout alone: no writer would make these.
#[allow(dead_code)]
#[path = "../../exporter/tests/reading/builder.rs"]
mod builder;

use builder::{FamilySpec, Region};

/// Label values that a format has to escape, or to leave alone.
const VALUES: [&str; 9] =
    ["", "\0", "a\0b", "\r", "\u{2028}\u{2029}\u{85}\u{feff}", "\u{1b}[31m", "# EOF", "\"\\\n", "a=\"b\",le=\"1\"} 7"];

/// HELP texts that a format has to escape, or to leave alone.
const HELPS: [&str; 12] =
    ["", " ", "  before", "behind  ", "a\0b", "\u{2028}x\u{2029}\u{85}", "a\r\nb", "\\", "\\n", "\"q\"", "# EOF", "\t"];

/// Label blocks that are none of a family with the label `l`, or that another series has.
const BAD_BLOCKS: [&str; 8] =
    [r#"l="\t""#, r#"l="a",l="a""#, r#"l="a",le="1""#, "l=\"a\nb\"", "l=\"a", r#"m="a""#, r#"l="b""#, "l=\"a\" "];

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labelled(name: &str) -> FamilySpec<'_> {
    FamilySpec { label_names: &["l"], ..FamilySpec::of(name, Kind::Counter, Number::U64) }
}

/// Texts and names.
fn texts() -> Region {
    let mut region = Region::new("texts");
    // Host, version and executable, of which one is no UTF-8.
    for (len_at, at, text) in
        [(200, 376, &b"ho\"st\\\n\0"[..]), (204, 440, "\u{1b}[31m\u{2028}".as_bytes()), (208, 504, b"/bin/\xff\r")]
    {
        region.bytes[len_at..len_at + 4].copy_from_slice(&(text.len() as u32).to_le_bytes());
        region.bytes[at..at + text.len()].copy_from_slice(text);
    }
    let blocks = VALUES.map(|value| format!("l=\"{}\"", escaped(value)));
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    region.family(&FamilySpec { blocks: &blocks, ..labelled("app_texts_total") });
    for (index, help) in HELPS.iter().enumerate() {
        let place = region.family(&FamilySpec::of(&format!("app_help_{index}"), Kind::Gauge, Number::U64));
        let text = region.string(help);
        region.edit(SectionKind::Families, place.family, |record: &mut FamilyRecord| record.help = text);
    }
    // Names that are a sample's, a label's or a server's.
    for name in ["__name__", "a:mode", "le", "quantile", "job", "app_state"] {
        region.family(&FamilySpec {
            states: &["idle", "\"\\\n\r\u{2028}"],
            ..FamilySpec::of(name, Kind::StateSet, Number::U64)
        });
    }
    let names = &["job", "instance", "exported_job", "overflow"];
    let block = r#"job="a",instance="b",exported_job="c",overflow="true""#;
    region.family(&FamilySpec { blocks: &[block], label_names: names, ..labelled("app_labels_total") });
    region.family(&FamilySpec::of("app:colons:9", Kind::Gauge, Number::U64));
    // Beside each a good series.
    for (index, block) in BAD_BLOCKS.iter().enumerate() {
        let name = format!("app_bad_{index}_total");
        let place = region.family(&FamilySpec { blocks: &[r#"l="b""#, "l=\"?\""], ..labelled(&name) });
        let at = region.string(block);
        region.edit(SectionKind::Series, place.slot + 1, |record: &mut SeriesRecord| record.labels = at);
    }
    region
}

/// Numbers.
fn numbers() -> Region {
    let mut region = Region::new("numbers");
    for (index, value) in [f64::NAN, -5.0, f64::NEG_INFINITY, f64::INFINITY, -0.0, 5e-324].into_iter().enumerate() {
        let place = region.family(&FamilySpec::of(&format!("app_n{index}_total"), Kind::Counter, Number::F64));
        region.lane_f64(1, place.cell, value);
    }
    let scaled =
        region.family(&FamilySpec { scale: 1e308, ..FamilySpec::of("app_scaled_total", Kind::Counter, Number::U64) });
    region.lane(0, scaled.cell, u64::MAX);
    // Counts that add up to more than there is, and to more than a signed number holds.
    for (name, kind, counts) in [
        ("app_over", Kind::HistogramBounds, [u64::MAX, u64::MAX - 1, 1, 0, 7]),
        ("app_signed", Kind::HistogramBounds, [0, 1 << 63, 0, 1, 0]),
        ("app_native_over", Kind::HistogramExponential, [u64::MAX, 3, u64::MAX, 1, 7]),
        ("app_native_signed", Kind::HistogramExponential, [1, 1 << 63, 1 << 63, 5, 0]),
        ("app_native_last", Kind::HistogramExponential, [0, 0, 0, 1, u64::MAX]),
    ] {
        let spec = FamilySpec { bounds: &[1.0, 2.0, 4.0, 8.0], ..FamilySpec::of(name, kind, Number::U64) };
        let exponential = FamilySpec { bounds: &[], ..spec.clone() };
        let place = region.family(if kind == Kind::HistogramBounds { &spec } else { &exponential });
        (0..).zip(counts).for_each(|(cell, count)| region.lane(0, place.cell + cell, count));
    }
    let spec = FamilySpec::of("app_odd", Kind::HistogramBounds, Number::F64);
    let odd =
        region.family(&FamilySpec { bounds: &[-0.0, 5e-324, 0.1 + 0.2, 123_456_789.0, f64::MAX], ..spec.clone() });
    (0..6).for_each(|cell| region.lane(0, odd.cell + cell, 1));
    region.lane_f64(0, odd.cell + 6, f64::NAN);
    let below = region.family(&FamilySpec { name: "app_below", bounds: &[-2.0, -1.0], ..spec });
    region.lane(0, below.cell, 1);
    region.lane_f64(0, below.cell + 3, -5.0);
    let mode =
        region.family(&FamilySpec { states: &["a", "b"], ..FamilySpec::of("app_mode", Kind::StateSet, Number::U64) });
    region.line(mode.cell, u64::MAX);
    for slot in 0..12 {
        let created = [0, 1, u64::MAX, 4_102_444_800_000_000_000][slot as usize % 4];
        region.edit(SectionKind::Series, slot, |record: &mut SeriesRecord| record.created_realtime_ns = created);
    }
    region
}

/// Two regions, each with families whose names are parts of the other's.
fn parts() -> [Region; 2] {
    let gauge = |name| FamilySpec::of(name, Kind::Gauge, Number::F64);
    let counter = |name| FamilySpec::of(name, Kind::Counter, Number::U64);
    let histogram = |name| FamilySpec { bounds: &[1.0], ..FamilySpec::of(name, Kind::HistogramBounds, Number::F64) };
    let native = |name| FamilySpec::of(name, Kind::HistogramExponential, Number::U64);
    let info = |name| FamilySpec::of(name, Kind::Info, Number::U64);
    let mut one = Region::new("part-1");
    for spec in [
        histogram("app_a"),
        gauge("app_b_count"),
        counter("app_c_total"),
        info("app_d_info"),
        gauge("app_e"),
        native("app_f"),
        gauge("app_g_bucket"),
        histogram("app_h_count"),
        counter("app_i_total_total"),
    ] {
        one.family(&spec);
    }
    let mut other = Region::new("part-2");
    for spec in [
        gauge("app_a_count"),
        histogram("app_b"),
        gauge("app_c"),
        counter("app_d_total"),
        info("app_e_info"),
        gauge("app_f_created"),
        native("app_g"),
        gauge("app_h"),
        counter("app_i_total"),
    ] {
        other.family(&spec);
    }
    [one, other]
}

const FORMATS: [(&str, &str); 3] = [
    ("text", "Accept: text/plain;version=0.0.4"),
    ("openmetrics", "Accept: application/openmetrics-text;version=1.0.0"),
    ("protobuf", "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
];

/// The hostile regions and a good one, served.
struct Served {
    _locks: Vec<std::fs::File>,
    _good: tachograph::Region,
    _server: Running,
    port: u16,
    _dir: tempfile::TempDir,
}

fn served(merged: bool) -> Served {
    let dir = tmpfs::folder();
    let [one, other] = parts();
    let locks = [texts(), numbers(), one, other].map(|region| {
        region.write(dir.path());
        builder::hold_lock(dir.path(), &region.name)
    });
    let good = tachograph::Region::builder("good").dir(dir.path()).build().expect("a region");
    good.counter("app_good_total", "Good").expect("room").add(7);
    // What the exporter shows of its process, too.
    good.gauge::<i64>("process_threads", "Threads").expect("room").set(-1);
    good.counter("process_cpu_seconds_total", "Time").expect("room").add(1_000_000);
    let (server, port) = serve(dir.path(), merged);
    Served { _locks: locks.into(), _good: good, _server: server, port, _dir: dir }
}

fn serve(dir: &Path, merged: bool) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--openmetrics.created").arg("--region-dir").arg(dir);
    command.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    if merged {
        command.arg("--merge").arg("--recorder.dir").arg(dir.join("recorder"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running::start(&mut command);
    eventually("the server", Duration::from_secs(30), || get_with(port, "/-/ready", &[]));
    (server, port)
}

fn scrape(port: u16, accept: &str) -> Vec<u8> {
    let reply = get_with(port, "/metrics", &[accept]).expect("an answer");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    reply.body
}

/// A series of a region with these labels, as [`Read`] has it.
fn of(region: &str, name: &str, labels: &[(&str, &str)]) -> String {
    let region = [("tacho_region", region)];
    let pairs = labels.iter().chain(&region);
    let object = pairs.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    series(&Value::from(name), &Value::Object(object))
}

#[test]
fn every_reader_takes_every_body_and_reads_what_the_files_say() {
    let served = served(false);
    let all: BTreeMap<&str, Read> =
        FORMATS.into_iter().map(|(format, accept)| (format, read(format, &scrape(served.port, accept)))).collect();
    for (format, said) in &all {
        let value = |region, name, labels: &[(&str, &str)]| said.samples.get(&of(region, name, labels)).cloned();
        assert_eq!(value("good", "app_good_total", &[]), Some(bits(7.0)), "{format}");
        for text in VALUES {
            // Of an empty value the readers make a label all the same.
            assert!(value("texts", "app_texts_total", &[("l", text)]).is_some(), "{format}: {text:?}");
        }
        let info =
            said.samples.keys().find(|series| series.starts_with("tacho_region_info{") && series.contains("\"texts\""));
        let info = info.expect("what the header says");
        // Control characters, and what is no text, are shown as such.
        assert!(info.contains("\"host\": String(\"ho\\\"st\\\\\u{fffd}\u{fffd}\")"), "{format}: {info}");
        let named = |part: &str| said.samples.keys().filter(|series| series.starts_with(part)).count();
        // What can be no label is no state set; the others have both states.
        for name in ["__name__", "a:mode", "le", "quantile"] {
            assert_eq!(named(&format!("{name}{{")), 0, "{format}: {name}");
        }
        assert_eq!((named("job{"), named("app_state{")), (2, 2), "{format}");
        assert_eq!(named("app_bad_"), BAD_BLOCKS.len(), "{format}: of each family the good series, and that alone");
        // No region takes a name apart that another one has.
        let parts = said.families.keys().filter(|name| name.starts_with("app_") && name.len() <= 18);
        assert!(parts.count() > 9, "{format}");
    }
}

#[test]
fn promtool_and_our_own_parser_take_the_text() {
    let served = served(false);
    let body = String::from_utf8(scrape(served.port, FORMATS[0].1)).expect("UTF-8");
    let parsed = Exposition::parse(&body);
    assert_eq!(parsed.integer("app_good_total"), 7);
    // Buckets never fall, and the last one is the count.
    let mut before: BTreeMap<String, i128> = BTreeMap::new();
    let mut histograms = 0;
    for line in body.lines().filter(|line| line.starts_with("app_")) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        if let Some((name, labels)) = series.split_once("_bucket{") {
            let count: i128 = value.parse().expect("an integer");
            let of = before.entry(name.to_owned()).or_insert(0);
            assert!(count >= *of, "{line}");
            *of = count;
            if labels.contains("le=\"+Inf\"") {
                assert_eq!(parsed.integer(&format!("{name}_count")), count, "{line}");
                histograms += 1;
            }
        }
    }
    assert!(histograms >= 10, "{histograms} histograms");
    let mut check = Command::new(tool("promtool"));
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("promtool starts");
    check.stdin.take().expect("stdin is piped").write_all(body.as_bytes()).expect("promtool reads");
    let output = check.wait_with_output().expect("promtool ends");
    // 3 is for names that it would choose otherwise.
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"));
}

#[test]
fn added_up_they_are_taken_as_well() {
    let served = served(true);
    for (format, accept) in FORMATS {
        let said = read(format, &scrape(served.port, accept));
        let good = series(&Value::from("app_good_total"), &Value::Object(serde_json::Map::new()));
        assert_eq!(said.samples.get(&good), Some(&bits(7.0)), "{format}");
        let texts = said.samples.keys().filter(|series| series.starts_with("app_texts_total{")).count();
        assert_eq!(texts, VALUES.len(), "{format}");
    }
    let api = Api::prometheus(served.port, "native-histograms");
    assert_eq!(api.number("app_good_total"), 7.0);
    api.assert_healthy();
}

#[test]
fn json_is_json() {
    let served = served(false);
    let json: Value = serde_json::from_slice(&scrape(served.port, "Accept: application/json")).expect("JSON");
    let families = json["families"].as_array().expect("families");
    let texts = families.iter().find(|family| family["name"] == "app_texts_total").expect("the family");
    let said: Vec<&str> =
        texts["series"].as_array().expect("series").iter().filter_map(|one| one["labels"]["l"].as_str()).collect();
    assert_eq!(said, VALUES);
    for (index, help) in HELPS.iter().enumerate() {
        let name = format!("app_help_{index}");
        assert!(families.iter().any(|family| family["name"] == *name && family["help"] == **help), "{help:?}");
    }
}

#[test]
fn prometheus_takes_openmetrics_and_protobuf_whole() {
    let served = served(false);
    for features in ["", "native-histograms"] {
        let api = Api::prometheus(served.port, features);
        assert_eq!(api.number("app_good_total"), 7.0, "{features}");
        assert_eq!(api.query("app_texts_total").len(), VALUES.len(), "{features}");
        if features.is_empty() {
            let count = api.number("app_native_over_count");
            assert_eq!(api.number("app_native_over_bucket{le=\"+Inf\"}"), count);
            assert_eq!(count, i64::MAX as f64);
        } else {
            assert_eq!(api.number("histogram_count(app_native_over)"), i64::MAX as f64);
        }
        api.assert_healthy();
    }
}

#[test]
fn victoria_metrics_calls_no_line_invalid() {
    let served = served(false);
    let api = Api::victoria_metrics(served.port);
    assert_eq!(api.number("app_good_total"), 7.0);
    assert_eq!(api.query("app_texts_total").len(), VALUES.len());
    assert_eq!(api.invalid_rows(), 0.0);
    let lines = String::from_utf8(scrape(served.port, FORMATS[0].1)).expect("UTF-8");
    let lines = lines.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(api.number("scrape_samples_scraped"), lines as f64);
}
