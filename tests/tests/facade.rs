//! The recorder of the `metrics` crate, read by the exporter's own reader: names, labels, budgets, clashes, values; and
//! the same program beside `metrics-exporter-prometheus`, series by series.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher as PeerMatcher, PrometheusBuilder};
use tachograph::recorder::{Builder, Matcher, Recorder};
use tachograph::{Buckets, Region};
use tachograph_exporter::exposition::{Exposition as Rendering, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{RegionReader, Severity};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::tmpfs;
use tracing_subscriber::util::SubscriberInitExt;

/// A region with a file, a recorder that writes into it, and what was logged meanwhile.
struct Bench {
    _folder: tempfile::TempDir,
    region: Region,
    recorder: Recorder,
    log: Arc<Mutex<Vec<u8>>>,
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Bench {
    fn new(settings: Builder) -> Self {
        Self::sized(settings, |builder| builder.cells(32_000).label_bytes(512 * 1024))
    }

    fn sized(settings: Builder, size: impl FnOnce(tachograph::Builder) -> tachograph::Builder) -> Self {
        let folder = tmpfs::folder();
        let region = size(Region::builder("facade").dir(folder.path())).build().expect("a region");
        let recorder = settings.build(&region);
        Self { _folder: folder, region, recorder, log: Arc::default() }
    }

    /// Runs a program under the recorder.
    fn run(&self, program: impl FnOnce()) {
        let log = Arc::clone(&self.log);
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Log(Arc::clone(&log)));
        let _guard = subscriber.finish().set_default();
        with_local_recorder(&self.recorder, program);
    }

    fn body(&self) -> String {
        let reader = RegionReader::open(self.region.path().expect("a file")).expect("a region");
        let findings = reader.verify();
        assert!(!findings.iter().any(|finding| finding.severity == Severity::Error), "{findings:?}");
        let snapshot = reader.snapshot().expect("a snapshot");
        assert!(snapshot.schema.damaged.is_empty(), "{:?}", snapshot.schema.damaged);
        let sources = [Source::region(snapshot.into())];
        let plan = Plan::new(&sources, &Options::default()).expect("one region");
        assert!(plan.clashes().is_empty(), "{:?}", plan.clashes());
        let mut out = Vec::new();
        assert!(Rendering::new(Format::Text).render(&plan, &sources, &mut out));
        String::from_utf8(out).expect("UTF-8")
    }

    fn shown(&self) -> Exposition {
        Exposition::parse(&self.body())
    }

    /// How many warnings say this.
    fn warnings(&self, of: &str) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains("WARN") && line.contains(of)).count()
    }
}

#[test]
fn what_the_macros_write_is_what_a_reader_finds() {
    let bench = Bench::new(Builder::new().label("service", "api \"1\""));
    bench.run(|| {
        counter!("logins", "kind" => "sso", "from" => "lan").increment(2);
        // The order of labels does not matter.
        counter!("logins", "from" => "lan", "kind" => "sso").increment(3);
        counter!("logins", "kind" => "password").increment(7);
        counter!("served_total").increment(1);
        gauge!("queue.depth").set(17.5);
        gauge!("queue.depth").increment(2.0);
        gauge!("queue.depth").decrement(0.5);
        // A key's own label goes before the constant one.
        gauge!("memory", "service" => "own").set(1.0);
        histogram!("reply-seconds").record(0.3);
        histogram!("reply-seconds").record_many(0.001, 1_000);
        histogram!("reply-seconds").record(-1.0);
        histogram!("reply-seconds").record_many(f64::NAN, 2);
    });
    let shown = bench.shown();
    assert_eq!(shown.integer(r#"logins_total{from="lan",kind="sso",service="api \"1\""}"#), 5);
    assert_eq!(shown.integer(r#"logins_total{from="",kind="password",service="api \"1\""}"#), 7);
    assert_eq!(shown.integer(r#"served_total{service="api \"1\""}"#), 1);
    assert_eq!(shown.values[r#"queue_depth{service="api \"1\""}"#], "19");
    assert_eq!(shown.integer(r#"memory{service="own"}"#), 1);
    assert_eq!(shown.integer(r#"reply_seconds_count{service="api \"1\""}"#), 1_001);
    let sum: f64 = shown.values[r#"reply_seconds_sum{service="api \"1\""}"#].parse().expect("a number");
    assert!((sum - 1.3).abs() < 1e-9, "{sum}");
    assert!(shown.values.keys().all(|key| !key.contains("overflow")), "{:?}", shown.values);
    assert_eq!(bench.warnings(""), 0);
}

#[test]
fn a_counter_is_raised_to_a_value_and_never_falls() {
    let bench = Bench::new(Builder::new());
    bench.run(|| {
        let counter = counter!("seen");
        counter.absolute(10);
        counter.absolute(4);
        counter.increment(1);
        counter.absolute(11);
    });
    assert_eq!(bench.shown().integer("seen_total"), 11);
    // Threads that raise it at once do not both add what is missing.
    let arrived = AtomicU64::new(0);
    let raise = || {
        with_local_recorder(&bench.recorder, || {
            let counter = counter!("seen");
            for round in 2..=2_000 {
                arrived.fetch_add(1, Relaxed);
                for spins in 0.. {
                    if arrived.load(Relaxed) >= 2 * (round - 1) {
                        break;
                    }
                    if spins % 100_000 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
                }
                counter.absolute(10 * round);
            }
        });
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(raise))));
    assert_eq!(bench.shown().integer("seen_total"), 20_000);
}

#[test]
fn names_that_become_one_share_a_family_and_are_told_once() {
    let bench = Bench::new(Builder::new());
    bench.run(|| {
        for _ in 0..3 {
            counter!("a.b").increment(1);
            counter!("a_b").increment(1);
            counter!("a-b_total").increment(1);
            gauge!("pool_count").set(3.0);
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer("a_b_total"), 9);
    assert_eq!(shown.integer("pool_count_value"), 3);
    assert_eq!(bench.warnings("share a family"), 1);
    assert_eq!(bench.warnings("pool_count_value"), 1);
}

#[test]
fn a_clash_of_kinds_counts_nothing_and_names_both() {
    let bench = Bench::new(Builder::new());
    bench.run(|| {
        for _ in 0..3 {
            counter!("requests").increment(1);
            gauge!("requests").set(5.0); // OpenMetrics shows both as `requests`
            gauge!("depth").set(2.0);
            histogram!("depth").record(1.0);
            histogram!("depth", "other" => "labels").record(1.0);
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer("requests_total"), 3);
    assert_eq!(shown.integer("depth"), 2);
    assert_eq!(shown.values.len(), 2, "{:?}", shown.values);
    assert_eq!(bench.warnings("`requests_total`"), 1);
    assert_eq!(bench.warnings("registered already as gauge"), 1);
}

#[test]
fn label_sets_beyond_a_budget_share_the_overflow_series() {
    let bench = Bench::new(Builder::new().budget(2).budget_for(Matcher::Prefix("wide".into()), 5));
    bench.run(|| {
        for round in 0..2 {
            for n in 0..6 {
                counter!("sent", "peer" => n.to_string()).increment(1);
                counter!("wide.sent", "peer" => n.to_string()).increment(1);
            }
            assert_eq!(bench.warnings("more label sets"), 2, "round {round}");
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer(r#"sent_total{peer="1"}"#), 2);
    assert_eq!(shown.integer(r#"sent_total{overflow="true"}"#), 8);
    assert_eq!(shown.integer(r#"wide_sent_total{overflow="true"}"#), 2);
    let snapshot = RegionReader::open(bench.region.path().expect("a file")).expect("it opens").snapshot();
    assert!(snapshot.expect("a snapshot").region.label_overflows >= 5);
}

#[test]
fn beyond_the_total_budget_every_metric_overflows_and_nothing_is_lost() {
    let bench = Bench::new(Builder::new().total_budget(3));
    bench.run(|| {
        for _ in 0..2 {
            (0..3).for_each(|n| counter!("sent", "peer" => n.to_string()).increment(1));
            counter!("late").increment(1);
            gauge!("later").set(4.0);
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer(r#"sent_total{peer="2"}"#), 2);
    assert_eq!(shown.integer(r#"late_total{overflow="true"}"#), 2);
    assert_eq!(shown.integer(r#"later{overflow="true"}"#), 4);
    assert_eq!(bench.warnings("total budget"), 1);
}

#[test]
fn labels_that_a_family_does_not_know_overflow_unless_they_are_named_beforehand() {
    let bench = Bench::new(Builder::new().labels_of("known.requests", ["method", "status"]));
    bench.run(|| {
        for name in ["requests", "known.requests"] {
            for _ in 0..2 {
                counter!(name, "method" => "GET").increment(1);
                counter!(name, "method" => "GET", "status" => "200").increment(10);
            }
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer(r#"requests_total{method="GET"}"#), 2);
    assert_eq!(shown.integer(r#"requests_total{overflow="true"}"#), 20);
    assert_eq!(shown.integer(r#"known_requests_total{method="GET",status=""}"#), 2);
    assert_eq!(shown.integer(r#"known_requests_total{method="GET",status="200"}"#), 20);
    assert_eq!(bench.warnings("labels_of"), 1);
}

#[test]
fn a_full_region_costs_metrics_and_never_the_application() {
    let bench = Bench::sized(Builder::new().budget(1_000), |builder| builder.series(12).families(5).cells(40));
    bench.run(|| {
        for _ in 0..2 {
            for n in 0..10 {
                counter!(format!("metric_{n}"), "peer" => "a").increment(1);
            }
            histogram!("too_large").record(1.0);
        }
    });
    let shown = bench.shown();
    assert_eq!(shown.integer(r#"metric_0_total{peer="a"}"#), 2);
    // A family takes no more than a quarter of what is left, so several find room.
    assert_eq!(shown.integer(r#"metric_3_total{peer="a"}"#), 2);
    assert_eq!(bench.warnings("nothing is counted for this metric"), 6);
    let snapshot = RegionReader::open(bench.region.path().expect("a file")).expect("it opens").snapshot();
    assert_eq!(snapshot.expect("a snapshot").region.registrations_dropped, 6);
}

#[test]
fn descriptions_before_the_first_use_are_shown() {
    let bench = Bench::new(Builder::new().unit_suffixes(true));
    bench.run(|| {
        describe_counter!("sent", metrics::Unit::Bytes, "Bytes sent");
        describe_gauge!("cpu.load", metrics::Unit::Percent, "Load");
        counter!("sent").increment(1);
        gauge!("cpu.load").set(0.5);
        histogram!("wait").record(0.5);
        describe_histogram!("wait", metrics::Unit::Seconds, "Too late");
    });
    let body = bench.body();
    assert!(body.contains("# HELP sent_bytes_total Bytes sent\n"), "{body}");
    assert!(body.contains("# HELP cpu_load_ratio Load\n"), "{body}");
    assert!(body.contains("wait_count") && !body.contains("Too late"), "{body}");
}

#[test]
fn after_the_region_was_closed_the_macros_do_nothing_and_say_so_once() {
    let Bench { _folder, region, recorder, log } = Bench::new(Builder::new());
    let path = region.path().expect("a file").to_owned();
    let bench = |region| Bench { _folder: tmpfs::folder(), region, recorder: recorder.clone(), log: Arc::clone(&log) };
    with_local_recorder(&recorder, || counter!("early").increment(1));
    drop(region);
    let late = bench(Region::private("other").expect("a region"));
    late.run(|| {
        for _ in 0..3 {
            counter!("early").increment(1);
            counter!("late").increment(1);
        }
    });
    assert_eq!(late.warnings("after the region was closed"), 1);
    let snapshot = RegionReader::open(&path).expect("it opens").snapshot().expect("a snapshot");
    assert_eq!(snapshot.schema.families.len(), 1);
}

/// A program that was written for `metrics`. What differs between the two exporters on purpose is not in here.
fn program() {
    describe_counter!("http_requests_total", "Requests");
    describe_gauge!("queue.depth", "Jobs waiting");
    describe_histogram!("reply_seconds", metrics::Unit::Seconds, "Time to reply");
    for step in 0..1_000_u32 {
        let status = ["200", "404", "500"][step as usize % 3];
        counter!("http_requests_total", "method" => "GET", "status" => status).increment(1);
        counter!("http_requests_total", "status" => "200", "method" => "PUT").increment(2);
        counter!("bytes:sent/to-peers_total", "peer.name" => format!("p{}\"\n", step % 7)).increment(u64::from(step));
        counter!("ticks_total").absolute(u64::from(step));
        gauge!("queue.depth", "shard" => (step % 2).to_string()).set(f64::from(step));
        gauge!("level").increment(1.5);
        gauge!("level").decrement(0.5);
        histogram!("reply_seconds", "method" => "GET").record(f64::from(step) / 1_000.0);
        histogram!("size_bytes").record_many(f64::from(step), 3);
    }
}

#[test]
fn a_program_shows_the_same_series_as_with_metrics_exporter_prometheus() {
    let bounds = [0.005, 0.05, 0.5, 0.75];
    let sizes = [100.0, 200.0, 999.0];
    let bench = Bench::new(
        Builder::new()
            .label("service", "api")
            .buckets(Buckets::bounds(bounds))
            .buckets_for(Matcher::Suffix("_bytes".into()), Buckets::bounds(sizes)),
    );
    bench.run(program);
    let peer = PrometheusBuilder::new()
        .add_global_label("service", "api")
        .set_buckets(&bounds)
        .and_then(|peer| peer.set_buckets_for_metric(PeerMatcher::Suffix("_bytes".into()), &sizes))
        .expect("bounds")
        .build_recorder();
    with_local_recorder(&peer, program);
    // It puts an empty line behind each family, and keeps colons, which are for recording rules.
    let theirs: String =
        peer.handle().render().lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    let theirs = Exposition::parse_foreign(&theirs.replace("bytes:sent", "bytes_sent"));
    let ours = bench.shown();
    assert_eq!(ours.types, theirs.types);
    assert!(ours.helps.is_superset(&theirs.helps), "{:?} {:?}", ours.helps, theirs.helps);
    // It writes a bound of 100 as `le="100"`, which OpenMetrics and Prometheus make `le="100.0"`.
    let whole = |series: &str| {
        sizes.iter().fold(series.to_owned(), |series, size| {
            series.replace(&format!("le=\"{size}\""), &format!("le=\"{size}.0\""))
        })
    };
    let theirs: BTreeMap<String, &String> =
        theirs.values.iter().map(|(series, value)| (whole(series), value)).collect();
    assert_eq!(ours.values.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert!(ours.values.len() > 25);
    for (series, value) in theirs {
        let number = |text: &str| text.parse::<f64>().expect("a number");
        assert!((number(&ours.values[&series]) - number(value)).abs() < 1e-6, "{series}");
    }
}
