//! Exact sums whatever the threads do: more threads than lanes, short threads, writes from destructors.

use std::cell::Cell;
use std::sync::{Barrier, Mutex, OnceLock};

use tachograph::{Counter, FloatCounter, Region, UpDownCounter, WatermarkMax};

/// One process constant for all tests of this file: few lanes, so that threads run out of them.
fn region(name: &str) -> Region {
    Region::builder(name).lanes(4).private().expect("private memory")
}

#[test]
fn more_threads_than_lanes_count_exactly() {
    let region = region("crowd");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let spent = region.float_counter("app_spent_seconds_total", "Time spent").expect("a float counter");
    let live = region.updown_counter("app_live", "Live requests").expect("an up-down counter");
    let peak = region.watermark_max("app_peak", "Largest").expect("a watermark");
    let start = Barrier::new(12);
    std::thread::scope(|scope| {
        for thread in 0..12_i64 {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for step in 0..20_000_i64 {
                    served.inc();
                    spent.add(0.5);
                    live.add(2);
                    live.dec();
                    peak.record(thread * 100_000 + step);
                }
            });
        }
    });
    assert_eq!(served.get(), 240_000);
    assert_eq!(spent.get(), 120_000.0);
    assert_eq!(live.get(), 240_000);
    assert_eq!(peak.get(), Some(1_119_999));
    assert_eq!(peak.since_start().map(|(value, _)| value), Some(1_119_999));
}

#[test]
fn ten_thousand_short_threads_count_exactly() {
    let region = region("short");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    for _ in 0..1_000 {
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(move || served.add(3));
            }
        });
    }
    assert_eq!(served.get(), 30_000);
}

/// Writes when its thread ends: before or after the lane was given back, both must count.
struct LastWords(Counter, FloatCounter, UpDownCounter);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.inc();
        self.1.add(1.0);
        self.2.inc();
    }
}

thread_local! {
    static FIRST: Cell<Option<LastWords>> = const { Cell::new(None) };
    static SECOND: Cell<Option<LastWords>> = const { Cell::new(None) };
}

#[test]
fn destructors_of_thread_locals_write_exactly() {
    let region = region("destructors");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let spent = region.float_counter("app_spent_seconds_total", "Time spent").expect("a float counter");
    let live = region.updown_counter("app_live", "Live requests").expect("an up-down counter");
    let words = || Some(LastWords(served, spent, live));
    for _ in 0..500 {
        std::thread::scope(|scope| {
            let threads: [_; 6] = std::array::from_fn(|_| {
                scope.spawn(|| {
                    // One thread-local is set up before the lane is claimed, one after: destructors run in turn.
                    FIRST.set(words());
                    served.inc();
                    SECOND.set(words());
                })
            });
            // The scope's own end waits for the closures only; joining waits for the destructors too.
            for thread in threads {
                thread.join().expect("no panic");
            }
        });
    }
    assert_eq!(served.get(), 9_000);
    assert_eq!(spent.get(), 6_000.0);
    assert_eq!(live.get(), 6_000);
}

#[test]
fn several_regions_share_a_threads_lane() {
    let regions: Vec<Region> = (0..5).map(|index| region(&format!("many-{index}"))).collect();
    let counters: Vec<Counter> = regions
        .iter()
        .map(|region| region.counter("app_served_total", "Requests served").expect("a counter"))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for step in 0..10_000_u64 {
                    counters[step as usize % counters.len()].add(step);
                }
            });
        }
    });
    let total: u64 = counters.iter().map(|counter| counter.get()).sum();
    assert_eq!(total, 8 * (0..10_000_u64).sum::<u64>());
}

/// A lane is the process's: claimed for one region, it serves every later one, also one that is built meanwhile.
#[test]
fn regions_built_while_threads_write_are_counted_exactly() {
    let first = region("built-first");
    let served = first.counter("app_served_total", "Requests served").expect("a counter");
    let later: OnceLock<[Counter; 20]> = OnceLock::new();
    let claimed = Barrier::new(7);
    std::thread::scope(|scope| {
        // More threads than lanes: some own one, some share.
        for _ in 0..6 {
            scope.spawn(|| {
                served.inc();
                claimed.wait();
                let counters = loop {
                    served.inc();
                    if let Some(counters) = later.get() {
                        break counters;
                    }
                };
                for step in 0..20_000_u64 {
                    counters[step as usize % counters.len()].add(step);
                    served.inc();
                }
            });
        }
        claimed.wait();
        let build = |index: usize| {
            let region = region(&format!("built-later-{index}"));
            region.counter("app_served_total", "Requests served").expect("a counter")
        };
        later.set(std::array::from_fn(build)).expect("set once");
    });
    let total: u64 = later.get().expect("set above").iter().map(|counter| counter.get()).sum();
    assert_eq!(total, 6 * (0..20_000_u64).sum::<u64>());
    assert!(served.get() > 6 * 20_000);
}

#[test]
fn destructors_of_thread_locals_record_peaks() {
    struct Peak(WatermarkMax, i64);
    impl Drop for Peak {
        fn drop(&mut self) {
            self.0.record(self.1);
        }
    }
    thread_local! {
        static EARLY: Cell<Option<Peak>> = const { Cell::new(None) };
        static LATE: Cell<Option<Peak>> = const { Cell::new(None) };
    }
    let region = region("peaks");
    let [early, late] = ["app_early", "app_late"].map(|name| region.watermark_max(name, "Peak").expect("a watermark"));
    for round in 0..50_i64 {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                std::thread::spawn(move || {
                    EARLY.set(Some(Peak(early, round * 10 + thread)));
                    tachograph::enter_thread();
                    LATE.set(Some(Peak(late, round * 10 + thread)));
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let peak = Some(round * 10 + 5);
        assert_eq!((early.get(), late.get()), (peak, peak));
        assert_eq!([early, late].map(|mark| mark.since_start().map(|(value, _)| value)), [peak, peak]);
    }
}

#[test]
fn nan_and_negative_amounts_are_dropped() {
    let region = region("dropped");
    let spent = region.float_counter("app_spent_seconds_total", "Time spent").expect("a float counter");
    for amount in [f64::NAN, -1.0, f64::NEG_INFINITY, 0.0, -0.0, 2.0] {
        spent.add(amount);
    }
    assert_eq!(spent.get(), 2.0);
}

#[test]
fn saturating_gauges_stop_at_zero_under_threads() {
    let region = region("gauge");
    let level = region.gauge::<i64>("app_level", "Level").expect("a gauge");
    let lowest = Mutex::new(i64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    level.saturating_sub(2);
                    let now = level.get();
                    let mut lowest = lowest.lock().expect("no panic");
                    *lowest = now.min(*lowest);
                    level.inc();
                }
            });
        }
    });
    assert!(*lowest.lock().expect("no panic") >= 0);
    level.set(0);
    level.saturating_sub(5);
    level.inc();
    assert_eq!(level.get(), 1);
}
