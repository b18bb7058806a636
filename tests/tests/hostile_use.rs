//! What careless and hostile callers do to the writer: names, labels, bounds, budgets and capacities of every bad kind,
//! handles and leases used where they are not expected. Nothing panics; what is refused says why; nothing is lost in
//! silence; and a reader finds exactly what was written.

use std::cell::RefCell;
use std::sync::mpsc;
use std::time::Duration;

use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Histogram, Lease,
    OpenFamily, OpenRules, Region, RegisterError,
};
use tachograph_exporter::exposition::{Exposition as Rendering, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{RegionReader, Severity};
use tachograph_tests::exposition::{Exposition, key};

/// What a reader shows of a region, all of it intact.
fn shown(region: &Region) -> Exposition {
    let reader = RegionReader::open(region.path().expect("a file")).expect("a region");
    let findings = reader.verify();
    assert!(!findings.iter().any(|finding| finding.severity == Severity::Error), "{findings:?}");
    let snapshot = reader.snapshot().expect("a snapshot");
    assert!(snapshot.schema.damaged.is_empty(), "{:?}", snapshot.schema.damaged);
    let sources = [Source::region(snapshot.into())];
    let plan = Plan::new(&sources, &Options::default()).expect("one region");
    let mut out = Vec::new();
    assert!(Rendering::new(Format::Text).render(&plan, &sources, &mut out));
    Exposition::parse(&String::from_utf8(out).expect("UTF-8"))
}

/// Text that is wrong as a name, each in its own way; nearly all of it is right as a label's value.
fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "\0",
        "a\0b",
        "\"",
        "\\",
        "a\\",
        "\n",
        "a\nb 1\n# TYPE x counter",
        "\r",
        "\u{1b}[31m",
        "ä",
        "日本",
        "\u{202e}",
        "{",
        "} 1",
        ",",
        "=",
        " ",
        "a b",
        "-",
        "9a",
        "__name__\u{0}",
        "\u{feff}",
        "\u{7f}",
        "'",
        "a=\"b\",c=\"d\"",
        "NaN",
        "+Inf\"",
    ]
    .map(String::from)
    .into();
    texts.extend([String::new(), "x".repeat(65_536), "ä".repeat(40_000), "\"".repeat(70), "\\n".repeat(64)]);
    texts
}

#[test]
fn hostile_names_are_refused_and_leave_the_region_as_it_was() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let region = Region::builder("names").dir(dir.path()).build().expect("a region");
    for text in hostile_texts().iter().filter(|text| *text != "NaN") {
        for name in [text.clone(), format!("{text}_total"), format!("app_{text}_total"), format!("app_total{text}")] {
            if ["_total", "app__total", "app_total", "app_9a_total"].contains(&name.as_str()) {
                continue; // odd, and names
            }
            let error = region.counter(&name, "Help").expect_err(&name);
            let error = error.to_string();
            assert!(error.len() < 3_000, "an error of {} bytes", error.len());
            assert!(!error.chars().any(char::is_control), "an error with control characters: {error:?}");
            let open = region.open_family::<Counter, 1>(Desc::new(&name, "Help"), ["peer"], OpenRules::new(2));
            assert!(open.is_err(), "{name:?}");
        }
        let desc = Desc::new("app_labelled_total", "Help");
        let label = region.open_family::<Counter, 1>(desc, [text.as_str()], OpenRules::new(2));
        assert!(matches!(label, Err(RegisterError::Label { .. })), "{text:?}: {label:?}");
        let unit = region.register::<Counter>(Desc::new("app_unit_total", "Help").unit(text));
        assert!(unit.is_err() || text.is_empty(), "{text:?}");
    }
    for label in ["le", "quantile", "__name__", "__x", "tacho_region"] {
        let desc = Desc::new("app_reserved_total", "Help");
        let reserved = region.open_family::<Counter, 1>(desc, [label], OpenRules::new(2));
        assert!(matches!(reserved, Err(RegisterError::Label { .. })), "{label:?}: {reserved:?}");
    }
    region.counter("app_good_total", "Help").expect("a good name").add(3);
    assert_eq!(shown(&region).integer("app_good_total"), 3);
}

#[test]
fn hostile_help_and_labels_are_shown_as_they_are_or_counted_together() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let builder = Region::builder("labels").dir(dir.path()).string_bytes(1 << 20).label_bytes(1 << 20);
    let region = builder.build().expect("a region");
    for (index, text) in hostile_texts().iter().enumerate() {
        // Some help can't be shown: then that is said.
        if let Ok(counter) = region.counter(&format!("app_help_{index}_total"), text) {
            counter.inc();
        }
        // Const labels of an `Info` likewise.
        let _ = region.info(&format!("app_text_{index}_info"), "Help", &[("text", text)]);
    }
    let peers: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("app_peers_total", "Help"), ["peer", "route"], OpenRules::new(100)).expect("room");
    let mut leases = Vec::new();
    let mut overflowed = 0;
    for (index, text) in hostile_texts().iter().enumerate() {
        let lease = peers.with([text, "/"]);
        lease.add(index as u64 + 1);
        if lease.is_overflow() {
            overflowed += index as u64 + 1;
        }
        leases.push((text.clone(), index as u64 + 1, lease));
    }
    let shown = shown(&region);
    for (text, wanted, lease) in &leases {
        if lease.is_overflow() {
            assert!(text.len() > 40, "{text:?} has no series of its own");
            continue;
        }
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let series = key(&format!("app_peers_total{{peer=\"{escaped}\",route=\"/\"}}"));
        assert_eq!(shown.values.get(&series).map(String::as_str), Some(wanted.to_string().as_str()), "{series:?}");
    }
    assert!(overflowed > 0, "64 KiB find no room");
    assert_eq!(shown.integer("app_peers_total{overflow=\"true\"}"), i128::from(overflowed));
}

#[test]
fn hostile_bounds_are_refused_and_many_are_exact() {
    let region = Region::builder("bounds").bounds(40_000).cells(200_000).private().expect("a region");
    let many: Vec<f64> = (1..=10_000).map(|bound| f64::from(bound) * 0.5).collect();
    for (index, (bounds, good)) in [
        (vec![], false),
        (vec![f64::NAN], false),
        (vec![1.0, f64::NAN, 2.0], false),
        (vec![f64::INFINITY], false),
        (vec![f64::NEG_INFINITY, 0.0], false),
        (vec![1.0, 1.0], false),
        (vec![0.0, -0.0], false),
        (vec![2.0, 1.0], false),
        (vec![1.0; 20_000], false),
        ((0..20_000).map(f64::from).collect(), false),
        (many.clone(), true),
        (vec![f64::MIN, f64::MAX], true),
        (vec![5e-324], true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("app_own_{index}");
        let made = region.histogram::<f64>(&name, "Help", Buckets::bounds(bounds.clone()));
        assert_eq!(made.is_ok(), good, "{name}: {made:?}");
        let Ok(histogram) = made else { continue };
        let mut values =
            vec![f64::MIN, -1.0, 0.0, 5e-324, 0.25, 0.5, 0.75, 2_500.1, 5_000.0, 5_000.1, f64::MAX, f64::INFINITY];
        values.extend(&bounds);
        for value in &values {
            histogram.observe(*value);
        }
        histogram.observe(f64::NAN);
        values.sort_by(f64::total_cmp);
        let up_to = |bound: f64| values.partition_point(|value| *value <= bound) as u64;
        let mut below = 0;
        for (bound, count) in histogram.buckets() {
            assert_eq!(count, up_to(bound) - below, "{name} at {bound}");
            below = up_to(bound);
        }
        assert_eq!(histogram.count(), values.len() as u64);
    }
    for range in [1.0..=0.5, 0.0..=1.0, -1.0..=1.0, f64::NAN..=1.0, 1.0..=f64::INFINITY, 1.0..=f64::NAN] {
        for schema in [-100, -1, 0, 5, 6, i32::MAX, i32::MIN] {
            let buckets = Buckets::exponential(schema, range.clone());
            assert!(region.exponential_histogram("app_native", "Help", buckets.clone()).is_err(), "{schema} {range:?}");
            assert!(region.exponential_duration_histogram("app_native_seconds", "Help", buckets).is_err());
        }
    }
    for bounds in [vec![-1.0], vec![0.5e-9], vec![1e30]] {
        let made = region.duration_histogram("app_time_seconds", "Help", Buckets::bounds(bounds.clone()));
        assert!(made.is_err(), "{bounds:?}");
    }
    let default: ExponentialHistogram = region.register(Desc::new("app_default", "Help")).expect("room");
    [f64::NAN, -1.0, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, f64::MAX, f64::INFINITY]
        .into_iter()
        .for_each(|value| default.observe(value));
    assert_eq!(default.count(), 5);
    let time: ExponentialDurationHistogram = region.register(Desc::new("app_default_seconds", "Help")).expect("room");
    [Duration::ZERO, Duration::MAX, Duration::from_nanos(u64::MAX)].into_iter().for_each(|value| time.observe(value));
    [0, 1, u64::MAX].into_iter().for_each(|value| time.observe_ns(value));
    assert_eq!(time.count(), 6);
}

#[test]
fn registered_again_with_other_bounds_is_a_clash_and_the_first_stands() {
    let region = Region::private("again").expect("a region");
    let first: DurationHistogram =
        region.duration_histogram("app_seconds", "Help", Buckets::bounds([0.1, 1.0])).expect("room");
    let other = region.duration_histogram("app_seconds", "Help", Buckets::bounds([0.1, 2.0]));
    assert!(matches!(other, Err(RegisterError::Clash { .. })), "{other:?}");
    let other: Result<Histogram, _> = region.histogram("app_seconds", "Help", Buckets::bounds([0.1, 1.0]));
    assert!(matches!(other, Err(RegisterError::Clash { .. })), "{other:?}");
    let same = region.duration_histogram("app_seconds", "Help", Buckets::bounds([0.1, 1.0])).expect("the same");
    same.observe_ns(1);
    assert_eq!(first.count(), 1);
}

#[test]
fn budgets_and_capacities_of_nothing_and_of_everything_are_errors_or_work() {
    let region = Region::private("budgets").expect("a region");
    for (index, (rules, good)) in [
        (OpenRules::new(u32::MAX), false),
        (OpenRules::new(4).label_area(u32::MAX), false),
        (OpenRules::new(4).linger(Duration::MAX), true),
        (OpenRules::new(4).linger(Duration::ZERO), true),
    ]
    .into_iter()
    .enumerate()
    {
        let made = region.open_family::<Counter, 1>(Desc::new(format!("app_{index}_total"), "Help"), ["peer"], rules);
        assert_eq!(made.is_ok(), good, "{rules:?}: {made:?}");
        if let Ok(family) = made {
            let held: Vec<Lease<Counter>> = (0..6).map(|peer| family.with([&peer.to_string()])).collect();
            held.iter().for_each(|lease| lease.inc());
            assert_eq!(held.iter().filter(|lease| lease.is_overflow()).count(), 2, "{rules:?}");
        }
    }
    // A budget of none, and no room for any label: refused, or everything overflows; never lost.
    for (name, rules) in [("app_none_total", OpenRules::new(0)), ("app_narrow_total", OpenRules::new(4).label_area(0))]
    {
        if let Ok(family) = region.open_family::<Counter, 1>(Desc::new(name, "Help"), ["peer"], rules) {
            let lease = family.with(["10.0.0.7"]);
            lease.inc();
            assert_eq!(lease.get(), 1, "{rules:?}");
            assert!(lease.is_overflow() || rules.budget() > 0, "{rules:?}");
        }
    }
    for capacity in [0, 1, u32::MAX] {
        let sized = [
            Region::builder("sized").series(capacity),
            Region::builder("sized").cells(capacity),
            Region::builder("sized").families(capacity),
            Region::builder("sized").string_bytes(capacity),
            Region::builder("sized").label_bytes(capacity),
            Region::builder("sized").shared(capacity),
            Region::builder("sized").bounds(capacity),
            Region::builder("sized").activities(capacity),
            Region::builder("sized")
                .headroom(capacity)
                .tick(Duration::MAX)
                .version(&"v".repeat(capacity.min(70_000) as usize)),
        ];
        for builder in sized {
            // Built or refused; where it was built, what does not fit is an error.
            if let Ok(region) = builder.private()
                && let Ok(counter) = region.counter("app_total", "Help")
            {
                counter.inc();
                assert_eq!(counter.get(), 1);
            }
        }
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    static HELD: RefCell<Vec<Lease<Counter>>> = const { RefCell::new(Vec::new()) };
}

/// Registers, leases and writes while its thread's locals are taken down.
struct Late(Region, mpsc::Sender<(Counter, Lease<Counter>)>);

impl Drop for Late {
    fn drop(&mut self) {
        tachograph::enter_thread();
        let counter = self.0.counter("app_late_total", "Help").expect("room");
        counter.add(2);
        let desc = Desc::new("app_open_total", "Help");
        let family = self.0.open_family::<Counter, 1>(desc, ["peer"], OpenRules::new(8)).expect("room");
        let lease = family.with(["late"]);
        lease.add(5);
        self.1.send((counter, lease)).expect("the test waits");
    }
}

#[test]
fn leases_and_registration_survive_thread_exit() {
    let region = Region::private("late").expect("a region");
    let (sender, receiver) = mpsc::channel();
    let family: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("app_open_total", "Help"), ["peer"], OpenRules::new(8)).expect("room");
    let clone = region.clone();
    std::thread::spawn(move || {
        LATE.with(|late| *late.borrow_mut() = Some(Late(clone, sender)));
        // Leases that die with the thread, one after each other.
        HELD.with(|held| held.borrow_mut().extend((0..3).map(|_| family.with(["held"]))));
        HELD.with(|held| held.borrow().iter().for_each(|lease| lease.inc()));
    })
    .join()
    .expect("the thread ends");
    let (counter, lease) = receiver.recv().expect("it was sent");
    assert_eq!((counter.get(), lease.get()), (2, 5));
    // Made in a thread that is gone, written and dropped in others.
    std::thread::spawn(move || lease.inc()).join().expect("the thread ends");
    assert_eq!((family.with(["late"]).get(), family.with(["held"]).get()), (6, 3));
}

#[test]
fn what_is_held_past_the_close_writes_into_the_closed_region_and_registers_nothing() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let region = Region::builder("closed").dir(dir.path()).build().expect("a region");
    let path = region.path().expect("a file").to_owned();
    let late = region.clone();
    let counter = region.counter("app_total", "Help").expect("room");
    let histogram =
        region.exponential_histogram("app_size", "Help", Buckets::exponential(3, 1.0..=100.0)).expect("room");
    let family: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("app_open_total", "Help"), ["peer"], OpenRules::new(8)).expect("room");
    let lease = family.with(["held"]);
    region.close();
    counter.inc();
    histogram.observe(3.0);
    lease.inc();
    drop(lease.clone());
    let other = family.with(["new"]);
    other.inc();
    assert_eq!((counter.get(), histogram.count(), lease.get(), other.is_overflow()), (1, 1, 1, true));
    drop((lease, other));
    for error in [
        late.counter("app_total", "Help").map(drop),
        late.counter("app_new_total", "Help").map(drop),
        late.open_family::<Counter, 1>(Desc::new("app_open_total", "Help"), ["peer"], OpenRules::new(8)).map(drop),
    ] {
        assert!(error.is_err(), "a closed region registers");
    }
    late.clone().close();
    drop(late);
    let reader = RegionReader::open(&path).expect("it stays for readers");
    assert_eq!(reader.snapshot().expect("a snapshot").schema.families.len(), 3);
}
