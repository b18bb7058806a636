//! Bytes that no writer wrote: nothing may panic, loop or be shown as a value of something else.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{OpenError, ReadError, RegionReader};
use tachograph_layout::{
    Control, FamilyRecord, Header, Kind, Number, SectionKind, SeriesRecord, SlotState, SlotWord, StrRef,
};

use crate::builder::{FamilySpec, Region, directory};

/// Opens and reads everything there is to read; says whether the file was taken as a region.
fn read_all(bytes: &[u8]) -> bool {
    let directory = directory();
    let path = directory.path().join("mc-0.tacho");
    std::fs::write(&path, bytes).unwrap();
    let Ok(reader) = RegionReader::open(&path) else { return false };
    let snapshot = reader.snapshot().unwrap();
    for series in 0..snapshot.schema.series.len() {
        let _ = (snapshot.value(series), snapshot.since_start(series));
    }
    let _ = (reader.verify(), serde_json::to_string(&snapshot.region).unwrap());
    true
}

fn open_error(bytes: &[u8]) -> String {
    let directory = directory();
    let path = directory.path().join("mc-0.tacho");
    std::fs::write(&path, bytes).unwrap();
    let error = RegionReader::open(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    error
}

#[test]
fn what_is_no_region_is_said() {
    let region = Region::full("mc-0").bytes;
    assert!(open_error(b"").contains("empty"));
    assert!(open_error(b"hello").contains("too short"));
    assert!(open_error(&[b'x'; 8192]).contains("not a Tachograph region"));
    assert!(open_error(&region[..region.len() - 1]).contains("cut short"));
    let with = |edit: &dyn Fn(&mut Header)| {
        let mut region = Region::full("mc-0");
        region.edit::<Header>(SectionKind::Header, 0, edit);
        open_error(&region.bytes)
    };
    assert!(with(&|header| header.layout_major = 9).contains("layout 9.0; this version reads layout 1.x"));
    assert!(with(&|header| header.byte_order = header.byte_order.swap_bytes()).contains("big endian"));
    assert!(with(&|header| header.required_features = 4).contains("needs features 0x4"));
    assert!(with(&|header| header.name[0] = b'/').contains("names the region \"/c-0\""));
    assert!(with(&|header| header.name_len = 0).contains("names the region \"\""));
}

#[test]
fn only_regular_files_are_opened_and_no_link_is_followed() {
    let directory = directory();
    let path = directory.path().join("pipe.tacho");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(RegionReader::open(&path), Err(OpenError::NotRegular { found: "a FIFO", .. })));
    assert!(matches!(RegionReader::open(directory.path()), Err(OpenError::NotRegular { found: "a directory", .. })));
    let region = Region::full("mc-0").write(directory.path());
    let link = directory.path().join("link.tacho");
    symlink(&region, &link).unwrap();
    assert!(RegionReader::open(&link).unwrap_err().to_string().contains("symbolic link"));
}

#[test]
fn no_length_is_taken_but_the_right_one() {
    let bytes = Region::full("mc-0").bytes;
    let steps = (0..64).map(|shift| shift * 67).chain((0..bytes.len()).step_by(32_767)).chain([4095, 4096, 4097]);
    for len in steps.filter(|len| *len < bytes.len()) {
        assert!(!read_all(&bytes[..len]), "{len} bytes");
    }
    assert!(read_all(&bytes));
}

#[test]
fn a_file_cut_under_its_reader_is_an_error() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    reader.snapshot().unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
    assert!(matches!(reader.snapshot(), Err(ReadError::CutShort { found: 4096, .. })));
    assert!(matches!(reader.info(), Err(ReadError::CutShort { .. })));
    assert_eq!(reader.verify().len(), 1);
}

#[test]
fn every_word_of_the_header_may_be_anything() {
    let region = Region::full("mc-0");
    for word in 0..512 {
        for value in [0, 1, 0xffff, u64::from(u32::MAX), 1 << 40, u64::MAX] {
            let mut region = region.clone();
            region.word(word * 8, value);
            read_all(&region.bytes);
        }
    }
}

/// What is left out when one thing is wrong, as one line a damage.
fn damage(edit: impl FnOnce(&mut Region)) -> (usize, Vec<String>) {
    let mut region = Region::full("mc-0");
    edit(&mut region);
    let directory = directory();
    let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
    let lines = snapshot.schema.damaged.iter().map(|damage| format!("{}: {}", damage.place, damage.what)).collect();
    (snapshot.schema.families.len(), lines)
}

/// The families of `Region::full`.
const FAMILIES: usize = 14;

#[track_caller]
fn assert_damage(families: usize, part: &str, edit: impl FnOnce(&mut Region)) {
    let (left, lines) = damage(edit);
    assert_eq!(left, families, "{lines:?}");
    assert!(lines.len() == 1 && lines[0].contains(part), "{part:?} in {lines:?}");
}

#[test]
fn a_bad_family_costs_itself() {
    let family = SectionKind::Families;
    let one_less = FAMILIES - 1;
    assert_damage(one_less, "kind is 77", |r| r.edit::<FamilyRecord>(family, 0, |f| f.kind = 77));
    assert_damage(one_less, "state Some(Building)", |r| {
        r.edit::<FamilyRecord>(family, 0, |f| f.state = SlotWord::new(0, SlotState::Building).bits());
    });
    assert_damage(one_less, "not made of", |r| r.edit::<FamilyRecord>(family, 0, |f| f.number = 2));
    assert_damage(one_less, "end outside the 128 slots", |r| {
        r.edit::<FamilyRecord>(family, 0, |f| f.series_slots = 1_000);
    });
    assert_damage(one_less, "scale NaN", |r| r.edit::<FamilyRecord>(family, 0, |f| f.scale = f64::NAN.to_bits()));
    assert_damage(one_less, "label names", |r| r.edit::<FamilyRecord>(family, 0, |f| f.label_count = 3));
    assert_damage(one_less, "name: string", |r| {
        r.edit::<FamilyRecord>(family, 0, |f| f.name = StrRef { offset: u32::MAX, len: 9 });
    });
    assert_damage(one_less, "not ascending", |r| {
        r.word(r.entry(SectionKind::Bounds, 1), 0.1_f64.to_bits());
    });
    assert_damage(one_less, "overlap another family's", |r| {
        r.edit::<FamilyRecord>(family, 1, |f| f.first_series = 0);
    });
}

#[test]
fn names_that_would_break_the_output_are_left_out() {
    let renamed = |name: &'static str| {
        move |r: &mut Region| {
            let at = r.string(name);
            r.edit::<FamilyRecord>(SectionKind::Families, 3, |f| f.name = at);
        }
    };
    for (name, part) in [
        ("app load", "no metric name"),
        ("app_load 1\n# TYPE x", "no metric name"),
        ("", "no metric name"),
        ("tacho_region_up", "starts with tacho_"),
        ("app_depth", "shows app_depth, as family app_depth does"),
        ("app_wait_seconds_extra_total", "names of counters end in _total"),
    ] {
        assert_damage(FAMILIES - 1, part, renamed(name));
    }
    // A gauge of the name that a histogram before it shows for its count.
    assert_damage(FAMILIES, "shows app_wait_seconds_count", |r| {
        r.family(&FamilySpec::of("app_wait_seconds_count", Kind::Gauge, Number::F64));
    });
    // A state set is shown with its name for a label.
    for name in ["__name__", "a:mode", "le", "__mode"] {
        assert_damage(FAMILIES, "that of a label, too", |r| {
            r.family(&FamilySpec { states: &["on"], ..FamilySpec::of(name, Kind::StateSet, Number::U64) });
        });
    }
    assert_damage(FAMILIES - 1, "is no label name", |r| {
        let at = r.string("actor,le");
        r.edit::<FamilyRecord>(SectionKind::Families, 0, |f| f.label_names = at);
    });
}

#[test]
fn a_bad_series_costs_itself() {
    let labels = |block: &'static [u8]| {
        move |r: &mut Region| {
            let at = r.string(&"x".repeat(block.len()));
            let base = (r.layout.section(SectionKind::Strings).offset + u64::from(at.offset)) as usize;
            r.bytes[base..base + block.len()].copy_from_slice(block);
            r.edit::<SeriesRecord>(SectionKind::Series, 1, |s| s.labels = at);
        }
    };
    assert_damage(FAMILIES, "not properly escaped", labels(b"actor=\"a\",zone=\"b\nx\""));
    assert_damage(FAMILIES, "too many", labels(b"actor=\"a\",zone=\"b\"} 1"));
    assert_damage(FAMILIES, "not where it belongs", labels(b"zone=\"a\",actor=\"b\""));
    assert_damage(FAMILIES, "no UTF-8", labels(b"actor=\"\xff\",zone=\"\""));
    assert_damage(FAMILIES, "not where it belongs", labels(b"overflow=\"true\""));
    assert_damage(FAMILIES, "the same labels", labels(br#"actor="a",zone="\"q\"""#));
    // An overflow series beside labels that could be taken for it.
    assert_damage(FAMILIES + 1, "label other is not", |r| {
        r.family(&FamilySpec {
            label_names: &["other", "overflow"],
            blocks: &[r#"overflow="true""#, r#"other="",overflow="true""#],
            open: Some(1),
            ..FamilySpec::of("app_open_total", Kind::Counter, Number::U64)
        });
    });
    let series = SectionKind::Series;
    assert_damage(FAMILIES, "family index 9", |r| r.edit::<SeriesRecord>(series, 0, |s| s.family = 9));
    assert_damage(FAMILIES, "end outside the plane", |r| r.edit::<SeriesRecord>(series, 0, |s| s.cell = u64::MAX));
    assert_damage(FAMILIES, "one of the lane's header", |r| r.edit::<SeriesRecord>(series, 0, |s| s.cell = 0));
    assert_damage(FAMILIES, "state Building below", |r| r.edit::<SeriesRecord>(series, 0, |s| s.state = 1));
    assert_damage(FAMILIES, "is not a state", |r| r.edit::<SeriesRecord>(series, 0, |s| s.state = 9));
    // The open family is the last: its second series, with the labels of another slot's area.
    assert_damage(FAMILIES, "outside the slot's own area", |r| {
        r.edit::<SeriesRecord>(series, 15, |s| s.labels.offset = 0);
    });
}

#[test]
fn the_same_string_over_and_over_costs_no_more_than_the_file() {
    let mut region = Region::new("mc-0");
    let blocks: Vec<String> = (0..100).map(|index| format!("a=\"{index}\"")).collect();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let spec =
        FamilySpec { label_names: &["a"], blocks: &blocks, ..FamilySpec::of("x_total", Kind::Counter, Number::U64) };
    region.family(&spec);
    for slot in 0..100 {
        region.edit::<SeriesRecord>(SectionKind::Series, slot, |s| s.labels = StrRef { offset: 0, len: 60_000 });
    }
    let directory = directory();
    let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
    assert_eq!((snapshot.schema.series.len(), snapshot.schema.damaged.len()), (0, 100));
    assert!(snapshot.schema.damaged.iter().any(|damage| damage.what.contains("used more often")));
}

/// A list of names is made of more than its bytes: each is a string of its own, and many families may refer to one list.
#[test]
fn lists_of_label_names_cost_no_more_than_the_file() {
    let mut region = Region::new("mc-0");
    let list = region.string(&"a,".repeat(3_900));
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let family = region.family(&FamilySpec::of(name, Kind::Gauge, Number::F64)).family;
        region.edit::<FamilyRecord>(SectionKind::Families, family, |f| f.label_names = list);
    }
    let directory = directory();
    let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
    let damaged: Vec<&str> = snapshot.schema.damaged.iter().map(|damage| damage.what.as_str()).collect();
    assert_eq!(damaged.len(), 8, "{damaged:?}");
    assert!(damaged[0].contains("3900 label names where it says 0"), "{damaged:?}");
    assert!(damaged[7].contains("used more often"), "{damaged:?}");
}

#[test]
fn series_outside_of_their_familys_block_are_counted() {
    let mut region = Region::new("mc-0");
    let blocks = ["a=\"0\"", "a=\"1\"", "a=\"2\""];
    let spec =
        FamilySpec { label_names: &["a"], blocks: &blocks, ..FamilySpec::of("x_total", Kind::Counter, Number::U64) };
    let family = region.family(&spec).family;
    region.edit::<FamilyRecord>(SectionKind::Families, family, |f| f.series_slots = 1);
    let directory = directory();
    let snapshot = RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap();
    let damaged: Vec<String> =
        snapshot.schema.damaged.iter().map(|damage| format!("{}: {}", damage.place, damage.what)).collect();
    let stray = |slot| format!("series {slot} of x_total: the family's block of slots does not hold it");
    assert_eq!((snapshot.schema.series.len(), damaged), (1, vec![stray(1), stray(2)]));
}

#[test]
fn high_water_marks_past_the_end_are_bounded() {
    let mut region = Region::full("mc-0");
    for offset in (4096..5008).step_by(8) {
        if ![Control::STATE].contains(&offset) {
            region.control(offset, u64::MAX);
        }
    }
    let started = Instant::now();
    assert!(read_all(&region.bytes));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Places where a changed word matters, and words that are likely to matter there.
fn mutation() -> impl Strategy<Value = (u64, u64)> {
    let region = Region::full("mc-0");
    let spans = [
        (4096, 1024),
        (region.entry(SectionKind::Families, 0), 14 * 256),
        (region.entry(SectionKind::Series, 0), 20 * 64),
        (region.layout.section(SectionKind::Strings).offset, 2048),
        (region.layout.section(SectionKind::LabelAreas).offset, 256),
        (region.entry(SectionKind::Bounds, 0), 64),
        (region.entry(SectionKind::Notes, 0), 1024),
        (region.entry(SectionKind::Crash, 0), 8192),
        (region.entry(SectionKind::Activities, 0), 512),
        (region.entry(SectionKind::Lanes, 0), 1024),
        (0, 4096),
    ];
    let place = proptest::sample::select(spans.to_vec());
    let offset = (place, any::<u64>()).prop_map(|((start, len), at)| start + at % (len / 8) * 8);
    let word = prop_oneof![
        any::<u64>(),
        0..64_u64,
        (any::<u32>(), 0..8_u64).prop_map(|(high, low)| u64::from(high) << 32 | low),
        (any::<u32>(), 0..8_u64).prop_map(|(low, high)| high << 32 | u64::from(low)),
        Just(u64::MAX),
    ];
    (offset, word)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_words_never_panic(mutations in proptest::collection::vec(mutation(), 1..12)) {
        let mut region = Region::full("mc-0");
        for (offset, word) in mutations {
            region.word(offset, word);
        }
        let started = Instant::now();
        read_all(&region.bytes);
        prop_assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn random_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70_000), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() >= 4096 {
            bytes[..1024].copy_from_slice(&Region::new("mc-0").bytes[..1024]);
            let len = bytes.len() as u64;
            bytes[48..56].copy_from_slice(&len.to_le_bytes());
        }
        read_all(&bytes);
    }
}

/// Reading a hole in a mapped file of a tmpfs takes the memory that the hole does not: a reader must not fill a disk.
#[test]
fn a_file_with_holes_is_refused_before_and_after_it_was_opened() {
    let directory = directory();
    let region = Region::full("mc-0");
    let path = directory.path().join("mc-0.tacho");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(region.bytes.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &region.bytes[..8192], 0).unwrap();
    let error = RegionReader::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Sparse { .. }), "{error}");

    std::os::unix::fs::FileExt::write_all_at(&file, &region.bytes, 0).unwrap();
    let reader = RegionReader::open(&path).unwrap();
    reader.snapshot().unwrap();
    file.set_len(8192).unwrap();
    file.set_len(region.bytes.len() as u64).unwrap();
    assert!(matches!(reader.snapshot(), Err(ReadError::CutShort { .. })));
}

/// A few long labels and many bounds must not make an exposition that is many times as large as the file.
#[test]
fn what_is_shown_is_bounded_by_the_files_size() {
    let mut region = Region::new("mc-0");
    let label = format!("a=\"{}\"", "x".repeat(60_000));
    let bounds: Vec<f64> = (0..200).map(f64::from).collect();
    region.family(&FamilySpec {
        label_names: &["a"],
        blocks: &[&label],
        bounds: &bounds,
        ..FamilySpec::of("app_wide_seconds", Kind::HistogramBounds, Number::F64)
    });
    let directory = directory();
    let reader = RegionReader::open(&region.write(directory.path())).unwrap();
    let schema = reader.snapshot().unwrap().schema;
    assert!(schema.series.is_empty(), "12 MB of lines from {} bytes", region.bytes.len());
    assert!(
        schema.damaged.iter().any(|damage| format!("{damage:?}").contains("far more bytes")),
        "{:?}",
        schema.damaged
    );
}

/// A state is repeated in a line of each series, escaped, beside the family's name.
#[test]
fn states_and_names_that_each_series_repeats_are_bounded_by_the_files_size() {
    let long = format!("app_{}", "x".repeat(200));
    let quotes = "\"".repeat(20_000);
    let names: Vec<String> = (0..64).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, states) in [("app_phase", &[quotes.as_str()] as &[&str]), (&long, &many)] {
        let mut region = Region::of_series("mc-0", 1_000);
        let labels: Vec<String> = (0..1_000).map(|number| format!("a=\"{number}\"")).collect();
        let blocks: Vec<&str> = labels.iter().map(String::as_str).collect();
        let spec = FamilySpec::of(name, Kind::StateSet, Number::U64);
        region.family(&FamilySpec { label_names: &["a"], blocks: &blocks, states, ..spec });
        let directory = directory();
        let reader = RegionReader::open(&region.write(directory.path())).unwrap();
        let snapshot = reader.snapshot().unwrap();
        assert!(snapshot.schema.series.len() > 1, "{:?}", snapshot.schema.damaged);
        let damaged = &snapshot.schema.damaged;
        assert!(damaged.iter().any(|damage| damage.what.contains("far more bytes")), "{:?}", damaged.first());
        let sources = [Source::region(Arc::new(snapshot))];
        let plan = Plan::new(&sources, &Options::default()).unwrap();
        let mut shown = 0;
        Exposition::new(Format::Text).render_pieces(&plan, &sources, &mut |piece| shown += piece.len());
        let (most, len) = (8 * region.bytes.len() + (1 << 20), region.bytes.len());
        assert!(shown < most, "{shown} bytes of text of a file of {len}");
    }
}

/// A writer that keeps the structure word odd, or that changes it without end, keeps nobody from reading.
#[test]
fn a_structure_word_that_never_rests_ends_no_snapshot() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    region.control(Control::STRUCTURE, 7);
    let path = region.write(directory.path());
    let whole = |reader: &RegionReader| reader.snapshot().unwrap().schema.series.len();
    let reader = RegionReader::open(&path).unwrap();
    let series = whole(&reader);
    assert!(series > 14, "as a copy: the odd word is final, and each slot is checked by itself");
    let lock = crate::builder::hold_lock(directory.path(), "mc-0");
    let reader = RegionReader::open(&path).unwrap();
    assert_eq!(whole(&reader), series, "odd for good, its writer alive");

    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut word = 8_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                word += 1;
                std::os::unix::fs::FileExt::write_all_at(&file, &word.to_le_bytes(), Control::STRUCTURE).unwrap();
            }
        });
        for _ in 0..50 {
            assert_eq!(whole(&reader), series, "another word each time");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(lock);
    assert_eq!(whole(&reader), series, "its writer died with the word odd");
}

/// Cut between the check of its length and the reading, or while it is read: an error, and only while it is cut.
#[test]
fn a_file_that_is_cut_while_it_is_read_is_told_so() {
    let directory = directory();
    let region = Region::full("mc-0");
    let path = region.write(directory.path());
    let mut cut = 0;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let (stop, region) = (&stop, &region);
        scope.spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.set_len(70_000).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, &region.bytes, 0).unwrap();
            }
        });
        let started = Instant::now();
        while cut < 20 && started.elapsed() < Duration::from_secs(20) {
            let Ok(reader) = RegionReader::open(&path) else { continue };
            for _ in 0..4 {
                match reader.snapshot() {
                    Ok(_) => {}
                    Err(ReadError::Cut { .. } | ReadError::CutShort { .. }) => cut += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            let _ = (reader.verify(), reader.info());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(cut > 0, "the file was never cut under its reader");
}
