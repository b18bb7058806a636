//! The handles that the macros of the `metrics` crate get: a lease of the series each, on lines of their own.
//!
//! Called by those macros only. The hot path is the native handle's; what is above it is one call through a table of
//! functions. No method allocates, fails or panics.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use super::metrics::{self, CounterFn, GaugeFn, HistogramFn};
use crate::{Counter, ExponentialHistogram, Gauge, Histogram, Lease};

/// A counter's series. Padded, since the count of the `Arc` around it is written at every call of a macro.
struct CounterHandle(CachePadded<(Lease<Counter>, Arc<Mutex<()>>)>);

struct GaugeHandle(CachePadded<Lease<Gauge<f64>>>);

struct HistogramHandle<M: crate::Metric>(CachePadded<Lease<M>>);

pub(super) fn counter(lease: Lease<Counter>, raising: Arc<Mutex<()>>) -> metrics::Counter {
    metrics::Counter::from_arc(Arc::new(CounterHandle(CachePadded::new((lease, raising)))))
}

pub(super) fn gauge(lease: Lease<Gauge<f64>>) -> metrics::Gauge {
    metrics::Gauge::from_arc(Arc::new(GaugeHandle(CachePadded::new(lease))))
}

pub(super) fn histogram(lease: Lease<Histogram>) -> metrics::Histogram {
    metrics::Histogram::from_arc(Arc::new(HistogramHandle(CachePadded::new(lease))))
}

pub(super) fn exponential(lease: Lease<ExponentialHistogram>) -> metrics::Histogram {
    metrics::Histogram::from_arc(Arc::new(HistogramHandle(CachePadded::new(lease))))
}

impl CounterFn for CounterHandle {
    #[inline]
    fn increment(&self, value: u64) {
        self.0.0.add(value);
    }

    /// Raises the counter to at least `value`; it never falls. Reads every lane.
    fn absolute(&self, value: u64) {
        let (lease, raising) = &*self.0;
        // In a forked child the lock may have been inherited locked; and nothing there is anybody's any more.
        if lease.is_ended() {
            return;
        }
        // Two threads that raise at once must not both add what is missing.
        let _one = raising.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(missing @ 1..) = value.checked_sub(lease.get()) {
            lease.add(missing);
        }
    }
}

impl GaugeFn for GaugeHandle {
    #[inline]
    fn increment(&self, value: f64) {
        self.0.add(value);
    }

    #[inline]
    fn decrement(&self, value: f64) {
        self.0.sub(value);
    }

    #[inline]
    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

impl HistogramFn for HistogramHandle<Histogram> {
    #[inline]
    fn record(&self, value: f64) {
        self.0.observe(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.0.writing().observe_many(value, count as u64);
    }
}

impl HistogramFn for HistogramHandle<ExponentialHistogram> {
    #[inline]
    fn record(&self, value: f64) {
        self.0.observe(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.0.writing().observe_many(value, count as u64);
    }
}
