//! Histograms: observations counted in buckets, with their sum. No count is stored: it is the sum of the buckets, so
//! that the two can't disagree.

mod duration;
pub(crate) mod edges;
mod exponential;
mod recorder;
mod search;

use tachograph_layout::{Kind, Number, ShapedBlock, WriterMap};

pub(crate) use duration::nanoseconds;
pub use duration::{DurationHistogram, ExponentialDurationHistogram};
pub use exponential::ExponentialHistogram;
pub(crate) use search::Search;

use crate::Desc;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use edges::Raw;
use recorder::Recorder;
use search::Sample;

/// A histogram with bounds of one's own, of `f64` or of `u64`.
///
/// An observation is in the first bucket whose bound it does not exceed (`le`: bounds are inclusive), and in `+Inf`
/// where it exceeds all. Every value counts, negative ones too, but NaN: that is dropped, and the region counts it as a
/// dropped observation. An infinity counts in the last (or the first) bucket and makes the sum infinite for good, as it
/// does in Prometheus' own libraries. A `u64` sum wraps.
///
/// What another process can observe: the bucket is stored before the sum, so a process that is killed has every
/// observation in a bucket, and lacks at most each thread's last one in the sum. Relaxed: it publishes no other memory.
///
/// ```
/// use tachograph::{Buckets, Region};
/// let region = Region::private("doc")?;
/// let sizes = region.histogram::<u64>("app_reply_bytes", "Size of replies", Buckets::bounds([100.0, 1000.0]))?;
/// sizes.observe(100);
/// sizes.observe(101);
/// assert_eq!(sizes.buckets(), [(100.0, 1), (1000.0, 1), (f64::INFINITY, 0)]);
/// assert_eq!((sizes.count(), sizes.sum()), (2, 201));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Histogram<N: HistogramNumber = f64>(Recorder<N>);

/// The numbers that a [`Histogram`] may count: `f64` and `u64`. Sealed.
///
/// ```
/// use tachograph::{Buckets, Histogram, HistogramNumber, Region};
/// fn sizes<N: HistogramNumber>(region: &Region) -> Result<Histogram<N>, tachograph::RegisterError> {
///     region.histogram("app_sizes_bytes", "Sizes of requests", Buckets::bounds([100.0, 1_000.0]))
/// }
/// sizes::<u64>(&Region::private("doc")?)?.observe(512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait HistogramNumber: Sample {}

impl HistogramNumber for f64 {}
impl HistogramNumber for u64 {}

impl<N: HistogramNumber> Histogram<N> {
    /// Counts a value.
    #[inline]
    pub fn observe(self, value: N) {
        if value.is_number() {
            self.0.record(value);
        } else {
            self.0.drop_observation();
        }
    }

    /// How many values were counted. Reads every lane that was ever used, as all below do: not for hot loops.
    #[must_use]
    pub fn count(self) -> u64 {
        self.0.count()
    }

    /// The sum of the values.
    #[must_use]
    pub fn sum(self) -> N {
        self.0.sum()
    }

    /// Each bucket's upper bound and how many values are in it and in no lower one; the last is +Inf.
    #[must_use]
    pub fn buckets(self) -> Vec<(f64, u64)> {
        self.0.buckets()
    }
}

#[cfg(feature = "metrics")]
impl Histogram {
    /// As observing the value so many times.
    pub(crate) fn observe_many(self, value: f64, times: u64) {
        match times {
            0 => {}
            _ if value.is_nan() => self.0.drop_observations(times),
            _ => self.0.record_many(value, times, value * times as f64),
        }
    }
}

impl<N: HistogramNumber> Handle for Histogram<N> {
    const KIND: Kind = Kind::HistogramBounds;
    const NUMBER: Number = N::NUMBER;
    type Block = ShapedBlock<Search>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        edges::own(desc, if N::NUMBER == Number::F64 { Raw::Float } else { Raw::Whole })
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.shaped_block(place.first, place.series, place.search?)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(Recorder::new(block.series(series)))
    }
}

impl Search {
    /// The search for a family's buckets, by its number.
    pub(crate) fn of(number: Number, shape: &Shape) -> Self {
        match number {
            Number::F64 => Self::new::<f64>(&shape.edges, &shape.uppers),
            Number::U64 | Number::I64 => Self::new::<u64>(&shape.edges, &shape.uppers),
        }
    }
}
