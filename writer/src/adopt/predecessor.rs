//! Reads a dead region for its totals: the counters and histograms that its successor continues.
//!
//! Called once by a start that adopts, under the region's lock, while the file still has its name. The file is this user's
//! own, and every byte of it is taken for foreign all the same: it is read by bounded reads into memory (never mapped, so
//! nothing faults when it is cut meanwhile), records and references pass the layout's checked constructors, and a slot
//! whose words contradict each other costs itself and what it contradicts, nothing else. Names are not judged here: only
//! what equals a registration, byte by byte, is ever used again.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{Mode, OFlags};
use tachograph_layout::{
    CarriedEntry, CarriedFamily, CarriedSeries, CarriedSet, Control, FamilyRecord, Header, Kind, LANE_HEADER_CELLS,
    Number, Section, SectionKind, SectionTable, SeriesRecord, StrRef, Words, carried_entries,
};

use super::{Likeness, likeness};
use crate::archive;
use crate::build_error::one_line;
use crate::directory::Directory;

/// What a successor continues.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) uuid: [u8; 16],
    /// How often the lineage was continued before.
    pub(crate) restarts: u64,
    pub(crate) lineage_created_realtime_ns: u64,
    /// The carried families, as they stand in the successor's section.
    pub(crate) words: Vec<u64>,
    /// Series whose words contradict each other or the layout: nothing of them is carried.
    pub(crate) damaged: u64,
    /// Series that nobody took over in more than one life, for which there was no room any more.
    pub(crate) dropped: u64,
}

/// Words that series may take which the predecessor itself only carried: whoever renames families with each release must
/// not make each region larger than the one before.
pub(super) const CARRIED_AGAIN: usize = (1 << 20) / 8;

/// Bytes that are read beyond those that the file takes of its file system: a copy may have holes.
const FREE_READ: u64 = 64 << 20;

impl Predecessor {
    /// Reads the region of a name. An error says why there is nothing to continue; the application starts all the same.
    pub(crate) fn read(directory: &Directory, name: &str) -> Result<Self, String> {
        Self::read_file(directory, &archive::region_file(name), name, CARRIED_AGAIN)
    }

    /// Reads the file that holds nothing but the totals of the region of a name.
    pub(crate) fn kept(directory: &Directory, file: &str, name: &str) -> Result<Self, String> {
        // What was the region's own is among them: all of it counts on.
        Self::read_file(directory, file, name, usize::MAX)
    }

    fn read_file(directory: &Directory, file: &str, name: &str, again_words: usize) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, file, flags, Mode::empty())
            .map_err(|errno| format!("it can't be opened: {}", std::io::Error::from(errno)))?;
        let found = Found::open(File::from(file), name)?;
        let own = Tables::read(&found)?;
        let series = own.series();
        let kept: Vec<&OwnSeries<'_>> = series.iter().filter(|series| !series.contested).collect();
        let sums = found.sums(&own.plan(&kept))?;
        // All of it stands in the file once, with larger records around it.
        let (mut carried, beyond) = own.carried(&kept, &sums, (found.header.file_len / 8) as usize);
        let again = found.words(found.sections.section(SectionKind::Carried), u64::MAX)?;
        let dropped = carry_again(&mut carried, &again, &own, again_words);
        let mut words = Vec::new();
        carried.iter().for_each(|entry| entry.append_to(&mut words));
        let header = &found.header;
        let lineage_created_realtime_ns = match header.lineage_created_realtime_ns {
            0 => header.created_realtime_ns,
            first => first,
        };
        Ok(Self {
            uuid: header.uuid,
            restarts: header.restarts,
            lineage_created_realtime_ns,
            words,
            damaged: own.damaged + beyond + (series.len() - kept.len()) as u64,
            dropped,
        })
    }
}

/// The file, its checked header, and its control block.
struct Found {
    file: File,
    header: Header,
    sections: SectionTable,
    head: Vec<u64>,
    /// Bytes that may be read at a time.
    most: u64,
}

impl Found {
    fn open(file: File, name: &str) -> Result<Self, String> {
        let about = file.metadata().map_err(|error| format!("it can't be looked at: {error}"))?;
        let user = rustix::process::geteuid().as_raw();
        if !about.is_file() {
            return Err("it is no regular file".to_owned());
        }
        if about.uid() != user {
            return Err(format!("it belongs to user {}, not to {user}", about.uid()));
        }
        let head = read_words(&file, 0, 2 * Header::LEN / 8).ok_or("it is too short for a region")?;
        let header = head.get(..Header::WORDS).and_then(Header::from_words).ok_or("it is too short for a region")?;
        let sections = header.check(about.len()).map_err(|error| one_line(&error))?;
        if header.name() != name {
            return Err(format!("it is a copy of region {:?}", header.name()));
        }
        let most = about.blocks().saturating_mul(512).saturating_add(FREE_READ);
        Ok(Self { file, header, sections, head, most })
    }

    fn control(&self, offset: u64) -> u64 {
        self.head.get((offset / 8) as usize).copied().unwrap_or(0)
    }

    /// The first words of a section, as many as it has or as are `used`.
    fn words(&self, section: Section, used: u64) -> Result<Vec<u64>, String> {
        let bytes = section.len().min(used.saturating_mul(section.stride));
        self.read(section.offset, bytes.div_ceil(8))
    }

    fn read(&self, offset: u64, words: u64) -> Result<Vec<u64>, String> {
        if words.saturating_mul(8) > self.most {
            return Err("it says that it holds far more than it does".to_owned());
        }
        read_words(&self.file, offset, words).ok_or_else(|| "it was cut short".to_owned())
    }

    /// The cells of the plan, all lanes combined.
    fn sums(&self, plan: &Plan) -> Result<Vec<u64>, String> {
        let lanes = self.sections.section(SectionKind::Lanes);
        let used = self.control(Control::LANES_USED).clamp(1, lanes.count.max(1));
        if plan.cells.saturating_mul(8).saturating_mul(used) > self.most {
            return Err("it says that it holds far more than it does".to_owned());
        }
        let mut sums = vec![0_u64; plan.cells as usize];
        let mut floats = vec![0.0; plan.floats.len()];
        for lane in (0..used).filter_map(|lane| lanes.entry(lane)) {
            let cells = self.read(lane, plan.cells)?;
            sums.iter_mut().zip(&cells).for_each(|(sum, cell)| *sum = sum.wrapping_add(*cell));
            // In the order of the lanes, as readers add them up: the total is the one that was shown last.
            for (sum, cell) in floats.iter_mut().zip(&plan.floats) {
                *sum += f64::from_bits(cells.get(*cell as usize).copied().unwrap_or(0));
            }
        }
        for (cell, sum) in plan.floats.iter().zip(floats) {
            if let Some(word) = sums.get_mut(*cell as usize) {
                *word = sum.to_bits();
            }
        }
        Ok(sums)
    }
}

/// Which cells are read.
struct Plan {
    /// Cells of a lane, from its first on.
    cells: u64,
    /// Those that hold an f64.
    floats: Vec<u64>,
}

/// The region's tables, copied.
struct Tables {
    /// What is carried of each family; `None` for others, and for those that are damaged.
    families: Vec<Option<FamilyRecord>>,
    series: Vec<u64>,
    strings: Vec<u64>,
    areas: Vec<u64>,
    bounds: Vec<u64>,
    cells: u64,
    damaged: u64,
}

/// A series of the region that can be read.
struct OwnSeries<'a> {
    family: u32,
    record: SeriesRecord,
    labels: &'a str,
    /// Another series says that it owns one of its cells, or has its labels.
    contested: bool,
}

impl Tables {
    fn read(found: &Found) -> Result<Self, String> {
        let section = |kind| found.sections.section(kind);
        let used = |kind, control| found.words(section(kind), found.control(control));
        let mut tables = Self {
            families: Vec::new(),
            series: used(SectionKind::Series, Control::SERIES_USED)?,
            strings: found.words(section(SectionKind::Strings), u64::MAX)?,
            areas: found.words(section(SectionKind::LabelAreas), u64::MAX)?,
            bounds: found.words(section(SectionKind::Bounds), u64::MAX)?,
            cells: found.sections.cells(),
            damaged: 0,
        };
        let capacities =
            [SectionKind::Series, SectionKind::Bounds, SectionKind::LabelAreas].map(|it| section(it).count);
        for words in used(SectionKind::Families, Control::FAMILIES_USED)?.chunks_exact(FamilyRecord::WORDS) {
            let record = FamilyRecord::from_words(words).filter(|record| record.slot().is_readable());
            let checked = record.map(|record| match record.check(capacities[0], capacities[1], capacities[2]) {
                Ok(()) if tables.texts(&record).is_some() => Ok(record),
                _ => Err(()),
            });
            tables.damaged += u64::from(checked == Some(Err(())));
            tables.families.push(checked.and_then(Result::ok).filter(is_carried));
        }
        Ok(tables)
    }

    /// Name and label names of a family.
    fn texts(&self, record: &FamilyRecord) -> Option<(&str, &str)> {
        Some((text(&self.strings, record.name)?, text(&self.strings, record.label_names)?))
    }

    /// Every series whose total is carried. Each slot names its family, and the family must have it in its block.
    fn series(&self) -> Vec<OwnSeries<'_>> {
        let mut all: Vec<OwnSeries<'_>> = Vec::new();
        // The owner of each cell, from 1; one pass whatever the slots say, since a run ends where another's begins.
        let mut owners = vec![0_u32; self.cells as usize];
        let mut sets: HashMap<(u32, &str), usize> = HashMap::new();
        for (slot, words) in (0_u64..).zip(self.series.chunks_exact(SeriesRecord::WORDS)) {
            let Some(record) = SeriesRecord::from_words(words).filter(|record| record.slot().is_readable()) else {
                continue;
            };
            let Some(Some(family)) = self.families.get(record.family as usize) else { continue };
            let index = all.len();
            let labels = self.labels(slot, &record, family).unwrap_or_default();
            let sound = record.check(record.family, family, self.cells).is_ok()
                && block(family).contains(&slot)
                && record.cell >= LANE_HEADER_CELLS as u64
                && self.labels(slot, &record, family).is_some();
            let mut contested = !sound;
            if sound {
                let mut free = |cell: u64| match owners.get_mut(cell as usize) {
                    Some(owner) if *owner == 0 => {
                        *owner = index as u32 + 1;
                        true
                    }
                    Some(owner) => {
                        if let Some(other) = all.get_mut(*owner as usize - 1) {
                            other.contested = true;
                        }
                        false
                    }
                    None => false,
                };
                contested |= !(record.cell..record.cell + u64::from(record.cells)).all(&mut free);
                if let Some(other) = sets.insert((record.family, labels), index) {
                    all[other].contested = true;
                    contested = true;
                }
            }
            all.push(OwnSeries { family: record.family, record, labels, contested });
        }
        all
    }

    /// The label block of a slot; of an open family, where it stands in the slot's own area.
    fn labels(&self, slot: u64, record: &SeriesRecord, family: &FamilyRecord) -> Option<&str> {
        if !family.is_open() {
            return text(&self.strings, record.labels);
        }
        let len = u64::from(family.label_area_len);
        let area = family.label_area_offset + slot.checked_sub(u64::from(family.first_series))?.checked_mul(len)?;
        let start = u64::from(record.labels.offset);
        let own = start >= area && start + u64::from(record.labels.len) <= area + len;
        if own { text(&self.areas, record.labels) } else { None }
    }

    fn plan(&self, series: &[&OwnSeries<'_>]) -> Plan {
        let mut plan = Plan { cells: 0, floats: Vec::new() };
        for series in series {
            let end = series.record.cell + u64::from(series.record.cells);
            plan.cells = plan.cells.max(end);
            let family = self.families.get(series.family as usize).copied().flatten();
            if family.is_some_and(|family| Number::from_wire(family.number) == Some(Number::F64)) {
                // A counter's only cell, a histogram's sum.
                plan.floats.push(end - 1);
            }
        }
        plan
    }

    /// The families with their series and the totals of these, in at most `room` words; and how many series were left out
    /// for that, since a file that refers to its strings over and over must not make its successor any larger.
    fn carried<'a>(&'a self, series: &[&OwnSeries<'a>], sums: &'a [u64], room: usize) -> (Vec<CarriedEntry<'a>>, u64) {
        let (mut room, mut beyond) = (room, 0);
        let mut entries: Vec<CarriedEntry<'a>> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for series in series {
            let Some(family) = self.families.get(series.family as usize).and_then(Option::as_ref) else { continue };
            let Some((name, label_names)) = self.texts(family) else { continue };
            let first = family.bounds_index as usize;
            let bounds = self.bounds.get(first..first + family.bounds_count as usize).unwrap_or_default();
            let first = series.record.cell as usize;
            let Some(cells) = sums.get(first..first + series.record.cells as usize) else { continue };
            let mut needed = CarriedSeries::WORDS + series.labels.len().div_ceil(8) + cells.len();
            if !places.contains_key(&series.family) {
                needed += CarriedFamily::WORDS + bounds.len();
                needed += name.len().div_ceil(8) + label_names.len().div_ceil(8);
            }
            if needed > room {
                beyond += 1;
                continue;
            }
            room -= needed;
            let place = *places.entry(series.family).or_insert_with(|| {
                entries.push(CarriedEntry { record: carried(family), name, label_names, bounds, series: Vec::new() });
                entries.len() - 1
            });
            let created_realtime_ns = series.record.created_realtime_ns;
            let record = CarriedSeries { taken: 0, created_realtime_ns, labels_len: 0, reserved: 0 };
            if let Some(entry) = entries.get_mut(place) {
                entry.series.push(CarriedSet { at: 0, record, labels: series.labels, cells });
            }
        }
        (entries, beyond)
    }

    /// Slots of the open families, by their names and label names.
    fn open_slots(&self) -> HashMap<(&str, &str), usize> {
        let open = self.families.iter().flatten().filter(|family| family.is_open());
        open.filter_map(|family| Some((self.texts(family)?, family.series_slots as usize))).collect()
    }
}

/// Adds what the predecessor carried itself and did not take: of a family that it registered, the series that it did not
/// publish; no more label sets of an open family than that had slots. Gives the number of series left out.
fn carry_again<'a>(entries: &mut Vec<CarriedEntry<'a>>, words: &'a [u64], own: &'a Tables, mut room: usize) -> u64 {
    let mut dropped = 0;
    let open_slots = own.open_slots();
    let mut places: HashMap<(&str, Likeness<'_>), usize> =
        entries.iter().enumerate().map(|(place, entry)| ((entry.name, likeness(entry)), place)).collect();
    for again in carried_entries(words) {
        // What follows can't be told from anything else; what was read stands.
        let Ok(again) = again else { break };
        let place = *places.entry((again.name, likeness(&again))).or_insert_with(|| {
            let CarriedEntry { record, name, label_names, bounds, .. } = again;
            entries.push(CarriedEntry { record, name, label_names, bounds, series: Vec::new() });
            entries.len() - 1
        });
        let known: std::collections::HashSet<&str> =
            entries.get(place).map(|entry| entry.series.iter().map(|set| set.labels).collect()).unwrap_or_default();
        let slots = open_slots.get(&(again.name, again.label_names)).copied().unwrap_or(CARRIED_AGAIN);
        for set in again.series.iter().filter(|set| set.record.taken == 0 && !known.contains(set.labels)) {
            let takes = CarriedSeries::WORDS + set.labels.len().div_ceil(8) + set.cells.len();
            let Some(entry) = entries.get_mut(place) else { break };
            if takes <= room && entry.series.len() < slots {
                room -= takes;
                entry.series.push(set.clone());
            } else {
                dropped += 1;
            }
        }
    }
    entries.retain(|entry| !entry.series.is_empty());
    dropped
}

fn is_carried(record: &FamilyRecord) -> bool {
    record.meaning().is_ok_and(|(kind, number, _)| CarriedEntry::is_carried(kind) && number != Number::I64)
}

fn carried(family: &FamilyRecord) -> CarriedFamily {
    let exponential = Kind::from_wire(family.kind) == Some(Kind::HistogramExponential);
    let of_range = |value: u64| if exponential { value } else { 0 };
    CarriedFamily {
        kind: family.kind,
        number: family.number,
        cells_per_series: family.cells_per_series,
        series: 0,
        name_len: 0,
        label_names_len: 0,
        bounds_count: 0,
        schema: if exponential { family.schema } else { 0 },
        range_lower: of_range(family.range_lower),
        range_upper: of_range(family.range_upper),
        scale: family.scale,
        created_realtime_ns: family.created_realtime_ns,
        flags: family.flags & FamilyRecord::FLAG_OPEN,
        reserved: 0,
        words: 0,
    }
}

fn block(family: &FamilyRecord) -> Range<u64> {
    let first = u64::from(family.first_series);
    first..first + u64::from(family.series_slots)
}

fn text(section: &[u64], at: StrRef) -> Option<&str> {
    if at.len == 0 {
        return Some("");
    }
    let bytes: &[u8] = bytemuck::cast_slice(section);
    let range = at.check(bytes.len() as u64).ok()?;
    std::str::from_utf8(bytes.get(range.start as usize..range.end as usize)?).ok()
}

fn read_words(file: &File, offset: u64, words: u64) -> Option<Vec<u64>> {
    let mut all = vec![0_u64; usize::try_from(words).ok()?];
    file.read_exact_at(bytemuck::cast_slice_mut(&mut all), offset).ok()?;
    Some(all)
}
