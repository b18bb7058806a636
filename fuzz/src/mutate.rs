//! Changes that matter: a field of some record, a control word, a byte of a string, a record put in another's place.
//! What it changes them to lies at the edges of what readers check.

use tachograph_layout::{
    ActivityRecord, Control, FamilyRecord, FatalRecord, Header, NoteRecord, PanicRecord, PulseRecord, Section,
    SectionEntry, SectionKind, SectionTable, SeriesRecord,
};

use crate::packed::{Case, Lock, MOST_UNITS};

/// A small generator: the same seed makes the same changes.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len() as u64) as usize).copied()
    }
}

/// Offset and width of a field, 4 or 8 bytes wide; wider ones are taken by their first word.
type Field = (usize, usize);

fn fields(names: &[(&str, usize)], size: usize) -> Vec<Field> {
    let ends = names.iter().skip(1).map(|(_, offset)| *offset).chain([size]);
    names.iter().zip(ends).map(|((_, offset), end)| (*offset, if end - offset == 4 { 4 } else { 8 })).collect()
}

/// Records of a section, and their fields.
fn records(kind: SectionKind) -> Vec<Field> {
    match kind {
        SectionKind::Families => fields(FamilyRecord::FIELDS, 256),
        SectionKind::Series => fields(SeriesRecord::FIELDS, 64),
        SectionKind::Activities => fields(ActivityRecord::FIELDS, 256),
        SectionKind::Pulses => fields(PulseRecord::FIELDS, 128),
        SectionKind::Notes => fields(NoteRecord::FIELDS, 256),
        SectionKind::Crash => [fields(FatalRecord::FIELDS, 2048), fields(PanicRecord::FIELDS, 2048)].concat(),
        _ => vec![(0, 8)],
    }
}

/// The sections of a case; those of the first 12 kinds only.
fn sections(case: &Case) -> Option<SectionTable> {
    let header: Header = bytemuck::pod_read_unaligned(case.bytes.get(..Header::LEN as usize)?);
    SectionTable::check(&header.sections, header.section_count, case.bytes.len() as u64).ok()
}

/// Makes one change.
pub fn mutate(case: &mut Case, random: &mut Random) {
    let table = sections(case);
    let section = |kind| table.map(|table| table.section(kind)).unwrap_or_default();
    match random.below(20) {
        0 => {
            case.lock = random.pick(&[Lock::Missing, Lock::Free, Lock::Held]).unwrap_or(Lock::Free);
            case.raw_header = random.below(16) == 0;
        }
        1 => {
            let units = 1 + random.below(MOST_UNITS as u64) as usize;
            if units * 65_536 >= case.bytes.len() || random.below(8) == 0 {
                case.bytes.resize(units * 65_536, 0);
                case.later.retain(|(at, _)| *at < units * 8_192);
            }
        }
        2 => {
            // The section table, or another word of the header.
            let fields = [fields(Header::FIELDS, 4096), {
                let entry = 1024 + random.below(13) as usize * 64;
                fields(SectionEntry::FIELDS, 64).into_iter().map(|(at, width)| (entry + at, width)).collect()
            }];
            let fields = &fields[random.below(2) as usize];
            change_field(case, random, 0, fields);
        }
        3..=5 => {
            let Some((_, offset)) = random.pick(Control::FIELDS) else { return };
            let value = value(case, random);
            put(case, random, offset, 8, value);
        }
        6 => grow(case, random, section(SectionKind::Lanes)),
        7 | 8 => {
            // Bytes of text.
            let kind = if random.below(3) == 0 { SectionKind::LabelAreas } else { SectionKind::Strings };
            let section = section(kind);
            let most = section.len().min(1 << random.below(15));
            let at = section.offset + random.below(most);
            let text: &[u8] = random
                .pick(&[b"\"" as &[u8], b"\\", b"\n", b",", b"=", b"\0", b"_", b"\xff", b"a", b"x\",b=\"", b"\r"])
                .unwrap_or_default();
            for (index, byte) in text.iter().enumerate() {
                if let Some(place) = case.bytes.get_mut(at as usize + index) {
                    *place = *byte;
                }
            }
        }
        9 => {
            // One record in another's place.
            let kind = random.pick(&SectionKind::ALL).unwrap_or(SectionKind::Series);
            let section = section(kind);
            let stride = section.stride.min(4096) as usize;
            let (from, to) = (near(random, section), near(random, section));
            if let Some(record) = case.bytes.get(from..from + stride).map(<[u8]>::to_vec)
                && let Some(place) = case.bytes.get_mut(to..to + stride)
            {
                place.copy_from_slice(&record);
            }
        }
        10 => {
            // A run of equal, rising or repeated words.
            let kind = random.pick(&SectionKind::ALL).unwrap_or(SectionKind::Lanes);
            let start = near(random, section(kind)) / 8;
            let (first, step) = (value(case, random), random.pick(&[0, 1, 8, 1 << 32]).unwrap_or(0));
            let count = 1 << random.below(10);
            for index in 0..random.below(count) {
                let word = first.wrapping_add(index.wrapping_mul(step));
                if let Some(place) = case.bytes.get_mut((start + index as usize) * 8..(start + index as usize) * 8 + 8)
                {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
        11 => case.later.truncate(random.below(8) as usize),
        12 => {
            // The same string everywhere, or the same cell.
            let (kind, at) = if random.below(4) == 0 {
                (SectionKind::Families, random.pick(&[32, 40, 48, 56, 64]).unwrap_or(32))
            } else {
                (SectionKind::Series, random.pick(&[8, 16, 24]).unwrap_or(24))
            };
            let (section, value) = (section(kind), value(case, random));
            let most = random.below(400);
            for index in 0..section.count.min(most) {
                let place = (section.offset + index * section.stride) as usize + at;
                if let Some(place) = case.bytes.get_mut(place..place + 8) {
                    place.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        other => {
            let kind = match other {
                13..=15 => SectionKind::Families,
                16..=18 => SectionKind::Series,
                _ => random.pick(&SectionKind::ALL).unwrap_or(SectionKind::Series),
            };
            let base = near(random, section(kind));
            change_field(case, random, base, &records(kind));
        }
    }
}

/// The first byte of an entry, mostly of one of the first.
fn near(random: &mut Random, section: Section) -> usize {
    let most = 1_u64 << random.below(11);
    (section.offset + random.below(section.count.min(most)) * section.stride) as usize
}

/// Makes the lanes end where the file does.
fn grow(case: &mut Case, random: &mut Random, lanes: Section) {
    let header: Header = bytemuck::pod_read_unaligned(&case.bytes[..Header::LEN as usize]);
    let entry = header.sections.iter().position(|entry| entry.kind == SectionKind::Lanes.to_wire());
    let Some(room) = (case.bytes.len() as u64).checked_sub(lanes.offset) else { return };
    let units = room / 65_536;
    let stride = 1 + random.below(units);
    if let Some(entry) = entry {
        let base = 1024 + entry * 64;
        case.bytes[base + 16..base + 24].copy_from_slice(&(stride * 65_536).to_le_bytes());
        case.bytes[base + 24..base + 32].copy_from_slice(&(units / stride).to_le_bytes());
    }
}

fn change_field(case: &mut Case, random: &mut Random, base: usize, fields: &[Field]) {
    let Some((at, width)) = random.pick(fields) else { return };
    let value = if random.below(4) == 0 {
        let old = word(case, (base + at) & !7);
        let shift = if at % 8 == 4 { 32 } else { 0 };
        (old >> shift) ^ (1 << random.below(64))
    } else if random.below(3) == 0 {
        let old = word(case, (base + at) & !7) >> if at % 8 == 4 { 32 } else { 0 };
        old.wrapping_add(random.below(5)).wrapping_sub(2)
    } else {
        value(case, random)
    };
    put(case, random, (base + at) as u64, width, value);
}

fn word(case: &Case, at: usize) -> u64 {
    let bytes = case.bytes.get(at..at + 8).unwrap_or(&[0; 8]);
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

/// Stores a value of 4 or 8 bytes, now or after the first snapshot.
fn put(case: &mut Case, random: &mut Random, at: u64, width: usize, value: u64) {
    let at = at as usize;
    let aligned = at & !7;
    let mut word = word(case, aligned).to_le_bytes();
    let within = at - aligned;
    let width = width.min(8 - within);
    word[within..within + width].copy_from_slice(&value.to_le_bytes()[..width]);
    if random.below(6) == 0 {
        if case.later.len() < 64 && aligned + 8 <= case.bytes.len() {
            case.later.push((aligned / 8, u64::from_le_bytes(word)));
        }
    } else if let Some(place) = case.bytes.get_mut(aligned..aligned + 8) {
        place.copy_from_slice(&word);
    }
}

/// A value at some edge: of a width, a capacity, a state, a float; or one that stands somewhere in the file.
fn value(case: &Case, random: &mut Random) -> u64 {
    let counts = || {
        let table = sections(case);
        table.map_or(0, |table| {
            let section = table.section(SectionKind::ALL[(case.bytes.len() / 7) % 12]);
            section.count
        })
    };
    match random.below(10) {
        0 => random.below(20),
        1 => u64::MAX << random.below(64),
        2 => (1_u64 << random.below(64)).wrapping_sub(random.below(3)),
        3 => counts().wrapping_add(random.below(3)).wrapping_sub(1),
        4 => random.below(4096) * 8,
        5 => (random.below(1 << 17) << 32) | random.below(1 << 16),
        6 => random
            .pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, 1e-9, 1e300, 5e-324, -1.0, 9.5e15])
            .unwrap_or(0.0)
            .to_bits(),
        7 => word(case, random.below(case.bytes.len() as u64 / 8) as usize * 8),
        8 => {
            // One of a record that is in use.
            let (table, kind) =
                (sections(case), if random.below(2) == 0 { SectionKind::Series } else { SectionKind::Families });
            let Some(table) = table else { return random.next() };
            let base = near(random, table.section(kind));
            random.pick(&records(kind)).map_or(0, |(at, _)| word(case, (base + at) & !7))
        }
        _ => random.next(),
    }
}
