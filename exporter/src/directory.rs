//! Region directories: which regions there are, now, and what could not be read.
//!
//! Nothing here fails as a whole: what can't be read is a [`Problem`] with its path, and the rest is still listed.
//! Readers stay open between scans, so that a scan costs a listing and a look at each path.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};
use serde::{Serialize, Serializer};

use crate::region_file::is_region_name;
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
    readers: Mutex<BTreeMap<PathBuf, Arc<RegionReader>>>,
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
    /// The file was opened, and its verdict can't be told.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Regions that one directory may hold; bounds what a directory full of files can cost.
const MOST_REGIONS: usize = 10_000;

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
        Self { given, default, readers: Mutex::default() }
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
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *readers);
        let mut problems = Vec::new();
        for directory in self.searched(&mut problems) {
            for path in list(&directory, &mut problems) {
                let known = before.remove(&path).filter(|reader| reader.is_current());
                match known.map_or_else(|| RegionReader::open(&path).map(Arc::new), Ok) {
                    Ok(reader) => drop(readers.insert(path, reader)),
                    // Listed and gone again: regions come and go.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => problems.push(problem(&path, error)),
                }
            }
        }
        // A file that a cleaner unlinked under its living writer is still being written, and still read.
        for (path, reader) in before {
            if reader.is_unlinked_alive() {
                readers.entry(path).or_insert(reader);
            }
        }
        Scan { regions: readers.values().cloned().collect(), problems }
    }

    /// Lists the archived regions, or those of one name, oldest first.
    #[must_use]
    pub fn archived(&self, name: Option<&str>) -> Scan {
        let mut scan = Scan::default();
        for directory in self.searched(&mut scan.problems) {
            let archive = directory.join("archive");
            if matches!(archive.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            for path in list(&archive, &mut scan.problems) {
                let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
                if name.is_some_and(|name| file.strip_prefix(name).is_none_or(|rest| !rest.starts_with('.'))) {
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
    /// the path of any region file.
    ///
    /// # Errors
    /// [`ResolveError`] saying what was looked for, and where.
    pub fn resolve(&self, region: &str) -> Result<Arc<RegionReader>, ResolveError> {
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
            [] => Err(ResolveError::NotFound { region: region.to_owned(), searched: self.searched_text(false) }),
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
        newest.ok_or_else(|| ResolveError::NoCrash { name: name.to_owned(), searched: self.searched_text(true) })
    }

    /// The regions of that name in their places.
    fn in_place(&self, name: &str) -> Result<Vec<Arc<RegionReader>>, ResolveError> {
        let mut found = Vec::new();
        for directory in self.paths() {
            match RegionReader::open(&directory.join(format!("{name}.tacho"))) {
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

    fn searched_text(&self, archives: bool) -> String {
        let mut problems = Vec::new();
        let paths = self.paths();
        if paths.is_empty() {
            return self.no_directory();
        }
        let texts: Vec<String> = paths
            .iter()
            .map(|path| {
                problems.clear();
                list(path, &mut problems);
                let why = problems.first().map(|problem| format!(" ({})", problem.error)).unwrap_or_default();
                let archive = if archives { " and its archive" } else { "" };
                format!("{}{archive}{why}", path.display())
            })
            .collect();
        format!("looked in {}", texts.join(", "))
    }
}

/// The region files of one directory, by name. Hidden files are temporaries of writers at work.
fn list(directory: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) => {
            problems.push(Problem { path: directory.to_owned(), error: unreadable(directory, &source) });
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                if !name.starts_with(b".") && name.ends_with(b".tacho") {
                    paths.push(entry.path());
                }
            }
            Err(source) => {
                problems.push(Problem { path: directory.to_owned(), error: unreadable(directory, &source) });
                break;
            }
        }
    }
    paths.sort();
    if paths.len() > MOST_REGIONS {
        let error = format!("{} region files; only the first {MOST_REGIONS} by name are read", paths.len());
        problems.push(Problem { path: directory.to_owned(), error });
        paths.truncate(MOST_REGIONS);
    }
    paths
}

/// Why a directory can't be listed, with its owner and group and what helps.
fn unreadable(directory: &Path, source: &io::Error) -> String {
    match (source.kind(), directory.metadata()) {
        (io::ErrorKind::NotFound, _) => {
            "no such directory; start the application that writes there, or name another by --region-dir".to_owned()
        }
        (io::ErrorKind::PermissionDenied, Ok(metadata)) => format!(
            "not readable for this user: owner {}, group {}, mode {:04o}; run as its owner or as a member of its group",
            owner(metadata.uid()),
            group(metadata.gid()),
            metadata.mode() & 0o7777,
        ),
        (_, Ok(metadata)) if !metadata.is_dir() => "not a directory; name the directory that holds it".to_owned(),
        _ => format!("can't be listed: {source}"),
    }
}

fn directory_is_readable(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok()
}

fn owner(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| format!("{} ({uid})", user.name))
}

fn group(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| format!("{} ({gid})", group.name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_may_not_be_read_is_told_with_owner_and_group() {
        // Root reads everything, so the refusal is made up; owner, group and mode are the directory's own.
        let directory = tempfile::tempdir().unwrap();
        let text = unreadable(directory.path(), &io::ErrorKind::PermissionDenied.into());
        let metadata = directory.path().metadata().unwrap();
        assert!(text.contains(&format!("owner {}, group {}", owner(metadata.uid()), group(metadata.gid()))), "{text}");
        assert!(text.contains(", mode 0") && text.contains("run as"), "{text}");
        assert_eq!(owner(4_000_000_000), "4000000000");
    }
}
