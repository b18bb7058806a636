//! Why a region can't be built: each error names what is wrong, where, and what to do about it.
//!
//! Whoever gets one of these finds nothing half-made left behind: no temporary file, no lock held. Where the kernel
//! gave the reason, it is in `source()` and not repeated in the text.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use tachograph_layout::{GeometryError, MapError};

/// Why a region can't be built.
///
/// ```
/// use tachograph::{BuildError, Region};
/// let error = Region::builder("no/slash").build().unwrap_err();
/// assert!(matches!(error, BuildError::Name { .. }));
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The name is no region name. Take another one.
    #[error(
        "region name {name:?} is not usable: take 1 to 64 of A-Za-z0-9._-, the first no dot \
         (worker pools use slot names such as mc-0)"
    )]
    Name {
        /// The name asked for.
        name: String,
    },
    /// A capacity is out of its range. Ask for less of what the text names, or for more where it is 0.
    #[error("region {name} can't be sized: {error}")]
    Capacity {
        /// The region's name.
        name: String,
        /// Which capacity, and its range.
        error: GeometryError,
    },
    /// The directory does not serve. The text says what to do.
    #[error("region directory {}: {fault}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        fault: DirectoryFault,
    },
    /// Where the lock file should be is something else. Find out who put it there, and remove it.
    #[error("lock file {} is {found} where a regular file is needed: remove it", path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// The name is another user's in this directory. Build under another name, or in a directory of your own.
    #[error(
        "lock file {} can't be opened: owner {owner}, group {group}, mode {mode:04o}, and this is user {user}: the name is \
         another user's there; build under another name, or in a directory of your own",
        path.display()
    )]
    OtherUser {
        /// The lock file.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// Its group's id.
        group: u32,
        /// Its permission bits.
        mode: u32,
        /// User id of this process.
        user: u32,
    },
    /// A living process has a region of this name. Stop it, or build under another name.
    #[error("region {} is in use by {}: stop it, or build under another name", path.display(), owner_text(owner))]
    Owned {
        /// The region file.
        path: PathBuf,
        /// Who has it, where that can be told.
        owner: Option<Owner>,
    },
    /// There is a region of this name already, and the builder was told to refuse then.
    #[error(
        "region {} exists already, left by a process that is gone: move it away, \
         or build with OnExisting::Archive",
        path.display()
    )]
    Exists {
        /// The region file.
        path: PathBuf,
    },
    /// Where the region file should be is something that is not a file. Find out who put it there, and remove it.
    #[error("region file {} is {found} where a regular file is needed: remove it", path.display())]
    Squatted {
        /// The region file.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// The region file that is there can't be renamed, neither into the archive nor beside it. Move it away by hand.
    #[error(
        "region file {} can't be moved to {}, nor renamed where it is: move or remove it by hand",
        path.display(),
        to.display()
    )]
    Archive {
        /// The region file.
        path: PathBuf,
        /// Where it should go.
        to: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No room for the region. Free some, enlarge the file system, or build a smaller region.
    #[error("region file {} needs {needed} bytes, {}", path.display(), full_text(*needed, *free))]
    Full {
        /// The region file.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes that the file system says are free, after everything half-made was removed.
        free: u64,
    },
    /// The process may not make files as large as the region: the kernel would end it with SIGXFSZ.
    #[error(
        "region file {} needs {needed} bytes and this process may write {limit} to a file: raise its limit (RLIMIT_FSIZE, \
         `ulimit -f`, LimitFSIZE= of systemd), or build a smaller region",
        path.display()
    )]
    FileSizeLimit {
        /// The region file.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The kernel gave no memory or no address space.
    #[error("no memory for region {name}: raise the limit on address space (RLIMIT_AS), or build with fewer lanes")]
    Memory {
        /// The region's name.
        name: String,
        /// What failed.
        #[source]
        source: MapError,
    },
    /// A step on a file failed.
    #[error("can't {action} {}", path.display())]
    Io {
        /// The step.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a region directory.
///
/// ```
/// use tachograph::{BuildError, DirectoryFault, Region};
/// let error = Region::builder("mc-0").dir("/nowhere").build().unwrap_err();
/// assert!(matches!(error, BuildError::Directory { fault: DirectoryFault::Missing, .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryFault {
    /// It does not exist.
    #[error(
        "no such directory: make it on tmpfs (for example as RuntimeDirectory= of a systemd unit), \
         or name another one with TACHOGRAPH_DIR or Builder::dir"
    )]
    Missing,
    /// It is a symbolic link.
    #[error("is a symbolic link, which is never followed: name the directory itself")]
    Link,
    /// It is something else.
    #[error("is not a directory: name another one with TACHOGRAPH_DIR or Builder::dir")]
    NotDirectory,
    /// It belongs to somebody else.
    #[error("belongs to user {owner}: it must belong to user {user} or to root; chown it, or name another one")]
    Owner {
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Anybody may write it, as /tmp and /dev/shm.
    #[error(
        "is writable by every user (mode {mode:04o}), so anybody could put a file in the place of a region: make a directory of your own in it and name that one"
    )]
    WritableByOthers {
        /// Its mode.
        mode: u32,
    },
    /// Its group may write it, and new files would not belong to that group.
    #[error("is writable by its group without being setgid (mode {mode:04o}): chmod g-w or g+s it")]
    GroupWithoutSetgid {
        /// Its mode.
        mode: u32,
    },
    /// This process may not write it.
    #[error(
        "is not writable by this process: chown or chmod it, or name another one with TACHOGRAPH_DIR or Builder::dir"
    )]
    NotWritable,
    /// It is not in memory.
    #[error(
        "is on a disk file system (type {kind:#x}), where a store can stall: mount tmpfs there, name a directory on \
         tmpfs (such as below /dev/shm) with TACHOGRAPH_DIR or Builder::dir, or build with allow_disk_backed(true)"
    )]
    DiskBacked {
        /// The file system's magic number, see statfs(2).
        kind: u64,
    },
    /// The kernel refused to open or to look at it.
    #[error(
        "can't be opened: {error}; use a directory that this user may enter and write, see its owner and mode with `ls -ld`"
    )]
    Refused {
        /// What the kernel said.
        error: io::Error,
    },
}

/// The process that has a region, as the region's header tells.
///
/// ```
/// use tachograph::{BuildError, Owner, Region};
/// let dir = tempfile::tempdir_in("/dev/shm")?;
/// let region = Region::builder("mc-0").dir(dir.path()).build()?;
/// let error = Region::builder("mc-0").dir(dir.path()).build().unwrap_err();
/// let BuildError::Owned { owner: Some(Owner { pid, .. }), .. } = error else { panic!("{error}") };
/// assert_eq!(pid, std::process::id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Its process id, in its own pid namespace.
    pub pid: u32,
    /// Whether that is this process's pid namespace, so that the id means the same here.
    pub same_pid_namespace: bool,
    /// When it built the region.
    pub since: SystemTime,
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {}", self.pid)?;
        if !self.same_pid_namespace {
            write!(out, " of another pid namespace")?;
        } else if self.pid == std::process::id() {
            write!(out, " (this process)")?;
        }
        match jiff::Timestamp::try_from(self.since) {
            Ok(since) => write!(out, " since {}", since.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => Ok(()),
        }
    }
}

fn owner_text(owner: &Option<Owner>) -> String {
    owner.as_ref().map_or_else(
        || "an unknown process (it is just starting, or its region file was removed)".to_owned(),
        Owner::to_string,
    )
}

fn full_text(needed: u64, free: u64) -> String {
    if free < needed {
        format!(
            "{free} are free: free some, enlarge the file system (mount -o remount,size=..), \
             or build a smaller region (Builder::fit, series, lanes)"
        )
    } else {
        format!(
            "and {free} are free, but not for this process: raise the limit of its memory cgroup or the file \
             system's number of inodes, or build a smaller region (Builder::fit, series, lanes)"
        )
    }
}

/// The message and its causes, not the fields: this is what `fn main() -> Result<..>` and `unwrap` show people.
impl std::fmt::Debug for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(self))
    }
}

/// An error and its causes in one line, for the log.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
