//! What is said of a region's writer, from lock, place, boot and state.

use std::path::Path;

use tachograph_exporter::cause::Cause;
use tachograph_exporter::json::Now;
use tachograph_exporter::promise::Promise;
use tachograph_exporter::{RegionInfo, RegionReader, Verdict};
use tachograph_layout::{
    Control, CrashSlots, FatalRecord, Header, PulseRecord, RegionState, SectionKind, SlotState, SlotWord,
};

use crate::builder::{Region, directory, hold_lock, lock_file};

#[test]
fn the_lock_tells_the_living_from_the_dead() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    assert_eq!(reader.verdict().unwrap(), Verdict::Copy, "no lock file beside it");
    let lock = hold_lock(directory.path(), "mc-0");
    assert_eq!(reader.verdict().unwrap(), Verdict::Running);
    assert_eq!(reader.snapshot().unwrap().region.verdict, Verdict::Running);
    drop(lock);
    assert_eq!(reader.verdict().unwrap(), Verdict::Crashed);
}

#[test]
fn asking_takes_no_lock() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    lock_file(directory.path(), "mc-0");
    let reader = RegionReader::open(&path).unwrap();
    reader.snapshot().unwrap();
    hold_lock(directory.path(), "mc-0");
}

#[test]
fn closed_is_what_the_region_says() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    region.control(Control::STATE, RegionState::Closed.to_wire());
    lock_file(directory.path(), "mc-0");
    let path = region.write(directory.path());
    assert_eq!(RegionReader::open(&path).unwrap().verdict().unwrap(), Verdict::Closed);
}

#[test]
fn archived_files_are_dead_by_definition() {
    let directory = directory();
    let archive = directory.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let _lock = hold_lock(directory.path(), "mc-0");
    let mut region = Region::full("mc-0");
    let path = archive.join("mc-0.20260101T000000Z.00112233445566778899aabbccddeeff.tacho");
    for (state, expected) in [(RegionState::Live, Verdict::Crashed), (RegionState::Closed, Verdict::Closed)] {
        region.control(Control::STATE, state.to_wire());
        std::fs::write(&path, &region.bytes).unwrap();
        let snapshot = RegionReader::open(&path).unwrap().snapshot().unwrap();
        assert_eq!((snapshot.region.verdict, snapshot.region.archived), (expected, true));
    }
}

#[test]
fn another_name_than_the_headers_is_a_copy() {
    let directory = directory();
    let _lock = hold_lock(directory.path(), "mc-0");
    let path = directory.path().join("saved.tacho");
    std::fs::write(&path, &Region::full("mc-0").bytes).unwrap();
    let _other = hold_lock(directory.path(), "saved");
    assert_eq!(RegionReader::open(&path).unwrap().verdict().unwrap(), Verdict::Copy);
}

#[test]
fn another_boot_is_dead() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    region.edit::<Header>(SectionKind::Header, 0, |header| header.boot_id = [7; 16]);
    let path = region.write(directory.path());
    let _lock = hold_lock(directory.path(), "mc-0");
    assert_eq!(RegionReader::open(&path).unwrap().verdict().unwrap(), Verdict::Crashed);
}

#[test]
fn a_reader_keeps_to_the_region_that_it_opened() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let lock = hold_lock(directory.path(), "mc-0");
    let reader = RegionReader::open(&path).unwrap();

    // The next writer's region took the path: the one that is held open is dead, though the lock is held.
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    assert_eq!(reader.verdict().unwrap(), Verdict::Crashed);
    Region::full("mc-0").write(directory.path());
    assert_eq!(reader.verdict().unwrap(), Verdict::Crashed);
    assert_eq!(RegionReader::open(&path).unwrap().verdict().unwrap(), Verdict::Running);
    drop(lock);
}

#[test]
fn a_file_unlinked_under_its_living_writer_is_still_running() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let lock = hold_lock(directory.path(), "mc-0");
    let reader = RegionReader::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let region = reader.snapshot().unwrap().region;
    assert_eq!((region.verdict, region.unlinked), (Verdict::Running, true));
    drop(lock);
    assert_eq!(reader.verdict().unwrap(), Verdict::Crashed);
}

/// What is said of a region whose writer is gone.
fn dead(region: &Region) -> RegionInfo {
    let directory = directory();
    lock_file(directory.path(), "mc-0");
    let info = info(&region.write(directory.path()));
    assert_eq!(info.verdict, Verdict::Crashed);
    info
}

fn info(path: &Path) -> RegionInfo {
    RegionReader::open(path).unwrap().info().unwrap()
}

/// A region that says of its writer what the header of a process is made of.
fn region_of(pid: u32, namespace: u64, start_ticks: u64) -> Region {
    let mut region = Region::full("mc-0");
    region.edit::<Header>(SectionKind::Header, 0, |header| {
        (header.pid, header.pid_namespace, header.process_start_ticks) = (pid, namespace, start_ticks);
    });
    region
}

fn own_namespace() -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/pid").unwrap())
}

fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_crashed_region_has_the_cause_that_it_tells_of() {
    let mut region = Region::full("mc-0");
    assert_eq!((dead(&region).cause, dead(&region).why().as_deref()), (Some(Cause::Killed), Some("killed")));
    for (state, cause) in [(RegionState::Exited, Cause::Exit), (RegionState::Unwound, Cause::Unwound)] {
        region.control(Control::STATE, state.to_wire());
        assert_eq!(dead(&region).cause, Some(cause));
    }
    let fatal = FatalRecord { sequence: 1, claim: 7, signal: 7, code: 2, ..bytemuck::Zeroable::zeroed() };
    region.record(SectionKind::Crash, CrashSlots::FATAL, &fatal);
    let info = dead(&region);
    assert_eq!(
        (info.cause, info.signal.as_deref(), info.why().as_deref()),
        (Some(Cause::Signal), Some("SIGBUS"), Some("SIGBUS"))
    );
    region.record(SectionKind::Crash, CrashSlots::FATAL, &FatalRecord { sequence: 0, ..fatal });
    let info = dead(&region);
    assert_eq!(
        (info.cause, info.signal.as_deref(), info.why().as_deref()),
        (Some(Cause::Signal), None, Some("signal")),
        "it could not say which"
    );
}

#[test]
fn a_signal_that_the_writer_survived_is_not_the_cause() {
    let mut region = Region::full("mc-0");
    let fatal =
        FatalRecord { sequence: 1, claim: 7, signal: 11, code: 1, monotonic_ns: 50, ..bytemuck::Zeroable::zeroed() };
    region.record(SectionKind::Crash, CrashSlots::FATAL, &fatal);
    region.control(Control::TICK_MONOTONIC_NS, 10_000_000_050);
    assert_eq!(dead(&region).cause, Some(Cause::Signal), "its handler may have worked for a while");
    region.control(Control::TICK_MONOTONIC_NS, 10_000_000_051);
    assert_eq!(dead(&region).cause, Some(Cause::Killed));
}

#[test]
fn a_closed_or_living_region_has_no_cause() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    let fatal = FatalRecord { sequence: 1, claim: 7, signal: 11, code: 1, ..bytemuck::Zeroable::zeroed() };
    region.record(SectionKind::Crash, CrashSlots::FATAL, &fatal);
    region.control(Control::STATE, RegionState::Closed.to_wire());
    let path = region.write(directory.path());
    let lock = lock_file(directory.path(), "mc-0");
    assert_eq!((info(&path).verdict, info(&path).cause), (Verdict::Closed, None));
    drop(lock);
    region.control(Control::STATE, RegionState::Live.to_wire());
    let path = region.write(directory.path());
    let _lock = hold_lock(directory.path(), "mc-0");
    assert_eq!((info(&path).verdict, info(&path).cause, info(&path).signal), (Verdict::Running, None, None));
}

#[test]
fn a_process_that_lives_on_without_its_region_was_replaced_by_exec() {
    let (pid, namespace) = (std::process::id(), own_namespace());
    let ticks = start_ticks(pid);
    assert_eq!(dead(&region_of(pid, namespace, ticks)).cause, Some(Cause::Exec));
    assert_eq!(dead(&region_of(pid, namespace, ticks + 1)).cause, Some(Cause::Killed), "another process got the pid");
    assert_eq!(
        dead(&region_of(pid, namespace + 1, ticks)).cause,
        Some(Cause::Killed),
        "the pid is another namespace's"
    );
    let mut other_boot = region_of(pid, namespace, ticks);
    other_boot.edit::<Header>(SectionKind::Header, 0, |header| header.boot_id = [7; 16]);
    assert_eq!(dead(&other_boot).cause, Some(Cause::Killed), "the pid is another boot's");
}

#[test]
fn a_dead_process_that_nobody_waited_for_does_not_live_on() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let region = region_of(child.id(), own_namespace(), start_ticks(child.id()));
    child.kill().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    assert_eq!(dead(&region).cause, Some(Cause::Killed));
    child.wait().unwrap();
}

#[test]
fn a_successor_of_the_same_process_tells_of_exec() {
    let directory = directory();
    let archive = directory.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let _lock = hold_lock(directory.path(), "mc-0");
    let first = archive.join("mc-0.20260101T000000Z.00112233445566778899aabbccddeeff.tacho");
    // Of another pid namespace, so that only the headers tell.
    std::fs::write(&first, &region_of(7, 1, 500).bytes).unwrap();
    assert_eq!(info(&first).cause, Some(Cause::Killed), "nobody came after it");
    region_of(7, 1, 501).write(directory.path());
    assert_eq!(info(&first).cause, Some(Cause::Killed), "another process came after it");
    region_of(7, 1, 500).write(directory.path());
    assert_eq!(info(&first).cause, Some(Cause::Exec));
    let second = archive.join("mc-0.20260101T000001Z.ffeeddccbbaa99887766554433221100.tacho");
    std::fs::rename(directory.path().join("mc-0.tacho"), &second).unwrap();
    assert_eq!(info(&first).cause, Some(Cause::Exec), "the successor was archived, too");
    assert_eq!(info(&second).cause, Some(Cause::Killed), "a predecessor is none");
}

#[test]
fn a_living_writer_that_broke_a_promise_is_hung() {
    let directory = directory();
    let now = Now::read().monotonic_ns;
    let mut region = Region::full("mc-0");
    let lock = hold_lock(directory.path(), "mc-0");
    let pulse = PulseRecord {
        beat_monotonic_ns: now,
        state: SlotWord::new(0, SlotState::Live).bits(),
        max_age_ns: 3_600_000_000_000,
        name_len: 7,
        ..bytemuck::Zeroable::zeroed()
    };
    let named = |mut pulse: PulseRecord| {
        pulse.name[..7].copy_from_slice(b"control");
        pulse
    };
    region.record(SectionKind::Pulses, 0, &named(pulse));
    region.control(Control::PULSES_USED, 1);
    assert_eq!(info(&region.write(directory.path())).verdict, Verdict::Running);

    region.record(SectionKind::Pulses, 0, &named(PulseRecord { max_age_ns: 1, ..pulse }));
    let path = region.write(directory.path());
    let hung = info(&path);
    assert_eq!(hung.verdict, Verdict::Hung);
    assert!(
        matches!(&hung.broken_promises[..], [Promise::Pulse { name, max_age_ns: 1, .. }] if name == "control"),
        "{hung:?}"
    );
    assert!(hung.why().unwrap().starts_with("pulse control silent for "));
    let ended = PulseRecord { max_age_ns: 1, state: SlotWord::new(0, SlotState::Retired).bits(), ..pulse };
    region.record(SectionKind::Pulses, 0, &ended);
    assert_eq!(info(&region.write(directory.path())).verdict, Verdict::Running, "a loop that ended promises nothing");

    region.edit::<Header>(SectionKind::Header, 0, |header| {
        (header.tick_period_ns, header.created_monotonic_ns) = (1_000, 1)
    });
    let hung = info(&region.write(directory.path()));
    assert!(matches!(&hung.broken_promises[..], [Promise::Housekeeping { max_age_ns: 5_000, .. }]), "{hung:?}");
    region.control(Control::TICK_MONOTONIC_NS, u64::MAX);
    assert_eq!(info(&region.write(directory.path())).verdict, Verdict::Running, "a tick of the future is no age");
    region.control(Control::TICK_MONOTONIC_NS, 0);
    let path = region.write(directory.path());
    drop(lock);
    assert_eq!((info(&path).verdict, info(&path).broken_promises.len()), (Verdict::Crashed, 0));
}

#[test]
fn clocks_that_were_set_turn_no_verdict() {
    let directory = directory();
    let _lock = hold_lock(directory.path(), "mc-0");
    for realtime in [1, u64::MAX] {
        let mut region = Region::full("mc-0");
        region.edit::<Header>(SectionKind::Header, 0, |header| header.created_realtime_ns = realtime);
        region.control(Control::TICK_REALTIME_NS, u64::MAX - realtime);
        assert_eq!(info(&region.write(directory.path())).verdict, Verdict::Running);
        // The wall clock was set between two ticks: an hour back, or on. Only the other clock tells their age.
        let now = Now::read();
        for (age_ns, verdict) in [(0, Verdict::Running), (3_600_000_000_000, Verdict::Hung)] {
            region.edit::<Header>(SectionKind::Header, 0, |header| header.created_monotonic_ns = 1);
            region.control(Control::TICK_MONOTONIC_NS, now.monotonic_ns.saturating_sub(age_ns).max(2));
            for shown in [now.realtime_ns - 3_600_000_000_000, now.realtime_ns + 3_600_000_000_000, now.monotonic_ns] {
                region.control(Control::TICK_REALTIME_NS, shown);
                assert_eq!(info(&region.write(directory.path())).verdict, verdict, "{age_ns} {shown}");
            }
        }
    }
}
