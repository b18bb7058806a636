//! Groups and labels as the macros declare them: what they are called, what they take, and that both forms are one.

use std::time::Duration;

use tachograph::{
    Aggregation, Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Family,
    FloatCounter, Gauge, Histogram, LabelSet, LabelValue, Metrics, Region, RegisterError, UpDownCounter, WatermarkMax,
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
