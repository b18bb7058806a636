//! The region directory: which one it is, and whether it is safe to put regions there.
//!
//! It is opened once, without following a link at its end, and everything after that goes through its descriptor:
//! what was checked is what is used. Called by the builder only; makes nothing but the default directory of the user.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::build_error::{BuildError, DirectoryFault};
use crate::fail_point::FailPoint;

/// The default where the system's administrator made it.
const RUN: &str = "/run/tachograph";
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A checked directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether it is shared by a group (setgid and group-writable).
    shared: bool,
}

impl Directory {
    /// The builder's directory, else `$TACHOGRAPH_DIR`, else the first default that serves.
    pub(crate) fn choose(explicit: Option<&Path>, allow_disk_backed: bool) -> Result<Self, BuildError> {
        let variable = std::env::var_os("TACHOGRAPH_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = explicit.map(Path::to_owned).or(variable) {
            return Self::open(&path, allow_disk_backed);
        }
        match Self::open(Path::new(RUN), false) {
            Ok(directory) => return Ok(directory),
            Err(BuildError::Directory { fault: DirectoryFault::Missing, .. }) => {}
            Err(error) => tracing::debug!(%error, "default region directory passed over"),
        }
        let path = PathBuf::from(format!("/dev/shm/tachograph-{}", rustix::process::geteuid().as_raw()));
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(BuildError::Directory { path, fault: DirectoryFault::Refused { error: errno.into() } });
            }
        }
        let directory = Self::open(&path, allow_disk_backed)?;
        if directory.is_fresh() {
            // The umask may have taken the group's bits, without which a reader of the group finds nothing.
            let _ = rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(0o750));
        }
        Ok(directory)
    }

    /// Opens and checks one directory.
    fn open(path: &Path, allow_disk_backed: bool) -> Result<Self, BuildError> {
        // A slash at the end would make the kernel follow a link; components() drops it.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect::<PathBuf>();
        match Self::open_checked(rustix::fs::CWD, &path, None, allow_disk_backed) {
            Ok((fd, shared)) => Ok(Self { fd, path, shared }),
            Err(fault) => Err(BuildError::Directory { path, fault }),
        }
    }

    /// Opens a directory in this one for what is not in use any more, made where it is missing.
    pub(crate) fn make_inner(&self, name: &str) -> Result<Self, DirectoryFault> {
        // Users who share the directory share what is in it.
        let mode = Mode::from_raw_mode(if self.shared { 0o2770 } else { 0o750 });
        let refused = |errno: Errno| DirectoryFault::Refused { error: errno.into() };
        match rustix::fs::mkdirat(&self.fd, name, mode) {
            Ok(()) => {
                FailPoint::ArchiveMade.pass();
                let inner = self.inner(name)?;
                // The umask may have taken bits.
                rustix::fs::fchmod(&inner.fd, mode).map_err(refused)?;
                Ok(inner)
            }
            Err(Errno::EXIST) => {
                let inner = self.inner(name)?;
                if inner.is_fresh() {
                    // Whoever made it was cut off before it had its mode; where that is not allowed, it serves as it is.
                    let _ = rustix::fs::fchmod(&inner.fd, mode);
                }
                Ok(inner)
            }
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Opens and checks a directory in this one.
    pub(crate) fn inner(&self, name: &str) -> Result<Self, DirectoryFault> {
        let (fd, shared) = Self::open_checked(self.as_fd(), Path::new(name), Some(self), true)?;
        Ok(Self { fd, path: self.path.join(name), shared })
    }

    fn open_checked(
        base: BorrowedFd<'_>,
        path: &Path,
        parent: Option<&Self>,
        allow_disk_backed: bool,
    ) -> Result<(OwnedFd, bool), DirectoryFault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let refused = |errno: Errno| DirectoryFault::Refused { error: errno.into() };
        let fd = rustix::fs::openat(base, path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => DirectoryFault::Missing,
            Errno::NOTDIR | Errno::LOOP => match rustix::fs::statat(base, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if file_type(&stat) == FileType::Symlink => DirectoryFault::Link,
                _ => DirectoryFault::NotDirectory,
            },
            errno => refused(errno),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(refused)?;
        let mode = stat.st_mode & 0o7777;
        let user = rustix::process::geteuid().as_raw();
        let group_may = mode & 0o020 != 0;
        // In a directory that a group shares, a member made the inner one.
        let owner_trusted = stat.st_uid == user || stat.st_uid == 0 || parent.is_some_and(|parent| parent.shared);
        if !owner_trusted {
            return Err(DirectoryFault::Owner { owner: stat.st_uid, user });
        }
        if mode & 0o002 != 0 {
            return Err(DirectoryFault::WritableByOthers { mode });
        }
        if group_may && mode & 0o2000 == 0 {
            return Err(DirectoryFault::GroupWithoutSetgid { mode });
        }
        if !allow_disk_backed {
            let kind = rustix::fs::fstatfs(&fd).map_err(refused)?.f_type as u64 & 0xffff_ffff;
            if kind != TMPFS && kind != RAMFS {
                return Err(DirectoryFault::DiskBacked { kind });
            }
        }
        match rustix::fs::accessat(&fd, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => Ok((fd, group_may)),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Err(DirectoryFault::NotWritable),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// The path of a file in it, for messages and for readers.
    pub(crate) fn join(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Bytes of its file system: all, and those free; `None` where it has no limit or does not say.
    pub(crate) fn room(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::fstatvfs(&self.fd).ok()?;
        (stat.f_blocks > 0)
            .then(|| (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// Whether nothing was put into it yet.
    fn is_fresh(&self) -> bool {
        self.names().is_ok_and(|names| names.iter().all(|name| name == "." || name == ".."))
    }

    /// Names of the files in it.
    pub(crate) fn names(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            // A name that is no UTF-8 is none that a writer gave.
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a file is.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What a file is, in words; `None` for a regular file.
pub(crate) fn not_a_file(stat: &Stat) -> Option<&'static str> {
    Some(match file_type(stat) {
        FileType::RegularFile => return None,
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a device",
    })
}
