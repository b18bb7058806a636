//! What makes each region count once, and as much as it showed: rules of the ledger that real regions rarely come to.

use tachograph::OnExisting;

use super::folded::tests::{counter, picture, region, shown};
use super::tests::{Folders, NAME, now, served, total};
use super::*;

#[test]
fn a_folded_region_that_comes_up_again_counts_nothing_nor_does_what_continues_it() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let first = folders.region("a", OnExisting::Archive);
    served(&first).add(7);
    assert_eq!(exporter.total(NAME), 7);
    first.close();
    let second = folders.region("a", OnExisting::Archive);
    served(&second).add(1);
    assert_eq!(exporter.total(NAME), 8);
    assert_eq!(exporter.ledger.condition().folded, 1);
    second.close();
    // Somebody puts the first one back.
    let file = folders.regions.path().join("a.tacho");
    let archived: Vec<_> = std::fs::read_dir(folders.regions.path().join("archive")).unwrap().flatten().collect();
    assert_eq!(archived.len(), 1);
    std::fs::rename(archived[0].path(), &file).unwrap();
    let counts_nothing = |exporter: &mut super::tests::Exporter| {
        let (sum, problems) = exporter.observe(now);
        assert_eq!(total(&sum.unwrap(), NAME), 8);
        assert!(problems.len() == 1 && problems[0].contains("a.tacho: not added up"), "{problems:?}");
    };
    counts_nothing(&mut exporter);
    let heir = folders.region("a", OnExisting::Adopt);
    served(&heir).add(100);
    counts_nothing(&mut exporter);
    counts_nothing(&mut folders.exporter());
}

#[test]
fn what_an_heir_does_not_carry_of_the_one_before_is_folded() {
    let folders = Folders::new();
    let mut ledger = folders.exporter().ledger;
    let both = picture(&counter(), &[("a=\"1\"", &[7]), ("a=\"2\"", &[5])]);
    let heir = picture(&counter(), &[("a=\"1\"", &[9])]);
    for (restarts, picture) in [(0, both), (1, heir)] {
        let identity = Identity { uuid: [restarts as u8; 16], ..region(1, restarts) };
        ledger.standing.insert(identity.uuid, stands_with(identity, picture));
    }
    ledger.drop_carried();
    assert_eq!(ledger.standing.keys().collect::<Vec<_>>(), [&[1; 16]]);
    assert_eq!(shown(&mut ledger.folded), [("a=\"2\"".to_owned(), vec![5])]);
}

fn stands_with(identity: Identity, picture: Arc<Snapshot>) -> Standing {
    Standing { identity, reader: None, pictures: vec![picture], alive: false, aside: Some(Instant::now()) }
}

#[test]
fn one_that_leaves_is_read_a_last_time_though_its_file_is_gone_and_its_lock_too() {
    for lock in [true, false] {
        let folders = Folders::new();
        let mut exporter = folders.exporter();
        let region = folders.region("a", OnExisting::Archive);
        served(&region).add(7);
        assert_eq!(exporter.total(NAME), 7);
        served(&region).add(1);
        region.close();
        for file in std::fs::read_dir(folders.regions.path()).unwrap().flatten() {
            if !lock || file.file_name() == "a.tacho" {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
        assert_eq!(exporter.total(NAME), 8, "its lock stands: {lock}");
        assert_eq!(folders.exporter().total(NAME), 8);
    }
}

#[test]
fn while_an_heir_can_not_be_read_the_one_before_waits_for_it() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let first = folders.region("a", OnExisting::Archive);
    served(&first).add(7);
    assert_eq!(exporter.total(NAME), 7);
    first.close();
    let heir = folders.region("a", OnExisting::Adopt);
    served(&heir).add(3);
    for _ in 0..2 {
        assert_eq!(total(&exporter.observe(|_| Now::Unreadable).0.unwrap(), NAME), 7);
        assert_eq!(exporter.ledger.condition().folded, 0);
    }
    assert_eq!(exporter.total(NAME), 10);
    assert_eq!(folders.exporter().total(NAME), 10);
}

#[test]
fn of_those_out_of_their_place_the_last_thousand_are_kept_apart() {
    let folders = Folders::new();
    let mut ledger = folders.exporter().ledger;
    let start = Instant::now();
    for number in 0..MOST_ASIDE as u64 + 3 {
        let mut one = stands_with(region(number, 0), picture(&counter(), &[("a=\"1\"", &[1 << (number % 20)])]));
        one.aside = Some(start + Duration::from_millis(number));
        ledger.standing.insert(one.identity.uuid, one);
    }
    ledger.fold(&[]);
    assert_eq!((ledger.standing.len(), ledger.folded.regions.count), (MOST_ASIDE, 3));
    assert_eq!(shown(&mut ledger.folded), [("a=\"1\"".to_owned(), vec![7])], "the first three went");
}

#[test]
fn what_was_folded_is_written_once() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let first = folders.region("a", OnExisting::Archive);
    served(&first).add(7);
    assert_eq!(exporter.total(NAME), 7);
    first.close();
    let second = folders.region("a", OnExisting::Archive);
    served(&second).add(1);
    assert_eq!((exporter.total(NAME), exporter.ledger.condition().folded), (8, 1));
    let bytes = std::fs::read(folders.ledger()).unwrap();
    assert_eq!(exporter.total(NAME), 8);
    assert!(std::fs::read(folders.ledger()).unwrap() == bytes, "nothing changed, so nothing was written");
    exporter.ledger.rewrite().unwrap();
    let bytes = std::fs::read(folders.ledger()).unwrap();
    assert_eq!(exporter.total(NAME), 8);
    assert!(std::fs::read(folders.ledger()).unwrap() == bytes, "nor behind a file that was made anew");
}

#[test]
fn a_total_that_is_registered_after_an_adopter_s_snapshot_counts_once() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let first = folders.region("a", OnExisting::Archive);
    served(&first).add(7);
    assert_eq!(exporter.total(NAME), 7);
    first.close();
    let heir = folders.region("a", OnExisting::Adopt);
    let register_then_see = |reader: &RegionReader| {
        let snapshot = reader.snapshot().unwrap();
        served(&heir).inc();
        Now::Lives(Some(Arc::new(snapshot)))
    };
    assert_eq!(total(&exporter.observe(register_then_see).0.unwrap(), NAME), 8);
    assert_eq!((exporter.total(NAME), folders.exporter().total(NAME)), (8, 8));
}
