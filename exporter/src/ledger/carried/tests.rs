//! A carried total is either in a series of the region or beside it, whenever either of the two was read.

use bytemuck::Zeroable;
use tachograph::OnExisting;
use tachograph_layout::{CarriedFamily, CarriedSeries, CarriedSet};

use super::*;
use crate::RegionReader;
use crate::ledger::tests::{Folders, NAME, served, total};

#[test]
fn a_total_is_beside_a_region_until_it_is_shown_or_marked_as_taken() {
    let folders = Folders::new();
    let first = folders.region("a", OnExisting::Archive);
    served(&first).add(7);
    first.close();
    let heir = folders.region("a", OnExisting::Adopt);
    let reader = RegionReader::open(&folders.regions.path().join("a.tacho")).unwrap();
    let read = || (reader.carried(), reader.snapshot().unwrap());
    let (words, shown) = read();
    served(&heir).inc();
    let (words_after, shown_after) = read();
    assert_eq!(picture(&words, &shown).map(|beside| total(&beside, NAME)), Some(7));
    assert_eq!(total(&shown_after, NAME), 8);
    assert!(picture(&words, &shown_after).is_none(), "it is shown, and not marked yet");
    assert!(picture(&words_after, &shown).is_none(), "it is marked: the label set may be given up again");
}

#[test]
fn a_total_that_is_taken_between_the_two_readings_counts_once() {
    for between_and_not_behind in [false, true] {
        let folders = Folders::new();
        let first = folders.region("a", OnExisting::Archive);
        served(&first).add(7);
        first.close();
        let heir = folders.region("a", OnExisting::Adopt);
        let reader = RegionReader::open(&folders.regions.path().join("a.tacho")).unwrap();
        // It registers right behind one of the readings, whichever of them is first.
        let words = || {
            let words = reader.carried();
            if between_and_not_behind {
                served(&heir);
            }
            words
        };
        let shown = || {
            let shown = reader.snapshot().unwrap();
            if !between_and_not_behind {
                served(&heir);
            }
            Arc::new(shown)
        };
        let (shown, carried) = beside(words, shown);
        let carried = carried.map_or(0, |carried| total(&carried, NAME));
        assert_eq!(total(&shown, NAME) + carried, 7);
        assert_eq!(carried, if between_and_not_behind { 0 } else { 7 });
    }
}

#[test]
fn a_label_block_that_could_break_a_line_is_left_out() {
    let set = |labels| CarriedSet { at: 0, record: CarriedSeries::zeroed(), labels, cells: &[7] };
    let (kind, number) = (Kind::Counter.to_wire(), Number::U64.to_wire());
    let scale = 1.0_f64.to_bits();
    let entry = CarriedEntry {
        record: CarriedFamily { kind, number, scale, cells_per_series: 1, ..CarriedFamily::zeroed() },
        name: NAME,
        label_names: "a",
        bounds: &[],
        series: vec![set("a=\"1\"} 1\nb"), set("a=\"1\""), set("a=\"1\",a=\"2\"")],
    };
    let mut words = Vec::new();
    entry.append_to(&mut words);
    let none = Snapshot::from_parts(RegionInfo::default(), Arc::default(), Vec::new(), Vec::new()).unwrap();
    let beside = picture(&words, &none).unwrap();
    let labels: Vec<&str> = beside.schema.series.iter().map(|series| series.labels).collect();
    assert_eq!(labels, ["a=\"1\""]);
}
