//! What an application registers in its region: a family of each kind, closed and open sets of labels, whole groups.
//!
//! All fallible work of writing is here; what is given back can't fail. Each method is a descriptor and one call of
//! `create`, which asks the registry under its mutex.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use tachograph_layout::Control;

use super::Region;
use crate::gauge::GaugeNumber;
use crate::labels::{Family, LabelSet};
use crate::metric::{Metric, sealed::Handle};
use crate::open::{Open, OpenFamily, OpenRules, Slots};
use crate::register::Request;
use crate::registrable::request;
use crate::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, FloatCounter, Gauge,
    Histogram, HistogramNumber, Info, LabelValue, Metrics, RegisterError, StateSet, UpDownCounter, WatermarkMax,
    WatermarkMin,
};

impl Region {
    /// Registers a counter of whole things. Its name ends in `_total`.
    ///
    /// # Errors
    /// [`RegisterError`]: a bad name, a clash with what the name stands for already, or no room.
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers a counter of an `f64`. Its name ends in `_total`.
    ///
    /// # Errors
    /// As [`Region::counter`].
    pub fn float_counter(&self, name: &str, help: &str) -> Result<FloatCounter, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers a gauge of `i64` or `f64`.
    ///
    /// # Errors
    /// As [`Region::counter`].
    pub fn gauge<N: GaugeNumber>(&self, name: &str, help: &str) -> Result<Gauge<N>, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers an up-down counter.
    ///
    /// # Errors
    /// As [`Region::counter`].
    pub fn updown_counter(&self, name: &str, help: &str) -> Result<UpDownCounter, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers a histogram of `f64` or `u64` with own bounds.
    ///
    /// # Errors
    /// As [`Region::counter`]; also [`RegisterError::Shape`] for bounds that break a rule.
    pub fn histogram<N: HistogramNumber>(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
    ) -> Result<Histogram<N>, RegisterError> {
        self.register(Desc::new(name, help).buckets(buckets))
    }

    /// Registers a histogram with the buckets of Prometheus' native histograms.
    ///
    /// # Errors
    /// As [`Region::histogram`].
    pub fn exponential_histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
    ) -> Result<ExponentialHistogram, RegisterError> {
        self.register(Desc::new(name, help).buckets(buckets))
    }

    /// Registers a histogram of durations with own bounds, in seconds.
    ///
    /// # Errors
    /// As [`Region::histogram`].
    pub fn duration_histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
    ) -> Result<DurationHistogram, RegisterError> {
        self.register(Desc::new(name, help).buckets(buckets))
    }

    /// Registers a histogram of durations with the buckets of Prometheus' native histograms, in seconds.
    ///
    /// # Errors
    /// As [`Region::histogram`].
    pub fn exponential_duration_histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
    ) -> Result<ExponentialDurationHistogram, RegisterError> {
        self.register(Desc::new(name, help).buckets(buckets))
    }

    /// Registers a watermark of the largest value.
    ///
    /// # Errors
    /// As [`Region::counter`].
    pub fn watermark_max<N: GaugeNumber>(&self, name: &str, help: &str) -> Result<WatermarkMax<N>, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers a watermark of the smallest value.
    ///
    /// # Errors
    /// As [`Region::counter`].
    pub fn watermark_min<N: GaugeNumber>(&self, name: &str, help: &str) -> Result<WatermarkMin<N>, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers an info with its labels, names and values. Its name ends in `_info`.
    ///
    /// # Errors
    /// As [`Region::counter`]; a name that is registered with other values already is a clash.
    pub fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Info, RegisterError> {
        let desc = Desc::new(name, help);
        let (names, values) = labels.iter().copied().unzip();
        self.create::<Info>(&desc, request::<Info>(&desc, names, vec![values])).map(|(block, _)| Info::pick(block, 0))
    }

    /// Registers a state set of an enum's values.
    ///
    /// # Errors
    /// As [`Region::counter`]; also [`RegisterError::Shape`] for states that break a rule.
    pub fn state_set<E: LabelValue>(&self, name: &str, help: &str) -> Result<StateSet<E>, RegisterError> {
        self.register(Desc::new(name, help))
    }

    /// Registers one series without labels, of any kind, by its whole description.
    ///
    /// # Errors
    /// As [`Region::counter`].
    ///
    /// ```
    /// use tachograph::{Counter, Desc};
    /// let region = tachograph::Region::private("doc")?;
    /// let sent: Counter = region.register(Desc::new("app_sent_bytes_total", "Bytes sent").unit("bytes"))?;
    /// sent.add(512);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register<M: Metric>(&self, desc: Desc) -> Result<M, RegisterError> {
        let request = request::<M>(&desc, Vec::new(), vec![Vec::new()]);
        self.create::<M>(&desc, request).map(|(block, _)| M::pick(block, 0))
    }

    /// Registers a family with a closed label set: all its series, at 0.
    ///
    /// # Errors
    /// As [`Region::counter`]; also where not all series fit.
    ///
    /// ```
    /// use tachograph::{Counter, Desc, Family};
    /// tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }
    /// let region = tachograph::Region::private("doc")?;
    /// let requests: Family<Counter, Outcome> = region.family(Desc::new("app_requests_total", "Requests"))?;
    /// requests.at(Outcome::Ok).inc();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn family<M: Metric, L: LabelSet>(&self, desc: Desc) -> Result<Family<M, L>, RegisterError> {
        self.create::<M>(&desc, request::<M>(&desc, L::NAMES.to_vec(), L::sets())).map(|(block, _)| Family::new(block))
    }

    /// Registers a family with an open label set: its label values come and go, within a budget.
    ///
    /// The region reserves the room at once: a series and a label area for each set of the budget and one more, and the
    /// cells of as many. Registered again with the same description and rules it is the same family.
    ///
    /// # Errors
    /// As [`Region::counter`]; also where the budget does not fit into the region, or a label is named `overflow`.
    ///
    /// A member of a group says the same by `#[metric(labels = ["peer"], budget = 100)]`, and
    /// [`Builder::fit`](crate::Builder::fit) makes the room; see [`derive@Metrics`].
    ///
    /// ```
    /// use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region};
    /// let region = Region::private("doc")?;
    /// let sent: OpenFamily<Counter, 1> =
    ///     region.open_family(Desc::new("app_sent_total", "Messages by peer"), ["peer"], OpenRules::new(100))?;
    /// sent.with(["10.0.0.7"]).inc();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_family<M: Metric, const N: usize>(
        &self,
        desc: Desc,
        label_names: [&str; N],
        rules: OpenRules,
    ) -> Result<OpenFamily<M, N>, RegisterError> {
        self.create_open(&desc, label_names, Open::new(rules))
    }

    pub(crate) fn create_open<M: Metric, const N: usize>(
        &self,
        desc: &Desc,
        label_names: [&str; N],
        open: Open,
    ) -> Result<OpenFamily<M, N>, RegisterError> {
        let request = request::<M>(desc, label_names.to_vec(), Vec::new());
        self.create_requested(desc, request.map(|request| Request { open: Some(open), ..request }))
    }

    /// As `create_open`, of a request that says all of it.
    pub(crate) fn create_requested<M: Metric, const N: usize>(
        &self,
        desc: &Desc,
        request: Result<Request<'_>, RegisterError>,
    ) -> Result<OpenFamily<M, N>, RegisterError> {
        const { assert!(N > 0, "an open family has labels") };
        let (block, slots) = self.create::<M>(desc, request)?;
        let ended = || RegisterError::Ended { region: self.name().to_owned(), name: desc.name.clone() };
        slots.map(|slots| OpenFamily::new(slots, block)).ok_or_else(ended)
    }

    /// Registers an open family whose label names are known at run time only, with as much of the budget as the region
    /// has room for. Where the name is an open family of the same kind, shape and labels already, it is that.
    #[cfg(feature = "metrics")]
    pub(crate) fn create_dynamic<M: Metric>(
        &self,
        desc: &Desc,
        label_names: Vec<&str>,
        rules: OpenRules,
    ) -> Result<(&'static Slots, M::Block), RegisterError> {
        let attached = self.0.attached;
        let ended = || RegisterError::Ended { region: attached.name.clone(), name: desc.name.clone() };
        // As in `create`.
        if attached.ended.load(Relaxed) {
            return Err(ended());
        }
        let attempt = || {
            let request = request::<M>(desc, label_names, Vec::new())?;
            let mut registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
            registry.get_or_create_open(request, rules)
        };
        let (place, slots) = attempt().inspect_err(|_| {
            attached.control(Control::REGISTRATIONS_DROPPED).fetch_add(1, Relaxed);
        })?;
        M::block(attached.map, place).map(|block| (slots, block)).ok_or_else(ended)
    }

    /// Registers a whole group of metrics, declared by `#[derive(Metrics)]` or [`crate::metrics!`].
    ///
    /// # Errors
    /// As [`Region::counter`], for the first member that is refused.
    pub fn metrics<G: Metrics>(&self) -> Result<G, RegisterError> {
        G::register(self, "")
    }

    fn create<M: Metric>(
        &self,
        desc: &Desc,
        request: Result<Request<'_>, RegisterError>,
    ) -> Result<(M::Block, Option<&'static Slots>), RegisterError> {
        let attached = self.0.attached;
        let ended = || RegisterError::Ended { region: attached.name.clone(), name: desc.name.clone() };
        // Asked before the mutex is touched: a forked child may have inherited it locked.
        if attached.ended.load(Relaxed) {
            return Err(ended());
        }
        let attempt = || {
            let request = request?;
            let mut registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((registry.get_or_create(&request)?, registry.slots(&desc.name)))
        };
        let (place, slots) = attempt().inspect_err(|_| {
            attached.control(Control::REGISTRATIONS_DROPPED).fetch_add(1, Relaxed);
        })?;
        M::block(attached.map, place).map(|block| (block, slots)).ok_or_else(ended)
    }
}
