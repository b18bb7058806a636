//! Makes a checked, owned [`Schema`] of a region's family table, series descriptors and strings.
//!
//! Called by `reader.rs` and `verify.rs`. Every record is copied once and the copy is checked; work and memory are
//! bounded by the sections, whatever the bytes say. What is wrong is left out and listed, and never fails the rest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tachograph_layout::{
    Control, FamilyRecord, HighWater, LANE_HEADER_CELLS, Section, SectionKind, SectionTable, SeriesRecord, SlotState,
    SlotWord, StrRef, WordView, Words, exponential_buckets, exponential_upper,
};

use crate::contest::{self, Block, Home};
use crate::label_block;
use crate::schema::{Family, Kind, Number, Schema, Series};

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
        // A writer that shares equal strings may refer to one more than once; a file that refers to all of them over
        // and over must not cost more than a small multiple of its own size.
        text_budget: view.len(),
        bounds_budget: section(SectionKind::Bounds).count + sections.cells(),
        shown_budget: SHOWN_SHARE * view.len() + SHOWN_FREE,
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
    let Parser { schema, open_slots, next_expiry, outnamed, .. } = parser;
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
    /// Bytes of text that may still be copied, less what each string may take without asking ([`FREE_TEXT`]).
    text_budget: u64,
    /// Histogram bounds that may still be made.
    bounds_budget: u64,
    /// Bytes that all lines of an exposition may still take, less their numbers.
    shown_budget: u64,
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

/// Bytes that any string may have without asking the budget, so that what one damaged record refers to can't keep the
/// others from being read.
const FREE_TEXT: u64 = 256;
/// What a name out of a list of names costs beyond its bytes.
const NAME_COST: u64 = 64;

/// Bytes of exposition that a byte of the file may make. An honest region of labelled histograms makes fewer than it
/// has bytes itself, since each bucket's line has a cell in every lane.
const SHOWN_SHARE: u64 = 8;
/// Bytes of exposition that any region may make.
const SHOWN_FREE: u64 = 1 << 20;

/// Which cells have an owner: no two series may share one.
struct Taken(Vec<u64>);

impl Taken {
    fn new(cells: u64) -> Self {
        Self(vec![0; cells.div_ceil(64) as usize])
    }

    /// Takes a run of cells; says whether all of them were free.
    fn take(&mut self, first: u64, count: u64) -> bool {
        (first..first.saturating_add(count)).fold(true, |free, cell| {
            let Some(word) = self.0.get_mut((cell / 64) as usize) else { return false };
            let bit = 1 << (cell % 64);
            let was_free = *word & bit == 0;
            *word |= bit;
            free && was_free
        })
    }
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
                for name in exposed(&family) {
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

    fn checked_family(&mut self, record: &FamilyRecord, claims_of_others: [bool; 2]) -> Result<Family, String> {
        let [outvoted, outnamed] = claims_of_others;
        self.check_record(record)?;
        let slots = block(record);
        if outvoted {
            return Err(format!("its series {}..{} overlap another family's", slots.start, slots.end));
        }
        let (kind, number, aggregation) = record.meaning().map_err(|error| error.to_string())?;
        check_number(kind, number)?;
        let scale = f64::from_bits(record.scale);
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("scale {scale} is no positive number"));
        }
        let mut family = Family {
            label_names: self.label_names(record)?,
            states: self.states(record, kind)?,
            unit: self.text(SectionKind::Strings, record.unit, "unit")?,
            help: self.text(SectionKind::Strings, record.help, "help")?,
            aggregation,
            scale,
            schema: record.schema,
            range: (f64::from_bits(record.range_lower), f64::from_bits(record.range_upper)),
            open: record.is_open(),
            created_realtime_ns: record.created_realtime_ns,
            ..Family::new(self.text(SectionKind::Strings, record.name, "name")?, String::new(), kind, number)
        };
        check_names(&family)?;
        if outnamed {
            return Err("its name is another family's".to_owned());
        }
        if let Some((name, other)) = exposed(&family).find_map(|name| self.exposed.get_key_value(&name)) {
            if contest::is_own_name(record) && !other.is_own {
                self.outnamed.insert(other.index);
            }
            return Err(format!("shows {name}, as family {} does", other.name));
        }
        family.bounds = self.bounds(record, &family)?;
        Ok(family)
    }

    fn series(&mut self, index: u64, record: &FamilyRecord, mut family: Family) {
        let start = self.schema.series.len();
        let slots = block(record);
        let mut hashes = Vec::new();
        for slot in slots.start..slots.end.min(self.used.series) {
            // Both fit: `HighWater` is below 2^24.
            let (slot, family_index) = (slot as u32, index as u32);
            match self.one_series(slot, family_index, record, &family) {
                Ok(Some((series, labels_hash))) => {
                    self.schema.series.push(series);
                    hashes.push(labels_hash);
                }
                Ok(None) => {}
                Err(what) => self.schema.damage(format!("series {slot} of {}", family.name), what),
            }
        }
        let twins = twins(self.schema.series.get(start..).unwrap_or_default(), &hashes);
        if !twins.is_empty() {
            for (index, series) in self.schema.series.split_off(start).into_iter().enumerate() {
                if twins.contains(&index) {
                    let place = format!("series {} of {}", series.slot, family.name);
                    self.schema.damage(place, "another series of the family has the same labels");
                } else {
                    self.schema.series.push(series);
                }
            }
        }
        family.series = start..self.schema.series.len();
        self.schema.families.push(family);
    }

    /// One series, and the hash that its record has of its labels; `None` where an open family's slot holds none just now.
    fn one_series(
        &mut self,
        slot: u32,
        family_index: u32,
        family_record: &FamilyRecord,
        family: &Family,
    ) -> Result<Option<(Series, u64)>, String> {
        let section = self.sections.section(SectionKind::Series);
        let state = slot_state(self.view, section, slot);
        if family.open {
            self.open_slots.push((slot, state.bits()));
        }
        if !state.is_readable() {
            return match state.state() {
                Some(SlotState::Free | SlotState::Building) if family.open => Ok(None),
                Some(found) => Err(format!("state {found:?} below the high-water mark")),
                None => Err(format!("state word {:#x} is not a state of this layout", state.bits())),
            };
        }
        let mut words = [0; SeriesRecord::WORDS];
        let copied = section.entry(u64::from(slot)).and_then(|entry| self.view.copy(entry, &mut words));
        let record = copied.and_then(|()| SeriesRecord::from_words(&words)).ok_or("its record is outside the file")?;
        let record = SeriesRecord { state: state.bits(), ..record };
        if family.open && self.is_over(&record, family_record.linger_ns) {
            return Ok(None);
        }
        let shared = family.kind.in_shared_plane();
        let plane = if shared { self.sections.section(SectionKind::Shared).count } else { self.sections.cells() };
        let checked = record.check(family_index, family_record, plane).map_err(|error| error.to_string());
        let labels = checked.and_then(|()| {
            if !shared && record.cells > 0 && record.cell < LANE_HEADER_CELLS as u64 {
                return Err(format!("cell {} is one of the lane's header", record.cell));
            }
            let taken = if shared { &mut self.lines } else { &mut self.cells };
            let free = taken.take(record.cell, u64::from(record.cells));
            self.contested |= !free;
            let labels = self.labels(slot, &record, family_record, family)?;
            self.charge(family, &labels)?;
            Ok(labels)
        });
        if family.open {
            // The slot may have been given to another series while it was copied; then nothing of the copy counts.
            if !section.entry(u64::from(slot)).is_some_and(|entry| self.view.slot_stands(entry, state)) {
                return Ok(None);
            }
        }
        let series = Series {
            family: self.schema.families.len(),
            slot,
            generation: state.generation(),
            labels: labels?,
            created_realtime_ns: record.created_realtime_ns,
            retired: state.state() == Some(SlotState::Retired),
            cell: record.cell,
            cells: record.cells,
        };
        Ok(Some((series, record.labels_hash)))
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

    /// Whether a series is retired and its linger is over. One that is just being revived or given away has no time.
    fn is_over(&mut self, record: &SeriesRecord, linger_ns: u64) -> bool {
        let Some(now) = self.now.filter(|_| record.slot().state() == Some(SlotState::Retired)) else { return false };
        if record.retired_monotonic_ns == 0 {
            // Retired again, the slot has the state word that it was found with: so it is to be looked at again.
            self.next_expiry = 0;
            return false;
        }
        let end = record.retired_monotonic_ns.saturating_add(linger_ns);
        if end > now {
            self.next_expiry = self.next_expiry.min(end);
        }
        end <= now
    }

    fn labels(
        &mut self,
        slot: u32,
        record: &SeriesRecord,
        family_record: &FamilyRecord,
        family: &Family,
    ) -> Result<String, String> {
        let labels = if family.open {
            let len = u64::from(family_record.label_area_len);
            let area = family_record.label_area_offset + u64::from(slot - family_record.first_series) * len;
            let start = u64::from(record.labels.offset);
            if start < area || start + u64::from(record.labels.len) > area + len {
                return Err(format!("its labels are outside the slot's own area at {area}..{}", area + len));
            }
            self.text(SectionKind::LabelAreas, record.labels, "labels")?
        } else {
            self.text(SectionKind::Strings, record.labels, "labels")?
        };
        if !(family.open && labels == label_block::OVERFLOW) {
            label_block::check(&labels, &family.label_names)?;
        }
        Ok(labels)
    }

    /// Charges the lines that a series will be shown as: each repeats name and labels.
    fn charge(&mut self, family: &Family, labels: &str) -> Result<(), String> {
        let lines = match family.kind {
            Kind::HistogramBounds | Kind::HistogramExponential => family.bounds.len() + 3,
            Kind::StateSet => family.states.len(),
            _ => 1,
        };
        // Room for the region's label, `le` and braces is in the sum; 128 bytes a line.
        let cost = (lines * (family.name.len() + labels.len() + 128)) as u64;
        self.shown_budget = self
            .shown_budget
            .checked_sub(cost)
            .ok_or("the region's series would be shown as far more bytes than it has")?;
        Ok(())
    }

    fn label_names(&mut self, record: &FamilyRecord) -> Result<Vec<String>, String> {
        let joined = self.text(SectionKind::Strings, record.label_names, "label names")?;
        self.spend(NAME_COST * joined.bytes().filter(|byte| *byte == b',').count() as u64)?;
        let names: Vec<String> = joined.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.len() != record.label_count as usize || joined.is_empty() != names.is_empty() {
            return Err(format!("{} label names where it says {}", names.len(), record.label_count));
        }
        let mut seen = HashSet::new();
        match names.iter().find(|name| !label_block::is_label_name(name) || !seen.insert(name.as_str())) {
            Some(bad) => Err(format!("{:?} is no label name, is reserved, or stands twice", shortened(bad))),
            None => Ok(names),
        }
    }

    fn states(&mut self, record: &FamilyRecord, kind: Kind) -> Result<Vec<String>, String> {
        if kind != Kind::StateSet {
            return Ok(Vec::new());
        }
        let joined = self.text(SectionKind::Strings, record.states, "states")?;
        let names = joined.strip_suffix('\0').ok_or("its state names do not end in a zero byte")?;
        let names: Vec<String> = names.split('\0').map(str::to_owned).collect();
        let distinct: HashSet<&String> = names.iter().collect();
        if names.len() > 64 || distinct.len() != names.len() || names.iter().any(String::is_empty) {
            return Err(format!("{} state names: at most 64, all different, none empty", names.len()));
        }
        Ok(names)
    }

    /// Upper bounds as shown. The budget keeps families that share bounds or cells from multiplying work.
    fn bounds(&mut self, record: &FamilyRecord, family: &Family) -> Result<Vec<f64>, String> {
        let count = match family.kind {
            Kind::HistogramBounds => u64::from(record.bounds_count),
            Kind::HistogramExponential => u64::from(record.cells_per_series.saturating_sub(2)),
            _ => return Ok(Vec::new()),
        };
        self.bounds_budget =
            self.bounds_budget.checked_sub(count).ok_or("the families' bounds are more than the region can hold")?;
        let mut bounds = Vec::with_capacity(count as usize);
        if family.kind == Kind::HistogramExponential {
            let (lower, upper) = family.range;
            let (first, last) = exponential_buckets(family.schema, lower, upper).ok_or("its range makes no buckets")?;
            // As they are shown: the range and the buckets of an exponential histogram are not scaled.
            bounds.push(lower);
            bounds.extend((first..=last).map(|bucket| exponential_upper(family.schema, bucket)));
        } else {
            let section = self.sections.section(SectionKind::Bounds);
            let mut words = vec![0; count as usize];
            let copied = section.entry(record.bounds_index).and_then(|first| self.view.copy(first, &mut words));
            if copied.is_none() && count > 0 {
                return Err("its bounds are outside the file".to_owned());
            }
            bounds.extend(words.into_iter().map(|bits| {
                family.shown(match family.number {
                    Number::U64 => bits as f64,
                    Number::I64 => bits.cast_signed() as f64,
                    Number::F64 => f64::from_bits(bits),
                })
            }));
        }
        let ascending = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite());
        if ascending { Ok(bounds) } else { Err("its bounds are not ascending finite numbers".to_owned()) }
    }

    fn text(&mut self, section: SectionKind, at: StrRef, field: &str) -> Result<String, String> {
        if at.len == 0 {
            return Ok(String::new());
        }
        let section = self.sections.section(section);
        let range = at.check(section.count).map_err(|error| format!("{field}: {error}"))?;
        let len = u64::from(at.len);
        self.spend(len.saturating_sub(FREE_TEXT))?;
        let bytes = self.view.bytes(section.offset + range.start, len);
        let bytes = bytes.ok_or_else(|| format!("{field}: outside the file"))?;
        String::from_utf8(bytes)
            .map_err(|error| format!("{field}: no UTF-8 after {} bytes", error.utf8_error().valid_up_to()))
    }

    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.text_budget =
            self.text_budget.checked_sub(bytes).ok_or("the region's strings are used more often than it can hold")?;
        Ok(())
    }
}

/// The family's block of slots. It was checked to end inside the section, or is about to be.
fn block(record: &FamilyRecord) -> Range<u64> {
    let first = u64::from(record.first_series);
    first..first + u64::from(record.series_slots)
}

/// Which of these series have the labels of another: of those with the same, the first one whose own they are stands,
/// else the first.
fn twins(series: &[Series], hashes: &[u64]) -> HashSet<usize> {
    let mut stands: HashMap<&str, usize> = HashMap::with_capacity(series.len());
    let mut twins = HashSet::new();
    let is_own = |index: usize, labels| hashes.get(index) == Some(&contest::labels_hash(labels));
    for (index, series) in series.iter().enumerate() {
        match stands.entry(series.labels.as_str()) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(mut other) if is_own(index, &series.labels) && !is_own(*other.get(), &series.labels) => {
                twins.insert(other.insert(index));
            }
            Entry::Occupied(_) => {
                twins.insert(index);
            }
        }
    }
    twins
}

fn check_number(kind: Kind, number: Number) -> Result<(), String> {
    let known = match kind {
        Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential => number != Number::I64,
        Kind::UpDownCounter => number != Number::F64,
        Kind::WatermarkMax | Kind::WatermarkMin => number != Number::U64,
        Kind::Gauge | Kind::Info | Kind::StateSet => true,
    };
    if known { Ok(()) } else { Err(format!("a {} is not made of {number:?}", kind.as_str())) }
}

/// Name and unit by the rules that a writer keeps, so that every format can show them.
fn check_names(family: &Family) -> Result<(), String> {
    let name = family.name.as_str();
    if !label_block::is_metric_name(name) || name.len() > 255 {
        return Err(format!("{:?} is no metric name", shortened(name)));
    }
    if name.starts_with("tacho_") {
        return Err("its name starts with tacho_, as only the exporter's own do".to_owned());
    }
    let base = base(family);
    if (family.kind == Kind::Counter) != name.ends_with("_total") || base.is_empty() {
        return Err("names of counters end in _total, and no others do".to_owned());
    }
    if family.kind == Kind::Info && !name.ends_with("_info") {
        return Err("the name of an info does not end in _info".to_owned());
    }
    let fits = base.strip_suffix(family.unit.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'));
    if !family.unit.is_empty() && (!label_block::is_unit(&family.unit) || !fits) {
        return Err(format!("unit {:?} is not the name's suffix", shortened(&family.unit)));
    }
    Ok(())
}

/// The name that OpenMetrics gives the family.
fn base(family: &Family) -> &str {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        _ => "",
    };
    family.name.strip_suffix(suffix).unwrap_or(&family.name)
}

/// Every name that some format shows for a family: no two families may share one.
fn exposed(family: &Family) -> impl Iterator<Item = String> + use<> {
    let suffixes: &[&str] = match family.kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::HistogramBounds | Kind::HistogramExponential => &["", "_bucket", "_sum", "_count", "_created"],
        Kind::Info => &["", "_info"],
        _ => &[""],
    };
    let base = base(family).to_owned();
    suffixes.iter().map(move |suffix| format!("{base}{suffix}"))
}

/// Enough of a foreign string for a message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
