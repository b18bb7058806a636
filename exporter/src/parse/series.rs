//! The series of a family, each record copied and checked.
//!
//! Called by the parser once a family was accepted. What is wrong with a series leaves out that series only.

use tachograph_layout::{FamilyRecord, LANE_HEADER_CELLS, SectionKind, SeriesRecord, SlotState, Words};

use super::budget::Lines;
use super::{Parser, block, slot_state};
use crate::schema::Family;
use crate::series::{Series, SeriesList};
use crate::{contest, label_block};

/// A series as its record tells it.
struct Found {
    /// All but its labels.
    series: Series<'static>,
    labels: String,
    labels_hash: u64,
}

impl Parser<'_> {
    pub(super) fn series(&mut self, index: u64, record: &FamilyRecord, mut family: Family) {
        let start = self.schema.series.len();
        let slots = block(record);
        let lines = Lines::of(&family);
        let mut hashes = Vec::new();
        for slot in slots.start..slots.end.min(self.used.series) {
            // Both fit: `HighWater` is below 2^24.
            let (slot, family_index) = (slot as u32, index as u32);
            match self.one_series(slot, family_index, (record, &family), lines) {
                Ok(Some(Found { series, labels, labels_hash })) => {
                    self.schema.series.push(Series { labels: &labels, ..series });
                    hashes.push(labels_hash);
                }
                Ok(None) => {}
                Err(what) => self.schema.damage(format!("series {slot} of {}", family.name), what),
            }
        }
        let all = start..self.schema.series.len();
        let twins = contest::twins(self.schema.series.range(all.clone()), &hashes);
        if !twins.is_empty() {
            let found: SeriesList = self.schema.series.range(all).collect();
            self.schema.series.truncate(start);
            for (index, series) in found.iter().enumerate() {
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

    /// One series; `None` where an open family's slot holds none just now.
    fn one_series(
        &mut self,
        slot: u32,
        family_index: u32,
        (family_record, family): (&FamilyRecord, &Family),
        lines: Lines,
    ) -> Result<Option<Found>, String> {
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
            self.budget.lines(lines, &labels)?;
            Ok(labels)
        });
        if family.open {
            // The slot may have been given to another series while it was copied; then nothing of the copy counts.
            if !section.entry(u64::from(slot)).is_some_and(|entry| self.view.slot_stands(entry, state)) {
                return Ok(None);
            }
        }
        let labels = labels?;
        let series = Series {
            family: self.schema.families.len(),
            slot,
            generation: state.generation(),
            labels: "",
            created_realtime_ns: record.created_realtime_ns,
            retired: state.state() == Some(SlotState::Retired),
            cell: record.cell,
            cells: record.cells,
        };
        Ok(Some(Found { series, labels, labels_hash: record.labels_hash }))
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
        // The overflow series, unless a label of the family could be taken for that.
        let named = || family.label_names.iter().any(|name| name == label_block::OVERFLOW_LABEL);
        if !(family.open && labels == label_block::OVERFLOW && !named()) {
            label_block::check(&labels, &family.label_names)?;
        }
        Ok(labels)
    }
}
