//! Random regions, scraped while they and their series come and go: no body in any format has what Prometheus would take in
//! silence and store wrongly, with the exporter's own metrics in it, told apart and added up (`--merge`); nor has that of an
//! application's own registry which takes them in.
//!
//! `TACHOGRAPH_BODIES_CASES` makes it more than the few cases of the test command.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tachograph::{
    Buckets, Counter, Desc, ExponentialDurationHistogram, FloatCounter, Gauge, Histogram, Lease, OpenFamily, OpenRules,
    Region, UpDownCounter, WatermarkMax, WatermarkMin,
};
use tachograph_exporter::Directories;
use tachograph_exporter::collector::RegionCollector;
use tachograph_tests::body::{Body, Format};
use tachograph_tests::http::{free_port, get_with};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::rules;
use tachograph_tests::tmpfs;

tachograph::label_value! {
    enum Phase: "phase" { Starting = "starting", Odd = "quote \" backslash \\ newline \n ü" }
}

const REGIONS: [&str; 3] = ["one", "two", "three"];

/// Names that are parts of each other in some format, and that the exporter has itself.
const NAMES: [&str; 12] = [
    "app_x",
    "app_x_total",
    "app_x_info",
    "app_x_seconds",
    "app_x_seconds_total",
    "app_y",
    "app_y_total",
    "app_y_seconds_info",
    "process_threads",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "app",
];

/// Two label names each, in more than one order.
const LABELS: [[&str; 2]; 4] = [["a", "b"], ["b", "a"], ["a", "overflow"], ["app_x", "_"]];

const VALUES: [&str; 6] = ["", "true", "\"", "\\", "a\nb \r", "},{ \"ü€😀"];

const NUMBERS: [f64; 8] = [0.0, -0.0, 1e300, 5e-324, -7.5, f64::INFINITY, f64::NAN, 1e6];

const BOUNDS: [&[f64]; 4] = [&[0.1, 1.0], &[-1.0, 0.0, 1.0], &[1e-7, 10.0, 1e6, 1e21], &[5.0]];

/// A family that a region declares, or tries to.
#[derive(Debug, Clone)]
struct Declared {
    kind: u8,
    name: usize,
    /// Of help, bounds, and label names.
    variant: usize,
}

/// What is there, and what is done, before each look.
#[derive(Debug, Clone)]
struct Round {
    /// Which regions live, as bits.
    alive: u8,
    /// Which label sets of open families are held, as bits.
    held: u8,
    number: usize,
}

#[derive(Debug, Clone)]
struct Script {
    families: Vec<Vec<Declared>>,
    rounds: Vec<Round>,
}

fn scripts() -> impl Strategy<Value = Script> {
    let declared =
        (0_u8..14, 0..NAMES.len(), 0..4_usize).prop_map(|(kind, name, variant)| Declared { kind, name, variant });
    let round = (0_u8..8, 0_u8..64, 0..NUMBERS.len()).prop_map(|(alive, held, number)| Round { alive, held, number });
    let families = proptest::collection::vec(proptest::collection::vec(declared, 1..12), REGIONS.len());
    (families, proptest::collection::vec(round, 2..5)).prop_map(|(families, rounds)| Script { families, rounds })
}

/// What writes a family.
type Write = Box<dyn FnMut(&Round)>;

/// Holds leases of an open family as a round says, and writes what it holds.
fn leasing<M: tachograph::Metric + 'static>(
    family: OpenFamily<M, 2>,
    write: impl Fn(&Lease<M>, f64) + 'static,
) -> Write {
    let mut leases: Vec<Option<Lease<M>>> = VALUES.iter().map(|_| None).collect();
    Box::new(move |round| {
        // First those that go: so that no set comes back in another slot between two looks.
        for (index, lease) in leases.iter_mut().enumerate() {
            if round.held >> index & 1 == 0 {
                *lease = None;
            }
        }
        for ((index, lease), value) in leases.iter_mut().enumerate().zip(VALUES) {
            if round.held >> index & 1 == 1 {
                write(
                    lease.get_or_insert_with(|| family.with([value, if value.is_empty() { "" } else { "true" }])),
                    NUMBERS[round.number],
                );
            }
        }
    })
}

/// Declares a family; `None` where the writer refuses it.
fn declare(region: &Region, declared: &Declared) -> Option<Write> {
    let Declared { kind, name, variant } = *declared;
    let name = NAMES[name];
    let help = ["Help", "Other \\ \"help\"\n", "", "Help"][variant];
    let desc = || Desc::new(name, help);
    let bounded = || desc().buckets(Buckets::bounds(BOUNDS[variant].iter().copied()));
    let rules = OpenRules::new(3).linger(Duration::ZERO).label_area(600);
    Some(match kind {
        0 => {
            let counter = region.register::<Counter>(desc()).ok()?;
            Box::new(move |_| counter.add(3))
        }
        1 => {
            let counter = region.register::<FloatCounter>(desc()).ok()?;
            Box::new(move |round| counter.add(NUMBERS[round.number]))
        }
        2 => {
            let gauge = region.register::<Gauge>(desc()).ok()?;
            Box::new(move |round| gauge.set(-(round.number as i64)))
        }
        3 => {
            let gauge = region.register::<Gauge<f64>>(desc()).ok()?;
            Box::new(move |round| gauge.set(NUMBERS[round.number]))
        }
        4 => {
            let live = region.register::<UpDownCounter>(desc()).ok()?;
            Box::new(move |_| live.sub(1))
        }
        5 => {
            let sizes = region.register::<Histogram<f64>>(bounded()).ok()?;
            Box::new(move |round| sizes.observe(NUMBERS[round.number]))
        }
        6 => {
            let buckets = Buckets::exponential(variant as i32, 1e-6..=100.0);
            let waits = region.register::<ExponentialDurationHistogram>(desc().buckets(buckets)).ok()?;
            Box::new(move |round| waits.observe_ns(10_u64.pow(round.number as u32 * 2)))
        }
        7 => {
            region.info(name, help, &[("version", "1.2"), ("odd", VALUES[variant])]).ok()?;
            Box::new(|_| {})
        }
        8 => {
            let phase = region.state_set::<Phase>(name, help).ok()?;
            Box::new(move |round| phase.set(if round.number % 2 == 0 { Phase::Odd } else { Phase::Starting }))
        }
        9 => {
            let peak = region.register::<WatermarkMax<f64>>(desc()).ok()?;
            Box::new(move |round| peak.record(NUMBERS[round.number]))
        }
        10 => {
            let least = region.register::<WatermarkMin<f64>>(desc()).ok()?;
            Box::new(move |round| least.record(NUMBERS[round.number]))
        }
        11 => {
            let family = region.open_family::<Counter, 2>(desc(), LABELS[variant], rules).ok()?;
            leasing(family, |counter, _| counter.inc())
        }
        12 => {
            let family = region.open_family::<Gauge<f64>, 2>(desc(), LABELS[variant], rules).ok()?;
            leasing(family, |gauge, number| gauge.set(number))
        }
        _ => {
            let family = region.open_family::<Histogram<f64>, 2>(bounded(), LABELS[variant], rules).ok()?;
            leasing(family, |sizes, number| sizes.observe(number))
        }
    })
}

/// A region with all that writes it.
struct Living {
    writes: Vec<Write>,
    region: Region,
}

impl Living {
    fn start(dir: &Path, name: &str, families: &[Declared]) -> Self {
        let builder = Region::builder(name).dir(dir).lanes(2).keep_archived(1).label_bytes(1 << 16);
        let region = builder.build().expect("a region");
        let writes = families.iter().filter_map(|family| declare(&region, family)).collect();
        Self { writes, region }
    }
}

fn serve(dir: &Path, more: &[&str]) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(dir).args(more).arg("--openmetrics.created");
    command.args(["--web.listen-address", &format!("127.0.0.1:{port}"), "--log.level", "error"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let server = Running::start(&mut command);
    eventually("the server", Duration::from_secs(30), || get_with(port, "/-/ready", &[]));
    (server, port)
}

fn scrape(port: u16, accept: &str) -> Vec<u8> {
    let reply = get_with(port, "/metrics", &[&format!("Accept: {accept}")]).expect("an answer");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    reply.body
}

const FORMATS: [(Format, &str); 3] = [
    (Format::Text, "text/plain;version=0.0.4"),
    (Format::OpenMetrics, "application/openmetrics-text;version=1.0.0"),
    (Format::Protobuf, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
];

/// Looks at a server in all formats, and at the order of what it showed before.
fn look(port: u16, before: &mut Vec<Body>) -> Result<usize, TestCaseError> {
    let mut series = 0;
    for (format, accept) in FORMATS {
        for _ in 0..2 {
            let bytes = scrape(port, accept);
            let body = Body::read(format, &bytes);
            let mut faults = rules::faults(&body, true);
            if let Some(at) = before.iter().position(|before| before.format == format) {
                faults.extend(rules::order_faults(&before.swap_remove(at), &body));
            }
            prop_assert!(faults.is_empty(), "{format:?}: {faults:#?}\n{}", String::from_utf8_lossy(&bytes));
            series += body.samples().count();
            before.push(body);
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&scrape(port, "application/json")).expect("JSON");
    let mut seen = std::collections::HashSet::new();
    for family in json["families"].as_array().expect("families") {
        for one in family["series"].as_array().expect("series") {
            let key = format!("{}{}", family["name"], one["labels"]);
            prop_assert!(seen.insert(key.clone()), "json: {key} stands twice");
        }
    }
    Ok(series)
}

/// An application's registry with names that regions may have, too, and with all regions.
fn registry(dir: &Path) -> Registry {
    let registry = Registry::new();
    let gauge = IntGauge::new("app_x", "The application's").expect("a gauge");
    gauge.set(17);
    registry.register(Box::new(gauge)).expect("registered");
    let counter = IntCounter::new("app_y_total", "The application's").expect("a counter");
    counter.inc_by(18);
    registry.register(Box::new(counter)).expect("registered");
    let regions = RegionCollector::directories(Directories::from_args(vec![dir.to_owned()])).expect("a collector");
    registry.register(Box::new(regions.beside(&registry.gather()))).expect("registered");
    registry
}

/// Looks at what that crate's encoder writes of a registry.
fn look_at(registry: &Registry, before: &mut Option<Body>) -> Result<(), TestCaseError> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("encoded");
    let body = Body::read(Format::Text, text.as_bytes());
    let mut faults = rules::faults(&body, false);
    faults.extend(before.iter().flat_map(|before| rules::order_faults(before, &body)));
    prop_assert!(faults.is_empty(), "the registry: {faults:#?}\n{text}");
    // What the application has stands as it is; a HELP may be the region's, which may have none.
    let text = format!("\n{text}");
    prop_assert!(text.contains("\n# TYPE app_x gauge\napp_x 17\n"), "{text}");
    prop_assert!(text.contains("\n# TYPE app_y_total counter\napp_y_total 18\n"), "{text}");
    *before = Some(body);
    Ok(())
}

#[test]
fn no_body_of_any_regions_breaks_a_rule() {
    let cases = std::env::var("TACHOGRAPH_BODIES_CASES").map_or(24, |text| text.parse().expect("a number"));
    let (folder, book) = (tmpfs::folder(), tempfile::tempdir().expect("a directory"));
    let dir = folder.path();
    let (_apart, apart) = serve(dir, &[]);
    let (_merged, merged) = serve(dir, &["--merge", "--recorder.dir", &book.path().display().to_string()]);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let (registry, of_registry) = (registry(dir), std::cell::RefCell::new(None));
    let (before, most) = (std::cell::RefCell::new([Vec::new(), Vec::new()]), std::cell::Cell::new(0));
    let result = runner.run(&scripts(), |script| {
        let mut living: Vec<Option<Living>> = REGIONS.iter().map(|_| None).collect();
        for round in &script.rounds {
            for (index, living) in living.iter_mut().enumerate() {
                if round.alive >> index & 1 == 0 {
                    *living = None;
                } else {
                    living.get_or_insert_with(|| Living::start(dir, REGIONS[index], &script.families[index]));
                }
            }
            for write in living.iter_mut().flatten().flat_map(|living| &mut living.writes) {
                write(round);
            }
            look_at(&registry, &mut of_registry.borrow_mut())?;
            let [of_apart, of_merged] = &mut *before.borrow_mut();
            most.set(most.get().max(look(apart, of_apart)?).max(look(merged, of_merged)?));
        }
        assert!(living.iter().flatten().all(|living| !living.region.is_private()));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(most.get() > 500, "the scripts show something: {}", most.get());
}
