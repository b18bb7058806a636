//! Watermarks: the largest or the smallest value seen, in the last minute and since the start.

use std::marker::PhantomData;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tachograph_layout::{Aggregation, Kind, LaneBlock, LaneCell, LaneCells, LaneOffset, Number, Ordered, WriterMap};

use crate::gauge::GaugeNumber;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::tally::lanes;
use crate::window::raise_own;
use crate::{Desc, housekeeping, lane};

/// The cells of one watermark: window 0, window 1, the extreme since the start, its time. The larger word is the more
/// extreme one; `LOW` turns the order of values over, so that the smallest has the largest word.
#[derive(Debug)]
struct Extreme<N, const LOW: bool> {
    cells: LaneCells<4>,
    number: PhantomData<N>,
}

impl<N, const LOW: bool> Clone for Extreme<N, LOW> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N, const LOW: bool> Copy for Extreme<N, LOW> {}

impl<N: GaugeNumber, const LOW: bool> Extreme<N, LOW> {
    #[inline]
    fn record(self, value: N) {
        let Some(ordered) = value.ordered() else { return self.drop_observation() };
        let bits = if LOW { ordered.reversed().bits() } else { ordered.bits() };
        let lane = lane::current();
        if lane.is_shared() {
            self.record_slow(bits);
        } else {
            self.record_own(lane, bits);
        }
    }

    #[inline]
    fn window(self) -> LaneCell {
        if housekeeping::window() & 1 == 0 { self.cells.cell::<0>() } else { self.cells.cell::<1>() }
    }

    #[inline]
    fn record_own(self, lane: LaneOffset, bits: u64) {
        if raise_own(self.window().at(lane), bits) && raise_own(self.cells.cell::<2>().at(lane), bits) {
            self.cells.cell::<3>().at(lane).store(housekeeping::coarse_realtime_ns(), Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_slow(self, bits: u64) {
        let lane = lane::claim();
        if !lane.is_shared() {
            return self.record_own(lane, bits);
        }
        self.window().at(lane).fetch_max(bits, Relaxed);
        if self.cells.cell::<2>().at(lane).fetch_max(bits, Relaxed) < bits {
            self.cells.cell::<3>().at(lane).store(housekeeping::coarse_realtime_ns(), Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn drop_observation(self) {
        self.cells.cell::<0>().dropped_observations(lane::claim()).fetch_add(1, Relaxed);
    }

    fn get(self) -> Option<N> {
        let windows = lanes().flat_map(|lane| {
            [self.cells.cell::<0>().at(lane).load(Relaxed), self.cells.cell::<1>().at(lane).load(Relaxed)]
        });
        windows.max().and_then(Self::value)
    }

    fn since_start(self) -> Option<(N, SystemTime)> {
        let all = lanes()
            .map(|lane| (self.cells.cell::<2>().at(lane).load(Relaxed), self.cells.cell::<3>().at(lane).load(Relaxed)));
        let (bits, when) = all.max()?;
        Some((Self::value(bits)?, UNIX_EPOCH + Duration::from_nanos(when)))
    }

    fn value(bits: u64) -> Option<N> {
        Ordered::from_bits(bits).map(|word| N::from_ordered(if LOW { word.reversed() } else { word }))
    }
}

macro_rules! watermark {
    ($(#[$doc:meta])* $name:ident, $low:literal, $kind:ident, $aggregation:ident, $extreme:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<N: GaugeNumber = i64>(Extreme<N, $low>);

        impl<N: GaugeNumber> Clone for $name<N> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<N: GaugeNumber> Copy for $name<N> {}

        impl<N: GaugeNumber> $name<N> {
            /// Takes a value into account.
            #[inline]
            pub fn record(self, value: N) {
                self.0.record(value);
            }

            #[doc = concat!("The ", $extreme, " value of at least the last 60 s; `None` where there was none.")]
            #[must_use]
            pub fn get(self) -> Option<N> {
                self.0.get()
            }

            #[doc = concat!("The ", $extreme, " value since the region was built, and when it was recorded.")]
            #[must_use]
            pub fn since_start(self) -> Option<(N, SystemTime)> {
                self.0.since_start()
            }
        }

        impl<N: GaugeNumber> Handle for $name<N> {
            const KIND: Kind = Kind::$kind;
            const NUMBER: Number = N::NUMBER;
            const AGGREGATION: Aggregation = Aggregation::$aggregation;
            type Block = LaneBlock<4>;

            fn shape(desc: &Desc) -> Result<Shape, String> {
                Shape::plain(desc, 4)
            }

            fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
                map.lane_block(place.first, place.series)
            }

            #[inline]
            fn pick(block: Self::Block, series: usize) -> Self {
                Self(Extreme { cells: block.series(series), number: PhantomData })
            }
        }
    };
}

watermark! {
    /// The largest of the values recorded: `WatermarkMax<i64>` or `WatermarkMax<f64>`.
    ///
    /// Two windows of 60 s take turns; what is shown is the larger of the current one and the one before, so that no
    /// peak of the last 60 s is missed (one of up to 120 s ago may still show). Where both are empty a reader sees 0, as of a
    /// peak that nothing reached: for values that may be negative take a gauge beside it, or [`WatermarkMin`]. Beside them
    /// stands the largest since the start, with its time to the second. `i64::MIN` is recorded as its neighbour; NaN is
    /// dropped, and the region counts it as a dropped observation.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let peak = region.watermark_max::<i64>("app_queue_depth_peak", "Fullest queue")?;
    /// assert_eq!(peak.get(), None);
    /// peak.record(7);
    /// peak.record(3);
    /// assert_eq!(peak.get(), Some(7));
    /// assert_eq!(peak.since_start().map(|(value, _when)| value), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    WatermarkMax, false, WatermarkMax, Max, "largest"
}

watermark! {
    /// The smallest of the values recorded: `WatermarkMin<i64>` or `WatermarkMin<f64>`.
    ///
    /// As [`WatermarkMax`], the other way round; where both windows are empty a reader sees NaN. `i64::MAX` is recorded
    /// as its neighbour.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let least = region.watermark_min::<f64>("app_free_ratio_min", "Least room that was left")?;
    /// least.record(0.5);
    /// least.record(0.25);
    /// least.record(f64::NAN); // dropped and counted
    /// least.record(0.75);
    /// assert_eq!(least.get(), Some(0.25));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    WatermarkMin, true, WatermarkMin, Min, "smallest"
}
