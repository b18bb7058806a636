//! Exponential histograms: the buckets of Prometheus' native histograms, exactly.

use tachograph_layout::{Kind, Number, ShapedBlock, WriterMap};

use super::edges::{self, Raw};
use super::recorder::Recorder;
use super::search::Search;
use crate::Desc;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;

/// A histogram of `f64` in the buckets of Prometheus' native histograms, over a range; see
/// [`crate::Buckets::exponential`]. Where the description names no buckets: schema 3 over 1e-6 to 100, which suits
/// seconds and little else.
///
/// What is at or below the range's lower end is in the zero bucket, what is above the last bucket in `+Inf`: nothing is
/// lost but detail. NaN and negative values are dropped, and the region counts them as dropped observations. `+Inf`
/// counts, and makes the sum infinite for good. The order of stores is that of [`crate::Histogram`].
///
/// ```
/// use tachograph::{Buckets, Region};
/// let region = Region::private("doc")?;
/// let ratio = region.exponential_histogram("app_fill_ratio", "How full", Buckets::exponential(0, 0.125..=1.0))?;
/// for value in [0.0, 0.125, 0.2, 0.25, 1.0, 1.5, -1.0] {
///     ratio.observe(value);
/// }
/// assert_eq!(ratio.buckets(), [(0.125, 2), (0.25, 2), (0.5, 0), (1.0, 1), (f64::INFINITY, 1)]);
/// assert_eq!((ratio.count(), ratio.sum()), (6, 3.075));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ExponentialHistogram(Recorder<f64>);

impl ExponentialHistogram {
    /// Counts a value that is not negative.
    #[inline]
    pub fn observe(self, value: f64) {
        // Not `value < 0.0`: NaN must not pass. Minus zero does.
        if value >= 0.0 {
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
    pub fn sum(self) -> f64 {
        self.0.sum()
    }

    /// Each bucket's upper bound and how many values are in it and in no lower one; the first is the zero bucket, the
    /// last +Inf.
    #[must_use]
    pub fn buckets(self) -> Vec<(f64, u64)> {
        self.0.buckets()
    }
}

#[cfg(feature = "metrics")]
impl ExponentialHistogram {
    /// As observing the value so many times.
    pub(crate) fn observe_many(self, value: f64, times: u64) {
        match times {
            0 => {}
            _ if value >= 0.0 => self.0.record_many(value, times, value * times as f64),
            _ => self.0.drop_observations(times),
        }
    }
}

impl Handle for ExponentialHistogram {
    const KIND: Kind = Kind::HistogramExponential;
    const NUMBER: Number = Number::F64;
    type Block = ShapedBlock<Search>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        edges::exponential(desc, Raw::Float)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.shaped_block(place.first, place.series, place.search?)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(Recorder::new(block.series(series)))
    }
}
