//! The shelf of cases in a recorder's directory: one for each death, the first and the newest of a burst, within bounds.
//!
//! Called by the recorder's case thread. A book beside the cases says which deaths were seen, so that a case that was dropped
//! is not written again, by this recorder or the next.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::SUFFIX;
use super::write::{WriteError, Written, write};
use crate::RegionReader;
use crate::recording::{RecordedRegion, hex, unhex};
use crate::region_file::is_region_name;

/// Deaths of one name that follow each other within this are one burst.
const BURST_NS: u64 = 10 * 60 * 1_000_000_000;
/// Most cases that are kept.
const MOST_CASES: usize = 32;
/// Most bytes of cases that are kept; the newest is kept whatever its size.
const MOST_BYTES: u64 = 1 << 30;
/// Deaths that the book remembers.
const MOST_DEATHS: usize = 10_000;
/// Most bytes of the book that are read.
const MOST_BOOK: u64 = 4 << 20;

/// A death, as the book has it and as a case's name tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Death {
    at_ns: u64,
    name: String,
    uuid: [u8; 16],
}

impl Death {
    fn file(&self) -> String {
        format!("{}.{:020}.{}{SUFFIX}", self.name, self.at_ns, hex(self.uuid))
    }

    fn line(&self) -> String {
        format!("{} {} {}\n", hex(self.uuid), self.at_ns, self.name)
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (uuid, at_ns, name) = (unhex(parts.next()?)?, parts.next()?.parse().ok()?, parts.next()?);
        (is_region_name(name) && parts.next().is_none()).then(|| Self { at_ns, name: name.to_owned(), uuid })
    }
}

/// Directory of the cases in a recorder's directory.
pub(crate) const CASES: &str = "cases";

/// The case that a recorder's directory holds of a region.
///
/// ```
/// let directory = tempfile::tempdir()?;
/// assert_eq!(tachograph_exporter::case::find(directory.path(), "mc-0", [7; 16]), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn find(recorder: &Path, name: &str, uuid: [u8; 16]) -> Option<PathBuf> {
    let end = format!(".{}{SUFFIX}", hex(uuid));
    let is_it = |file: &str| {
        let at_ns = file.strip_suffix(&end).and_then(|rest| rest.strip_prefix(name)?.strip_prefix('.'));
        at_ns.is_some_and(|at_ns| at_ns.parse::<u64>().is_ok())
    };
    let entries = std::fs::read_dir(recorder.join(CASES)).ok()?;
    // As many as are kept, and what else may lie there.
    let mut paths = entries.take(MOST_DEATHS).filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.file_name().and_then(|file| file.to_str()).is_some_and(is_it))
}

/// Where cases are kept.
#[derive(Debug)]
pub(crate) struct Shelf {
    directory: PathBuf,
    deaths: Vec<Death>,
}

impl Shelf {
    /// The shelf in this directory, which is there.
    pub(crate) fn open(directory: &Path) -> Self {
        let mut text = String::new();
        let read = File::open(directory.join("book")).and_then(|book| book.take(MOST_BOOK).read_to_string(&mut text));
        if let Err(error) = read
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(directory = %directory.display(), %error, "which cases were written can't be read");
        }
        let mut shelf =
            Self { directory: directory.to_owned(), deaths: text.lines().filter_map(Death::of_line).collect() };
        if shelf.deaths.len() > MOST_DEATHS {
            shelf.shorten();
        }
        shelf
    }

    /// The regions whose deaths were seen.
    pub(crate) fn seen(&self) -> HashSet<[u8; 16]> {
        self.deaths.iter().map(|death| death.uuid).collect()
    }

    /// Writes the case of a dead region; `None` where it was written before.
    pub(crate) fn put(
        &mut self,
        reader: &RegionReader,
        recorded: Option<&RecordedRegion>,
    ) -> Result<Option<Written>, WriteError> {
        if self.deaths.iter().any(|death| death.uuid == reader.uuid()) {
            return Ok(None);
        }
        let at_ns = reader.info()?.ended_ns();
        let death = Death { at_ns, name: reader.name().to_owned(), uuid: reader.uuid() };
        let path = self.directory.join(death.file());
        let written = match write(reader, recorded, &path) {
            // Its writer was cut off before the book knew of it.
            Err(WriteError::Exists { .. }) => None,
            written => Some(written?),
        };
        self.note(&death).map_err(|source| WriteError::Write { path: self.directory.join("book"), source })?;
        self.deaths.push(death);
        self.tidy();
        Ok(written)
    }

    fn note(&self, death: &Death) -> io::Result<()> {
        let mut book = File::options().create(true).append(true).mode(0o640).open(self.directory.join("book"))?;
        book.write_all(death.line().as_bytes())?;
        book.sync_all()
    }

    /// Keeps the last deaths only.
    fn shorten(&mut self) {
        let surplus = self.deaths.len().saturating_sub(MOST_DEATHS / 2);
        self.deaths.drain(..surplus);
        let text: String = self.deaths.iter().map(Death::line).collect();
        let shortened = tempfile::NamedTempFile::new_in(&self.directory).and_then(|mut book| {
            book.write_all(text.as_bytes())?;
            book.as_file().sync_all()?;
            Ok(book.persist(self.directory.join("book"))?)
        });
        if let Err(error) = shortened {
            tracing::warn!(directory = %self.directory.display(), %error, "the book of cases can't be shortened");
        }
    }

    /// Drops what the rules do not keep.
    fn tidy(&mut self) {
        let mut deaths = self.deaths.clone();
        deaths.sort_by(|a, b| (&a.name, a.at_ns).cmp(&(&b.name, b.at_ns)));
        let one_burst = |a: &Death, b: &Death| a.name == b.name && b.at_ns.saturating_sub(a.at_ns) <= BURST_NS;
        for burst in deaths.chunk_by(one_burst) {
            for death in burst.get(1..burst.len().saturating_sub(1)).unwrap_or_default() {
                self.drop_case(death);
            }
        }
        // The newest first, as far as they fit.
        deaths.sort_by_key(|death| std::cmp::Reverse(death.at_ns));
        let (mut count, mut bytes) = (0, 0_u64);
        for death in &deaths {
            let Ok(metadata) = self.directory.join(death.file()).symlink_metadata() else { continue };
            (count, bytes) = (count + 1, bytes.saturating_add(metadata.len()));
            if count > 1 && (count > MOST_CASES || bytes > MOST_BYTES) {
                self.drop_case(death);
            }
        }
    }

    fn drop_case(&self, death: &Death) {
        match std::fs::remove_file(self.directory.join(death.file())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(case = %death.file(), %error, "a case can't be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crash each of so many names: no burst that drops any, so the cap does.
    #[test]
    fn no_more_cases_are_kept_than_the_cap_and_the_newest_are() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        rustix::fs::chmod(directory.path(), rustix::fs::Mode::from_raw_mode(0o750)).unwrap();
        let shelf_directory = directory.path().join("cases");
        std::fs::create_dir(&shelf_directory).unwrap();
        let mut shelf = Shelf::open(&shelf_directory);
        let mut files = Vec::new();
        for index in 0..MOST_CASES + 5 {
            let name = format!("mc-{index:02}");
            let builder = tachograph::Region::builder(&name).dir(directory.path()).series(16).lanes(2).cells(16);
            let region = builder.bounds(1).shared(1).activities(1).build().unwrap();
            let path = region.path().unwrap().to_owned();
            let living = std::fs::read(&path).unwrap();
            region.close();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, living).unwrap();
            let reader = RegionReader::open(&path).unwrap();
            assert!(shelf.put(&reader, None).unwrap().is_some());
            assert!(shelf.put(&reader, None).unwrap().is_none(), "once");
            files.push(shelf.deaths.last().unwrap().file());
            std::fs::remove_file(&path).unwrap();
        }
        let kept: Vec<bool> = files.iter().map(|file| shelf_directory.join(file).exists()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), MOST_CASES);
        assert!(kept[5..].iter().all(|kept| *kept), "{kept:?}");
        assert_eq!(Shelf::open(&shelf_directory).seen().len(), files.len(), "the book knows of all");
        let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode(&shelf_directory.join("book")) & 0o137, 0, "as the cases: for its user and group");
    }
}
