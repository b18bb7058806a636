//! What a counter of any library can do, so that one generic loop measures all of them in the same shape.
//!
//! The floor is [`Plain`]: a relaxed load and store of a word, which compiles to one unlocked add.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tachograph::{Counter, Region};

/// A counter that can be raised by 1 and read back.
pub(crate) trait Bump: Clone + Send + Sync + 'static {
    /// Its library's name, in the results.
    const NAME: &'static str;

    /// `count` new counters at 0, beside each other as an application would have them.
    fn make(count: usize) -> Vec<Self>;

    /// What a thread does before its first bump.
    fn enter_thread() {}

    /// Adds 1.
    fn bump(&self);

    /// The value.
    fn total(&self) -> u64;
}

/// A word that is raised by a plain load and store: exact from one thread only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain(&'static AtomicU64);

impl Plain {
    /// One word for each of `count` threads, on cache lines of their own.
    pub(crate) fn apart(count: usize) -> Vec<Self> {
        Self::make(count * 32).into_iter().step_by(32).collect()
    }
}

impl Bump for Plain {
    const NAME: &'static str = "plain_add";

    fn make(count: usize) -> Vec<Self> {
        let words: &'static [AtomicU64] = (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        words.iter().map(Self).collect()
    }

    #[inline]
    fn bump(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn total(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Bump for Counter {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::private("bench").expect("private memory");
        let register = |index| region.counter(&format!("bench_{index}_total"), "Bumped by a bench").expect("room");
        (0..count).map(register).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn bump(&self) {
        self.inc();
    }

    fn total(&self) -> u64 {
        self.get()
    }
}

impl Bump for prometheus::IntCounter {
    const NAME: &'static str = "prometheus";

    fn make(count: usize) -> Vec<Self> {
        let make = |index| Self::new(format!("bench_{index}_total"), "Bumped by a bench").expect("a good name");
        (0..count).map(make).collect()
    }

    #[inline]
    fn bump(&self) {
        self.inc();
    }

    fn total(&self) -> u64 {
        self.get()
    }
}

impl Bump for prometheus_client::metrics::counter::Counter {
    const NAME: &'static str = "prometheus-client";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::default()).collect()
    }

    #[inline]
    fn bump(&self) {
        self.inc();
    }

    fn total(&self) -> u64 {
        self.get()
    }
}
