//! Row `gauge_set`: setting a held gauge. Every turn proves that the last value stands.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tachograph::{Gauge, Region};

use crate::contest::{Contestant, Effort, Line, contest};

const ROW: &str = "gauge_set";

/// A gauge of any library.
trait Set: Copy + 'static {
    const NAME: &'static str;
    fn make() -> Self;
    fn set_to(&self, value: i64);
    fn value(&self) -> i64;
}

/// A word on a cache line of its own.
#[derive(Clone, Copy)]
struct Plain(&'static AtomicU64);

impl Set for Plain {
    const NAME: &'static str = "plain_store";

    fn make() -> Self {
        let words: &'static [AtomicU64] = (0..16).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        Self(&words[8])
    }

    #[inline]
    fn set_to(&self, value: i64) {
        self.0.store(value as u64, Relaxed);
    }

    fn value(&self) -> i64 {
        self.0.load(Relaxed) as i64
    }
}

impl Set for Gauge<i64> {
    const NAME: &'static str = "tachograph";

    fn make() -> Self {
        let region = Region::private("bench").expect("private memory");
        region.gauge("bench_depth", "Set by a bench").expect("room")
    }

    #[inline]
    fn set_to(&self, value: i64) {
        self.set(value);
    }

    fn value(&self) -> i64 {
        self.get()
    }
}

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let held = contest(ROW, "1t", effort, held::<Gauge<i64>>(), vec![held::<Plain>()]);
    let reloaded = contest(ROW, "1t_reloaded", effort, reloaded::<Gauge<i64>>(), vec![reloaded::<Plain>()]);
    held.into_iter().chain(reloaded).collect()
}

fn held<S: Set>() -> Contestant {
    let gauge = S::make();
    Contestant::new(S::NAME, move |operations| {
        proving(&gauge, operations, || {
            let gauge = black_box(gauge);
            let start = Instant::now();
            for value in 1..=operations as i64 {
                gauge.set_to(value);
            }
            start.elapsed()
        })
    })
}

fn reloaded<S: Set>() -> Contestant {
    let gauge = S::make();
    Contestant::new(S::NAME, move |operations| {
        proving(&gauge, operations, || {
            let start = Instant::now();
            for value in 1..=operations as i64 {
                black_box(&gauge).set_to(value);
            }
            start.elapsed()
        })
    })
}

/// Runs a turn, and asserts that the gauge holds what was set last.
fn proving<S: Set>(gauge: &S, operations: u64, turn: impl FnOnce() -> Duration) -> Duration {
    gauge.set_to(0);
    let took = turn();
    assert_eq!(gauge.value(), operations as i64, "{} does not hold the last value", S::NAME);
    took
}
