//! What is folded, and what is not any more: falls, losses, and the bounds of the set and of the list.

use super::*;
use crate::Number;
use crate::ledger::gone::Identity;

pub(in crate::ledger) fn counter() -> Family {
    Family { label_names: vec!["a".into()], ..Family::new("app_x_total", "Some", Kind::Counter, Number::U64) }
}

/// A picture of one family with these series.
pub(in crate::ledger) fn picture(family: &Family, all: &[(&str, &[u64])]) -> Arc<Snapshot> {
    let (mut schema, mut lane) = (Schema::default(), Vec::new());
    for (labels, cells) in all {
        schema.series.push(total(0, labels, 5, lane.len(), cells.len()));
        lane.extend_from_slice(cells);
    }
    schema.families.push(Family { series: 0..all.len(), ..family.clone() });
    Arc::new(Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), lane, Vec::new()).unwrap())
}

/// The same structure with other values.
fn later(picture: &Snapshot, lane: &[u64]) -> Arc<Snapshot> {
    Arc::new(Snapshot { lane: lane.to_vec(), ..picture.clone() })
}

pub(in crate::ledger) fn shown(folded: &mut Folded) -> Vec<(String, Vec<u64>)> {
    let picture = folded.picture();
    let series = picture.schema.series.iter();
    series
        .map(|one| (one.labels.to_owned(), picture.lane[one.cell as usize..][..one.cells as usize].to_vec()))
        .collect()
}

/// What was folded on the way from one to the other.
fn settled(before: &Arc<Snapshot>, now: &Arc<Snapshot>) -> Vec<(String, Vec<u64>)> {
    let mut folded = Folded::default();
    settle(&mut folded, &[Arc::clone(before)], &[Arc::clone(now)]);
    shown(&mut folded)
}

#[test]
fn a_total_that_falls_began_anew_and_what_it_was_stays() {
    let before = picture(&counter(), &[("a=\"1\"", &[7]), ("a=\"2\"", &[5])]);
    let fell = vec![("a=\"1\"".to_owned(), vec![7])];
    assert_eq!(settled(&before, &later(&before, &[3, 6])), fell, "of one structure");
    let other = picture(&counter(), &[("a=\"2\"", &[6]), ("a=\"1\"", &[3])]);
    assert_eq!(settled(&before, &other), fell, "of another");
    assert_eq!(settled(&before, &later(&before, &[7, 5])), []);
    let real = Family { number: Number::F64, ..counter() };
    let before = picture(&real, &[("a=\"1\"", &[0.5_f64.to_bits()])]);
    assert_eq!(settled(&before, &later(&before, &[0.25_f64.to_bits()]))[0].1, [0.5_f64.to_bits()]);
    assert_eq!(settled(&before, &later(&before, &[2.0_f64.to_bits()])), []);
}

#[test]
fn a_histogram_falls_where_a_bucket_does_and_its_sum_may() {
    let family = Family { kind: Kind::HistogramBounds, bounds: vec![1.0], label_names: Vec::new(), ..counter() };
    let before = picture(&family, &[("", &[3, 4, 9])]);
    assert_eq!(settled(&before, &later(&before, &[3, 5, 2])), [], "what was observed may be negative");
    assert_eq!(settled(&before, &later(&before, &[2, 5, 10])), [(String::new(), vec![3, 4, 9])]);
}

#[test]
fn a_series_that_goes_stays_and_levels_do_not() {
    let before = picture(&counter(), &[("a=\"1\"", &[7]), ("a=\"2\"", &[5])]);
    assert_eq!(settled(&before, &picture(&counter(), &[("a=\"1\"", &[7])])), [("a=\"2\"".to_owned(), vec![5])]);
    let level = Family { kind: Kind::UpDownCounter, number: Number::I64, ..counter() };
    let before = picture(&level, &[("a=\"1\"", &[7, 1])]);
    assert_eq!(settled(&before, &picture(&level, &[])), []);
    let mut folded = Folded::default();
    folded.add(&before);
    assert_eq!(shown(&mut folded), []);
    assert!(totals_of(&before).schema.families.is_empty());
}

#[test]
fn the_set_is_bounded_and_says_what_found_no_room() {
    let mut folded = Folded::default();
    let labels: Vec<String> = (0..MOST_SERIES + 3).map(|number| format!("a=\"{number}\"")).collect();
    let all: Vec<(&str, &[u64])> = labels.iter().map(|labels| (labels.as_str(), &[1][..])).collect();
    let picture = picture(&counter(), &all);
    folded.add(&picture);
    assert_eq!((folded.picture().schema.series.len(), folded.left_out), (MOST_SERIES, 3));
    folded.add(&picture);
    assert_eq!(folded.picture().lane[0], 2, "those that are there go on");
}

pub(in crate::ledger) fn region(number: u64, restarts: u64) -> Identity {
    let uuid = u128::from(number).to_le_bytes();
    Identity { uuid, name: "mc".into(), lineage_ns: number, restarts, created_ns: 1_000 + number }
}

#[test]
fn the_list_is_bounded_and_what_is_too_old_for_it_counts_as_folded() {
    let mut gone = Gone::default();
    (0..10_001).for_each(|number| gone.remember(region(number, 0)));
    assert_eq!((gone.all().len(), gone.count), (9_001, 10_001));
    assert!(gone.holds(&region(10_000, 0)) && gone.holds(&region(1_000, 0)) && gone.holds(&region(0, 0)));
    let unknown = Identity { created_ns: 1_999, ..region(90_000, 0) };
    assert!(gone.holds(&unknown), "it may have been one of the forgotten");
    assert!(!gone.holds(&Identity { created_ns: 2_000, ..unknown }));
}

#[test]
fn who_carries_whom_is_told_by_name_lineage_and_adoptions() {
    let mut gone = Gone::default();
    gone.remember(region(1, 3));
    let of_line = |restarts| Identity { uuid: [9; 16], ..region(1, restarts) };
    assert!(gone.holds(&of_line(2)) && !gone.holds_predecessor_of(&of_line(2)), "it is in the one that carried it");
    assert!(!gone.holds(&of_line(4)) && gone.holds_predecessor_of(&of_line(4)), "it would count that one again");
    assert!(!gone.holds(&of_line(3)) && !gone.holds_predecessor_of(&of_line(3)));
    for other in [Identity { name: "other".into(), ..of_line(2) }, Identity { lineage_ns: 2, ..of_line(2) }] {
        assert!(!gone.holds(&other) && !gone.holds_predecessor_of(&Identity { restarts: 4, ..other }));
    }
    gone.remember(region(1, 6));
    assert!(gone.holds(&of_line(5)) && gone.holds_predecessor_of(&of_line(5)));
}

#[test]
fn only_what_changed_is_written_again() {
    let mut folded = Folded::default();
    let labels: Vec<String> = (0..1_000).map(|number| format!("a=\"{number}\"")).collect();
    let all: Vec<(&str, &[u64])> = labels.iter().map(|labels| (labels.as_str(), &[1][..])).collect();
    folded.add(&picture(&counter(), &all));
    folded.regions.remember(region(1, 0));
    let (mut whole, mut read) = (Vec::new(), Folded::default());
    folded.put_whole(&mut whole);
    read.read(&mut Cursor::new(&whole)).unwrap();
    folded.is_written();
    assert!(!folded.is_changed());
    folded.add(&picture(&counter(), &[("a=\"5\"", &[9])]));
    folded.regions.remember(region(2, 0));
    let mut change = Vec::new();
    folded.put_changed(&mut change);
    assert!(folded.is_changed() && change.len() < 300, "{} bytes for one of {}", change.len(), whole.len());
    read.read(&mut Cursor::new(&change)).unwrap();
    assert_eq!(shown(&mut read), shown(&mut folded));
    assert_eq!((read.regions.all(), read.regions.count), (folded.regions.all(), 2));
}

#[test]
fn a_label_set_is_folded_once_and_settled_in_whichever_order_its_labels_are() {
    let family = |names: &[&str]| Family { label_names: names.iter().map(|&name| name.into()).collect(), ..counter() };
    let old = |value| picture(&family(&["b", "a"]), &[("b=\"2\",a=\"1\"", &[value])]);
    let new = |value| picture(&family(&["a", "b", "c"]), &[("a=\"1\",b=\"2\",c=\"\"", &[value])]);
    let one = |value: u64| vec![("a=\"1\",b=\"2\"".to_owned(), vec![value])];
    assert_eq!(settled(&old(7), &new(8)), []);
    assert_eq!(settled(&old(7), &new(3)), one(7), "it began anew");
    let mut folded = Folded::default();
    settle(&mut folded, &[old(7)], &[new(3), old(7)]);
    assert_eq!(shown(&mut folded), [], "the heir registered it in another order, and carries what there was");
    settle(&mut folded, &[new(3), old(7)], &[old(10)]);
    assert_eq!(shown(&mut folded), [], "and the next one had both");
    settle(&mut folded, &[new(3), old(7)], &[old(9)]);
    assert_eq!(shown(&mut folded), one(10));
    folded.add(&new(5));
    assert_eq!(shown(&mut folded), one(15));
    let (mut whole, mut read) = (Vec::new(), Folded::default());
    folded.put_whole(&mut whole);
    read.read(&mut Cursor::new(&whole)).unwrap();
    assert_eq!(shown(&mut read), one(15));
}
