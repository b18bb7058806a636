//! Cases: one self-contained file about one death (or about a living region, by hand), for whoever is on call elsewhere.
//!
//! A gzipped tar that any machine opens: `manifest.json`, `region.tacho` (a copy of the region), and in `blocks/` the
//! recording of its last minutes. Written by the recorder and by `tacho case`; opened by every command. Whatever an archive
//! says, only files of these names are taken out of it, into a private directory, within fixed bounds.

mod manifest;
mod open;
mod shelf;
mod write;

pub use manifest::{Manifest, Member};
pub use open::{Case, CaseError, is_case};
pub use write::{WriteError, Written, write};

pub use shelf::find;
pub(crate) use shelf::{CASES, Shelf};

/// What a case file's name ends in.
pub const SUFFIX: &str = ".case.tar.gz";

/// Name of the region's copy in a case.
const REGION: &str = "region.tacho";
/// Name of the manifest in a case.
const MANIFEST: &str = "manifest.json";
/// Where the blocks are in a case.
const BLOCKS: &str = "blocks/";
