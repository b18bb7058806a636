//! What one region directory holds: region files, and locks whose region file is gone.
//!
//! Called by `directory.rs`. Reads names and asks locks; opens no region. What can't be read is a [`Problem`], never an
//! empty directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::access;
use crate::directory::Problem;
use crate::lock::{self, LockState};
use crate::region_file::is_region_name;

/// Regions that one directory may hold; bounds what a directory full of files can cost.
const MOST_REGIONS: usize = 10_000;

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Paths of the region files, by name. Hidden files are temporaries of writers at work.
    pub(crate) regions: Vec<PathBuf>,
    /// Names whose lock is there without a region: of writers that failed to start, that are just starting, or that
    /// lost their file.
    pub(crate) locks_alone: Vec<String>,
}

/// Lists one directory.
pub(crate) fn list(directory: &Path, problems: &mut Vec<Problem>) -> Content {
    match names(directory) {
        Ok(names) => content(directory, names, problems),
        Err(source) => {
            problems.push(Problem { path: directory.to_owned(), error: unreadable(directory, &source) });
            Content::default()
        }
    }
}

/// The region files of one directory, by name.
pub(crate) fn regions(directory: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    list(directory, problems).regions
}

/// Those of these names whose writer lives while its region file is gone. A writer that is just starting has its
/// temporary file there, except for moments: who wants to be sure asks twice. The directory is listed once for all.
pub(crate) fn lost_their_files(directory: &Path, mut names: Vec<String>) -> Vec<String> {
    let gone = |name: &str| {
        let region = directory.join(format!("{name}.tacho"));
        matches!(region.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
    };
    let held = |name: &str| matches!(lock::ask(&directory.join(format!("{name}.lock"))), Ok(LockState::Held));
    names.retain(|name| held(name) && gone(name));
    if names.is_empty() {
        return names;
    }
    let Ok(files) = self::names(directory) else { return Vec::new() };
    let starting: BTreeSet<&[u8]> = files.iter().filter_map(|file| temporary_of(file)).collect();
    // The region last: a start may have ended meanwhile.
    names.retain(|name| !starting.contains(name.as_bytes()) && gone(name));
    names
}

/// The region of a temporary file: `mc-0` of `.mc-0.<uuid>.tmp`.
fn temporary_of(file: &[u8]) -> Option<&[u8]> {
    let rest = file.strip_prefix(b".")?.strip_suffix(b".tmp")?;
    let dot = rest.iter().rposition(|byte| *byte == b'.')?;
    rest.get(..dot)
}

/// Names of the files in a directory whose files can be looked at.
fn names(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    #[cfg(test)]
    tests::LISTED.set(tests::LISTED.get() + 1);
    let names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().into_encoded_bytes()))
        .collect::<io::Result<Vec<_>>>()?;
    // A directory may be listed without the right to open anything in it.
    match directory.join(".").symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(names),
    }
}

fn content(directory: &Path, names: Vec<Vec<u8>>, problems: &mut Vec<Problem>) -> Content {
    use std::os::unix::ffi::OsStringExt;
    let mut content = Content::default();
    let mut locks = BTreeSet::new();
    for name in names.into_iter().filter(|name| !name.starts_with(b".")) {
        if let Some(stem) = name.strip_suffix(b".lock").and_then(|stem| std::str::from_utf8(stem).ok()) {
            locks.extend(is_region_name(stem).then(|| stem.to_owned()));
        } else if name.ends_with(b".tacho") {
            content.regions.push(directory.join(std::ffi::OsString::from_vec(name)));
        }
    }
    content.regions.sort();
    for path in &content.regions {
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            locks.remove(stem);
        }
    }
    content.locks_alone = locks.into_iter().take(MOST_REGIONS).collect();
    if content.regions.len() > MOST_REGIONS {
        let error = format!("{} region files; only the first {MOST_REGIONS} by name are read", content.regions.len());
        problems.push(Problem { path: directory.to_owned(), error });
        content.regions.truncate(MOST_REGIONS);
    }
    content
}

/// Why a directory can't be listed, with its owner and group and what helps.
pub(crate) fn unreadable(directory: &Path, source: &io::Error) -> String {
    match (source.kind(), directory.metadata()) {
        (io::ErrorKind::NotFound, _) => {
            "no such directory; start the application that writes there, or name another by --region-dir".to_owned()
        }
        (io::ErrorKind::PermissionDenied, _) => access::denied(directory),
        (_, Ok(metadata)) if !metadata.is_dir() => "not a directory; name the directory that holds it".to_owned(),
        _ => format!("can't be listed: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Directories;

    thread_local! {
        /// How often this thread listed a directory.
        pub(super) static LISTED: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn temporary_files_name_their_region() {
        assert_eq!(temporary_of(b".a.b.0123456789abcdef0123456789abcdef.tmp"), Some(b"a.b".as_slice()));
        for other in [b"mc.tacho".as_slice(), b"mc.0.tmp", b".tmp", b".mc.tmp", b"..tmp"] {
            assert!(temporary_of(other).is_none_or(<[u8]>::is_empty), "{other:?}");
        }
    }

    /// Work, not time: the directory is listed for all of them at once, and once more to be sure.
    #[test]
    fn many_lost_files_cost_no_more_listings_than_one() {
        let listings_of_a_scan = |regions: usize| {
            let folder = tempfile::tempdir().expect("a directory");
            let built: Vec<tachograph::Region> = (0..regions)
                .map(|number| {
                    let builder = tachograph::Region::builder(format!("mc-{number}"));
                    builder.dir(folder.path()).allow_disk_backed(true).lanes(2).build().expect("a region")
                })
                .collect();
            for region in &built {
                std::fs::remove_file(region.path().expect("a file")).expect("the cleaner may");
            }
            let directories = Directories::from_args(vec![folder.path().to_owned()]);
            LISTED.set(0);
            assert_eq!(directories.scan().problems.len(), regions);
            let first = LISTED.replace(0);
            assert_eq!(directories.scan().problems.len(), regions);
            built.into_iter().for_each(tachograph::Region::close);
            (first, LISTED.get())
        };
        // The scan's own, one for who lost a file, and one to be sure of those that were not known.
        assert_eq!([1, 10].map(listings_of_a_scan), [(3, 2); 2]);
    }
}
