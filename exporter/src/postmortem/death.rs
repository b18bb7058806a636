//! What a process died of, and the panics that it got over. Pure: sorts the panics that were recorded. Called by `gather.rs`.

use tachograph_layout::RegionState;

use super::{DiedOf, Frames, List, MOST};
use crate::RegionInfo;
use crate::evidence::{Evidence, Fatal, Panic};

/// A panic at most so long before an exit, or before a region was given up, is the one that it ended by.
const TOGETHER_NS: u64 = 2_000_000_000;

/// What ended it: the signal, and the panics of the same thread that led to it; or where it exited or unwound, the panic of
/// the main thread, or the latest one, just before.
pub(super) fn died_of(region: &RegionInfo, evidence: &Evidence) -> DiedOf {
    let ended_ns = region.state_realtime_ns;
    let just_before = |panic: &&Panic| {
        panic.at.realtime_ns <= ended_ns.saturating_add(TOGETHER_NS)
            && ended_ns.saturating_sub(panic.at.realtime_ns) <= TOGETHER_NS
    };
    let latest = |by: &dyn Fn(&&Panic) -> bool| evidence.panics.all().rfind(by).into_iter().collect();
    let panics: Vec<&Panic> = match (&evidence.fatal, region.state) {
        (Some(_), _) => evidence.fatal_panics(),
        (None, Some(RegionState::Unwound)) => latest(&just_before),
        (None, Some(RegionState::Exited)) => {
            latest(&|panic| panic.by.thread_id == u64::from(region.pid) && just_before(panic))
        }
        _ => Vec::new(),
    };
    let mut panics = panics.into_iter().cloned();
    DiedOf {
        panic: panics.next(),
        further_panics: panics.collect(),
        at_stack_pointer: evidence.fatal.as_ref().is_some_and(at_stack_pointer),
        signal: evidence.fatal.clone(),
        unfinished_by_thread: evidence.fatal_unfinished,
    }
}

/// Whether a fault was at the stack pointer, within a page of it: no memory is there where the stack overflowed.
fn at_stack_pointer(fatal: &Fatal) -> bool {
    const PAGE: u64 = 4096;
    let fault = matches!(fatal.name.as_str(), "SIGSEGV" | "SIGBUS") && fatal.stack != 0;
    fault && fatal.address.is_some_and(|address| address.abs_diff(fatal.stack) <= PAGE)
}

/// Where the thread that died was.
pub(super) fn frames(region: &RegionInfo, died_of: &DiedOf) -> Option<Frames> {
    let panic = died_of.panic.as_ref().and_then(|panic| Frames::of_panic(panic, &region.exe, &region.build_id));
    panic.or_else(|| Frames::of_signal(died_of.signal.as_ref()?, &region.exe, &region.build_id))
}

/// The panics that were not of the death.
pub(super) fn survived(evidence: &Evidence, died_of: &DiedOf) -> List<Panic> {
    let survived = evidence.panics.all().filter(|panic| !died_of.is_of(panic)).cloned().collect();
    // There are nine at most, so that none is left out: what the ring lost is told by itself.
    List::last(survived, MOST)
}

impl DiedOf {
    /// Whether a panic is part of the death.
    pub(super) fn is_of(&self, panic: &Panic) -> bool {
        self.panic.iter().chain(&self.further_panics).any(|one| one.number == panic.number)
    }
}
