//! Crashes that the sampler did not see, by the regions in the archives: they died while no recorder ran, or lived between
//! two ticks. Asked by the sampler at each tick; an archive that did not change costs a look at its time.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{Directories, RegionReader, Verdict, content};

/// Most crashes that are given at a look, the newest: of more no more cases are kept.
const MOST: usize = 32;

/// An archive whose time is no older than this may change within it: file systems keep time coarsely.
const COARSE: Duration = Duration::from_secs(1);

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    /// The archives with the time of their last change.
    changed: HashMap<PathBuf, SystemTime>,
    known: HashSet<PathBuf>,
}

impl Archives {
    /// Crashed regions in the archives that were not given before, oldest death first. Those that `waits` has are given
    /// at a later look.
    pub(crate) fn crashed(
        &mut self,
        directories: &Directories,
        waits: impl Fn([u8; 16]) -> bool,
    ) -> Vec<Arc<RegionReader>> {
        let mut found = Vec::new();
        for directory in directories.paths() {
            let archive = directory.join("archive");
            let Ok(time) = archive.symlink_metadata().and_then(|archive| archive.modified()) else { continue };
            let settled = time.elapsed().is_ok_and(|age| age > COARSE);
            if self.changed.get(&archive) == Some(&time) {
                continue;
            }
            let paths: HashSet<PathBuf> = content::regions(&archive, &mut Vec::new()).into_iter().collect();
            self.known.retain(|path| !path.starts_with(&archive) || paths.contains(path));
            let mut again = !settled;
            for path in paths {
                if self.known.contains(&path) {
                    continue;
                }
                // What can't be opened is told by others.
                if let Ok(reader) = RegionReader::open(&path) {
                    if waits(reader.uuid()) {
                        again = true;
                        continue;
                    }
                    found.push(Arc::new(reader));
                }
                self.known.insert(path);
            }
            if !again {
                self.changed.insert(archive, time);
            }
        }
        let ended_ns = |reader: &Arc<RegionReader>| reader.info().map_or(0, |region| region.ended_ns());
        found.retain(|reader| reader.verdict().is_ok_and(|verdict| verdict == Verdict::Crashed));
        found.sort_by_cached_key(ended_ns);
        found.drain(..found.len().saturating_sub(MOST));
        found
    }
}
