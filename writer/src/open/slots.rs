//! The slots of an open family: given to label sets, retired with their last lease, revived, and given to others.
//!
//! Called by `OpenFamily::with` and by leases. What a slot holds is decided by `table.rs` under the family's lock; this
//! file does what readers see. It never fails and never panics: whatever finds no slot gets the overflow series. In a
//! forked child, and after the region was closed, it touches neither the lock nor the region.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Once, PoisonError, RwLock};

use rustix::time::ClockId;
use tachograph_layout::{
    Control, Kind, LaneOffset, SeriesRecord, SlotState, SlotWord, StrRef, StructureChange, Words, publish,
};

use super::lease_count::LeaseCount;
use super::table::{Table, Taken};
use super::{Open, OpenRules};
use crate::adopt::Sets;
use crate::housekeeping;
use crate::process::{self, Attached};
use crate::register::label_hash;

/// The label block of the overflow series, whatever the family's labels are.
const OVERFLOW: &str = "overflow=\"true\"";

/// Where a family's slots stand in its region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    pub(crate) family: u32,
    pub(crate) kind: Kind,
    /// File offset of the first slot's series record.
    pub(crate) records: u64,
    /// File offset of the label-areas section, and where in it the first slot's area begins.
    pub(crate) areas: u64,
    pub(crate) first_area: u64,
    /// First cell of the first slot: an index of a lane's cells, or the file offset of a line.
    pub(crate) first_cell: u64,
    /// As [`Site::first_cell`], as series records have it: for kinds of the shared plane the index of the line.
    pub(crate) first_index: u64,
    /// Cells a slot.
    pub(crate) cells: u32,
}

/// The slots of an open family, for the life of the process.
#[derive(Debug)]
pub(crate) struct Slots {
    attached: &'static Attached,
    /// The family's name, for warnings.
    name: String,
    rules: OpenRules,
    site: Site,
    /// The totals that its series continue, of the region before.
    totals: Option<&'static Sets>,
    /// Leases by slot; the overflow series' never leaves 1.
    counts: Box<[LeaseCount<AtomicU64>]>,
    table: RwLock<Table>,
    overflow: Once,
    said_full: AtomicBool,
    said_long: AtomicBool,
    /// The monotonic clock; a test's own in tests.
    clock: fn() -> u64,
}

/// Why a label set goes to the overflow series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Every slot of the budget is held, or lingers.
    Full,
    /// The label block does not fit into a label area.
    Long,
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    housekeeping::clock_ns(ClockId::Monotonic)
}

impl Slots {
    /// The slots of a family that was just registered, none of them in use.
    pub(crate) fn new(
        attached: &'static Attached,
        name: &str,
        label_names: Vec<String>,
        open: &Open,
        site: Site,
        totals: Option<&'static Sets>,
    ) -> Self {
        let Open { rules, clock } = *open;
        let counts: Box<[LeaseCount<AtomicU64>]> = (0..rules.slots()).map(|_| LeaseCount::default()).collect();
        // Whatever is dropped, the overflow series stays.
        counts[rules.budget() as usize].enter();
        Self {
            attached,
            name: name.to_owned(),
            rules,
            site,
            totals,
            counts,
            table: RwLock::new(Table::new(label_names, rules.budget(), rules.linger_ns())),
            overflow: Once::new(),
            said_full: AtomicBool::new(false),
            said_long: AtomicBool::new(false),
            clock,
        }
    }

    /// A slot for the label set, with one lease more: its own, a new one, or the overflow series'.
    pub(crate) fn take(&self, values: &[&str]) -> u32 {
        // Before the lock is touched: a forked child may have inherited it locked. Its cells are private memory, as the
        // overflow series' are; and nothing of a closed region changes hands any more.
        if self.attached.ended.load(Relaxed) {
            return self.enter(self.rules.budget());
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let hash = table.hash(values);
        if let Some(slot) = table.find(hash, values) {
            if self.count(slot).join() {
                return slot;
            }
        } else if let Some(refusal) = self.refusal(&table, values) {
            drop(table);
            return self.overflow(refusal);
        }
        drop(table);
        self.take_slow(hash, values)
    }

    /// As `take`, where the set has no slot or its slot no lease.
    #[cold]
    #[inline(never)]
    fn take_slow(&self, hash: u64, values: &[&str]) -> u32 {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.find(hash, values) {
            if self.count(slot).enter() && table.revive(slot) {
                self.mark_live(slot);
            }
            return slot;
        }
        let refusal = self.refusal(&table, values);
        let taken = if refusal.is_none() { table.take(hash, values, (self.clock)()) } else { None };
        match taken {
            Some(Taken::Fresh(slot)) => {
                self.publish_fresh(slot, table.block(slot));
                self.enter(slot)
            }
            Some(Taken::Used(slot)) => {
                // The table takes only slots from whose last lease it heard under this lock.
                debug_assert!(self.count(slot).is_free(), "a slot in use is never taken");
                self.give_away(slot, table.block(slot));
                self.enter(slot)
            }
            None => {
                drop(table);
                self.overflow(refusal.unwrap_or(Refusal::Full))
            }
        }
    }

    /// One more lease of a slot that is held.
    pub(crate) fn enter(&self, slot: u32) -> u32 {
        self.count(slot).enter();
        slot
    }

    /// One lease less; with the last the series is retired.
    pub(crate) fn leave(&self, slot: u32) {
        // As in `take`: nothing is retired in a forked child or a closed region.
        if self.count(slot).leave() && !self.attached.ended.load(Relaxed) {
            self.retire(slot);
        }
    }

    /// Whether a slot is the overflow series'.
    pub(crate) const fn is_overflow(&self, slot: u32) -> bool {
        slot == self.rules.budget()
    }

    /// Whether nothing of the region changes hands any more.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_ended(&self) -> bool {
        self.attached.ended.load(Relaxed)
    }

    /// The family's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn rules(&self) -> OpenRules {
        self.rules
    }

    #[cold]
    #[inline(never)]
    fn retire(&self, slot: u32) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // Between the last lease and the lock the series may have been taken again: then it is not this one's to retire.
        if !self.count(slot).is_free() {
            return;
        }
        let now = (self.clock)();
        if table.retire(slot, now) {
            self.store(self.record_word(slot, RETIRED_WORD), now);
            self.set_state(slot, SlotState::Retired);
        }
    }

    /// The series is live again, with the value that it had.
    fn mark_live(&self, slot: u32) {
        self.set_state(slot, SlotState::Live);
        // After the state: who finds the series retired and no time of it knows that it was just revived.
        self.store(self.record_word(slot, RETIRED_WORD), 0);
    }

    /// Publishes a series in a slot that was never used, whose cells are zero.
    fn publish_fresh(&self, slot: u32, block: &str) {
        self.publish(slot, block, SlotWord::new(0, SlotState::Live));
    }

    /// Gives a slot to another label set.
    fn give_away(&self, slot: u32, block: &str) {
        let Some(state) = self.attached.map.word(self.record_word(slot, 0)) else { return };
        // One change at a time in a region; its families have a lock each.
        let _one = self.attached.structure.lock().unwrap_or_else(PoisonError::into_inner);
        let change = StructureChange::begin(self.attached.control(Control::STRUCTURE));
        let live = change.retake(state);
        self.clear(slot);
        self.publish(slot, block, live);
    }

    /// Zeroes the slot's cells in all lanes. No writer of them can exist: the table heard of the last lease's end under
    /// the lock that is held, after [`LeaseCount::is_free`], which says why.
    fn clear(&self, slot: u32) {
        let cells = u64::from(self.site.cells);
        if self.site.kind.in_shared_plane() {
            let first = self.site.first_cell + u64::from(slot) * cells * 64;
            (0..cells).for_each(|line| self.store(first + line * 64, 0));
            return;
        }
        // A lane counts as used before it is first written, so before the lease through which it was is dropped.
        let first = self.site.first_cell + u64::from(slot) * cells;
        for lane in (0..process::lanes_used()).filter_map(LaneOffset::new) {
            for cell in first..first + cells {
                if let Some(block) = self.attached.map.lane_block::<1>(cell, 1) {
                    // Relaxed: readers are kept off by the slot's state; the new leases get the slot by the lock.
                    block.series(0).cell::<0>().at(lane).store(0, Relaxed);
                }
            }
        }
    }

    /// Writes a slot's labels, then its record, the state word last.
    fn publish(&self, slot: u32, block: &str, state: SlotWord) {
        let area = self.site.first_area + u64::from(slot) * u64::from(self.rules.label_area_bytes());
        for (index, bytes) in block.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.store(self.site.areas + area + index as u64 * 8, u64::from_le_bytes(word));
        }
        let now = housekeeping::clock_ns(ClockId::Realtime);
        let total = self.totals.and_then(|totals| totals.take(block));
        if let (Some(total), Some(adoption)) = (total, self.attached.adoption.get()) {
            adoption.store(total, self.site.first_cell + u64::from(slot) * u64::from(self.site.cells));
        }
        let record = SeriesRecord {
            state: state.bits(),
            family: self.site.family,
            cells: self.site.cells,
            cell: self.site.first_index + u64::from(slot) * u64::from(self.site.cells),
            labels: StrRef { offset: area as u32, len: block.len() as u32 },
            created_realtime_ns: total.map_or(now, |total| total.created_realtime_ns.min(now)),
            labels_hash: label_hash(block),
            ..SeriesRecord::default()
        };
        // SYNC(series-publish): a reader that finds the series live finds its labels and its cells.
        publish(|word| self.attached.map.word(self.record_word(slot, word)), record.as_words());
        if let (Some(total), Some(adoption)) = (total, self.attached.adoption.get()) {
            adoption.mark(total);
        }
    }

    /// Changes the state of a series that keeps its slot.
    fn set_state(&self, slot: u32, state: SlotState) {
        if let Some(word) = self.attached.map.word(self.record_word(slot, 0)) {
            let generation = SlotWord::from_bits(word.load(Relaxed)).generation();
            // SYNC(series-publish): a reader that finds the series retired finds since when.
            word.store(SlotWord::new(generation, state).bits(), Release);
        }
    }

    /// The overflow series, with one lease more, for a label set that the caller's own rules refuse: counted here, told by
    /// the caller.
    #[cfg(feature = "metrics")]
    pub(crate) fn refuse(&self) -> u32 {
        // As in `take`: nothing is published in a forked child or a closed region.
        if !self.attached.ended.load(Relaxed) {
            self.count_overflow();
        }
        self.enter(self.rules.budget())
    }

    /// Counts a label set that goes to the overflow series, which is published with the first.
    fn count_overflow(&self) {
        self.overflow.call_once(|| self.publish_fresh(self.rules.budget(), OVERFLOW));
        self.attached.control(Control::LABEL_OVERFLOWS).fetch_add(1, Relaxed);
    }

    /// The overflow series, with one lease more. The set is counted; the first one for either reason is told.
    #[cold]
    #[inline(never)]
    fn overflow(&self, refusal: Refusal) -> u32 {
        let slot = self.rules.budget();
        self.count_overflow();
        // No lock is held here: a subscriber may well use metrics itself. Short, the family first: a note keeps 216 bytes.
        let (region, family) = (self.attached.name.as_str(), self.name.as_str());
        match refusal {
            Refusal::Full if !self.said_full.swap(true, Relaxed) => tracing::warn!(
                family,
                region,
                budget = self.rules.budget(),
                "more label sets than its budget: the further ones share {{overflow=\"true\"}}; raise it, or look for a label \
                 with too many values"
            ),
            Refusal::Long if !self.said_long.swap(true, Relaxed) => tracing::warn!(
                family,
                region,
                label_area = self.rules.label_area_bytes(),
                "a label set is longer than its label area: such sets share {{overflow=\"true\"}}; raise the area, or shorten \
                 the values"
            ),
            Refusal::Full | Refusal::Long => {}
        }
        self.enter(slot)
    }

    fn refusal(&self, table: &Table, values: &[&str]) -> Option<Refusal> {
        if table.block_len(values) > self.rules.label_area_bytes() as usize {
            return Some(Refusal::Long);
        }
        (!table.has_room((self.clock)())).then_some(Refusal::Full)
    }

    /// For the tests: the region, and where the slots stand in it.
    #[cfg(all(test, not(loom)))]
    pub(super) const fn ground(&self) -> (&'static Attached, Site) {
        (self.attached, self.site)
    }

    fn count(&self, slot: u32) -> &LeaseCount<AtomicU64> {
        // Slots come from the table, which gives out those of the budget, or are the overflow's: there is one count each.
        &self.counts[slot as usize]
    }

    /// File offset of a word of a slot's series record.
    pub(super) const fn record_word(&self, slot: u32, word: usize) -> u64 {
        self.site.records + slot as u64 * size_of::<SeriesRecord>() as u64 + word as u64 * 8
    }

    fn store(&self, offset: u64, value: u64) {
        if let Some(word) = self.attached.map.word(offset) {
            word.store(value, Relaxed);
        }
    }
}

/// The word of a series record that says when it was retired.
const RETIRED_WORD: usize = std::mem::offset_of!(SeriesRecord, retired_monotonic_ns) / 8;
