//! Opens recordings: a recorder's directory, a directory of copied blocks, or one block file; and says what is in them.
//!
//! Called by every command that looks back. Reads headers only; samples are read by a [`Window`], one at a time. What can't
//! be read is a [`Problem`] beside the rest, never a reason to give nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::block::{self, BlockName, SUFFIX};
use super::origin::Origin;
use super::window::Window;
use crate::directory::Problem;

/// Directory of the blocks in a recorder's directory.
pub(crate) const BLOCKS: &str = "blocks";

/// Most blocks that one directory is read for.
const MOST_BLOCKS: usize = 200_000;

/// Why there is no recording to be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It can't be opened or listed.
    #[error("{path}: can't be read; give the directory of `tacho serve --recorder.dir`, or a .tachorec file", path = path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is no block of a recording.
    #[error("{path}: not a block of a recording, or one whose header is damaged", path = path.display())]
    NotABlock {
        /// The path.
        path: PathBuf,
    },
}

/// A block that can be read.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) origin: Origin,
}

/// Recordings of any number of regions.
///
/// ```
/// use tachograph_exporter::recording::Recordings;
/// let directory = tempfile::tempdir()?;
/// let recordings = Recordings::open(directory.path())?;
/// assert!(recordings.regions().is_empty() && recordings.problems().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recordings {
    regions: Vec<RecordedRegion>,
    problems: Vec<Problem>,
}

impl Recordings {
    /// Opens a recorder's directory, any directory of block files, or one block file.
    ///
    /// # Errors
    /// [`RecordingError`] where there is nothing of the kind at the path.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let open = |source| RecordingError::Open { path: path.to_owned(), source };
        let mut problems = Vec::new();
        let paths = if path.metadata().map_err(open)?.is_dir() {
            let inner = path.join(BLOCKS);
            list(if inner.is_dir() { &inner } else { path }, &mut problems).map_err(open)?
        } else {
            let reader = block::open(path).map_err(open)?;
            reader.ok_or_else(|| RecordingError::NotABlock { path: path.to_owned() })?;
            vec![path.to_owned()]
        };
        Ok(Self::of_paths(paths, problems))
    }

    fn of_paths(paths: Vec<PathBuf>, mut problems: Vec<Problem>) -> Self {
        let mut regions: BTreeMap<(u64, String, String), RecordedRegion> = BTreeMap::new();
        for path in paths {
            match block::open(&path) {
                Ok(Some(reader)) => {
                    let origin = reader.origin().clone();
                    let key = (origin.created_realtime_ns, origin.name.clone(), origin.uuid.clone());
                    let tiers = &mut regions.entry(key).or_insert_with(|| RecordedRegion::new(&origin)).tiers;
                    tiers.entry(origin.interval_ns).or_default().push(Block { path, origin });
                }
                // A block whose recorder died before it wrote a header, or that was dropped meanwhile.
                Ok(None) if path.metadata().is_ok_and(|file| file.len() > 0) => {
                    let error = "not a block of a recording, or one whose header is damaged".to_owned();
                    problems.push(Problem { path, error });
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => problems.push(Problem { path, error: error.to_string() }),
            }
        }
        let mut regions: Vec<RecordedRegion> = regions.into_values().collect();
        for blocks in regions.iter_mut().flat_map(|region| region.tiers.values_mut()) {
            blocks.sort_by_key(|block| block.origin.sequence);
        }
        Self { regions, problems }
    }

    /// Opens what a recorder's directory holds of one region, by the names of its blocks.
    pub(crate) fn of_region(recorder: &Path, uuid: [u8; 16]) -> Result<Self, RecordingError> {
        let directory = recorder.join(BLOCKS);
        let open = |source| RecordingError::Open { path: directory.clone(), source };
        let mut problems = Vec::new();
        let mut paths = list(&directory, &mut problems).map_err(open)?;
        paths.retain(|path| {
            let name = path.file_name().and_then(|name| BlockName::of(name.to_str()?));
            name.is_some_and(|name| name.uuid == uuid)
        });
        Ok(Self::of_paths(paths, problems))
    }

    /// The recorded regions, the oldest first.
    #[must_use]
    pub fn regions(&self) -> &[RecordedRegion] {
        &self.regions
    }

    /// Those of one name, the oldest first: each is the predecessor of the next, unless recordings are missing.
    pub fn named<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a RecordedRegion> + use<'a> {
        let name = name.to_owned();
        self.regions.iter().filter(move |region| region.origin.name == name)
    }

    /// The recording of one region.
    #[must_use]
    pub fn of_uuid(&self, uuid: [u8; 16]) -> Option<&RecordedRegion> {
        self.regions.iter().find(|region| region.origin.region_uuid() == uuid)
    }

    /// What could not be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// The recording of one region, from its first sample kept to its last.
#[derive(Debug, Clone)]
pub struct RecordedRegion {
    origin: Origin,
    /// Blocks by interval, in order.
    tiers: BTreeMap<u64, Vec<Block>>,
}

/// From when to when there are samples of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Nanoseconds between two samples.
    pub interval_ns: u64,
    /// The first sample: nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// The last sample.
    pub last_ns: u64,
}

impl RecordedRegion {
    fn new(origin: &Origin) -> Self {
        Self { origin: origin.clone(), tiers: BTreeMap::new() }
    }

    /// Which region it is, as one of its blocks says.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The block files, in the order of their tiers and of time.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.tiers.values().flatten().map(|block| block.path.as_path())
    }

    /// The block files of a tier that hold anything since a moment, the newest first.
    pub(crate) fn files_since(&self, interval_ns: u64, since_ns: u64) -> impl Iterator<Item = &Path> {
        let blocks = self.tiers.get(&interval_ns).map(Vec::as_slice).unwrap_or_default();
        // A block ends where the next one begins.
        let next = |index: usize| blocks.get(index + 1).map_or(u64::MAX, |next| next.origin.start_realtime_ns);
        blocks
            .iter()
            .enumerate()
            .rev()
            .filter(move |(index, _)| next(*index) >= since_ns)
            .map(|(_, block)| block.path.as_path())
    }

    /// What each tier really holds, the finest first; tiers without a sample are left out. Reads each tier's first and
    /// last block.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let times = |block: &Block| {
            let mut reader = block::open(&block.path).ok()??;
            let (first, ..) = reader.next_tick().ok()??;
            let mut last = first;
            while let Ok(Some((time, ..))) = reader.next_tick() {
                last = time;
            }
            Some((first, last))
        };
        let spans = self.tiers.iter().filter_map(|(interval_ns, blocks)| {
            let (first_ns, _) = blocks.iter().find_map(times)?;
            let (_, last_ns) = blocks.iter().rev().find_map(times)?;
            Some(Span { interval_ns: *interval_ns, first_ns, last_ns })
        });
        spans.collect()
    }

    /// The samples from `from_ns` to `to_ns`, both included, in nanoseconds since the Unix epoch: of the finest tier as
    /// far back as it reaches, and of coarser ones before that.
    #[must_use]
    pub fn window(&self, from_ns: u64, to_ns: u64) -> Window {
        Window::new(&self.tiers, from_ns, to_ns)
    }
}

/// The block files of a directory.
fn list(directory: &Path, problems: &mut Vec<Problem>) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with(SUFFIX) {
            continue;
        }
        if paths.len() == MOST_BLOCKS {
            let error = format!("more than {MOST_BLOCKS} blocks; the rest is not read");
            problems.push(Problem { path: directory.to_owned(), error });
            break;
        }
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}
