//! Reads Tachograph regions: finds them, says what became of their writers, and takes snapshots of their values.
//!
//! A *region* is one shared-memory file written by one process. This library treats every byte of it as hostile:
//! nothing in a file makes it panic, loop, read out of bounds or allocate without limit. A [`Snapshot`] is owned and
//! plain; every output renders from it, so all outputs agree.
//!
//! ```
//! use tachograph_exporter::Directories;
//!
//! let directory = tempfile::tempdir()?;
//! let scan = Directories::from_args(vec![directory.path().to_owned()]).scan();
//! assert!(scan.regions.is_empty() && scan.problems.is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod access;
mod bursts;
mod content;
mod contest;
mod directory;
mod family_rules;
#[allow(unsafe_code)]
mod guard;
mod label_block;
#[cfg(feature = "server")]
mod ledger;
mod lock;
mod parse;
mod process_image;
mod reader;
mod region_copy;
mod region_file;
mod region_info;
#[cfg(feature = "collector")]
mod region_metrics;
#[cfg(feature = "collector")]
mod said;
mod schema;
mod series;
mod snapshot;
mod values;
mod verdict;
mod verify;
#[cfg(feature = "collector")]
mod view;
#[cfg(feature = "server")]
mod writer_metrics;
mod writer_process;

pub use directory::{Directories, Problem, ResolveError, Scan};
pub use lock::LockError;
pub use reader::{ReadError, RegionReader};
pub use region_copy::CopyError;
pub use region_file::OpenError;
pub use region_info::{Capacity, RegionInfo, Usage};
pub use schema::{Aggregation, Damage, Family, Kind, Number, Schema};
pub use series::{Series, SeriesList};
pub use snapshot::{PartsError, Snapshot, Value};
pub use verdict::Verdict;
pub use verify::{Finding, Severity};

pub mod case;
pub mod cause;
#[cfg(feature = "collector")]
pub mod collector;
#[cfg(feature = "server")]
pub mod deaths;
pub mod diff;
pub mod distribution;
pub mod evidence;
pub mod exposition;
pub mod filter;
pub mod gc;
pub mod json;
pub mod listing;
pub mod moment;
pub mod number;
pub mod plan;
pub mod postmortem;
pub mod promise;
pub mod recording;
#[cfg(feature = "server")]
pub mod self_metrics;
#[cfg(feature = "server")]
pub mod serve;
pub mod table;
