//! Metrics in shared memory: an application writes them with plain machine instructions, a separate process reads them.
//!
//! What it guarantees:
//! - **The hot path is a store.** [`Counter::inc`] on a held handle is one unlocked add to a cell that no other thread
//!   writes: no lock, no allocation, no system call, no read-modify-write, whatever the number of threads.
//! - **Nothing is lost with the process.** A value is in the region from the moment the method returns. `kill -9` at any
//!   instruction leaves every completed write, and no half-made series.
//! - **Metrics are never an outage.** All that can fail fails at start and registration; write methods return `()`.
//!
//! ```
//! use tachograph::{Counter, Family, Gauge, LabelValue, Metrics, Region};
//!
//! #[derive(Clone, Copy, LabelValue)]
//! pub enum Outcome { Ok, Failed }
//!
//! #[derive(Clone, Copy, Metrics)]
//! #[metrics(prefix = "app")]
//! pub struct AppMetrics {
//!     /// Requests by outcome
//!     pub requests: Family<Counter, Outcome>, // app_requests_total{outcome="ok"} and {outcome="failed"}
//!     /// Jobs waiting
//!     pub queue_depth: Gauge<i64>, // app_queue_depth
//! }
//!
//! # let dir = tempfile::tempdir_in("/dev/shm")?;
//! # let builder = Region::builder("app-0").dir(dir.path());
//! # let _ = stringify!(
//! let builder = Region::builder("app-0");
//! # );
//! let region = builder.fit::<AppMetrics>().build()?;
//! let metrics = region.metrics::<AppMetrics>()?;
//! metrics.requests.at(Outcome::Ok).inc();
//! metrics.queue_depth.set(17);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The region is `app-0.tacho` in the first directory that serves (see [`Builder::dir`]; the log says which); `tacho ls`,
//! `tacho show app-0` and `tacho serve` read it, while the application runs and after it died. Groups of metrics are
//! declared by [`derive@Metrics`], labels by [`derive@LabelValue`] and [`derive@LabelSet`], or without derives by
//! [`metrics!`] and [`label_value!`]; single metrics are registered by [`Region::counter`] and its like. Threads of a
//! runtime are best announced by [`enter_thread`].
//!
//! Applications and libraries that use the macros of the `metrics` crate keep them: the feature `metrics` brings
//! `recorder::install`, which has those macros write into a region.
//!
//! Beside its values a region holds who is doing what ([`Region::activity`]), which loop comes round ([`Region::pulse`]) and
//! the last lines of the log ([`Region::note`]; the feature `tracing-layer` brings `NoteLayer`, which writes them). No metrics
//! format shows them; what reads a region that died does.
//!
//! What goes wrong later (no lane left, the file unlinked, private memory instead of a file) is said through `tracing`:
//! without a subscriber it goes unheard.

mod activity;
mod adopt;
mod archive;
mod build_error;
mod builder;
mod counter;
mod declared;
mod desc;
mod directory;
#[doc(hidden)]
pub mod expansion;
#[cfg(feature = "fail-points")]
pub mod fail_point;
#[cfg(not(feature = "fail-points"))]
#[allow(unreachable_pub)]
mod fail_point;
mod field;
mod gauge;
mod group;
mod histogram;
mod housekeeping;
mod identity;
mod info;
mod labels;
mod lane;
mod lane_set;
mod lock;
mod macros;
mod mark_error;
mod marks;
mod metric;
mod naming;
mod needs;
mod note;
#[cfg(feature = "tracing-layer")]
mod note_layer;
mod open;
mod owned_slots;
#[allow(unsafe_code)]
mod process;
mod pulse;
#[cfg(feature = "metrics")]
pub mod recorder;
mod region;
mod register;
mod register_error;
mod registrable;
mod repeated;
mod shape;
mod start;
mod stateset;
mod tally;
mod text;
mod timer;
mod updown;
mod watermark;
mod window;

pub use activity::{Activity, ActivityId, Doing, DoingSet, Entered, MailboxDepth, Tracked};
pub use adopt::Adopted;
pub use build_error::{BuildError, DirectoryFault, Owner};
pub use builder::{Builder, OnExisting};
pub use counter::{Counter, FloatCounter};
pub use desc::{Buckets, Desc};
pub use gauge::{Gauge, GaugeNumber};
pub use group::{Member, Metrics};
pub use histogram::{
    DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, Histogram, HistogramNumber,
};
pub use info::Info;
pub use labels::{Family, LabelSet, LabelValue};
pub use lane::enter_thread;
pub use mark_error::MarkError;
pub use metric::Metric;
pub use needs::Needs;
pub use note::NoteLevel;
#[cfg(feature = "tracing-layer")]
pub use note_layer::NoteLayer;
pub use open::{Lease, LeaseGuard, OpenFamily, OpenRules};
pub use pulse::Pulse;
pub use region::Region;
pub use register_error::RegisterError;
pub use registrable::Registrable;
pub use stateset::StateSet;
pub use tachograph_layout::{Aggregation, Kind};
pub use tachograph_macros::{LabelSet, LabelValue, Metrics};
pub use timer::{ObserveDuration, Timer};
pub use updown::{UpDownCounter, UpDownGuard};
pub use watermark::{WatermarkMax, WatermarkMin};
