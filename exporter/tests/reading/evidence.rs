//! What a region holds beside its values: read as it was written, and left out where it was torn or makes no sense.

use tachograph_exporter::RegionReader;
use tachograph_exporter::evidence::{ActivityState, Evidence, Level, Moment, Sender};
use tachograph_layout::{
    ActivityRecord, Control, CrashSlots, FatalRecord, Header, NoteRecord, PanicRecord, PulseRecord, SectionKind,
    SlotState, SlotWord,
};

use crate::builder::{Region, directory, hold_lock, lock_file};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// The moment of the last tick of every region here.
pub(crate) const TICK: Moment = Moment { realtime_ns: 1_700_000_100 * SECOND, monotonic_ns: 100 * SECOND };

fn live() -> u64 {
    SlotWord::new(0, SlotState::Live).bits()
}

pub(crate) fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// A region with a last tick and one of each thing.
pub(crate) fn region() -> Region {
    let mut region = Region::full("mc-0");
    region.edit::<Header>(SectionKind::Header, 0, |header| {
        (header.created_realtime_ns, header.created_monotonic_ns) = (1_700_000_000 * SECOND, 0);
    });
    region.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
    region.control(Control::TICK_MONOTONIC_NS, TICK.monotonic_ns);
    let doing = region.string("Join");
    region.record(
        SectionKind::Activities,
        0,
        &ActivityRecord {
            state: live(),
            type_len: 7,
            id_len: 4,
            actor_type: bytes("meeting"),
            actor_id: bytes("m\u{1b}-7"),
            mailbox_capacity: 64,
            claimed_realtime_ns: 1_700_000_001 * SECOND,
            doing: u64::from(doing.len) << 32 | u64::from(doing.offset),
            since_monotonic_ns: 60 * SECOND,
            mailbox_depth: 64,
            handled: 9,
            ..bytemuck::Zeroable::zeroed()
        },
    );
    region.control(Control::ACTIVITIES_USED, 1);
    region.record(
        SectionKind::Pulses,
        0,
        &PulseRecord {
            count: 5,
            beat_monotonic_ns: 90 * SECOND,
            state: live(),
            max_age_ns: 4 * SECOND,
            name_len: 7,
            name: bytes("control"),
            ..bytemuck::Zeroable::zeroed()
        },
    );
    region.control(Control::PULSES_USED, 1);
    note(&mut region, 3, "third");
    region.control(Control::NOTES_WRITTEN, 3);
    for slot in [CrashSlots::FIRST_PANIC, CrashSlots::PANIC_RING] {
        panic(&mut region, slot, 1, "left == right\n  left: 1");
    }
    region.control(Control::PANICS_SEEN, 1);
    let mut frames = [0; 64];
    frames[..3].copy_from_slice(&[0x5500_1234, 0x10, 0x7fff_0000_1234]);
    region.record(
        SectionKind::Crash,
        CrashSlots::FATAL,
        &FatalRecord {
            sequence: 1,
            claim: 4711,
            realtime_ns: TICK.realtime_ns + SECOND,
            monotonic_ns: TICK.monotonic_ns + SECOND,
            signal: 11,
            code: 1,
            address: 0x20,
            activity: 1,
            frame_count: 3,
            thread_name: *b"sixteen-bytes-lo",
            image_base: 0x5500_0000,
            frames,
            ..bytemuck::Zeroable::zeroed()
        },
    );
    region
}

pub(crate) fn note(region: &mut Region, number: u64, text: &str) {
    region.record(
        SectionKind::Notes,
        number - 1,
        &NoteRecord {
            sequence: number,
            realtime_ns: 1_700_000_050 * SECOND,
            monotonic_ns: 50 * SECOND,
            level: 2,
            len: text.len() as u32,
            thread_id: 12,
            text: bytes(text),
        },
    );
}

pub(crate) fn panic(region: &mut Region, slot: u64, number: u64, message: &str) {
    region.record(
        SectionKind::Crash,
        slot,
        &PanicRecord {
            sequence: number,
            realtime_ns: 1_700_000_070 * SECOND,
            monotonic_ns: 70 * SECOND,
            thread_id: 12,
            activity: 1,
            message_len: message.len() as u32,
            place_len: 13,
            thread_name: bytes("worker"),
            place: bytes("src/a.rs:1:22"),
            message: bytes(message),
            ..bytemuck::Zeroable::zeroed()
        },
    );
}

/// The evidence of a region whose writer is dead.
fn dead(region: &Region) -> Evidence {
    let directory = directory();
    lock_file(directory.path(), "mc-0");
    RegionReader::open(&region.write(directory.path())).unwrap().evidence().unwrap()
}

#[test]
fn each_thing_is_read_as_it_was_written() {
    let evidence = dead(&region());
    let [actor] = evidence.activities.actors.as_slice() else { panic!("{evidence:?}") };
    assert_eq!((actor.actor.actor_type.as_str(), actor.actor.id.as_str()), ("meeting", "m\u{fffd}-7"));
    assert_eq!((actor.doing.as_deref(), actor.state, actor.handled), (Some("Join"), ActivityState::Live, 9));
    assert_eq!((actor.mailbox_depth, actor.mailbox_capacity), (64, 64));
    let [pulse] = evidence.pulses.loops.as_slice() else { panic!("{evidence:?}") };
    assert_eq!((pulse.name.as_str(), pulse.count, pulse.broken), ("control", 5, true));
    let [note] = evidence.notes.lines.as_slice() else { panic!("{evidence:?}") };
    assert_eq!((note.number, note.level, note.text.as_str(), note.thread_id), (3, Level::Warn, "third", 12));
    assert_eq!((evidence.notes.written, evidence.notes.lost), (3, 2), "two are not in the ring");
    let panic = evidence.panics.first.as_ref().unwrap();
    assert_eq!((panic.message.as_str(), panic.place.as_str()), ("left == right   left: 1", "src/a.rs:1:22"));
    assert_eq!((panic.by.thread_name.as_str(), &panic.by.actor), ("worker", &Some(actor.actor.clone())));
    assert_eq!((evidence.panics.latest.len(), evidence.panics.lost), (1, 0), "the first is in the ring, too");
    let fatal = evidence.fatal.as_ref().unwrap();
    assert_eq!((fatal.name.as_str(), fatal.code_name.as_deref()), ("SIGSEGV", Some("SEGV_MAPERR")));
    assert_eq!((fatal.address, fatal.by.thread_id, fatal.sender), (Some(0x20), 4711, None));
    assert_eq!((fatal.by.thread_name.as_str(), fatal.by.activity), ("sixteen-bytes-lo", Some(0)));
    let offsets: Vec<Option<u64>> = fatal.frames.iter().map(|frame| frame.offset).collect();
    assert_eq!(offsets, [Some(0x1234), None, None], "below the executable, and in a library");
    let json = serde_json::to_value(&evidence).unwrap();
    assert_eq!(json["fatal"]["frames"][0]["offset"], "0x1234");
    assert_eq!(json["activities"]["actors"][0]["type"], "meeting");
    let left_out =
        [evidence.activities.left_out, evidence.pulses.left_out, evidence.notes.left_out, evidence.panics.left_out];
    assert_eq!(left_out, [0; 4]);
}

#[test]
fn a_signal_that_was_sent_has_a_sender_and_no_address() {
    let mut region = region();
    region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
        (fatal.code, fatal.sender_pid, fatal.sender_uid) = (0, 77, 1000);
    });
    let fatal = dead(&region).fatal.unwrap();
    assert_eq!((fatal.address, fatal.sender), (None, Some(Sender { pid: 77, uid: 1000 })));
    assert_eq!(fatal.code_name.as_deref(), Some("SI_USER"));
}

#[test]
fn ages_count_to_the_last_sign_of_life_of_a_dead_writer() {
    let evidence = dead(&region());
    assert_eq!(evidence.until.monotonic_ns, 101 * SECOND, "the fatal signal came after the last tick");
    assert_eq!(evidence.activities.actors[0].busy_ns, Some(41 * SECOND));
    assert_eq!(evidence.pulses.loops[0].age_ns, 11 * SECOND);
}

#[test]
fn a_clock_that_was_set_back_makes_no_age_negative() {
    let mut region = region();
    region.control(Control::TICK_REALTIME_NS, 5);
    region.record(SectionKind::Crash, CrashSlots::FATAL, &<FatalRecord as bytemuck::Zeroable>::zeroed());
    let evidence = dead(&region);
    assert_eq!(evidence.until, Moment { realtime_ns: 5, monotonic_ns: 100 * SECOND });
    assert_eq!(evidence.activities.actors[0].busy_ns, Some(40 * SECOND));
}

#[test]
fn ages_of_a_living_writer_count_to_now() {
    let directory = directory();
    let path = region().write(directory.path());
    let _lock = hold_lock(directory.path(), "mc-0");
    let reader = RegionReader::open(&path).unwrap();
    let (before, after) = (reader.evidence().unwrap(), reader.evidence().unwrap());
    assert!(before.until.monotonic_ns <= after.until.monotonic_ns && before.until.realtime_ns > TICK.realtime_ns);
    assert_eq!(before.activities.actors[0].busy_ns, Some(before.until.monotonic_ns.saturating_sub(60 * SECOND)));
}

#[test]
fn what_is_half_written_is_left_out_and_counted() {
    let mut region = region();
    let being_written = 1 << 63;
    region.edit::<NoteRecord>(SectionKind::Notes, 2, |note| note.sequence |= being_written);
    region.edit::<PanicRecord>(SectionKind::Crash, CrashSlots::PANIC_RING, |panic| panic.sequence |= being_written);
    region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| fatal.sequence = 0);
    let building = SlotWord::new(1, SlotState::Building).bits();
    region.edit::<ActivityRecord>(SectionKind::Activities, 0, |record| record.state = building);
    region.edit::<PulseRecord>(SectionKind::Pulses, 0, |record| record.state = 0xffff_ffff);
    let evidence = dead(&region);
    assert_eq!((evidence.notes.lines.len(), evidence.notes.left_out, evidence.notes.lost), (0, 1, 2));
    assert_eq!((evidence.panics.latest.len(), evidence.panics.left_out, evidence.panics.lost), (0, 1, 0));
    assert_eq!((evidence.fatal.clone(), evidence.fatal_unfinished), (None, Some(4711)));
    assert_eq!((evidence.activities.actors.len(), evidence.activities.left_out), (0, 1));
    assert_eq!((evidence.pulses.loops.len(), evidence.pulses.left_out), (0, 1));
    assert_eq!(evidence.panics.first.unwrap().by.actor, None, "whose slot can't be read");
}

#[test]
fn lengths_and_references_beyond_their_fields_are_capped() {
    let mut region = region();
    region.edit::<NoteRecord>(SectionKind::Notes, 2, |note| {
        (note.len, note.text) = (u32::MAX, [b'x'; 216]);
        note.text[213..].copy_from_slice(b"\x1b\xe2\x82");
    });
    region.edit::<PanicRecord>(SectionKind::Crash, CrashSlots::FIRST_PANIC, |panic| {
        (panic.message_len, panic.frame_count, panic.activity) = (u32::MAX, u64::MAX, u64::MAX);
        panic.message = [0xff; 1024];
    });
    region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
        (fatal.signal, fatal.code, fatal.frame_count, fatal.monotonic_ns) = (u32::MAX, i32::MIN, u64::MAX, u64::MAX);
    });
    region.edit::<ActivityRecord>(SectionKind::Activities, 0, |record| {
        (record.doing, record.type_len, record.since_monotonic_ns) = (u64::MAX, u32::MAX, u64::MAX);
    });
    region.edit::<PulseRecord>(SectionKind::Pulses, 0, |record| record.name_len = u64::MAX);
    for mark in [Control::ACTIVITIES_USED, Control::PULSES_USED, Control::NOTES_WRITTEN, Control::PANICS_SEEN] {
        region.control(mark, u64::MAX);
    }
    let evidence = dead(&region);
    assert_eq!(evidence.notes.lines[0].text, format!("{}\u{fffd}", "x".repeat(213)), "cut on a character's edge");
    let first = evidence.panics.first.as_ref().unwrap();
    assert_eq!((first.message.chars().count(), first.frames.len(), &first.by.actor), (1024, 64, &None));
    let fatal = evidence.fatal.as_ref().unwrap();
    assert_eq!((fatal.name.as_str(), fatal.code_name.as_deref(), fatal.frames.len()), ("signal 4294967295", None, 64));
    let actor = &evidence.activities.actors[0];
    assert_eq!((actor.doing.as_deref(), actor.actor.actor_type.chars().count()), (Some("(damaged)"), 32));
    assert_eq!(evidence.pulses.loops[0].name.chars().count(), 32);
    assert_eq!(evidence.activities.actors.len(), 1, "the other slots are free");
}

#[test]
fn numbers_that_belong_in_another_slot_are_left_out() {
    let mut region = region();
    region.edit::<NoteRecord>(SectionKind::Notes, 2, |note| note.sequence = 5);
    region.edit::<PanicRecord>(SectionKind::Crash, CrashSlots::PANIC_RING, |panic| panic.sequence = 2);
    let evidence = dead(&region);
    assert_eq!((evidence.notes.lines.len(), evidence.notes.left_out), (0, 1));
    assert_eq!((evidence.panics.latest.len(), evidence.panics.left_out), (0, 1));
}

#[test]
fn an_actor_that_took_the_slot_later_is_not_the_one_that_panicked() {
    let mut region = region();
    region.edit::<ActivityRecord>(SectionKind::Activities, 0, |record| {
        record.claimed_realtime_ns = 1_700_000_080 * SECOND;
    });
    let evidence = dead(&region);
    assert_eq!((evidence.panics.first.unwrap().by.actor, evidence.fatal.unwrap().by.actor.is_some()), (None, true));
}

#[test]
fn a_panic_and_the_abort_that_followed_are_one_death() {
    let abort = |thread: u64, monotonic_ns: u64| {
        let mut region = region();
        region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
            (fatal.signal, fatal.code, fatal.claim, fatal.monotonic_ns) = (6, -6, thread, monotonic_ns);
        });
        region
    };
    let numbers = |region: &Region| dead(region).fatal_panics().iter().map(|panic| panic.number).collect::<Vec<_>>();
    // Thread 12 panicked after 70 s.
    assert_eq!(numbers(&abort(12, 71 * SECOND)), [1]);
    for (panicking, panics) in [(1, &[][..]), (2, &[1]), (3, &[1])] {
        let mut told = abort(12, 71 * SECOND);
        told.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| fatal.panicking = panicking);
        assert_eq!(numbers(&told), panics, "{panicking}: a panic that was caught is over, however short a time ago");
    }
    assert_eq!(numbers(&abort(13, 71 * SECOND)), [0; 0], "another thread called abort");
    assert_eq!(numbers(&abort(12, 90 * SECOND)), [0; 0], "that panic was survived");
    assert_eq!(numbers(&abort(12, 69 * SECOND)), [0; 0], "it panicked later");
    assert_eq!(numbers(&region()), [0; 0], "SIGSEGV is no abort");
    let mut twice = abort(12, 71 * SECOND);
    panic(&mut twice, CrashSlots::PANIC_RING + 1, 2, "no tea either");
    assert_eq!(numbers(&twice), [2], "the last one");
    panic(&mut twice, CrashSlots::PANIC_RING + 1, 2, "panic in a function that cannot unwind");
    assert_eq!(numbers(&twice), [1, 2], "what could not unwind, first");
    let mut cleanup = abort(12, 71 * SECOND);
    panic(&mut cleanup, CrashSlots::PANIC_RING + 1, 2, "out of tea");
    panic(&mut cleanup, CrashSlots::PANIC_RING + 2, 3, "no cup to drop");
    panic(&mut cleanup, CrashSlots::PANIC_RING + 3, 4, "panic in a destructor during cleanup");
    assert_eq!(
        numbers(&cleanup),
        [2, 3, 4],
        "what was unwinding and what panicked meanwhile; the one before was survived"
    );
}
