//! Which slots of a section have an owner: activities and pulses claim them and give them back.
//!
//! Called where an actor or a loop starts and ends, never on its way. The lists are the process's own; the region is never
//! asked. A slot that was given back keeps what its owner left for as long as it can: slots that were never used go first,
//! then those given back longest ago, and last those whose owners were unwound by a panic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tachograph_layout::{Section, SlotWord, give_slot, retire_slot};

use crate::process::Attached;

/// The slots of one section of a region.
#[derive(Debug)]
pub(crate) struct OwnedSlots {
    attached: &'static Attached,
    section: Section,
    /// Offset of the control word that says how many slots were ever used.
    mark: u64,
    /// Which word of a slot is its state.
    state_at: usize,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Slots ever used.
    used: u64,
    given_back: VecDeque<u64>,
    /// Evidence of a panic: taken only where there is no other.
    unwound: VecDeque<u64>,
}

impl OwnedSlots {
    pub(crate) fn new(attached: &'static Attached, section: Section, mark: u64, state_at: usize) -> Self {
        Self { attached, section, mark, state_at, free: Mutex::new(Free::default()) }
    }

    pub(crate) fn attached(&self) -> &'static Attached {
        self.attached
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.section.count
    }

    /// A slot of the caller's own that holds `record`; `None` where all have owners, and in a region that has ended.
    pub(crate) fn claim(&'static self, record: &[u64]) -> Option<Owned> {
        // Asked before the mutex is touched: a forked child may have inherited it locked.
        if self.attached.ended.load(Relaxed) {
            return None;
        }
        let index = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.used < self.section.count {
                free.used += 1;
                self.attached.control(self.mark).store(free.used, Relaxed);
                free.used - 1
            } else {
                free.given_back.pop_front().or_else(|| free.unwound.pop_front())?
            }
        };
        let entry = self.section.entry(index)?;
        let live = give_slot(|word| self.attached.map.word(entry + word as u64 * 8), self.state_at, record)?;
        Some(Owned { slots: self, index, entry, live, unwound: AtomicBool::new(false) })
    }

    fn give_back(&self, index: u64, unwound: bool) {
        if self.attached.ended.load(Relaxed) {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let Free { given_back, unwound: kept, .. } = &mut *free;
        (if unwound { kept } else { given_back }).push_back(index);
    }
}

/// A slot that somebody owns. Once dropped it may be given to another.
#[derive(Debug)]
pub(crate) struct Owned {
    slots: &'static OwnedSlots,
    index: u64,
    entry: u64,
    live: SlotWord,
    unwound: AtomicBool,
}

impl Owned {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn region(&self) -> &'static Attached {
        self.slots.attached
    }

    /// `N` words from a byte offset within the slot.
    pub(crate) fn words<const N: usize>(&self, offset: usize) -> Option<&'static [AtomicU64; N]> {
        self.slots.attached.map.words(self.entry + offset as u64)
    }

    /// Says that the owner ended. Its last stores stand until the slot is given to another.
    pub(crate) fn retire(&self, unwound: bool) {
        self.unwound.store(unwound, Relaxed);
        if let Some(state) = self.slots.attached.map.word(self.entry + self.slots.state_at as u64 * 8) {
            retire_slot(state, self.live);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.slots.give_back(self.index, self.unwound.load(Relaxed));
    }
}
