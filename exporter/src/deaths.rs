//! Counts deaths: each crashed region once, by its uuid, wherever it is found, and those that the archive dropped before
//! anybody looked. Called by `serve/scrape.rs` at each scrape, and between scrapes where something changed.
//!
//! What was counted stands in a ledger (`deaths/ledger.rs`), on disk before it is served where there is a place for it, so
//! that neither a restart of the exporter nor the end of the evidence makes a death be counted twice or forgotten. Without
//! a place it is in memory, and a restart counts what evidence is left. No death stops a scrape.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tachograph_layout::retention::Burst;

use crate::bursts;
use crate::cause::{Cause, OomKills};
use crate::{Directories, RegionInfo, RegionReader, Verdict, content};

use ledger::Ledger;

/// The cause that is counted for a death whose evidence the archive dropped before anybody looked at it.
pub const UNSEEN: &str = "unseen";

/// An archive whose time is no older than this may change within it.
const COARSE: Duration = Duration::from_secs(1);

/// Asks what a dead region's memory cgroup counted, by the region's uuid; `None` where nobody looked while it lived.
pub type MemoryWatch = Arc<dyn Fn(&[u8; 16]) -> Option<OomKills> + Send + Sync>;

/// What is known of all deaths so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Deaths by cause: each of [`Cause::ALL`], and [`UNSEEN`].
    pub crashes: BTreeMap<&'static str, u64>,
    /// Deaths by the name of the region; a name that never crashed is not in it.
    pub by_region: BTreeMap<String, u64>,
    /// When each region last crashed, by name: nanoseconds since the Unix epoch.
    pub last_crash_ns: BTreeMap<String, u64>,
}

/// Counts deaths.
///
/// ```
/// use tachograph_exporter::{Directories, deaths::Deaths};
/// let directory = tempfile::tempdir()?;
/// let directories = Directories::from_args(vec![directory.path().into()]);
/// let tally = Deaths::new(None).observe(&directories, &[]);
/// assert_eq!((tally.crashes["signal"], tally.crashes["killed"], tally.crashes.len()), (0, 0, 7));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Deaths {
    state: Mutex<State>,
    memory: Option<MemoryWatch>,
}

struct State {
    ledger: Ledger,
    /// Archived files that were looked at: their names tell their uuid, so none is opened again.
    known: HashSet<PathBuf>,
    /// The archives with the time of their last change.
    changed: HashMap<PathBuf, SystemTime>,
}

impl std::fmt::Debug for Deaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deaths").finish_non_exhaustive()
    }
}

impl Deaths {
    /// Goes on from the ledger in this directory; without one, from nothing.
    #[must_use]
    pub fn new(directory: Option<&Path>) -> Self {
        let state = State { ledger: Ledger::open(directory), known: HashSet::new(), changed: HashMap::new() };
        Self { state: Mutex::new(state), memory: None }
    }

    /// Asks `memory` about each death that left no word of its own.
    #[must_use]
    pub fn watching(mut self, memory: MemoryWatch) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Counts what is new, and reads no archive that did not change: for a look some times a second.
    pub(crate) fn glance(&self, directories: &Directories, in_place: &[&RegionInfo]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = in_place.iter().any(|region| !state.ledger.knows(&region.name, &region.uuid));
        for directory in directories.paths() {
            let archive = directory.join("archive");
            let Ok(time) = archive.symlink_metadata().and_then(|archive| archive.modified()) else { continue };
            if state.changed.get(&archive) != Some(&time) {
                new = true;
                // File systems keep time coarsely: what comes within the same moment must not be missed.
                if time.elapsed().is_ok_and(|age| age > COARSE) {
                    state.changed.insert(archive, time);
                }
            }
        }
        drop(state);
        if new {
            self.observe(directories, in_place);
        }
    }

    /// Counts what is new: among the regions in place, in the archives of these directories, and in the archives' books.
    /// The ledger is on disk when this returns; where it can't be written that is logged, and the deaths are told all the
    /// same.
    pub fn observe(&self, directories: &Directories, in_place: &[&RegionInfo]) -> Tally {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { ledger, known, .. } = &mut *state;
        for region in in_place {
            self.count(ledger, region);
        }
        let mut there = HashSet::new();
        for directory in directories.paths() {
            let archive = directory.join("archive");
            // The books first: a death that they tell of is among the files, unless it was dropped.
            let books = bursts::read_all(&archive);
            let unread = self.archived(&archive, ledger, known, &mut there);
            for (name, bursts) in books {
                // Else what could not be opened would be counted now as unseen, and again once it can.
                if !unread.contains(&name) {
                    unseen(ledger, &name, &bursts);
                }
            }
        }
        known.retain(|path| there.contains(path));
        ledger.store();
        ledger.tally()
    }

    /// Counts an archive's deaths; gives the names of regions of which a file could not be read.
    fn archived(
        &self,
        archive: &Path,
        ledger: &mut Ledger,
        known: &mut HashSet<PathBuf>,
        there: &mut HashSet<PathBuf>,
    ) -> BTreeSet<String> {
        let mut unread = BTreeSet::new();
        if !archive.is_dir() {
            return unread;
        }
        for path in content::regions(archive, &mut Vec::new()) {
            there.insert(path.clone());
            if known.contains(&path) {
                continue;
            }
            match RegionReader::open(&path).map(|reader| reader.info()) {
                Ok(Ok(region)) => {
                    self.count(ledger, &region);
                    known.insert(path);
                }
                _ => unread.extend(name_of(&path)),
            }
        }
        unread
    }

    fn count(&self, ledger: &mut Ledger, region: &RegionInfo) {
        if region.verdict != Verdict::Crashed || ledger.knows(&region.name, &region.uuid) {
            return;
        }
        let kills = self.memory.as_ref().and_then(|memory| memory(&region.uuid));
        let cause = region.cause.unwrap_or(Cause::Killed).given(kills);
        let at = ledger::At { last_sign_ns: region.last_sign_ns(), ended_ns: region.ended_ns() };
        ledger.count(&region.name, &region.uuid, at, cause.as_str());
    }
}

/// The cause that the death of a region was counted under, by the ledger in a recorder's directory; `None` where none was.
///
/// ```
/// let directory = tempfile::tempdir()?;
/// assert_eq!(tachograph_exporter::deaths::cause_of(directory.path(), "mc-0", [7; 16]), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn cause_of(recorder: &Path, name: &str, uuid: [u8; 16]) -> Option<Cause> {
    ledger::cause_of(recorder, name, &uuid)
}

/// Counts the deaths of bursts that are told of and were never seen.
fn unseen(ledger: &mut Ledger, name: &str, bursts: &[Burst]) {
    let new = bursts.iter().fold(0_u64, |sum, burst| sum.saturating_add(ledger.count_burst(name, burst)));
    if new > 0 {
        tracing::warn!(
            region = name,
            deaths = new,
            "the archive dropped dead regions before this exporter looked: their causes are unknown, and totals that nobody \
             continued are in no sum"
        );
    }
}

/// The region that an archived file was of, by its name `<name>.<time>.<uuid>.tacho`.
fn name_of(path: &Path) -> Option<String> {
    let mut parts = path.file_stem()?.to_str()?.rsplitn(3, '.');
    let (_uuid, _time) = (parts.next()?, parts.next()?);
    parts.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_files_name_their_region() {
        let path = Path::new("/a/mc.0-a.20260101T000000Z.00112233445566778899aabbccddeeff.tacho");
        assert_eq!(name_of(path).as_deref(), Some("mc.0-a"));
        assert_eq!(name_of(Path::new("/a/mc.tacho")), None);
    }
}
