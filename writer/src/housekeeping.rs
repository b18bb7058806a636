//! Housekeeping: one thread a process that ticks every region.
//!
//! Each tick stores the region's heartbeat, turns the windows of its watermarks, and looks whether the file still has
//! a name. It also says, once each, what went wrong where no one could say it (lane overflow, a file unlinked). It
//! never touches a value cell but those of watermark windows, and the hot path never waits for it.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tachograph_layout::{Control, LaneOffset};

use crate::process::{self, Attached};
use crate::window;

/// Number of the current 60 s window of the watermarks, on the monotonic clock.
static WINDOW: AtomicU64 = AtomicU64::new(0);
/// Realtime of the last tick, in nanoseconds: the coarse clock of the writer. Relaxed: it publishes nothing.
static COARSE_REALTIME_NS: AtomicU64 = AtomicU64::new(0);
/// The monotonic clock at the last tick, in nanoseconds. Relaxed: it publishes nothing.
static COARSE_MONOTONIC_NS: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicBool = AtomicBool::new(false);

const WINDOW_NS: u64 = 60_000_000_000;

/// The current window of the watermarks.
#[inline]
pub(crate) fn window() -> u64 {
    window::current(&WINDOW)
}

/// The time of the last tick: nanoseconds since the Unix epoch.
#[inline]
pub(crate) fn coarse_realtime_ns() -> u64 {
    COARSE_REALTIME_NS.load(Ordering::Relaxed)
}

/// The monotonic clock at the last tick, in nanoseconds.
#[inline]
pub(crate) fn coarse_monotonic_ns() -> u64 {
    COARSE_MONOTONIC_NS.load(Ordering::Relaxed)
}

/// Nanoseconds of a clock.
pub(crate) fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// In a forked child: the thread did not come along, nor whoever was just turning the window. Async-signal-safe.
pub(crate) fn forget_thread() {
    RUNNING.store(false, Ordering::Relaxed);
    TURNING.store(false, Ordering::Relaxed);
}

/// Ticks `region` once, and starts the thread where it does not run yet.
pub(crate) fn watch(region: &'static Attached) {
    turn_window(|| clock_ns(ClockId::Monotonic) / WINDOW_NS);
    tick(region);
    if RUNNING.swap(true, Ordering::Relaxed) {
        return;
    }
    let spawned = std::thread::Builder::new().name("tachograph-tick".to_owned()).spawn(run);
    if let Err(error) = spawned {
        RUNNING.store(false, Ordering::Relaxed);
        tracing::warn!(%error, "no housekeeping thread: heartbeats of this process's regions stand still");
    }
}

fn run() {
    // Signals are the application's: none shall be delivered to this thread.
    if let Err(error) = nix::sys::signal::SigSet::all().thread_block() {
        tracing::debug!(%error, "the housekeeping thread could not block signals");
    }
    loop {
        let period = process::attached()
            .filter(|region| !region.ended.load(Ordering::Relaxed))
            .map(|region| region.tick)
            .min()
            .unwrap_or(Duration::from_secs(1));
        std::thread::sleep(period);
        turn_window(|| clock_ns(ClockId::Monotonic) / WINDOW_NS);
        process::attached().filter(|region| !region.ended.load(Ordering::Relaxed)).for_each(tick);
    }
}

fn tick(region: &'static Attached) {
    let monotonic = clock_ns(ClockId::Monotonic);
    let realtime = clock_ns(ClockId::Realtime);
    COARSE_REALTIME_NS.store(realtime, Ordering::Relaxed);
    COARSE_MONOTONIC_NS.store(monotonic, Ordering::Relaxed);
    region.control(Control::WATERMARK_WINDOW).store(window(), Ordering::Relaxed);
    region.control(Control::TICK_REALTIME_NS).store(realtime, Ordering::Relaxed);
    region.control(Control::TICK_MONOTONIC_NS).store(monotonic, Ordering::Relaxed);
    region.control(Control::TICKS).fetch_add(1, Ordering::Relaxed);
    if let Some(file) = region.unlinked()
        && region.control(Control::UNLINKED).swap(1, Ordering::Relaxed) == 0
    {
        tracing::warn!(
            region = region.name,
            "the {file} was unlinked while in use: readers can't find the region, or take its writer for dead, until the \
             next start; look for a cleaner of its directory"
        );
    }
    if let Some(adoption) = region.adoption.get() {
        adoption.tick();
    }
    let overflows = region.control(Control::LANE_OVERFLOWS).load(Ordering::Relaxed);
    if overflows > 0 && !OVERFLOW_SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            region = region.name,
            threads = overflows,
            lanes = tachograph_layout::lane_count(),
            "more threads than lanes: the extra ones share a lane, slower but exact; raise Builder::lanes"
        );
    }
}

/// Whether lane overflow was said: once a process, since lanes are the process's.
static OVERFLOW_SAID: AtomicBool = AtomicBool::new(false);

/// Held while the window is turned. No mutex: a child that is forked meanwhile has to let it go.
static TURNING: AtomicBool = AtomicBool::new(false);

/// Starts the window that the clock is in: its cells are cleared first, then its number is made known.
pub(crate) fn turn_window(clock: impl FnOnce() -> u64) {
    // One at a time, and each reads the clock only then: a second clearing would wipe what was observed since the first,
    // and so would a window that is turned back.
    // SYNC(turning): whoever gets in sees what was cleared by whoever was in before.
    while TURNING.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
    let (before, now) = (WINDOW.load(Ordering::Relaxed), clock());
    if now > before {
        window::turn(&WINDOW, now, clear);
    }
    // SYNC(turning): see above.
    TURNING.store(false, Ordering::Release);
}

/// Clears halves of all watermarks' windows.
fn clear(halves: &[u64]) {
    for region in process::attached().filter(|region| !region.ended.load(Ordering::Relaxed)) {
        let watermarks = region.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        for &first in watermarks.iter() {
            for half in halves {
                let Some(block) = region.map.lane_block::<1>(first + half, 1) else { continue };
                for lane in (0..process::lanes_used()).filter_map(LaneOffset::new) {
                    block.series(0).cell::<0>().at(lane).store(0, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A builder that read the clock before housekeeping turned the window must not turn it back.
    #[test]
    fn a_window_is_never_turned_back() {
        let region = crate::Region::private("window").expect("private memory");
        let peak = region.watermark_max("app_peak", "Largest").expect("a watermark");
        let now = window();
        turn_window(|| now + 1);
        peak.record(99);
        turn_window(|| now);
        assert_eq!((window(), peak.get()), (now + 1, Some(99)));
        turn_window(|| now + 2);
        assert_eq!(peak.get(), Some(99), "the window before is still shown");
        turn_window(|| now + 3);
        assert_eq!(peak.get(), None);
        assert_eq!(peak.since_start().map(|(value, _)| value), Some(99));
    }
}
