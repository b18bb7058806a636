//! Words and the steps that every protocol over them is made of: publish a record, read a published record, add to a word
//! of one's own, read what goes up and down.
//!
//! Generic over the word, so that the model checker runs the very code that runs over a region (`ci/loom.sh`). Used by
//! the writer on its map, and by [`crate::WordView`] on a reader's.

use std::sync::atomic::{AtomicU64, Ordering};

/// An atomic 8-byte word: `AtomicU64`, or the model checker's.
pub trait Word {
    /// As [`AtomicU64::load`].
    fn load(&self, order: Ordering) -> u64;
    /// As [`AtomicU64::store`].
    fn store(&self, value: u64, order: Ordering);
    /// As [`AtomicU64::fetch_and`].
    fn fetch_and(&self, value: u64, order: Ordering) -> u64;
    /// As [`AtomicU64::fetch_max`].
    fn fetch_max(&self, value: u64, order: Ordering) -> u64;
    /// As [`AtomicU64::fetch_add`].
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// As [`AtomicU64::fetch_sub`].
    fn fetch_sub(&self, value: u64, order: Ordering) -> u64;
    /// As [`AtomicU64::compare_exchange`].
    ///
    /// # Errors
    /// The word's value, where it is not `current`.
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
    /// As [`std::sync::atomic::fence`] with Acquire.
    fn fence_acquire();
    /// As [`std::sync::atomic::fence`] with Release.
    fn fence_release();
    /// As [`std::thread::yield_now`].
    fn yield_now();
}

macro_rules! word {
    ($type:ty, $fence:path, $yield:path) => {
        impl Word for $type {
            #[inline]
            fn load(&self, order: Ordering) -> u64 {
                Self::load(self, order)
            }
            #[inline]
            fn store(&self, value: u64, order: Ordering) {
                Self::store(self, value, order);
            }
            #[inline]
            fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
                Self::fetch_and(self, value, order)
            }
            #[inline]
            fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
                Self::fetch_max(self, value, order)
            }
            #[inline]
            fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
                Self::fetch_add(self, value, order)
            }
            #[inline]
            fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
                Self::fetch_sub(self, value, order)
            }
            #[inline]
            fn compare_exchange(
                &self,
                current: u64,
                new: u64,
                success: Ordering,
                failure: Ordering,
            ) -> Result<u64, u64> {
                Self::compare_exchange(self, current, new, success, failure)
            }
            #[inline]
            fn fence_acquire() {
                $fence(Ordering::Acquire);
            }
            #[inline]
            fn fence_release() {
                $fence(Ordering::Release);
            }
            fn yield_now() {
                $yield();
            }
        }
    };
}

word!(AtomicU64, std::sync::atomic::fence, std::thread::yield_now);
#[cfg(loom)]
word!(loom::sync::atomic::AtomicU64, loom::sync::atomic::fence, loom::thread::yield_now);

/// Stores a record so that whoever finds its first word finds the rest: words 1 and up Relaxed, then the first, the
/// state word, with Release. `word(n)` is the record's n-th word.
///
/// What the record refers to (strings, cells) must have been stored before, by the same thread.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use tachograph_layout::{publish, read_published};
/// let slot = [const { AtomicU64::new(0) }; 3];
/// publish(|n| slot.get(n), &[2, 7, 9]);
/// let mut copy = [0; 3];
/// assert_eq!(read_published(|n| slot.get(n), &mut copy), Some(()));
/// assert_eq!(copy, [2, 7, 9]);
/// ```
pub fn publish<'a, W: Word + 'a>(word: impl Fn(usize) -> Option<&'a W>, record: &[u64]) {
    for (index, &value) in record.iter().enumerate().skip(1) {
        if let Some(word) = word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }
    if let (Some(state), Some(&value)) = (word(0), record.first()) {
        // SYNC(slot-publish): a reader that finds this state finds the words above, and what they refer to.
        state.store(value, Ordering::Release);
    }
}

/// Loads a word so that what its writer stored before it with Release is visible after. A read-only page allows no
/// acquire load, so it is a Relaxed load and a fence.
pub fn load_acquire<W: Word>(word: &W) -> u64 {
    let value = word.load(Ordering::Relaxed);
    W::fence_acquire();
    value
}

/// Copies a record that [`publish`] stored: the state word first, with Acquire, then the others. `None` where a word is
/// missing. The copy is complete where the state found says that the slot is readable; the caller checks that.
pub fn read_published<'a, W: Word + 'a>(word: impl Fn(usize) -> Option<&'a W>, copy: &mut [u64]) -> Option<()> {
    for (index, value) in copy.iter_mut().enumerate() {
        let word = word(index)?;
        // SYNC(slot-publish): see `publish`.
        *value = if index == 0 { load_acquire(word) } else { word.load(Ordering::Relaxed) };
    }
    Some(())
}

/// Adds `n`, wrapping, to a word that only the calling thread stores to: a plain load and store. `order` is the store's.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// let word = AtomicU64::new(40);
/// tachograph_layout::add_own(&word, 2, Ordering::Relaxed);
/// assert_eq!(word.into_inner(), 42);
/// ```
#[inline]
pub fn add_own<W: Word>(word: &W, n: u64, order: Ordering) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(n), order);
}

/// Reads up-down counters: runs `downs`, which loads all cells that count downs, and then `ups`. Where downs were stored
/// with Release, the ups that any of them takes off are found, so that a legal history never reads below 0. `ups` must
/// load anew how many lanes are used.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// assert_eq!(tachograph_layout::downs_then_ups::<AtomicU64, _, _>(|| 2, || 5), (2, 5));
/// ```
#[inline]
pub fn downs_then_ups<W: Word, D, U>(downs: impl FnOnce() -> D, ups: impl FnOnce() -> U) -> (D, U) {
    let downs = downs();
    // SYNC(updown): every up that came before a down that was read is seen from here on, in whatever lane it stands.
    W::fence_acquire();
    (downs, ups())
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;
    use crate::explore;

    const LIVE: u64 = 2;

    /// Two slots, a high-water mark, and a string that the second slot refers to.
    #[derive(Default)]
    struct Region {
        slots: [[AtomicU64; 2]; 2],
        string: AtomicU64,
        used: AtomicU64,
    }

    /// MODELS(slot-publish).
    #[test]
    fn a_reader_finds_whole_records_below_the_mark() {
        explore(|| {
            let region = Arc::new(Region::default());
            let writer = Arc::clone(&region);
            let writer = thread::spawn(move || {
                for (index, slot) in writer.slots.iter().enumerate() {
                    writer.string.store(40 + index as u64, Ordering::Relaxed);
                    publish(|n| slot.get(n), &[LIVE, 10 + index as u64]);
                    writer.used.store(index as u64 + 1, Ordering::Release);
                }
            });
            let used = load_acquire(&region.used);
            for (index, slot) in region.slots.iter().enumerate() {
                let mut copy = [0; 2];
                assert_eq!(read_published(|n| slot.get(n), &mut copy), Some(()));
                if (index as u64) < used {
                    assert_eq!(copy[0], LIVE, "below the mark every slot was published");
                }
                if copy[0] == LIVE {
                    assert_eq!(copy[1], 10 + index as u64, "a live slot is whole");
                    assert!(region.string.load(Ordering::Relaxed) >= 40 + index as u64, "and so is what it refers to");
                }
            }
            writer.join().expect("no panic");
        });
    }

    /// MODELS(region-live): the state of a region, which says that all values before it are there.
    #[test]
    fn a_region_that_is_closed_has_its_last_values() {
        explore(|| {
            let state: Arc<[AtomicU64; 2]> = Arc::default();
            let cell = Arc::new(AtomicU64::new(0));
            let (writer, count) = (Arc::clone(&state), Arc::clone(&cell));
            let writer = thread::spawn(move || {
                add_own(&*count, 1, Ordering::Relaxed);
                publish(|n| writer.get(n), &[2, 77]);
            });
            if load_acquire(&state[0]) == 2 {
                assert_eq!((state[1].load(Ordering::Relaxed), cell.load(Ordering::Relaxed)), (77, 1));
            }
            writer.join().expect("no panic");
        });
    }

    /// MODELS(updown): one up-down counter in two lanes, of which the second is used for the first time. A lowering in
    /// one lane follows its raise in the other.
    #[test]
    fn an_up_down_counter_never_reads_below_zero() {
        explore(|| {
            let lanes: Arc<[[AtomicU64; 2]; 2]> = Arc::default();
            let lanes_used = Arc::new(AtomicU64::new(1));
            let handed_over = Arc::new(AtomicU64::new(0));
            let (ups, used, message) = (Arc::clone(&lanes), Arc::clone(&lanes_used), Arc::clone(&handed_over));
            let raiser = thread::spawn(move || {
                used.fetch_max(2, Ordering::Relaxed);
                add_own(&ups[1][0], 1, Ordering::Relaxed);
                message.store(1, Ordering::Release);
            });
            let (downs, message) = (Arc::clone(&lanes), Arc::clone(&handed_over));
            let lowerer = thread::spawn(move || {
                if message.load(Ordering::Acquire) == 1 {
                    // SYNC(updown): as the writer's handle stores it.
                    add_own(&downs[0][1], 1, Ordering::Release);
                }
            });
            let sum = |cell: usize| {
                let used = lanes_used.load(Ordering::Relaxed) as usize;
                lanes[..used].iter().map(|lane| lane[cell].load(Ordering::Relaxed)).sum::<u64>()
            };
            let (down, up) = downs_then_ups::<AtomicU64, _, _>(|| sum(1), || sum(0));
            assert!(up >= down, "{up} ups, {down} downs");
            raiser.join().expect("no panic");
            lowerer.join().expect("no panic");
        });
    }
}
