//! What a process died of, and the panics that it got over. Pure: sorts the panics that were recorded. Called by `gather.rs`.

use tachograph_layout::RegionState;

use super::{DiedOf, Frames, List, MOST};
use crate::RegionInfo;
use crate::evidence::{Evidence, Panic};

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
        signal: evidence.fatal.clone(),
        unfinished_by_thread: evidence.fatal_unfinished,
    }
}

/// Where the thread that died was.
pub(super) fn frames(region: &RegionInfo, died_of: &DiedOf) -> Option<Frames> {
    let panic =
        died_of.panic.as_ref().and_then(|panic| Frames::new("panic", &panic.frames, &region.exe, &region.build_id));
    panic.or_else(|| Frames::new("signal", &died_of.signal.as_ref()?.frames, &region.exe, &region.build_id))
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
