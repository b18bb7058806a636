//! What a lease writes and reads: the methods of its kind's handle, borrowed for each call.
//!
//! One `impl` a kind, each method named and meant as the handle's own; their documentation stands there. Writing borrows
//! the lease, so that no write outlives it.

use std::time::SystemTime;

use super::Lease;
use crate::{
    Counter, FloatCounter, Gauge, GaugeNumber, LabelValue, StateSet, UpDownCounter, WatermarkMax, WatermarkMin,
};

impl Lease<Counter> {
    /// As [`Counter::inc`].
    #[inline]
    pub fn inc(&self) {
        self.writing().inc();
    }

    /// As [`Counter::add`].
    #[inline]
    pub fn add(&self, n: u64) {
        self.writing().add(n);
    }

    /// As [`Counter::get`]: the value since the series was given to these labels.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.handle().get()
    }
}

impl Lease<FloatCounter> {
    /// As [`FloatCounter::add`].
    #[inline]
    pub fn add(&self, amount: f64) {
        self.writing().add(amount);
    }

    /// As [`FloatCounter::get`].
    #[must_use]
    pub fn get(&self) -> f64 {
        self.handle().get()
    }
}

impl<N: GaugeNumber> Lease<Gauge<N>> {
    /// As [`Gauge::set`].
    #[inline]
    pub fn set(&self, value: N) {
        self.writing().set(value);
    }

    /// As [`Gauge::add`].
    #[inline]
    pub fn add(&self, amount: N) {
        self.writing().add(amount);
    }

    /// As [`Gauge::sub`].
    #[inline]
    pub fn sub(&self, amount: N) {
        self.writing().sub(amount);
    }

    /// As [`Gauge::inc`].
    #[inline]
    pub fn inc(&self) {
        self.writing().inc();
    }

    /// As [`Gauge::dec`].
    #[inline]
    pub fn dec(&self) {
        self.writing().dec();
    }

    /// As [`Gauge::get`].
    #[must_use]
    #[inline]
    pub fn get(&self) -> N {
        self.handle().get()
    }
}

impl Lease<Gauge<i64>> {
    /// As [`Gauge::saturating_sub`].
    #[inline]
    pub fn saturating_sub(&self, amount: i64) {
        self.writing().saturating_sub(amount);
    }
}

impl Lease<UpDownCounter> {
    /// As [`UpDownCounter::inc`].
    #[inline]
    pub fn inc(&self) {
        self.writing().inc();
    }

    /// As [`UpDownCounter::dec`].
    #[inline]
    pub fn dec(&self) {
        self.writing().dec();
    }

    /// As [`UpDownCounter::add`].
    #[inline]
    pub fn add(&self, n: u64) {
        self.writing().add(n);
    }

    /// As [`UpDownCounter::sub`].
    #[inline]
    pub fn sub(&self, n: u64) {
        self.writing().sub(n);
    }

    /// As [`UpDownCounter::get`].
    #[must_use]
    pub fn get(&self) -> i64 {
        self.handle().get()
    }

    /// Adds 1 now, and takes it off when the guard is dropped. The guard holds a lease of its own, so the series lives at
    /// least as long.
    ///
    /// ```
    /// use tachograph::{Desc, OpenFamily, OpenRules, Region, UpDownCounter};
    /// let region = Region::private("doc")?;
    /// let in_flight: OpenFamily<UpDownCounter, 1> =
    ///     region.open_family(Desc::new("app_in_flight", "Requests by peer"), ["peer"], OpenRules::new(100))?;
    /// let request = in_flight.with(["10.0.0.7"]).guard();
    /// assert_eq!(in_flight.with(["10.0.0.7"]).get(), 1);
    /// drop(request);
    /// assert_eq!(in_flight.with(["10.0.0.7"]).get(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropped at once, the guard takes its 1 off again at once"]
    pub fn guard(&self) -> LeaseGuard {
        self.inc();
        LeaseGuard(self.clone())
    }
}

/// Holds 1 in a leased [`UpDownCounter`], and the lease, until it is dropped.
///
/// ```
/// use tachograph::{Desc, LeaseGuard, OpenRules, Region, UpDownCounter};
/// let region = Region::private("doc")?;
/// let desc = Desc::new("app_in_flight", "Requests by peer");
/// let in_flight = region.open_family::<UpDownCounter, 1>(desc, ["peer"], OpenRules::new(100))?;
/// let held: Vec<LeaseGuard> = (0..3).map(|_| in_flight.with(["10.0.0.7"]).guard()).collect();
/// assert_eq!(in_flight.with(["10.0.0.7"]).get(), 3);
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped at once, the guard takes its 1 off again at once"]
pub struct LeaseGuard(Lease<UpDownCounter>);

impl Drop for LeaseGuard {
    #[inline]
    fn drop(&mut self) {
        self.0.dec();
    }
}

macro_rules! lease_watermark {
    ($name:ident) => {
        impl<N: GaugeNumber> Lease<$name<N>> {
            #[doc = concat!("As [`", stringify!($name), "::record`].")]
            #[inline]
            pub fn record(&self, value: N) {
                self.writing().record(value);
            }

            #[doc = concat!("As [`", stringify!($name), "::get`].")]
            #[must_use]
            pub fn get(&self) -> Option<N> {
                self.handle().get()
            }

            #[doc = concat!("As [`", stringify!($name), "::since_start`]: since the series was given to these labels.")]
            #[must_use]
            pub fn since_start(&self) -> Option<(N, SystemTime)> {
                self.handle().since_start()
            }
        }
    };
}

lease_watermark!(WatermarkMax);
lease_watermark!(WatermarkMin);

impl<E: LabelValue> Lease<StateSet<E>> {
    /// As [`StateSet::set`].
    #[inline]
    pub fn set(&self, state: E) {
        self.writing().set(state);
    }

    /// As [`StateSet::enable`].
    #[inline]
    pub fn enable(&self, state: E) {
        self.writing().enable(state);
    }

    /// As [`StateSet::disable`].
    #[inline]
    pub fn disable(&self, state: E) {
        self.writing().disable(state);
    }

    /// As [`StateSet::is_enabled`].
    #[must_use]
    pub fn is_enabled(&self, state: E) -> bool {
        self.handle().is_enabled(state)
    }

    /// As [`StateSet::states`].
    #[must_use]
    pub fn states(&self) -> Vec<E> {
        self.handle().states()
    }
}
