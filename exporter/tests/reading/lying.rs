//! One lie at a time, in every field of every record: what it does not concern is served as before, what it damages is
//! counted, and `verify` names the place. The fields are those of the layout crate, so that a new one is attacked, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tachograph_exporter::{RegionReader, Snapshot};
use tachograph_layout::{
    ActivityRecord, Control, FamilyRecord, FatalRecord, Header, Kind, NoteRecord, Number, PanicRecord, PulseRecord,
    SectionKind, SeriesRecord,
};

use crate::builder::{FamilySpec, Region, directory};

/// Values of each series, by family.
type Served = BTreeMap<String, Vec<String>>;

fn served(snapshot: &Snapshot) -> Served {
    let family = |family: &tachograph_exporter::Family| {
        let lines = family.series.clone().map(|index| {
            let series = &snapshot.schema.series.get(index).expect("a series");
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

    /// What the field is in the other records: a lie that is taken from a neighbour passes every check of its own.
    fn others(&self, section: SectionKind, count: usize, at: u64, width: u64, truth: u64) -> BTreeSet<u64> {
        let values = (0..count as u64).map(|index| {
            let offset = self.region.entry(section, index) + at;
            let word = self.word(offset & !7) >> (offset % 8 * 8);
            if width == 4 { word & u64::from(u32::MAX) } else { word }
        });
        values.filter(|value| *value != truth).collect()
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
            for value in
                lies(truth).into_iter().chain(bench.others(SectionKind::Families, names.len(), at, width, truth))
            {
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
    let slots = schema.series.last().map_or(0, |series| series.slot as usize + 1);
    for (index, series) in schema.series.iter().enumerate() {
        let name = &schema.families[series.family].name;
        let entry = bench.region.entry(SectionKind::Series, u64::from(series.slot));
        for (field, at, width) in fields(SeriesRecord::FIELDS, 64) {
            let truth = bench.word((entry + at) & !7) >> ((entry + at) % 8 * 8);
            let truth = if width == 4 { truth & u64::from(u32::MAX) } else { truth };
            for value in lies(truth).into_iter().chain(bench.others(SectionKind::Series, slots, at, width, truth)) {
                let lie = format!("series {}, {field} {truth:#x} -> {value:#x}", series.slot);
                bench.with(entry + at, width, value, |reader| {
                    bench.check(reader, name, &format!("series {}", series.slot), &lie);
                    let left = served(&reader.snapshot().unwrap()).remove(name).unwrap_or_default();
                    let own = index - schema.families[series.family].series.start;
                    let others = bench.whole[name].iter().enumerate().filter(|(index, _)| *index != own);
                    for (_, other) in others {
                        assert!(left.contains(other), "{lie}: {other} is not concerned; left: {left:?}");
                    }
                });
            }
        }
    }
}

/// Of an open family's slots any may be free: the one in use may have no neighbour that tells where its cells are.
#[test]
fn a_lie_about_cells_costs_no_lease_that_stands_alone() {
    for used in 0..3 {
        for followed in [false, true] {
            let mut region = Region::new("mc-0");
            let before = region.family(&FamilySpec::of("app_before_total", Kind::Counter, Number::U64));
            region.lane(0, before.cell, 5);
            let open = region.family(&FamilySpec {
                label_names: &["peer"],
                blocks: &[r#"peer="a""#, r#"peer="b""#, r#"peer="c""#],
                open: Some(2),
                ..FamilySpec::of("app_peers_total", Kind::Counter, Number::U64)
            });
            region.lane(1, open.cell + used, 77);
            for free in (0..3).filter(|slot| *slot != used) {
                region.edit::<SeriesRecord>(SectionKind::Series, open.slot + free, |record| record.state = 0);
            }
            if followed {
                // One without a series in use, then one with.
                let blocks = [r#"peer="a""#];
                let empty = region.family(&FamilySpec {
                    label_names: &["peer"],
                    blocks: &blocks,
                    open: Some(2),
                    ..FamilySpec::of("app_empty_total", Kind::Counter, Number::U64)
                });
                region.edit::<SeriesRecord>(SectionKind::Series, empty.slot, |record| record.state = 0);
                region.family(&FamilySpec::of("app_after", Kind::UpDownCounter, Number::I64));
            }
            region.edit::<SeriesRecord>(SectionKind::Series, before.slot, |record| record.cell = open.cell + used);
            let directory = directory();
            let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
            let now = served(&snapshot);
            assert!(now["app_before_total"].is_empty(), "slot {used}: a liar shows {now:?}");
            assert_eq!(now["app_peers_total"].len(), 1, "slot {used}, {followed}: {:?}", snapshot.schema.damaged);
            assert_eq!(snapshot.schema.damaged_count(), 1, "slot {used}, {followed}: {:?}", snapshot.schema.damaged);
        }
    }
}

/// The overflow series is an open family's last slot: it may be the only one that says whose the slots are.
#[test]
fn a_lie_about_slots_costs_no_overflow_series_that_stands_alone() {
    let mut region = Region::new("mc-0");
    let before = region.family(&FamilySpec::of("app_before_total", Kind::Counter, Number::U64));
    let blocks: Vec<String> =
        (0..100).map(|n| format!("peer=\"{n}\"")).chain([r#"overflow="true""#.to_owned()]).collect();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let open = region.family(&FamilySpec {
        label_names: &["peer"],
        blocks: &blocks,
        open: Some(0),
        ..FamilySpec::of("app_peers_total", Kind::Counter, Number::U64)
    });
    region.lane(0, open.cell + 100, 77);
    for free in 0..100 {
        region.edit::<SeriesRecord>(SectionKind::Series, open.slot + free, |record| record.state = 0);
    }
    region.edit::<FamilyRecord>(SectionKind::Families, before.family, |family| family.series_slots = 102);
    let directory = directory();
    let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
    let now = served(&snapshot);
    assert_eq!(now.get("app_peers_total").map(Vec::len), Some(1), "{:?}", snapshot.schema.damaged);
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
