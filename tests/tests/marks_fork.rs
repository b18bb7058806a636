//! Activities, pulses and notes in a forked child: they write into nothing, and the child's own region has its own.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::time::Duration;

use tachograph::{MarkError, NoteLevel, Region};
use tachograph_exporter::RegionReader;
use tachograph_exporter::evidence::ActivityState;
use tachograph_tests::raw::{exit_code, fork_child};
use tachograph_tests::tmpfs;

#[test]
fn a_child_marks_into_nothing() {
    let folder = tmpfs::folder();
    let region = Region::builder("parent").dir(folder.path()).build().expect("a region");
    let doing = region.doing("parents-work").expect("a doing");
    let second = std::cell::RefCell::new(Some(region.activity("actor", "second", 5)));
    let first = std::cell::RefCell::new(region.activity("actor", "first", 5));
    let pulse = std::cell::RefCell::new(region.pulse("loop", Duration::from_secs(60)).expect("a pulse"));
    region.note(NoteLevel::Warn, "the parent's");

    let child = fork_child(|| {
        first.borrow_mut().begin(doing);
        first.borrow_mut().end();
        first.borrow().mailbox().inc();
        drop(second.take());
        pulse.borrow_mut().beat();
        region.note(NoteLevel::Error, "the child's");
        if region.activity("actor", "late", 0).has_slot()
            || !matches!(region.pulse("late", Duration::from_secs(1)), Err(MarkError::Ended { .. }))
            || !matches!(region.doing("late"), Err(MarkError::Ended { .. }))
        {
            return 1;
        }
        let Ok(own) = Region::builder("child").dir(folder.path()).build() else { return 2 };
        own.note(NoteLevel::Info, "of its own");
        let Ok(work) = own.doing("childs-work") else { return 3 };
        let mut activity = own.activity("actor", "third", 0);
        activity.begin(work);
        std::mem::forget(activity);
        0
    });
    let child_id = child.as_raw();
    assert_eq!(exit_code(child), 0);

    let read = |name: &str| {
        RegionReader::open(&folder.path().join(format!("{name}.tacho")))
            .expect("a region")
            .evidence()
            .expect("evidence")
    };
    let parent = read("parent");
    let told: Vec<_> = parent.activities.actors.iter().map(|actor| (actor.actor.id.as_str(), actor.state)).collect();
    assert_eq!(told, [("second", ActivityState::Live), ("first", ActivityState::Live)]);
    assert!(parent.activities.actors.iter().all(|actor| actor.handled == 0 && actor.mailbox_depth == 0));
    assert_eq!((parent.pulses.loops[0].count, parent.activities.overflows), (0, 0));
    let lines: Vec<&str> = parent.notes.lines.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(lines, ["the parent's"]);

    let own = read("child");
    assert_eq!(
        (own.notes.lines[0].text.as_str(), own.activities.actors[0].doing.as_deref()),
        ("of its own", Some("childs-work"))
    );
    assert_eq!(own.notes.lines[0].thread_id, child_id as u64, "the thread's id is asked anew in the child");

    first.borrow_mut().begin(doing);
    assert_eq!(read("parent").activities.actors[1].doing.as_deref(), Some("parents-work"), "the parent goes on");
}
