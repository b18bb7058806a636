//! A small file system of a test's own. Needs root, as the test machines give.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

/// A tmpfs of its own, unmounted when dropped.
pub(crate) struct Mounted(TempDir);

impl Mounted {
    pub(crate) fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes},mode=0755")).unwrap();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap_or_else(
            |errno| panic!("this test mounts a small tmpfs and must run as root with CAP_SYS_ADMIN: {errno}"),
        );
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}
