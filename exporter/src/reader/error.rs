//! Why a region that was open can't be read any more.

use std::io;
use std::path::PathBuf;

use crate::lock::LockError;

/// Why a region can't be read any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file was cut while it was open.
    #[error("{path}: cut short: {found} bytes where it had {expected}", path = path.display())]
    CutShort {
        /// The path.
        path: PathBuf,
        /// Length now.
        found: u64,
        /// Length when it was opened.
        expected: u64,
    },
    /// The file was cut while it was being read, or at some time before, whatever its length is now.
    #[error("{path}: cut while it was mapped: what was cut off reads as zeros, so nothing of it is shown", path = path.display())]
    Cut {
        /// The path.
        path: PathBuf,
    },
    /// Its length can't be asked.
    #[error("{path}: can't be read", path = path.display())]
    Stat {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its lock can't be asked.
    #[error(transparent)]
    Lock(#[from] LockError),
}
