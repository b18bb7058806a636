//! Retention by hand: which archived regions the rules would drop now, why, and dropping them. `tacho gc`.
//!
//! The rules are `tachograph_layout::retention`'s, the same that an application applies when it starts; this is for
//! applications that never start again, and for tighter limits. Only archived files are touched (in `archive/`, or hidden
//! beside the regions where that could not be used): never a region in its place, never a file of a process that lives, and
//! no name that is just being started. No lock is taken: a reader's lock would keep an application out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tachograph_layout::retention::{self, Burst, Death, region_of};

use crate::bursts;
use crate::directory::Problem;
use crate::json::Now;
use crate::{Directories, RegionReader, Verdict, process_image, region_file};

/// What is kept.
///
/// ```
/// // An application's own defaults.
/// let limits = tachograph_exporter::gc::Limits::default();
/// assert_eq!((limits.files, limits.share_percent), (4, 25));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files of one region, at least 1.
    pub files: usize,
    /// Most percent of the file system for an archive.
    pub share_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 4, share_percent: 25 }
    }
}

/// What is dropped, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Sweep {
    /// Files to drop, or dropped.
    pub dropped: Vec<Dropped>,
    /// Files that stay.
    pub kept: u64,
    /// What could not be read or dropped.
    pub problems: Vec<Problem>,
}

/// A file to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Where it is.
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// Its region's name.
    pub region: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Why it goes.
    pub why: Why,
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Why {
    /// It is neither the first nor the newest crash of its burst.
    Burst,
    /// Its region has more files than are kept.
    Files,
    /// The archive takes more than its share of the file system.
    Share,
}

impl Why {
    /// The rule in words.
    ///
    /// ```
    /// assert!(tachograph_exporter::gc::Why::Burst.as_str().contains("first and the newest"));
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "of a burst the first and the newest crash stay",
            Self::Files => "its region has more files than are kept",
            Self::Share => "the archive takes more than its share of the file system",
        }
    }
}

/// Applies the rules to the archives of these directories; with `dry_run` nothing is changed.
///
/// ```
/// use tachograph_exporter::{Directories, gc};
/// let directory = tempfile::tempdir()?;
/// let directories = Directories::from_args(vec![directory.path().into()]);
/// let sweep = gc::sweep(&directories, gc::Limits::default(), true);
/// assert!(sweep.dropped.is_empty() && sweep.problems.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn sweep(directories: &Directories, limits: Limits, dry_run: bool) -> Sweep {
    let mut sweep = Sweep::default();
    for directory in directories.paths() {
        Archive::sweep(&directory, limits, dry_run, &mut sweep);
    }
    sweep
}

/// One region directory with its archive.
struct Archive<'a> {
    directory: &'a Path,
    /// `None` where there is none that an application would use.
    inner: Option<PathBuf>,
    deaths: Vec<Death>,
}

impl<'a> Archive<'a> {
    fn sweep(directory: &'a Path, limits: Limits, dry_run: bool, sweep: &mut Sweep) {
        let Some(mut archive) = Self::read(directory, sweep) else { return };
        let share = match rustix::fs::statvfs(directory) {
            Ok(room) => {
                Some(room.f_blocks.saturating_mul(room.f_frsize) / 100 * u64::from(limits.share_percent.min(100)))
            }
            Err(errno) => {
                let error = format!("its file system can't be asked for its size: {errno}");
                sweep.problems.push(Problem { path: directory.to_owned(), error });
                None
            }
        };
        let regions: BTreeSet<String> = archive.deaths.iter().map(|death| death.region.clone()).collect();
        for region in regions {
            if archive.is_starting(&region) {
                let error = format!("{region} is just being started; its files are left alone");
                sweep.problems.push(Problem { path: directory.to_owned(), error });
                continue;
            }
            archive.sweep_region(&region, limits.files.max(1), share, dry_run, sweep);
        }
        sweep.kept += archive.deaths.len() as u64;
    }

    /// Lists the dead regions; `None` where the directory can't be read.
    fn read(directory: &'a Path, sweep: &mut Sweep) -> Option<Self> {
        let inner = directory.join("archive");
        // As an application would: no link, no other file system.
        let own = |inner: &PathBuf| {
            let (one, other) = (directory.metadata().ok(), inner.symlink_metadata().ok());
            one.zip(other).is_some_and(|(one, other)| other.is_dir() && one.dev() == other.dev())
        };
        let mut archive = Self { directory, inner: Some(inner).filter(own), deaths: Vec::new() };
        let places =
            archive.inner.clone().into_iter().map(|inner| (inner, false)).chain([(directory.to_owned(), true)]);
        for (place, hidden) in places {
            let entries = match std::fs::read_dir(&place) {
                Ok(entries) => entries,
                Err(error) => {
                    let error = crate::content::unreadable(&place, &error);
                    sweep.problems.push(Problem { path: place, error });
                    if hidden {
                        return None;
                    }
                    continue;
                }
            };
            for entry in entries.flatten() {
                let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let visible = if hidden { file.strip_prefix('.') } else { Some(file.as_str()) };
                let Some(region) = visible.and_then(region_of).map(str::to_owned) else { continue };
                archive.deaths.extend(death(&entry.path(), file, region));
            }
        }
        Some(archive)
    }

    fn place_of(&self, file: &str) -> &Path {
        match &self.inner {
            Some(inner) if !file.starts_with('.') => inner,
            _ => self.directory,
        }
    }

    /// Whether a writer of that name is laying out its region now.
    fn is_starting(&self, region: &str) -> bool {
        let is_its = |file: &OsStr| {
            let Some(file) = file.to_str() else { return false };
            file.strip_prefix('.')
                .and_then(|rest| rest.strip_suffix(".tmp"))
                .and_then(|rest| rest.rsplit_once('.'))
                .is_some_and(|(name, uuid)| name == region && uuid.len() == 32)
        };
        std::fs::read_dir(self.directory).into_iter().flatten().flatten().any(|entry| is_its(&entry.file_name()))
    }

    fn sweep_region(&mut self, region: &str, files: usize, share: Option<u64>, dry_run: bool, sweep: &mut Sweep) {
        let now_ns = Now::read().realtime_ns;
        let books = [self.directory.join("archive"), self.directory.to_owned()];
        let remembered: Vec<Burst> = books.iter().flat_map(|place| bursts::read(place, region)).collect();
        // What stands for the region that a start would have archived just now.
        let own = self.deaths.iter().filter(|death| death.region == region);
        let Some(newest) = own.max_by_key(|death| (death.died_ns <= now_ns, death.died_ns)) else { return };
        let told = remembered.iter().any(|burst| (burst.from_ns..=burst.last_ns).contains(&newest.died_ns));
        let just = newest.file.clone();
        let plan = |files, bytes| {
            let limits = retention::Limits { region, just: &just, told, now_ns, files, bytes };
            retention::plan(&self.deaths, &remembered, limits)
        };
        let whole = plan(files, share);
        // The same rules one after the other tell which of them a file goes by.
        let (bursts_only, no_share) = (plan(usize::MAX, None).drop, plan(files, None).drop);
        let why = |file: &String| match (bursts_only.contains(file), no_share.contains(file)) {
            (true, _) => Why::Burst,
            (false, true) => Why::Files,
            (false, false) => Why::Share,
        };
        let lives = |file: &String| {
            region_file::header_of(&self.place_of(file).join(file)).is_some_and(|header| process_image::runs(&header))
        };
        let go: Vec<Dropped> = whole
            .drop
            .iter()
            .filter(|file| !lives(file))
            .filter_map(|file| {
                let death = self.deaths.iter().find(|death| death.file == **file)?;
                let path = self.place_of(file).join(file);
                Some(Dropped { path, region: death.region.clone(), bytes: death.bytes, why: why(file) })
            })
            .collect();
        if go.is_empty() {
            return;
        }
        if !dry_run && let Err(error) = self.note(region, &whole.bursts) {
            // Dropped without being counted, deaths would be forgotten.
            let error = format!("the count of its bursts can't be noted, so nothing of {region} is dropped: {error}");
            return sweep.problems.push(Problem { path: self.place_of("").to_owned(), error });
        }
        let mut gone = BTreeSet::new();
        for one in go {
            match if dry_run { Ok(()) } else { std::fs::remove_file(&one.path) } {
                Ok(()) => {
                    gone.insert(one.path.clone());
                    sweep.dropped.push(one);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = format!("can't be dropped: {error}");
                    sweep.problems.push(Problem { path: one.path, error });
                }
            }
        }
        let deaths = std::mem::take(&mut self.deaths);
        self.deaths =
            deaths.into_iter().filter(|one| !gone.contains(&self.place_of(&one.file).join(&one.file))).collect();
    }

    /// Writes the book of a region's bursts, as an application's start does, before anything is dropped.
    fn note(&self, region: &str, bursts: &[Burst]) -> io::Result<()> {
        let place = self.place_of("");
        let text: String = bursts.iter().filter(|burst| burst.deaths > 1).map(Burst::line).collect();
        let path = place.join(format!(".{region}.bursts"));
        if text.is_empty() {
            return Ok(());
        }
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        let mut file = tempfile::Builder::new().prefix(".tacho-gc-").permissions(permissions).tempfile_in(place)?;
        file.write_all(text.as_bytes())?;
        // The application must be able to read it, and root may not be the application.
        let owner = place.metadata()?;
        if owner.uid() != rustix::process::geteuid().as_raw() {
            std::os::unix::fs::fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
        }
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

/// What one file says of a death; a file that is no region still has a time and a size.
fn death(path: &Path, file: String, region: String) -> Option<Death> {
    let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let nanoseconds = |seconds: i64, rest: i64| {
        u64::try_from(seconds)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(rest).unwrap_or(0))
    };
    let changed = nanoseconds(metadata.ctime(), metadata.ctime_nsec());
    let info = RegionReader::open(path).ok().and_then(|reader| reader.info().ok());
    let (died_ns, closed) = match info {
        Some(region) => (region.last_sign_ns(), region.verdict == Verdict::Closed),
        None => (nanoseconds(metadata.mtime(), metadata.mtime_nsec()), false),
    };
    let bytes = metadata.blocks().saturating_mul(512);
    Some(Death { file, region, died_ns: retention::died_ns(died_ns, changed), closed, bytes })
}

fn path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
