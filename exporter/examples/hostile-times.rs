//! How long a snapshot of a hostile file takes beside that of an honest one of the same length: the figures in
//! `benches/RESULTS.md`. `cargo run --release -p tachograph-exporter --no-default-features --example hostile-times`.
//!
//! Each line is the first snapshot of a fresh reader (structure parsed, values read), the median of several.

use std::error::Error;
use std::time::Instant;

use tachograph_exporter::RegionReader;
use tachograph_layout::{
    Control, FamilyRecord, Geometry, Header, LAYOUT_MAJOR, Layout, RegionState, SectionKind, SeriesRecord, StrRef,
};

/// A file being laid out.
struct Region {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Region {
    fn new(geometry: Geometry) -> Result<Self, Box<dyn Error>> {
        let layout = geometry.layout()?;
        let mut header: Header = bytemuck::Zeroable::zeroed();
        header.magic = Header::MAGIC;
        header.layout_major = LAYOUT_MAJOR;
        header.byte_order = Header::BYTE_ORDER;
        header.file_len = layout.file_len();
        (header.name_len, header.name[0]) = (1, b'x');
        let entries = layout.entries();
        header.section_count = entries.len() as u32;
        header.sections[..entries.len()].copy_from_slice(&entries);
        let mut region = Self { bytes: vec![0; layout.file_len() as usize], layout };
        region.put(0, bytemuck::bytes_of(&header));
        for (offset, value) in [
            (Control::STATE, RegionState::Live.to_wire()),
            (Control::LANES_USED, u64::from(geometry.lanes)),
            (Control::FAMILIES_USED, u64::from(geometry.families)),
            (Control::SERIES_USED, u64::from(geometry.series)),
            (Control::CELLS_USED, u64::from(geometry.cells) + 16),
        ] {
            region.put(offset, &value.to_le_bytes());
        }
        Ok(region)
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn at(&self, kind: SectionKind, index: u64) -> u64 {
        self.layout.section(kind).entry(index).unwrap_or(0)
    }

    /// Families of one counter series each, as many as there is room for, `labels` saying where each label block stands.
    fn counters(&mut self, families: u64, labels: impl Fn(u64) -> (StrRef, String)) {
        let names = self.at(SectionKind::Strings, 0);
        let series = self.layout.section(SectionKind::Series).count / families;
        let mut used = 0;
        for family in 0..families {
            let name = format!("family_{family}_total");
            let label = StrRef { offset: used as u32 + 32, len: 1 };
            self.put(names + used, name.as_bytes());
            self.put(names + used + 32, b"a");
            let name = StrRef { offset: used as u32, len: name.len() as u32 };
            used += 40;
            let record = FamilyRecord {
                state: 2,
                kind: 1,
                number: 1,
                combine: 1,
                aggregation: 1,
                label_count: 1,
                name,
                label_names: label,
                first_series: (family * series) as u32,
                series_slots: series as u32,
                cells_per_series: 1,
                scale: 1.0_f64.to_bits(),
                ..FamilyRecord::default()
            };
            self.put(self.at(SectionKind::Families, family), bytemuck::bytes_of(&record));
            for slot in family * series..(family + 1) * series {
                let (labels, block) = labels(slot);
                self.put(names + u64::from(labels.offset), block.as_bytes());
                let family = family as u32;
                let record =
                    SeriesRecord { state: 2, family, cells: 1, cell: 16 + slot, labels, ..SeriesRecord::default() };
                self.put(self.at(SectionKind::Series, slot), bytemuck::bytes_of(&record));
            }
        }
    }

    fn measure(&self, name: &str, structure: u64) -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir_in("/dev/shm")?;
        let path = folder.path().join("copy.tacho");
        let mut bytes = self.bytes.clone();
        bytes[Control::STRUCTURE as usize..Control::STRUCTURE as usize + 8].copy_from_slice(&structure.to_le_bytes());
        std::fs::write(&path, bytes)?;
        let mut times = Vec::new();
        let mut found = (0, 0);
        for _ in 0..7 {
            let reader = RegionReader::open(&path)?;
            let start = Instant::now();
            let snapshot = reader.snapshot()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            found = (snapshot.schema.series.len(), snapshot.schema.damaged_count());
        }
        times.sort_by(f64::total_cmp);
        let mebibytes = self.bytes.len() as f64 / f64::from(1 << 20);
        println!("| {mebibytes:.1} | {name} | {} | {} | {:.2} |", found.0, found.1, times[3]);
        Ok(())
    }
}

fn geometry(mebibytes: u32, lanes: u32) -> Geometry {
    // What is left of the length goes to the lanes; a series takes a descriptor, a label and a cell in every lane.
    let series = (mebibytes << 20).saturating_sub(900 << 10) / (64 + 32 + 8 * lanes);
    let series = series.max(256) / 64 * 64;
    Geometry {
        families: 64,
        series,
        string_bytes: series * 32 + 4096,
        label_bytes: 1,
        bounds: 1,
        shared: 1,
        cells: series,
        lanes,
        activities: 1,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("| MiB | file | series | damaged | ms |\n|---|---|---|---|---|");
    for mebibytes in [1, 4, 64] {
        let own = |slot: u64| {
            let block = format!("a=\"{slot}\"");
            (StrRef { offset: 4096 + slot as u32 * 32, len: block.len() as u32 }, block)
        };
        let mut honest = Region::new(geometry(mebibytes, 8))?;
        honest.counters(64, own);
        honest.measure("honest, 8 lanes", 0)?;
        honest.measure("structure word odd", 7)?;

        let mut marks = Region::new(geometry(mebibytes, 8))?;
        marks.counters(64, own);
        for offset in (4224..5008).step_by(8) {
            marks.put(offset, &u64::MAX.to_le_bytes());
        }
        marks.measure("every control word all ones", 1)?;

        let mut overlapping = Region::new(geometry(mebibytes, 8))?;
        overlapping.counters(64, |slot| own(slot % 64));
        for slot in 0..overlapping.layout.section(SectionKind::Series).count {
            let at = overlapping.at(SectionKind::Series, slot);
            let len = u32::try_from(overlapping.layout.section(SectionKind::Strings).count.min(65_536))?;
            overlapping.put(at + 24, bytemuck::bytes_of(&StrRef { offset: 0, len }));
            overlapping.put(at + 16, &16_u64.to_le_bytes());
        }
        overlapping.measure("all labels one string, all cells one", 0)?;

        let mut claims = Region::new(geometry(mebibytes, 8))?;
        claims.counters(64, own);
        let all = claims.layout.section(SectionKind::Series).count as u32;
        for family in 0..64 {
            let at = claims.at(SectionKind::Families, family);
            claims.put(at + 72, bytemuck::bytes_of(&[0, all]));
        }
        claims.measure("every family claims every slot", 0)?;

        // As many families as fit into a quarter of the file, so that families times slots would be most.
        let many = Geometry { families: mebibytes << 10, ..geometry(mebibytes, 2) };
        let mut claims = Region::new(Geometry { series: many.series / 4, cells: many.cells / 4, ..many })?;
        let count = u64::from(many.families).min(u64::from(many.series / 4));
        claims.counters(count, own);
        let all = claims.layout.section(SectionKind::Series).count as u32;
        for family in 0..count {
            let at = claims.at(SectionKind::Families, family);
            claims.put(at + 72, bytemuck::bytes_of(&[0, all]));
        }
        claims.measure("as many families as slots, each claims all", 0)?;

        let small = Geometry {
            families: 16,
            series: 64,
            string_bytes: 1,
            label_bytes: 1,
            bounds: 1,
            shared: 1,
            activities: 1,
            cells: 8_000,
            lanes: 0,
        };
        let lanes = ((mebibytes << 4) - 11).clamp(1, 1_024);
        Region::new(Geometry { lanes, ..small })?.measure("as many lanes as fit, all used", 0)?;
        let ones = Region::new(geometry(mebibytes, 8))?;
        let mut ones = Region { bytes: ones.bytes, layout: ones.layout };
        ones.bytes[65_536..].fill(0xff);
        ones.measure("every byte past the header all ones", 0)?;
    }
    Ok(())
}
