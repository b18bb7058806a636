//! One lie at a time, in every field of every record: what it does not concern is served as before, what it damages is
//! counted, and `verify` names the place. The fields are those of the layout crate, so that a new one is attacked, too.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tachograph_exporter::{RegionReader, Snapshot};
use tachograph_layout::{
    ActivityRecord, Control, FamilyRecord, FatalRecord, Header, NoteRecord, PanicRecord, PulseRecord, SectionKind,
    SeriesRecord,
};

use crate::builder::{Region, directory};

/// Values of each series, by family.
type Served = BTreeMap<String, Vec<String>>;

fn served(snapshot: &Snapshot) -> Served {
    let family = |family: &tachograph_exporter::Family| {
        let lines = family.series.clone().map(|index| {
            let series = &snapshot.schema.series[index];
            let (value, since) = (snapshot.value(index), snapshot.since_start(index));
            format!("{} {value:?} {since:?} {:?}", series.labels, (&family.bounds, &family.unit))
        });
        (family.name.clone(), lines.collect())
    };
    snapshot.schema.families.iter().map(family).collect()
}

/// A region's file, in which words are changed and changed back.
struct Bench {
    _directory: tempfile::TempDir,
    path: PathBuf,
    file: File,
    region: Region,
    whole: Served,
}

impl Bench {
    fn new() -> Self {
        let directory = directory();
        let region = Region::full("mc-0");
        let path = region.write(directory.path());
        let file = File::options().write(true).open(&path).unwrap();
        let whole = served(&RegionReader::open(&path).unwrap().snapshot().unwrap());
        Self { _directory: directory, path, file, region, whole }
    }

    fn word(&self, offset: u64) -> u64 {
        let bytes = &self.region.bytes[offset as usize..offset as usize + 8];
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Reads with one field changed: what is served, what is said to be damaged, and what `verify` finds.
    fn with<T>(&self, offset: u64, width: u64, value: u64, read: impl FnOnce(&RegionReader) -> T) -> Option<T> {
        let (aligned, shift) = (offset & !7, offset % 8 * 8);
        let before = self.word(aligned);
        let mask = if width == 4 { 0xffff_ffff_u64 << shift } else { u64::MAX };
        let after = (before & !mask) | ((value << shift) & mask);
        self.file.write_all_at(&after.to_le_bytes(), aligned).unwrap();
        let result = RegionReader::open(&self.path).ok().map(|reader| read(&reader));
        self.file.write_all_at(&before.to_le_bytes(), aligned).unwrap();
        result
    }

    /// Everything but the families named is served as it was, what is missing was counted, and `verify` says where.
    #[track_caller]
    fn check(&self, reader: &RegionReader, own: &str, place: &str, lie: &str) {
        let snapshot = reader.snapshot().unwrap();
        let now = served(&snapshot);
        for (family, lines) in self.whole.iter().filter(|(family, _)| *family != own) {
            let damaged = &snapshot.schema.damaged;
            assert_eq!(now.get(family), Some(lines), "{lie}: {family} is not concerned; damaged: {damaged:?}");
        }
        // By number, since a family whose name is another valid one is only shown under that.
        let count = |served: &Served| served.values().map(Vec::len).sum::<usize>();
        let (series, before) = (count(&now), count(&self.whole));
        if series < before && !lie.contains("state") {
            let counted = snapshot.schema.damaged_count();
            assert!(counted > 0, "{lie}: {before} series became {series}, and nothing is counted");
        }
        if let Some(damage) = snapshot.schema.damaged.first() {
            let findings = reader.verify();
            let named = |text: &str| text.contains(place) || !own.is_empty() && text.contains(own);
            assert!(named(&damage.place), "{lie}: damage at {}, where it is {place} of {own}", damage.place);
            assert!(findings.iter().any(|finding| named(&finding.place)), "{lie}: verify says {findings:?}");
        }
    }
}

/// Offset and width of each field of a record; arrays are taken by their first word.
fn fields(fields: &'static [(&'static str, usize)], size: usize) -> Vec<(&'static str, u64, u64)> {
    let ends = fields.iter().skip(1).map(|(_, offset)| *offset).chain([size]);
    fields.iter().zip(ends).map(|((name, at), end)| (*name, *at as u64, if end - at == 4 { 4 } else { 8 })).collect()
}

/// Values that lie at the edges of what is checked, around what stands there.
fn lies(truth: u64) -> Vec<u64> {
    let high = |by: u64| truth.wrapping_add(by << 32);
    let mut lies = vec![0, 1, 2, 7, 64, 128, 129, 4_096, 8_192, 65_537, 1 << 24, 1 << 31, u64::from(u32::MAX)];
    lies.extend([1 << 40, 1 << 63, u64::MAX, f64::NAN.to_bits(), f64::INFINITY.to_bits(), (-1.0_f64).to_bits()]);
    lies.extend([
        truth.wrapping_add(1),
        truth.wrapping_sub(1),
        truth ^ 0x80,
        truth << 1,
        high(1),
        high(u64::MAX),
        high(60_000),
    ]);
    lies.retain(|lie| *lie != truth);
    lies
}

#[test]
fn a_lie_in_a_family_record_costs_that_family() {
    let bench = Bench::new();
    let names: Vec<String> = {
        let schema = RegionReader::open(&bench.path).unwrap().snapshot().unwrap().schema;
        schema.families.iter().map(|family| family.name.clone()).collect()
    };
    for (index, name) in names.iter().enumerate() {
        let entry = bench.region.entry(SectionKind::Families, index as u64);
        for (field, at, width) in fields(FamilyRecord::FIELDS, 256) {
            let truth = bench.word((entry + at) & !7) >> ((entry + at) % 8 * 8);
            let truth = if width == 4 { truth & u64::from(u32::MAX) } else { truth };
            for value in lies(truth) {
                let lie = format!("family {index}, {field} {truth:#x} -> {value:#x}");
                bench.with(entry + at, width, value, |reader| {
                    bench.check(reader, name, &format!("family {index}"), &lie);
                });
            }
        }
    }
}

#[test]
fn a_lie_in_a_series_record_costs_its_family_nothing_but_that_series() {
    let bench = Bench::new();
    let schema = RegionReader::open(&bench.path).unwrap().snapshot().unwrap().schema;
    for series in &schema.series {
        let name = &schema.families[series.family].name;
        let entry = bench.region.entry(SectionKind::Series, u64::from(series.slot));
        for (field, at, width) in fields(SeriesRecord::FIELDS, 64) {
            let truth = bench.word((entry + at) & !7) >> ((entry + at) % 8 * 8);
            let truth = if width == 4 { truth & u64::from(u32::MAX) } else { truth };
            for value in lies(truth) {
                let lie = format!("series {}, {field} {truth:#x} -> {value:#x}", series.slot);
                bench.with(entry + at, width, value, |reader| {
                    bench.check(reader, name, &format!("series {}", series.slot), &lie);
                    let left = served(&reader.snapshot().unwrap()).get(name).map_or(0, Vec::len);
                    assert!(left + 1 >= bench.whole[name].len(), "{lie}: {left} series are left");
                });
            }
        }
    }
}

/// What stands beside the metrics concerns none of them.
#[test]
fn a_lie_beside_the_metrics_costs_nothing() {
    let bench = Bench::new();
    let live = 2;
    for (section, slot, lists, size) in [
        (SectionKind::Activities, 1, vec![fields(ActivityRecord::FIELDS, 256)], 256),
        (SectionKind::Pulses, 0, vec![fields(PulseRecord::FIELDS, 128)], 128),
        (SectionKind::Notes, 3, vec![fields(NoteRecord::FIELDS, 256)], 256),
        (SectionKind::Crash, 0, vec![fields(FatalRecord::FIELDS, 2048)], 2048),
        (SectionKind::Crash, 2, vec![fields(PanicRecord::FIELDS, 2048)], 2048),
    ] {
        let entry = bench.region.entry(section, slot);
        assert_eq!(bench.region.layout.section(section).stride, size);
        for (field, at, width) in lists.into_iter().flatten() {
            for value in lies(live) {
                let lie = format!("{section:?} {slot}, {field} -> {value:#x}");
                bench.with(entry + at, width, value, |reader| {
                    bench.check(reader, "", "no metric", &lie);
                    assert!(reader.verify().len() < 10, "{lie}");
                });
            }
        }
    }
}

#[test]
fn a_lie_in_a_control_word_is_found_and_hides_no_more_than_it_says() {
    let bench = Bench::new();
    for (name, offset) in Control::FIELDS.iter().copied() {
        for value in lies(bench.word(offset)) {
            let lie = format!("{name} -> {value:#x}");
            bench.with(offset, 8, value, |reader| {
                let now = served(&reader.snapshot().unwrap());
                let all = !["series_used", "families_used", "lanes_used"].contains(&name);
                assert!(!all || now == bench.whole, "{lie}: {now:?}");
                // A high-water mark that is too low hides what is past it, and too high shows nothing more.
                assert!(now.keys().all(|family| bench.whole.contains_key(family)), "{lie}: {now:?}");
                let capacity = reader.info().unwrap().capacity;
                let usages = [capacity.series, capacity.families, capacity.cells, capacity.strings, capacity.lanes];
                assert!(usages.iter().all(|usage| usage.used <= usage.capacity), "{lie}: {capacity:?}");
                if name.ends_with("_used") && value > 1 << 24 {
                    let findings = reader.verify();
                    assert!(findings.iter().any(|finding| finding.place.contains(name)), "{lie}: {findings:?}");
                }
            });
        }
    }
}

/// The header is copied once, at opening: a file is refused, or read within bounds.
#[test]
fn a_lie_in_the_header_refuses_the_file_or_costs_nothing() {
    let bench = Bench::new();
    let sections = (0..13_u64).flat_map(|entry| {
        fields(tachograph_layout::SectionEntry::FIELDS, 64)
            .into_iter()
            .map(move |(name, at, width)| (name, 1024 + entry * 64 + at, width))
    });
    let mut refused = 0;
    for (field, at, width) in fields(Header::FIELDS, 4096).into_iter().chain(sections) {
        let truth = bench.word(at & !7) >> (at % 8 * 8);
        for value in lies(if width == 4 { truth & u64::from(u32::MAX) } else { truth }) {
            let read = bench.with(at, width, value, |reader| {
                let snapshot = reader.snapshot().unwrap();
                let _ = reader.verify();
                assert!(snapshot.schema.families.len() <= bench.whole.len(), "{field} at {at} -> {value:#x}");
            });
            refused += u32::from(read.is_none());
        }
    }
    assert!(refused > 300, "only {refused} headers were refused");
}
