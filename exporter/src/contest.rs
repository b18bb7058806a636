//! Who is right where two claim the same: decided by what others say, so that one damaged record costs itself.
//!
//! Called by the parser. A family that claims another's slots is told by the slots, which name their family; one that
//! claims another's name by where the name stands; a series that claims another's cells by the families beside it, since
//! a writer gives out cells in the order of slots; one that claims another's labels by their hash. Where the file does not
//! tell, the later one loses. Work is bounded by the number of claims.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tachograph_layout::{FamilyRecord, LANE_HEADER_CELLS, Section, SlotWord, WordView};

use crate::schema::Schema;
use crate::series::Series;

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
            let first = slots.start..slots.end.min(slots.start.saturating_add(VOTERS));
            // The last one too: an open family without a lease may have its overflow series there, and no other.
            let last = (slots.end - 1).max(first.end)..slots.end;
            first.chain(last).filter(|slot| named(view, series, *slot) == Some(family)).count()
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

/// The slots and cells of a family that is in the schema.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// Its series' slots.
    pub(crate) slots: Range<u64>,
    /// Cells a slot.
    pub(crate) cells: u64,
}

impl Home {
    fn len(&self) -> u64 {
        (self.slots.end - self.slots.start).saturating_mul(self.cells)
    }
}

/// Which series claim cells of another: by index, for the whole schema, of whose families `homes` tells. `ends` says
/// where the cells of the lanes and the lines of the shared plane that are in use end.
///
/// Each series tells by its own cells where those of its family begin. It is believed by as many as agree with it: the
/// families on both sides, whose cells would border on these, and one more series of its own.
pub(crate) fn intruders(schema: &Schema, homes: &[Home], ends: [u64; 2]) -> Vec<bool> {
    let mut lost = vec![false; schema.series.len()];
    for (shared, first, end) in [(false, LANE_HEADER_CELLS as u64, ends[0]), (true, 0, ends[1])] {
        let in_plane =
            |family: usize| schema.families.get(family).is_some_and(|it| it.kind.in_shared_plane() == shared);
        let home = |family: usize| homes.get(family).filter(|home| home.cells > 0 && in_plane(family));
        let plane = schema.series.iter().enumerate();
        let mut claims: Vec<Claim> =
            plane.filter_map(|(index, series)| Claim::of(index, &series, home(series.family)?)).collect();
        // Where each family begins, as its series tell, and how many tell so.
        let mut told: HashMap<(usize, u64), u32> = HashMap::new();
        for claim in &claims {
            *told.entry((claim.family, claim.base)).or_default() += 1;
        }
        // For each family the next one before and behind it that has a series in use, and the cells between them.
        let mut by_slot: Vec<(usize, &Home)> =
            (0..homes.len()).filter_map(|family| Some((family, home(family)?))).collect();
        by_slot.sort_unstable_by_key(|(_, home)| home.slots.start);
        let speaks: HashSet<usize> = claims.iter().map(|claim| claim.family).collect();
        let before = beside(by_slot.iter().copied(), &speaks);
        let behind = beside(by_slot.iter().rev().copied(), &speaks);
        for claim in &mut claims {
            let len = home(claim.family).map_or(0, Home::len);
            let begins = claim.base;
            let ends = begins.saturating_add(len);
            let fits_before = before.get(&claim.family).is_some_and(|(other, between)| match other {
                None => begins == first.saturating_add(*between),
                Some((other, other_len)) => begins
                    .checked_sub(between.saturating_add(*other_len))
                    .is_some_and(|base| told.contains_key(&(*other, base))),
            });
            let fits_behind = behind.get(&claim.family).is_some_and(|(other, between)| {
                let next = ends.saturating_add(*between);
                other.map_or(next == end, |(other, _)| told.contains_key(&(other, next)))
            });
            let agrees = told.get(&(claim.family, claim.base)).is_some_and(|count| *count > 1);
            claim.believed = u8::from(fits_before) + u8::from(fits_behind) + u8::from(agrees);
        }
        claims.sort_unstable_by_key(|claim| (claim.cells.start, claim.slot));
        let mut stands: Option<&Claim> = None;
        for claim in &claims {
            let Some(before) = stands.filter(|before| claim.cells.start < before.cells.end) else {
                stands = Some(claim);
                continue;
            };
            let wins = (claim.believed, before.slot) > (before.believed, claim.slot);
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

/// For each of the families, in their order, the last one passed that has a series in use, with the length of its cells,
/// and the cells of those passed since, which have none.
fn beside<'a>(
    families: impl Iterator<Item = (usize, &'a Home)>,
    speaks: &HashSet<usize>,
) -> HashMap<usize, (Option<(usize, u64)>, u64)> {
    let mut last = (None, 0_u64);
    families
        .map(|(family, home)| {
            let found = last;
            last = if speaks.contains(&family) {
                (Some((family, home.len())), 0)
            } else {
                (found.0, found.1.saturating_add(home.len()))
            };
            (family, found)
        })
        .collect()
}

/// The cells that a series claims.
struct Claim {
    /// Its index in the schema.
    index: usize,
    family: usize,
    slot: u32,
    cells: Range<u64>,
    /// Where the cells of its family would begin.
    base: u64,
    /// How many agree with it.
    believed: u8,
}

impl Claim {
    /// `None` where the family's cells would begin before the plane.
    fn of(index: usize, series: &Series<'_>, home: &Home) -> Option<Self> {
        let cells = series.cell..series.cell.saturating_add(u64::from(series.cells));
        let ahead = u64::from(series.slot).checked_sub(home.slots.start)?.checked_mul(home.cells)?;
        // What begins nowhere agrees with nobody.
        let base = series.cell.checked_sub(ahead).unwrap_or(u64::MAX);
        Some(Self { index, family: series.family, slot: series.slot, cells, base, believed: 0 })
    }
}

/// Which of these series have the labels of another: of those with the same, the first one whose own they are stands,
/// else the first.
pub(crate) fn twins<'a>(series: impl Iterator<Item = Series<'a>>, hashes: &[u64]) -> HashSet<usize> {
    let mut stands: HashMap<&str, usize> = HashMap::with_capacity(hashes.len());
    let mut twins = HashSet::new();
    let is_own = |index: usize, labels| hashes.get(index) == Some(&labels_hash(labels));
    for (index, series) in series.enumerate() {
        match stands.entry(series.labels) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(mut other) if is_own(index, series.labels) && !is_own(*other.get(), series.labels) => {
                twins.insert(other.insert(index));
            }
            Entry::Occupied(_) => {
                twins.insert(index);
            }
        }
    }
    twins
}

/// Whether a family's name stands where a writer puts it: right before its HELP. A name that was taken from another
/// family does not.
pub(crate) fn is_own_name(record: &FamilyRecord) -> bool {
    let end = u64::from(record.name.offset) + u64::from(record.name.len);
    let help = u64::from(record.help.offset);
    end == help || end.next_multiple_of(8) == help
}

/// FNV-1a, 64 bits: what the record of a series remembers of the labels that it was registered with.
pub(crate) fn labels_hash(labels: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    labels.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
