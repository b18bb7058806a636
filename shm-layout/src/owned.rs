//! Slots that have one owner at a time (activities, pulses): given to one after another while readers copy them.
//!
//! The state word alone says it: it is [`SlotState::Building`] of the new generation while the slot is filled for its next
//! owner. Used by the writer, and by readers through [`crate::WordView::owned`]. Generic over the word, so that the model
//! checker runs this very code (`ci/loom.sh`). Nothing here blocks or waits. Who owns a slot is the caller's to know: it
//! gives a slot to nobody before its last owner's last store happened.

use std::sync::atomic::Ordering;

use crate::{SlotState, SlotWord, Word, load_acquire};

/// Gives a slot to its next owner: all words of `record` are stored, the state word (number `state_at`, whatever
/// `record` has there) last. Returns the state word that it has now; `None`, and nothing stored, where it is missing.
///
/// Whoever dies in between leaves a slot that readers leave out.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use tachograph_layout::{SlotState, give_slot, read_owned, retire_slot};
/// let slot = [const { AtomicU64::new(0) }; 3];
/// let first = give_slot(|n| slot.get(n), 0, &[0, 7, 8]).unwrap();
/// retire_slot(&slot[0], first);
/// let second = give_slot(|n| slot.get(n), 0, &[0, 9, 0]).unwrap();
/// assert_eq!((first.generation(), second.generation()), (0, 1));
/// let mut copy = [0; 3];
/// assert_eq!(read_owned(|n| slot.get(n), 0, &mut copy), Some(second));
/// assert_eq!(copy, [second.bits(), 9, 0]);
/// ```
pub fn give_slot<'a, W: Word + 'a>(
    word: impl Fn(usize) -> Option<&'a W>,
    state_at: usize,
    record: &[u64],
) -> Option<SlotWord> {
    let state = word(state_at)?;
    let before = SlotWord::from_bits(state.load(Ordering::Relaxed));
    let never_used = before.state() == Some(SlotState::Free);
    let generation = if never_used { before.generation() } else { before.generation().wrapping_add(1) };
    state.store(SlotWord::new(generation, SlotState::Building).bits(), Ordering::Relaxed);
    // SYNC(slot-taken): whoever finds a store that comes after this fence finds the slot taken.
    W::fence_release();
    for (index, &value) in record.iter().enumerate().filter(|(index, _)| *index != state_at) {
        if let Some(word) = word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }
    let live = SlotWord::new(generation, SlotState::Live);
    // SYNC(slot-owner): whoever finds this state finds the words above.
    state.store(live.bits(), Ordering::Release);
    Some(live)
}

/// Says that the owner of a slot ended. What it stored last stands until the slot is given to the next.
pub fn retire_slot<W: Word>(state: &W, live: SlotWord) {
    // SYNC(slot-owner): whoever finds the slot retired finds its owner's last stores.
    state.store(SlotWord::new(live.generation(), SlotState::Retired).bits(), Ordering::Release);
}

/// Copies a slot that [`give_slot`] gave, and says whose copy it is: the state word, which stands in the copy, too. Where
/// that says that the slot is not readable, the copy was not touched. `None` where the slot was given to another meanwhile,
/// or a word is missing.
///
/// What the owner stores while it owns the slot may be of successive moments.
pub fn read_owned<'a, W: Word + 'a>(
    word: impl Fn(usize) -> Option<&'a W>,
    state_at: usize,
    copy: &mut [u64],
) -> Option<SlotWord> {
    let state = word(state_at)?;
    // SYNC(slot-owner): see `give_slot` and `retire_slot`.
    let found = SlotWord::from_bits(load_acquire(state));
    if !found.is_readable() {
        return Some(found);
    }
    for (index, value) in copy.iter_mut().enumerate() {
        *value = if index == state_at { found.bits() } else { word(index)?.load(Ordering::Relaxed) };
    }
    // SYNC(slot-taken): everything so far is read before the state below.
    W::fence_acquire();
    let now = SlotWord::from_bits(state.load(Ordering::Relaxed));
    (now.is_readable() && now.generation() == found.generation()).then_some(found)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn a_slot_that_is_being_filled_is_told_and_not_copied() {
        let building = SlotWord::new(3, SlotState::Building);
        let slot = [building.bits(), 70].map(AtomicU64::new);
        let mut copy = [1; 2];
        assert_eq!(read_owned(|n| slot.get(n), 0, &mut copy), Some(building));
        assert_eq!(copy, [1; 2]);
        let live = give_slot(|n| slot.get(n), 0, &[0, 5]).expect("a slot");
        assert_eq!(live.generation(), 4, "whoever died over it used it up");
    }

    #[test]
    fn the_state_word_may_stand_anywhere() {
        let slot = [const { AtomicU64::new(0) }; 3];
        let live = give_slot(|n| slot.get(n), 2, &[7, 8, 0]).expect("a slot");
        let mut copy = [0; 3];
        assert_eq!(read_owned(|n| slot.get(n), 2, &mut copy), Some(live));
        assert_eq!(copy, [7, 8, live.bits()]);
        assert_eq!(read_owned(|n| slot[..2].get(n), 2, &mut copy), None);
        assert_eq!(give_slot(|n| slot[..2].get(n), 2, &[0; 3]), None);
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

    /// One slot: state, who owns it, and what the owner stores while it does.
    type Slot = [AtomicU64; 3];

    /// An owner's life.
    fn live(slot: &Slot, owner: u64) {
        let live = give_slot(|n| slot.get(n), 0, &[0, owner, owner * 10]).expect("a slot");
        slot[2].store(owner * 10 + 1, Ordering::Relaxed);
        retire_slot(&slot[0], live);
    }

    fn read(slot: &Slot) {
        let mut copy = [0; 3];
        let Some(found) = read_owned(|n| slot.get(n), 0, &mut copy) else { return };
        if found.is_readable() {
            let [_, owner, doing] = copy;
            assert_eq!(owner, u64::from(found.generation()) + 1, "the slot's owner");
            assert_eq!(doing / 10, owner, "what it stores is its own");
            if found.state() == Some(SlotState::Retired) {
                assert_eq!(doing % 10, 1, "the last words of an owner that ended are there");
            }
        }
    }

    /// MODELS(slot-taken), MODELS(slot-owner).
    #[test]
    fn a_reader_never_mixes_two_owners() {
        explore(|| {
            let slot: Arc<Slot> = Arc::default();
            let reader = Arc::clone(&slot);
            let reader = thread::spawn(move || read(&reader));
            live(&slot, 1);
            live(&slot, 2);
            reader.join().expect("no panic");
        });
    }
}
