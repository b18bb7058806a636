//! Where a collector looks for its regions: in directories, or at one path that it follows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::listing::chain;
use crate::{Directories, OpenError, Problem, RegionReader, Scan};

/// Where regions are.
#[derive(Debug)]
pub(super) enum Place {
    /// In these directories.
    Directories(Directories),
    /// At this path, where the region that was last seen is held open.
    File(PathBuf, Mutex<Arc<RegionReader>>),
}

impl Place {
    /// A path where a region stands now.
    pub(super) fn file(path: &Path) -> Result<Self, OpenError> {
        let reader = RegionReader::open(path)?;
        Ok(Self::File(path.to_owned(), Mutex::new(Arc::new(reader))))
    }

    /// The regions that are there now, and the last one seen at the path where none can be read any more.
    pub(super) fn scan(&self) -> (Scan, Option<Arc<RegionReader>>) {
        match self {
            Self::Directories(directories) => (directories.scan(), None),
            Self::File(path, last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if !last.is_current() {
                    match RegionReader::open(path) {
                        Ok(reader) => *last = Arc::new(reader),
                        // A file that a cleaner unlinked under its living writer is still being written, and still read.
                        Err(error) if error.is_not_found() && last.is_unlinked_alive() => {}
                        Err(error) => {
                            let problem = Problem { path: path.clone(), error: chain(&error) };
                            let scan = Scan { regions: Vec::new(), problems: vec![problem] };
                            return (scan, Some(Arc::clone(&last)));
                        }
                    }
                }
                (Scan { regions: vec![Arc::clone(&last)], problems: Vec::new() }, None)
            }
        }
    }
}
