//! The structure word: how a slot is given to another series while readers copy the region.
//!
//! The writer holds a [`StructureChange`], whose life is the time that the word is odd; a reader puts its whole pass into
//! [`read_structure`] and asks [`slot_stands`] for each slot that may change hands. Generic over the word, so that the
//! model checker runs this very code (`ci/loom.sh`). Nothing here blocks: a reader gives up after a bounded number of
//! tries and rests on the slots alone, and a writer never waits for readers.
//!
//! What is promised: a reader whose pass was undisturbed, or who was told [`slot_stands`], never mixes the labels of one
//! series with the values of another, and after SIGKILL at any instruction neither does the reader of the dead.
//! What the callers owe for it:
//! - the word has one writer at a time (the registry's mutex);
//! - nobody writes the slot's cells for its old series any more, and that series' last writer happens before the change
//!   (a lease's count is lowered with Release and found 0 with Acquire);
//! - SYNC(structure-cells): the cells of an open family's series are stored with Release. The change gives the slot to
//!   one thread, which hands the series on to others, and only with a Release store does a reader that finds their value
//!   find the slot taken, too. On x86-64 that is the instruction of a Relaxed store.
//! - appending a slot that was never used, retiring a series and reviving it are no structure changes: the slot's state
//!   word alone says so (see [`crate::publish`]).

use std::sync::atomic::Ordering;

use crate::{SlotState, SlotWord, Word, load_acquire};

/// A change of structure under way: the structure word is odd until this is dropped.
///
/// For each slot, in this order: [`StructureChange::retake`]; zero its cells in all lanes and write its labels, Relaxed;
/// [`crate::publish`] its descriptor with the state word that `retake` returned.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use tachograph_layout::{SlotState, SlotWord, StructureChange, publish};
/// let (structure, cell) = (AtomicU64::new(0), AtomicU64::new(77));
/// let slot = [AtomicU64::new(SlotWord::new(0, SlotState::Retired).bits()), AtomicU64::new(0)];
/// let change = StructureChange::begin(&structure);
/// assert_eq!(structure.load(Relaxed), 1);
/// let live = change.retake(&slot[0]);
/// cell.store(0, Relaxed);
/// publish(|n| slot.get(n), &[live.bits(), 5]);
/// drop(change);
/// assert_eq!((structure.load(Relaxed), live.generation()), (2, 1));
/// ```
#[derive(Debug)]
#[must_use = "the change ends when this is dropped"]
pub struct StructureChange<'a, W: Word> {
    structure: &'a W,
    /// What the word is while the change lasts.
    odd: u64,
}

impl<'a, W: Word> StructureChange<'a, W> {
    /// Makes the structure word odd. There is one change at a time: the caller holds what registration is done under.
    pub fn begin(structure: &'a W) -> Self {
        let odd = structure.load(Ordering::Relaxed) | 1;
        // Relaxed: `retake` orders everything that a reader must not miss behind it.
        structure.store(odd, Ordering::Relaxed);
        Self { structure, odd }
    }

    /// Takes a slot from its series, by the state word of its descriptor: from here on no reader keeps anything that it
    /// copies out of it. Returns the state word that the slot is to be published with, one generation on.
    ///
    /// The writer may die at any instruction after: the slot then stays [`SlotState::Building`], which readers leave out.
    pub fn retake(&self, state: &W) -> SlotWord {
        let generation = SlotWord::from_bits(state.load(Ordering::Relaxed)).generation().wrapping_add(1);
        // SYNC(structure-begin): whoever finds the slot taken finds the odd word,
        state.store(SlotWord::new(generation, SlotState::Building).bits(), Ordering::Release);
        // SYNC(structure-begin): and whoever finds a store that comes after this fence finds both.
        W::fence_release();
        SlotWord::new(generation, SlotState::Live)
    }
}

impl<W: Word> Drop for StructureChange<'_, W> {
    fn drop(&mut self) {
        // SYNC(structure-end): whoever finds the even word finds the change whole.
        self.structure.store(self.odd.wrapping_add(1), Ordering::Release);
    }
}

/// How often a reader waits for an even word: a slot is given away within microseconds.
const SETTLE_TRIES: u32 = if cfg!(loom) { 1 } else { 64 };
/// How often a pass is done again because the structure changed meanwhile. Few: in a region whose slots change hands all
/// the time it always did, and asking for each slot at the end is enough.
const READ_TRIES: u32 = if cfg!(loom) { 2 } else { 4 };

/// Runs `read` until no structure changed meanwhile, at most four times, and returns what the last pass found: undisturbed,
/// or else good for each slot that [`slot_stands`]. `read` is given the structure word that it starts from, so that what a
/// pass parsed can be kept for as long as the word is the same.
///
/// A dead writer's word is final: where `writer_lives` is false, one pass is done without waiting.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use tachograph_layout::read_structure;
/// assert_eq!(read_structure(&AtomicU64::new(4), true, |word| word), 4);
/// let mut passes = 0;
/// let odd_of_a_dead_writer = AtomicU64::new(7);
/// read_structure(&odd_of_a_dead_writer, false, |_| passes += 1);
/// assert_eq!(passes, 1);
/// ```
pub fn read_structure<W: Word, T>(structure: &W, writer_lives: bool, mut read: impl FnMut(u64) -> T) -> T {
    let mut tries = 0;
    loop {
        let word = settled(structure, writer_lives);
        let found = read(word);
        tries += 1;
        if undisturbed(structure, word) || !writer_lives || tries >= READ_TRIES {
            return found;
        }
    }
}

/// Whether every slot kept its series since the structure word was `begun`.
fn undisturbed<W: Word>(structure: &W, begun: u64) -> bool {
    // SYNC(structure-begin): everything so far is read before the word below.
    W::fence_acquire();
    structure.load(Ordering::Relaxed) == begun && begun.is_multiple_of(2)
}

/// The structure word once it is even, or after a bounded wait.
fn settled<W: Word>(structure: &W, writer_lives: bool) -> u64 {
    // SYNC(structure-end): a pass that starts from an even word sees the change that it ended.
    let mut word = load_acquire(structure);
    for _ in 0..SETTLE_TRIES {
        if word.is_multiple_of(2) || !writer_lives {
            break;
        }
        W::yield_now();
        word = load_acquire(structure);
    }
    word
}

/// Whether a slot still holds the series that it held when its state word was `found`: then all that was loaded from
/// its descriptor, its labels and its cells since belongs to that series. Asked after the last of those loads, of a word
/// that was loaded (by [`load_acquire`]) before the first.
///
/// A series that was only retired or revived since still stands.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use tachograph_layout::{SlotState, SlotWord, slot_stands};
/// let found = SlotWord::new(3, SlotState::Live);
/// let state = AtomicU64::new(SlotWord::new(3, SlotState::Retired).bits());
/// assert!(slot_stands(&state, found));
/// state.store(SlotWord::new(4, SlotState::Live).bits(), Relaxed);
/// assert!(!slot_stands(&state, found));
/// ```
pub fn slot_stands<W: Word>(state: &W, found: SlotWord) -> bool {
    // SYNC(structure-begin), SYNC(structure-cells): everything loaded from the slot so far is loaded before its state
    // word below.
    W::fence_acquire();
    let now = SlotWord::from_bits(state.load(Ordering::Relaxed));
    found.is_readable() && now.is_readable() && now.generation() == found.generation()
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;
    use crate::{explore, publish, read_published};

    /// One slot of an open family: its descriptor (state word, and a label of its own), and its cell in two lanes. The
    /// series of generation `n` has the label `10 + n`; the first one's values are 3 and 4.
    struct Region {
        structure: AtomicU64,
        slot: [AtomicU64; 2],
        cells: [AtomicU64; 2],
    }

    impl Region {
        fn new() -> Arc<Self> {
            let retired = SlotWord::new(0, SlotState::Retired).bits();
            Arc::new(Self {
                structure: AtomicU64::new(0),
                slot: [AtomicU64::new(retired), AtomicU64::new(10)],
                cells: [AtomicU64::new(3), AtomicU64::new(4)],
            })
        }

        fn give_away(&self) {
            let change = StructureChange::begin(&self.structure);
            let live = change.retake(&self.slot[0]);
            for cell in &self.cells {
                cell.store(0, Ordering::Relaxed);
            }
            publish(|n| self.slot.get(n), &[live.bits(), 10 + u64::from(live.generation())]);
        }

        /// A reader's pass: state word, label, the values of both lanes.
        fn pass(&self) -> (SlotWord, u64, [u64; 2]) {
            let mut copy = [0; 2];
            assert_eq!(read_published(|n| self.slot.get(n), &mut copy), Some(()));
            let cells = [0, 1].map(|lane: usize| self.cells[lane].load(Ordering::Relaxed));
            (SlotWord::from_bits(copy[0]), copy[1], cells)
        }
    }

    /// Label and values of a pass that may be kept are of one series, and what came before it was cleared.
    fn is_whole((found, label, cells): (SlotWord, u64, [u64; 2])) {
        assert_eq!(label, 10 + u64::from(found.generation()));
        match found.generation() {
            0 => assert_eq!(cells, [3, 4], "nothing of the new series shows under the old label"),
            _ => assert!(cells.iter().all(|cell| [0, 100].contains(cell)), "nor of the old one: {cells:?}"),
        }
    }

    /// MODELS(structure-begin) by the slots alone, as for a writer that died in the middle.
    #[test]
    fn a_slot_that_stands_is_of_one_series() {
        explore(|| {
            let region = Region::new();
            let writer = Arc::clone(&region);
            let writer = thread::spawn(move || {
                writer.give_away();
                writer.cells[0].store(100, Ordering::Release);
            });
            let found = region.pass();
            if slot_stands(&region.slot[0], found.0) {
                is_whole(found);
            }
            writer.join().expect("no panic");
        });
    }

    /// MODELS(structure-begin) and MODELS(structure-end) by the structure word alone. The reader is the thread that is
    /// spawned: one that came first the checker would not make to come second, since it remembers the last access to a
    /// word only.
    #[test]
    fn an_undisturbed_pass_is_of_one_structure() {
        explore(|| {
            let region = Region::new();
            let seen = Arc::clone(&region);
            let reader = thread::spawn(move || {
                // The state word's own order is left out: only the structure word may be what keeps the pass together.
                let word = settled(&seen.structure, true);
                let cells = [0, 1].map(|lane: usize| seen.cells[lane].load(Ordering::Relaxed));
                let label = seen.slot[1].load(Ordering::Relaxed);
                let slot = SlotWord::from_bits(seen.slot[0].load(Ordering::Relaxed));
                if undisturbed(&seen.structure, word) {
                    assert_eq!(word / 2, u64::from(slot.generation()));
                    assert!(slot.is_readable());
                    is_whole((slot, label, cells));
                }
            });
            region.give_away();
            region.cells[0].store(100, Ordering::Release);
            reader.join().expect("no panic");
        });
    }

    /// Both together, as a snapshot of a living writer is taken.
    #[test]
    fn a_snapshot_keeps_no_mixed_series() {
        explore(|| {
            let region = Region::new();
            let writer = Arc::clone(&region);
            let writer = thread::spawn(move || {
                writer.give_away();
                writer.cells[0].store(100, Ordering::Release);
            });
            let found = read_structure(&region.structure, true, |_| region.pass());
            if slot_stands(&region.slot[0], found.0) {
                is_whole(found);
            }
            writer.join().expect("no panic");
        });
    }

    /// MODELS(structure-cells): the new series is written by another thread than the one that took the slot for it.
    #[test]
    fn a_series_handed_to_another_thread_is_not_mixed() {
        explore(|| {
            let region = Region::new();
            let lease = Arc::new(AtomicU64::new(0));
            let (writer, sent) = (Arc::clone(&region), Arc::clone(&lease));
            let writer = thread::spawn(move || {
                writer.give_away();
                sent.store(1, Ordering::Release);
            });
            let (other, received) = (Arc::clone(&region), lease);
            let other = thread::spawn(move || {
                if received.load(Ordering::Acquire) == 1 {
                    // SYNC(structure-cells): as a lease of an open family stores.
                    other.cells[1].store(100, Ordering::Release);
                }
            });
            let found = region.pass();
            if slot_stands(&region.slot[0], found.0) {
                is_whole(found);
            }
            writer.join().expect("no panic");
            other.join().expect("no panic");
        });
    }
}
