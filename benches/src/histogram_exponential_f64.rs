//! Row `histogram_exponential_f64`: one observation, an `f64`, into exponential buckets (schema 3, 1 us to 100 s).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::histogram::{Histogram as ClientHistogram, NativeHistogramConfig};
use tachograph::{Buckets, Desc, ExponentialHistogram, Region};

use crate::contest::{Effort, Line};
use crate::histogram_bounds_f64::client_count;
use crate::inputs::seconds;
use crate::modes::{Entry, row};
use crate::subject::Subject;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let entries = [
        Entry::of::<ExponentialHistogram>(),
        Entry::of::<Bare>(),
        Entry::of::<Client>(),
        Entry::of::<prometheus::Histogram>(),
    ];
    row("histogram_exponential_f64", effort, &entries)
}

impl Subject for ExponentialHistogram {
    const NAME: &'static str = "tachograph";

    fn make(count: usize) -> Vec<Self> {
        let region = Region::builder("bench").cells(32 * 1024).private().expect("private memory");
        let desc = |index| {
            let buckets = Buckets::exponential(3, 1e-6..=100.0);
            Desc::new(format!("bench_{index}_seconds"), "Filled by a bench").buckets(buckets)
        };
        (0..count).map(|index| region.register(desc(index)).expect("room")).collect()
    }

    fn enter_thread() {
        tachograph::enter_thread();
    }

    #[inline]
    fn act(&self, step: u64) {
        self.observe(seconds(step));
    }

    fn done(&self) -> u64 {
        self.count()
    }
}

/// Buckets of the floor: 256 from 2^-20 on, eight to a power of two, one below and one above; the sum is the last word.
const BUCKETS: usize = 258;

/// The floor: the bucket from the number's upper bits and a table of eight bounds, a plain add to the bucket and to the
/// sum; exact from one thread only.
#[derive(Clone, Copy)]
struct Bare(&'static [AtomicU64; BUCKETS + 30]);

/// 2^(n/8), the bounds within a power of two.
const STEPS: [f64; 8] = [
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    std::f64::consts::SQRT_2,
    1.5422108254079407,
    1.6817928305074292,
    1.8340080864093424,
];

impl Subject for Bare {
    const NAME: &'static str = "bare_histogram";
    const SAME_IS_ONE: bool = false;

    fn make(count: usize) -> Vec<Self> {
        let one = || Box::leak(Box::new([const { AtomicU64::new(0) }; BUCKETS + 30]));
        (0..count).map(|_| Self(one())).collect()
    }

    fn same(threads: usize) -> Vec<Self> {
        Self::make(threads)
    }

    #[inline]
    fn act(&self, step: u64) {
        let value = seconds(step);
        let bits = value.to_bits();
        let exponent = (bits >> 52) as i64 - 1023 + 20;
        let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
        let within = STEPS.iter().map(|bound| i64::from(mantissa > *bound)).sum::<i64>();
        let bucket = (exponent * 8 + within + 1).clamp(0, BUCKETS as i64 - 1) as usize;
        let (bucket, sum) = (&self.0[bucket], &self.0[BUCKETS]);
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        sum.store((f64::from_bits(sum.load(Relaxed)) + value).to_bits(), Relaxed);
    }

    fn done(&self) -> u64 {
        self.0[..BUCKETS].iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

/// The native histogram of `prometheus-client`, of the same schema.
#[derive(Clone)]
struct Client(ClientHistogram);

impl Subject for Client {
    const NAME: &'static str = "prometheus-client";

    fn make(count: usize) -> Vec<Self> {
        let make = |_| Self(ClientHistogram::new_native(NativeHistogramConfig::with_schema(3)));
        (0..count).map(make).collect()
    }

    #[inline]
    fn act(&self, step: u64) {
        self.0.observe(seconds(step));
    }

    fn done(&self) -> u64 {
        client_count(&self.0)
    }
}
