//! The SIGBUS guard: a file that is cut under its map costs that region, not the process.
//!
//! A load from a mapped page that its file no longer has raises SIGBUS. The handler here looks whether the address is in
//! a guarded map; if so it maps zero pages from there to the map's end, marks the map damaged and returns, so that the
//! load goes on and reads 0. Whoever reads asks [`Guarded::is_damaged`] afterwards and throws the result away. Any other
//! SIGBUS goes to the handler that was there before. This is the exporter's one file with unsafe code.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::mm::{MapFlags, ProtFlags};
use tachograph_layout::{ReaderMap, WordView};

/// Maps that may be guarded at once; more are read without a guard (their length is still asked before each read).
const SLOTS: usize = 4096;

/// Start of a slot's range while it is being filled.
const FILLING: usize = 1;

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

/// A slot of the table, or none where all are taken.
#[derive(Debug)]
struct Range(Option<usize>);

impl Guarded {
    /// Puts a map under guard.
    pub(crate) fn new(map: ReaderMap) -> Self {
        install();
        let addresses = map.addresses();
        let free = |slot: &Slot| {
            // Relaxed: the slot's other words are stored after the claim by this thread alone.
            slot.start.compare_exchange(0, FILLING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let slot = GUARDED.iter().position(free);
        if let Some(slot) = slot.and_then(|index| GUARDED.get(index)) {
            // Orders the claim before the length: see the handler's second look at the start.
            fence(Ordering::Release);
            slot.damaged.store(false, Ordering::Relaxed);
            slot.len.store(addresses.len(), Ordering::Relaxed);
            // SYNC(guard-slot): the handler that finds the start finds this range's length and mark.
            slot.start.store(addresses.start, Ordering::Release);
        }
        Self { range: Range(slot), map }
    }

    /// The words of the map.
    pub(crate) fn view(&self) -> WordView<'_> {
        self.map.view()
    }

    /// Whether a page was missing at some load since the map was made: then zeros stand for what was there.
    pub(crate) fn is_damaged(&self) -> bool {
        self.range.0.and_then(|index| GUARDED.get(index)).is_some_and(|slot| slot.damaged.load(Ordering::Relaxed))
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Some(slot) = self.0.and_then(|index| GUARDED.get(index)) {
            slot.start.store(0, Ordering::Relaxed);
        }
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
        let map = Guarded::new(ReaderMap::new(&file, 1 << 20).expect("a map"));
        assert_eq!(map.view().load(1 << 19), Some(0));
        assert!(!map.is_damaged());
        file.set_len(4096).expect("cut");
        let mut words = vec![7; (1 << 20) / 8];
        assert!(map.view().copy(0, &mut words).is_some());
        assert!(words.iter().all(|word| *word == 0));
        assert!(map.is_damaged());
        let other = Guarded::new(ReaderMap::new(&file, 4096).expect("a map"));
        assert!(!other.is_damaged(), "the mark is the map's own");
    }
}
