//! Histograms: what is refused at registration, what is dropped, what the cells hold and who shares them.

use tachograph::{
    Aggregation, Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Family,
    Gauge, Histogram, Metric, Region, RegisterError, Registrable,
};

tachograph::label_value! { enum Verb: "verb" { Get = "get", Put = "put" } }

fn region() -> Region {
    Region::private("histograms").expect("private memory")
}

fn refused<M: Metric>(desc: Desc) -> String {
    match region().register::<M>(desc).map(|_| ()) {
        Err(error @ RegisterError::Shape { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bounds_that_break_a_rule_are_refused_by_name() {
    let bounds = |bounds: &[f64]| Desc::new("x", "").buckets(Buckets::bounds(bounds.iter().copied()));
    for (refusal, words) in [
        (refused::<Histogram>(Desc::new("x", "")), "names no bounds"),
        (refused::<Histogram>(bounds(&[])), "0 bounds"),
        (refused::<Histogram>(bounds(&[1.0, 1.0])), "not above"),
        (refused::<Histogram>(bounds(&[-0.0, 0.0])), "not above"),
        (refused::<Histogram>(bounds(&[2.0, 1.0])), "bound 1, 1, not above the one before, 2"),
        (refused::<Histogram>(bounds(&[1.0, f64::INFINITY])), "+Inf is always there"),
        (refused::<Histogram>(bounds(&[f64::NAN])), "finite"),
        (refused::<Histogram<u64>>(bounds(&[1.5])), "whole numbers"),
        (refused::<Histogram<u64>>(bounds(&[-1.0, 1.0])), "whole numbers"),
        (refused::<Histogram<u64>>(bounds(&[18_446_744_073_709_551_616.0])), "whole numbers"),
        (refused::<DurationHistogram>(bounds(&[1e-10])), "nanosecond"),
        (refused::<Histogram>(Desc::new("x", "").buckets(Buckets::exponential(3, 1.0..=2.0))), "exponential"),
        (refused::<ExponentialHistogram>(bounds(&[1.0])), "own bounds"),
        (refused::<ExponentialHistogram>(Desc::new("x", "").buckets(Buckets::exponential(6, 1.0..=2.0))), "schema 6"),
        (refused::<ExponentialHistogram>(Desc::new("x", "").buckets(Buckets::exponential(3, 0.0..=2.0))), "range"),
        (refused::<Counter>(Desc::new("x_total", "").buckets(Buckets::bounds([1.0]))), "no histogram"),
        (refused::<Gauge>(Desc::new("x", "").buckets(Buckets::bounds([1.0]))), "no histogram"),
        (refused::<DurationHistogram>(bounds(&[1.0]).unit("minutes")), "seconds, not in minutes"),
    ] {
        assert!(refusal.contains(words), "{refusal:?} does not say {words:?}");
    }
}

#[test]
fn a_refused_registration_is_counted_and_takes_nothing() {
    let region = Region::builder("small").bounds(3).private().expect("private memory");
    assert!(region.histogram::<f64>("x", "", Buckets::bounds([])).is_err());
    let full = region.histogram::<f64>("x", "", Buckets::bounds([1.0, 2.0, 3.0, 4.0]));
    assert!(full.unwrap_err().to_string().contains("raise the builder's `bounds`"));
    assert!(region.histogram::<f64>("x", "", Buckets::bounds([1.0, 2.0, 3.0])).is_ok());
}

#[test]
fn the_same_name_with_other_buckets_is_a_clash() {
    let region = region();
    let first = region.histogram::<f64>("x", "", Buckets::bounds([1.0, 2.0])).expect("fits");
    first.observe(1.0);
    let again = region.histogram::<f64>("x", "", Buckets::bounds([1.0, 2.0])).expect("the same");
    assert_eq!(again.count(), 1);
    for other in [Buckets::bounds([1.0]), Buckets::bounds([1.0, 3.0])] {
        assert!(matches!(region.histogram::<f64>("x", "", other), Err(RegisterError::Clash { .. })));
    }
    assert!(matches!(region.histogram::<u64>("x", "", Buckets::bounds([1.0, 2.0])), Err(RegisterError::Clash { .. })));
}

#[test]
fn what_has_no_meaning_is_dropped() {
    let region = region();
    let own = region.histogram::<f64>("own", "", Buckets::bounds([-1.0, 1.0])).expect("fits");
    for value in [f64::NAN, -f64::NAN, -2.0, -1.0, -0.0, f64::NEG_INFINITY] {
        own.observe(value);
    }
    assert_eq!(own.buckets(), [(-1.0, 3), (1.0, 1), (f64::INFINITY, 0)]);
    assert_eq!(own.sum(), f64::NEG_INFINITY);
    let native = region.exponential_histogram("native", "", Buckets::exponential(0, 1.0..=2.0)).expect("fits");
    for value in [f64::NAN, -1.0, f64::NEG_INFINITY, -5e-324, -0.0, 0.0] {
        native.observe(value);
    }
    assert_eq!(native.buckets(), [(1.0, 2), (2.0, 0), (f64::INFINITY, 0)]);
    native.observe(f64::INFINITY);
    assert_eq!((native.count(), native.sum()), (3, f64::INFINITY));
}

#[test]
fn series_of_a_family_do_not_touch_each_other() {
    let region = region();
    let desc = || Desc::new("reply_seconds", "").unit("seconds").buckets(Buckets::bounds([0.001, 0.01]));
    let replies: Family<DurationHistogram, Verb> = region.family(desc()).expect("fits");
    let after = region.counter("after_total", "").expect("fits");
    after.inc();
    replies.at(Verb::Get).observe_ns(u64::MAX);
    replies.at(Verb::Put).observe_ns(0);
    replies.at(Verb::Put).observe_ns(1_000_001);
    assert_eq!(replies.at(Verb::Get).buckets(), [(0.001, 0), (0.01, 0), (f64::INFINITY, 1)]);
    assert_eq!(replies.at(Verb::Put).buckets(), [(0.001, 1), (0.01, 1), (f64::INFINITY, 0)]);
    assert_eq!(after.get(), 1);
    let needs = Family::<DurationHistogram, Verb>::needs(&desc());
    assert_eq!((needs.series, needs.cells, needs.bounds, needs.shared), (2, 8, 2, 0));
}

#[test]
fn defaults_and_sizes() {
    assert_eq!(size_of::<Histogram>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<ExponentialDurationHistogram>(), 2 * size_of::<usize>());
    let needs = ExponentialHistogram::needs(&Desc::new("x", ""));
    assert_eq!((needs.cells, needs.bounds), (214 + 3, 0));
    let merged = Desc::new("x_seconds", "").aggregation(Aggregation::Sum);
    let native: ExponentialDurationHistogram = region().register(merged).expect("schema 3 over 1 us to 100 s");
    native.observe_ns(1_000);
    native.observe_ns(1_001);
    native.observe_ns(200_000_000_000);
    let buckets = native.buckets();
    assert_eq!((buckets.len(), buckets[0], buckets[215]), (216, (1e-6, 1), (f64::INFINITY, 1)));
    assert_eq!(buckets[1].1, 1);
}

/// More threads than lanes: the extra ones share lane 0, and nothing is lost.
#[test]
fn threads_without_a_lane_count_exactly() {
    const THREADS: u64 = 40;
    const EACH: u64 = 2_000;
    let region = Region::builder("crowd").private().expect("private memory");
    let shares = region.histogram::<f64>("shares", "", Buckets::bounds([10.0, 20.0, 30.0])).expect("fits");
    let whole = region.histogram::<u64>("whole", "", Buckets::bounds([10.0, 20.0, 30.0])).expect("fits");
    let together = std::sync::Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let together = &together;
            scope.spawn(move || {
                tachograph::enter_thread();
                together.wait();
                for _ in 0..EACH {
                    shares.observe(thread as f64);
                    whole.observe(thread);
                }
                together.wait();
            });
        }
    });
    let expected = [(10.0, 11 * EACH), (20.0, 10 * EACH), (30.0, 10 * EACH), (f64::INFINITY, 9 * EACH)];
    assert_eq!((shares.buckets(), whole.buckets()), (expected.to_vec(), expected.to_vec()));
    let sum = THREADS * (THREADS - 1) / 2 * EACH;
    assert_eq!((shares.sum(), whole.sum()), (sum as f64, sum));
}
