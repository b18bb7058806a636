//! Regions in an application's own registry of the `prometheus` crate, beside what it has there already.
//!
//! Called by that registry at each `gather`, on its thread: regions are found, read and planned as for a scrape of `tacho
//! serve`, and given in that crate's model (what becomes of each kind: `docs/OPERATIONS.md`). Feature `collector`, which links
//! neither a server nor a runtime. Collecting never fails as a whole: what can't be read or shown is counted and logged.

mod place;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use crate::exposition::model;
use crate::json::Now;
use crate::plan::{Options, Plan, Source};
use crate::region_metrics::RegionMetrics;
use crate::said::Said;
use crate::view::Views;
use crate::{Directories, Family, Kind, Number, OpenError, RegionInfo, Schema, Snapshot};

use place::Place;

/// Why there is no collector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectorError {
    /// The region can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The label can't tell regions apart.
    #[error("{label:?} can't be the region label: a label name is needed that nothing else has, or none at all")]
    Label {
        /// What was asked for.
        label: String,
    },
    /// The metrics about regions can't be made; never expected.
    #[error("the metrics about regions can't be made")]
    Metrics(#[from] prometheus::Error),
}

/// One region, or all regions of some directories, as a collector of the `prometheus` crate: register it, and they are part
/// of what the registry gathers, each series with the label `tacho_region`.
///
/// Regions may come, go, crash and return at any time. Of the living there are all series; of a dead one there is
/// `tacho_region_up` 0. Names of the collector's own (`tacho_region_*`, `tacho_family_clashes`) are all that it describes to
/// the registry, since families of regions come and go, so a registry takes one collector: a second one is
/// `AlreadyReg`. For several regions give it their directory.
///
/// A registry puts families of one name together without a look at their types. A name that the application has itself
/// is kept free of regions by [`RegionCollector::beside`].
///
/// The first region that a process opens installs a SIGBUS handler, which survives a file that is cut while it is read
/// and hands every other fault on to the handler before it. A process with the writer's crash hooks builds its region first.
///
/// ```
/// use prometheus::{Encoder, IntCounter, Registry, TextEncoder};
/// use tachograph_exporter::collector::RegionCollector;
/// # let folder = tempfile::Builder::new().tempdir_in("/dev/shm")?;
/// # let dir = folder.path();
/// // What the application has.
/// let registry = Registry::new();
/// registry.register(Box::new(IntCounter::new("app_logins_total", "Logins")?))?;
/// // Its own region, or another process's.
/// let region = tachograph::Region::builder("app").dir(dir).build()?;
/// region.counter("app_served_total", "Requests served")?.add(7);
///
/// let path = region.path().ok_or("in private memory")?;
/// registry.register(Box::new(RegionCollector::open(path)?.beside(&registry.gather())))?;
///
/// let mut body = Vec::new();
/// TextEncoder::new().encode(&registry.gather(), &mut body)?;
/// let body = String::from_utf8(body)?;
/// assert!(body.contains("app_logins_total 0\n"));
/// assert!(body.contains("app_served_total{tacho_region=\"app\"} 7\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RegionCollector {
    place: Place,
    options: Options,
    /// What stands where a region's family clashes with it: names of the application.
    beside: Option<Source>,
    own: RegionMetrics,
    state: Mutex<State>,
}

/// What one gathering leaves for the next.
#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    said: Said,
}

impl RegionCollector {
    /// The region at a path, and whichever stands there later: a writer that starts again is followed.
    ///
    /// # Errors
    /// [`CollectorError::Open`] where none can be read there now. For one that is still to come, give its directory.
    pub fn open(path: &Path) -> Result<Self, CollectorError> {
        Self::of(Place::file(path)?)
    }

    /// All regions of these directories, whether they are there yet or not.
    ///
    /// ```
    /// use tachograph_exporter::{Directories, collector::RegionCollector};
    /// let folder = tempfile::tempdir()?;
    /// let collector = RegionCollector::directories(Directories::from_args(vec![folder.path().into()]))?;
    /// prometheus::Registry::new().register(Box::new(collector))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None is expected.
    pub fn directories(directories: Directories) -> Result<Self, CollectorError> {
        Self::of(Place::Directories(directories))
    }

    fn of(place: Place) -> Result<Self, CollectorError> {
        let own = RegionMetrics::new()?;
        Ok(Self { place, options: Options::default(), beside: None, own, state: Mutex::default() })
    }

    /// Tells regions apart by another label. An empty one is none: for a single region whose series keep the names that they
    /// had in the application's registry. Without a label there are no series where more than one region lives.
    ///
    /// ```
    /// use tachograph_exporter::{Directories, collector::RegionCollector};
    /// let all = || RegionCollector::directories(Directories::from_args(vec!["/run/app".into()]));
    /// assert!(all()?.region_label("worker").is_ok() && all()?.region_label("").is_ok());
    /// assert!(all()?.region_label("le").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CollectorError::Label`] where it is no label name, or one that means something else.
    pub fn region_label(self, label: &str) -> Result<Self, CollectorError> {
        let options = Options { region_label: label.to_owned() };
        if !options.is_usable() {
            return Err(CollectorError::Label { label: label.to_owned() });
        }
        Ok(Self { options, ..self })
    }

    /// Keeps the names of these families for the application: a region's family that clashes with one by kind, by bounds or by
    /// a suffix is left out, counted in `tacho_family_clashes{result="left_out"}` and logged once. Give it what the registry gathers before the
    /// collector is registered; what is registered or gets its first series later it does not know.
    ///
    /// The example of [`RegionCollector`] shows it at work.
    #[must_use]
    pub fn beside(self, families: &[MetricFamily]) -> Self {
        let schema = Schema { families: families.iter().map(name_only).collect(), ..Schema::default() };
        let region = RegionInfo { name: "the application".to_owned(), ..RegionInfo::default() };
        let snapshot = Snapshot::from_parts(region, Arc::new(schema), Vec::new(), Vec::new());
        // Without series nothing leads outside.
        Self { beside: snapshot.ok().map(|snapshot| Source::own(Arc::new(snapshot))), ..self }
    }
}

/// What a family takes of names.
fn name_only(model: &MetricFamily) -> Family {
    let kind = match model.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => Kind::HistogramBounds,
    };
    let mut family = Family::new(model.name(), model.help(), kind, Number::F64);
    if kind == Kind::HistogramBounds {
        // Those of a summary are no region's: no bound is equal to NaN.
        let buckets = model.get_metric().first().map(|metric| metric.get_histogram().get_bucket());
        family.bounds = match (model.get_field_type(), buckets) {
            (MetricType::HISTOGRAM, Some(buckets)) => {
                buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect()
            }
            _ => vec![f64::NAN],
        };
        family.bounds.retain(|bound| *bound != f64::INFINITY);
    }
    family
}

impl Collector for RegionCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.own.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (scan, gone) = self.place.scan();
        let mut found = Views::of(scan);
        found.unreadable.extend(gone);
        let left_out = found.keep_one_of_each_name();
        found.problems.extend(left_out);
        self.own.observe(&found.seen(), &found.unreadable_names(), found.problems.len(), Now::read().monotonic_ns);
        let sources: Vec<Source> = self.beside.iter().cloned().chain(found.sources()).collect();
        if state.plan.as_ref().is_none_or(|plan| !plan.fits(&sources)) {
            state.plan = None;
        }
        let mut wrong = Vec::new();
        if state.plan.is_none() {
            match Plan::new(&sources, &self.options) {
                Ok(plan) => state.plan = Some(plan),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let mut families = Vec::new();
        if let Some(plan) = &state.plan {
            let left_out = plan.clashes().iter().filter(|clash| clash.left_out).count();
            self.own.set_clashes(left_out, plan.clashes().len() - left_out);
            families = model::families(plan, &sources);
            wrong.extend(plan.clashes().iter().map(ToString::to_string));
        }
        families.extend(self.own.collect());
        drop(sources);
        state.said.tell(&found.problems, wrong);
        found.recycle();
        families
    }
}
