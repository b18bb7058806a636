//! The SIGBUS guard: a file that is cut under its map costs that region, not the process.
//!
//! A load from a mapped page that its file no longer has raises SIGBUS. The handler here looks whether the address is in
//! a guarded map; if so it maps zero pages from there to the map's end, marks the map damaged and returns, so that the
//! load goes on and reads 0. Whoever reads asks [`Guarded::is_damaged`] afterwards and throws the result away. Any other
//! SIGBUS goes to the handler that was there before. This is the exporter's one file with unsafe code.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::mm::{MapFlags, ProtFlags};
use tachograph_layout::{ReaderMap, WordView};

/// Maps that may be guarded at once. No map is read without a guard, so this bounds how many regions are.
const SLOTS: usize = 4096;

/// Start of a slot's range while it is being filled.
const FILLING: usize = 1;

#[derive(Debug)]
struct Slot {
    /// First address; 0 while the slot is free.
    start: AtomicUsize,
    len: AtomicUsize,
    damaged: AtomicBool,
}

static GUARDED: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), len: AtomicUsize::new(0), damaged: AtomicBool::new(false) } }; SLOTS];

/// The handler that was there before ours; set before ours is installed is not possible, so the default until then.
static BEFORE: OnceLock<SigAction> = OnceLock::new();

/// A reader's map under guard.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// Dropped first: the range leaves the table before its addresses are given back.
    range: Range,
    map: ReaderMap,
}

/// A slot of the table.
#[derive(Debug)]
struct Range(&'static Slot);

impl Guarded {
    /// Puts a map under guard.
    ///
    /// # Errors
    /// Where every slot is taken: a map without guard would be a way to end the process.
    pub(crate) fn new(map: ReaderMap) -> io::Result<Self> {
        install();
        Self::in_table(map, &GUARDED)
    }

    fn in_table(map: ReaderMap, table: &'static [Slot]) -> io::Result<Self> {
        let addresses = map.addresses();
        let free = |slot: &Slot| {
            // Relaxed: the slot's other words are stored after the claim by this thread alone.
            slot.start.compare_exchange(0, FILLING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let slot = table.iter().find(|slot| free(slot));
        let slot = slot.ok_or_else(|| {
            io::Error::other(format!("{} regions are open, and no more are read at once", table.len()))
        })?;
        // Orders the claim before the length: see the handler's second look at the start.
        fence(Ordering::Release);
        slot.damaged.store(false, Ordering::Relaxed);
        slot.len.store(addresses.len(), Ordering::Relaxed);
        // SYNC(guard-slot): the handler that finds the start finds this range's length and mark.
        slot.start.store(addresses.start, Ordering::Release);
        Ok(Self { range: Range(slot), map })
    }

    /// The words of the map.
    pub(crate) fn view(&self) -> WordView<'_> {
        self.map.view()
    }

    /// Whether a page was missing at some load since the map was made: then zeros stand for what was there.
    pub(crate) fn is_damaged(&self) -> bool {
        self.range.0.damaged.load(Ordering::Relaxed)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Relaxed);
    }
}

fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // Asked for the first time here, where it may take its time.
        let _ = rustix::param::page_size();
        // On its own stack where the thread has one, and not masking itself: a chained handler may never return.
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_NODEFER;
        let ours = SigAction::new(SigHandler::SigAction(on_sigbus), flags, SigSet::empty());
        // SAFETY: the handler only touches statics by atomics and makes system calls, as a signal handler may.
        match unsafe { sigaction(Signal::SIGBUS, &ours) } {
            Ok(before) => {
                let _ = BEFORE.set(before);
            }
            Err(error) => {
                tracing::warn!(%error, "no SIGBUS guard: a region that is cut while it is read ends this process")
            }
        }
    });
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let info_ref = unsafe { info.as_ref() };
    // SAFETY: si_addr is the field that SIGBUS fills.
    let address = info_ref.map_or(0, |info| unsafe { info.si_addr() }.addr());
    if !replace_missing(address) {
        chain(signal, info, context);
    }
}

/// Puts zero pages over the missing part of the guarded map that holds `address`; `false` where no map does.
fn replace_missing(address: usize) -> bool {
    let page = address & !(rustix::param::page_size() - 1);
    for slot in &GUARDED {
        // SYNC(guard-slot): see `Guarded::new`.
        let start = slot.start.load(Ordering::Acquire);
        let end = start.saturating_add(slot.len.load(Ordering::Relaxed));
        // A slot that changes hands meanwhile is not that of the faulting thread's map, which is alive.
        fence(Ordering::Acquire);
        if slot.start.load(Ordering::Relaxed) != start {
            continue;
        }
        if start <= FILLING || address < start || address >= end {
            continue;
        }
        slot.damaged.store(true, Ordering::Relaxed);
        let (pages, flags) = (std::ptr::without_provenance_mut(page), MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: page to end is inside a map that a `Guarded` owns (it leaves the table before it unmaps), and the
        // thread that faults is reading it, so it lives; its words stay mapped, aligned and readable.
        return unsafe { rustix::mm::mmap_anonymous(pages, end - page, ProtFlags::READ, flags) }.is_ok();
    }
    false
}

/// Hands a SIGBUS that is not ours to the handler that was there before.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    match BEFORE.get().map(SigAction::handler) {
        Some(SigHandler::SigAction(before)) => before(signal, info, context),
        Some(SigHandler::Handler(before)) => before(signal),
        _ => {
            // Back to the default: the instruction faults again and the process dies as it would have without us.
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action runs no code of ours.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cut_under_its_map_reads_as_zeros_and_is_marked() {
        let file = tempfile::tempfile_in("/dev/shm").expect("a file on tmpfs");
        file.set_len(1 << 20).expect("room");
        let map = Guarded::new(ReaderMap::new(&file, 1 << 20).expect("a map")).expect("a slot");
        assert_eq!(map.view().load(1 << 19), Some(0));
        assert!(!map.is_damaged());
        file.set_len(4096).expect("cut");
        let mut words = vec![7; (1 << 20) / 8];
        assert!(map.view().copy(0, &mut words).is_some());
        assert!(words.iter().all(|word| *word == 0));
        assert!(map.is_damaged());
        let other = Guarded::new(ReaderMap::new(&file, 4096).expect("a map")).expect("a slot");
        assert!(!other.is_damaged(), "the mark is the map's own");
    }

    /// A file of a MiB on tmpfs, mapped.
    fn mapped() -> (std::fs::File, ReaderMap) {
        let file = tempfile::tempfile_in("/dev/shm").expect("a file on tmpfs");
        file.set_len(1 << 20).expect("room");
        let map = ReaderMap::new(&file, 1 << 20).expect("a map");
        (file, map)
    }

    #[test]
    fn threads_that_fault_at_once_all_go_on() {
        let (file, map) = mapped();
        let map = Guarded::new(map).expect("a slot");
        let (_whole, other) = mapped();
        let other = Guarded::new(other).expect("a slot");
        let start = std::sync::Barrier::new(5);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (map, other, start) = (&map, &other, &start);
                scope.spawn(move || {
                    start.wait();
                    // From the end and from the start, so that one's zero pages are put over another's.
                    for page in 0..256 {
                        let page = if thread % 2 == 0 { page } else { 255 - page };
                        assert_eq!(map.view().load(page * 4096), Some(0));
                        assert_eq!(other.view().load(page * 4096), Some(0));
                    }
                });
            }
            file.set_len(0).expect("cut");
            start.wait();
        });
        assert!(map.is_damaged());
        assert!(!other.is_damaged(), "a map beside it is whole");
    }

    #[test]
    fn no_map_is_read_without_a_guard() {
        static FEW: [Slot; 2] =
            [const { Slot { start: AtomicUsize::new(0), len: AtomicUsize::new(0), damaged: AtomicBool::new(false) } };
                2];
        let guarded = || Guarded::in_table(mapped().1, &FEW);
        let (first, _second) = (guarded().expect("a slot"), guarded().expect("a slot"));
        assert!(guarded().is_err_and(|error| error.to_string().contains("2 regions are open")));
        drop(first);
        assert!(guarded().is_ok(), "a slot is given back");
    }

    /// Says to a child process of the tests which handler it is to have before ours.
    const CHILD: &str = "TACHOGRAPH_TEST_SIGBUS";

    /// Runs `a_child_that_faults_outside` in a process of its own.
    fn fault_outside(before: &str) -> std::process::ExitStatus {
        let test = std::env::current_exe().expect("the test's own path");
        let mut child = std::process::Command::new(test);
        child.args(["--exact", "guard::tests::a_child_that_faults_outside", "--include-ignored"]).env(CHILD, before);
        child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().expect("a child")
    }

    extern "C" fn three_arguments(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: a handler with SA_SIGINFO is given a siginfo.
        let code = if unsafe { info.as_ref() }.is_some() { 41 } else { 1 };
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) }
    }

    extern "C" fn one_argument(signal: libc::c_int) {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(if signal == libc::SIGBUS { 42 } else { 1 }) }
    }

    #[test]
    #[ignore = "the child of `other_faults_go_to_the_handler_that_was_there`"]
    fn a_child_that_faults_outside() {
        let handler = match std::env::var(CHILD).as_deref() {
            Ok("three") => Some((SigHandler::SigAction(three_arguments), SaFlags::SA_SIGINFO)),
            Ok("one") => Some((SigHandler::Handler(one_argument), SaFlags::empty())),
            Ok(_) => None,
            Err(_) => return,
        };
        if let Some((handler, flags)) = handler {
            // SAFETY: the handlers only end the process.
            unsafe { sigaction(Signal::SIGBUS, &SigAction::new(handler, flags, SigSet::empty())) }.expect("a handler");
        }
        let (file, map) = mapped();
        let guarded = Guarded::new(map).expect("a slot");
        let (outside_file, outside) = mapped();
        file.set_len(0).expect("cut");
        assert_eq!(guarded.view().load(0), Some(0), "the guard works beside the handler");
        outside_file.set_len(0).expect("cut");
        let _ = outside.view().load(0);
        unreachable!("a fault outside every guarded map is not ours to mend");
    }

    #[test]
    fn other_faults_go_to_the_handler_that_was_there() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(fault_outside("three").code(), Some(41));
        assert_eq!(fault_outside("one").code(), Some(42));
        assert_eq!(fault_outside("none").signal(), Some(libc::SIGBUS), "as it would have died without us");
    }
}
