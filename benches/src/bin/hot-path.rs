//! What `ci/hot_path.sh` disassembles: each kind of write through a held handle in a user's crate, in a default release
//! build. Every function is the symbol of one line there.

use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialHistogram, Family, Gauge, Histogram, LabelValue, Lease,
    OpenFamily, OpenRules, Region, UpDownCounter,
};

tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed", Late = "late" } }

#[inline(never)]
fn hot_path_in_the_executable(counter: Counter) {
    counter.inc();
}

#[inline(never)]
fn hot_path_of_a_closed_label(family: &Family<Counter, Outcome>, outcome: Outcome) {
    family.at(outcome).inc();
}

#[inline(never)]
fn hot_path_of_a_lease(lease: &Lease<Counter>) {
    lease.inc();
}

#[inline(never)]
fn hot_path_of_an_up(counter: UpDownCounter) {
    counter.inc();
}

#[inline(never)]
fn hot_path_of_a_down(counter: UpDownCounter) {
    counter.dec();
}

#[inline(never)]
fn hot_path_of_a_gauge(gauge: Gauge<i64>, value: i64) {
    gauge.set(value);
}

#[inline(never)]
fn hot_path_of_own_bounds(histogram: Histogram, value: f64) {
    histogram.observe(value);
}

#[inline(never)]
fn hot_path_of_an_exponential(histogram: ExponentialHistogram, value: f64) {
    histogram.observe(value);
}

#[inline(never)]
fn hot_path_of_a_duration(histogram: DurationHistogram, nanoseconds: u64) {
    histogram.observe_ns(nanoseconds);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let region = Region::private("hot-path")?;
    let desc = |name: &str| Desc::new(name, "Written by a bench");

    let counter = region.counter("bench_total", "Raised twice")?;
    for raise in [hot_path_in_the_executable, tachograph_benches::hot_path_in_a_library] {
        std::hint::black_box(raise as fn(Counter))(counter);
    }
    assert_eq!(counter.get(), 2);

    let family: Family<Counter, Outcome> = region.family(desc("bench_labelled_total"))?;
    Outcome::all().iter().for_each(|outcome| hot_path_of_a_closed_label(&family, *outcome));
    assert_eq!(Outcome::all().iter().map(|outcome| family.at(*outcome).get()).collect::<Vec<_>>(), [1; 3]);

    let open: OpenFamily<Counter, 1> = region.open_family(desc("bench_open_total"), ["peer"], OpenRules::new(10))?;
    let lease = open.with(["10.0.0.7"]);
    hot_path_of_a_lease(&lease);
    assert_eq!(lease.get(), 1);

    let updown = region.updown_counter("bench_updown", "Written by a bench")?;
    (0..3).for_each(|_| hot_path_of_an_up(updown));
    hot_path_of_a_down(updown);
    assert_eq!(updown.get(), 2);

    let gauge = region.gauge::<i64>("bench_gauge", "Written by a bench")?;
    hot_path_of_a_gauge(gauge, 17);
    assert_eq!(gauge.get(), 17);

    let own: Histogram = region.register(desc("bench_own").buckets(Buckets::bounds([1.0, 10.0])))?;
    let exponential: ExponentialHistogram = region.register(desc("bench_exponential"))?;
    [0.5, 2.0, 20.0].into_iter().for_each(|value| {
        hot_path_of_own_bounds(own, value);
        hot_path_of_an_exponential(exponential, value);
    });
    assert_eq!((own.sum(), exponential.sum()), (22.5, 22.5));

    let timed: DurationHistogram = region.register(desc("bench_seconds").buckets(Buckets::bounds([0.001, 1.0])))?;
    [1, 2_000_000, 2_000_000_000].into_iter().for_each(|value| hot_path_of_a_duration(timed, value));
    assert_eq!(timed.buckets().iter().map(|bucket| bucket.1).collect::<Vec<_>>(), [1; 3]);
    Ok(())
}
