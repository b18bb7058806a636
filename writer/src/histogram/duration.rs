//! Histograms of durations: integer nanoseconds inside, shown in seconds.

use std::time::{Duration, Instant};

use tachograph_layout::{Kind, Number, ShapedBlock, WriterMap};

use super::edges::{self, Raw};
use super::recorder::Recorder;
use super::search::Search;
use crate::Desc;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::timer::{Timer, sealed::ObserveNs};

macro_rules! durations {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $shape:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(Recorder<u64>);

        impl $name {
            /// Counts a duration; one of more than 584 years as 584 years.
            #[inline]
            pub fn observe(self, duration: Duration) {
                self.observe_ns(nanoseconds(duration));
            }

            /// Counts a duration in nanoseconds: the cheapest form.
            #[inline]
            pub fn observe_ns(self, nanoseconds: u64) {
                self.0.record(nanoseconds);
            }

            /// Counts the time since `start`; 0 where that is still to come.
            #[inline]
            pub fn observe_since(self, start: Instant) {
                self.observe(start.elapsed());
            }

            /// Starts a timer that counts the time until it is dropped, by a return, an unwinding panic or a cancelled
            /// task alike.
            #[inline]
            pub fn start_timer(self) -> Timer<Self> {
                Timer::new(self)
            }

            /// Counts how long `work` takes, also where it ends in a panic.
            #[inline]
            pub fn time<T>(self, work: impl FnOnce() -> T) -> T {
                let _timer = self.start_timer();
                work()
            }

            /// How many durations were counted. Reads every lane that was ever used, as all below do: not for hot loops.
            #[must_use]
            pub fn count(self) -> u64 {
                self.0.count()
            }

            /// The sum of the durations; wraps after 584 years.
            #[must_use]
            pub fn sum(self) -> Duration {
                Duration::from_nanos(self.0.sum())
            }

            /// Each bucket's upper bound in seconds, and how many durations are in it and in no lower one; the last is
            /// +Inf.
            #[must_use]
            pub fn buckets(self) -> Vec<(f64, u64)> {
                self.0.buckets()
            }
        }

        impl ObserveNs for $name {
            #[inline]
            fn observe_ns(&self, nanoseconds: u64) {
                self.0.record(nanoseconds);
            }
        }

        impl Handle for $name {
            const KIND: Kind = Kind::$kind;
            const NUMBER: Number = Number::U64;
            const UNIT: &'static str = "seconds";
            type Block = ShapedBlock<Search>;

            fn shape(desc: &Desc) -> Result<Shape, String> {
                $shape(desc, Raw::Nanoseconds)
            }

            fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
                map.shaped_block(place.first, place.series, place.search?)
            }

            #[inline]
            fn pick(block: Self::Block, series: usize) -> Self {
                Self(Recorder::new(block.series(series)))
            }
        }
    };
}

durations! {
    /// A histogram of durations with bounds of one's own, given in seconds, each a whole number of nanoseconds.
    ///
    /// Shown in seconds, so its name should end in `_seconds`: `#[metric(unit = "seconds")]` puts that there in a derived
    /// group, which does not compile without. Another unit is refused.
    ///
    /// Nanoseconds are counted and added up as integers: no rounding, and no floating point when recording. Otherwise
    /// as [`crate::Histogram`].
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tachograph::{Buckets, Region};
    /// let region = Region::private("doc")?;
    /// let replies = region.duration_histogram(
    ///     "app_reply_duration_seconds",
    ///     "Time to reply",
    ///     Buckets::bounds([0.005, 0.1]),
    /// )?;
    /// replies.observe(Duration::from_millis(5));
    /// replies.observe_ns(5_000_001);
    /// assert_eq!(replies.buckets(), [(0.005, 1), (0.1, 1), (f64::INFINITY, 0)]);
    /// assert_eq!(replies.sum(), Duration::from_nanos(10_000_001));
    ///
    /// let start = Instant::now(); // a caller who has the time already
    /// replies.observe_since(start);
    /// assert_eq!(replies.time(|| 6 * 7), 42);
    /// drop(replies.start_timer());
    /// assert_eq!(replies.count(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    DurationHistogram, HistogramBounds, edges::own
}

durations! {
    /// A histogram of durations in the buckets of Prometheus' native histograms; see [`crate::Buckets::exponential`],
    /// the range in seconds. Where the description names no buckets: schema 3 over 1 us to 100 s.
    ///
    /// Shown in seconds, so its name should end in `_seconds`: `#[metric(unit = "seconds")]` puts that there in a derived
    /// group, which does not compile without. Another unit is refused.
    ///
    /// A duration is in the bucket of its seconds as an `f64`; nanoseconds are counted and added up as integers.
    /// Otherwise as [`crate::ExponentialHistogram`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tachograph::{Buckets, Region};
    /// let region = Region::private("doc")?;
    /// let replies = region.exponential_duration_histogram(
    ///     "app_reply_duration_seconds",
    ///     "Time to reply",
    ///     Buckets::exponential(0, 0.25..=2.0),
    /// )?;
    /// replies.observe(Duration::from_millis(500));
    /// replies.observe_ns(500_000_001);
    /// assert_eq!(replies.buckets(), [(0.25, 0), (0.5, 1), (1.0, 1), (2.0, 0), (f64::INFINITY, 0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ExponentialDurationHistogram, HistogramExponential, edges::exponential
}

/// Nanoseconds of a duration, as many as fit.
#[inline]
pub(crate) const fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}
