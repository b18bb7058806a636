//! Who is right where two claim the same: decided by what others say, so that one damaged record costs itself.
//!
//! Called by `parse.rs`. A family that claims another's slots is told by the slots, which name their family; a series that
//! claims another's cells by its neighbours, since a writer gives out cells in the order of slots. Where the file does not
//! tell, the later one loses. Work is bounded by the number of claims.

use std::collections::HashSet;
use std::ops::Range;

use tachograph_layout::{LANE_HEADER_CELLS, Section, SlotWord, WordView};

use crate::schema::{Schema, Series};

/// The slots that a family claims; not empty, and inside the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Index of the family.
    pub(crate) family: u64,
    /// Its series' slots.
    pub(crate) slots: Range<u64>,
}

/// Slots that are asked whose they are, at most, for each two families that claim the same.
const VOTERS: u64 = 64;

/// Indices of the families that claim slots of others.
pub(crate) fn outvoted(view: WordView<'_>, series: Section, blocks: &[Block]) -> HashSet<u64> {
    let mut blocks: Vec<&Block> = blocks.iter().collect();
    blocks.sort_unstable_by_key(|block| (block.slots.start, block.family));
    let mut lost = HashSet::new();
    let mut stands: Option<&Block> = None;
    for block in blocks {
        let Some(before) = stands.filter(|before| block.slots.start < before.slots.end) else {
            stands = Some(block);
            continue;
        };
        // The slots that both claim are asked first; where they are free, all that each claims.
        let both = block.slots.start..before.slots.end.min(block.slots.end);
        let votes = |family, slots: &Range<u64>| {
            let asked = slots.start..slots.end.min(slots.start.saturating_add(VOTERS));
            asked.filter(|slot| named(view, series, *slot) == Some(family)).count()
        };
        let for_one = |one: &Block| (votes(one.family, &both), votes(one.family, &one.slots));
        let (for_before, for_block) = (for_one(before), for_one(block));
        if for_block > for_before || for_block == for_before && block.family < before.family {
            lost.insert(before.family);
            stands = Some(block);
        } else {
            lost.insert(block.family);
        }
    }
    lost
}

/// The family that a slot in use names.
pub(crate) fn named(view: WordView<'_>, series: Section, slot: u64) -> Option<u64> {
    let entry = series.entry(slot)?;
    let state = SlotWord::from_bits(view.load(entry)?);
    // The low half of the record's second word.
    state.is_readable().then_some(view.load(entry + 8)? & u64::from(u32::MAX))
}

/// Which series claim cells of another: by index, for the whole schema. `ends` says where the cells of the lanes and the
/// lines of the shared plane that are in use end.
pub(crate) fn intruders(schema: &Schema, ends: [u64; 2]) -> Vec<bool> {
    let mut lost = vec![false; schema.series.len()];
    for (shared, first, end) in [(false, LANE_HEADER_CELLS as u64, ends[0]), (true, 0, ends[1])] {
        let in_plane = |series: &Series| {
            let family = schema.families.get(series.family);
            series.cells > 0 && family.is_some_and(|family| family.kind.in_shared_plane() == shared)
        };
        let plane = schema.series.iter().enumerate().filter(|(_, series)| in_plane(series));
        let mut claims: Vec<Claim> = plane.map(|(index, series)| Claim::of(index, series)).collect();
        claims.sort_unstable_by_key(|claim| claim.slot);
        for at in 0..claims.len() {
            let before = at.checked_sub(1).and_then(|before| claims.get(before)).map_or(first, |claim| claim.cells.end);
            let after = claims.get(at + 1).map_or(end, |claim| claim.cells.start);
            if let Some(claim) = claims.get_mut(at) {
                claim.fits = u8::from(claim.cells.start == before) + u8::from(claim.cells.end == after);
            }
        }
        claims.sort_unstable_by_key(|claim| (claim.cells.start, claim.slot));
        let mut stands: Option<&Claim> = None;
        for claim in &claims {
            let Some(before) = stands.filter(|before| claim.cells.start < before.cells.end) else {
                stands = Some(claim);
                continue;
            };
            let wins = (claim.fits, before.slot) > (before.fits, claim.slot);
            let loser = if wins { before } else { claim };
            if let Some(lost) = lost.get_mut(loser.index) {
                *lost = true;
            }
            if wins {
                stands = Some(claim);
            }
        }
    }
    lost
}

/// The cells that a series claims.
struct Claim {
    /// Its index in the schema.
    index: usize,
    slot: u32,
    cells: Range<u64>,
    /// On how many sides its cells border on those of the slots beside it.
    fits: u8,
}

impl Claim {
    fn of(index: usize, series: &Series) -> Self {
        let cells = series.cell..series.cell.saturating_add(u64::from(series.cells));
        Self { index, slot: series.slot, cells, fits: 0 }
    }
}
