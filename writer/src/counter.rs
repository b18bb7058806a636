//! Counters: values that only go up. One cell in every lane; a thread adds to its own by a plain load and store.

use std::sync::atomic::Ordering::Relaxed;

use tachograph_layout::{Kind, LaneBlock, LaneCells, LaneOffset, Number, WriterMap};

use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::{Desc, lane, tally};

/// A `u64` that only goes up and wraps at its end.
///
/// What another process can observe: each lane's part grows monotonically, so the sum does. A count is visible to
/// readers, and survives the death of the process, from the moment the method returns. Relaxed: a counter publishes no
/// other memory.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let served = region.counter("app_served_total", "Requests served")?;
/// served.inc();
/// served.add(41);
/// assert_eq!(served.get(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Counter(LaneCells<1>);

impl Counter {
    /// Adds 1.
    #[inline]
    pub fn inc(self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(self, n: u64) {
        tally::add(self.0.cell::<0>(), n, Relaxed);
    }

    /// The sum of all lanes now. Reads every lane that was ever used: not for hot loops.
    #[must_use]
    pub fn get(self) -> u64 {
        tally::sum(self.0.cell::<0>())
    }
}

impl Handle for Counter {
    const KIND: Kind = Kind::Counter;
    const NUMBER: Number = Number::U64;
    type Block = LaneBlock<1>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 1)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.lane_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(block.series(series))
    }
}

/// A counter of an `f64`: seconds spent, say.
///
/// Negative amounts and NaN are not added; the region counts them as dropped observations.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let spent = region.float_counter("app_spent_seconds_total", "Time spent")?;
/// spent.add(0.25);
/// spent.add(f64::NAN); // dropped and counted
/// assert_eq!(spent.get(), 0.25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FloatCounter(LaneCells<1>);

impl FloatCounter {
    /// Adds `amount`, a number that is not negative.
    #[inline]
    pub fn add(self, amount: f64) {
        let lane = lane::current();
        // Not `amount < 0.0`: NaN must not pass.
        if lane.is_shared() || !matches!(amount.partial_cmp(&0.0), Some(std::cmp::Ordering::Greater)) {
            self.add_slow(amount);
        } else {
            self.add_own(lane, amount);
        }
    }

    /// The sum of all lanes now. Reads every lane that was ever used: not for hot loops.
    #[must_use]
    pub fn get(self) -> f64 {
        tally::lanes().map(|lane| f64::from_bits(self.0.cell::<0>().at(lane).load(Relaxed))).sum()
    }

    #[inline]
    fn add_own(self, lane: LaneOffset, amount: f64) {
        let cell = self.0.cell::<0>().at(lane);
        cell.store((f64::from_bits(cell.load(Relaxed)) + amount).to_bits(), Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn add_slow(self, amount: f64) {
        let lane = lane::claim();
        if amount.is_nan() || amount < 0.0 {
            self.0.cell::<0>().dropped_observations(lane).fetch_add(1, Relaxed);
        } else if lane.is_shared() {
            let cell = self.0.cell::<0>().at(lane);
            // Several threads share this cell: retry until no other came between. Relaxed, as everywhere here.
            let _ = cell.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + amount).to_bits()));
        } else {
            self.add_own(lane, amount);
        }
    }
}

impl Handle for FloatCounter {
    const KIND: Kind = Kind::Counter;
    const NUMBER: Number = Number::F64;
    type Block = LaneBlock<1>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 1)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.lane_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(block.series(series))
    }
}
