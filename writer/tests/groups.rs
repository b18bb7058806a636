//! Groups and labels as the macros declare them: what they are called, what they take, and that both forms are one.

use std::time::Duration;

use tachograph::{
    Aggregation, Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Family,
    FloatCounter, Gauge, Histogram, LabelSet, LabelValue, Metrics, OpenFamily, OpenRules, Region, RegisterError,
    UpDownCounter, WatermarkMax,
};

#[derive(Debug, Clone, Copy, PartialEq, LabelValue)]
enum Verb {
    Get,
    PutAll,
    #[label(value = "delete\"d")]
    Delete,
}

/// Discriminants of the user's own must not become indices.
#[derive(Debug, Clone, Copy, PartialEq, LabelValue)]
#[label(name = "class")]
enum Status {
    Ok = 200,
    NotFound = 404,
}

#[derive(Debug, Clone, Copy, LabelSet)]
struct Call {
    verb: Verb,
    status: Status,
}

#[derive(Debug, Clone, Copy, LabelSet)]
struct Single {
    status: Status,
}

type Calls = Family<Counter, Call>;

#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "pool")]
struct Pool {
    /// Connections open.
    open: UpDownCounter,
    /// Longest queue.
    #[metric(name = "pool_waiting_peak", aggregation = Min)]
    peak: WatermarkMax,
}

#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "app")]
struct AppMetrics {
    /// Calls by verb
    /// and status.
    ///
    /// This paragraph is for readers of the code.
    calls: Calls,
    /// Sent to clients.
    #[metric(unit = "bytes")]
    sent: Counter,
    /// Time spent.
    #[metric(unit = "seconds")]
    r#yield: FloatCounter,
    /** Load of the machine. */
    #[metric(name = "load_ratio", unit = "ratio")]
    load: Family<Gauge<f64>, Single>,
    #[metrics(nested)]
    pool: Pool,
    #[metrics(nested, prefix = "second")]
    other: Pool,
}

#[test]
fn labels_are_named_and_numbered_by_their_variants() {
    assert_eq!((Verb::KEY, Verb::VALUES), ("verb", &["get", "put_all", "delete\"d"][..]));
    assert_eq!((Status::KEY, Status::VALUES), ("class", &["ok", "not_found"][..]));
    for label in [Verb::Get, Verb::PutAll, Verb::Delete] {
        assert_eq!(Verb::all()[LabelValue::index(label)], label);
    }
    assert_eq!(Status::all(), [Status::Ok, Status::NotFound]);
    assert_eq!((LabelValue::index(Status::Ok), LabelValue::index(Status::NotFound)), (0, 1));
    assert_eq!(Status::NotFound.as_str(), "not_found");
}

#[test]
fn a_set_is_its_fields_tuple() {
    assert_eq!((Call::COUNT, Call::NAMES), (6, &["verb", "class"][..]));
    assert_eq!(Call::sets(), <(Verb, Status)>::sets());
    for (place, (verb, status)) in
        Verb::all().iter().flat_map(|verb| Status::all().iter().map(move |status| (*verb, *status))).enumerate()
    {
        assert_eq!(Call { verb, status }.index(), place);
        assert_eq!((verb, status).index(), place);
        assert_eq!(Call::sets()[place], [verb.as_str(), status.as_str()]);
    }
    assert_eq!((Single::COUNT, Single::NAMES, Single { status: Status::NotFound }.index()), (2, &["class"][..], 1));
}

#[test]
fn a_groups_families_are_what_their_fields_say() {
    let region = Region::builder("group").fit::<AppMetrics>().private().expect("private memory");
    let metrics: AppMetrics = region.metrics().expect("nothing is wrong with it");
    metrics.calls.at(Call { verb: Verb::PutAll, status: Status::Ok }).add(1);
    metrics.sent.add(2);
    metrics.r#yield.add(3.5);
    metrics.load.at(Single { status: Status::Ok }).set(4.5);
    metrics.pool.open.add(5);
    metrics.other.open.add(6);
    metrics.other.peak.record(7);

    // Everything is part of a family's identity, so each of these is an error where the macro said anything else.
    let calls: Calls = region.family(Desc::new("app_calls_total", "Calls by verb and status")).expect("calls");
    assert_eq!(calls.at(Call { verb: Verb::PutAll, status: Status::Ok }).get(), 1);
    let sent: Counter =
        region.register(Desc::new("app_sent_bytes_total", "Sent to clients").unit("bytes")).expect("sent");
    assert_eq!(sent.get(), 2);
    let spent: FloatCounter =
        region.register(Desc::new("app_yield_seconds_total", "Time spent").unit("seconds")).expect("yield");
    assert_eq!(spent.get(), 3.5);
    let load: Family<Gauge<f64>, Status> =
        region.family(Desc::new("load_ratio", "Load of the machine").unit("ratio")).expect("load");
    assert_eq!(load.at(Status::Ok).get(), 4.5);
    let open: UpDownCounter = region.register(Desc::new("app_pool_open", "Connections open")).expect("nested");
    assert_eq!(open.get(), 5);
    let open: UpDownCounter = region.register(Desc::new("app_second_pool_open", "Connections open")).expect("prefixed");
    assert_eq!(open.get(), 6);
    let peak = Desc::new("app_second_pool_waiting_peak", "Longest queue").aggregation(Aggregation::Min);
    let peak: WatermarkMax = region.register(peak).expect("a whole name gets outer prefixes only");
    assert_eq!(peak.get(), Some(7));
}

#[test]
fn what_a_group_takes_is_a_constant_and_the_same_as_what_it_needs() {
    const { assert!(AppMetrics::SERIES == 6 + 1 + 1 + 2 + 2 * 2) }
    let needs = AppMetrics::needs();
    assert_eq!(
        [AppMetrics::FAMILIES, AppMetrics::SERIES, AppMetrics::CELLS, AppMetrics::SHARED],
        [needs.families, needs.series, needs.cells, needs.shared]
    );
    assert_eq!((AppMetrics::FAMILIES, AppMetrics::CELLS, AppMetrics::SHARED), (8, 8 + 2 * 6, 2));
    assert!(needs.largest.iter().any(|(name, series)| name == "app_calls_total" && *series == 6), "{needs:?}");
    assert!(needs.largest.iter().any(|(name, _)| name == "app_second_pool_open"), "{needs:?}");
}

#[test]
fn exactly_what_is_needed_is_enough_and_one_less_is_not() {
    let needs = AppMetrics::needs();
    let sized = |series| {
        let region = Region::builder("exact").families(needs.families).series(series).cells(needs.cells);
        let region = region.shared(needs.shared).string_bytes(needs.string_bytes).private().expect("private memory");
        region.metrics::<AppMetrics>()
    };
    sized(needs.series).expect("it is enough");
    let error = sized(needs.series - 1).expect_err("one series short");
    assert!(matches!(error, RegisterError::Full { .. }), "{error}");
}

/// The derives' group once more, by the declarative forms.
mod declared {
    use super::{Counter, Family, WatermarkMax};

    tachograph::label_value! {
        #[derive(Debug)]
        pub(super) enum Verb: "verb" { Get = "get", PutAll = "put_all", Delete = "delete\"d" }
    }
    tachograph::metrics! {
        #[derive(Debug, Clone, Copy)]
        pub(super) struct Some {
            /// By verb.
            pub(super) verbs: Family<Counter, Verb> = "some_verbs_total",
            /// Longest.
            pub(super) peak: WatermarkMax = "some_peak_bytes" { unit: "bytes", aggregation: tachograph::Aggregation::Min },
        }
    }
}

#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "some")]
struct Derived {
    /// By verb.
    verbs: Family<Counter, Verb>,
    /// Longest.
    #[metric(unit = "bytes", aggregation = Min)]
    peak: WatermarkMax,
}

const STEPS: [f64; 3] = [0.25, 0.5, 1.0];

#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "hist")]
struct Histograms {
    /// Sizes.
    #[metric(bounds = [100.0, 1e3], unit = "bytes")]
    size: Histogram<u64>,
    /// Time by verb.
    #[metric(bounds = STEPS, unit = "seconds")]
    time: Family<DurationHistogram, Verb>,
    /// Time, finely.
    #[metric(exponential(schema = 0, range = 1.0..=8.0), unit = "seconds")]
    fine: ExponentialDurationHistogram,
    /// Ratios.
    ratio: ExponentialHistogram,
}

#[test]
fn histograms_get_the_buckets_that_their_fields_name() {
    let needs = Histograms::needs();
    assert_eq!([Histograms::SERIES, Histograms::CELLS], [needs.series, needs.cells]);
    // The default buckets are 214, and a zero bucket, +Inf and the sum.
    assert_eq!(Histograms::CELLS, (2 + 2) + 3 * (3 + 2) + (3 + 3) + (214 + 3));

    let region = Region::builder("histograms").fit::<Histograms>().private().expect("private memory");
    let metrics: Histograms = region.metrics().expect("nothing is wrong with it");
    metrics.size.observe(100);
    metrics.time.at(Verb::PutAll).observe(Duration::from_millis(600));
    metrics.fine.observe(Duration::from_secs(4));
    metrics.ratio.observe(0.5);
    let infinity = f64::INFINITY;
    assert_eq!(metrics.size.buckets(), [(100.0, 1), (1000.0, 0), (infinity, 0)]);
    assert_eq!(metrics.time.at(Verb::PutAll).buckets(), [(0.25, 0), (0.5, 0), (1.0, 1), (infinity, 0)]);
    assert_eq!(metrics.fine.buckets(), [(1.0, 0), (2.0, 0), (4.0, 1), (8.0, 0), (infinity, 0)]);
    // The default buckets are a family's identity, too.
    let same: ExponentialHistogram = region
        .register(Desc::new("hist_ratio", "Ratios").buckets(Buckets::exponential(3, 1e-6..=100.0)))
        .expect("the same buckets");
    assert_eq!(same.count(), 1);
}

#[test]
fn both_forms_write_the_same_families() {
    let region = Region::private("forms").expect("private memory");
    let derived: Derived = region.metrics().expect("derived");
    let declared: declared::Some = region.metrics().expect("the same families, or this is a clash");
    derived.verbs.at(Verb::Delete).add(3);
    derived.peak.record(4);
    assert_eq!(declared.verbs.at(declared::Verb::Delete).get(), 3);
    assert_eq!(declared.peak.get(), Some(4));
    assert_eq!(Derived::needs(), declared::Some::needs());
}

/// Label areas of 128 KiB: more than the 64 KiB of a section that holds nothing else.
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "open")]
struct Open {
    /// Requests by route and peer.
    #[metric(labels = ["route", "peer"], budget = 127, label_area = 1_000, linger_seconds = 60)]
    requests: OpenFamily<Counter, 2>,
    /// Queue by peer.
    #[metric(labels = PEER, budget = 7)]
    queue: OpenFamily<Gauge<i64>, 1>,
    /// Time by peer.
    #[metric(unit = "seconds", bounds = [0.1, 1.0], labels = PEER, budget = 15)]
    time: OpenFamily<DurationHistogram, 1>,
    /// Not open.
    served: Counter,
}

const PEER: [&str; 1] = ["peer"];

#[test]
fn an_open_familys_rules_are_what_its_field_says() {
    let region = Region::builder("open").fit::<Open>().private().expect("private memory");
    let metrics: Open = region.metrics().expect("it was sized for it");
    metrics.requests.with(["/", "a"]).add(3);
    metrics.time.with(["a"]).observe(Duration::from_millis(200));
    metrics.served.inc();

    // Labels and rules are part of a family's identity, so this is an error where the macro said anything else.
    let desc = Desc::new("open_requests_total", "Requests by route and peer");
    let rules = OpenRules::new(127).label_area(1_000).linger(Duration::from_secs(60));
    let same: OpenFamily<Counter, 2> = region.open_family(desc, ["route", "peer"], rules).expect("the same family");
    assert_eq!(same.with(["/", "a"]).get(), 3);
    assert_eq!(metrics.queue.rules(), OpenRules::new(7));
    let time = metrics.time.with(["a"]).buckets();
    assert_eq!(time, [(0.1, 0), (1.0, 1), (f64::INFINITY, 0)]);
}

#[test]
fn what_open_families_take_is_a_constant_too() {
    let needs = Open::needs();
    assert_eq!(
        [Open::FAMILIES, Open::SERIES, Open::CELLS, Open::SHARED],
        [needs.families, needs.series, needs.cells, needs.shared]
    );
    assert_eq!([Open::FAMILIES, Open::SERIES], [4, 128 + 8 + 16 + 1]);
    assert_eq!([Open::CELLS, Open::SHARED], [128 + 16 * 4 + 1, 8]);
    assert_eq!(needs.label_bytes, 128 * 1_000 + 8 * 128 + 16 * 128);
    let names = needs.largest.iter().map(|(name, series)| (name.as_str(), *series)).collect::<Vec<_>>();
    assert_eq!(names[..2], [("open_requests_total", 128), ("open_time_seconds", 16)]);
}

#[test]
fn a_region_of_exactly_what_a_group_needs_takes_it() {
    let needs = Open::needs();
    let sized = |series, cells, shared, label_bytes| {
        let region = Region::builder("exact").families(needs.families).series(series).cells(cells).shared(shared);
        let region = region.bounds(needs.bounds).string_bytes(needs.string_bytes).label_bytes(label_bytes);
        region.private().expect("private memory").metrics::<Open>()
    };
    sized(needs.series, needs.cells, needs.shared, needs.label_bytes).expect("it is enough");
    // Sections are whole 64 KiB, so one that holds bytes or cells is larger than it was asked to be.
    for (what, region) in [
        ("series", sized(needs.series - 1, needs.cells, needs.shared, needs.label_bytes)),
        ("shared lines", sized(needs.series, needs.cells, needs.shared - 1, needs.label_bytes)),
        ("label bytes", sized(needs.series, needs.cells, needs.shared, 64 * 1024)),
    ] {
        let error = region.expect_err("too small");
        assert!(matches!(error, RegisterError::Full { what: found, .. } if found == what), "{what}: {error}");
    }
}

#[test]
fn bytes_are_counted_as_they_are_used() {
    let needs = Open::needs();
    let region = Region::builder("bytes").fit::<Open>().headroom(0).private().expect("private memory");
    region.metrics::<Open>().expect("it was sized for it");

    // A family that is too large is refused by what is left.
    let desc = Desc::new("more_total", "More");
    let rules = OpenRules::new(100).label_area(16 * 1024);
    let error = region.open_family::<Counter, 1>(desc, ["peer"], rules).expect_err("far too large");
    let RegisterError::Full { what: "label bytes", free, capacity, .. } = error else { panic!("{error}") };
    assert_eq!(capacity - free, u64::from(needs.label_bytes));

    let help = "x".repeat(16 * 1024);
    let error = (0..).find_map(|more| {
        let error = region.counter(&format!("m_{more}_total"), &help).err()?;
        Some((more, error))
    });
    let (more, error) = error.expect("strings end");
    let RegisterError::Full { what: "string bytes", free, capacity, .. } = error else { panic!("{error}") };
    // Each took its HELP and the 9 bytes of its name, in whole words.
    assert_eq!(capacity - free, u64::from(needs.string_bytes) + more * (16 * 1024 + 16));
}

#[test]
fn open_settings_are_held_to_the_type_at_run_time_too() {
    let region = Region::private("settings").expect("private memory");
    let refused = |member: tachograph::Member| {
        let said = <OpenFamily<Counter, 1> as tachograph::Registrable>::register(&region, member.desc("")).unwrap_err();
        assert_eq!(<OpenFamily<Counter, 1> as tachograph::Registrable>::needs(&member.desc("")), Default::default());
        said.to_string()
    };
    let member = tachograph::Member::named::<OpenFamily<Counter, 1>>("s_total", &["Sent"]);
    assert!(refused(member).contains("names no labels"));
    assert!(refused(member.labels(&["peer"])).contains("no budget"));
    assert!(refused(member.labels(&["route", "peer"]).budget(1)).contains("not as many labels"));
    assert!(refused(member.labels(&[]).budget(1)).contains("without labels"));
    let said = region.register::<Counter>(member.budget(1).desc("")).unwrap_err().to_string();
    assert!(said.contains("is no `OpenFamily`"), "{said}");
    // Too much for any region is told when one is built, and does not overflow on the way.
    tachograph::metrics! {
        struct Huge {
            /// A.
            a: OpenFamily<Counter, 1> = "a_total" { labels: &["peer"], budget: u32::MAX, label_area: 16_384 },
            /// B.
            b: OpenFamily<Counter, 1> = "b_total" { labels: &["peer"], budget: u32::MAX },
        }
    }
    let error = Region::builder("huge").fit::<Huge>().private().expect_err("too large");
    assert!(format!("{error:?}").contains("series"), "{error:?}");
    let huge: Result<Huge, _> = region.metrics();
    assert!(huge.is_err_and(|error| matches!(error, RegisterError::Full { .. })));
}

mod declared_open {
    tachograph::metrics! {
        pub(super) struct Open {
            /// Requests by route and peer.
            pub(super) requests: tachograph::OpenFamily<tachograph::Counter, 2> = "open_requests_total"
                { labels: &["route", "peer"], budget: 127, label_area: 1_000, linger_seconds: 60 },
        }
    }
}

#[test]
fn the_declarative_form_has_open_families_too() {
    let region = Region::builder("forms").fit::<Open>().private().expect("private memory");
    let derived: Open = region.metrics().expect("derived");
    let declared: declared_open::Open = region.metrics().expect("the same family, or this is a clash");
    derived.requests.with(["/", "a"]).inc();
    assert_eq!(declared.requests.with(["/", "a"]).get(), 1);
}
