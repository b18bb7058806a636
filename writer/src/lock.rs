//! The lock that says who lives: an open-file-description lock on `<name>.lock`, held as long as the region is.
//!
//! The lock file is made once and never renamed, unlinked or mapped, since a mapping would keep the lock alive. Its first
//! owner marks it by one byte: one without is no lock that the region beside it was started under. Called while a region
//! is built; the descriptor it gives is the lock.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno as LockErrno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tachograph_layout::Header;

use crate::archive::{Remains, region_file};
use crate::build_error::{BuildError, Owner};
use crate::directory::{Directory, not_a_file};
use crate::fail_point::FailPoint;
use crate::identity;
use crate::process::{self, Starting};

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Dropped first: from then on a forked child leaves the descriptor's number alone.
    pub(crate) starting: Starting,
    pub(crate) fd: OwnedFd,
}

/// Takes the lock of a region, or says who has it.
pub(crate) fn acquire(directory: &Directory, name: &str) -> Result<Lock, BuildError> {
    let file = format!("{name}.lock");
    let failed = |action, source: std::io::Error| BuildError::Io { action, path: directory.join(&file), source };
    let strange = |found| BuildError::LockFile { path: directory.join(&file), found };
    // A cleaner may unlink the file between opening and locking; the lock that counts is on the file with the name.
    for _ in 0..8 {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(directory, file.as_str(), flags, Mode::from_raw_mode(0o640));
        let (starting, fd) = process::open_lock(open).map_err(|errno| {
            match rustix::fs::statat(directory, file.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok() {
                Some(stat) if not_a_file(&stat).is_some() => strange(not_a_file(&stat).unwrap_or_default()),
                Some(stat) if matches!(errno, Errno::ACCESS | Errno::PERM) => BuildError::OtherUser {
                    path: directory.join(&file),
                    owner: stat.st_uid,
                    group: stat.st_gid,
                    mode: stat.st_mode & 0o7777,
                    user: rustix::process::geteuid().as_raw(),
                },
                _ => failed("open the lock file", errno.into()),
            }
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("look at the lock file", errno.into()))?;
        if let Some(found) = not_a_file(&stat) {
            return Err(strange(found));
        }
        FailPoint::LockOpened.pass();
        match lock_or_owner(&fd, directory, name) {
            Ok(None) => {}
            Ok(Some(owner)) => return Err(owner),
            Err(errno) => return Err(failed("lock the lock file", errno.into())),
        }
        match rustix::fs::statat(directory, file.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino) => {
                if stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o777 != 0o640 {
                    // The umask may have taken the group's bits: then readers of the group could not ask for the lock.
                    let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o640));
                }
                if stat.st_size == 0 {
                    if let Some(owner) = outlived(directory, name) {
                        // As it was found: beside an unlocked file readers would take the living writer's region for dead.
                        let _ = rustix::fs::unlinkat(directory, file.as_str(), AtFlags::empty());
                        return Err(BuildError::Owned { path: directory.join(&region_file(name)), owner: Some(owner) });
                    }
                    rustix::fs::ftruncate(&fd, 1).map_err(|errno| failed("mark the lock file", errno.into()))?;
                }
                FailPoint::LockTaken.pass();
                return Ok(Lock { starting, fd });
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("look at the lock file", errno.into())),
        }
    }
    Err(failed("keep the lock file in its place, something removes it:", std::io::ErrorKind::NotFound.into()))
}

/// Lets the lock go at once, even where a process that is just being spawned still has a copy of the descriptor.
pub(crate) fn release(lock: impl AsFd) {
    let unlock = libc::flock { l_type: libc::F_UNLCK as _, ..whole_file() };
    if let Err(error) = fcntl(lock, FcntlArg::F_OFD_SETLK(&unlock)) {
        tracing::debug!(%error, "unlocking failed: the lock goes with the descriptor");
    }
}

/// Locks the file, or says who has it: as an error to be returned.
///
/// Where no living owner can be told, there may be none: a process that this one or a dead owner just started by
/// `fork` has the lock's descriptor until it calls `exec`. So that is waited for, and so is an owner that is just
/// starting, whom the region file will name in a moment.
fn lock_or_owner(fd: &OwnedFd, directory: &Directory, name: &str) -> Result<Option<BuildError>, LockErrno> {
    let mut tries = TRIES;
    loop {
        match fcntl(fd, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => return Ok(None),
            Err(LockErrno::EAGAIN | LockErrno::EACCES) => {}
            Err(errno) => return Err(errno),
        }
        tries -= 1;
        let owner = owner(directory, name);
        // Of a header from another pid namespace nobody here can tell whether its writer lives: only what still stands
        // there after the wait is no predecessor's.
        if tries == 0 || owner.is_some_and(|owner| owner.same_pid_namespace) {
            return Ok(Some(BuildError::Owned { path: directory.join(&region_file(name)), owner }));
        }
        std::thread::sleep(PAUSE);
    }
}

/// How often an owner that can't be told is asked for, and the time between: together long enough for a start of
/// another process on a machine that is busy.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// A write lock over the whole file, however long. An open-file-description lock asks for pid 0.
fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 }
}

/// The living writer of the region under this name, where the lock file that it holds was removed from under it: the one
/// that stands there was never marked, so nobody started under it. Asked of the pid, which only there says more than the
/// lock: a process that called `exec` keeps its pid, but its region's lock file is marked.
fn outlived(directory: &Directory, name: &str) -> Option<Owner> {
    let owner = owner(directory, name).filter(|owner| owner.same_pid_namespace)?;
    let is_own = |header: Header| process::attached().any(|region| region.is_of(&header));
    let ours = || Remains::read(directory, &region_file(name)).is_ok_and(|remains| remains.header.is_some_and(is_own));
    // Under this process's own pid: of a region that it holds now, or of what it was before it called `exec`.
    (owner.pid != std::process::id() || ours()).then_some(owner)
}

/// Who holds the lock, as the region file tells. While the owner is still starting, the file there is its predecessor's,
/// dead or ended (or there is none): then nobody knows.
fn owner(directory: &Directory, name: &str) -> Option<Owner> {
    let remains = Remains::read(directory, &region_file(name)).ok()?;
    let header = remains.header.filter(|_| !remains.ended)?;
    let same_pid_namespace = header.pid_namespace == identity::pid_namespace();
    if same_pid_namespace && !is_alive(&header) {
        return None;
    }
    let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(header.created_realtime_ns);
    Some(Owner { pid: header.pid, same_pid_namespace, since })
}

/// Whether the writer of a header from this pid namespace still runs: its pid, and started at the same time.
pub(crate) fn is_alive(header: &Header) -> bool {
    header.boot_id == identity::boot_id()
        && identity::process_start_ticks(&header.pid.to_string()) == Some(header.process_start_ticks)
}
