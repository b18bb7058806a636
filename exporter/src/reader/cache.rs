//! What one snapshot leaves for the next: the parsed structure, for as long as it stands, and buffers.

use std::sync::Arc;

use tachograph_layout::{HighWater, SectionKind, SlotState, SlotWord, WordView};

use super::RegionReader;
use crate::Series;
use crate::parse::{self, Parsed};
use crate::region_file::RegionFile;
use crate::schema::Schema;
use crate::values::ReadPlan;

/// Pairs of buffers kept.
const SPARE: usize = 2;

/// What one snapshot leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Cache {
    structure: Option<Structure>,
    /// Buffers given back by [`RegionReader::recycle`].
    spare: Vec<(Vec<u64>, Vec<u64>)>,
}

/// A parsed structure and what tells whether it still stands.
#[derive(Debug, Clone)]
pub(super) struct Structure {
    word: u64,
    used: HighWater,
    pub(super) schema: Arc<Schema>,
    pub(super) plan: Arc<ReadPlan>,
    open_slots: Arc<Vec<(u32, u64)>>,
    next_expiry: u64,
}

impl Cache {
    /// Buffers of a snapshot before, for its lanes and for the shared plane.
    pub(super) fn take_buffers(&mut self) -> (Vec<u64>, Vec<u64>) {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps buffers for a later snapshot.
    pub(super) fn give_back(&mut self, buffers: (Vec<u64>, Vec<u64>)) {
        if self.spare.len() < SPARE {
            self.spare.push(buffers);
        }
    }

    /// The structure as it is at `now`: the cached one where nothing changed, else parsed anew.
    pub(super) fn current(&mut self, view: WordView<'_>, file: &RegionFile, word: u64, now: u64) -> Structure {
        let section = file.sections.section(SectionKind::Series);
        let stands = |structure: &Structure| {
            structure.word == word
                && now < structure.next_expiry
                && structure.used == parse::high_water(view, &file.sections)
                // Neither taking a free slot nor retiring a series touches the words above.
                && structure.open_slots.iter().all(|(slot, state)| {
                    parse::slot_state(view, section, *slot).bits() == *state
                })
        };
        if let Some(structure) = self.structure.as_ref().filter(|structure| stands(structure)) {
            return structure.clone();
        }
        let parsed = parse::parse(view, &file.sections, Some(now));
        // An equal schema stays the same `Arc`, so that plans made of it stay good, too.
        let schema = match &self.structure {
            Some(before) if *before.schema == parsed.schema => Arc::clone(&before.schema),
            _ => Arc::new(parsed.schema),
        };
        let plan = Arc::new(ReadPlan::new(&schema));
        let open_slots = Arc::new(parsed.open_slots);
        let Parsed { used, next_expiry, .. } = parsed;
        self.structure.insert(Structure { word, used, schema, plan, open_slots, next_expiry }).clone()
    }
}

impl RegionReader {
    /// The schema without series whose slots were given away while their values were read. Only an open family's slots
    /// ever change hands.
    pub(super) fn still_there(&self, structure: &Structure) -> Arc<Schema> {
        if structure.open_slots.is_empty() {
            return Arc::clone(&structure.schema);
        }
        let (view, section) = (self.view(), self.file.sections.section(SectionKind::Series));
        let gone = |slot, generation| {
            let found = SlotWord::new(generation, SlotState::Live);
            !section.entry(u64::from(slot)).is_some_and(|entry| view.slot_stands(entry, found))
        };
        let schema = &structure.schema;
        let open = |series: &Series<'_>| schema.families.get(series.family).is_some_and(|family| family.open);
        let lost: Vec<bool> =
            schema.series.iter().map(|series| open(&series) && gone(series.slot, series.generation)).collect();
        if lost.contains(&true) { Arc::new(schema.without(&lost)) } else { Arc::clone(schema) }
    }
}
