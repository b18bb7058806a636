//! Asks whether a region's lock is held. Only asks: a reader never takes a lock, so that it can't keep a writer out.

use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{Mode, OFlags};

use crate::access;

/// Why a lock can't be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file can't be opened.
    #[error("{path}: the lock file can't be opened, so whether the writer lives can't be known{hint}", path = path.display())]
    Open {
        /// Path of the lock file.
        path: PathBuf,
        /// What is in the way and what helps; may be empty.
        hint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel did not answer.
    #[error("{path}: the file system does not tell who holds the lock", path = path.display())]
    Ask {
        /// Path of the lock file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What a lock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockState {
    /// Someone holds it.
    Held,
    /// Nobody holds it.
    Free,
    /// There is no lock file.
    Missing,
}

/// Asks the lock file at `path`.
pub(crate) fn ask(path: &Path) -> Result<LockState, LockError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(LockState::Missing),
        Err(errno) => {
            let denied = errno == rustix::io::Errno::ACCESS;
            let hint = if denied { format!("; {}", access::denied(path)) } else { String::new() };
            return Err(LockError::Open { path: path.to_owned(), hint, source: errno.into() });
        }
    };
    // "Would a read lock of the whole file be refused?" It is refused by the owner's write lock, and by nothing else.
    let mut question = nix::libc::flock {
        l_type: nix::libc::F_RDLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_GETLK(&mut question)) {
        Ok(_) if question.l_type == nix::libc::F_UNLCK as i16 => Ok(LockState::Free),
        Ok(_) => Ok(LockState::Held),
        Err(errno) => Err(LockError::Ask { path: path.to_owned(), source: errno.into() }),
    }
}
