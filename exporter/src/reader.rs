//! Takes snapshots of one region: the only code that turns mapped memory into what renderers see.
//!
//! A [`RegionReader`] holds its file open and mapped, so it goes on reading what it opened, whatever happens to the
//! path. It writes nothing and takes no lock of the region's. Threads may share it; snapshots of one region queue.

mod cache;
mod error;
mod info;
mod judgement;
mod told;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tachograph_layout::{SectionKind, WordView};

use cache::Cache;
pub use error::ReadError;
pub(crate) use info::printable;
use told::Told;

use crate::Verdict;
use crate::case::Manifest;
use crate::evidence::{self, Activities, Evidence, Moment};
use crate::json::Now;
use crate::region_file::{OpenError, RegionFile};
use crate::region_info::RegionInfo;
use crate::snapshot::Snapshot;
use crate::values::{self, ReadPlan};
use crate::verify::{self, Finding};

/// Reads one region.
///
/// ```
/// use tachograph_exporter::RegionReader;
/// let error = RegionReader::open("/nowhere/mc-0.tacho".as_ref()).unwrap_err();
/// assert!(error.is_not_found() && error.to_string().starts_with("/nowhere/mc-0.tacho: "));
/// ```
#[derive(Debug)]
pub struct RegionReader {
    file: RegionFile,
    cache: Mutex<Cache>,
    /// Where a case was unpacked to: goes with the reader.
    _unpacked: Option<tempfile::TempDir>,
    /// The case that the region was taken out of, and what that says of its writer.
    case: Option<(PathBuf, Told)>,
}

impl RegionReader {
    /// Opens a region file: `<name>.tacho` in its place, an archived one, or a copy.
    ///
    /// # Errors
    /// [`OpenError`] saying what was found and what is supported.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { file: RegionFile::open(path)?, cache: Mutex::default(), _unpacked: None, case: None })
    }

    /// The same, of a file that stands in a directory of its own, which goes when the reader does.
    pub(crate) fn keeping(mut self, directory: tempfile::TempDir) -> Self {
        self._unpacked = Some(directory);
        self
    }

    /// The same, told by the path of the case that it was taken out of, and with what that says of its writer.
    pub(crate) fn out_of(mut self, case: &Path, manifest: &Manifest) -> Self {
        self.case = Some((case.to_owned(), Told::by(manifest)));
        self
    }

    /// Where the region was opened; of a case, the case's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.case.as_ref().map_or(&self.file.path, |(case, _)| case)
    }

    /// The region's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The region's own id.
    #[must_use]
    pub const fn uuid(&self) -> [u8; 16] {
        self.file.header.uuid
    }

    /// Id of the region that stood at its place before; zeros where there was none.
    #[must_use]
    pub const fn predecessor_uuid(&self) -> [u8; 16] {
        self.file.header.predecessor_uuid
    }

    /// When the region was built: nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn created_realtime_ns(&self) -> u64 {
        self.file.header.created_realtime_ns
    }

    /// What became of the writer, asked now.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn verdict(&self) -> Result<Verdict, ReadError> {
        Ok(self.told(self.facts()?.0.verdict()))
    }

    /// Facts about the region without its values.
    ///
    /// # Errors
    /// As [`RegionReader::verdict`].
    pub fn info(&self) -> Result<RegionInfo, ReadError> {
        let judgement = self.judgement()?;
        let lanes = self.file.sections.section(SectionKind::Lanes);
        let view = self.view();
        let used = values::lanes_used(view, &self.file.sections);
        let dropped = (0..used).filter_map(|lane| view.load(lanes.entry(lane)?)).fold(0, u64::wrapping_add);
        let info = self.info_with(judgement, dropped);
        self.check_whole()?;
        Ok(info)
    }

    /// A snapshot of structure and values. The structure is shared with the snapshot before where it did not change.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let judgement = self.judgement()?;
        let verdict = judgement.verdict;
        let view = self.view();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut lane, mut shared) = cache.take_buffers();
        let structure = view.read_structure(verdict.is_alive(), |word| {
            let structure = cache.current(view, &self.file, word, self.now(verdict));
            values::read(view, &self.file.sections, &structure.plan, &mut lane, &mut shared);
            structure
        });
        // A file is opened only where it holds the whole header, in which the structure word stands.
        let structure = structure.ok_or_else(|| ReadError::Cut { path: self.path().to_owned() })?;
        let schema = self.still_there(&structure);
        self.check_whole()?;
        let region = self.info_with(judgement, lane.first().copied().unwrap_or(0));
        Ok(Snapshot { region, schema, lane, shared })
    }

    /// What the region holds beside its values: activities, pulses, notes, panics, the fatal signal. Work and memory are
    /// bounded by the file's length, whatever it says; what is half written or damaged is left out and counted.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn evidence(&self) -> Result<Evidence, ReadError> {
        let verdict = self.verdict()?;
        let now = verdict.is_alive().then(|| Moment::from(Now::read())).or_else(|| self.copied_alive());
        let evidence = evidence::read(self.view(), &self.file.header, &self.file.sections, now);
        self.check_whole()?;
        Ok(evidence)
    }

    /// How many actors are stuck ([`crate::evidence::Activity::stuck`]): now where the writer lives, else at its last tick.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn stuck_actors(&self, longest: Duration) -> Result<u64, ReadError> {
        let now = self.now(self.verdict()?);
        let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let stuck = evidence::stuck(self.view(), &self.file.sections, now, longest_ns);
        self.check_whole()?;
        Ok(stuck)
    }

    /// Who is doing what, alone: what the recorder looks at many times a second. `busy_ns` is not reckoned.
    pub(crate) fn activities(&self) -> Result<Activities, ReadError> {
        self.check_length()?;
        let activities = evidence::activities(self.view(), &self.file.sections);
        self.check_whole()?;
        Ok(activities)
    }

    /// When the first region of its lineage was built, in nanoseconds since the Unix epoch, and how often it was continued
    /// since: what adopters keep.
    #[cfg(feature = "server")]
    pub(crate) const fn lineage(&self) -> (u64, u64) {
        let header = &self.file.header;
        match header.lineage_created_realtime_ns {
            0 => (header.created_realtime_ns, header.restarts),
            lineage => (lineage, header.restarts),
        }
    }

    /// The directory that it stands in, or stood in before it was archived.
    #[cfg(feature = "server")]
    pub(crate) fn place(&self) -> Option<&Path> {
        let directory = self.path().parent()?;
        if directory.file_name().is_some_and(|name| name == "archive") { directory.parent() } else { Some(directory) }
    }

    /// The words of what it carries on of its predecessor; none where the file was cut.
    #[cfg(feature = "server")]
    pub(crate) fn carried(&self) -> Vec<u64> {
        let section = self.file.sections.section(SectionKind::Carried);
        let mut words = vec![0; usize::try_from(section.count).unwrap_or(0)];
        let copied = self.check_length().ok().and_then(|()| self.view().copy(section.offset, &mut words));
        if copied.is_some() && self.check_whole().is_ok() { words } else { Vec::new() }
    }

    /// Takes a snapshot's buffers back, so that the next one allocates nothing.
    pub fn recycle(&self, snapshot: Snapshot) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.give_back(snapshot.into_buffers());
    }

    /// Checks every structure; a healthy region gives no finding.
    #[must_use]
    pub fn verify(&self) -> Vec<Finding> {
        let findings = self.verdict().map(|verdict| verify::verify(&self.file, verdict));
        match findings.and_then(|findings| self.check_whole().map(|()| findings)) {
            Ok(findings) => findings,
            Err(error) => vec![Finding::error("file", error)],
        }
    }

    /// Whether the path still leads to this region.
    pub(crate) fn is_current(&self) -> bool {
        self.file.is_current()
    }

    /// Whether the file lost its name and its writer still lives.
    pub(crate) fn is_unlinked_alive(&self) -> bool {
        self.file.links().is_ok_and(|links| links == 0) && self.verdict().is_ok_and(Verdict::is_alive)
    }

    /// The open file.
    pub(crate) const fn file(&self) -> &RegionFile {
        &self.file
    }

    /// Which cells are read, by the structure as it is now.
    pub(crate) fn read_plan(&self, verdict: Verdict, word: u64) -> Arc<ReadPlan> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.current(self.view(), &self.file, word, self.now(verdict)).plan
    }

    fn view(&self) -> WordView<'_> {
        self.file.map.view()
    }

    /// A load from a page that was cut off raises SIGBUS. The guard survives that, but the region's maps are lost for
    /// good, so the length is asked before anything is loaded.
    fn check_length(&self) -> Result<(), ReadError> {
        let path = || self.path().to_owned();
        let expected = self.file.header.file_len;
        match self.file.length() {
            Ok(found) if found < expected => Err(ReadError::CutShort { path: path(), found, expected }),
            Ok(_) => Ok(()),
            Err(source) => Err(ReadError::Stat { path: path(), source }),
        }
    }

    /// Asked after reading: zeros that the guard put in the place of missing pages are no values.
    pub(crate) fn check_whole(&self) -> Result<(), ReadError> {
        if self.file.map.is_damaged() {
            return Err(ReadError::Cut { path: self.path().to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use crate::{Directories, ReadError};

    /// What a load from a missing page left behind in the map stays there, so the file is mapped anew.
    #[test]
    fn a_region_that_was_cut_and_mended_in_place_is_read_again() {
        let (made, copied) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let region = tachograph::Region::builder("mc-0").dir(made.path()).allow_disk_backed(true).build();
        let region = region.expect("a region");
        region.counter("app_served_total", "Requests served").expect("a counter").inc();
        region.close();
        // Another file: the writer's own map is not to be cut.
        let path = copied.path().join("mc-0.tacho");
        let bytes = std::fs::read(made.path().join("mc-0.tacho")).expect("the file");
        std::fs::write(&path, &bytes).expect("a copy");
        let regions = Directories::from_args(vec![copied.path().to_owned()]);
        let before = regions.scan().regions.remove(0);
        assert!(before.snapshot().is_ok());
        assert!(Arc::ptr_eq(&before, &regions.scan().regions[0]), "a whole one stays mapped");

        let file = File::options().write(true).open(&path).expect("the copy");
        let last = bytes.len() as u64 - 8;
        file.set_len(4096).expect("cut");
        assert_eq!(before.view().load(last), Some(0), "the guard puts zeros there");
        file.write_all_at(&bytes, 0).expect("mended");
        assert!(matches!(before.snapshot(), Err(ReadError::Cut { .. })));
        let after = regions.scan().regions.remove(0);
        assert!(after.snapshot().is_ok(), "mended in place, it is read again");
    }
}
