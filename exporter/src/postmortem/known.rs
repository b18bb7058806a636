//! What is known of a region beside its bytes and its recording: the case that was written of it, and the ledger of deaths.
//!
//! Called by whoever makes a report. A region can't say that it was killed for want of memory; who watched it can.

use std::path::{Path, PathBuf};

use crate::RegionReader;
use crate::case::{self, Case, Manifest};
use crate::cause::Cause;

/// What is known of one region.
///
/// ```
/// use tachograph_exporter::postmortem::Known;
/// assert!(Known::default().case.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// The case about it: the file to hand on.
    pub case: Option<PathBuf>,
    /// What that case says of itself.
    pub manifest: Option<Manifest>,
    /// The cause that its death was counted under.
    pub counted_as: Option<Cause>,
}

impl Known {
    /// What an open case knows.
    #[must_use]
    pub fn of_case(path: &Path, case: &Case) -> Self {
        Self { case: Some(path.to_owned()), manifest: Some(case.manifest().clone()), counted_as: None }
    }

    /// What a recorder's directory knows of a region beside the recording: its case, where one is kept.
    #[must_use]
    pub fn in_recorder(recorder: &Path, reader: &RegionReader) -> Self {
        let case = case::find(recorder, reader.name(), reader.uuid());
        // One that can't be read is still the file to hand on.
        let manifest = case.as_deref().and_then(|path| Manifest::read(path).ok());
        let manifest = manifest.filter(|manifest| manifest.uuid == crate::recording::hex(reader.uuid()));
        Self { case, manifest, counted_as: None }
    }

    /// Why a region crashed of which nothing else is known than that it was ended from outside.
    pub(crate) fn cause(&self) -> Option<Cause> {
        let manifest = self.manifest.as_ref().and_then(|manifest| Cause::from_word(manifest.cause.as_deref()?));
        manifest.filter(|cause| *cause != Cause::Killed).or(self.counted_as)
    }
}
