//! From the first use of a key to its series: which family, which label values, which slot, or the overflow series.
//!
//! Called by `Recorder` for every key; all but the first use of each ends in `index.rs`. What happens here may lock and
//! allocate, and never fails: what can't be had is told once and counted in the region. No warning is given while a lock
//! is held, since whoever collects warnings may well count them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tachograph_layout::{Control, Kind};

use super::builder::Builder;
use super::descriptions::Descriptions;
use super::handles;
use super::index::{Entry, Index};
use super::metrics::{self, Key, Unit};
use super::names;
use crate::desc::BucketRule;
use crate::open::Slots;
use crate::process::Attached;
use crate::region::WeakRegion;
use crate::{Counter, Desc, ExponentialHistogram, Gauge, Histogram, Lease, Metric, Region, RegisterError};

/// Everything that a recorder knows.
pub(super) struct Families {
    settings: Builder,
    region: WeakRegion,
    attached: &'static Attached,
    descriptions: Descriptions,
    counters: Index<metrics::Counter>,
    gauges: Index<metrics::Gauge>,
    histograms: Index<metrics::Histogram>,
    known: Mutex<Known>,
    said_closed: AtomicBool,
    said_total: AtomicBool,
}

#[derive(Default)]
struct Known {
    families: HashMap<(Kind, String), Arc<Family>>,
    /// Keys in each index: counters, gauges, histograms.
    keys: [usize; 3],
}

/// A family, or a name that could not become one.
struct Family {
    /// The name that its first key had.
    raw: String,
    name: String,
    label_names: Vec<String>,
    series: Series,
    /// Keys in the index: bounded, since label values may be made up by strangers.
    keys: AtomicUsize,
    most_keys: usize,
    /// Held while a counter is raised to a value.
    raising: Arc<Mutex<()>>,
    said_other_name: AtomicBool,
    said_labels: AtomicBool,
}

/// The series of a family, by what its handles are.
enum Series {
    Counters(Leases<Counter>),
    Gauges(Leases<Gauge<f64>>),
    Histograms(Leases<Histogram>),
    Exponentials(Leases<ExponentialHistogram>),
    /// Its handles do nothing.
    Refused,
}

/// An open family whose number of labels is known at run time only.
struct Leases<M: Metric> {
    slots: &'static Slots,
    block: M::Block,
}

/// What a key is counted by.
#[derive(Clone, Copy)]
enum Place<'a> {
    Labels(&'a [&'a str]),
    Overflow,
}

/// Most refused names that are remembered.
const MOST_REFUSED: usize = 4_096;

impl<M: Metric> Leases<M> {
    fn register(
        region: &Region,
        desc: &Desc,
        labels: &[String],
        rules: crate::OpenRules,
    ) -> Result<Self, RegisterError> {
        let labels = labels.iter().map(String::as_str).collect();
        region.create_dynamic::<M>(desc, labels, rules).map(|(slots, block)| Self { slots, block })
    }

    /// The series with the budget that they were given.
    fn counted(self, series: impl FnOnce(Self) -> Series) -> (Series, u32) {
        let budget = self.slots.rules().budget();
        (series(self), budget)
    }

    fn lease(&self, place: Place<'_>) -> Lease<M> {
        let slot = match place {
            Place::Labels(values) => self.slots.take(values),
            Place::Overflow => self.slots.refuse(),
        };
        Lease::counted(M::pick(self.block, slot as usize), self.slots, slot)
    }
}

impl Families {
    pub(super) fn new(settings: Builder, region: &Region) -> Self {
        Self {
            settings,
            region: region.downgrade(),
            attached: region.attached(),
            descriptions: Descriptions::default(),
            counters: Index::new(),
            gauges: Index::new(),
            histograms: Index::new(),
            known: Mutex::default(),
            said_closed: AtomicBool::new(false),
            said_total: AtomicBool::new(false),
        }
    }

    /// The region's name.
    pub(super) fn region(&self) -> &str {
        &self.attached.name
    }

    pub(super) fn describe(&self, raw: &str, unit: Option<Unit>, help: &str) {
        // In a forked child the lock may have been inherited locked.
        if !self.is_ended() {
            self.descriptions.put(raw, unit, help);
        }
    }

    #[inline]
    pub(super) fn counter(&self, key: &Key) -> metrics::Counter {
        match self.counters.get(key) {
            Some(entry) => entry.handle(),
            None => self.first_counter(key),
        }
    }

    #[inline]
    pub(super) fn gauge(&self, key: &Key) -> metrics::Gauge {
        match self.gauges.get(key) {
            Some(entry) => entry.handle(),
            None => self.first_gauge(key),
        }
    }

    #[inline]
    pub(super) fn histogram(&self, key: &Key) -> metrics::Histogram {
        match self.histograms.get(key) {
            Some(entry) => entry.handle(),
            None => self.first_histogram(key),
        }
    }

    #[cold]
    #[inline(never)]
    fn first_counter(&self, key: &Key) -> metrics::Counter {
        let Some(family) = self.family(key, Kind::Counter) else { return metrics::Counter::noop() };
        let Series::Counters(leases) = &family.series else {
            return self.keep(&self.counters, 0, &family, key, metrics::Counter::noop);
        };
        let lease = self.place(&family, key, |place| leases.lease(place));
        let raising = Arc::clone(&family.raising);
        let make = move || handles::counter(lease.clone(), Arc::clone(&raising));
        self.keep(&self.counters, 0, &family, key, make)
    }

    #[cold]
    #[inline(never)]
    fn first_gauge(&self, key: &Key) -> metrics::Gauge {
        let Some(family) = self.family(key, Kind::Gauge) else { return metrics::Gauge::noop() };
        let Series::Gauges(leases) = &family.series else {
            return self.keep(&self.gauges, 1, &family, key, metrics::Gauge::noop);
        };
        let lease = self.place(&family, key, |place| leases.lease(place));
        self.keep(&self.gauges, 1, &family, key, move || handles::gauge(lease.clone()))
    }

    #[cold]
    #[inline(never)]
    fn first_histogram(&self, key: &Key) -> metrics::Histogram {
        // Which of the two kinds it is, the settings say; by the name, so it is the same for all keys of a family.
        let Some(family) = self.family(key, Kind::HistogramBounds) else { return metrics::Histogram::noop() };
        match &family.series {
            Series::Histograms(leases) => {
                let lease = self.place(&family, key, |place| leases.lease(place));
                self.keep(&self.histograms, 2, &family, key, move || handles::histogram(lease.clone()))
            }
            Series::Exponentials(leases) => {
                let lease = self.place(&family, key, |place| leases.lease(place));
                self.keep(&self.histograms, 2, &family, key, move || handles::exponential(lease.clone()))
            }
            _ => self.keep(&self.histograms, 2, &family, key, metrics::Histogram::noop),
        }
    }

    /// The family of a key, registered where it is new. `None` where nothing more may be registered or remembered.
    fn family(&self, key: &Key, kind: Kind) -> Option<Arc<Family>> {
        if self.is_ended() {
            self.say_closed();
            return None;
        }
        let repaired = names::repaired(key.name());
        let description = self.descriptions.get(&repaired);
        let unit = description.unit.map_or("", names::unit_suffix);
        let (name, renamed) = names::family_name(&repaired, kind, self.settings.unit_suffixes.then_some(unit));
        let mut known = self.lock();
        let found = known.families.get(&(kind, name.clone())).cloned();
        if let Some(family) = found {
            drop(known);
            if family.raw != key.name() && !family.said_other_name.swap(true, Relaxed) {
                tracing::warn!(
                    region = self.region(),
                    first = family.raw,
                    other = key.name(),
                    "two metrics have the same name once it is one that Prometheus takes, {}: they share a family",
                    family.name
                );
            }
            return Some(family);
        }
        let unit = names::family_unit(&name, unit, kind);
        let desc = Desc::new(&name, description.help).unit(unit);
        let label_names = self.label_names(&repaired, key);
        let labelled = key.labels().len() > 0 || self.settings.labels_of.contains_key(&repaired);
        let registered = self.register(&repaired, desc, kind, &label_names, labelled);
        let (series, most_keys, refusal) = match registered {
            // Keys beyond the budget share the overflow series; some of them are found without the lock all the same.
            Ok((series, budget)) => (series, 2 * budget as usize + 64, None),
            Err(refusal) => (Series::Refused, 64, Some(refusal)),
        };
        let family = Arc::new(Family {
            raw: key.name().to_owned(),
            name: name.clone(),
            label_names,
            series,
            keys: AtomicUsize::new(0),
            most_keys,
            raising: Arc::default(),
            said_other_name: AtomicBool::new(false),
            said_labels: AtomicBool::new(false),
        });
        let remembered = refusal.is_none() || known.families.len() < MOST_REFUSED;
        if remembered {
            known.families.insert((kind, name), Arc::clone(&family));
        }
        drop(known);
        if renamed {
            tracing::warn!(
                region = self.region(),
                metric = key.name(),
                "shown as {}: its own name would mean something else to Prometheus or the exporter",
                family.name
            );
        }
        match refusal {
            Some(error) if remembered => tracing::warn!(
                region = self.region(),
                metric = key.name(),
                "nothing is counted for this metric: {error}"
            ),
            _ => {}
        }
        Some(family)
    }

    fn register(
        &self,
        repaired: &str,
        desc: Desc,
        kind: Kind,
        labels: &[String],
        labelled: bool,
    ) -> Result<(Series, u32), RegisterError> {
        let ended = || RegisterError::Ended { region: self.region().to_owned(), name: desc.name.clone() };
        let region = self.region.upgrade().ok_or_else(ended)?;
        let rules = self.settings.rules_of(repaired, kind == Kind::HistogramBounds, labelled);
        let buckets = self.settings.buckets_of(repaired);
        Ok(match (kind, &buckets.0) {
            (Kind::Counter, _) => Leases::register(&region, &desc, labels, rules)?.counted(Series::Counters),
            (Kind::Gauge, _) => Leases::register(&region, &desc, labels, rules)?.counted(Series::Gauges),
            (_, BucketRule::Bounds(_)) => {
                let desc = desc.buckets(buckets.clone());
                Leases::register(&region, &desc, labels, rules)?.counted(Series::Histograms)
            }
            (_, BucketRule::Exponential { .. }) => {
                let desc = desc.buckets(buckets.clone());
                Leases::register(&region, &desc, labels, rules)?.counted(Series::Exponentials)
            }
        })
    }

    /// The label names of a new family: the constant ones, then what the settings say, else those of its first key.
    fn label_names(&self, repaired: &str, key: &Key) -> Vec<String> {
        let mut label_names: Vec<String> = self.settings.labels.iter().map(|(name, _)| name.clone()).collect();
        let own: Vec<String> = match self.settings.labels_of.get(repaired) {
            Some(labels) => labels.clone(),
            None => key.labels().map(|label| names::label_name(label.key())).collect(),
        };
        for name in own {
            if !label_names.contains(&name) {
                label_names.push(name);
            }
        }
        label_names
    }

    /// Leases the series of a key's labels, in a family that is not refused.
    fn place<M: Metric>(&self, family: &Family, key: &Key, lease: impl Fn(Place<'_>) -> Lease<M>) -> Lease<M> {
        if self.lock().keys.iter().sum::<usize>() >= self.settings.total_budget {
            if !self.said_total.swap(true, Relaxed) {
                tracing::warn!(
                    region = self.region(),
                    budget = self.settings.total_budget,
                    metric = key.name(),
                    "more metrics than the recorder's total budget: the further ones share the series \
                     {{overflow=\"true\"}} of their families; raise Builder::total_budget, or look for a label with too \
                     many values"
                );
            }
            return lease(Place::Overflow);
        }
        let own: Vec<(String, &str)> =
            key.labels().map(|label| (names::label_name(label.key()), label.value())).collect();
        if let Some((unknown, _)) = own.iter().find(|(name, _)| !family.label_names.contains(name)) {
            if !family.said_labels.swap(true, Relaxed) {
                tracing::warn!(
                    region = self.region(),
                    metric = key.name(),
                    label = unknown,
                    labels = family.label_names.join(","),
                    "a label that the metric's first use did not have: such label sets share its series \
                     {{overflow=\"true\"}}; name all of its labels beforehand by Builder::labels_of"
                );
            }
            return lease(Place::Overflow);
        }
        let constant = &self.settings.labels;
        let value = |name: &String| {
            let own = own.iter().rev().find(|(own, _)| own == name).map(|(_, value)| *value);
            // A label that is missing is one that is empty, as to Prometheus.
            own.or_else(|| constant.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()))
                .unwrap_or_default()
        };
        let values: Vec<&str> = family.label_names.iter().map(value).collect();
        lease(Place::Labels(&values))
    }

    /// A handle for a key; and the way to it without the lock, where there is room for that.
    fn keep<H: Clone>(
        &self,
        index: &Index<H>,
        which: usize,
        family: &Family,
        key: &Key,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> H {
        let mut known = self.lock();
        // Another thread may have come first: its series is the same.
        if let Some(entry) = index.get(key) {
            return entry.handle();
        }
        let room = known.keys.iter().sum::<usize>() < self.settings.total_budget;
        if !room || family.keys.load(Relaxed) >= family.most_keys {
            return make();
        }
        family.keys.fetch_add(1, Relaxed);
        let entry = Entry::new(key, make);
        let handle = entry.handle();
        index.insert(entry, known.keys[which]);
        known.keys[which] += 1;
        handle
    }

    fn is_ended(&self) -> bool {
        self.attached.ended.load(Relaxed)
    }

    /// Says, not in a forked child, that metrics come too late.
    fn say_closed(&self) {
        if self.region.upgrade().is_none() && !self.said_closed.swap(true, Relaxed) {
            // Counted too, for whoever reads the file afterwards.
            self.attached.control(Control::REGISTRATIONS_DROPPED).fetch_add(1, Relaxed);
            tracing::warn!(
                region = self.region(),
                "metrics are used after the region was closed: keep the Region for as long as the application runs"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
