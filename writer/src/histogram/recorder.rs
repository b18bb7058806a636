//! The hot path of every histogram: one more in the value's bucket, then the value added to the sum, in the calling
//! thread's own lane.
//!
//! The bucket comes first, so that a process killed between the two has counted each observation whose value is in the
//! sum: what may be missing is each thread's last value in the sum.

use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::compiler_fence;

use tachograph_layout::{LaneOffset, ShapedCells};

use super::search::{Sample, Search};
use crate::{lane, tally};

/// The cells of one histogram and the way to its buckets: two pointers.
pub(crate) struct Recorder<N> {
    cells: ShapedCells<Search>,
    number: PhantomData<N>,
}

impl<N> Clone for Recorder<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Recorder<N> {}

impl<N> std::fmt::Debug for Recorder<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("bounds", &self.cells.shape().detail().uppers()).finish_non_exhaustive()
    }
}

impl<N: Sample> Recorder<N> {
    pub(crate) const fn new(cells: ShapedCells<Search>) -> Self {
        Self { cells, number: PhantomData }
    }

    /// Counts a value, which is a number.
    #[inline]
    pub(crate) fn record(self, value: N) {
        let lane = lane::current();
        if !lane.is_shared()
            && let Some(bucket) = self.cells.shape().detail().look_up(value)
        {
            self.record_own(lane, bucket, value);
        } else {
            self.record_slow(value);
        }
    }

    #[inline]
    fn record_own(self, lane: LaneOffset, bucket: usize, value: N) {
        // The lane is this thread's own, so nobody else stores to its words.
        let bucket = self.cells.cell(bucket).at(lane);
        bucket.store(bucket.load(Relaxed).wrapping_add(1), Relaxed);
        // No other thread is concerned: this keeps the compiler from storing the sum before the bucket.
        compiler_fence(Release);
        let sum = self.cells.last().at(lane);
        sum.store(value.add_to(sum.load(Relaxed)), Relaxed);
    }

    /// For a thread without a lane of its own, and for a value whose bucket takes a search. One call, the last thing that
    /// `record` does, so that it is short enough to be inlined.
    #[cold]
    #[inline(never)]
    fn record_slow(self, value: N) {
        let lane = lane::claim();
        let bucket = self.cells.shape().detail().search(value);
        if !lane.is_shared() {
            return self.record_own(lane, bucket, value);
        }
        self.cells.cell(bucket).at(lane).fetch_add(1, Relaxed);
        compiler_fence(Release);
        // Several threads share this cell: retry until no other came between.
        let _ = self.cells.last().at(lane).fetch_update(Relaxed, Relaxed, |sum| Some(value.add_to(sum)));
    }

    /// Counts a value `times` times; `all` is the value multiplied by that.
    #[cfg(feature = "metrics")]
    pub(crate) fn record_many(self, value: N, times: u64, all: N) {
        let mut lane = lane::current();
        if lane.is_shared() {
            lane = lane::claim();
        }
        // Shared or own: a read-modify-write is right in both, and this is no hot path.
        self.cells.cell(self.cells.shape().detail().search(value)).at(lane).fetch_add(times, Relaxed);
        // As in `record_own`.
        compiler_fence(Release);
        let _ = self.cells.last().at(lane).fetch_update(Relaxed, Relaxed, |sum| Some(all.add_to(sum)));
    }

    /// Counts, for the region, an observation that has no meaning here.
    #[cold]
    #[inline(never)]
    pub(crate) fn drop_observation(self) {
        self.drop_observations(1);
    }

    /// Counts, for the region, several of them.
    pub(crate) fn drop_observations(self, times: u64) {
        self.cells.last().dropped_observations(lane::claim()).fetch_add(times, Relaxed);
    }

    /// Observations by bucket, not cumulative: one more than there are bounds.
    fn counts(self) -> impl Iterator<Item = u64> {
        (0..self.cells.shape().cells() - 1).map(move |bucket| tally::sum(self.cells.cell(bucket)))
    }

    /// Observations in all buckets.
    pub(crate) fn count(self) -> u64 {
        self.counts().fold(0, u64::wrapping_add)
    }

    /// Each bucket's upper bound as it is shown, and its observations.
    pub(crate) fn buckets(self) -> Vec<(f64, u64)> {
        let uppers = self.cells.shape().detail().uppers().iter().copied();
        uppers.chain([f64::INFINITY]).zip(self.counts()).collect()
    }

    /// The sum of the values, over all lanes.
    pub(crate) fn sum(self) -> N {
        let cell = self.cells.last();
        let sums = tally::lanes().map(|lane| cell.at(lane).load(Relaxed));
        N::from_bits(sums.fold(0, |sum, bits| N::from_bits(bits).add_to(sum)))
    }
}
