//! Row `histogram_duration_ns`: one duration in whole nanoseconds, into eleven buckets with bounds of their own (or, for
//! those peers that can only do that, into theirs).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tachograph::{Buckets, Desc, DurationHistogram, Region};

use crate::contest::{Effort, Line};
use crate::inputs::{BOUNDS, nanoseconds};
use crate::modes::{Entry, row};
use crate::subject::Subject;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries =
        [Entry::of::<DurationHistogram>(), Entry::of::<Bare>(), Entry::of::<Metriken>(), Entry::of::<Prometheus>()];
    row("histogram_duration_ns", effort, &entries)
}

impl Subject for DurationHistogram {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::builder("bench").cells(4096).private().expect("private memory");
        let desc = |index| {
            let buckets = Buckets::bounds(BOUNDS);
            Desc::new(format!("bench_{index}_seconds"), "Filled by a bench").unit("seconds").buckets(buckets)
        };
        (0..count).map(|index| region.register(desc(index)).expect("room")).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn act(&self, step: u64) {
        self.observe_ns(nanoseconds(step));
    }

    fn done(&self) -> u64 {
        self.count()
    }
}

/// The floor: a search of whole bounds, a plain add to the bucket and to the sum; exact from one thread only.
#[derive(Clone, Copy)]
struct Bare(&'static [AtomicU64; 48]);

/// The bounds in nanoseconds.
const WHOLE: [u64; 11] = {
    let mut whole = [0; 11];
    let mut index = 0;
    while index < BOUNDS.len() {
        whole[index] = (BOUNDS[index] * 1e9) as u64;
        index += 1;
    }
    whole
};

impl Subject for Bare {
    const NAME: &'static str = "bare_histogram";
    const SAME_IS_ONE: bool = false;

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self(Box::leak(Box::new([const { AtomicU64::new(0) }; 48])))).collect()
    }

    fn same(threads: usize) -> Vec<Self> {
        Self::make(threads)
    }

    #[inline]
    fn act(&self, step: u64) {
        let value = nanoseconds(step);
        let bucket = WHOLE.iter().map(|bound| usize::from(value > *bound)).sum::<usize>();
        let (bucket, sum) = (&self.0[bucket], &self.0[12]);
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        sum.store(sum.load(Relaxed).wrapping_add(value), Relaxed);
    }

    fn done(&self) -> u64 {
        self.0[..12].iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

/// Its own buckets, eight to a power of two; it keeps no sum.
#[derive(Clone, Copy)]
struct Metriken(&'static metriken::AtomicCounterHistogram);

impl Subject for Metriken {
    const NAME: &'static str = "metriken";

    fn make(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self(Box::leak(Box::new(metriken::AtomicCounterHistogram::new(3, 64))))).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        let counted = self.0.increment(nanoseconds(step));
        debug_assert!(counted.is_ok(), "every value has a bucket");
    }

    fn done(&self) -> u64 {
        self.0.load().map_or(0, |histogram| histogram.into_iter().map(|bucket| bucket.count()).sum())
    }
}

/// Its seconds, as it takes no other unit.
#[derive(Clone)]
struct Prometheus(prometheus::Histogram);

impl Subject for Prometheus {
    const NAME: &'static str = "prometheus";

    fn make(count: usize) -> Vec<Self> {
        prometheus::Histogram::make(count).into_iter().map(Self).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.0.observe(nanoseconds(step) as f64 / 1e9);
    }

    fn done(&self) -> u64 {
        self.0.get_sample_count()
    }
}
