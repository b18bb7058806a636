//! Words and the two steps that every protocol over them is made of: publish a record, read a published record.
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

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    const LIVE: u64 = 2;

    /// Two slots, a high-water mark, and a string that the second slot refers to.
    #[derive(Default)]
    struct Region {
        slots: [[AtomicU64; 2]; 2],
        string: AtomicU64,
        used: AtomicU64,
    }

    #[test]
    fn a_reader_finds_whole_records_below_the_mark() {
        loom::model(|| {
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

    /// Ups and downs of one up-down counter in two lanes: a lowering in one follows its raise in the other.
    #[test]
    fn an_up_down_counter_never_reads_below_zero() {
        loom::model(|| {
            let lanes: Arc<[[AtomicU64; 2]; 2]> = Arc::default();
            let handed_over = Arc::new(AtomicU64::new(0));
            let (ups, message) = (Arc::clone(&lanes), Arc::clone(&handed_over));
            let raiser = thread::spawn(move || {
                ups[0][0].store(1, Ordering::Relaxed);
                message.store(1, Ordering::Release);
            });
            let (downs, message) = (Arc::clone(&lanes), Arc::clone(&handed_over));
            let lowerer = thread::spawn(move || {
                if message.load(Ordering::Acquire) == 1 {
                    downs[1][1].store(1, Ordering::Release);
                }
            });
            let sum = |cell: usize| lanes.iter().map(|lane| lane[cell].load(Ordering::Relaxed)).sum::<u64>();
            let down = sum(1);
            AtomicU64::fence_acquire();
            let up = sum(0);
            assert!(up >= down, "{up} ups, {down} downs");
            raiser.join().expect("no panic");
            lowerer.join().expect("no panic");
        });
    }
}
