//! A label set is one, whatever order a build names its labels in; and the ledger keeps it, as it does overflow series.

use tachograph::{Counter, Desc, OnExisting, OpenFamily, OpenRules, Region};

use super::tests::{Exporter, Folders, NAME, served};
use crate::Value;

#[test]
fn a_label_set_is_one_series_in_whichever_order_its_labels_are_and_keeps_its_place() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let shown = |exporter: &mut Exporter| -> Vec<(String, u64)> {
        let sum = exporter.scrape();
        let of = |index: usize| match sum.value(index) {
            Value::U64(value) => (sum.schema.series.get(index).expect("a series").labels.to_owned(), value),
            other => panic!("{other:?}"),
        };
        (0..sum.schema.series.len()).map(of).collect()
    };
    let start = |name: &str, labels: [&str; 2], sets: &[[&str; 2]]| {
        let region = folders.region(name, OnExisting::Archive);
        let family: OpenFamily<Counter, 2> =
            region.open_family(Desc::new(NAME, "Requests served"), labels, OpenRules::new(4)).unwrap();
        let leases: Vec<_> = sets.iter().map(|set| family.with(*set)).collect();
        leases.iter().for_each(tachograph::Lease::<Counter>::inc);
        (region, leases)
    };
    let first = start("first", ["b", "a"], &[["2", "9"], ["1", "1"]]);
    // An empty label is none.
    let _second = start("second", ["a", "b"], &[["1", "1"], ["9", "2"], ["0", "0"], ["", ""]]);
    let third = folders.region("third", OnExisting::Archive);
    served(&third).add(5);
    let block = |a: &str, b: &str| format!("a=\"{a}\",b=\"{b}\"");
    let all = [(String::new(), 6), (block("0", "0"), 1), (block("1", "1"), 2), (block("9", "2"), 2)];
    assert_eq!(shown(&mut exporter), all);
    // What is folded is still the same series, where it was.
    drop(first);
    let _again = start("first", ["b", "a"], &[["1", "1"]]);
    let all = [(String::new(), 6), (block("0", "0"), 1), (block("1", "1"), 3), (block("9", "2"), 2)];
    assert_eq!(shown(&mut exporter), all);
    assert_eq!(shown(&mut folders.exporter()), all);
}

/// A region with an open family of few label sets: what is beyond goes to the overflow series.
fn overflowing(folders: &Folders, on_existing: OnExisting, labels: [&str; 2]) -> (Region, u64) {
    let region = folders.region("a", on_existing);
    let family: OpenFamily<Counter, 2> =
        region.open_family(Desc::new(NAME, "Requests served"), labels, OpenRules::new(2)).unwrap();
    let sets = ["1", "2", "3", "4"].map(|value| family.with([value, "x"]));
    sets.iter().for_each(tachograph::Lease::<Counter>::inc);
    (region, sets.len() as u64)
}

#[test]
fn what_is_gone_is_read_again_whatever_labels_its_builds_had_and_with_its_overflow() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let mut counted = 0;
    for labels in [["b", "a"], ["a", "b"], ["a", "c"]] {
        let (region, count) = overflowing(&folders, OnExisting::Archive, labels);
        counted += count;
        assert_eq!(exporter.total(NAME), counted);
        assert_eq!(folders.exporter().total(NAME), counted, "{labels:?}");
        region.close();
    }
    drop(folders.region("a", OnExisting::Archive));
    assert_eq!((exporter.total(NAME), exporter.ledger.condition().folded), (counted, 3));
    std::fs::remove_dir_all(folders.regions.path().join("archive")).unwrap();
    assert_eq!(folders.exporter().total(NAME), counted);
    assert!(!folders.aside(1).exists(), "it was read");
}

#[test]
fn an_adopter_counts_for_the_overflow_before_it_and_for_labels_in_another_order() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let (first, count) = overflowing(&folders, OnExisting::Archive, ["b", "a"]);
    assert_eq!(exporter.total(NAME), count);
    first.close();
    let heir = folders.region("a", OnExisting::Adopt);
    assert_eq!(exporter.total(NAME), count, "nothing is registered yet");
    assert_eq!(folders.exporter().total(NAME), count, "to one that just came, too");
    heir.close();
    let mut counted = count;
    for labels in [["a", "b"], ["b", "a"], ["a", "b"]] {
        let (heir, more) = overflowing(&folders, OnExisting::Adopt, labels);
        counted += more;
        assert_eq!((exporter.total(NAME), folders.exporter().total(NAME)), (counted, counted), "{labels:?}");
        heir.close();
    }
}
