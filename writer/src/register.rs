//! Registration: get-or-create of families and their series, under one mutex of this process.
//!
//! Called by `Region` only. Nothing in the file is a lock: a reader sees a family either not at all or complete, since
//! everything that it refers to is stored before its state word, and its state word before the high-water mark.

mod hash;
mod identity;
mod request;
mod room;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use rustix::time::ClockId;
use tachograph_layout::{
    CellShape, Control, FamilyRecord, HighWater, Kind, LANE_HEADER_CELLS, Layout, Number, SectionKind, SeriesRecord,
    SlotState, SlotWord, StrRef, Words, append, publish,
};

pub(crate) use self::hash::label_hash;
use self::identity::Identity;
pub(crate) use self::request::Request;
use self::request::padded;

use crate::fail_point::FailPoint;
use crate::histogram::Search;
#[cfg(feature = "metrics")]
use crate::open::{Open, OpenRules};
use crate::open::{Site, Slots};
use crate::process::Attached;
use crate::shape::Shape;
use crate::{RegisterError, housekeeping, naming};

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
    /// Strings of no family, and where they stand.
    strings: HashMap<String, StrRef>,
    used: Used,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    place: Place,
    open: Option<&'static Slots>,
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
        Self { attached, layout, families, bases, searches: Vec::new(), strings: HashMap::new(), used }
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
        let mut taken = Vec::new();
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
                    let total = totals.and_then(|totals| totals.take(block));
                    if let (Some(total), Some(adoption)) = (total, self.attached.adoption.get()) {
                        adoption.store(total, cell);
                        taken.push(total);
                    }
                    let record = SeriesRecord {
                        state: live,
                        family: family_index as u32,
                        cells: request.shape.cells,
                        cell,
                        labels,
                        created_realtime_ns: total.map_or(now, |total| total.created_realtime_ns.min(now)),
                        labels_hash: label_hash(block),
                        ..SeriesRecord::default()
                    };
                    // SYNC(series-publish): a reader that finds the series live finds its labels and its cells.
                    self.record(SectionKind::Series, first_series + index as u64, &record);
                    FailPoint::SeriesStored.pass();
                }
            },
        );
        FailPoint::SeriesUsed.pass();
        // Not before: until the mark of series in use is raised, nobody finds the totals in these series.
        if let Some(adoption) = self.attached.adoption.get() {
            taken.into_iter().for_each(|total| adoption.mark(total));
        }

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

    /// A string of no family, stored once for each text; or how many bytes are left, and of how many, where it does not fit.
    pub(crate) fn add_string(&mut self, text: &str) -> Result<StrRef, (u64, u64)> {
        if let Some(known) = self.strings.get(text) {
            return Ok(*known);
        }
        let capacity = self.layout.section(SectionKind::Strings).count;
        let free = capacity.saturating_sub(self.used.strings);
        if padded(text) > free {
            return Err((free, capacity));
        }
        let added = self.string(text);
        self.attached.control(Control::STRINGS_USED).store(self.used.strings, Relaxed);
        self.strings.insert(text.to_owned(), added);
        Ok(added)
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
