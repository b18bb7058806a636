//! Regions in an application's own registry of the `prometheus` crate: what that crate's encoders write of it, as readers that
//! are not ours see it, is what `tacho serve` writes, series by series.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, HistogramOpts, IntCounter, IntGauge, Opts, ProtobufEncoder, Registry, TextEncoder};
use tachograph::{Buckets, Counter, Desc, Gauge, OpenFamily, OpenRules, Region};
use tachograph_exporter::Directories;
use tachograph_exporter::collector::RegionCollector;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tool};
use tachograph_tests::readers::{Read, read, read_foreign};
use tachograph_tests::tmpfs;

tachograph::label_value! {
    enum Phase: "phase" { Starting = "starting", Odd = "quote \" backslash \\ newline \n ü" }
}

/// One of each kind, with text that has to be escaped.
fn fill(region: &Region, more: u64) {
    let rules = OpenRules::new(8).label_area(600);
    let texts: OpenFamily<Counter, 2> = region
        .open_family(Desc::new("col_texts_total", "With a \\ and a\nline feed"), ["odd", "other"], rules)
        .expect("room");
    for value in ["plain", "\"", "\\", "a\nb", "ü€😀", "},{", "a=\"b\""] {
        texts.with([value, "same"]).add(more);
    }
    region.counter("col_big_total", "A number").expect("room").add((1 << 53) + 2 * more);
    region.gauge::<f64>("col_tiny", "A number").expect("room").set(5e-324);
    region.gauge::<f64>("col_nan", "A number").expect("room").set(f64::NAN);
    region.gauge::<f64>("col_infinite", "A number").expect("room").set(f64::INFINITY);
    region.register::<Gauge>(Desc::new("col_least", "The smallest")).expect("room").set(-(more as i64));
    region.updown_counter("col_live", "Goes up and down").expect("room").sub(3);
    region.info("col_build_info", "What it is", &[("version", "1.2"), ("odd", "\"\\\n")]).expect("room");
    region.state_set::<Phase>("col_phase", "One of two").expect("room").set(Phase::Odd);
    region.watermark_max::<f64>("col_peak", "The largest").expect("room").record(2.5);
    let sizes = region.histogram::<f64>("col_size", "Own bounds", Buckets::bounds([0.0, 1e-7, 0.5, 10.0, 1e21]));
    let sizes = sizes.expect("room");
    [0.0, 1e-8, 0.5, 0.7, 1e6, 1e22].into_iter().for_each(|value| sizes.observe(value));
    let waits = Buckets::exponential(3, 1e-6..=100.0);
    let waits = region.exponential_duration_histogram("col_wait_seconds", "Native", waits).expect("room");
    [1, 1_001, 3_000_000, 3_000_000, 1 << 40].into_iter().for_each(|ns| waits.observe_ns(ns));
}

/// What the application has itself.
fn registry() -> Registry {
    let registry = Registry::new();
    let logins = IntCounter::new("own_logins_total", "Logins").expect("a counter");
    logins.inc_by(3);
    registry.register(Box::new(logins)).expect("registered");
    let time = HistogramOpts::new("own_time_seconds", "Time").buckets(vec![0.1, 1.0]);
    let time = prometheus::Histogram::with_opts(time).expect("a histogram");
    time.observe(0.5);
    registry.register(Box::new(time)).expect("registered");
    registry
}

fn text(families: &[MetricFamily]) -> String {
    TextEncoder::new().encode_to_string(families).expect("encoded")
}

/// Series with their values by the reader of text or protobuf. `le` is a number in all formats, and written in as many ways.
fn samples(read: Read) -> BTreeMap<String, String> {
    let canonical = |series: String| match series.split_once("\"le\": String(\"") {
        None => series,
        Some((before, rest)) => {
            let (le, after) = rest.split_once('"').expect("a value ends");
            format!("{before}\"le\": String(\"{:?}\"{after}", le.parse::<f64>().expect("a number"))
        }
    };
    read.samples.into_iter().map(|(series, bits)| (canonical(series), bits)).collect()
}

/// What is not the collector's to show, or changes from one look to the next.
fn steady(mut samples: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let not = [
        "process_",
        "tacho_scrape",
        "tacho_exporter",
        "tacho_crashes",
        "tacho_actors",
        "tacho_region_heartbeat",
        "tacho_region_crashes",
        "own_",
    ];
    samples.retain(|series, _| !not.iter().any(|prefix| series.starts_with(prefix)));
    samples
}

#[test]
fn an_applications_registry_shows_a_region_as_the_exporter_does() {
    let dir = tmpfs::folder();
    let region = Region::builder("app").dir(dir.path()).build().expect("a region");
    fill(&region, 1);
    let registry = registry();
    let collector = RegionCollector::open(region.path().expect("a file")).expect("it is there");
    registry.register(Box::new(collector.beside(&registry.gather()))).expect("registered");

    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command
        .arg("serve")
        .arg("--region-dir")
        .arg(dir.path())
        .args(["--web.listen-address", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running::start(&mut command);
    let served = eventually("a scrape", Duration::from_secs(30), || get(port, "/metrics"));
    let expected = steady(samples(read("text", served.body.as_bytes())));
    assert!(
        expected.len() > 60 && expected.keys().any(|series| series.starts_with("tacho_region_up")),
        "{expected:#?}"
    );

    let gathered = registry.gather();
    let body = text(&gathered);
    Exposition::parse_foreign(&body);
    let by_text = samples(read_foreign("text", body.as_bytes()));
    assert!(by_text.keys().filter(|series| series.starts_with("own_")).count() == 6, "{by_text:#?}");
    assert_eq!(steady(by_text), expected);
    let mut messages = Vec::new();
    ProtobufEncoder::new().encode(&gathered, &mut messages).expect("encoded");
    let mut by_protobuf = samples(read_foreign("protobuf", &messages));
    // That crate's messages have no bucket that ends at +Inf; whoever reads them takes the count.
    let counts: Vec<_> = by_protobuf.iter().filter(|(series, _)| series.contains("_count{")).collect();
    let infinite = counts.into_iter().map(|(series, bits)| {
        let series = series.replacen("_count{", "_bucket{", 1);
        let (before, after) = series.split_at(series.find("\"tacho_region\"").unwrap_or(series.len() - 1));
        let comma = if after == "}" { "" } else { ", " };
        (format!("{before}\"le\": String(\"inf\"){comma}{after}"), bits.clone())
    });
    let infinite: Vec<_> = infinite.collect();
    by_protobuf.extend(infinite);
    assert_eq!(steady(by_protobuf), expected);

    let mut check = Command::new(tool("promtool"));
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("promtool starts");
    std::io::Write::write_all(&mut check.stdin.take().expect("stdin"), body.as_bytes()).expect("it reads");
    let said = check.wait_with_output().expect("promtool ends");
    // 3 is what it thinks of names (a unit that it does not know), 1 is a body that it can't parse.
    assert!(matches!(said.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn regions_come_die_are_damaged_and_return_under_one_registration() {
    let dir = tmpfs::folder();
    let registry = registry();
    let directories = Directories::from_args(vec![dir.path().to_owned()]);
    registry.register(Box::new(RegionCollector::directories(directories).expect("a collector"))).expect("registered");
    let now = || Exposition::parse_foreign(&text(&registry.gather()));
    assert!(!now().values.keys().any(|series| series.starts_with("tacho_region_up")));

    let region = Region::builder("one").dir(dir.path()).build().expect("a region");
    region.counter("col_done_total", "Done").expect("room").add(2);
    let followed = Registry::new();
    let path = region.path().expect("a file").to_owned();
    followed.register(Box::new(RegionCollector::open(&path).expect("it is there"))).expect("registered");
    let follow = || Exposition::parse_foreign(&text(&followed.gather()));
    for seen in [now(), follow()] {
        assert_eq!((seen.integer("col_done_total"), seen.integer("tacho_region_up")), (2, 1));
    }
    // A family that comes later is there at the next look.
    region.gauge::<f64>("col_later", "Later").expect("room").set(1.0);
    assert_eq!((now().integer("col_later"), follow().integer("col_later")), (1, 1));
    region.close();
    for seen in [now(), follow()] {
        assert_eq!((seen.values.get("col_done_total"), seen.integer("tacho_region_up")), (None, 0));
    }
    let again = Region::builder("one").dir(dir.path()).build().expect("a region");
    again.counter("col_done_total", "Done").expect("room").add(9);
    for seen in [now(), follow()] {
        assert_eq!((seen.integer("col_done_total"), seen.integer("tacho_region_up")), (9, 1));
    }
    again.close();
    std::fs::write(dir.path().join("junk.tacho"), b"no region").expect("written");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, b"no region either").expect("written");
    assert_eq!(now().integer("tacho_region_problems"), 2);
    let seen = follow();
    assert_eq!((seen.integer("tacho_region_up"), seen.integer("tacho_region_problems")), (0, 1));
    std::fs::remove_file(&path).expect("removed");
    assert_eq!((follow().integer("tacho_region_up"), now().integer("tacho_region_problems")), (0, 1));
    assert_eq!(now().integer("own_logins_total"), 3, "what the application has goes on");
}

#[test]
fn what_clashes_is_left_out_and_the_applications_own_stands() {
    let dir = tmpfs::folder();
    let registry = registry();
    let mine = IntGauge::new("col_shared", "The application's").expect("a gauge");
    mine.set(5);
    registry.register(Box::new(mine)).expect("registered");
    let directories = Directories::from_args(vec![dir.path().to_owned()]);
    let collector = RegionCollector::directories(directories).expect("a collector").beside(&registry.gather());
    registry.register(Box::new(collector)).expect("registered");
    let first = Region::builder("first").dir(dir.path()).build().expect("a region");
    let second = Region::builder("second").dir(dir.path()).build().expect("a region");
    // Another kind under two names of the application's; and between regions, by age.
    first.histogram::<f64>("col_shared", "Another kind", Buckets::bounds([1.0])).expect("room").observe(0.5);
    first.gauge::<f64>("own_time_seconds", "Another kind").expect("room").set(1.0);
    first.gauge::<f64>("col_between", "A gauge").expect("room").set(1.0);
    second.updown_counter("col_between", "No gauge").expect("room").inc();
    second.counter("own_logins_total", "Of the same kind: it has its own label").expect("room").add(4);
    let body = text(&registry.gather());
    let seen = Exposition::parse_foreign(&body);
    assert_eq!(seen.integer("tacho_family_clashes{result=\"left_out\"}"), 3, "{body}");
    assert_eq!(seen.integer("tacho_family_clashes{result=\"shown\"}"), 1, "one has another HELP: {body}");
    assert!(body.contains("col_shared 5\n") && !body.contains("col_shared_bucket"), "{body}");
    assert!(body.contains("own_logins_total 3\n"), "{body}");
    assert!(body.contains("own_logins_total{tacho_region=\"second\"} 4\n"), "{body}");
    assert!(body.contains("col_between{tacho_region=\"first\"} 1\n"), "{body}");
    assert!(!body.contains("col_between{tacho_region=\"second\"}"), "{body}");
}

#[test]
fn without_a_label_a_region_keeps_the_names_and_two_are_refused() {
    let dir = tmpfs::folder();
    let only = Region::builder("only").dir(dir.path()).build().expect("a region");
    only.counter("col_done_total", "Done").expect("room").add(2);
    only.counter("own_logins_total", "The application has it").expect("room").add(9);
    let registry = registry();
    let directories = Directories::from_args(vec![dir.path().to_owned()]);
    let collector = RegionCollector::directories(directories).expect("a collector").beside(&registry.gather());
    registry.register(Box::new(collector.region_label("").expect("none"))).expect("registered");
    let body = text(&registry.gather());
    let seen = Exposition::parse_foreign(&body);
    assert!(body.contains("col_done_total 2\n") && body.contains("own_logins_total 3\n"), "{body}");
    assert_eq!(seen.integer("tacho_family_clashes{result=\"left_out\"}"), 1);
    let _other = Region::builder("other").dir(dir.path()).build().expect("a region");
    let body = text(&registry.gather());
    assert!(!body.contains("col_done_total") && body.contains("tacho_region_up{tacho_region=\"other\"} 1\n"), "{body}");
}

#[test]
fn a_registry_takes_one_collector_and_gives_it_back() {
    let dir = tmpfs::folder();
    let all = || {
        let directories = Directories::from_args(vec![dir.path().to_owned()]);
        Box::new(RegionCollector::directories(directories).expect("a collector"))
    };
    let registry = Registry::new();
    assert!(!all().desc().is_empty(), "without a description a registry would take it for any other that has none");
    registry.register(all()).expect("registered");
    assert!(matches!(registry.register(all()), Err(prometheus::Error::AlreadyReg)));
    registry.unregister(all()).expect("known by what it describes");
    registry.register(all()).expect("registered again");
    let taken = prometheus::Gauge::with_opts(Opts::new("tacho_region_up", "The collector's")).expect("a gauge");
    assert!(registry.register(Box::new(taken)).is_err());
}
