//! Stamped records: a ring of the latest of something, whose slots are written over while readers copy them.
//!
//! A record's first word is its stamp: the record's number, from 1, or 0 where there was none yet. The writer sets the
//! stamp's top bit while it fills the record, so that neither a reader nor another writer takes a half for a whole.
//! Used by the writer for notes and panics, and by readers through [`crate::WordView::stamped`]. Generic over the word, so
//! that the model checker runs this very code (`ci/loom.sh`). Nothing here blocks or waits.

use std::sync::atomic::Ordering;

use crate::Word;

/// Set in a stamp while the record is being written.
const BEING_WRITTEN: u64 = 1 << 63;

/// How often a reader copies a record again that was written over meanwhile.
const READ_TRIES: u32 = if cfg!(loom) { 1 } else { 4 };

/// The slot of record `number`, from 1, in a ring of `count` slots.
///
/// ```
/// use tachograph_layout::ring_slot;
/// assert_eq!((ring_slot(1, 8), ring_slot(8, 8), ring_slot(9, 8)), (0, 7, 0));
/// ```
#[must_use]
pub const fn ring_slot(number: u64, count: u64) -> u64 {
    number.saturating_sub(1) % if count == 0 { 1 } else { count }
}

/// Writes record `number` (from 1, below 2^63) into its slot: the stamp with its top bit, the words from 1 on, the stamp.
/// `record[0]` is not looked at. Says whether it was written: not where another thread is just writing the slot, nor
/// where a newer record stands there. Then the ring was lapped while this thread waited for its turn, and what it has to
/// say is the oldest.
///
/// Whoever dies in between leaves a stamp with its top bit: that slot is lost, and no other.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use tachograph_layout::{read_stamped, write_stamped};
/// let slot = [const { AtomicU64::new(0) }; 3];
/// assert!(write_stamped(|n| slot.get(n), 9, &[0, 70, 71]));
/// assert!(!write_stamped(|n| slot.get(n), 1, &[0, 10, 11]), "a newer one stands there");
/// let mut copy = [0; 3];
/// assert_eq!(read_stamped(|n| slot.get(n), &mut copy), Some(9));
/// assert_eq!(copy, [9, 70, 71]);
/// ```
pub fn write_stamped<'a, W: Word + 'a>(word: impl Fn(usize) -> Option<&'a W>, number: u64, record: &[u64]) -> bool {
    let Some(stamp) = word(0) else { return false };
    let before = stamp.load(Ordering::Relaxed);
    if before & BEING_WRITTEN != 0 || before >= number || number & BEING_WRITTEN != 0 {
        return false;
    }
    // SYNC(stamp-end): what the last writer of the slot stored comes before what is stored here.
    if stamp.compare_exchange(before, number | BEING_WRITTEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return false;
    }
    // SYNC(stamp-begin): whoever finds a store that comes after this fence finds the top bit.
    W::fence_release();
    for (index, &value) in record.iter().enumerate().skip(1) {
        if let Some(word) = word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }
    // SYNC(stamp-end): whoever finds the number finds the record whole.
    stamp.store(number, Ordering::Release);
    true
}

/// Copies a record that [`write_stamped`] stored, stamp included, and gives its number; `None` where there is none, it is
/// being written, it was written over each time that it was copied, or a word is missing. Whether the number belongs into
/// the slot ([`ring_slot`]) the caller checks.
pub fn read_stamped<'a, W: Word + 'a>(word: impl Fn(usize) -> Option<&'a W>, copy: &mut [u64]) -> Option<u64> {
    let stamp = word(0)?;
    for _ in 0..READ_TRIES {
        // SYNC(stamp-end): see `write_stamped`. A read-only page allows no acquire load.
        let number = crate::load_acquire(stamp);
        if number == 0 || number & BEING_WRITTEN != 0 {
            return None;
        }
        for (index, value) in copy.iter_mut().enumerate() {
            *value = if index == 0 { number } else { word(index)?.load(Ordering::Relaxed) };
        }
        // SYNC(stamp-begin): everything so far is read before the stamp below.
        W::fence_acquire();
        if stamp.load(Ordering::Relaxed) == number {
            return Some(number);
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn a_slot_that_is_being_written_is_left_alone() {
        let slot = [7 | BEING_WRITTEN, 70].map(AtomicU64::new);
        assert!(!write_stamped(|n| slot.get(n), 15, &[0, 150]));
        assert_eq!(read_stamped(|n| slot.get(n), &mut [0; 2]), None);
        assert_eq!(slot[1].load(Ordering::Relaxed), 70);
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let slot = [const { AtomicU64::new(0) }; 2];
        for number in [0, BEING_WRITTEN, u64::MAX] {
            assert!(!write_stamped(|n| slot.get(n), number, &[0, 1]), "{number:#x}");
        }
        assert_eq!(read_stamped(|n| slot.get(n), &mut [0; 2]), None);
    }

    #[test]
    fn a_record_beyond_its_map_is_none() {
        let slot = [3].map(AtomicU64::new);
        assert_eq!(read_stamped(|n| slot.get(n), &mut [0; 2]), None);
    }
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;
    use crate::explore;

    /// A ring of one slot and records of two words that say their number.
    fn write(slot: &[AtomicU64; 3], number: u64) -> bool {
        write_stamped(|n| slot.get(n), number, &[0, number * 10, number * 100])
    }

    /// A copy is whole, whatever stands in it; its number.
    fn read(slot: &[AtomicU64; 3]) -> Option<u64> {
        let mut copy = [0; 3];
        let number = read_stamped(|n| slot.get(n), &mut copy)?;
        assert_eq!(copy, [number, number * 10, number * 100]);
        Some(number)
    }

    /// MODELS(stamp-begin), MODELS(stamp-end): a record that is written over while it is copied. The reader is the thread
    /// that is spawned: one that came first the checker would not make to come second, since it remembers the last access
    /// to a word only.
    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        explore(|| {
            let slot: Arc<[AtomicU64; 3]> = Arc::default();
            assert!(write(&slot, 1));
            let reader = {
                let slot = Arc::clone(&slot);
                thread::spawn(move || read(&slot))
            };
            assert!(write(&slot, 2), "the slot is free");
            let found = reader.join().expect("no panic");
            assert!(matches!(found, None | Some(1 | 2)));
            assert_eq!(read(&slot), Some(2));
        });
    }

    /// MODELS(stamp-end): two writers that come to the same slot.
    #[test]
    fn two_writers_never_mix() {
        explore(|| {
            let slot: Arc<[AtomicU64; 3]> = Arc::default();
            let writers = [1, 2].map(|number| {
                let slot = Arc::clone(&slot);
                thread::spawn(move || write(&slot, number))
            });
            read(&slot);
            let written = writers.map(|writer| writer.join().expect("no panic"));
            assert!(written[0] || written[1], "one of them was written");
            assert_eq!(read(&slot), Some(if written[1] { 2 } else { 1 }), "the newest that was written stands");
        });
    }
}
