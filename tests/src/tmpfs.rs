//! A tmpfs of a given size, for what happens when it is full. Needs root, as the test machines give.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct Tmpfs {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `size` (as mount's `size=` option) for a process with umask 022.
    ///
    /// # Panics
    /// Where it can't be mounted.
    pub fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tmpfs");
        std::fs::create_dir(&path).expect("a mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0750"), "tachograph-test"])
            .arg(&path)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting a tmpfs failed: run the tests as root");
        Self { folder, path }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        let _ = self.folder.path();
    }
}

/// A new empty folder on a tmpfs, removed on drop.
///
/// # Panics
/// Where /dev/shm is not there.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tachograph-test-").tempdir_in("/dev/shm").expect("a folder in /dev/shm")
}
