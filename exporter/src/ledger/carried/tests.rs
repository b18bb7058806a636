//! A carried total is either in a series of the region or beside it, whenever either of the two was read.

use tachograph::OnExisting;

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
