//! Which lanes have an owner: a set of bits that threads claim and give back without a lock.
//!
//! Called by `lane.rs` only. The set is generic over its words, so that the model checker runs this very code
//! (`ci/loom.sh`). It neither allocates nor blocks, and may be used in a forked child.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use tachograph_layout::Word;

/// One bit a lane, set while a thread owns it. Lane 0, the shared one, is never given to a thread.
///
/// Each word has a cache line of its own, so that threads that start and end do not slow down their neighbours.
#[derive(Debug)]
pub(crate) struct LaneSet<W, const WORDS: usize>([CachePadded<W>; WORDS]);

impl<const WORDS: usize> LaneSet<AtomicU64, WORDS> {
    /// A set in which no lane has an owner.
    pub(crate) const fn new() -> Self {
        Self([const { CachePadded::new(AtomicU64::new(0)) }; WORDS])
    }
}

impl<W: Word, const WORDS: usize> LaneSet<W, WORDS> {
    /// Claims the lowest free lane below `lanes`; `None` where all have owners.
    pub(crate) fn claim(&self, lanes: usize) -> Option<usize> {
        for (index, word) in self.0.iter().enumerate().take(lanes.div_ceil(64)) {
            let mut bits = word.load(Ordering::Relaxed);
            loop {
                // Lane 0 is nobody's.
                let taken = if index == 0 { bits | 1 } else { bits };
                let bit = (!taken).trailing_zeros() as usize;
                let lane = index * 64 + bit;
                if bit == 64 || lane >= lanes {
                    break;
                }
                // SYNC(lane-claim): Acquire, to go on from the values that the lane's last owner left in it. Failure
                // needs no ordering: nothing is read through it but the bits themselves.
                match word.compare_exchange(bits, bits | 1 << bit, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Some(lane),
                    Err(now) => bits = now,
                }
            }
        }
        None
    }

    /// Gives a lane back, its values left in place. The caller owns it and writes it no more.
    pub(crate) fn give_back(&self, lane: usize) {
        if let Some(word) = self.0.get(lane / 64) {
            // SYNC(lane-claim): whoever claims this lane next sees the values that its owner left in it.
            word.fetch_and(!(1 << (lane % 64)), Ordering::Release);
        }
    }

    /// Forgets all owners but that of `own` (0: none is kept). For a forked child, whose other threads do not exist.
    pub(crate) fn keep_only(&self, own: usize) {
        for (index, word) in self.0.iter().enumerate() {
            let kept = if own != 0 && own / 64 == index { 1 << (own % 64) } else { 0 };
            word.store(kept, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_lane_but_the_shared_one_has_one_owner() {
        let set = LaneSet::<AtomicU64, 2>::new();
        let claimed: Vec<usize> = std::iter::from_fn(|| set.claim(100)).collect();
        assert_eq!(claimed, (1..100).collect::<Vec<_>>());
        set.give_back(70);
        set.give_back(3);
        assert_eq!((set.claim(100), set.claim(100), set.claim(100)), (Some(3), Some(70), None));
        set.keep_only(70);
        assert_eq!(set.claim(100), Some(1));
        assert_eq!(std::iter::from_fn(|| set.claim(100)).filter(|lane| *lane == 70).count(), 0);
    }
}

/// Run by `ci/loom.sh`: every interleaving and every reordering that the memory model allows.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;
    use tachograph_layout::explore;

    use super::*;

    /// Two cells of one series: of the shared lane, and of the only lane that can be owned.
    struct Lanes {
        set: LaneSet<AtomicU64, 1>,
        shared: AtomicU64,
        own: AtomicU64,
    }

    /// What a thread does with its life: claims, counts by plain load and store, gives back; or shares lane 0.
    fn count(lanes: &Lanes, times: u64) {
        match lanes.set.claim(2) {
            Some(_) => {
                for _ in 0..times {
                    lanes.own.store(lanes.own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
                lanes.set.give_back(1);
            }
            None => {
                lanes.shared.fetch_add(times, Ordering::Relaxed);
            }
        }
    }

    /// MODELS(lane-claim).
    #[test]
    fn a_lane_that_changes_hands_loses_nothing() {
        explore(|| {
            let lanes = Arc::new(Lanes {
                set: LaneSet([CachePadded::new(AtomicU64::new(0))]),
                shared: AtomicU64::new(0),
                own: AtomicU64::new(0),
            });
            let others: Vec<_> = (1..3)
                .map(|times| {
                    let lanes = Arc::clone(&lanes);
                    thread::spawn(move || count(&lanes, times))
                })
                .collect();
            count(&lanes, 3);
            for other in others {
                other.join().expect("no panic");
            }
            let sum = lanes.own.load(Ordering::Relaxed) + lanes.shared.load(Ordering::Relaxed);
            assert_eq!(sum, 6);
        });
    }
}
