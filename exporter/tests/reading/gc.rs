//! Retention by hand: what goes, why, and what is never touched.

use std::path::{Path, PathBuf};

use tachograph_exporter::Directories;
use tachograph_exporter::gc::{self, Limits, Sweep, Why};
use tachograph_exporter::json::Now;
use tachograph_layout::{Control, Header, RegionState, SectionKind};

use crate::builder::{Region, directory, lock_file};

const MINUTE: u64 = 60_000_000_000;

/// Puts a region that died so many minutes ago into the archive.
fn archived(directory: &Path, name: &str, minutes_ago: u64, edit: impl FnOnce(&mut Region)) -> PathBuf {
    let mut region = Region::full(name);
    region.edit::<Header>(SectionKind::Header, 0, |header| {
        header.pid = 0;
        header.boot_id = [0; 16];
    });
    region.control(Control::TICK_REALTIME_NS, Now::read().realtime_ns - minutes_ago * MINUTE);
    edit(&mut region);
    let archive = directory.join("archive");
    std::fs::create_dir_all(&archive).unwrap();
    let path = archive.join(format!("{name}.20260101T00{:04}Z.{minutes_ago:032}.tacho", minutes_ago));
    std::fs::write(&path, &region.bytes).unwrap();
    path
}

fn sweep(directory: &Path, limits: Limits, dry_run: bool) -> Sweep {
    gc::sweep(&Directories::from_args(vec![directory.to_owned()]), limits, dry_run)
}

fn whys(sweep: &Sweep) -> Vec<(PathBuf, Why)> {
    let mut list: Vec<_> = sweep.dropped.iter().map(|one| (one.path.clone(), one.why)).collect();
    list.sort_by(|one, other| one.0.cmp(&other.0));
    list
}

fn closed(region: &mut Region) {
    region.control(Control::STATE, RegionState::Closed.to_wire());
}

#[test]
fn each_rule_drops_what_it_says_and_nothing_else() {
    let directory = directory();
    let dir = directory.path();
    let minutes = [2, 5, 8, 100, 200, 300];
    let files: Vec<PathBuf> = minutes.iter().map(|ago| archived(dir, "mc-0", *ago, |_| ())).collect();
    let other = archived(dir, "other", 50, |_| ());
    // Not ours: another name, a region in its place, a note.
    let stranger = dir.join("archive/stranger.tacho");
    std::fs::write(&stranger, b"mine").unwrap();
    lock_file(dir, "mc-0");
    let in_place = Region::full("mc-0").write(dir);

    let dry = sweep(dir, Limits::default(), true);
    assert_eq!(whys(&dry), [(files[1].clone(), Why::Burst), (files[5].clone(), Why::Files)]);
    assert_eq!((dry.kept, dry.problems.len()), (5, 0));
    assert!(files.iter().all(|file| file.exists()), "a dry run drops nothing");
    assert!(!dir.join("archive/.mc-0.bursts").exists(), "and notes nothing");

    let done = sweep(dir, Limits::default(), false);
    assert_eq!(whys(&done), whys(&dry));
    let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
    assert_eq!(left, [true, false, true, true, true, false]);
    assert!(other.exists() && stranger.exists() && in_place.exists());
    let book = std::fs::read_to_string(dir.join("archive/.mc-0.bursts")).unwrap();
    assert_eq!(book.split(' ').nth(2), Some("3"), "three deaths of that burst, of which two are left: {book}");

    // A second time there is nothing to do, and the count stays.
    assert_eq!(whys(&sweep(dir, Limits::default(), false)), []);
    assert_eq!(std::fs::read_to_string(dir.join("archive/.mc-0.bursts")).unwrap(), book);

    // A share of nothing leaves the newest crash of each region.
    let share = Limits { share_percent: 0, ..Limits::default() };
    assert!(whys(&sweep(dir, share, false)).iter().all(|(_, why)| *why == Why::Share));
    let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
    assert_eq!(left, [true, false, false, false, false, false]);
    assert!(other.exists());
}

#[test]
fn orderly_ends_go_first() {
    let directory = directory();
    let dir = directory.path();
    let crashes: Vec<PathBuf> = [100, 200].iter().map(|ago| archived(dir, "mc-0", *ago, |_| ())).collect();
    let end = archived(dir, "mc-0", 20, closed);
    assert_eq!(whys(&sweep(dir, Limits { files: 2, ..Limits::default() }, false)), [(end, Why::Files)]);
    assert!(crashes.iter().all(|file| file.exists()));
}

#[test]
fn what_lives_or_starts_is_left_alone() {
    let directory = directory();
    let dir = directory.path();
    archived(dir, "mc-0", 100, |_| ());
    // Closed, and its process, this one, lives on and has it mapped.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let mine = archived(dir, "mc-0", 50, |region| {
        closed(region);
        region.edit::<Header>(SectionKind::Header, 0, |header| {
            header.pid = std::process::id();
            header.process_start_ticks = ticks;
            header.pid_namespace =
                std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/pid").unwrap());
        });
    });
    let one = Limits { files: 1, ..Limits::default() };
    assert_eq!(whys(&sweep(dir, one, false)), []);
    assert!(mine.exists());

    let old = archived(dir, "mc-1", 100, closed);
    archived(dir, "mc-1", 50, closed);
    let starting = dir.join(".mc-1.0123456789abcdef0123456789abcdef.tmp");
    std::fs::write(&starting, b"").unwrap();
    let swept = sweep(dir, one, false);
    assert_eq!(whys(&swept), []);
    assert!(swept.problems[0].error.contains("mc-1 is just being started"), "{:?}", swept.problems);
    std::fs::remove_file(starting).unwrap();
    assert_eq!(whys(&sweep(dir, one, false)), [(old, Why::Files)]);
}

#[test]
fn a_count_that_can_not_be_noted_keeps_the_files() {
    let directory = directory();
    let dir = directory.path();
    let files: Vec<PathBuf> = [2, 5, 8].iter().map(|ago| archived(dir, "mc-0", *ago, |_| ())).collect();
    std::fs::create_dir(dir.join("archive/.mc-0.bursts")).unwrap();
    let swept = sweep(dir, Limits::default(), false);
    assert!(swept.problems[0].error.contains("can't be noted, so nothing of mc-0 is dropped"), "{:?}", swept.problems);
    assert!(files.iter().all(|file| file.exists()));
}
