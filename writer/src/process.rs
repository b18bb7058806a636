//! What is the process's own, not a region's: the list of its regions, and the hooks for fork, exit and crash.
//!
//! The list only grows; its nodes live as long as the process, since handles do. It may be walked at any time, from any
//! thread, in a forked child too: no lock, no allocation. This and the files in `process/` are the writer's only ones with unsafe code.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tachograph_layout::{Control, CrashHooks, Header, Section, WriterMap};

use crate::adopt::Adoption;
use crate::repeated::Repeated;
use crate::{housekeeping, lane, lock, note};

mod exit;
mod fatal;
mod frames;
mod panics;
mod thread;

/// A region that this process built, as the hooks and the housekeeping see it.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) name: String,
    pub(crate) map: &'static WriterMap,
    pub(crate) tick: Duration,
    /// Set once the region is closed, or in a forked child: then nothing ticks it and nothing registers in it.
    pub(crate) ended: AtomicBool,
    /// First lane cells of the watermarks, whose windows housekeeping turns.
    pub(crate) watermarks: Mutex<Vec<u64>>,
    /// The totals that it continues, of the region before.
    pub(crate) adoption: OnceLock<&'static Adoption>,
    /// Held while the structure word is odd: one slot changes hands at a time.
    pub(crate) structure: Mutex<()>,
    /// Who built it: a child, however it came to be, has another id.
    owner: Pid,
    /// The crash slots.
    crash: Section,
    /// Descriptor of the lock; -1 where there is none (any more).
    lock: AtomicI32,
    /// The region file, until the region is closed. A forked child does not touch it.
    file: Mutex<Option<OwnedFd>>,
    next: AtomicPtr<Self>,
}

/// First of the list: a node is put there with Release, and found with Acquire.
static FIRST: AtomicPtr<Attached> = AtomicPtr::new(std::ptr::null_mut());

/// Lanes that threads of this process ever claimed.
static LANES_USED: Repeated<AtomicU64> = Repeated::new(AtomicU64::new(1));

/// Whether panics and fatal signals are recorded: without it a reader can't tell a kill from a signal that nobody recorded.
static CRASH_HOOKS: Repeated<AtomicU64> = Repeated::new(AtomicU64::new(CrashHooks::Off.to_wire()));

impl Attached {
    pub(crate) fn new(
        name: &str,
        map: &'static WriterMap,
        crash: Section,
        tick: Duration,
        lock: Option<OwnedFd>,
        file: Option<OwnedFd>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            map,
            tick,
            ended: AtomicBool::new(false),
            watermarks: Mutex::new(Vec::new()),
            adoption: OnceLock::new(),
            structure: Mutex::new(()),
            owner: rustix::process::getpid(),
            crash,
            lock: AtomicI32::new(lock.map_or(-1, IntoRawFd::into_raw_fd)),
            file: Mutex::new(file),
            next: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The control word at an offset of [`Control`].
    pub(crate) fn control(&self, offset: u64) -> &'static AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        // Every map holds the control block: its layout was built by `Geometry`.
        self.map.word(offset).unwrap_or(&NOWHERE)
    }

    /// Whether process `pid` built the region and has not closed it. Where not, no hook writes into it.
    fn is_in_use(&self, pid: Pid) -> bool {
        !self.ended.load(Ordering::Relaxed) && self.owner == pid
    }

    /// A word of a crash slot.
    fn crash_word(&self, slot: u64, word: usize) -> Option<&'static AtomicU64> {
        self.map.word(self.crash.entry(slot)? + word as u64 * 8)
    }

    /// Which of the region's two files has lost its name while the region is open: a cleaner's doing.
    pub(crate) fn unlinked(&self) -> Option<&'static str> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let nameless = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0);
        if nameless(file.as_ref()?.as_fd()) {
            return Some("region file");
        }
        let lock = self.lock.load(Ordering::Relaxed);
        // SAFETY: a descriptor in `lock` is open: `release` closes it under the mutex that is held here, and a forked
        // child, whose handler closes it too, has no thread but the one that forked.
        let lock = (lock >= 0).then(|| unsafe { BorrowedFd::borrow_raw(lock) })?;
        nameless(lock).then_some("lock file")
    }

    /// Whether this is the region of that header.
    pub(crate) fn is_of(&self, header: &Header) -> bool {
        let uuid = u128::from_le_bytes(header.uuid);
        let at = std::mem::offset_of!(Header, uuid) as u64;
        // Relaxed: the header was stored before the region was put into the list.
        let holds = |at, half: u64| self.map.word(at).is_some_and(|word| word.load(Relaxed) == half);
        holds(at, uuid as u64) && holds(at + 8, (uuid >> 64) as u64)
    }

    /// Lets the lock go, so that the name is free, and the file's descriptor. The mapping stays: handles point into it.
    pub(crate) fn release(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        drop(file.take());
        let fd = self.lock.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: the descriptor was taken out of an `OwnedFd` in `new`, and out of `self` by the swap: it is only here.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            lock::release(&fd);
        }
    }
}

fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: `fd` was owned by an `Attached` and taken out of it by a swap, so nobody else closes or uses it.
        unsafe { libc::close(fd) };
    }
}

/// All regions that this process ever built.
pub(crate) fn attached() -> impl Iterator<Item = &'static Attached> {
    let load = |at: &AtomicPtr<Attached>| {
        // SYNC(region-list): whoever finds a node finds it whole, and all nodes behind it.
        let node = at.load(Ordering::Acquire);
        // SAFETY: a pointer in the list is null or comes from `Box::leak` in `attach`, and nodes are never freed.
        unsafe { node.as_ref() }
    };
    std::iter::successors(load(&FIRST), move |node| load(&node.next))
}

/// Lock descriptors of regions that are just being started, which are in no list yet; -1 where there is none.
static STARTING: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

/// Held while a lock's descriptor is opened and noted in [`STARTING`], and across every fork: so no child is born between.
static OPENING: AtomicBool = AtomicBool::new(false);

/// Keeps a descriptor in [`STARTING`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Starting(Option<&'static AtomicI32>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(-1, Ordering::Relaxed);
        }
    }
}

/// Opens the descriptor of a lock so that no forked child keeps it, from the first moment on.
pub(crate) fn open_lock<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<(Starting, OwnedFd), E> {
    install_hooks();
    before_fork();
    let opened = open().map(|fd| {
        let free = |slot: &&AtomicI32| slot.compare_exchange(-1, fd.as_raw_fd(), Relaxed, Relaxed).is_ok();
        (Starting(STARTING.iter().find(free)), fd)
    });
    after_fork_in_parent();
    opened
}

fn install_hooks() {
    static HOOKS: Once = Once::new();
    HOOKS.call_once(|| {
        let (parent, child) = (after_fork_in_parent, in_forked_child);
        // SAFETY: the handlers only make system calls and touch atomics, as a forked child of a threaded process may.
        let result = unsafe { libc::pthread_atfork(Some(before_fork), Some(parent), Some(child)) };
        if result != 0 {
            tracing::warn!("pthread_atfork failed: a forked child would write into this process's regions");
        }
        exit::install();
    });
}

/// Has panics and fatal signals recorded from here on, in every region that the process has in use at the time.
pub(crate) fn hook_crashes() {
    frames::prepare();
    panics::install();
    fatal::install();
    CRASH_HOOKS.raise(CrashHooks::On.to_wire(), || attached().map(|region| region.control(Control::CRASH_HOOKS)));
}

/// Waits until no lock is just being opened (an `openat` long), and lets none be until the fork is over.
extern "C" fn before_fork() {
    // SYNC(opening): whoever gets in sees the descriptors noted by whoever was in before.
    while OPENING.compare_exchange_weak(false, true, Ordering::Acquire, Relaxed).is_err() {
        std::thread::yield_now();
    }
}

extern "C" fn after_fork_in_parent() {
    // SYNC(opening): see `before_fork`.
    OPENING.store(false, Ordering::Release);
}

/// Adds a region to the process's list, for good.
pub(crate) fn attach(region: Attached) -> &'static Attached {
    install_hooks();
    let region: &'static Attached = Box::leak(Box::new(region));
    let mut first = FIRST.load(Ordering::Acquire);
    loop {
        region.next.store(first, Ordering::Relaxed);
        let node = std::ptr::from_ref(region).cast_mut();
        // SYNC(region-list): the node is whole, and in the list before it asks which lanes are used.
        match FIRST.compare_exchange(first, node, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(now) => first = now,
        }
    }
    LANES_USED.attached(region.control(Control::LANES_USED));
    CRASH_HOOKS.attached(region.control(Control::CRASH_HOOKS));
    region
}

/// Makes a newly claimed lane known to the readers of every region, before its first value is written.
pub(crate) fn publish_lane(lane: usize) {
    LANES_USED.raise(lane as u64 + 1, || attached().map(|region| region.control(Control::LANES_USED)));
}

/// Lanes that may hold values.
pub(crate) fn lanes_used() -> usize {
    LANES_USED.get() as usize
}

/// Counts, in every region, a thread that found no lane; housekeeping says it once.
pub(crate) fn count_lane_overflow() {
    for region in attached() {
        region.control(Control::LANE_OVERFLOWS).fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs in the child of every fork: the parent's regions are none of its business.
///
/// The lock's descriptor is closed (else the child would keep its parent alive in the eyes of readers), and private
/// memory replaces every region, so that handles write into nothing.
extern "C" fn in_forked_child() {
    after_fork_in_parent();
    for slot in &STARTING {
        close(slot.swap(-1, Ordering::Relaxed));
    }
    for region in attached() {
        region.ended.store(true, Ordering::Relaxed);
        close(region.lock.swap(-1, Ordering::Relaxed));
        region.map.detach();
    }
    lane::keep_only_own();
    fatal::forget_threads();
    housekeeping::forget_thread();
    note::forget_thread();
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// A child that is born while another thread turns the windows must be able to build a region of its own.
    #[test]
    fn a_child_born_while_windows_are_turned_is_not_stuck() {
        install_hooks();
        let (turning, born) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                housekeeping::turn_window(|| {
                    turning.wait();
                    born.wait();
                    0
                });
            });
            turning.wait();
            // SAFETY: the child makes system calls and touches atomics, until it exits without destructors.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: it only sets a timer, whose signal ends a child that is stuck.
                unsafe { libc::alarm(10) };
                housekeeping::turn_window(|| 0);
                // SAFETY: it only ends the process.
                unsafe { libc::_exit(0) };
            }
            born.wait();
            let mut status = -1;
            // SAFETY: `status` is this thread's own.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert!(child > 0 && waited == child, "fork and waitpid");
            assert_eq!(status, 0, "the child waits for ever for a thread that it does not have");
        });
    }
}
