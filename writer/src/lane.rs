//! Lanes: which plane of cells the calling thread writes.
//!
//! A thread claims a lane on its first write and gives it back when it ends, with its values left in place. Called by
//! every handle, on every write: [`current`] is one thread-local load. [`claim`] is the cold path; it neither allocates
//! memory of its own, nor locks, nor logs. Lane numbers are the process's, not a region's.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use tachograph_layout::{LaneOffset, MAX_LANES, fix_lane_count, lane_count};

use crate::lane_set::LaneSet;
use crate::{note, process};

/// Which lanes have an owner.
static CLAIMED: LaneSet<AtomicU64, { MAX_LANES / 64 }> = LaneSet::new();

/// How many lanes were ever given back: a thread that found none looks again when this has changed.
/// Relaxed: a hint only, it publishes nothing.
static GIVEN_BACK: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The thread has not written yet.
    Unclaimed,
    /// The thread owns the lane of its offset.
    Claimed,
    /// There was no free lane when `GIVEN_BACK` had this value: the thread shares lane 0.
    Sharing(u64),
    /// The thread is ending: it shares lane 0 for good.
    Ending,
}

thread_local! {
    // No destructor, so that an access is one load at any time of the thread's life.
    static OFFSET: Cell<LaneOffset> = const { Cell::new(LaneOffset::SHARED) };
    static STATE: Cell<State> = const { Cell::new(State::Unclaimed) };
    // Has the destructor; touched on the cold path only.
    static EXIT: ExitGuard = const { ExitGuard };
}

/// Gives the thread's lane back when the thread ends.
struct ExitGuard;

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let lane = OFFSET.replace(LaneOffset::SHARED).lane();
        // First the thread itself moves to lane 0, for good: destructors that run later still write exactly.
        STATE.set(State::Ending);
        if lane != 0 {
            CLAIMED.give_back(lane);
            GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The calling thread's lane; [`LaneOffset::SHARED`] where it has none (yet): then [`claim`] decides.
#[inline]
pub(crate) fn current() -> LaneOffset {
    OFFSET.get()
}

/// The lane for a thread whose [`current`] is the shared one: a lane of its own where one is free, else the shared.
#[cold]
#[inline(never)]
pub(crate) fn claim() -> LaneOffset {
    match STATE.get() {
        State::Claimed | State::Ending => return OFFSET.get(),
        State::Sharing(seen) if seen == GIVEN_BACK.load(Ordering::Relaxed) => return LaneOffset::SHARED,
        State::Unclaimed | State::Sharing(_) => {}
    }
    let first_time = STATE.get() == State::Unclaimed;
    let given_back = GIVEN_BACK.load(Ordering::Relaxed);
    // Without the guard the lane would never be given back; it is gone only while the thread is ending.
    if EXIT.try_with(|_| ()).is_err() {
        STATE.set(State::Ending);
        return LaneOffset::SHARED;
    }
    let Some(lane) = CLAIMED.claim(default_count()).and_then(LaneOffset::new) else {
        STATE.set(State::Sharing(given_back));
        if first_time {
            process::count_lane_overflow();
        }
        return LaneOffset::SHARED;
    };
    process::publish_lane(lane.lane());
    STATE.set(State::Claimed);
    OFFSET.set(lane);
    lane
}

/// The process's number of lanes, fixed to the default where no region fixed it: cores + 8, at least 16.
pub(crate) fn default_count() -> usize {
    match lane_count() {
        0 => {
            let cores = std::thread::available_parallelism().map_or(8, usize::from);
            fix_lane_count((cores + 8).max(16))
        }
        fixed => fixed,
    }
}

/// In a forked child: only the calling thread goes on, so only its lane is still owned. Async-signal-safe.
pub(crate) fn keep_only_own() {
    CLAIMED.keep_only(OFFSET.get().lane());
}

/// Claims the calling thread's lane now, so that even its first write costs what every other one costs.
///
/// Call it where a thread starts (a runtime's `on_thread_start` is the place). Claiming registers a destructor with the
/// C library, which may allocate; after this call no write does. Without it the first write claims. A thread that ends
/// gives its lane back by itself.
///
/// ```
/// std::thread::spawn(|| {
///     tachograph::enter_thread();
///     // from here on no write allocates, and no note asks the kernel who the thread is
/// })
/// .join()
/// .unwrap();
/// ```
pub fn enter_thread() {
    if current().is_shared() {
        claim();
    }
    note::enter_thread();
}
