//! Open families through the public API: slots handed on clean in every kind, budgets, errors, threads, allocations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, FloatCounter, Gauge,
    Histogram, Lease, Metric, OpenFamily, OpenRules, Region, RegisterError, StateSet, UpDownCounter, WatermarkMax,
    WatermarkMin, enter_thread,
};

tachograph::label_value! {
    #[derive(Debug)]
    enum Phase: "phase" { Starting = "starting", Up = "up" }
}

fn region(name: &str) -> Region {
    Region::builder(name).lanes(16).private().unwrap()
}

/// A family of one label set at a time, whose slot is free for the next as soon as it is dropped.
fn narrow<M: Metric>(region: &Region, name: &str) -> OpenFamily<M, 1> {
    region.open_family(Desc::new(name, "help"), ["peer"], OpenRules::new(1).linger(Duration::ZERO)).unwrap()
}

fn buckets_hand_on_clean<M: Metric, V: PartialEq + std::fmt::Debug>(
    buckets: Buckets,
    write: impl Fn(&Lease<M>) + Sync,
    read: impl Fn(&Lease<M>) -> V,
) {
    let desc = Desc::new("h_seconds", "help").unit("seconds").buckets(buckets);
    hands_on_clean_as::<M, V>(desc, write, read);
}

fn hands_on_clean<M: Metric, V: PartialEq + std::fmt::Debug>(
    name: &str,
    write: impl Fn(&Lease<M>) + Sync,
    read: impl Fn(&Lease<M>) -> V,
) {
    hands_on_clean_as::<M, V>(Desc::new(name, "help"), write, read);
}

/// Writes a series from several threads, some of which share lane 0, and gives its slot to another label set.
fn hands_on_clean_as<M: Metric, V: PartialEq + std::fmt::Debug>(
    desc: Desc,
    write: impl Fn(&Lease<M>) + Sync,
    read: impl Fn(&Lease<M>) -> V,
) {
    let region = region("kinds");
    let name = format!("{desc:?}");
    let family: OpenFamily<M, 1> =
        region.open_family(desc, ["peer"], OpenRules::new(1).linger(Duration::ZERO)).unwrap();
    let lease = family.with(["first"]);
    let fresh = read(&lease);
    // More threads at once than lanes.
    let all = Barrier::new(20);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let (clone, all, write) = (lease.clone(), &all, &write);
            scope.spawn(move || {
                write(&clone);
                all.wait();
            });
        }
    });
    assert_ne!(read(&lease), fresh, "{name}: the threads wrote");
    drop(lease);
    let next = family.with(["second"]);
    assert!(!next.is_overflow(), "{name}: the slot is free");
    assert_eq!(read(&next), fresh, "{name}: nothing of the first series is left");
    write(&next);
    assert_ne!(read(&next), fresh);
}

#[test]
fn histograms_hand_their_slots_on_clean() {
    let (own, exponential) = (Buckets::bounds([1.0, 2.0]), Buckets::exponential(2, 0.5..=8.0));
    buckets_hand_on_clean::<Histogram<f64>, _>(
        own.clone(),
        |lease| [0.5, 1.5, 9.0].into_iter().for_each(|value| lease.observe(value)),
        |lease| (lease.count(), lease.buckets(), lease.sum().to_bits()),
    );
    buckets_hand_on_clean::<Histogram<u64>, _>(
        own.clone(),
        |lease| [1, 2, 9].into_iter().for_each(|value| lease.observe(value)),
        |lease| (lease.count(), lease.buckets(), lease.sum()),
    );
    buckets_hand_on_clean::<ExponentialHistogram, _>(
        exponential.clone(),
        |lease| [0.1, 1.5, 99.0].into_iter().for_each(|value| lease.observe(value)),
        |lease| (lease.count(), lease.buckets(), lease.sum().to_bits()),
    );
    let observe = |nanoseconds| Duration::from_nanos(nanoseconds);
    buckets_hand_on_clean::<DurationHistogram, _>(
        own,
        |lease| [5, 1_500_000_000, 9_000_000_000].into_iter().for_each(|value| lease.observe(observe(value))),
        |lease| (lease.count(), lease.buckets(), lease.sum()),
    );
    buckets_hand_on_clean::<ExponentialDurationHistogram, _>(
        exponential,
        |lease| [5, 1_500_000_000, 99_000_000_000].into_iter().for_each(|value| lease.observe(observe(value))),
        |lease| (lease.count(), lease.buckets(), lease.sum()),
    );
}

#[test]
fn a_timer_keeps_its_series() {
    let region = region("timer");
    let desc = Desc::new("t_seconds", "help").unit("seconds").buckets(Buckets::bounds([1e-9]));
    let family: OpenFamily<DurationHistogram, 1> =
        region.open_family(desc, ["peer"], OpenRules::new(1).linger(Duration::ZERO)).unwrap();
    let timer = family.with(["a"]).start_timer();
    assert!(family.with(["b"]).is_overflow());
    drop(timer);
    assert_eq!(family.with(["a"]).count(), 1);
    assert_eq!(family.with(["b"]).count(), 0);
    assert_eq!(family.with(["b"]).time(|| 7), 7);
    assert_eq!(family.with(["b"]).count(), 1);
}

#[test]
fn every_kind_hands_its_slots_on_clean() {
    hands_on_clean::<Counter, _>("k_total", |lease| lease.add(3), Lease::<Counter>::get);
    hands_on_clean::<FloatCounter, _>("k_seconds_total", |lease| lease.add(0.5), Lease::<FloatCounter>::get);
    hands_on_clean::<Gauge<i64>, _>("k_depth", |lease| lease.add(2), Lease::<Gauge<i64>>::get);
    hands_on_clean::<Gauge<f64>, _>("k_ratio", |lease| lease.set(0.5), Lease::<Gauge<f64>>::get);
    // Ups alone would read as a level even if the downs were not cleared; so both, unequal.
    let up_down = |lease: &Lease<UpDownCounter>| {
        lease.add(5);
        lease.sub(2);
    };
    hands_on_clean::<UpDownCounter, _>("k_in_flight", up_down, Lease::<UpDownCounter>::get);
    hands_on_clean::<WatermarkMin<f64>, _>(
        "k_least",
        |lease| lease.record(0.5),
        |lease| (lease.get(), lease.since_start().map(|(value, _)| value)),
    );
    hands_on_clean::<StateSet<Phase>, _>("k_phase", |lease| lease.enable(Phase::Up), Lease::<StateSet<Phase>>::states);
    hands_on_clean::<WatermarkMax, _>(
        "k_peak",
        |lease| lease.record(7),
        |lease| (lease.get(), lease.since_start().map(|(value, _)| value)),
    );
}

#[test]
fn a_series_that_is_taken_again_keeps_its_value() {
    let region = region("revived");
    let family: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("r_total", "help"), ["route", "peer"], OpenRules::new(2)).unwrap();
    family.with(["/a", "1"]).add(4);
    family.with(["/a", "2"]).add(5);
    assert_eq!(family.with(["/a", "1"]).get(), 4);
    assert!(family.with(["/a", "3"]).is_overflow(), "both slots linger");
    assert_eq!(family.with(["/a", "2"]).get(), 5);
    // Label values are told apart whatever is in them.
    let tricky: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("t_total", "help"), ["a", "b"], OpenRules::new(8)).unwrap();
    let leases = [["x", "y"], ["x\",b=\"y", ""], ["", "x\",b=\"y"], ["y", "x"]].map(|values| tricky.with(values));
    leases.iter().for_each(Lease::<Counter>::inc);
    assert!(leases.iter().all(|lease| lease.get() == 1 && !lease.is_overflow()));
}

#[test]
fn a_guard_keeps_its_series() {
    let region = region("guard");
    let family = narrow::<UpDownCounter>(&region, "g_in_flight");
    let guard = family.with(["a"]).guard();
    assert!(family.with(["b"]).is_overflow());
    assert_eq!(family.with(["a"]).get(), 1);
    drop(guard);
    let next = family.with(["b"]);
    assert!(!next.is_overflow());
    assert_eq!(next.get(), 0);
}

#[test]
fn registered_again_it_is_the_same_family_and_anything_else_clashes() {
    let region = region("clash");
    let desc = || Desc::new("c_total", "help");
    let rules = OpenRules::new(4);
    let family: OpenFamily<Counter, 1> = region.open_family(desc(), ["peer"], rules).unwrap();
    let again: OpenFamily<Counter, 1> = region.open_family(desc(), ["peer"], rules).unwrap();
    let lease = family.with(["a"]);
    again.with(["a"]).inc();
    assert_eq!(lease.get(), 1);

    let message = |result: Result<(), RegisterError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, RegisterError::Clash { .. }), "{error}");
        error.to_string()
    };
    let open = |labels, rules| region.open_family::<Counter, 1>(desc(), labels, rules).map(drop);
    assert!(message(open(["peer"], OpenRules::new(5))).contains("(6 series)"));
    assert!(message(open(["peer"], rules.linger(Duration::from_secs(1)))).contains("linger of 1s"));
    assert!(message(open(["peer"], rules.label_area(64))).contains("areas of 64 bytes"));
    assert!(message(open(["route"], rules)).contains("by route"));
    assert!(message(region.counter("c_total", "help").map(drop)).contains("by peer"));
}

#[test]
fn what_does_not_fit_or_can_not_be_shown_is_an_error() {
    let region = Region::builder("errors").lanes(16).series(100).private().unwrap();
    let open = |label, rules| {
        region.open_family::<Counter, 1>(Desc::new("e_total", "help"), [label], rules).unwrap_err().to_string()
    };
    let too_many = open("peer", OpenRules::new(100));
    assert!(too_many.contains("101 more series") && too_many.contains("`series`"), "{too_many}");
    let too_long = open("peer", OpenRules::new(8).label_area(16_384));
    assert!(too_long.contains("147456 more label bytes") && too_long.contains("`label_bytes`"), "{too_long}");
    assert!(open("peer", OpenRules::new(u32::MAX)).contains("series"));
    assert!(open("overflow", OpenRules::new(1)).contains("choose another name"));
    assert!(open("le", OpenRules::new(1)).contains("reserved"));
    // Nothing of it was registered.
    region.open_family::<Counter, 1>(Desc::new("e_total", "help"), ["peer"], OpenRules::new(7)).unwrap();
}

/// Counts the warnings that are said in it, and keeps the family each was about.
#[derive(Default, Clone)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn past_the_budget_all_share_one_series_and_it_is_said_once() {
    let warnings = Warnings::default();
    let said = Arc::clone(&warnings.0);
    tracing::subscriber::with_default(warnings, || {
        let region = region("budget");
        let rules = OpenRules::new(2).label_area(32);
        let family: OpenFamily<Counter, 1> = region.open_family(Desc::new("b_total", "help"), ["peer"], rules).unwrap();
        let _held = [family.with(["a"]), family.with(["b"])];
        let beyond: Vec<_> = ["c", "d", "c"].map(|peer| family.with([peer])).into();
        beyond.iter().for_each(Lease::<Counter>::inc);
        assert!(beyond.iter().all(|lease| lease.is_overflow() && lease.get() == 3));
        drop(beyond);
        for _ in 0..2 {
            assert_eq!(family.with(["longer than an area of 32 bytes"]).get(), 3, "it shares that series, too");
        }
        let nothing: OpenFamily<Counter, 1> =
            region.open_family(Desc::new("n_total", "help"), ["peer"], OpenRules::new(0)).unwrap();
        assert!(nothing.with(["a"]).is_overflow());
    });
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("b_total") && said[0].contains("budget"), "{said:?}");
    assert!(said[1].contains("b_total") && said[1].contains("label area"), "{said:?}");
    assert!(said[2].contains("n_total"), "{said:?}");
}

#[test]
fn a_closed_region_gives_out_the_overflow_series_and_changes_no_other() {
    let region = region("closed");
    let family = narrow::<Counter>(&region, "l_total");
    let lease = family.with(["a"]);
    lease.add(3);
    region.close();
    assert!(family.with(["a"]).is_overflow() && family.with(["b"]).is_overflow());
    lease.inc();
    assert_eq!(lease.get(), 4);
    drop(lease);
    family.with(["b"]).inc();
}

/// Taking a set that is leased, cloning, dropping a clone and writing allocate nothing, in any thread.
#[test]
fn a_set_that_exists_is_taken_without_allocating() {
    let region = region("allocations");
    let family: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("a_total", "help"), ["route", "peer"], OpenRules::new(3)).unwrap();
    let lease = family.with(["/a\"\\\n", "10.0.0.7"]);
    let revived = ["/b", "10.0.0.8"];
    drop(family.with(revived));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                enter_thread();
                let counted = allocation_counter::measure(|| {
                    for _ in 0..100 {
                        let again = family.with(["/a\"\\\n", "10.0.0.7"]);
                        again.clone().inc();
                        // Revived and retired again each time.
                        family.with(revived).inc();
                    }
                });
                assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
            });
        }
    });
    assert_eq!(lease.get(), 200);
    let new = allocation_counter::measure(|| drop(family.with(["/c", "10.0.0.9"])));
    assert!(new.count_total > 0, "the counter counts");
}

/// Four threads take, write and drop label sets of their own and shared ones, with slots handed on all the time. What a
/// thread wrote to a set that only it has is what it reads; what all wrote to a set that is never dropped is their sum.
#[test]
fn threads_never_meet_in_a_series_that_is_not_theirs() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 20_000;
    let region = region("threads");
    let rules = OpenRules::new(6).linger(Duration::ZERO);
    let family: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("m_total", "help"), ["thread", "n"], rules).unwrap();
    let shared = family.with(["all", ""]);
    let overflowed = AtomicUsize::new(0);
    let overflow = Mutex::new(0_u64);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (shared, overflowed, overflow) = (shared.clone(), &overflowed, &overflow);
            scope.spawn(move || {
                let name = thread.to_string();
                let mut written: HashMap<String, u64> = HashMap::new();
                for round in 0..ROUNDS {
                    shared.inc();
                    let n = (round % 7).to_string();
                    let lease = family.with([&name, &n]);
                    let amount = round as u64 + 1;
                    if lease.is_overflow() {
                        overflowed.fetch_add(1, Relaxed);
                        *overflow.lock().unwrap() += amount;
                        lease.add(amount);
                        continue;
                    }
                    // Revived with the value that this thread left, or new at 0.
                    let before = lease.get();
                    assert!(before == 0 || before == written[&n], "{name},{n}: {before}");
                    let clone = lease.clone();
                    lease.add(amount);
                    drop(lease);
                    assert_eq!(clone.get(), before + amount);
                    written.insert(n, before + amount);
                }
            });
        }
    });
    assert_eq!(shared.get(), (THREADS * ROUNDS) as u64);
    let held: Vec<_> = (0..5).map(|n| family.with(["held", &n.to_string()])).collect();
    assert!(held.iter().all(|lease| !lease.is_overflow() && lease.get() == 0));
    let beyond = family.with(["one", "more"]);
    assert!(beyond.is_overflow());
    assert_eq!(beyond.get(), *overflow.lock().unwrap());
}

/// Threads take and drop the same few sets at the same moments: a set that one of them still holds is never retired by
/// another that was slow to say so, and so never given away.
#[test]
fn a_set_that_is_held_is_never_given_away() {
    let region = region("same");
    let rules = OpenRules::new(2).linger(Duration::ZERO);
    let family: OpenFamily<Counter, 1> = region.open_family(Desc::new("s_total", "help"), ["peer"], rules).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            scope.spawn(move || {
                for round in 0..100_000 {
                    let lease = family.with([["a", "b", "c"][(thread + round) % 3]]);
                    if !lease.is_overflow() {
                        let before = lease.get();
                        lease.inc();
                        assert!(lease.get() > before, "its cells were cleared");
                    }
                }
            });
        }
    });
}
