//! One region in all formats: parsed back by readers that are not ours, they say the same of every series, and the same as
//! the writer's own handles. With the texts and numbers that formats stumble over.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tachograph::{Buckets, Counter, Desc, Gauge, OpenFamily, OpenRules, Region};
use tachograph_tests::http::{Reply, free_port, get_with};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::readers::{Read, bits, read, series};
use tachograph_tests::tmpfs;

const TEXT: &str = "Accept: text/plain;version=0.0.4";
const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

tachograph::label_value! {
    enum Phase: "phase" { Starting = "starting", Odd = "quote \" backslash \\ newline \n ü" }
}

/// Label values that a format has to escape, or to leave alone.
fn hostile() -> Vec<String> {
    let mut values: Vec<String> = [
        "plain",
        "\"",
        "\\",
        "\\\\n",
        "a\nb",
        "ends\\",
        "ü€😀",
        "# HELP x",
        "},{",
        "a=\"b\",c=\"d\"",
        " ",
        "\t",
        "\u{7f}",
    ]
    .map(str::to_owned)
    .to_vec();
    values.push("x".repeat(255));
    values.push("\\".repeat(255));
    values
}

fn served(name: &str) -> (tempfile::TempDir, Region) {
    let dir = tmpfs::folder();
    let builder = Region::builder(name).dir(dir.path()).label_bytes(1 << 20).string_bytes(1 << 16);
    let region = builder.cells(8_000).build().expect("a region");
    (dir, region)
}

fn serve(dir: &std::path::Path, more: &[&str]) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(dir).args(more);
    command.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running::start(&mut command);
    eventually("the server", Duration::from_secs(30), || get_with(port, "/-/ready", &[]));
    (server, port)
}

fn scrape(port: u16, path: &str, headers: &[&str]) -> Reply {
    let reply = get_with(port, path, headers).expect("an answer");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let length = reply.headers.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    assert_eq!(length.parse(), Ok(reply.body.len()));
    reply
}

/// Every kind, with hostile texts and numbers; what text 0.0.4 must say of some of it.
fn fill(region: &Region) -> BTreeMap<String, f64> {
    let mut expected = BTreeMap::new();
    let mut say = |name: &str, labels: &[(&str, &str)], value: f64| {
        let mut object: serde_json::Map<String, Value> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        object.insert("tacho_region".into(), region.name().into());
        expected.insert(series(&Value::from(name), &Value::from(object)), value);
    };
    let rules = OpenRules::new(20).label_area(1_000);
    let help = "With \"quotes\", a \\ backslash and a\nline feed; ends in \\";
    let texts: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("fmt_texts_total", help), ["odd", "other"], rules).expect("room");
    for (index, value) in hostile().iter().enumerate() {
        let lease = texts.with([value, "same"]);
        lease.add(index as u64);
        assert!(!lease.is_overflow(), "{value:?}");
        say("fmt_texts_total", &[("odd", value), ("other", "same")], index as f64);
    }
    for (name, value) in [
        ("fmt_zero", 0.0),
        ("fmt_minus_zero", -0.0),
        ("fmt_huge", 1e300),
        ("fmt_tiny", 5e-324),
        ("fmt_max", f64::MAX),
        ("fmt_third", 1.0 / 3.0),
        ("fmt_negative", -1234.5),
        ("fmt_million", 1e6),
        ("fmt_infinite", f64::INFINITY),
        ("fmt_minus_infinite", f64::NEG_INFINITY),
        ("fmt_nan", f64::NAN),
    ] {
        region.gauge::<f64>(name, "A number").expect("room").set(value);
        say(name, &[], value);
    }
    for (name, value) in [("fmt_big_total", (1 << 53) + 1), ("fmt_biggest_total", u64::MAX), ("fmt_none_total", 0)] {
        region.counter(name, "A number").expect("room").add(value);
        say(name, &[], value as f64);
    }
    region.register::<Gauge>(Desc::new("fmt_least", "The smallest")).expect("room").set(i64::MIN);
    say("fmt_least", &[], i64::MIN as f64);
    let seconds = Desc::new("fmt_spent_seconds_total", "With a unit").unit("seconds");
    region.register::<tachograph::FloatCounter>(seconds).expect("room").add(0.1);
    say("fmt_spent_seconds_total", &[], 0.1);
    let live = region.updown_counter("fmt_live", "Goes up and down").expect("room");
    (0..7).for_each(|_| live.inc());
    live.sub(9);
    say("fmt_live", &[], -2.0);
    region.info("fmt_build_info", "What it is", &[("version", "1.2"), ("odd", "\"\\\n")]).expect("room");
    say("fmt_build_info", &[("version", "1.2"), ("odd", "\"\\\n")], 1.0);
    region.state_set::<Phase>("fmt_phase", "One of two").expect("room").set(Phase::Odd);
    say("fmt_phase", &[("fmt_phase", "starting")], 0.0);
    say("fmt_phase", &[("fmt_phase", "quote \" backslash \\ newline \n ü")], 1.0);
    region.watermark_max::<f64>("fmt_peak", "The largest").expect("room").record(2.5);
    say("fmt_peak", &[], 2.5);
    let sizes = region.histogram::<f64>("fmt_size", "Own bounds", Buckets::bounds([0.0, 1e-7, 0.5, 10.0, 1e6, 1e21]));
    let sizes = sizes.expect("room");
    [0.0, 1e-8, 0.5, 0.7, 1e6, 2e6, 1e22].into_iter().for_each(|value| sizes.observe(value));
    for (le, count) in [("0.0", 1), ("1e-07", 2), ("0.5", 3), ("10.0", 4), ("1e+06", 5), ("1e+21", 6), ("+Inf", 7)] {
        say("fmt_size_bucket", &[("le", le)], f64::from(count));
    }
    say("fmt_size_count", &[], 7.0);
    // What `le` is by the reader of protobuf, and what it is in the text formats.
    let odd = [
        5e-324,
        1e-5,
        0.000_1,
        0.001_2,
        0.1 + 0.2,
        1.0,
        2.5,
        123_456.0,
        999_999.0,
        1_234_567.5,
        123_456_789.0,
        1e22,
        f64::MAX,
    ];
    region.histogram::<f64>("fmt_odd", "Odd bounds", Buckets::bounds(odd)).expect("room");
    let seconds = Buckets::bounds([0.1, 0.3, 0.7, 1.1, 2.3, 60.0, 3_600.0]);
    region.duration_histogram("fmt_odd_seconds", "Odd times", seconds).expect("room");
    let les = ["5e-324", "1e-05", "0.0001", "0.0012", "0.30000000000000004", "1.0", "2.5", "123456.0", "999999.0"];
    for le in les.into_iter().chain(["1.2345675e+06", "1.23456789e+08", "1e+22", "1.7976931348623157e+308", "+Inf"]) {
        say("fmt_odd_bucket", &[("le", le)], 0.0);
    }
    for le in ["0.1", "0.3", "0.7", "1.1", "2.3", "60.0", "3600.0", "+Inf"] {
        say("fmt_odd_seconds_bucket", &[("le", le)], 0.0);
    }
    let buckets = Buckets::exponential(3, 1e-6..=100.0);
    let waits = region.exponential_duration_histogram("fmt_wait_seconds", "Native", buckets).expect("room");
    for nanoseconds in [1, 1_000, 1_001, 2_000_000, 3_000_000, 3_000_000, 500_000_000, 1 << 40, 1 << 41] {
        waits.observe_ns(nanoseconds);
    }
    say("fmt_wait_seconds_count", &[], 9.0);
    say("fmt_wait_seconds_bucket", &[("le", "1e-06")], 2.0);
    let empty = Buckets::exponential(0, 1.0..=8.0);
    region.exponential_histogram("fmt_empty", "Nothing was observed", empty).expect("room");
    say("fmt_empty_count", &[], 0.0);
    expected
}

/// The readers of both text formats take `-0` for an integer, which has no minus zero; all else is the same to the bit.
fn differ_only_in_minus_zero<K: AsRef<str> + Ord + std::fmt::Debug, V: AsRef<str> + Eq + std::fmt::Debug>(
    text: &BTreeMap<K, V>,
    exact: &BTreeMap<K, V>,
) {
    assert!(text.keys().eq(exact.keys()), "other series: {:?} and {:?}", text.keys(), exact.keys());
    for ((series, text), exact) in text.iter().zip(exact.values()) {
        let minus_zero = series.as_ref().starts_with("fmt_minus_zero{");
        let expected = if minus_zero { "0000000000000000" } else { exact.as_ref() };
        assert_eq!((text.as_ref(), minus_zero), (expected, exact.as_ref() == "8000000000000000"), "{series:?}");
    }
}

fn ours(read: &Read) -> BTreeMap<&String, &String> {
    read.samples.iter().filter(|(series, _)| series.starts_with("fmt_")).collect()
}

#[test]
fn all_formats_say_the_same_to_readers_that_are_not_ours() {
    let (dir, region) = served("formats");
    let (_server, port) = serve(dir.path(), &["--openmetrics.created"]);
    let expected = fill(&region);
    let (text, openmetrics, protobuf) =
        [TEXT, OPENMETRICS, PROTOBUF].map(|accept| scrape(port, "/metrics", &[accept])).into();
    for (reply, wanted) in [
        (&text, "content-type: text/plain; version=0.0.4; charset=utf-8"),
        (&openmetrics, "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            &protobuf,
            "content-type: application/vnd.google.protobuf; proto=io.prometheus.client.metricfamily; encoding=delimited",
        ),
    ] {
        assert!(reply.headers.contains(wanted) && reply.headers.contains("vary: accept"), "{}", reply.headers);
    }
    let (text, openmetrics, protobuf) =
        (read("text", &text.body), read("openmetrics", &openmetrics.body), read("protobuf", &protobuf.body));

    for (series, value) in &expected {
        assert_eq!(protobuf.samples.get(series), Some(&bits(*value)), "{series}");
    }
    differ_only_in_minus_zero(&ours(&text), &ours(&protobuf));
    differ_only_in_minus_zero(&ours(&openmetrics), &ours(&protobuf));
    // The exporter's own metrics are in all formats, too; their values change with each scrape.
    let own = |read: &Read| -> Vec<String> {
        read.samples
            .keys()
            .filter(|series| series.starts_with("tacho_") || series.starts_with("process_"))
            .cloned()
            .collect()
    };
    assert!(own(&text).len() > 20 && own(&text) == own(&openmetrics) && own(&text) == own(&protobuf));

    let help = "With \"quotes\", a \\ backslash and a\nline feed; ends in \\";
    let family = |read: &Read, name: &str| read.families.get(name).cloned().unwrap_or_else(|| panic!("no {name}"));
    let three = |kind: &str, help: &str, unit: &str| [kind.to_owned(), help.to_owned(), unit.to_owned()];
    assert_eq!(family(&openmetrics, "fmt_texts"), three("counter", help, ""));
    assert_eq!(family(&protobuf, "fmt_texts_total"), three("counter", help, ""));
    assert_eq!(family(&openmetrics, "fmt_spent_seconds"), three("counter", "With a unit", "seconds"));
    assert_eq!(family(&protobuf, "fmt_spent_seconds_total"), three("counter", "With a unit", "seconds"));
    assert_eq!(family(&openmetrics, "fmt_build"), three("info", "What it is", ""));
    assert_eq!(family(&openmetrics, "fmt_phase"), three("stateset", "One of two", ""));
    assert_eq!(family(&openmetrics, "fmt_wait_seconds")[0], "histogram");

    // Created: one for each counter and histogram, in both formats, the same moment to the millisecond.
    let counted = ours(&text).keys().filter(|series| series.contains("_total{") || series.contains("_count{")).count();
    let moments = |read: &Read| -> Vec<u64> {
        let of = read.created.iter().filter(|(series, _)| series.starts_with("fmt_"));
        let mut moments: Vec<u64> =
            of.map(|(_, bits)| (f64::from_bits(u64::from_str_radix(bits, 16).expect("bits")) * 1e3) as u64).collect();
        moments.sort_unstable();
        moments
    };
    let (of_openmetrics, of_protobuf) = (moments(&openmetrics), moments(&protobuf));
    assert_eq!((of_openmetrics.len(), of_protobuf.len()), (counted, counted));
    assert!(of_openmetrics.iter().zip(&of_protobuf).all(|(a, b)| a.abs_diff(*b) <= 1));

    // Native buckets: the reader has added them up and compared them with the classic ones.
    let native = |name: &str| {
        let found = protobuf.native.iter().find(|(series, _)| series.starts_with(&format!("{name}{{")));
        found.unwrap_or_else(|| panic!("no native {name}")).1.clone()
    };
    let waits = native("fmt_wait_seconds");
    assert_eq!((waits["schema"].as_i64(), waits["zero_count"].as_i64()), (Some(3), Some(2)), "{waits}");
    assert!(waits["checked"].as_u64() > Some(20), "{waits}");
    // 3 ms twice, in the bucket of schema 3 that holds it: ceil(log2(0.003) * 8).
    assert_eq!(waits["buckets"]["-67"], 2, "{waits}");
    // Beyond the range: in the bucket that ends at +Inf.
    assert_eq!(waits["buckets"][(1024 * 8 + 1).to_string()], 2, "{waits}");
    assert_eq!(native("fmt_empty")["buckets"].as_object().map(serde_json::Map::len), Some(0));
}

#[test]
fn json_says_the_same() {
    let (dir, region) = served("formats");
    let (_server, port) = serve(dir.path(), &[]);
    fill(&region);
    let text = read("text", &scrape(port, "/metrics", &[TEXT]).body);
    let reply = scrape(port, "/metrics", &["Accept: application/json"]);
    assert!(reply.headers.contains("content-type: application/json"), "{}", reply.headers);
    let json: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(json["version"], 1);
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().expect("a number"),
        Value::Null => f64::NAN,
        value => value.as_f64().expect("a number"),
    };
    let mut samples = BTreeMap::new();
    for family in json["families"].as_array().expect("families") {
        let name = family["name"].as_str().expect("a name");
        if !name.starts_with("fmt_") {
            continue;
        }
        for one in family["series"].as_array().expect("series") {
            let mut say = |suffix: &str, label: Option<(&str, &str)>, value: f64| {
                let mut labels = one["labels"].clone();
                if let Some((name, value)) = label {
                    labels[name] = Value::from(value);
                }
                samples.insert(series(&Value::from(format!("{name}{suffix}")), &labels), bits(value));
            };
            if let Some(states) = one["states"].as_object() {
                for (state, on) in states {
                    say("", Some((name, state)), f64::from(u8::from(on == &Value::Bool(true))));
                }
            } else if one["buckets"].is_array() {
                say("_count", None, number(&one["count"]));
                say("_sum", None, number(&one["sum"]));
            } else {
                say("", None, number(&one["value"]));
            }
        }
    }
    let expected: BTreeMap<String, String> = ours(&text)
        .into_iter()
        .filter(|(series, _)| !series.contains("_bucket{"))
        .map(|(series, bits)| (series.clone(), bits.clone()))
        .collect();
    differ_only_in_minus_zero(&expected, &samples);
}

#[test]
fn a_selection_is_a_part_of_the_whole_in_every_format() {
    let (dir, region) = served("one");
    fill(&region);
    let other = Region::builder("two").dir(dir.path()).build().expect("a region");
    other.counter("fmt_none_total", "A number").expect("room").add(5);
    let (_server, port) = serve(dir.path(), &[]);
    for (format, accept) in [("text", TEXT), ("openmetrics", OPENMETRICS), ("protobuf", PROTOBUF)] {
        let of = |query: &str| read(format, &scrape(port, &format!("/metrics{query}"), &[accept]).body).samples;
        let whole = of("");
        let of_two = of("?region=two");
        assert!(
            of_two.keys().all(|series| series.contains(r#""tacho_region": String("two")"#)),
            "{format}: {of_two:?}"
        );
        assert_eq!(of_two.iter().filter(|(series, _)| series.starts_with("fmt_")).count(), 1);
        assert!(of_two.keys().any(|series| series.starts_with("tacho_region_up")), "{format}: what is said about it");
        let named = of("?name[]=fmt_wait_seconds&name[]=fmt_none_total");
        let expected: BTreeMap<_, _> = whole
            .into_iter()
            .filter(|(series, _)| series.starts_with("fmt_wait_seconds") || series.starts_with("fmt_none_total"))
            .collect();
        assert_eq!(named, expected, "{format}");
        assert_eq!(of("?name[]=fmt_none_total&region=two").len(), 1, "{format}");
        assert!(of("?name[]=nothing_of_that_name").is_empty(), "{format}");
    }
    let status = |query: &str| get_with(port, &format!("/metrics{query}"), &[]).expect("an answer").status;
    assert_eq!((status("?region=nobody"), status("?region=nobody&region=two"), status("?nam=x")), (404, 200, 400));
}

#[test]
fn gzip_is_for_who_takes_it_and_is_far() {
    let (dir, region) = served("packed");
    fill(&region);
    let asked = ["Accept-Encoding: gzip", TEXT];
    let (_server, port) = serve(dir.path(), &["--web.compression=always"]);
    let packed = scrape(port, "/metrics?name[]=fmt_texts_total", &asked);
    assert!(packed.headers.contains("content-encoding: gzip"), "{}", packed.headers);
    let plain = scrape(port, "/metrics?name[]=fmt_texts_total", &[TEXT]);
    assert!(!plain.headers.contains("content-encoding"), "{}", plain.headers);
    let mut gunzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is on every Debian");
    std::io::Write::write_all(&mut gunzip.stdin.take().expect("stdin"), &packed.body).expect("it reads");
    assert_eq!(gunzip.wait_with_output().expect("it ends").stdout, plain.body);
    // A peer on this machine, as the default is.
    let (_server, port) = serve(dir.path(), &[]);
    assert!(!scrape(port, "/metrics", &asked).headers.contains("content-encoding"));
}
