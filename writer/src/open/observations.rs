//! What a lease of a histogram counts and reads: as `writes.rs`, for the kinds that have buckets.
//!
//! Each method is named and meant as the handle's own, and borrows the lease. A timer holds a clone of the lease, so that
//! what it counts at its end goes to the series that it was started for.

use std::time::{Duration, Instant};

use super::Lease;
use crate::timer::{Timer, sealed::ObserveNs};
use crate::{DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Histogram, HistogramNumber};

impl<N: HistogramNumber> Lease<Histogram<N>> {
    /// As [`Histogram::observe`].
    ///
    /// ```
    /// use tachograph::{Buckets, Desc, Histogram, OpenRules, Region};
    /// let region = Region::private("doc")?;
    /// let desc = Desc::new("app_reply_bytes", "Size of replies by route").buckets(Buckets::bounds([100.0, 1000.0]));
    /// let replies = region.open_family::<Histogram<u64>, 1>(desc, ["route"], OpenRules::new(50))?;
    /// replies.with(["/metrics"]).observe(300);
    /// assert_eq!(replies.with(["/metrics"]).sum(), 300);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn observe(&self, value: N) {
        self.writing().observe(value);
    }

    /// As [`Histogram::count`].
    #[must_use]
    pub fn count(&self) -> u64 {
        self.handle().count()
    }

    /// As [`Histogram::sum`].
    #[must_use]
    pub fn sum(&self) -> N {
        self.handle().sum()
    }

    /// As [`Histogram::buckets`].
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        self.handle().buckets()
    }
}

impl Lease<ExponentialHistogram> {
    /// As [`ExponentialHistogram::observe`].
    #[inline]
    pub fn observe(&self, value: f64) {
        self.writing().observe(value);
    }

    /// As [`ExponentialHistogram::count`].
    #[must_use]
    pub fn count(&self) -> u64 {
        self.handle().count()
    }

    /// As [`ExponentialHistogram::sum`].
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.handle().sum()
    }

    /// As [`ExponentialHistogram::buckets`].
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        self.handle().buckets()
    }
}

macro_rules! durations {
    ($name:ident, $buckets:literal) => {
        impl Lease<$name> {
            #[doc = concat!("As [`", stringify!($name), "::observe`].")]
            #[inline]
            pub fn observe(&self, duration: Duration) {
                self.writing().observe(duration);
            }

            #[doc = concat!("As [`", stringify!($name), "::observe_ns`].")]
            #[inline]
            pub fn observe_ns(&self, nanoseconds: u64) {
                self.writing().observe_ns(nanoseconds);
            }

            #[doc = concat!("As [`", stringify!($name), "::observe_since`].")]
            #[inline]
            pub fn observe_since(&self, start: Instant) {
                self.writing().observe_since(start);
            }

            #[doc = concat!("As [`", stringify!($name), "::start_timer`]. The timer holds a lease of its own.")]
            ///
            /// ```
            #[doc = concat!("use tachograph::{Buckets, Desc, OpenRules, Region, ", stringify!($name), "};")]
            /// let region = Region::private("doc")?;
            #[doc = concat!("let buckets = ", $buckets, ";")]
            /// let desc = Desc::new("app_call_seconds", "Calls by peer").unit("seconds").buckets(buckets);
            #[doc = concat!("let calls = region.open_family::<", stringify!($name), ", 1>(desc, [\"peer\"], OpenRules::new(9))?;")]
            /// let timer = calls.with(["10.0.0.7"]).start_timer();
            /// let took = timer.stop();
            /// assert_eq!(calls.with(["10.0.0.7"]).sum(), took);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[inline]
            pub fn start_timer(&self) -> Timer<Self> {
                Timer::new(self.clone())
            }

            #[doc = concat!("As [`", stringify!($name), "::time`].")]
            #[inline]
            pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
                let _timer = self.start_timer();
                work()
            }

            #[doc = concat!("As [`", stringify!($name), "::count`].")]
            #[must_use]
            pub fn count(&self) -> u64 {
                self.handle().count()
            }

            #[doc = concat!("As [`", stringify!($name), "::sum`].")]
            #[must_use]
            pub fn sum(&self) -> Duration {
                self.handle().sum()
            }

            #[doc = concat!("As [`", stringify!($name), "::buckets`].")]
            #[must_use]
            pub fn buckets(&self) -> Vec<(f64, u64)> {
                self.handle().buckets()
            }
        }

        impl ObserveNs for Lease<$name> {
            #[inline]
            fn observe_ns(&self, nanoseconds: u64) {
                self.writing().observe_ns(nanoseconds);
            }
        }
    };
}

durations!(DurationHistogram, "Buckets::bounds([0.1, 1.0])");
durations!(ExponentialDurationHistogram, "Buckets::exponential(3, 1e-6..=100.0)");
