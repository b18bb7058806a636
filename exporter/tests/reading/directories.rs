//! Scans, archives, and what REGION means.

use std::sync::Arc;

use tachograph_exporter::{Directories, ResolveError, Verdict};
use tachograph_layout::{Header, SectionKind};

use crate::builder::{Region, directory, hold_lock, lock_file};

fn names(scan: &tachograph_exporter::Scan) -> Vec<&str> {
    scan.regions.iter().map(|reader| reader.name()).collect()
}

#[test]
fn a_scan_lists_regions_and_tells_the_rest() {
    let directory = directory();
    Region::full("mc-1").write(directory.path());
    Region::full("mc-0").write(directory.path());
    std::fs::write(directory.path().join(".mc-2.tmp.tacho"), b"half").unwrap();
    std::fs::write(directory.path().join("notes.txt"), b"other").unwrap();
    std::fs::write(directory.path().join("bad.tacho"), b"bad").unwrap();
    let directories = Directories::from_args(vec![directory.path().to_owned(), "/nowhere/at/all".into()]);
    let scan = directories.scan();
    assert_eq!(names(&scan), ["mc-0", "mc-1"]);
    let problems: Vec<_> = scan.problems.iter().map(|problem| problem.error.as_str()).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("3 bytes: too short") && problems[1].starts_with("no such directory"));
    assert_eq!(scan.problems[0].path, directory.path().join("bad.tacho"));
}

#[test]
fn readers_are_kept_until_their_region_goes() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let directories = Directories::from_args(vec![directory.path().to_owned(), directory.path().join(".")]);
    let first = directories.scan().regions;
    assert_eq!(first.len(), 1, "a directory given twice is read once");
    assert!(Arc::ptr_eq(&first[0], &directories.scan().regions[0]));

    // Another region in place of the first, as a new file and then written over it.
    std::fs::remove_file(&path).unwrap();
    Region::full("mc-0").write(directory.path());
    let second = directories.scan().regions;
    assert_ne!(first[0].uuid(), second[0].uuid());
    let third = Region::full("mc-0");
    std::fs::write(&path, &third.bytes).unwrap();
    assert_ne!(second[0].uuid(), directories.scan().regions[0].uuid());

    std::fs::remove_file(&path).unwrap();
    assert!(directories.scan().regions.is_empty());
}

#[test]
fn a_file_unlinked_under_its_living_writer_stays_listed() {
    let directory = directory();
    let path = Region::full("mc-0").write(directory.path());
    let lock = hold_lock(directory.path(), "mc-0");
    let directories = Directories::from_args(vec![directory.path().to_owned()]);
    assert_eq!(directories.scan().regions.len(), 1);
    std::fs::remove_file(&path).unwrap();
    let scan = directories.scan();
    assert!(scan.regions[0].snapshot().unwrap().region.unlinked);
    drop(lock);
    assert!(directories.scan().regions.is_empty());
}

#[test]
fn region_means_a_name_a_crash_or_a_path() {
    let directory = directory();
    let archive = directory.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let in_place = Region::full("mc-0").write(directory.path());
    let lock = hold_lock(directory.path(), "mc-0");
    let archived = |built: u64, name: &str| {
        let mut region = Region::full(name);
        region.edit::<Header>(SectionKind::Header, 0, |header| header.created_realtime_ns = built);
        let path = archive.join(format!("{name}.20260101T00000{built}Z.{:032x}.tacho", built));
        std::fs::write(&path, &region.bytes).unwrap();
        path
    };
    let (older, newer) = (archived(1, "mc-0"), archived(2, "mc-0"));
    archived(3, "mc-0.b");
    let directories = Directories::from_args(vec![directory.path().to_owned()]);

    let resolved = |region: &str| directories.resolve(region).unwrap().path().to_owned();
    assert_eq!(resolved("mc-0"), in_place);
    assert_eq!(resolved("mc-0@crash"), newer);
    assert_eq!(resolved(older.to_str().unwrap()), older);
    assert_eq!(directories.archived(Some("mc-0")).regions.len(), 2);
    assert_eq!(names(&directories.archived(None)), ["mc-0", "mc-0", "mc-0.b"]);
    drop(lock);
    assert_eq!(resolved("mc-0@crash"), in_place, "the newest crash stands in place");
    assert_eq!(directories.resolve("mc-0").unwrap().verdict().unwrap(), Verdict::Crashed);

    let error = |region: &str| directories.resolve(region).map(|_| ()).unwrap_err();
    let not_found = error("mc-9").to_string();
    assert!(not_found.contains("no region mc-9") && not_found.contains(&directory.path().display().to_string()));
    assert!(matches!(error("mc-9@crash"), ResolveError::NoCrash { .. }));
    assert!(matches!(error("what is this"), ResolveError::NotAName { .. }));
    assert!(matches!(error("/nowhere/x.tacho"), ResolveError::Open(_)));
}

#[test]
fn a_name_in_two_directories_is_ambiguous() {
    let (one, two) = (directory(), directory());
    for directory in [&one, &two] {
        Region::full("mc-0").write(directory.path());
        lock_file(directory.path(), "mc-0");
    }
    let directories = Directories::from_args(vec![one.path().to_owned(), two.path().to_owned()]);
    assert_eq!(directories.scan().regions.len(), 2);
    assert!(matches!(directories.resolve("mc-0"), Err(ResolveError::Ambiguous { .. })));
}
