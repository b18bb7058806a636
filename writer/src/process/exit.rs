//! What is said when the process exits: a region that is still in use then was left in an orderly way, which no reader
//! could tell from a kill otherwise.
//!
//! The handler runs at `exit` and at a return from `main`, after whatever was registered later. `_exit`, `exec` and
//! signals run none, which is right: they end the process without asking anybody.

use std::sync::atomic::Ordering;

use rustix::time::ClockId;
use tachograph_layout::{Control, RegionState};

use super::attached;
use crate::housekeeping::clock_ns;

/// Has the handler run at the end of the process. Called once.
pub(super) fn install() {
    // SAFETY: the handler touches statics and mappings that live as long as the process.
    if unsafe { libc::atexit(on_exit) } != 0 {
        tracing::warn!("atexit failed: a process that exits without closing its regions is told as killed");
    }
}

/// Marks every region that this process still has in use.
extern "C" fn on_exit() {
    let pid = rustix::process::getpid();
    for region in attached().filter(|region| region.is_in_use(pid)) {
        region.control(Control::STATE_REALTIME_NS).store(clock_ns(ClockId::Realtime), Ordering::Relaxed);
        let (live, exited) = (RegionState::Live.to_wire(), RegionState::Exited.to_wire());
        // Only from Live: a thread that closes the region meanwhile, or later, knows better.
        // SYNC(region-live): as a closed region's state, it is the last word of a process that goes in order.
        let _ = region.control(Control::STATE).compare_exchange(live, exited, Ordering::Release, Ordering::Relaxed);
    }
}
