//! The predecessor's file as a stranger may have left it: whatever its bytes, reading it ends, and gives something that the
//! successor's own reading accepts.

use std::fs;

use proptest::prelude::*;
use tachograph_layout::{CarriedFamily, CarriedSeries, Control, Header, Words, carried_entries};

use super::{Predecessor, kept};
use crate::directory::Directory;
use crate::{Buckets, Counter, Desc, OnExisting, OpenFamily, OpenRules, Region};

/// A region with a bit of everything that is carried, and carried families of its own.
fn file() -> Vec<u8> {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let build =
        || Region::builder("mc").dir(dir.path()).series(64).on_existing(OnExisting::Adopt).build().expect("room");
    let fill = |region: &Region| {
        region.counter("app_a_total", "A").expect("room").add(5);
        region.float_counter("app_b_total", "B").expect("room").add(0.5);
        region.histogram::<f64>("app_c", "C", Buckets::bounds([1.0, 2.0])).expect("room").observe(1.5);
        let open: OpenFamily<Counter, 1> =
            region.open_family(Desc::new("app_d_total", "D"), ["peer"], OpenRules::new(4)).expect("room");
        open.with(["x"]).add(3);
        region.exponential_histogram("app_e", "E", Buckets::exponential(0, 1.0..=8.0)).expect("room").observe(3.0);
    };
    let region = build();
    fill(&region);
    region.counter("app_gone_total", "Gone").expect("room").add(9);
    region.close();
    let region = build();
    fill(&region);
    fs::read(region.path().expect("a file")).expect("the file")
}

fn read(directory: &Directory, path: &std::path::Path, bytes: &[u8]) -> Result<Predecessor, String> {
    fs::write(path, bytes).expect("room");
    Predecessor::read(directory, "mc")
}

fn put(bytes: &mut [u8], offset: usize, value: u64) {
    if let Some(word) = bytes.get_mut(offset..offset + 8) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

#[test]
fn any_bytes_are_read_to_an_end_and_make_a_sound_section() {
    let whole = file();
    let words: Vec<u64> =
        whole.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))).collect();
    let header = Header::from_words(&words[..Header::WORDS]).expect("a header");
    let sections = header.check(whole.len() as u64).expect("a region");
    // Where a changed word matters: tables, used lanes, strings, the carried section, the header.
    let places: Vec<usize> = tachograph_layout::SectionKind::ALL
        .iter()
        .flat_map(|kind| {
            let section = sections.section(*kind);
            (0..96).map(move |word| (section.offset + word * 8) as usize)
        })
        .chain(Control::FIELDS.iter().map(|(_, offset)| *offset as usize))
        .chain((0..512).map(|word| word * 8))
        .collect();
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let directory = Directory::choose(Some(dir.path()), false).expect("it serves");
    let path = dir.path().join("mc.tacho");
    let untouched = read(&directory, &path, &whole).expect("a region");
    assert_eq!((carried(&untouched), untouched.damaged), (6, 0), "five families, and one that nobody took");
    let word = prop_oneof![any::<u64>(), 0..70_000_u64, (0..64_u32).prop_map(|bit| 1 << bit), Just(u64::MAX)];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let mut continued = 0;
    let changes = proptest::collection::vec((0..places.len(), word), 1..6);
    runner
        .run(&(changes, 0..8_u8), |(changes, cut)| {
            let mut bytes = whole.clone();
            changes.iter().for_each(|(place, value)| put(&mut bytes, places[*place], *value));
            if cut == 0 {
                bytes.truncate(changes[0].1 as usize % whole.len());
            }
            if let Ok(predecessor) = read(&directory, &path, &bytes) {
                prop_assert!(predecessor.words.len() * 8 <= 2 * whole.len());
                let entries: Result<Vec<_>, _> = carried_entries(&predecessor.words).collect();
                prop_assert!(entries.is_ok(), "{entries:?}");
            }
            Ok(())
        })
        .expect("no bytes do harm");
    for place in &places {
        let mut bytes = whole.clone();
        put(&mut bytes, *place, u64::MAX);
        continued += u64::from(read(&directory, &path, &bytes).is_ok_and(|it| carried(&it) >= 4));
    }
    assert!(continued > places.len() as u64 / 2, "one bad word costs little: {continued} of {}", places.len());
}

fn carried(predecessor: &Predecessor) -> usize {
    carried_entries(&predecessor.words).map_while(Result::ok).count()
}

proptest! {
    #[test]
    fn any_words_are_carried_families_or_refused(
        mut words in proptest::collection::vec(any::<u64>(), 0..80),
        kind in 1..6_u64, cells in 0..4_u64, series in 0..9_u64, name in 0..40_u64, len in 0..90_u64,
    ) {
        let families = [CarriedFamily::WORDS, CarriedSeries::WORDS];
        prop_assert_eq!(families, [10, 3]);
        for (at, value) in [(0, kind | 1 << 32), (1, cells | series << 32), (2, name), (3, 0), (9, len)] {
            if let Some(word) = words.get_mut(at) {
                *word = value;
            }
        }
        let mut read = 0;
        for entry in carried_entries(&words) {
            let Ok(entry) = entry else { break };
            read += entry.record.words;
            prop_assert!(entry.series.len() <= words.len() && read <= words.len() as u64);
        }
    }
}

/// Totals of the region's own that are put aside are all continued, however many there are: what bounds those that were
/// carried again must not cut them.
#[test]
fn what_is_put_aside_comes_back_whole_and_is_of_no_meaning_beside_a_region() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let directory = Directory::choose(Some(dir.path()), false).expect("it serves");
    let build = |on_existing| {
        Region::builder("mc")
            .dir(dir.path())
            .cells(200_000)
            .bounds(200_000)
            .lanes(2)
            .on_existing(on_existing)
            .build()
            .expect("room")
    };
    let edges = || Buckets::bounds((1..=1_500).map(f64::from).collect::<Vec<_>>());
    let names: Vec<String> = (0..100).map(|index| format!("app_{index}")).collect();
    let fill = |region: &Region| {
        for name in &names {
            region.histogram::<f64>(name, "Large", edges()).expect("room").observe(7.0);
        }
    };
    let count = |region: &Region| region.histogram::<f64>(&names[99], "Large", edges()).expect("room").count();
    let region = build(OnExisting::Archive);
    fill(&region);
    region.close();
    let read = Predecessor::read(&directory, "mc").expect("a region");
    assert!(read.words.len() > super::predecessor::CARRIED_AGAIN, "more than is carried again");
    assert!(kept::keep(&directory, "mc", &read));
    let region_file = dir.path().join("mc.tacho");
    let aside = dir.path().join("aside");
    fs::rename(&region_file, &aside).expect("nothing is there");
    let found = kept::find(&directory, "mc").expect("what was put aside");
    assert_eq!((found.words.len(), found.dropped, found.damaged), (read.words.len(), 0, 0));
    assert_eq!((found.uuid, found.restarts), (read.uuid, read.restarts));

    // Beside a region it is of no meaning: that holds its totals itself, and is read.
    fs::rename(&aside, &region_file).expect("nothing is there");
    let region = build(OnExisting::Adopt);
    assert_eq!((count(&region), region.adopted().expect("continued").restarts), (1, 1));
    region.close();
    assert!(kept::find(&directory, "mc").is_none(), "removed");

    // A start that continues nothing begins at 0, for those after it as well.
    assert!(kept::keep(&directory, "mc", &read));
    fs::remove_file(&region_file).expect("it is there");
    let region = build(OnExisting::Archive);
    assert_eq!(count(&region), 0);
    assert!(kept::find(&directory, "mc").is_none(), "removed");
    region.close();

    // Where nothing has the name, it is continued.
    fs::remove_file(&region_file).expect("it is there");
    assert!(kept::keep(&directory, "mc", &read));
    let region = build(OnExisting::Adopt);
    assert_eq!((count(&region), region.adopted().expect("continued").restarts), (1, 1));
    assert!(kept::find(&directory, "mc").is_none(), "removed");
}
