//! Watermarks: the largest value seen, in the last minute and since the start.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tachograph_layout::{Aggregation, Kind, LaneBlock, LaneCell, LaneCells, LaneOffset, Number, Ordered, WriterMap};

use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::tally::lanes;
use crate::window::raise_own;
use crate::{Desc, housekeeping, lane};

/// The largest of the `i64` values recorded.
///
/// Two windows of 60 s take turns; what is shown is the larger of the current one and the one before, so that no peak of
/// the last 60 s is missed (one of up to 120 s ago may still show). Beside them stands the largest since the start, with
/// its time to the second. `i64::MIN` is recorded as its neighbour.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let peak = region.watermark_max("app_queue_depth_peak", "Fullest queue")?;
/// assert_eq!(peak.get(), None);
/// peak.record(7);
/// peak.record(3);
/// assert_eq!(peak.get(), Some(7));
/// assert_eq!(peak.since_start().map(|(value, _when)| value), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Watermark(LaneCells<4>);

impl Watermark {
    /// Takes a value into account.
    #[inline]
    pub fn record(self, value: i64) {
        let lane = lane::current();
        if lane.is_shared() {
            self.record_slow(value);
        } else {
            self.record_own(lane, value);
        }
    }

    /// The largest value of at least the last 60 s; `None` where there was none.
    #[must_use]
    pub fn get(self) -> Option<i64> {
        let largest = lanes()
            .flat_map(|lane| [self.0.cell::<0>().at(lane).load(Relaxed), self.0.cell::<1>().at(lane).load(Relaxed)]);
        largest.max().and_then(Ordered::from_bits).map(Ordered::to_i64)
    }

    /// The largest value since the region was built, and when it was recorded.
    #[must_use]
    pub fn since_start(self) -> Option<(i64, SystemTime)> {
        let largest =
            lanes().map(|lane| (self.0.cell::<2>().at(lane).load(Relaxed), self.0.cell::<3>().at(lane).load(Relaxed)));
        let (bits, when) = largest.max()?;
        let when = UNIX_EPOCH + Duration::from_nanos(when);
        Ordered::from_bits(bits).map(|value| (value.to_i64(), when))
    }

    #[inline]
    fn window(self) -> LaneCell {
        if housekeeping::window() & 1 == 0 { self.0.cell::<0>() } else { self.0.cell::<1>() }
    }

    #[inline]
    fn record_own(self, lane: LaneOffset, value: i64) {
        let bits = Ordered::from_i64(value).bits();
        if raise_own(self.window().at(lane), bits) && raise_own(self.0.cell::<2>().at(lane), bits) {
            self.0.cell::<3>().at(lane).store(housekeeping::coarse_realtime_ns(), Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_slow(self, value: i64) {
        let lane = lane::claim();
        if !lane.is_shared() {
            return self.record_own(lane, value);
        }
        let bits = Ordered::from_i64(value).bits();
        self.window().at(lane).fetch_max(bits, Relaxed);
        if self.0.cell::<2>().at(lane).fetch_max(bits, Relaxed) < bits {
            self.0.cell::<3>().at(lane).store(housekeeping::coarse_realtime_ns(), Relaxed);
        }
    }
}

impl Handle for Watermark {
    const KIND: Kind = Kind::WatermarkMax;
    const NUMBER: Number = Number::I64;
    const AGGREGATION: Aggregation = Aggregation::Max;
    type Block = LaneBlock<4>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 4)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.lane_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(block.series(series))
    }
}
