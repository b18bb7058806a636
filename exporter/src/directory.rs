//! Region directories: which regions there are, now, and what could not be read.
//!
//! Nothing here fails as a whole: what can't be read is a [`Problem`] with its path, and the rest is still listed.
//! Readers stay open between scans, so that a scan costs a listing and a look at each path.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::case::{self, Case, CaseError};
use crate::content::{self, Content};
use crate::region_file::is_region_name;
use crate::table::printable;
use crate::{OpenError, ReadError, RegionReader, Verdict};

/// The directories that regions are looked for in.
///
/// ```
/// use tachograph_exporter::Directories;
/// let scan = Directories::from_args(vec!["/nowhere".into()]).scan();
/// assert_eq!(scan.regions.len(), 0);
/// assert!(scan.problems[0].error.contains("no such directory"));
/// ```
#[derive(Debug)]
pub struct Directories {
    /// Given by the user, each of which must be there; empty where the default ones are meant.
    given: Vec<PathBuf>,
    /// Default ones, looked for anew at each scan: an application may make one at any time.
    default: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

/// What one scan leaves for the next.
#[derive(Debug, Default)]
struct Seen {
    readers: BTreeMap<PathBuf, Arc<RegionReader>>,
    /// Paths where a living writer's file was missing.
    lost: BTreeSet<PathBuf>,
}

/// What a scan found.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The regions, by path. Readers are shared with the scans before.
    pub regions: Vec<Arc<RegionReader>>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A path that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path.
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// What is wrong and what helps.
    pub error: String,
}

/// One line, whatever the path is: whoever makes a file in a region directory can't make lines of a log or drive a terminal.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        // The reader's errors name their path already.
        if !self.error.contains(&path) {
            write!(f, "{}: ", printable(&path))?;
        }
        f.write_str(&printable(&self.error))
    }
}

/// Why REGION leads to no region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is none of that name.
    #[error("no region {region}: {searched}{hint}", hint = if searched.starts_with("no region directory") { "" } else { "; `tacho ls --archived` lists what there is" })]
    NotFound {
        /// What was asked for.
        region: String,
        /// Where it was looked for, with what could not be read there.
        searched: String,
    },
    /// Regions of that name are in more than one directory.
    #[error("more than one region {region}: {paths}; give the path")]
    Ambiguous {
        /// What was asked for.
        region: String,
        /// Their paths.
        paths: String,
    },
    /// No region of that name crashed.
    #[error("no crash of region {name}: {searched}")]
    NoCrash {
        /// The region's name.
        name: String,
        /// Where it was looked for, with what could not be read there.
        searched: String,
    },
    /// It is neither a path nor a name.
    #[error("{region:?} is no region: give a name (1 to 64 of A-Z a-z 0-9 . _ -), a name@crash, or a path")]
    NotAName {
        /// What was asked for.
        region: String,
    },
    /// The file is there and can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The case is there and can't be used.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The file was opened, and its verdict can't be told.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// How long a writer whose lock is held without a region file is given to show that it is just starting.
const STARTING: Duration = Duration::from_millis(50);

impl Directories {
    /// The directories of `--region-dir`. None at all means the default ones: `$TACHOGRAPH_DIR` where it is set, else
    /// those of `/run/tachograph` and `/dev/shm/tachograph-<euid>` that exist.
    #[must_use]
    pub fn from_args(directories: Vec<PathBuf>) -> Self {
        let mut given = directories;
        if given.is_empty() {
            given.extend(std::env::var_os("TACHOGRAPH_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from));
        }
        let own = format!("/dev/shm/tachograph-{}", rustix::process::geteuid().as_raw());
        let default = vec![PathBuf::from("/run/tachograph"), PathBuf::from(own)];
        Self { given, default, seen: Mutex::default() }
    }

    /// Where regions are looked for now, each directory once.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let wanted = if self.given.is_empty() { &self.default } else { &self.given };
        let mut seen = HashSet::new();
        let there = |path: &&PathBuf| !self.given.is_empty() || path.is_dir();
        let first = |path: &&PathBuf| seen.insert(path.canonicalize().unwrap_or_else(|_| (*path).clone()));
        wanted.iter().filter(there).filter(first).cloned().collect()
    }

    /// Lists the regions in place: running, closed and crashed ones, and copies that lie among them.
    #[must_use]
    pub fn scan(&self) -> Scan {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { readers: mut before, lost } = std::mem::take(&mut *seen);
        let readers = &mut seen.readers;
        let mut problems = Vec::new();
        let mut suspects = Vec::new();
        for directory in self.searched(&mut problems) {
            let Content { regions, locks_alone } = content::list(&directory, &mut problems);
            for path in regions {
                let known = before.remove(&path).filter(|reader| reader.is_current());
                match known.map_or_else(|| RegionReader::open(&path).map(Arc::new), Ok) {
                    Ok(reader) => drop(readers.insert(path, reader)),
                    // Listed and gone again: regions come and go.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => problems.push(problem(&path, error)),
                }
            }
            suspects.push((directory, locks_alone));
        }
        // A file that a cleaner unlinked under its living writer is still being written, and still read.
        for (path, reader) in before {
            if reader.is_unlinked_alive() {
                readers.entry(path).or_insert(reader);
            }
        }
        for (directory, names) in &mut suspects {
            names.retain(|name| !readers.contains_key(&region_path(directory, name)));
        }
        seen.lost = lost_files(suspects, &lost);
        problems.extend(seen.lost.iter().map(|path| Problem { path: path.clone(), error: LOST.to_owned() }));
        Scan { regions: seen.readers.values().cloned().collect(), problems }
    }

    /// Lists the archived regions, or those of one name, oldest first.
    #[must_use]
    pub fn archived(&self, name: Option<&str>) -> Scan {
        let mut scan = Scan::default();
        for directory in self.searched(&mut scan.problems) {
            let archive = directory.join("archive");
            match archive.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // In the words of a scan, so that it is one problem where both are done.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let error = content::unreadable(&directory, &error);
                    scan.problems.push(Problem { path: directory, error });
                    continue;
                }
                _ => {}
            }
            for path in content::regions(&archive, &mut scan.problems) {
                if name.is_some_and(|name| !may_be_of(&path, name)) {
                    continue;
                }
                match RegionReader::open(&path) {
                    Ok(reader) if name.is_none_or(|name| name == reader.name()) => scan.regions.push(Arc::new(reader)),
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => scan.problems.push(problem(&path, error)),
                }
            }
        }
        scan.regions.sort_by_key(|reader| reader.created_realtime_ns());
        scan
    }

    /// Opens what a user calls REGION: a name, `name@crash` (the newest crash of that name, archived or in place), or
    /// the path of any region file or of a case, whose copy of the region it then is.
    ///
    /// # Errors
    /// [`ResolveError`] saying what was looked for, and where.
    pub fn resolve(&self, region: &str) -> Result<Arc<RegionReader>, ResolveError> {
        if case::is_case(Path::new(region)) {
            return Ok(Arc::new(Case::open(Path::new(region))?.into_region()?));
        }
        if region.contains('/') {
            return Ok(Arc::new(RegionReader::open(Path::new(region))?));
        }
        if let Some(name) = region.strip_suffix("@crash").filter(|name| is_region_name(name)) {
            return self.newest_crash(name);
        }
        let in_place = if is_region_name(region) { self.in_place(region)? } else { Vec::new() };
        match in_place.as_slice() {
            [one] => Ok(Arc::clone(one)),
            // A file of the working directory, given without a slash.
            [] if Path::new(region).is_file() => Ok(Arc::new(RegionReader::open(Path::new(region))?)),
            [] if !is_region_name(region) => Err(ResolveError::NotAName { region: region.to_owned() }),
            [] => {
                Err(ResolveError::NotFound { region: region.to_owned(), searched: self.searched_text(region, false) })
            }
            several => {
                let paths: Vec<String> = several.iter().map(|reader| reader.path().display().to_string()).collect();
                Err(ResolveError::Ambiguous { region: region.to_owned(), paths: paths.join(", ") })
            }
        }
    }

    fn newest_crash(&self, name: &str) -> Result<Arc<RegionReader>, ResolveError> {
        let mut candidates = self.archived(Some(name)).regions;
        candidates.extend(self.in_place(name)?);
        candidates.retain(|reader| reader.verdict().is_ok_and(|verdict| verdict == Verdict::Crashed));
        let newest = candidates.into_iter().max_by_key(|reader| reader.created_realtime_ns());
        newest.ok_or_else(|| ResolveError::NoCrash { name: name.to_owned(), searched: self.searched_text(name, true) })
    }

    /// The regions of that name in their places.
    fn in_place(&self, name: &str) -> Result<Vec<Arc<RegionReader>>, ResolveError> {
        let mut found = Vec::new();
        for directory in self.paths() {
            match RegionReader::open(&region_path(&directory, name)) {
                Ok(reader) => found.push(Arc::new(reader)),
                Err(error) if error.is_not_found() => {}
                // "Not allowed to look" is told by `searched_text`, where nothing else is found.
                Err(OpenError::Open { source, .. }) if !directory_is_readable(&directory) => {
                    tracing::debug!(directory = %directory.display(), %source, "directory can't be searched");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// The directories to search; notes a problem where there is none by default.
    fn searched(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let paths = self.paths();
        if paths.is_empty() {
            let path = self.default.first().cloned().unwrap_or_default();
            problems.push(Problem { path, error: self.no_directory() });
        }
        paths
    }

    fn no_directory(&self) -> String {
        let default: Vec<String> = self.default.iter().map(|path| path.display().to_string()).collect();
        format!(
            "no region directory: none of {} exists; start an application that builds a region, or name its directory \
             by $TACHOGRAPH_DIR or --region-dir",
            default.join(", ")
        )
    }

    fn searched_text(&self, name: &str, archives: bool) -> String {
        let mut problems = Vec::new();
        let paths = self.paths();
        if paths.is_empty() {
            return self.no_directory();
        }
        let texts: Vec<String> = paths
            .iter()
            .map(|path| {
                problems.clear();
                content::list(path, &mut problems);
                let mut why = problems.first().map(|problem| format!(" ({})", problem.error)).unwrap_or_default();
                if !content::lost_their_files(path, vec![name.to_owned()]).is_empty() {
                    why = format!(" ({LOST})");
                }
                let archive = if archives { " and its archive" } else { "" };
                format!("{}{archive}{why}", path.display())
            })
            .collect();
        format!("looked in {}", texts.join(", "))
    }
}

/// What is said of a path where a living writer's file is missing.
const LOST: &str = "the writer lives (it holds the lock), but its region file is gone: something removed it, and nobody \
                    can open it any more; stop what removes it (see \"Who wipes it\" in OPERATIONS) and restart the writer";

/// Whether an archived file is called as the regions of this name are.
pub(crate) fn may_be_of(path: &Path, name: &str) -> bool {
    let file = path.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

fn region_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.tacho"))
}

/// The paths of the suspects, by directory, whose writers live without their file. Those that were not known before are
/// asked again after a moment: they may be just starting.
fn lost_files(suspects: Vec<(PathBuf, Vec<String>)>, known: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let ask = |suspects: Vec<(PathBuf, Vec<String>)>| -> Vec<(PathBuf, Vec<String>)> {
        let lost = |(directory, names): (PathBuf, Vec<String>)| {
            let names = content::lost_their_files(&directory, names);
            (directory, names)
        };
        suspects.into_iter().map(lost).collect()
    };
    let paths = |lost: &[(PathBuf, Vec<String>)]| -> BTreeSet<PathBuf> {
        lost.iter().flat_map(|(directory, names)| names.iter().map(|name| region_path(directory, name))).collect()
    };
    let mut lost = ask(suspects);
    if !paths(&lost).is_subset(known) {
        std::thread::sleep(STARTING);
        lost = ask(lost);
    }
    paths(&lost)
}

fn directory_is_readable(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok()
}

/// An error with its causes, without the path that the problem names already.
fn problem(path: &Path, error: OpenError) -> Problem {
    let mut text = error.to_string();
    if let Some(rest) = text.strip_prefix(&format!("{}: ", path.display())) {
        text = rest.to_owned();
    }
    let cause = match &error {
        OpenError::Open { source, .. } | OpenError::Read { source, .. } => Some(source.to_string()),
        OpenError::Lock(error) => std::error::Error::source(error).map(ToString::to_string),
        _ => None,
    };
    if let Some(cause) = cause {
        text = format!("{text}: {cause}");
    }
    Problem { path: path.to_owned(), error: text }
}

fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
