//! Timers: how long something took, into a histogram of durations.

use std::time::{Duration, Instant};

use crate::histogram::nanoseconds;

/// Counts, when it is dropped, the time since it was started: by a return, an unwinding panic or a cancelled task alike.
/// Made by `start_timer` of a histogram of durations, or of a [`crate::Lease`] of one, which it then holds a clone of.
///
/// ```
/// use tachograph::{Buckets, Region};
/// let region = Region::private("doc")?;
/// let joins = region.duration_histogram("app_join_seconds", "Time to join", Buckets::bounds([0.1, 1.0]))?;
/// {
///     let _timer = joins.start_timer();
/// }
/// assert_eq!(joins.count(), 1);
/// let timer = joins.start_timer();
/// let took = timer.stop(); // counts now
/// assert_eq!(joins.count(), 2);
/// joins.start_timer().discard(); // counts nothing
/// assert_eq!(joins.count(), 2);
/// # assert!(took.as_secs() < 60);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped at once, the timer counts no time at all"]
#[derive(Debug)]
pub struct Timer<H: ObserveDuration> {
    histogram: H,
    start: Instant,
    /// Whether dropping it counts.
    running: bool,
}

/// The histograms that a [`Timer`] may count into: those of durations, and leases of them. Sealed.
///
/// ```
/// use tachograph::{Buckets, ObserveDuration, Region, Timer};
/// fn give_up<H: ObserveDuration>(timer: Timer<H>) {
///     timer.discard();
/// }
/// let joins = Region::private("doc")?.duration_histogram("app_join_seconds", "Time to join", Buckets::bounds([1.0]))?;
/// give_up(joins.start_timer());
/// assert_eq!(joins.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ObserveDuration: sealed::ObserveNs {}

impl<H: sealed::ObserveNs> ObserveDuration for H {}

pub(crate) mod sealed {
    #[allow(unnameable_types, reason = "sealed: users name `ObserveDuration`")]
    pub trait ObserveNs: std::fmt::Debug {
        fn observe_ns(&self, nanoseconds: u64);
    }
}

impl<H: ObserveDuration> Timer<H> {
    #[inline]
    pub(crate) fn new(histogram: H) -> Self {
        Self { histogram, start: Instant::now(), running: true }
    }

    /// Counts the time now, and gives it.
    #[inline]
    pub fn stop(mut self) -> Duration {
        self.running = false;
        let took = self.start.elapsed();
        self.histogram.observe_ns(nanoseconds(took));
        took
    }

    /// Counts nothing.
    #[inline]
    pub fn discard(mut self) {
        self.running = false;
    }
}

impl<H: ObserveDuration> Drop for Timer<H> {
    #[inline]
    fn drop(&mut self) {
        if self.running {
            self.histogram.observe_ns(nanoseconds(self.start.elapsed()));
        }
    }
}
