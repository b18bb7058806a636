//! Registration: get-or-create of families and their series, under one mutex of this process.
//!
//! Called by `Region` only. Nothing in the file is a lock: a reader sees a family either not at all or complete, since
//! everything that it refers to is stored before its state word, and its state word before the high-water mark.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use rustix::time::ClockId;
use tachograph_layout::{
    Aggregation, CellShape, Combine, Control, FamilyRecord, HighWater, Kind, LANE_HEADER_CELLS, Layout, Number,
    SectionKind, SeriesRecord, SlotState, SlotWord, StrRef, Words, append, publish,
};

use crate::fail_point::FailPoint;
use crate::histogram::Search;
use crate::open::{Open, OpenRules, Site, Slots};
use crate::process::Attached;
use crate::shape::Shape;
use crate::{Desc, RegisterError, housekeeping, naming};

/// What a registration asks for, whatever the handle's type.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) desc: &'a Desc,
    pub(crate) kind: Kind,
    pub(crate) number: Number,
    pub(crate) aggregation: Aggregation,
    pub(crate) shape: Shape,
    pub(crate) label_names: Vec<&'a str>,
    /// Values of every label set, in index order; one empty set where there are no labels.
    pub(crate) label_sets: Vec<Vec<&'a str>>,
    /// Label sets that come and go, instead of `label_sets`.
    pub(crate) open: Option<Open>,
}

/// Where the cells of a family's series are.
#[allow(unnameable_types, reason = "sealed: stands in a method of the sealed trait behind `Metric`")]
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The first cell: the index of a lane cell, or the file offset of a line of the shared plane.
    pub(crate) first: u64,
    /// Series in the run.
    pub(crate) series: u64,
    /// Histogram: the way to its buckets.
    pub(crate) search: Option<&'static CellShape<Search>>,
}

/// The families registered in a region, as its own process knows them (what stands in the region is never read back).
#[derive(Debug)]
pub(crate) struct Registry {
    attached: &'static Attached,
    layout: Layout,
    families: HashMap<String, Entry>,
    /// The name of each family in OpenMetrics, and its own.
    bases: HashMap<String, String>,
    /// Ways to buckets, with the numbers that they are for.
    searches: Vec<(Number, &'static CellShape<Search>)>,
    used: Used,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    place: Place,
    open: Option<&'static Slots>,
}

/// Everything that must be the same for a name to be the same family.
#[derive(Debug, PartialEq)]
struct Identity {
    kind: Kind,
    number: Number,
    aggregation: Aggregation,
    unit: String,
    help: String,
    shape: Shape,
    label_names: Vec<String>,
    series: u64,
    /// Hash of all label values, in order.
    values: u64,
    open: Option<OpenRules>,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = match self.number {
            Number::U64 => "u64",
            Number::I64 => "i64",
            Number::F64 => "f64",
        };
        write!(f, "{} of {number}", self.kind.as_str())?;
        if !self.unit.is_empty() {
            write!(f, " in {}", self.unit)?;
        }
        if !self.label_names.is_empty() {
            write!(f, " by {} ({} series)", self.label_names.join(", "), self.series)?;
        }
        if let Some(rules) = &self.open {
            write!(f, ", {rules}")?;
        }
        write!(f, "{}, merged by {:?}, HELP {:?}", self.shape, self.aggregation, self.help)
    }
}

/// High-water marks, of which the control block holds copies for readers.
#[derive(Debug, Clone, Copy)]
struct Used {
    families: u64,
    series: u64,
    strings: u64,
    cells: u64,
    shared: u64,
    bounds: u64,
    label_areas: u64,
}

impl Registry {
    pub(crate) fn new(attached: &'static Attached, layout: Layout) -> Self {
        let cells = LANE_HEADER_CELLS as u64;
        let used = Used { families: 0, series: 0, strings: 0, cells, shared: 0, bounds: 0, label_areas: 0 };
        attached.control(Control::CELLS_USED).store(used.cells, Relaxed);
        let families = layout.section(SectionKind::Families).count.min(4096) as usize;
        let (families, bases) = (HashMap::with_capacity(families), HashMap::with_capacity(families));
        Self { attached, layout, families, bases, searches: Vec::new(), used }
    }

    /// The cells of the family's series.
    pub(crate) fn get_or_create(&mut self, request: &Request<'_>) -> Result<Place, RegisterError> {
        if let Some(entry) = self.families.get(&request.desc.name) {
            let wanted = request.identity();
            return if entry.identity == wanted {
                Ok(entry.place)
            } else {
                let (name, found) = (request.desc.name.clone(), entry.identity.to_string());
                Err(RegisterError::Clash { name, found, wanted: wanted.to_string() })
            };
        }
        request.check()?;
        let base = naming::openmetrics_family(&request.desc.name, request.kind);
        if let Some(other) = self.bases.get(base) {
            return Err(RegisterError::Suffix {
                name: request.desc.name.clone(),
                kind: request.kind,
                exposed: base.to_owned(),
                other: other.clone(),
            });
        }
        let blocks: Vec<String> =
            request.label_sets.iter().map(|set| naming::label_block(&request.label_names, set)).collect();
        self.check_room(request, &blocks, 1)?;
        let (place, open) = self.publish(request, &blocks);
        self.families.insert(request.desc.name.clone(), Entry { identity: request.identity(), place, open });
        self.bases.insert(base.to_owned(), request.desc.name.clone());
        Ok(place)
    }

    /// The slots and cells of an open family, with as much of the budget as there is room for: no family takes more than
    /// a quarter of what is left, but for the one series that it needs at least.
    #[cfg(feature = "metrics")]
    pub(crate) fn get_or_create_open(
        &mut self,
        mut request: Request<'_>,
        rules: OpenRules,
    ) -> Result<(Place, &'static Slots), RegisterError> {
        if let Some(Entry { identity, place, open: Some(slots) }) = self.families.get(&request.desc.name) {
            let wanted = request.identity();
            let same = identity.kind == wanted.kind
                && identity.number == wanted.number
                && identity.shape == wanted.shape
                && identity.label_names == wanted.label_names;
            if same {
                return Ok((*place, slots));
            }
        }
        let mut rules = rules;
        loop {
            request.open = Some(Open::new(rules));
            if rules.budget() <= 1 || self.check_room(&request, &[], 4).is_ok() {
                break;
            }
            rules = rules.of_budget(rules.budget() / 2);
        }
        let place = self.get_or_create(&request)?;
        // What was just registered is open.
        let slots = self.slots(&request.desc.name).ok_or_else(|| RegisterError::Ended {
            region: self.attached.name.clone(),
            name: request.desc.name.clone(),
        })?;
        Ok((place, slots))
    }

    /// The slots of an open family that is registered.
    pub(crate) fn slots(&self, name: &str) -> Option<&'static Slots> {
        self.families.get(name)?.open
    }

    /// Whether the family fits; and of what grows with its series, takes no more than one `part`th of what is left.
    fn check_room(&self, request: &Request<'_>, blocks: &[String], part: u64) -> Result<(), RegisterError> {
        let series = request.series();
        let cells = series * u64::from(request.shape.cells);
        let (lane_cells, shared) = if request.kind.in_shared_plane() { (0, cells) } else { (cells, 0) };
        let capacity = |kind| self.layout.section(kind).count;
        let lane_capacity = self.layout.section(SectionKind::Lanes).stride / 8;
        for (what, setting, needed, used, capacity) in [
            ("families", "families", 1, self.used.families, capacity(SectionKind::Families)),
            ("series", "series", series, self.used.series, capacity(SectionKind::Series)),
            ("cells", "cells", lane_cells, self.used.cells, lane_capacity),
            ("shared lines", "shared", shared, self.used.shared, capacity(SectionKind::Shared)),
            (
                "string bytes",
                "string_bytes",
                request.string_bytes(blocks),
                self.used.strings,
                capacity(SectionKind::Strings),
            ),
            (
                "histogram bounds",
                "bounds",
                request.shape.bounds.len() as u64,
                self.used.bounds,
                capacity(SectionKind::Bounds),
            ),
            (
                "label bytes",
                "label_bytes",
                request.label_area_bytes(),
                self.used.label_areas,
                capacity(SectionKind::LabelAreas),
            ),
        ] {
            let free = capacity.saturating_sub(used);
            let grows = matches!(what, "series" | "cells" | "shared lines" | "label bytes");
            if needed > if grows { free / part } else { free } {
                return Err(RegisterError::Full {
                    region: self.attached.name.clone(),
                    name: request.desc.name.clone(),
                    what,
                    setting,
                    needed,
                    free,
                    capacity,
                });
            }
        }
        Ok(())
    }

    /// Writes the family and its series, in the order that readers rely on. The room was checked.
    fn publish(&mut self, request: &Request<'_>, blocks: &[String]) -> (Place, Option<&'static Slots>) {
        let now = housekeeping::clock_ns(ClockId::Realtime);
        let totals = self.attached.adoption.get().and_then(|adoption| adoption.of(request));
        let names = request.label_names.join(",");
        let [name, help, unit, label_names] =
            [&request.desc.name, &request.desc.help, &request.desc.unit, &names].map(|text| self.string(text));
        let states = self.string(&request.shape.states_text());
        let bounds_index = self.bounds(&request.shape.bounds);
        let labels: Vec<StrRef> = blocks.iter().map(|block| self.string(block)).collect();

        FailPoint::StringsStored.pass();
        let series = request.series();
        let cells = u64::from(request.shape.cells);
        let shared = request.kind.in_shared_plane();
        let used = if shared { &mut self.used.shared } else { &mut self.used.cells };
        let first_cell = *used;
        *used += series * cells;

        let (family_index, first_series) = (self.used.families, self.used.series);
        self.used.families += 1;
        self.used.series += series;
        let first_area = self.used.label_areas;
        self.used.label_areas += request.label_area_bytes();
        let rules = request.open.as_ref().map(|open| open.rules);
        let live = SlotWord::new(0, SlotState::Live).bits();
        let (schema, lower, upper) = request.shape.exponential.unwrap_or((0, 0.0, 0.0));
        let family = FamilyRecord {
            state: live,
            kind: request.kind.to_wire(),
            number: request.number.to_wire(),
            combine: request.kind.combine().to_wire(),
            aggregation: request.aggregation.to_wire(),
            label_count: request.label_names.len() as u32,
            name,
            help,
            unit,
            label_names,
            states,
            first_series: first_series as u32,
            series_slots: series as u32,
            cells_per_series: request.shape.cells,
            bounds_count: request.shape.bounds.len() as u32,
            bounds_index,
            schema,
            range_lower: lower.to_bits(),
            range_upper: upper.to_bits(),
            scale: request.shape.scale.to_bits(),
            flags: rules.map_or(0, |_| FamilyRecord::FLAG_OPEN),
            label_area_len: rules.map_or(0, |rules| rules.label_area_bytes()),
            label_area_offset: rules.map_or(0, |_| first_area),
            linger_ns: rules.map_or(0, |rules| rules.linger_ns()),
            created_realtime_ns: totals.map_or(now, |totals| totals.created_realtime_ns().min(now)),
            ..FamilyRecord::default()
        };
        for (control, value) in [
            (Control::STRINGS_USED, self.used.strings),
            (Control::CELLS_USED, self.used.cells),
            (Control::SHARED_USED, self.used.shared),
            (Control::BOUNDS_USED, self.used.bounds),
            (Control::LABEL_AREAS_USED, self.used.label_areas),
        ] {
            self.attached.control(control).store(value, Relaxed);
        }
        FailPoint::MarksStored.pass();
        append(
            (self.attached.control(Control::FAMILIES_USED), self.attached.control(Control::SERIES_USED)),
            HighWater { families: self.used.families, series: self.used.series },
            // SYNC(family-publish): a reader that finds the family live finds its strings and its record complete.
            || {
                self.record(SectionKind::Families, family_index, &family);
                FailPoint::FamilyStored.pass();
            },
            || {
                FailPoint::FamiliesUsed.pass();
                for (index, (block, labels)) in blocks.iter().zip(labels).enumerate() {
                    let cell = first_cell + index as u64 * cells;
                    let total = totals.and_then(|totals| totals.take(block)).zip(self.attached.adoption.get());
                    if let Some((total, adoption)) = total {
                        adoption.store(total, cell);
                    }
                    let record = SeriesRecord {
                        state: live,
                        family: family_index as u32,
                        cells: request.shape.cells,
                        cell,
                        labels,
                        created_realtime_ns: total.map_or(now, |(total, _)| total.created_realtime_ns.min(now)),
                        labels_hash: label_hash(block),
                        ..SeriesRecord::default()
                    };
                    // SYNC(series-publish): a reader that finds the series live finds its labels and its cells.
                    self.record(SectionKind::Series, first_series + index as u64, &record);
                    FailPoint::SeriesStored.pass();
                    if let Some((total, adoption)) = total {
                        adoption.mark(total);
                    }
                }
            },
        );
        FailPoint::SeriesUsed.pass();

        if matches!(request.kind, Kind::WatermarkMax | Kind::WatermarkMin) {
            let mut watermarks = self.attached.watermarks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            watermarks.extend((0..series).map(|index| first_cell + index * cells));
        }
        let first = if shared { self.layout.section(SectionKind::Shared).offset + first_cell * 64 } else { first_cell };
        let open = request.open.as_ref().map(|open| {
            let site = Site {
                family: family_index as u32,
                kind: request.kind,
                records: self.layout.section(SectionKind::Series).entry(first_series).unwrap_or_default(),
                areas: self.layout.section(SectionKind::LabelAreas).offset,
                first_area,
                first_cell: first,
                first_index: first_cell,
                cells: request.shape.cells,
            };
            let names = request.label_names.iter().map(|name| (*name).to_owned()).collect();
            // For good, as the mapping: leases may outlive the region.
            let slots: &'static Slots =
                Box::leak(Box::new(Slots::new(self.attached, &request.desc.name, names, open, site, totals)));
            slots
        });
        (Place { first, series, search: self.search(request.number, &request.shape) }, open)
    }

    /// The search for the buckets of a histogram; families with the same buckets share one. Leaked, as the map is:
    /// handles point to it for the life of the process.
    fn search(&mut self, number: Number, shape: &Shape) -> Option<&'static CellShape<Search>> {
        if shape.edges.is_empty() {
            return None;
        }
        let search = Search::of(number, shape);
        let known = self.searches.iter().find(|known| known.0 == number && *known.1.detail() == search);
        Some(known.map(|known| known.1).unwrap_or_else(|| {
            let search: &'static CellShape<Search> = Box::leak(Box::new(CellShape::new(shape.cells, search)));
            self.searches.push((number, search));
            search
        }))
    }

    /// Appends histogram bounds; gives the index of the first.
    fn bounds(&mut self, words: &[u64]) -> u64 {
        let index = self.used.bounds;
        let base = self.layout.section(SectionKind::Bounds).offset + index * 8;
        for (word, &value) in (0..).zip(words) {
            self.store(base + word * 8, value);
        }
        self.used.bounds += words.len() as u64;
        index
    }

    /// Appends a string; the empty one takes no room.
    fn string(&mut self, text: &str) -> StrRef {
        let offset = self.used.strings;
        let base = self.layout.section(SectionKind::Strings).offset + offset;
        for (index, bytes) in text.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.store(base + index as u64 * 8, u64::from_le_bytes(word));
        }
        self.used.strings += padded(text);
        StrRef { offset: offset as u32, len: text.len() as u32 }
    }

    /// Stores a record's words, its state word (the first) last and with Release.
    fn record<T: Words>(&self, section: SectionKind, index: u64, record: &T) {
        let Some(base) = self.layout.section(section).entry(index) else { return };
        publish(|index| self.attached.map.word(base + index as u64 * 8), record.as_words());
    }

    fn store(&self, offset: u64, value: u64) {
        if let Some(word) = self.attached.map.word(offset) {
            word.store(value, Relaxed);
        }
    }
}

impl Request<'_> {
    fn check(&self) -> Result<(), RegisterError> {
        let name = || self.desc.name.clone();
        naming::check(self.desc, self.kind).map_err(|rule| RegisterError::Name { name: name(), rule })?;
        if self.kind.combine() == Combine::Sum && self.aggregation != Aggregation::Sum {
            let rule = format!("is a {}: regions are merged by adding up, leave `aggregation` out", self.kind.as_str());
            return Err(RegisterError::Shape { name: name(), rule });
        }
        let label_error = |label: &str, rule| RegisterError::Label { name: name(), label: label.to_owned(), rule };
        for (index, label) in self.label_names.iter().enumerate() {
            naming::check_label(label).map_err(|rule| label_error(label, rule))?;
            if self.kind == Kind::StateSet && *label == self.desc.name {
                return Err(label_error(label, "is the state set's own name, which its states are shown under"));
            }
            if self.label_names[..index].contains(label) {
                return Err(label_error(label, naming::LABEL_TWICE));
            }
            if self.open.is_some() && *label == "overflow" {
                return Err(label_error(label, naming::LABEL_OVERFLOW));
            }
        }
        let mut seen = std::collections::HashSet::new();
        for set in &self.label_sets {
            if !seen.insert(set) {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_TWICE));
            }
            if set.iter().any(|value| value.is_empty()) {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_EMPTY));
            }
            if set.iter().map(|value| value.len()).sum::<usize>() > naming::MAX_TEXT {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_LONG));
            }
        }
        Ok(())
    }

    /// Series slots that the family takes.
    pub(crate) fn series(&self) -> u64 {
        self.open.as_ref().map_or(self.label_sets.len() as u64, |open| u64::from(open.rules.slots()))
    }

    /// Bytes of label areas that the family takes.
    pub(crate) fn label_area_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| self.series() * u64::from(open.rules.label_area_bytes()))
    }

    fn identity(&self) -> Identity {
        Identity {
            kind: self.kind,
            number: self.number,
            aggregation: self.aggregation,
            unit: self.desc.unit.clone(),
            help: self.desc.help.clone(),
            shape: self.shape.clone(),
            label_names: self.label_names.iter().map(|name| (*name).to_owned()).collect(),
            series: self.series(),
            open: self.open.as_ref().map(|open| open.rules),
            values: self.label_sets.iter().flatten().fold(FNV_START, |hash, value| fnv1a(fnv1a(hash, value), "\0")),
        }
    }

    /// Bytes of the strings section that the family takes.
    pub(crate) fn string_bytes(&self, blocks: &[String]) -> u64 {
        let names = self.label_names.join(",");
        [&self.desc.name, &self.desc.help, &self.desc.unit, &names, &self.shape.states_text()]
            .into_iter()
            .chain(blocks)
            .map(|text| padded(text))
            .sum()
    }
}

/// Strings start at multiples of 8, since they are stored by whole words.
const fn padded(text: &str) -> u64 {
    (text.len() as u64).next_multiple_of(8)
}

/// The hash of a label block that stands in its series' record.
pub(crate) fn label_hash(block: &str) -> u64 {
    fnv1a(FNV_START, block)
}

/// FNV-1a, 64 bits, going on from a hash (at first [`FNV_START`]).
fn fnv1a(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
