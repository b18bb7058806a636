//! Recordings: the minutes before, kept by the flight recorder of `tacho serve` and read by every command.
//!
//! The format is `docs/RECORDING.md`'s. One way in ([`Recorder`]), one way out ([`Recordings`], whose windows give
//! [`Sample`]s); what is between is bytes. Nothing in a file makes a reader panic, loop or allocate without limit.

mod activity;
mod archives;
mod block;
mod cases;
mod config;
mod decoder;
mod edit;
mod encoder;
mod facts;
mod fault;
mod frame;
pub mod history;
mod last;
mod library;
mod lineage;
mod oom;
mod origin;
mod parts;
mod proc;
mod recorder;
mod stats;
mod store;
mod structure;
mod window;
pub(crate) mod wire;
mod words;

pub(crate) use block::is_block_name;
pub use config::{FEWEST_BYTES, RecorderConfig, SHORTEST_INTERVAL, Tier};
pub use decoder::Sample;
pub use facts::{Facts, MemoryFacts, ProcessFacts};
pub use last::LastFacts;
pub use library::{RecordedRegion, RecordingError, Recordings, Span};
pub use oom::OomWatch;
pub use origin::Origin;
pub(crate) use origin::{hex, unhex};
pub use recorder::{Recorder, RecorderError};
pub use stats::{RecorderCounts, RecorderStats};
pub use store::StoreError;
pub use window::Window;
