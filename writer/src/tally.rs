//! The hot path of every kind that counts: add to the calling thread's own word of a lane cell.
//!
//! Called by counters and up-down counters. A thread with a lane adds by a plain load and store, which compile to one
//! unlocked `add`; a thread without one goes the cold way, which claims a lane or shares lane 0.

use std::sync::atomic::Ordering::{self, Relaxed};

use tachograph_layout::{LaneCell, LaneOffset};

use crate::{lane, process};

/// Adds `n`, wrapping. `order` is that of the store: Relaxed, or Release where a reader must also see what came before.
#[inline]
pub(crate) fn add(cell: LaneCell, n: u64, order: Ordering) {
    let lane = lane::current();
    if lane.is_shared() {
        add_slow(cell, n, order);
    } else {
        add_own(cell, lane, n, order);
    }
}

#[inline]
fn add_own(cell: LaneCell, lane: LaneOffset, n: u64, order: Ordering) {
    // The lane is this thread's own, so nobody else stores to the word.
    tachograph_layout::add_own(cell.at(lane), n, order);
}

#[cold]
#[inline(never)]
fn add_slow(cell: LaneCell, n: u64, order: Ordering) {
    let lane = lane::claim();
    if lane.is_shared() {
        cell.at(lane).fetch_add(n, order);
    } else {
        add_own(cell, lane, n, order);
    }
}

/// The sum over all lanes that may hold values, wrapping.
pub(crate) fn sum(cell: LaneCell) -> u64 {
    lanes().map(|lane| cell.at(lane).load(Relaxed)).fold(0, u64::wrapping_add)
}

/// Every lane that may hold values.
pub(crate) fn lanes() -> impl Iterator<Item = LaneOffset> {
    (0..process::lanes_used()).filter_map(LaneOffset::new)
}
