//! Which label set of an open family has which slot: the process's own bookkeeping, which knows nothing of the region.
//!
//! Called by `slots.rs` under the family's lock. Looking a set up allocates nothing; taking a slot for a new set
//! allocates only the first time that the slot is used. Times are nanoseconds of the monotonic clock.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::naming;

/// The label sets of a family and the slots that they hold.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<String>,
    /// Slots by the hash of their label values. Keyed at random: label values may come from strangers.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Slots that were ever used, in order; at most `budget`.
    held: Vec<Held>,
    budget: u32,
    linger_ns: u64,
    /// Retired slots, the one that was retired first in front. A slot that was revived since stands here no longer
    /// truly (its stamp differs), but never in front.
    retired: VecDeque<(u32, u64)>,
    /// How often a slot was retired.
    stamp: u64,
}

/// A slot that was used.
#[derive(Debug, Default)]
struct Held {
    /// The label block, escaped.
    block: String,
    hash: u64,
    retired: Option<Retired>,
}

#[derive(Debug, Clone, Copy)]
struct Retired {
    at: u64,
    stamp: u64,
}

/// A slot for a new label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was never used.
    Fresh(u32),
    /// Another label set had it, whose linger is over.
    Used(u32),
}

impl Table {
    pub(crate) fn new(names: Vec<String>, budget: u32, linger_ns: u64) -> Self {
        Self {
            names,
            index: HashTable::with_capacity(budget as usize),
            hasher: RandomState::new(),
            held: Vec::with_capacity(budget as usize),
            budget,
            linger_ns,
            retired: VecDeque::with_capacity(2 * budget as usize),
            stamp: 0,
        }
    }

    /// The hash that the label set is looked up by.
    pub(crate) fn hash(&self, values: &[&str]) -> u64 {
        self.hasher.hash_one(values)
    }

    /// The slot that holds the label set, live or retired.
    pub(crate) fn find(&self, hash: u64, values: &[&str]) -> Option<u32> {
        let same = |slot: &u32| {
            let held = self.held.get(*slot as usize);
            held.is_some_and(|held| held.hash == hash && naming::is_label_block(&held.block, &self.names, values))
        };
        self.index.find(hash, same).copied()
    }

    /// Length of the label set's block, in bytes.
    pub(crate) fn block_len(&self, values: &[&str]) -> usize {
        naming::label_block_len(&self.names, values)
    }

    /// The label block of a slot; empty where the slot was never used.
    pub(crate) fn block(&self, slot: u32) -> &str {
        self.held.get(slot as usize).map_or("", |held| &held.block)
    }

    /// Whether a new label set would find a slot.
    pub(crate) fn has_room(&self, now: u64) -> bool {
        self.held.len() < self.budget as usize || self.oldest(now).is_some()
    }

    /// Takes a slot for a label set that has none: a fresh one, else the one that was retired first, where its linger is
    /// over. `None` where there is neither.
    pub(crate) fn take(&mut self, hash: u64, values: &[&str], now: u64) -> Option<Taken> {
        let taken = if self.held.len() < self.budget as usize {
            self.held.push(Held::default());
            Taken::Fresh(self.held.len() as u32 - 1)
        } else {
            let slot = self.oldest(now)?;
            self.forget(slot);
            Taken::Used(slot)
        };
        let (Taken::Fresh(slot) | Taken::Used(slot)) = taken;
        let held = self.held.get_mut(slot as usize)?;
        held.block.clear();
        naming::write_label_block(&mut held.block, &self.names, values);
        held.hash = hash;
        held.retired = None;
        let hash_of = |slot: &u32| self.held.get(*slot as usize).map_or(0, |held| held.hash);
        self.index.insert_unique(hash, slot, hash_of);
        Some(taken)
    }

    /// Says that no lease is left. False where that was said already.
    pub(crate) fn retire(&mut self, slot: u32, now: u64) -> bool {
        let Some(held) = self.held.get_mut(slot as usize).filter(|held| held.retired.is_none()) else { return false };
        self.stamp += 1;
        held.retired = Some(Retired { at: now, stamp: self.stamp });
        if self.retired.len() == self.retired.capacity() {
            // Each true entry is a slot's own, and there is room for twice as many: at least half of them go.
            let held = &self.held;
            self.retired.retain(|entry| is_true(held, *entry));
        }
        self.retired.push_back((slot, self.stamp));
        true
    }

    /// Says that there is a lease again. False where the slot was not retired.
    pub(crate) fn revive(&mut self, slot: u32) -> bool {
        let Some(held) = self.held.get_mut(slot as usize) else { return false };
        let was_retired = held.retired.take().is_some();
        self.drop_untrue();
        was_retired
    }

    /// The slot that was retired first, where its linger is over.
    fn oldest(&self, now: u64) -> Option<u32> {
        let (slot, _) = *self.retired.front()?;
        let retired = self.held.get(slot as usize)?.retired?;
        (now.saturating_sub(retired.at) >= self.linger_ns).then_some(slot)
    }

    /// Takes a retired slot from its label set.
    fn forget(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(slot as usize) else { return };
        held.retired = None;
        if let Ok(entry) = self.index.find_entry(held.hash, |other| *other == slot) {
            entry.remove();
        }
        self.drop_untrue();
    }

    fn drop_untrue(&mut self) {
        while self.retired.front().is_some_and(|entry| !is_true(&self.held, *entry)) {
            self.retired.pop_front();
        }
    }
}

/// Whether a slot was not revived since it was retired with this stamp.
fn is_true(held: &[Held], (slot, stamp): (u32, u64)) -> bool {
    held.get(slot as usize).and_then(|held| held.retired).is_some_and(|retired| retired.stamp == stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(table: &mut Table, value: &str, now: u64) -> Option<Taken> {
        let hash = table.hash(&[value]);
        assert_eq!(table.find(hash, &[value]), None);
        table.take(hash, &[value], now)
    }

    fn find(table: &Table, value: &str) -> Option<u32> {
        table.find(table.hash(&[value]), &[value])
    }

    #[test]
    fn slots_go_to_others_only_after_their_linger_the_oldest_first() {
        let mut table = Table::new(vec!["peer".to_owned()], 2, 10);
        assert_eq!(take(&mut table, "a", 0), Some(Taken::Fresh(0)));
        assert_eq!(take(&mut table, "b", 0), Some(Taken::Fresh(1)));
        assert_eq!(take(&mut table, "c", 0), None);
        assert!(table.retire(1, 5) && table.retire(0, 7) && !table.retire(0, 8));
        assert!(!table.has_room(14) && table.has_room(15));
        assert_eq!(take(&mut table, "c", 14), None);
        assert_eq!(take(&mut table, "c", 15), Some(Taken::Used(1)));
        assert_eq!((find(&table, "b"), find(&table, "c"), find(&table, "a")), (None, Some(1), Some(0)));
        assert_eq!(table.block(1), "peer=\"c\"");
        assert!(table.revive(0) && !table.revive(0));
        assert_eq!(take(&mut table, "d", 1_000), None);
    }

    /// A slot that is retired and revived for ever takes no more memory, and is not mistaken for the oldest.
    #[test]
    fn retiring_and_reviving_keeps_order_and_size() {
        let mut table = Table::new(vec!["peer".to_owned()], 3, 10);
        for value in ["a", "b", "c"] {
            let _ = take(&mut table, value, 0);
        }
        let capacity = table.retired.capacity();
        assert!(table.retire(1, 0));
        for now in 0..1_000 {
            assert!(table.retire(0, now) && table.revive(0));
        }
        assert_eq!(table.retired.capacity(), capacity);
        assert!(table.retire(0, 1_000) && table.retire(2, 1_001));
        let order: Vec<_> = (0..4).map(|n| take(&mut table, &format!("new-{n}"), 5_000)).collect();
        assert_eq!(order, [Some(Taken::Used(1)), Some(Taken::Used(0)), Some(Taken::Used(2)), None]);
    }
}
