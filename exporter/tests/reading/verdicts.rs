//! What is said of a region's writer, from lock, place, boot and state.

use tachograph_exporter::{RegionReader, Verdict};
use tachograph_layout::{Control, Header, RegionState, SectionKind};

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
