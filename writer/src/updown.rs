//! Up-down counters: what goes up and down from many threads, as two monotone cells a lane.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use tachograph_layout::{Kind, LaneBlock, LaneCells, Number, WriterMap, downs_then_ups};

use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::{Desc, tally};

/// A value that many threads raise and lower: requests in flight, messages in mailboxes.
///
/// It never contends, whoever raises and whoever lowers. A snapshot of a history in which every `dec` follows its own
/// `inc` never reads below 0: all downs are read before any up.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let in_flight = region.updown_counter("app_in_flight", "Requests in flight")?;
/// in_flight.add(3);
/// in_flight.dec();
/// assert_eq!(in_flight.get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct UpDownCounter(LaneCells<2>);

impl UpDownCounter {
    /// Adds 1.
    #[inline]
    pub fn inc(self) {
        self.add(1);
    }

    /// Takes 1 off.
    #[inline]
    pub fn dec(self) {
        self.sub(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(self, n: u64) {
        tally::add(self.0.cell::<0>(), n, Relaxed);
    }

    /// Takes `n` off.
    #[inline]
    pub fn sub(self, n: u64) {
        // SYNC(updown): Release, so that a reader who counts this down also sees the ups it takes off.
        tally::add(self.0.cell::<1>(), n, Release);
    }

    /// Adds 1 now, and takes it off when the guard is dropped.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let in_flight = region.updown_counter("app_in_flight", "Requests in flight")?;
    /// {
    ///     let _request = in_flight.guard();
    ///     assert_eq!(in_flight.get(), 1);
    /// }
    /// assert_eq!(in_flight.get(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropped at once, the guard takes its 1 off again at once"]
    #[inline]
    pub fn guard(self) -> UpDownGuard {
        self.inc();
        UpDownGuard(self)
    }

    /// Ups less downs now. Reads every lane that was ever used: not for hot loops.
    #[must_use]
    pub fn get(self) -> i64 {
        let (ups, downs) = (self.0.cell::<0>(), self.0.cell::<1>());
        let (downs, ups) = downs_then_ups::<AtomicU64, _, _>(|| tally::sum(downs), || tally::sum(ups));
        ups.wrapping_sub(downs) as i64
    }
}

impl Handle for UpDownCounter {
    const KIND: Kind = Kind::UpDownCounter;
    const NUMBER: Number = Number::I64;
    type Block = LaneBlock<2>;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 2)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.lane_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self(block.series(series))
    }
}

/// Holds 1 in an [`UpDownCounter`] until it is dropped, by a return, an unwinding panic or a cancelled task alike.
///
/// ```
/// use tachograph::{Region, UpDownCounter, UpDownGuard};
/// struct Connection {
///     _open: UpDownGuard,
/// }
/// let open: UpDownCounter = Region::private("doc")?.updown_counter("app_connections", "Connections open")?;
/// let connection = Connection { _open: open.guard() };
/// assert_eq!(open.get(), 1);
/// drop(connection);
/// assert_eq!(open.get(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UpDownGuard(UpDownCounter);

impl Drop for UpDownGuard {
    #[inline]
    fn drop(&mut self) {
        self.0.dec();
    }
}
