//! The report on a region: its shape, what it says of each end, and that no byte of a file gets through it as it is.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value as Json;
use tachograph_exporter::case::{self, Case};
use tachograph_exporter::postmortem::{Known, Neighbours, Report, Source, Subject, UnfinishedState, page};
use tachograph_exporter::{Directories, RegionReader, Verdict};
use tachograph_layout::{
    ActivityRecord, Control, CrashHooks, CrashSlots, FatalRecord, Header, NoteRecord, PanicRecord, RegionState,
    SectionEntry, SectionKind, SlotState, SlotWord,
};

use crate::builder::{Region, directory, hold_lock, lock_file};
use crate::evidence::{SECOND, TICK, bytes, note, region};

fn report_on(path: &Path) -> Report {
    let directories = Directories::from_args(vec![path.parent().unwrap().to_owned()]);
    let reader = RegionReader::open(path).unwrap();
    Subject { reader: &reader, neighbours: &Neighbours::of(&directories), recorded: None, known: None }
        .report()
        .unwrap()
}

fn report(region: &Region) -> Report {
    let directory = directory();
    let _lock = lock_file(directory.path(), &region.name);
    report_on(&region.write(directory.path()))
}

/// A region whose thread panicked and then aborted; nothing in it depends on machine or moment.
fn aborted() -> Region {
    let mut region = region();
    region.edit::<Header>(SectionKind::Header, 0, |header| {
        (header.pid, header.tick_period_ns) = (4700, SECOND);
        header.boot_id = [0; 16];
        header.exe_len = 7;
        header.exe = bytes("/opt/mc");
        header.build_id_len = 2;
        header.build_id = [0; 64];
        header.build_id[..2].copy_from_slice(&[0xab, 0xcd]);
    });
    region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
        (fatal.signal, fatal.code, fatal.claim, fatal.sender_pid) = (6, -6, 4711, 4700);
    });
    let mut second = panic_record(2, "no route to m-9", TICK.monotonic_ns + SECOND - 1_000_000);
    second.thread_id = 4711;
    region.record(SectionKind::Crash, CrashSlots::PANIC_RING + 1, &second);
    region.control(Control::PANICS_SEEN, 2);
    region
}

fn panic_record(number: u64, message: &str, monotonic_ns: u64) -> PanicRecord {
    PanicRecord {
        sequence: number,
        realtime_ns: 1_700_000_000 * SECOND + monotonic_ns,
        monotonic_ns,
        thread_id: 12,
        message_len: message.len() as u32,
        place_len: 13,
        thread_name: bytes("worker"),
        place: bytes("src/b.rs:7:11"),
        message: bytes(message),
        frame_count: 2,
        image_base: 0x5500_0000,
        frames: {
            let mut frames = [0; 64];
            frames[..2].copy_from_slice(&[0x5500_1235, 0x5500_0200]);
            frames
        },
        ..bytemuck::Zeroable::zeroed()
    }
}

#[test]
fn the_report_has_this_shape() {
    let report = report(&aborted());
    let text = report.to_string().replace(&report.headline.path, "PATH");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reading/report.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap(), "UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn the_sections_stand_in_this_order() {
    let text = report(&aborted()).to_string();
    let mut from = 0;
    for title in [
        "mc-0 crashed at",
        "DIED OF",
        "FRAMES",
        "PANICS SURVIVED",
        "PROCESS, BUILD, HOST",
        "MEMORY",
        "STARTED AGAIN",
        "EVIDENCE",
        "WHAT HAPPENED",
        "UNFINISHED AT DEATH",
        "STOPPED FIRST",
        "MOVED MOST",
        "LAST VALUES AT AN EXTREME",
        "WHAT IT MAY MEAN (INFERRED, NOT KNOWN)",
    ] {
        from += text[from..].find(title).unwrap_or_else(|| panic!("{title} in {text}"));
    }
}

#[test]
fn json_says_what_the_text_says() {
    let report = report(&aborted());
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let mut expected = [
        "version",
        "headline",
        "died_of",
        "frames",
        "caught_panics",
        "process",
        "memory",
        "successor",
        "evidence",
        "from_case",
        "timeline",
        "unfinished",
        "stopped_first",
        "moved_most",
        "extremes",
        "may_mean",
        "not_linked",
        "not_known",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(json["version"], 1);
    let headline = &json["headline"];
    assert_eq!(
        (&headline["verdict"], &headline["cause"], &headline["why"]),
        (&"crashed".into(), &"signal".into(), &"SIGABRT".into())
    );
    assert_eq!(headline["at_seconds"], 1_700_000_101.0);
    assert_eq!(
        (&json["died_of"]["panic"]["message"], &json["died_of"]["signal"]["name"]),
        (&"no route to m-9".into(), &"SIGABRT".into())
    );
    assert_eq!(json["caught_panics"]["entries"].as_array().unwrap().len(), 1);
    assert_eq!(json["frames"]["frames"][0]["offset"], "0x1235");
    assert_eq!((&json["stopped_first"], &json["memory"]), (&Json::Null, &Json::Null));
    let sources = json["timeline"]["entries"].as_array().unwrap().iter().map(|line| line["source"].as_str().unwrap());
    let sources: std::collections::BTreeSet<&str> = sources.collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["activity", "crash", "note", "region"]);
    let actor = &json["unfinished"]["entries"][0];
    assert_eq!(
        (&actor["type"], &actor["doing"], &actor["state"]),
        (&"meeting".into(), &"Join".into(), &"panicked".into())
    );
    assert_eq!((&actor["mailbox_depth"], &actor["mailbox_capacity"]), (&64.into(), &64.into()));
}

#[test]
fn a_panic_of_another_thread_or_time_is_not_what_it_died_of() {
    let died_of = |edit: &dyn Fn(&mut Region)| {
        let mut region = aborted();
        edit(&mut region);
        report(&region).died_of.panic.map(|panic| panic.number)
    };
    let second = CrashSlots::PANIC_RING + 1;
    let fatal = |edit: fn(&mut FatalRecord)| {
        move |region: &mut Region| region.edit(SectionKind::Crash, CrashSlots::FATAL, edit)
    };
    let panic = |edit: fn(&mut PanicRecord)| move |region: &mut Region| region.edit(SectionKind::Crash, second, edit);
    assert_eq!(died_of(&|_| ()), Some(2));
    assert_eq!(died_of(&panic(|panic| panic.thread_id = 12)), None);
    assert_eq!(died_of(&panic(|panic| panic.monotonic_ns -= 60 * SECOND)), None);
    assert_eq!(died_of(&fatal(|fatal| fatal.signal = 11)), None, "a fault is no abort");
    // Main panicked and the process exited: the same death, told by the state.
    let exited = |main: u32| {
        move |region: &mut Region| {
            let none: FatalRecord = bytemuck::Zeroable::zeroed();
            region.record(SectionKind::Crash, CrashSlots::FATAL, &none);
            region.control(Control::STATE, RegionState::Exited.to_wire());
            region.control(Control::STATE_REALTIME_NS, TICK.realtime_ns + SECOND);
            region.edit::<Header>(SectionKind::Header, 0, |header| header.pid = main);
        }
    };
    assert_eq!((died_of(&exited(4711)), died_of(&exited(4712))), (Some(2), None), "only the main thread's");
}

#[test]
fn panics_that_were_unwinding_at_the_end_are_one_death_and_the_first_one_is_its_cause() {
    let mut region = aborted();
    let messages = ["out of tea", "no cup to drop", "panic in a destructor during cleanup"];
    for (number, message) in (2..).zip(messages) {
        let mut panic = panic_record(number, message, TICK.monotonic_ns + SECOND - 100_000_000 / number);
        panic.thread_id = 4711;
        region.record(SectionKind::Crash, CrashSlots::PANIC_RING + number - 1, &panic);
    }
    region.control(Control::PANICS_SEEN, 4);
    let report = report(&region);
    let died_of = report.died_of.panic.iter().chain(&report.died_of.further_panics);
    assert_eq!(died_of.map(|panic| panic.message.as_str()).collect::<Vec<_>>(), messages);
    let survived = report.caught_panics.entries.iter().map(|panic| panic.number);
    assert_eq!(survived.collect::<Vec<_>>(), [1], "{report}");
    let text = report.to_string();
    let death =
        "DIED OF\n  Panic: \"out of tea\" at src/b.rs:7:11, in thread worker (4711).\n  While that one was unwinding";
    assert!(text.contains(death), "{text}");
    assert!(text.contains("Then, the same death, the runtime gave up: "), "{text}");
    assert_eq!(text.matches("panic, survived: ").count(), 1, "{text}");
}

#[test]
fn what_may_have_killed_it_follows_from_whether_the_hooks_were_on() {
    let killed = |hooks: u64| {
        let mut region = Region::full("mc-0");
        region.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
        region.control(Control::CRASH_HOOKS, hooks);
        let report = report(&region);
        let of = |line: &&String| line.starts_with("What killed it: ");
        (report.died_of.signal.is_none(), report.not_known.iter().find(of).expect("it is not known").clone())
    };
    let (none, on) = killed(CrashHooks::On.to_wire());
    assert!(none && on.contains("hooks were on and recorded no signal, so it was SIGKILL, SIGTERM"), "{on}");
    let (_, off) = killed(CrashHooks::Off.to_wire());
    assert!(off.contains("hooks were off, so any signal may have"), "{off}");
    let (_, untold) = killed(0);
    assert!(untold.contains("whether its crash hooks were on is not told"), "{untold}");
}

#[test]
fn a_span_that_the_clock_of_activities_can_not_tell_is_said_to_be_less_than_some_periods() {
    let unfinished = |period_ns: u64, since_ns: u64| {
        let mut region = Region::full("mc-0");
        region.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
        region.control(Control::TICK_MONOTONIC_NS, TICK.monotonic_ns);
        region.edit::<Header>(SectionKind::Header, 0, |header| {
            (header.tick_period_ns, header.created_monotonic_ns) = (period_ns, 0);
        });
        let doing = region.string("Join");
        region.edit::<ActivityRecord>(SectionKind::Activities, 0, |record| {
            record.state = SlotWord::new(0, SlotState::Live).bits();
            (record.type_len, record.actor_type) = (4, bytes("till"));
            record.doing = u64::from(doing.len) << 32 | u64::from(doing.offset);
            record.since_monotonic_ns = TICK.monotonic_ns - since_ns;
        });
        region.control(Control::ACTIVITIES_USED, 1);
        let text = report(&region).to_string();
        let of = |what: &str| text.lines().find(|line| line.contains(what)).unwrap_or_default().trim().to_owned();
        (of("busy, in Join"), of("begins Join"))
    };
    let (now, begins) = unfinished(SECOND, 0);
    assert_eq!(now, "till : busy, in Join for less than 1.0s");
    assert!(begins.ends_with("till  begins Join (or up to 1.0s later)"), "{begins}");
    assert_eq!(unfinished(SECOND, 710_000_000).0, "till : busy, in Join for less than 1.0s");
    assert_eq!(unfinished(SECOND, 1_500_000_000).0, "till : busy, in Join for less than 2.0s");
    assert_eq!(unfinished(SECOND, 3 * SECOND).0, "till : busy, in Join for 3.0s");
    assert_eq!(unfinished(0, 710_000_000).0, "till : busy, in Join for 710ms", "its period is not told");
}

#[test]
fn a_fault_at_the_stack_pointer_is_told_as_a_stack_overflow_by_inference() {
    let report = |address: u64, signal: u32| {
        let mut region = aborted();
        region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
            (fatal.signal, fatal.code, fatal.address, fatal.stack) = (signal, 2, address, 0x7f00_0000_1000);
            (fatal.instruction, fatal.image_base) = (0x5500_4321, 0x5500_0000);
            (fatal.frames, fatal.frame_count) = ([0x5500_1234; 64], 64);
        });
        report(&region)
    };
    let overflow = report(0x7f00_0000_0ff8, 11);
    let inferred =
        |report: &Report| report.may_mean.iter().any(|text| text.contains(" overflowed: there was no memory"));
    assert!(overflow.died_of.at_stack_pointer && inferred(&overflow), "{overflow}");
    let text = overflow.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("and 65 frames are of 2 calls again and again"), "{text}");
    assert!(text.contains("executable 0x4321 0x1234 (64 times) build id"), "{text}");
    assert!(text.contains("addr2line -e /opt/mc -f -C -i 0x4321 0x1233 PANICS"), "each address once: {text}");
    assert!(text.contains("address 0x7f0000000ff8, at the stack pointer 0x7f0000001000)"), "{text}");
    for (address, signal) in [(0x7f00_0000_3000, 11), (0x20, 11), (0x7f00_0000_0ff8, 4)] {
        let other = report(address, signal);
        assert!(!other.died_of.at_stack_pointer && !inferred(&other), "{address:#x} of signal {signal}: {other}");
    }
}

#[test]
fn frames_of_a_survived_panic_are_shown_and_not_said_to_be_missing() {
    let mut region = Region::full("mc-0");
    let mut panic = panic_record(1, "no tea", TICK.monotonic_ns);
    panic.runtime_frames = 1;
    region.edit::<Header>(SectionKind::Header, 0, |header| (header.exe_len, header.exe) = (7, bytes("/opt/mc")));
    region.record(SectionKind::Crash, CrashSlots::PANIC_RING, &panic);
    region.control(Control::PANICS_SEEN, 1);
    let report = report(&region);
    let text = report.to_string();
    assert!(
        text.contains("FRAMES\n  none of its end were recorded; those of panics that it survived stand below\n"),
        "{text}"
    );
    let frames =
        "\n    frames (1 frame of the panic itself) 0x200\n  to name those:\n    addr2line -e /opt/mc -f -C -i 0x1ff\n";
    assert!(text.contains(frames), "{text}");
    assert!(page(&report).contains("frames (1 frame of the panic itself) 0x200"));
}

#[test]
fn notes_that_differ_in_numbers_only_are_folded() {
    let mut region = aborted();
    for (number, text) in
        (4..).zip(["slow tick=8", "slow tick=9", "slow tick=10", "fast", "slow tick=11", "slow tick=12"])
    {
        note(&mut region, number, text);
    }
    let report = report(&region);
    let notes = report.timeline.entries.iter().filter(|line| line.source == Source::Note);
    let notes: Vec<&str> = notes.map(|line| line.text.as_str()).collect();
    let folded = ["warn slow tick=8", "warn slow tick=10 (the last of 3 such notes in a row)", "warn fast"];
    assert_eq!(notes[notes.len() - 5..notes.len() - 2], folded, "{report}");
    assert_eq!(notes[notes.len() - 2..], ["warn slow tick=11", "warn slow tick=12"], "two are no crowd");
}

#[test]
fn an_extreme_since_the_start_is_told_where_the_last_value_is_that() {
    let report = report(&aborted());
    assert!(report.extremes.entries.iter().all(|one| one.series.name != "app_peak"), "12 once, 9 now: {report}");
}

#[test]
fn each_verdict_has_its_headline() {
    let headline = |region: &Region, lock: bool| {
        let directory = directory();
        let held = if lock { hold_lock(directory.path(), "mc-0") } else { lock_file(directory.path(), "mc-0") };
        let report = report_on(&region.write(directory.path()));
        drop(held);
        (report.to_string().lines().next().unwrap().to_owned(), report.found())
    };
    let mut clean = Region::full("mc-0");
    clean.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
    let now = rustix_now();
    clean.control(Control::TICK_MONOTONIC_NS, now);
    let (running, found) = headline(&clean, true);
    assert!(running.starts_with("mc-0 is running at ") && !found, "{running}");
    let (killed, found) = headline(&clean, false);
    assert!(
        killed.starts_with("mc-0 crashed at or shortly after ") && killed.ends_with("(killed)") && found,
        "{killed}"
    );
    let mut closed = clean.clone();
    closed.control(Control::STATE, RegionState::Closed.to_wire());
    let (closed, found) = headline(&closed, false);
    assert!(closed.starts_with("mc-0 was closed in order at ") && !found, "{closed}");
    let (hung, found) = headline(&region(), true);
    assert!(hung.starts_with("mc-0 is hung at ") && found, "{hung}");

    // Away from its lock: what stands in it is all that is said.
    let directory = directory();
    let copy = report_on(&clean.write(directory.path()));
    assert_eq!((copy.headline.verdict, copy.headline.died, copy.found()), (Verdict::Copy, false, false));
    let text = copy.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("Not known: this is a copy, and none of a signal, an exit or an unwinding is recorded"),
        "{text}"
    );
    assert!(text.contains("A case (`tacho case REGION -o FILE`) holds the verdict and the cause"), "{text}");
    let copy = report_on(&aborted().write(directory.path()));
    assert!(copy.headline.died && copy.found());
    assert!(copy.to_string().starts_with("mc-0, a copy: died at 2023-11-14 22:15:01 UTC (SIGABRT)"));
}

/// Who sent the signal, frames outside the executable, and panics that the ring lost are told in text and page.
#[test]
fn what_is_not_of_the_writers_own_is_told_for_what_it_is() {
    let mut region = aborted();
    let told = |region: &Region| {
        let report = report(region);
        let text = report.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        (text, tachograph_exporter::postmortem::page(&report))
    };
    let (text, page) = told(&region);
    assert!(!text.contains("sent by") && !text.contains("more, of which nothing is kept"), "{text}");
    region.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |fatal| {
        (fatal.signal, fatal.code, fatal.sender_pid, fatal.sender_uid) = (11, 0, 77, 1000);
        (fatal.frame_count, fatal.image_base) = (2, 0x5500_0000);
        fatal.frames[..2].copy_from_slice(&[0x5500_1235, 0x7fff_0000_1234]);
    });
    region.control(Control::PANICS_SEEN, 31);
    assert!(!page.contains("in parentheses: addresses outside the executable"));
    let (text, page) = told(&region);
    let sent = "SIGSEGV (SI_USER) in";
    let by = ", sent by process 77 of user 1000.";
    let outside = "in parentheses: addresses outside the executable";
    assert!(text.contains(sent) && text.contains(by) && text.contains("0x1235 (0x7fff00001234)"), "{text}");
    assert!(text.contains(outside) && text.contains("-i 0x1234 ") && !text.contains("0x7fff00001233"), "{text}");
    let lost = "more, of which nothing is kept: the region holds the first panic and the last 8";
    assert!(text.contains(lost) && !text.contains("more; --json has up to"), "{text}");
    for said in [by, outside, lost] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn the_living_and_the_closed_died_of_nothing() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    region.control(Control::STATE, RegionState::Closed.to_wire());
    let _lock = lock_file(directory.path(), "mc-0");
    let closed = report_on(&region.write(directory.path())).to_string();
    assert!(closed.contains("Nothing: it closed its region in order."), "{closed}");
}

fn rustix_now() -> u64 {
    tachograph_exporter::json::Now::read().monotonic_ns
}

#[test]
fn without_a_name_it_is_the_first_crash_of_the_newest_burst() {
    let directory = directory();
    let archive = directory.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let crash = |name: &str, minute: u64, archived: bool| {
        let mut region = Region::full(name);
        let at = TICK.realtime_ns + minute * 60 * SECOND;
        region.edit::<Header>(SectionKind::Header, 0, |header| {
            (header.created_realtime_ns, header.created_monotonic_ns) = (at - SECOND, 0);
            header.boot_id = [0; 16];
        });
        region.control(Control::TICK_REALTIME_NS, at);
        region.control(Control::TICK_MONOTONIC_NS, SECOND);
        if archived {
            std::fs::write(archive.join(format!("{name}.20260101T0000{minute:02}Z.{minute:032}.tacho")), &region.bytes)
                .unwrap();
        } else {
            lock_file(directory.path(), name);
            region.write(directory.path());
        }
        bytemuck::pod_read_unaligned::<Header>(&region.bytes[..4096]).uuid
    };
    let directories = || Directories::from_args(vec![directory.path().to_owned()]);
    assert!(Neighbours::of(&directories()).first_of_newest_burst().is_none());
    crash("mc-0", 0, true);
    let first = crash("mc-0", 30, true);
    crash("mc-0", 35, true);
    crash("mc-0", 40, false);
    crash("other", 39, false);
    for name in ["mc-0", "mc-00", "other"] {
        std::fs::write(archive.join(format!("{name}.cut.tacho")), b"cut").unwrap();
    }
    let found = directories();
    let reader = Neighbours::of(&found).first_of_newest_burst().expect("a crash");
    assert_eq!(reader.uuid(), first);
    let report =
        Subject { reader: &reader, neighbours: &Neighbours::of(&found), recorded: None, known: None }.report().unwrap();
    let [problem] = report.evidence.problems.as_slice() else { panic!("{:?}", report.evidence.problems) };
    assert!(problem.contains("mc-0.cut.tacho"), "of the archive's files what is of its name: {problem}");
    let burst = report.headline.burst.as_ref().expect("a burst");
    assert_eq!((burst.deaths, burst.is_first), (3, true));
    let next = report.successor.as_ref().expect("it started again");
    assert_eq!(next.after_seconds, 299.0);
    assert!(report.to_string().contains("one of 3 crashes within 10m00s; this is the first"), "{report}");
    // A later one takes two others with it: the first of the three is told, and names the others.
    let ended = |name: &str, minute: u64, second: u64| {
        let path = directory.path().join(format!("{name}.tacho"));
        crash(name, minute, false);
        let mut region = Region::full(name);
        region.bytes = std::fs::read(&path).unwrap();
        region.control(Control::TICK_REALTIME_NS, TICK.realtime_ns + (minute * 60 + second) * SECOND);
        std::fs::write(&path, &region.bytes).unwrap();
    };
    ended("casc-b", 60, 3);
    ended("casc-a", 60, 1);
    ended("casc-c", 60, 5);
    let in_archive = archive.join(format!("casc-c.20260101T000100Z.{:032}.tacho", 60));
    std::fs::rename(directory.path().join("casc-c.tacho"), &in_archive).unwrap();
    // Each was opened once: they are told though they are gone by then.
    let neighbours = Neighbours::of(&found);
    let first = neighbours.first_of_newest_burst().expect("a crash");
    std::fs::remove_file(directory.path().join("casc-b.tacho")).unwrap();
    std::fs::remove_file(in_archive).unwrap();
    let report = Subject { reader: &first, neighbours: &neighbours, recorded: None, known: None }.report().unwrap();
    let text = report.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.starts_with("casc-a crashed at or shortly after "), "{text}");
    assert!(
        text.contains("crashed about the same time: casc-b (killed), 2.0s after; casc-c (killed), 4.0s after"),
        "{text}"
    );
    std::fs::remove_file(directory.path().join("casc-a.tacho")).unwrap();
    // What the archive dropped between the first and the newest is counted by its own note.
    let line = format!("x {} 50 {}\n", TICK.realtime_ns + 40 * 60 * SECOND, TICK.realtime_ns + 30 * 60 * SECOND);
    std::fs::write(archive.join(".mc-0.bursts"), line).unwrap();
    let report =
        Subject { reader: &reader, neighbours: &Neighbours::of(&found), recorded: None, known: None }.report().unwrap();
    assert_eq!(report.headline.burst.map(|burst| burst.deaths), Some(50));
}

#[test]
fn panics_of_one_place_are_one_line_of_what_is_not_told() {
    let mut region = aborted();
    for number in [1, 2] {
        let panic = panic_record(number, "no route", TICK.monotonic_ns - number * SECOND);
        region.record(SectionKind::Crash, CrashSlots::PANIC_RING + number - 1, &panic);
    }
    let report = report(&region);
    assert_eq!(report.caught_panics.entries.len(), 2);
    let lines = report.not_linked.iter().filter(|line| line.contains("the survived panic at src/b.rs:7:11"));
    assert_eq!(lines.count(), 1, "{report}");
}

#[test]
fn a_case_tells_how_it_ended_and_its_copy_need_not() {
    let mut killed = Region::full("mc-0");
    killed.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
    let (report, path) = of_case(&killed, true, &lock_file);
    let text = report.to_string();
    assert!(
        report.found() && text.starts_with("mc-0 crashed at or shortly after ") && text.contains("(killed)"),
        "{text}"
    );
    assert!(text.contains("not known: this is a case") && text.contains(&path), "{text}");
    let (aborted, _) = of_case(&aborted(), false, &lock_file);
    assert_eq!(aborted.headline.why.as_deref(), Some("SIGABRT"), "{aborted}");
}

#[test]
fn the_end_is_the_moment_that_was_noted() {
    let after_tick = |nanos: u64| TICK.realtime_ns + nanos;
    for state in [RegionState::Closed, RegionState::Exited, RegionState::Unwound] {
        let mut region = Region::full("mc-0");
        region.control(Control::TICK_REALTIME_NS, TICK.realtime_ns);
        region.control(Control::TICK_MONOTONIC_NS, TICK.monotonic_ns);
        region.control(Control::STATE, state.to_wire());
        region.control(Control::STATE_REALTIME_NS, after_tick(456_000_000));
        let report = report(&region);
        assert_eq!(report.headline.at_seconds, after_tick(456_000_000) as f64 / 1e9, "{report}");
        assert!(report.headline.at_exactly && !report.to_string().contains("or shortly after"), "{report}");
        assert!(report.timeline.entries.iter().all(|line| line.from_end_seconds <= 0.0), "{report}");
    }
    // A fatal signal has its own time, by which `ls` goes, too.
    let directory = directory();
    lock_file(directory.path(), "mc-0");
    let region = RegionReader::open(&aborted().write(directory.path())).unwrap().info().unwrap();
    assert!(region.fatal_realtime_ns > 0 && region.fatal_realtime_ns == region.ended_ns(), "{region:?}");
}

#[test]
fn a_case_of_a_hung_writer_says_which_promise_was_broken_and_since_when() {
    let mut hung = Region::full("mc-0");
    let now = tachograph_exporter::json::Now::read();
    hung.edit::<Header>(SectionKind::Header, 0, |header| {
        (header.created_realtime_ns, header.created_monotonic_ns) = (now.realtime_ns - 90 * SECOND, 1);
        header.tick_period_ns = SECOND;
    });
    hung.control(Control::TICK_REALTIME_NS, now.realtime_ns - 60 * SECOND);
    hung.control(Control::TICK_MONOTONIC_NS, now.monotonic_ns - 60 * SECOND);
    let (report, _) = of_case(&hung, true, &hold_lock);
    let text = report.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.found() && text.contains(" was hung at ") && text.contains("no housekeeping for 1m00s"), "{text}");
    assert!(text.contains("it lived when this case was written") && !text.contains("this is a copy"), "{text}");
    assert!(text.contains("what the silent loop waits for"), "{text}");
    let written = report.headline.at_seconds - now.realtime_ns as f64 / 1e9;
    assert!((0.0..60.0).contains(&written), "as of the writing, {written}s later");
}

/// The report on the case of a region with its path; whether its copy alone knows how it ended is checked.
fn of_case<T>(region: &Region, needs_case: bool, lock: &dyn Fn(&Path, &str) -> T) -> (Report, String) {
    let directory = directory();
    let place = directory.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let held = lock(&place, "mc-0");
    let reader = RegionReader::open(&region.write(&place)).unwrap();
    let path = directory.path().join("mc-0.case.tar.gz");
    case::write(&reader, None, &path).unwrap();
    drop(held);
    let copy = directory.path().join("copy.tacho");
    std::fs::write(&copy, &region.bytes).unwrap();
    assert_eq!(report_on(&copy).headline.died, !needs_case, "what the copy alone knows");
    let case = Case::open(&path).unwrap();
    let (copy, directories) = (case.region().unwrap(), Directories::from_args(vec![place]));
    let known = Known::of_case(&path, &case);
    let neighbours = Neighbours::of(&directories);
    let subject = Subject { reader: &copy, neighbours: &neighbours, recorded: None, known: Some(&known) };
    (subject.report().unwrap(), path.display().to_string())
}

/// Everything that renders, of a file that may be anything; says whether it was a region at all.
fn render(bytes: &[u8]) -> bool {
    let directory = directory();
    let path = directory.path().join("mc-0.tacho");
    std::fs::write(&path, bytes).unwrap();
    let Ok(reader) = RegionReader::open(&path) else { return false };
    let directories = Directories::from_args(vec![directory.path().to_owned()]);
    let Ok(report) =
        (Subject { reader: &reader, neighbours: &Neighbours::of(&directories), recorded: None, known: None }).report()
    else {
        return false;
    };
    let text = report.to_string();
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    // Commands are to be copied whole.
    for line in text.lines().filter(|line| !line.starts_with("    addr2line -e ")) {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    serde_json::to_string(&report).unwrap();
    check_page(&page(&report));
    true
}

/// Well-formed, nothing loaded, nothing run.
fn check_page(page: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document =
        roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}: {page}"));
    for node in document.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        assert!(!["script", "link", "img", "iframe", "object", "a", "base", "form"].contains(&name), "<{name}>");
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!name.starts_with("on") && !["src", "href", "style", "srcset"].contains(&name), "{name}");
        }
    }
    assert!(
        !page.contains("url(") && !page.contains("@import") && !page.contains("http://") && !page.contains("https://")
    );
}

#[test]
fn a_page_shows_markup_as_text() {
    let mut region = aborted();
    note(&mut region, 4, "<script>alert('\u{1b}[2J')</script>");
    region.control(Control::NOTES_WRITTEN, 4);
    let report = report(&region);
    let page = page(&report);
    check_page(&page);
    assert!(page.contains("&lt;script&gt;alert(&#39;"), "{page}");
    let keep = |path: &str| std::fs::write(path, &page).unwrap();
    if let Ok(path) = std::env::var("REPORT_HTML") {
        keep(&path);
    }
}

#[test]
fn a_path_drives_no_terminal() {
    let directory = directory();
    let place = directory.path().join("a\u{1b}[2Jb");
    std::fs::create_dir(&place).unwrap();
    let text = report_on(&aborted().write(&place)).to_string();
    assert!(text.contains("a\\u{1b}[2Jb"), "{text:?}");
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
}

#[test]
fn ten_thousand_notes_are_bounded() {
    let mut region = aborted();
    let mut header: Header = bytemuck::pod_read_unaligned(&region.bytes[..4096]);
    let (at, count) = (header.file_len, 10_000);
    let notes = header.sections.iter_mut().find(|section| section.kind == SectionKind::Notes.to_wire()).unwrap();
    *notes = SectionEntry { offset: at, count, ..*notes };
    header.file_len = (at + count * 256).next_multiple_of(65_536);
    region.bytes.resize(header.file_len as usize, 0);
    region.bytes[..4096].copy_from_slice(bytemuck::bytes_of(&header));
    for number in 1..=count {
        let text = ["\u{1b}]0;owned\u{7} \u{202e} note", "another"][number as usize % 2];
        let note = NoteRecord {
            sequence: number,
            realtime_ns: TICK.realtime_ns + number,
            monotonic_ns: number,
            level: 1,
            len: text.len() as u32,
            thread_id: 1,
            text: bytes(text),
        };
        let place = (at + (number - 1) * 256) as usize;
        region.bytes[place..place + 256].copy_from_slice(bytemuck::bytes_of(&note));
    }
    region.control(Control::NOTES_WRITTEN, count);
    assert!(render(&region.bytes));
    let report = report(&region);
    assert_eq!(report.timeline.entries.len(), tachograph_exporter::postmortem::MOST);
    assert!(report.timeline.more >= count - 200);
    assert!(report.to_string().lines().count() < 200);
}

#[test]
fn an_actor_that_panicked_is_told_before_one_that_is_stuck() {
    let report = report(&region());
    assert_eq!(report.unfinished.entries[0].state, UnfinishedState::Panicked);
    assert_eq!(report.unfinished.entries[0].activity.mailbox_depth, 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_damage_gets_through(
        words in proptest::collection::vec((0_usize..3_000_000, prop_oneof![any::<u64>(), 0_u64..64, Just(u64::MAX), Just(0x1b5d_1b5b_9b07_000au64)]), 1..64),
        near in proptest::collection::vec((0_usize..12, 0_usize..512, any::<u64>()), 0..64),
    ) {
        let mut region = aborted();
        let len = region.bytes.len() / 8;
        for (word, value) in words {
            // The header stays one that is read.
            region.word(((512 + word % (len - 512)) * 8) as u64, value);
        }
        for (kind, word, value) in near {
            let section = region.layout.section(SectionKind::ALL[kind]);
            let offset = section.offset + (word * 8) as u64;
            if offset >= 4096 && offset + 8 <= region.bytes.len() as u64 {
                region.word(offset, value);
            }
        }
        prop_assert!(render(&region.bytes));
    }
}
