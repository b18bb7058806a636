//! Activities, pulses and notes from the writer's call to what a reader finds.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tachograph::{MarkError, NoteLevel, Region};
use tachograph_exporter::RegionReader;
use tachograph_exporter::evidence::{Activity, ActivityState, Evidence, Level};
use tachograph_tests::tmpfs;

tachograph::label_value! { enum Message: "message" { Join = "join", Leave = "leave" } }

fn evidence(region: &Region) -> Evidence {
    read(region.path().expect("a file"))
}

fn read(path: &Path) -> Evidence {
    RegionReader::open(path).expect("a region").evidence().expect("evidence")
}

fn actor<'a>(evidence: &'a Evidence, id: &str) -> &'a Activity {
    let mut found = evidence.activities.actors.iter().filter(|activity| activity.actor.id == id);
    let first = found.next().unwrap_or_else(|| panic!("no actor {id} in {:?}", evidence.activities));
    assert!(found.next().is_none(), "two of {id}");
    first
}

#[test]
fn an_actor_is_told_as_it_goes() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).build().expect("a region");
    let doings = region.doings::<Message>().expect("doings");
    let mut activity = region.activity("meeting", "stand-up", 500);
    let depth = activity.mailbox();
    depth.inc();
    depth.inc();
    let fresh = evidence(&region);
    let told = actor(&fresh, "stand-up");
    assert_eq!((told.actor.actor_type.as_str(), told.mailbox_depth, told.mailbox_capacity), ("meeting", 2, 500));
    assert_eq!((told.state, told.doing.as_deref(), told.handled), (ActivityState::Live, None, 0));
    assert!(told.claimed_realtime_ns > 0 && told.since_monotonic_ns > 0);

    depth.dec();
    activity.begin(doings.at(Message::Leave));
    let busy = evidence(&region);
    let told = actor(&busy, "stand-up");
    assert_eq!((told.doing.as_deref(), told.mailbox_depth, told.handled), (Some("leave"), 1, 0));
    assert!(told.busy_ns.expect("busy") < 60_000_000_000, "{told:?}");
    activity.end();
    let told = evidence(&region);
    assert_eq!((actor(&told, "stand-up").doing.as_deref(), actor(&told, "stand-up").handled), (None, 1));

    drop(activity);
    assert_eq!(actor(&evidence(&region), "stand-up").state, ActivityState::Ended);

    // One whose thread panics keeps what it was doing.
    let mut activity = region.activity("meeting", "retro", 500);
    let panicked = std::thread::spawn(move || {
        activity.begin(doings.at(Message::Join));
        panic!("planted");
    });
    assert!(panicked.join().is_err());
    let told = evidence(&region);
    let told = actor(&told, "retro");
    assert_eq!((told.state, told.doing.as_deref(), told.handled), (ActivityState::Unwound, Some("join"), 0));
}

#[test]
fn long_names_are_cut_at_a_character() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).build().expect("a region");
    let _long = region.activity(&"t".repeat(40), &format!("{}é", "i".repeat(31)), 0);
    let found = evidence(&region);
    let told = &found.activities.actors[0];
    assert_eq!((told.actor.actor_type.len(), told.actor.id.as_str()), (32, "i".repeat(31).as_str()));
}

#[test]
fn actors_beyond_the_slots_are_counted_and_slots_come_back() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).activities(2).build().expect("a region");
    let join = region.doing("join").expect("a doing");
    let first = region.activity("a", "first", 0);
    let second = region.activity("a", "second", 0);
    let mut third = region.activity("a", "third", 0);
    assert!(first.has_slot() && second.has_slot() && !third.has_slot());
    third.begin(join);
    third.end();
    third.mailbox().inc();
    let found = evidence(&region);
    let ids: Vec<&str> = found.activities.actors.iter().map(|activity| activity.actor.id.as_str()).collect();
    assert_eq!((ids, found.activities.overflows), (vec!["first", "second"], 1));

    // The one whose thread panicked is evidence: it goes last.
    assert!(std::thread::spawn(move || drop_panicking(first)).join().is_err());
    drop(second);
    let fourth = region.activity("a", "fourth", 0);
    let found = evidence(&region);
    let ids: Vec<&str> = found.activities.actors.iter().map(|activity| activity.actor.id.as_str()).collect();
    assert_eq!(ids, ["first", "fourth"]);
    let fifth = region.activity("a", "fifth", 0);
    assert!(fifth.has_slot(), "where there is no other, it goes");
    assert!(!region.activity("a", "sixth", 0).has_slot());
    // Whoever counts an actor's mailbox keeps its slot from the next.
    let depth = fourth.mailbox();
    drop(fourth);
    assert!(!region.activity("a", "seventh", 0).has_slot());
    depth.inc();
    assert_eq!(actor(&evidence(&region), "fourth").mailbox_depth, 1);
    drop(depth);
    assert!(region.activity("a", "eighth", 0).has_slot());
    assert_eq!(evidence(&region).activities.overflows, 3);
}

fn drop_panicking(_activity: tachograph::Activity) {
    panic!("planted");
}

/// Actors come and go under a reader: what it finds of a slot is one actor's.
#[test]
fn a_reader_never_mixes_two_actors() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).activities(8).build().expect("a region");
    let doings: Vec<_> = (0..100).map(|n| region.doing(&format!("{n}")).expect("a doing")).collect();
    let path = region.path().expect("a file").to_owned();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (region, doings, over) = (&region, &doings, &over);
            scope.spawn(move || {
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let number = (round * 3 + thread) % 100;
                    let mut activity = region.activity(&format!("t{number}"), &format!("{number}"), number);
                    activity.mailbox().set(number);
                    activity.begin(doings[number as usize]);
                    activity.end();
                }
            });
        }
        let reader = RegionReader::open(&path).expect("a region");
        let mut seen = 0_u64;
        while seen < 4_000 {
            for told in reader.evidence().expect("evidence").activities.actors {
                let number: u64 = told.actor.id.parse().expect("a number");
                assert_eq!(told.actor.actor_type, format!("t{number}"), "{told:?}");
                assert_eq!(told.mailbox_capacity, number, "{told:?}");
                assert!(told.mailbox_depth == 0 || told.mailbox_depth == number, "{told:?}");
                assert!(told.doing.as_ref().is_none_or(|doing| *doing == told.actor.id), "{told:?}");
                assert!(told.handled <= 1, "{told:?}");
                seen += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let found = evidence(&region).activities;
    assert_eq!((found.left_out, found.overflows), (0, 0));
}

#[test]
fn a_pulse_is_told_until_its_loop_ends() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).build().expect("a region");
    let mut pulse = region.pulse("control-loop", Duration::from_millis(1)).expect("a pulse");
    std::thread::sleep(Duration::from_millis(50));
    let found = evidence(&region).pulses.loops;
    assert_eq!((found.len(), found[0].name.as_str(), found[0].count), (1, "control-loop", 0));
    assert!(found[0].broken && found[0].age_ns >= 40_000_000, "{found:?}");
    let before = found[0].beat_monotonic_ns;
    pulse.beat();
    let found = evidence(&region).pulses.loops;
    assert!(found[0].beat_monotonic_ns > before && found[0].count == 1, "{found:?}");

    let taken = region.pulse("control-loop", Duration::from_secs(1)).expect_err("two of a name");
    assert!(matches!(taken, MarkError::Taken { .. }), "{taken}");
    drop(pulse);
    assert!(evidence(&region).pulses.loops.is_empty(), "a loop that ended promises nothing");
    let many: Vec<_> = (0..64).map(|n| region.pulse(&format!("{n}"), Duration::from_secs(9)).expect("room")).collect();
    let full = region.pulse("one more", Duration::from_secs(9)).expect_err("no slot");
    assert_eq!(
        full.to_string(),
        "pulse `one more` finds no room: region `acts` holds 64 pulses, 0 are left: drop those whose loops ended"
    );
    drop(many);
    for (name, age) in [("", Duration::from_secs(1)), (&*"x".repeat(33), Duration::from_secs(1)), ("x", Duration::ZERO)]
    {
        assert!(matches!(region.pulse(name, age), Err(MarkError::Rule { .. })), "{name:?} {age:?}");
    }
    let clone = region.clone();
    region.close();
    assert!(matches!(clone.pulse("late", Duration::from_secs(1)), Err(MarkError::Ended { .. })));
    assert!(matches!(clone.doing("late"), Err(MarkError::Ended { .. })));
    assert!(!clone.activity("a", "late", 0).has_slot());
    clone.note(NoteLevel::Info, "last words");
}

#[test]
fn doings_take_string_bytes_once() {
    let region = Region::builder("acts").string_bytes(1).private().expect("a region");
    let first = region.doing("first").expect("room");
    let mut taken = 1;
    let full = loop {
        match region.doing(&format!("{taken:0256}")) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "strings are never exhausted");
    };
    assert!(matches!(&full, MarkError::Full { unit: "string bytes", .. }), "{full}");
    assert_eq!(region.doing("first").expect("known"), first);
    assert!(matches!(region.doing(""), Err(MarkError::Rule { .. })));
    assert!(matches!(region.doing(&"x".repeat(257)), Err(MarkError::Rule { .. })));
}

#[test]
fn notes_are_the_latest_of_all_threads() {
    let folder = tmpfs::folder();
    let region = Region::builder("acts").dir(folder.path()).build().expect("a region");
    region.note(NoteLevel::Error, format_args!("{}é", "x".repeat(215)));
    region.note(NoteLevel::Warn, "two");
    let found = evidence(&region).notes;
    assert_eq!((found.written, found.lines.len()), (2, 2));
    assert_eq!((found.lines[0].level, found.lines[0].text.as_str()), (Level::Error, "x".repeat(215).as_str()));
    assert_eq!((found.lines[1].level, found.lines[1].text.as_str()), (Level::Warn, "two"));
    assert_eq!(found.lines[1].thread_id, u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
    assert!(found.lines[1].at.realtime_ns >= found.lines[0].at.realtime_ns);

    let reader = RegionReader::open(region.path().expect("a file")).expect("a region");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let region = &region;
                scope.spawn(move || {
                    for round in 0..5_000 {
                        region.note(NoteLevel::Info, format_args!("{thread} {round} {thread} {round}"));
                    }
                })
            })
            .collect();
        let over = &over;
        scope.spawn(move || {
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            for line in reader.evidence().expect("evidence").notes.lines.iter().filter(|line| line.number > 2) {
                let half = line.text.len() / 2;
                assert_eq!(line.text[..half], line.text[half + 1..], "{line:?}");
            }
        }
    });
    let found = evidence(&region).notes;
    assert_eq!((found.written, found.left_out), (20_002, 0));
    assert!(found.lines.len() > 200, "{} notes of the last 256", found.lines.len());
}
