//! How a region that counts by itself goes from what it showed to what it shows.

use super::*;
use crate::ledger::folded::tests::{counter, picture, region, shown};
use crate::schema::{Damage, Family, Kind, Number};

fn new() -> (Standing, Folded) {
    let standing = Standing { identity: region(1, 0), reader: None, pictures: Vec::new(), alive: true, aside: None };
    (standing, Folded::default())
}

/// A picture of a region whose structure is damaged.
fn damaged(picture: &Snapshot) -> Arc<Snapshot> {
    let mut schema = (*picture.schema).clone();
    schema.damaged.push(Damage { place: "series 1".into(), what: "its labels are not text".into() });
    Arc::new(Snapshot { schema: Arc::new(schema), ..picture.clone() })
}

#[test]
fn what_a_living_region_shows_no_more_is_folded() {
    let (mut standing, mut folded) = new();
    standing.show(picture(&counter(), &[("a=\"1\"", &[7]), ("a=\"2\"", &[5])]), true, &mut folded);
    assert_eq!(shown(&mut folded), []);
    standing.show(picture(&counter(), &[("a=\"1\"", &[9])]), true, &mut folded);
    assert_eq!(shown(&mut folded), [("a=\"2\"".to_owned(), vec![5])]);
}

#[test]
fn a_damaged_region_stays_as_it_was_last_seen_whole() {
    let (mut standing, mut folded) = new();
    let whole = picture(&counter(), &[("a=\"1\"", &[7]), ("a=\"2\"", &[5])]);
    let less = damaged(&picture(&counter(), &[("a=\"1\"", &[6])]));
    standing.show(Arc::clone(&less), true, &mut folded);
    assert_eq!(standing.pictures[0].lane, [6], "seen for the first time, it shows what there is");
    standing.show(Arc::clone(&whole), true, &mut folded);
    standing.show(Arc::clone(&less), true, &mut folded);
    assert!(standing.alive && Arc::ptr_eq(&standing.pictures[0], &whole));
    standing.show(less, false, &mut folded);
    assert!(!standing.alive && standing.pictures[0].lane == [7, 5]);
    assert_eq!(shown(&mut folded), [], "nothing of it is gone");
}

#[test]
fn levels_die_with_their_region_where_its_last_values_can_not_be_read() {
    let level =
        Family { label_names: Vec::new(), ..Family::new("app_level", "A level", Kind::UpDownCounter, Number::I64) };
    let (mut standing, mut folded) = new();
    let seen = picture(&level, &[("", &[7, 2])]);
    standing.show(Arc::clone(&seen), true, &mut folded);
    standing.show(damaged(&seen), false, &mut folded);
    assert_eq!(standing.pictures[0].schema.families, []);
    let (mut standing, mut folded) = new();
    standing.show(seen, true, &mut folded);
    standing.leave(&mut folded);
    assert!(standing.pictures[0].schema.families.is_empty() && !standing.alive && standing.aside.is_some());
}
