//! How many leases hold a slot, and how the last of them hands its cells over to whoever takes the slot next.
//!
//! Generic over the word, so that the model checker runs this very code (`ci/loom.sh`). Blocks nobody. What makes a
//! slot's cells safe to clear is proved here; that no lease begins while they are cleared is the caller's lock.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use tachograph_layout::Word;

/// The count of a slot. It goes from 0 to 1 only under the family's lock.
#[derive(Debug, Default)]
pub(crate) struct LeaseCount<W: Word>(W);

impl<W: Word> LeaseCount<W> {
    /// One more lease, by whoever holds one or the family's lock. Says whether it is the only one.
    pub(crate) fn enter(&self) -> bool {
        // Relaxed: a lease gives the right to write, and publishes nothing. Its holder got the slot by the family's lock,
        // or from the holder of another lease.
        self.0.fetch_add(1, Relaxed) == 0
    }

    /// One more lease where there is one already: without the lock that keeps the slot from being taken.
    pub(crate) fn join(&self) -> bool {
        let mut found = self.0.load(Relaxed);
        while found != 0 {
            // Relaxed on both sides, as `enter`.
            match self.0.compare_exchange(found, found + 1, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => found = now,
            }
        }
        false
    }

    /// One lease less. Says whether it was the last.
    pub(crate) fn leave(&self) -> bool {
        // SYNC(lease-drop): whatever was written through this lease, by its holder or by those who lent it to, comes
        // before this. Whoever then finds 0 finds all of it, from every clone: each later change of the count is a
        // read-modify-write, so they all belong to one release sequence.
        self.0.fetch_sub(1, Release) == 1
    }

    /// Whether no lease is left. Under the family's lock it stays so, since only there does a count leave 0; and then
    /// **no writer can exist**: every write method borrows a lease for as long as it writes, so each write came before
    /// the drop of its lease, in whatever thread either was, and each drop comes before this. That holds for threads
    /// that share lane 0 as for the others: the lane says where they write, the lease whether they may.
    pub(crate) fn is_free(&self) -> bool {
        // SYNC(lease-drop): see `leave`. Clearing the cells after this follows every write through any lease.
        self.0.load(Acquire) == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_last_to_leave_is_told() {
        let count = LeaseCount::<AtomicU64>::default();
        assert!(count.is_free() && !count.join());
        assert!(count.enter() && !count.enter() && count.join());
        assert!(!count.leave() && !count.leave() && !count.is_free());
        assert!(count.leave() && count.is_free());
    }
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;
    use tachograph_layout::explore;

    use super::*;

    /// Two clones of a lease in two threads, each with a lane of its own; a third thread takes the slot for another
    /// label set once it is free. MODELS(lease-drop): what it clears, nobody writes any more, and nobody wrote late.
    #[test]
    fn a_slot_that_is_free_has_no_writer() {
        explore(|| {
            let count = Arc::new(LeaseCount(AtomicU64::new(2)));
            let lanes: Arc<[AtomicU64; 2]> = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let writers: Vec<_> = (0..2)
                .map(|lane: usize| {
                    let (count, lanes) = (Arc::clone(&count), Arc::clone(&lanes));
                    thread::spawn(move || {
                        let cell = &lanes[lane];
                        cell.store(cell.load(Relaxed) + 1, Relaxed);
                        count.leave()
                    })
                })
                .collect();
            if count.is_free() {
                for cell in lanes.iter() {
                    assert_eq!(cell.load(Relaxed), 1, "the last value of the old series is complete");
                    cell.store(0, Relaxed);
                }
                assert!(count.enter());
            }
            let last = writers.into_iter().map(|writer| writer.join().expect("no panic"));
            assert_eq!(last.filter(|last| *last).count(), 1, "one lease is the last");
            if !count.is_free() {
                assert!(lanes.iter().all(|cell| cell.load(Relaxed) == 0), "nothing of the old series is left");
            }
        });
    }

    /// A lease that is looked up while the last one goes either joins it or finds the slot free.
    #[test]
    fn a_lease_joins_only_a_slot_that_is_held() {
        explore(|| {
            let count = Arc::new(LeaseCount(AtomicU64::new(1)));
            let joining = Arc::clone(&count);
            let joining = thread::spawn(move || joining.join() && joining.leave());
            let last_here = count.leave();
            let last_there = joining.join().expect("no panic");
            assert!(last_here != last_there, "one of them was the last, and never both");
            assert!(count.is_free());
        });
    }
}
