//! The recorder behind the macros of the `metrics` crate: `counter!`, `gauge!` and `histogram!` write into a region.
//!
//! For applications, and for libraries below them, that are written for `metrics` already: one line at start takes the
//! place of a Prometheus exporter, and nothing else changes. New code is better off with handles (see the crate's front
//! page): a macro finds its series anew at each call, which costs tens of times what the write itself does.
//!
//! ```
//! use tachograph::{Region, recorder};
//! # let region = Region::private("app-0")?;
//! # let _ = stringify!(
//! let region = Region::builder("app-0").build()?;
//! # );
//! recorder::install(&region)?; // instead of PrometheusBuilder::new().install()?
//!
//! metrics::counter!("logins_total", "kind" => "sso").increment(1);
//! metrics::gauge!("queue.depth").set(17.0); // queue_depth
//! metrics::histogram!("reply_seconds").record(0.012);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What it promises.** No macro ever fails, panics or blocks on a reader. Finding the series of a key takes no lock, and
//! a key of literals (with fewer than eight labels) allocates nothing once its thread has used it. Values are in the region when the macro returns, and
//! stay there when the process dies. In a forked child they go nowhere, as all writes do.
//!
//! **Keep the [`Region`].** The recorder does not keep it open: when the application drops its last [`Region`], the
//! region is closed in an orderly way, and what is written afterwards is not registered any more.
//!
//! **Names** are repaired as `metrics-exporter-prometheus` does: what is no letter, digit or underscore becomes `_`.
//! Further, since every format must be able to show them: colons become `_`; a counter gets `_total` where it has none;
//! names that end in what means something else (`queue_count`, a gauge's `memory_total`) get `_value`; `tacho_` gets `_`
//! before it; label names that mean something to Prometheus (`le`, `quantile`, `__*`), to the exporter (`tacho_*`) or
//! to a family (`overflow`) get `exported_` before them. Keys that have the same name then share a family, with one
//! warning.
//!
//! **Labels.** A family's label names are those of its first key, after the constant ones ([`Builder::label`]), or those
//! that [`Builder::labels_of`] names. Their order does not matter. A key that lacks some has them empty, which to
//! Prometheus is the same as not having them. A key with a name that the family does not know shares the family's
//! overflow series, `{overflow="true"}`, with one warning; name all of them beforehand.
//!
//! **Budgets.** Each family takes its room when it is first used: series for [`Builder::budget`] label sets, fewer where the
//! region has little left. What goes beyond shares the family's overflow series and is counted; the region counts
//! metrics that it has no room for at all, or that clash with another of the same name, as refused registrations. Each is
//! told once, through `tracing`. Series of this recorder never end before it does. An application with many labelled
//! histograms needs a larger region than the default one: [`crate::Builder::cells`] and [`crate::Builder::label_bytes`].
//!
//! **Descriptions** (`describe_counter!` and its like) give a family its HELP and unit where they come before its first
//! use; what comes later is not shown. A unit is shown where the name ends in it, or with [`Builder::unit_suffixes`].
//!
//! **Values.** A counter's `absolute` raises it to at least that, and takes a lock of this process: not for hot loops. A
//! gauge is an `f64`. A histogram is exponential, of schema 2 from 1e-6 to 100, unless [`Builder::buckets`] or
//! [`Builder::buckets_for`] say otherwise; negative values and NaN are dropped there and counted.
//!
//! **One `metrics` crate.** Two versions of `metrics` in one program have a global recorder each, and what is written
//! through the other one is lost without a word. [`recorder::metrics`](self::metrics) is the crate that this one was built
//! with: use its macros from there, or install by [`install_recorder!`](crate::install_recorder), which does not compile
//! where the application's own `metrics` is another one. For the libraries below look at `cargo tree -d`.

mod builder;
mod descriptions;
mod families;
mod handles;
mod index;
mod names;

use std::sync::Arc;

/// The `metrics` crate that this recorder is for.
///
/// ```
/// use tachograph::recorder::metrics;
/// # let region = tachograph::Region::private("doc")?;
/// tachograph::recorder::install(&region)?;
/// metrics::counter!("app_served_total").increment(1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub use ::metrics;

pub use builder::{Builder, InstallError, Matcher};

use self::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use crate::Region;
use families::Families;

/// Has every macro of the `metrics` crate write into a region, with all defaults: [`Builder`] has the settings.
///
/// Once a process. The region stays the caller's: keep it until the application ends.
///
/// # Errors
/// [`InstallError`] where a recorder is installed already.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// tachograph::recorder::install(&region)?;
/// metrics::counter!("app_served_total").increment(1);
/// assert!(tachograph::recorder::install(&region).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn install(region: &Region) -> Result<(), InstallError> {
    Builder::new().install(region)
}

/// [`recorder::install`](crate::recorder::install), and the application's own `metrics` crate is the recorder's: where
/// the two are different versions it does not compile, and the compiler names both.
///
/// Takes the region, or a [`recorder::Builder`](crate::recorder::Builder) and the region. The application must depend on
/// `metrics` by that name.
///
/// ```
/// use tachograph::recorder::Builder;
/// let region = tachograph::Region::private("doc")?;
/// tachograph::install_recorder!(Builder::new().label("service", "api"), &region)?;
/// metrics::counter!("app_served_total").increment(1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! install_recorder {
    ($region:expr $(,)?) => {
        $crate::install_recorder!($crate::recorder::Builder::new(), $region)
    };
    ($builder:expr, $region:expr $(,)?) => {{
        // The left is the recorder's crate, the right the application's: the same type only where they are the same.
        const _: fn() -> $crate::recorder::metrics::Counter = ::metrics::Counter::noop;
        $crate::recorder::Builder::install($builder, $region)
    }};
}

/// Writes what the macros of the `metrics` crate are given into a region. Made by [`Builder::build`]; installed for the
/// whole process by [`install`], or for a closure by [`metrics::with_local_recorder`].
///
/// Cheap to clone; all clones are the same recorder. When the last of them and of the handles that it gave out is dropped,
/// its series are retired.
///
/// ```
/// use tachograph::{Region, recorder};
/// let region = Region::private("doc")?;
/// let recorder = recorder::Builder::new().build(&region);
/// metrics::with_local_recorder(&recorder, || metrics::counter!("app_served_total").increment(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Recorder(Arc<Families>);

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), unit, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.counter(key)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.gauge(key)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.histogram(key)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("region", &self.0.region()).finish_non_exhaustive()
    }
}
