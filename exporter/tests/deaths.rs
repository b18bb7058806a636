//! Deaths and stuck actors as `/metrics` tells of them, over regions that are laid out by hand.
#![cfg(feature = "server")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use builder::{Region, directory, hold_lock, lock_file};
use tachograph_exporter::Directories;
use tachograph_exporter::cause::OomKills;
use tachograph_exporter::deaths::{Deaths, MemoryWatch};
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::json::Now;
use tachograph_exporter::plan::Options;
use tachograph_exporter::serve::Scraper;
use tachograph_layout::{
    ActivityRecord, Control, CrashSlots, FatalRecord, Header, NoteRecord, RegionState, SectionKind, SlotState, SlotWord,
};

#[allow(dead_code, reason = "each user of the builder needs another part of it")]
#[path = "reading/builder.rs"]
mod builder;

const SECOND: u64 = 1_000_000_000;

/// A scraper of one directory, with its ledger in another.
fn scraper(directory: &Path, ledger: Option<&Path>) -> Scraper {
    scraper_watching(directory, ledger, None)
}

fn scraper_watching(directory: &Path, ledger: Option<&Path>, memory: Option<MemoryWatch>) -> Scraper {
    let deaths = Deaths::new(ledger);
    let deaths = match memory {
        Some(memory) => deaths.watching(memory),
        None => deaths,
    };
    Scraper::new(Directories::from_args(vec![directory.to_owned()]), Options::default()).unwrap().counting(deaths)
}

/// The value of a series; `None` where it is not shown.
fn value(scraper: &Scraper, series: &str) -> Option<f64> {
    let body = String::from_utf8(scraper.metrics(&Exposition::new(Format::Text)).unwrap()).unwrap();
    body.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Counts by cause, without those at 0.
fn crashes(scraper: &Scraper) -> Vec<(String, u64)> {
    let body = String::from_utf8(scraper.metrics(&Exposition::new(Format::Text)).unwrap()).unwrap();
    let counts = body.lines().filter_map(|line| line.strip_prefix("tacho_crashes_total{cause=\""));
    let counts = counts.map(|rest| {
        let (cause, count) = rest.split_once("\"} ").unwrap();
        (cause.to_owned(), count.parse().unwrap())
    });
    let counts: Vec<(String, u64)> = counts.collect();
    assert_eq!(counts.len(), 7, "each cause is there from the start: {body}");
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn counted(cause: &str, count: u64) -> (String, u64) {
    (cause.to_owned(), count)
}

/// A region that died so many seconds into the epoch.
fn died(name: &str, second: u64) -> Region {
    let mut region = Region::full(name);
    region.edit::<Header>(SectionKind::Header, 0, |header| header.created_realtime_ns = (second - 1) * SECOND);
    region.control(Control::TICK_REALTIME_NS, second * SECOND);
    region
}

/// Puts a region into the archive, as a start does.
fn archive(directory: &Path, region: &Region) -> PathBuf {
    let archive = directory.join("archive");
    std::fs::create_dir_all(&archive).unwrap();
    let uuid = bytemuck::pod_read_unaligned::<Header>(&region.bytes[..4096]).uuid;
    let path = archive.join(format!("{}.20260101T000000Z.{:032x}.tacho", region.name, u128::from_be_bytes(uuid)));
    std::fs::write(&path, &region.bytes).unwrap();
    path
}

fn book(directory: &Path, name: &str, lines: &str) {
    std::fs::create_dir_all(directory.join("archive")).unwrap();
    std::fs::write(directory.join("archive").join(format!(".{name}.bursts")), lines).unwrap();
}

#[test]
fn a_death_is_counted_once_in_place_and_archived() {
    let directory = directory();
    let scraper = scraper(directory.path(), None);
    assert_eq!(crashes(&scraper), []);
    assert_eq!(value(&scraper, "tacho_last_crash_timestamp_seconds{tacho_region=\"mc-0\"}"), None);
    let region = died("mc-0", 1_700_000_000);
    let lock = hold_lock(directory.path(), "mc-0");
    let path = region.write(directory.path());
    assert_eq!(crashes(&scraper), [], "it lives");
    drop(lock);
    assert_eq!(crashes(&scraper), [counted("killed", 1)]);
    assert_eq!(crashes(&scraper), [counted("killed", 1)], "a second look");
    std::fs::remove_file(path).unwrap();
    archive(directory.path(), &region);
    assert_eq!(crashes(&scraper), [counted("killed", 1)], "the same death");
    let last = "tacho_last_crash_timestamp_seconds{tacho_region=\"mc-0\"}";
    assert_eq!(value(&scraper, last), Some(1_700_000_000.0));
}

#[test]
fn a_crash_and_restart_between_two_scrapes_is_counted() {
    let directory = directory();
    let scraper = scraper(directory.path(), None);
    let _lock = hold_lock(directory.path(), "mc-0");
    Region::full("mc-0").write(directory.path());
    assert_eq!(crashes(&scraper), []);
    let mut dead = died("mc-0", 1_700_000_000);
    let fatal = FatalRecord { sequence: 1, claim: 7, signal: 11, code: 1, ..bytemuck::Zeroable::zeroed() };
    dead.record(SectionKind::Crash, CrashSlots::FATAL, &fatal);
    archive(directory.path(), &dead);
    assert_eq!(value(&scraper, "tacho_region_up{tacho_region=\"mc-0\"}"), Some(1.0));
    assert_eq!(crashes(&scraper), [counted("signal", 1)]);
}

#[test]
fn orderly_ends_and_copies_are_no_crashes() {
    let directory = directory();
    let mut closed = died("mc-0", 1_700_000_000);
    closed.control(Control::STATE, RegionState::Closed.to_wire());
    archive(directory.path(), &closed);
    lock_file(directory.path(), "mc-0");
    closed.write(directory.path());
    std::fs::write(directory.path().join("copy.tacho"), died("mc-1", 1_700_000_000).bytes).unwrap();
    assert_eq!(crashes(&scraper(directory.path(), None)), []);
}

#[test]
fn a_crash_loop_counts_what_the_archive_dropped() {
    let directory = directory();
    let scraper = scraper(directory.path(), None);
    let first = died("mc-0", 1_700_000_000);
    archive(directory.path(), &first);
    assert_eq!(crashes(&scraper), [counted("killed", 1)]);
    // 50 deaths, of which the first and the newest are left.
    archive(directory.path(), &died("mc-0", 1_700_000_049));
    book(directory.path(), "mc-0", "mc-0.x.tacho 1700000049000000000 50 1700000000000000000\nnonsense\n");
    let all = [counted("killed", 2), counted("unseen", 48)];
    assert_eq!(crashes(&scraper), all);
    assert_eq!(crashes(&scraper), all, "the same book");
}

#[test]
fn a_file_that_can_not_be_read_is_not_counted_twice() {
    let directory = directory();
    let scraper = scraper(directory.path(), None);
    archive(directory.path(), &died("mc-0", 1_700_000_000));
    let second = died("mc-0", 1_700_000_001);
    let path = archive(directory.path(), &second);
    std::fs::write(&path, b"half").unwrap();
    book(directory.path(), "mc-0", "mc-0.x.tacho 1700000001000000000 2 1700000000000000000\n");
    assert_eq!(crashes(&scraper), [counted("killed", 1)]);
    std::fs::write(&path, &second.bytes).unwrap();
    assert_eq!(crashes(&scraper), [counted("killed", 2)]);
}

#[test]
fn the_counts_outlive_the_exporter_and_the_evidence() {
    let (directory, ledger) = (directory(), tempfile::tempdir().unwrap());
    let first = scraper(directory.path(), Some(ledger.path()));
    let path = archive(directory.path(), &died("mc-0", 1_700_000_000));
    book(directory.path(), "mc-0", "mc-0.x.tacho 1700000009000000000 3 1700000000000000000\n");
    let all = [counted("killed", 1), counted("unseen", 2)];
    assert_eq!(crashes(&first), all);
    // No orderly end: what was served is on disk.
    std::mem::forget(first);
    let second = scraper(directory.path(), Some(ledger.path()));
    assert_eq!(crashes(&second), all, "not counted again");
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(directory.path().join("archive/.mc-0.bursts")).unwrap();
    let third = scraper(directory.path(), Some(ledger.path()));
    assert_eq!(crashes(&third), all, "nor forgotten");
    assert_eq!(value(&third, "tacho_last_crash_timestamp_seconds{tacho_region=\"mc-0\"}"), Some(1_700_000_009.0));
    assert_eq!(crashes(&scraper(directory.path(), None)), [], "without a ledger there is only what is left");
}

#[test]
fn out_of_memory_is_what_the_cgroup_counted() {
    let directory = directory();
    let region = died("mc-0", 1_700_000_000);
    let uuid = bytemuck::pod_read_unaligned::<Header>(&region.bytes[..4096]).uuid;
    archive(directory.path(), &region);
    let watch: MemoryWatch =
        Arc::new(move |asked| (*asked == uuid).then_some(OomKills { while_alive: 0, after_death: 1 }));
    let scraper = scraper_watching(directory.path(), None, Some(watch));
    archive(directory.path(), &died("mc-1", 1_700_000_000));
    assert_eq!(crashes(&scraper), [counted("killed", 1), counted("out_of_memory", 1)]);
}

/// A living region with an actor that is busy since then, and one that is busy with a full mailbox.
fn busy(directory: &Path, since_monotonic_ns: u64) {
    let mut region = Region::full("mc-0");
    let doing = region.string("join-the-secret-meeting");
    let activity = ActivityRecord {
        state: SlotWord::new(0, SlotState::Live).bits(),
        type_len: 7,
        id_len: 10,
        actor_type: [b'T'; 32],
        actor_id: [b'Q'; 32],
        mailbox_capacity: 8,
        doing: u64::from(doing.len) << 32 | u64::from(doing.offset),
        since_monotonic_ns,
        ..bytemuck::Zeroable::zeroed()
    };
    let now = Now::read().monotonic_ns;
    let records = [
        activity,
        ActivityRecord { since_monotonic_ns: now, mailbox_depth: 8, ..activity },
        ActivityRecord { since_monotonic_ns: now, mailbox_depth: 7, ..activity },
        ActivityRecord { doing: 0, mailbox_depth: 8, ..activity },
    ];
    for (slot, record) in (0..).zip(&records) {
        region.record(SectionKind::Activities, slot, record);
    }
    region.control(Control::ACTIVITIES_USED, records.len() as u64);
    let mut text = [0; 216];
    text[..15].copy_from_slice(b"WORDS-OF-A-NOTE");
    let note = NoteRecord { sequence: 1, level: 2, len: 15, text, ..bytemuck::Zeroable::zeroed() };
    region.record(SectionKind::Notes, 0, &note);
    region.control(Control::NOTES_WRITTEN, 1);
    region.write(directory);
}

#[test]
fn actors_are_stuck_by_time_or_by_a_full_mailbox() {
    let directory = directory();
    let lock = hold_lock(directory.path(), "mc-0");
    busy(directory.path(), Now::read().monotonic_ns.saturating_sub(60 * SECOND));
    let (stuck, scraper) = ("tacho_actors_stuck{tacho_region=\"mc-0\"}", scraper(directory.path(), None));
    assert_eq!(value(&scraper, stuck), Some(2.0));
    let scraper = scraper.stuck_after(Duration::from_secs(3_600));
    assert_eq!(value(&scraper, stuck), Some(1.0), "only the full mailbox");
    drop(lock);
    assert_eq!(value(&scraper, stuck), None, "the dead are not stuck");
}

#[test]
fn no_metric_shows_activities_ids_or_notes() {
    let directory = directory();
    let _lock = hold_lock(directory.path(), "mc-0");
    busy(directory.path(), 1);
    let scraper = scraper(directory.path(), None);
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf, Format::Json] {
        let body = scraper.metrics(&Exposition::new(format)).unwrap();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("tacho_actors_stuck") && body.contains("app_served"), "{format:?}: {body}");
        for word in ["TTTTTTT", "QQQQQQQQQQ", "secret", "WORDS-OF-A-NOTE"] {
            assert!(!body.contains(word), "{format:?} shows {word}");
        }
    }
}
