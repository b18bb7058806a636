//! Makes a checked, owned [`Schema`] of a region's family table, series descriptors and strings.
//!
//! Called by `reader.rs` and `verify.rs`. Every record is copied once and the copy is checked; work and memory are
//! bounded by the sections, whatever the bytes say. What is wrong is left out and listed, and never fails the rest.

mod budget;
mod family;
mod series;
mod taken;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tachograph_layout::{Control, FamilyRecord, HighWater, Section, SectionKind, SectionTable, SlotWord, WordView};

use self::budget::Budget;
use self::taken::Taken;
use crate::contest::{self, Block, Home};
use crate::schema::Schema;
use crate::{family_rules, label_block};

/// A region's structure as it was found, and what tells whether it changed since.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The structure.
    pub(crate) schema: Schema,
    /// `series_used` and `families_used` as they were found.
    pub(crate) used: HighWater,
    /// Every slot of the open families below the high-water mark, with its state word: only these ever change again.
    pub(crate) open_slots: Vec<(u32, u64)>,
    /// When the first of the retired series that are shown has lingered long enough, on the writer's monotonic clock.
    pub(crate) next_expiry: u64,
}

/// Most slots of a table that are read: what a region holds at most, however long its file is.
const MOST_SLOTS: u64 = 1 << 24;

/// How far the tables are filled, taken into their capacities.
pub(crate) fn high_water(view: WordView<'_>, sections: &SectionTable) -> HighWater {
    let found = view.high_water().unwrap_or(HighWater { series: 0, families: 0 });
    let capped = |used: u64, kind| used.min(sections.section(kind).count).min(MOST_SLOTS);
    HighWater {
        series: capped(found.series, SectionKind::Series),
        families: capped(found.families, SectionKind::Families),
    }
}

/// Parses the structure of a region. Retired series whose linger is over at `now`, on the writer's monotonic clock, are
/// left out; without a time none is.
pub(crate) fn parse(view: WordView<'_>, sections: &SectionTable, now: Option<u64>) -> Parsed {
    let (parsed, outnamed) = pass(view, sections, now, &HashSet::new());
    // Once more without those who took another's name: it was theirs when the other's turn came.
    if outnamed.is_empty() { parsed } else { pass(view, sections, now, &outnamed).0 }
}

/// Parses all but the names of the families `outnamed`; gives those that are found to belong there.
fn pass(
    view: WordView<'_>,
    sections: &SectionTable,
    now: Option<u64>,
    outnamed: &HashSet<u64>,
) -> (Parsed, HashSet<u64>) {
    let used = high_water(view, sections);
    let section = |kind| sections.section(kind);
    let mut parser = Parser {
        view,
        sections,
        used,
        now,
        next_expiry: u64::MAX,
        schema: Schema::default(),
        open_slots: Vec::new(),
        exposed: HashMap::new(),
        budget: Budget::new(view.len(), section(SectionKind::Bounds).count + sections.cells()),
        cells: Taken::new(sections.cells()),
        lines: Taken::new(section(SectionKind::Shared).count),
        contested: false,
        standing: HashMap::new(),
        homes: Vec::new(),
        outnamed: HashSet::new(),
    };
    for (offset, kind, name) in [
        (Control::SERIES_USED, SectionKind::Series, "series_used"),
        (Control::FAMILIES_USED, SectionKind::Families, "families_used"),
    ] {
        let (found, capacity) = (view.load(offset).unwrap_or(0), sections.section(kind).count);
        if found > capacity {
            parser.schema.damage(format!("control word {name}"), format_args!("{found} of {capacity}"));
        }
    }
    let families = parser.families();
    let blocks = parser.blocks(&families);
    let outvoted = contest::outvoted(view, section(SectionKind::Series), &blocks);
    for (index, record) in (0..).zip(&families) {
        let claims_of_others = [outvoted.contains(&index), outnamed.contains(&index)];
        parser.family(index, record.as_ref(), claims_of_others);
    }
    parser.strays(blocks);
    if parser.contested {
        parser.settle_cells();
    }
    let Parser { mut schema, open_slots, next_expiry, outnamed, .. } = parser;
    schema.series.shrink_to_fit();
    (Parsed { schema, used, open_slots, next_expiry }, outnamed)
}

/// The state word of a series slot, Acquire; 0 (free) outside the section.
pub(crate) fn slot_state(view: WordView<'_>, series: Section, slot: u32) -> SlotWord {
    // SYNC(series-publish): whoever finds the slot live or retired sees its descriptor, labels and cells.
    SlotWord::from_bits(series.entry(u64::from(slot)).and_then(|entry| view.load_acquire(entry)).unwrap_or(0))
}

struct Parser<'a> {
    view: WordView<'a>,
    sections: &'a SectionTable,
    used: HighWater,
    now: Option<u64>,
    next_expiry: u64,
    schema: Schema,
    open_slots: Vec<(u32, u64)>,
    /// Every name that some format shows, with the family that shows it.
    exposed: HashMap<String, Exposer>,
    budget: Budget,
    /// Lane cells that a series owns.
    cells: Taken,
    /// Lines of the shared plane that a series owns.
    lines: Taken,
    /// Whether two series own one cell.
    contested: bool,
    /// The families that were accepted, by their index in the region, with their index in the schema.
    standing: HashMap<u64, usize>,
    /// Slots and cells of the families in the schema.
    homes: Vec<Home>,
    /// Families that were accepted under a name that is another's own.
    outnamed: HashSet<u64>,
}

/// A family that shows a name.
struct Exposer {
    index: u64,
    name: String,
    /// Its name stands where a writer puts it.
    is_own: bool,
}

impl Parser<'_> {
    /// The records of all families in use; `None` for one that is not all in the file.
    fn families(&self) -> Vec<Option<FamilyRecord>> {
        let families = self.sections.section(SectionKind::Families);
        // SYNC(family-publish): whoever finds the record live sees all of it, and its strings.
        let record = |index| families.entry(index).and_then(|entry| self.view.record::<FamilyRecord>(entry));
        (0..self.used.families).map(record).collect()
    }

    /// The slots that these families claim, as far as their records can be used at all.
    fn blocks(&self, families: &[Option<FamilyRecord>]) -> Vec<Block> {
        let claims = |(family, record): (u64, &Option<FamilyRecord>)| {
            let record = record.as_ref().filter(|record| self.check_record(record).is_ok())?;
            Some(Block { family, slots: block(record) }).filter(|block| !block.slots.is_empty())
        };
        (0..).zip(families).filter_map(claims).collect()
    }

    fn check_record(&self, record: &FamilyRecord) -> Result<(), String> {
        let count = |kind| self.sections.section(kind).count;
        let capacities = (count(SectionKind::Series), count(SectionKind::Bounds), count(SectionKind::LabelAreas));
        record.check(capacities.0, capacities.1, capacities.2).map_err(|error| error.to_string())?;
        if record.slot().is_readable() {
            return Ok(());
        }
        Err(format!("state {:?} below the high-water mark", record.slot().state()))
    }

    fn family(&mut self, index: u64, record: Option<&FamilyRecord>, claims_of_others: [bool; 2]) {
        let place = format!("family {index}");
        let Some(record) = record else {
            return self.schema.damage(place, "its record is outside the file");
        };
        match self.checked_family(record, claims_of_others) {
            Ok(family) => {
                let is_own = contest::is_own_name(record);
                for name in family_rules::exposed(&family) {
                    self.exposed.insert(name, Exposer { index, name: family.name.clone(), is_own });
                }
                self.homes.push(Home { slots: block(record), cells: u64::from(record.cells_per_series) });
                self.standing.insert(index, self.schema.families.len());
                self.series(index, record, family);
            }
            Err(what) => {
                let name = self.text(SectionKind::Strings, record.name, "name").unwrap_or_default();
                let named = label_block::is_metric_name(&name);
                self.schema.damage(if named { format!("{place} ({name})") } else { place }, what);
            }
        }
    }

    /// Counts the series in use that no block holds, though they name a family that is shown: its block is not what it
    /// was. Those of families that were left out went with them.
    fn strays(&mut self, mut blocks: Vec<Block>) {
        blocks.sort_unstable_by_key(|block| block.slots.start);
        let mut next = 0;
        let rest = Block { family: u64::MAX, slots: self.used.series..self.used.series };
        for block in blocks.into_iter().chain([rest]) {
            for slot in next..block.slots.start.min(self.used.series) {
                let named = contest::named(self.view, self.sections.section(SectionKind::Series), slot);
                let family = named.and_then(|family| self.schema.families.get(*self.standing.get(&family)?));
                if let Some(place) = family.map(|family| format!("series {slot} of {}", family.name)) {
                    self.schema.damage(place, "the family's block of slots does not hold it");
                }
            }
            next = next.max(block.slots.end);
        }
    }

    /// Leaves out the series that claim cells of others.
    fn settle_cells(&mut self) {
        let word = |offset| self.view.load(offset).unwrap_or(0);
        let ends = [word(Control::CELLS_USED), word(Control::SHARED_USED)];
        let lost = contest::intruders(&self.schema, &self.homes, ends);
        let all = std::mem::take(&mut self.schema);
        self.schema = all.without(&lost);
        for (series, lost) in all.series.iter().zip(lost) {
            if lost {
                let family = all.families.get(series.family).map_or("", |family| family.name.as_str());
                let what = format_args!("cells {}..+{} are another series' too", series.cell, series.cells);
                self.schema.damage(format!("series {} of {family}", series.slot), what);
            }
        }
    }
}

/// The family's block of slots. It was checked to end inside the section, or is about to be.
fn block(record: &FamilyRecord) -> Range<u64> {
    let first = u64::from(record.first_series);
    first..first + u64::from(record.series_slots)
}
