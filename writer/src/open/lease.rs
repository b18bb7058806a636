//! Leases: handles of an open family's series that are counted, so that the series can go when nobody writes it.
//!
//! What a lease may be asked to write stands in `writes.rs`. The handle inside never leaves the crate: a copy of it that
//! outlived the lease could write to a series that another label set has by then.

use std::sync::atomic::Ordering::Release;
use std::sync::atomic::fence;

use super::slots::Slots;
use crate::Metric;

/// The right to write one series of an open family. Taken by [`crate::OpenFamily::with`].
///
/// It has the write methods of its kind. A clone is one more lease of the same series; when the last one is dropped, in
/// whatever thread, the series is retired: readers show it for the family's linger, and [`crate::OpenFamily::with`] gives
/// it back with its value for as long as no other label set needed its place. Keep a lease for as long as its actor,
/// connection or route lives; taking it anew for each event works, and costs a lookup.
///
/// Writing allocates nothing, locks nothing and returns `()`, as with every handle. Cloning is one atomic addition;
/// dropping the last clone takes the family's lock.
///
/// ```
/// use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region};
/// let region = Region::private("doc")?;
/// let sent: OpenFamily<Counter, 1> =
///     region.open_family(Desc::new("app_sent_total", "Messages by peer"), ["peer"], OpenRules::new(100))?;
/// let lease = sent.with(["10.0.0.7"]);
/// let clone = lease.clone();
/// std::thread::spawn(move || clone.inc()).join().unwrap();
/// lease.add(2);
/// assert_eq!(lease.get(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The handle can't be taken out, and a lease is not `Copy`:
///
/// ```compile_fail
/// # let region = tachograph::Region::private("doc").unwrap();
/// # let desc = tachograph::Desc::new("app_sent_total", "Messages");
/// # let sent: tachograph::OpenFamily<tachograph::Counter, 1> =
/// #     region.open_family(desc, ["peer"], tachograph::OpenRules::new(9)).unwrap();
/// let lease = sent.with(["10.0.0.7"]);
/// let counter: tachograph::Counter = *lease;
/// ```
#[must_use = "dropped at once, the lease retires its series at once"]
pub struct Lease<M: Metric> {
    handle: M,
    slots: &'static Slots,
    slot: u32,
}

impl<M: Metric> Lease<M> {
    /// A lease that was counted by `Slots::take`.
    pub(crate) const fn counted(handle: M, slots: &'static Slots, slot: u32) -> Self {
        Self { handle, slots, slot }
    }

    /// Whether this is the family's overflow series, which all label sets beyond its budget share.
    ///
    /// ```
    /// # use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region};
    /// # let region = Region::private("doc")?;
    /// let sent: OpenFamily<Counter, 1> =
    ///     region.open_family(Desc::new("app_sent_total", "Messages by peer"), ["peer"], OpenRules::new(1))?;
    /// let (first, second) = (sent.with(["a"]), sent.with(["b"]));
    /// assert!(!first.is_overflow() && second.is_overflow());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.slots.is_overflow(self.slot)
    }

    /// Whether the region was closed, or is that of the process that this one was forked from.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_ended(&self) -> bool {
        self.slots.is_ended()
    }

    /// The handle, to read by.
    #[inline]
    pub(crate) const fn handle(&self) -> M {
        self.handle
    }

    /// The handle, to write by. Only for as long as the lease is borrowed: that is what makes clearing the series safe.
    #[inline]
    pub(crate) fn writing(&self) -> M {
        // SYNC(structure-cells): a reader that finds what is written next finds the slot given to this series, even where
        // it was given by another thread. No instruction on x86-64.
        fence(Release);
        self.handle
    }
}

impl<M: Metric> Clone for Lease<M> {
    fn clone(&self) -> Self {
        Self::counted(self.handle, self.slots, self.slots.enter(self.slot))
    }
}

impl<M: Metric> Drop for Lease<M> {
    fn drop(&mut self) {
        self.slots.leave(self.slot);
    }
}

impl<M: Metric> std::fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("family", &self.slots.name()).field("slot", &self.slot).finish_non_exhaustive()
    }
}
