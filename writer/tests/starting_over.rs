//! Starting where a region is there already: it is archived, few enough are kept, and nothing stale is left.

mod mounted;
mod starting_child;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use mounted::Mounted;
use starting_child::Owner;
use tachograph::{BuildError, Builder, OnExisting, Region};
use tachograph_layout::{Control, RegionState};
use tempfile::TempDir;

#[test]
#[ignore = "a role that other tests start as a process"]
fn child() {
    starting_child::act();
}

/// Header field `pid`.
const PID: u64 = 112;
const MINUTE: u64 = 60_000_000_000;
/// Header field `created_realtime_ns`.
const CREATED: u64 = 136;

fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn hex(uuid: [u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid_of(path: &Path) -> String {
    let mut uuid = [0; 16];
    File::open(path).unwrap().read_exact_at(&mut uuid, 64).unwrap();
    hex(uuid)
}

fn builder(dir: &Path) -> Builder {
    Region::builder("mc").dir(dir).lanes(16)
}

/// Uuids of the archived regions, in the order of their names (and so of the seconds they were built).
fn archived(dir: &Path) -> Vec<String> {
    let files = names(&dir.join("archive")).into_iter().filter(|name| name.ends_with(".tacho"));
    files.map(|name| name.rsplit('.').nth(1).unwrap().to_owned()).collect()
}

/// A region whose process was killed; gives its uuid.
fn crash(dir: &Path) -> String {
    let owner = Owner::start(dir, "mc");
    let file = dir.join("mc.tacho");
    let mut pid = [0; 4];
    File::open(&file).unwrap().read_exact_at(&mut pid, PID).unwrap();
    assert_eq!(u32::from_le_bytes(pid), owner.pid());
    let uuid = uuid_of(&file);
    owner.kill();
    uuid
}

/// A region whose process was killed so many minutes before now; gives its uuid.
fn crash_before(dir: &Path, minutes: u64) -> String {
    let uuid = crash(dir);
    set_back(&dir.join("mc.tacho"), minutes);
    uuid
}

fn set_back(path: &Path, minutes: u64) {
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    for offset in [CREATED, Control::STATE_REALTIME_NS, Control::TICK_REALTIME_NS] {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, offset).unwrap();
        let time = u64::from_le_bytes(word) - minutes * MINUTE;
        file.write_all_at(&time.to_le_bytes(), offset).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_evidence_that_is_archived() {
    let dir = memory_dir();
    let dead = crash(dir.path());
    let bytes = fs::read(dir.path().join("mc.tacho")).unwrap();
    let region = builder(dir.path()).build().unwrap();
    assert_eq!(names(dir.path()), ["archive", "mc.lock", "mc.tacho"]);
    assert_ne!(hex(region.uuid()), dead);
    let [name] = &names(&dir.path().join("archive"))[..] else { panic!() };
    let parts: Vec<_> = name.split('.').collect();
    assert_eq!((parts[0], parts[2], parts[3]), ("mc", dead.as_str(), "tacho"));
    assert_eq!((parts[1].len(), &parts[1][8..9], &parts[1][15..]), (16, "T", "Z"), "{name}");
    let kept = dir.path().join("archive").join(name);
    assert_eq!(fs::read(&kept).unwrap(), bytes);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o440);
    assert_eq!(fs::metadata(dir.path().join("archive")).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn an_orderly_closed_region_is_archived_too() {
    let dir = memory_dir();
    let closed = builder(dir.path()).build().unwrap();
    let uuid = hex(closed.uuid());
    closed.close();
    let _region = builder(dir.path()).build().unwrap();
    assert_eq!(archived(dir.path()), [uuid]);
    let name = names(&dir.path().join("archive")).remove(0);
    let mut word = [0; 8];
    let file = File::open(dir.path().join("archive").join(name)).unwrap();
    file.read_exact_at(&mut word, Control::STATE).unwrap();
    assert_eq!(RegionState::from_wire(u64::from_le_bytes(word)), Some(RegionState::Closed));
}

#[test]
fn refuse_leaves_everything_as_it_is() {
    let dir = memory_dir();
    let dead = crash(dir.path());
    let error = builder(dir.path()).on_existing(OnExisting::Refuse).build().unwrap_err();
    assert!(matches!(&error, BuildError::Exists { path } if path == &dir.path().join("mc.tacho")), "{error}");
    assert!(error.to_string().contains("OnExisting::Archive"), "{error}");
    assert_eq!(uuid_of(&dir.path().join("mc.tacho")), dead);
    assert_eq!(names(dir.path()), ["mc.lock", "mc.tacho"]);
}

#[test]
fn what_is_no_region_is_archived_as_unknown() {
    let dir = memory_dir();
    for (content, expected) in [(&b"not a region"[..], ".unknown.tacho"), (b"", ".unknown-2.tacho")] {
        let path = dir.path().join("mc.tacho");
        let file = File::create(&path).unwrap();
        file.write_all_at(content, 0).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        file.set_modified(time).unwrap();
        builder(dir.path()).build().unwrap().close();
        fs::remove_file(&path).unwrap();
        let file = dir.path().join(format!("archive/mc.20231114T221320Z{expected}"));
        assert_eq!(fs::read(&file).unwrap(), content, "{}", file.display());
    }
}

#[test]
fn a_link_or_directory_at_the_name_is_named() {
    let dir = memory_dir();
    let path = dir.path().join("mc.tacho");
    let found = || match builder(dir.path()).build().unwrap_err() {
        BuildError::Squatted { path: told, found } => {
            assert_eq!(told, path);
            found
        }
        other => panic!("{other}"),
    };
    symlink("elsewhere", &path).unwrap();
    assert_eq!(found(), "a symbolic link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(found(), "a directory");
    assert_eq!(names(dir.path()), ["mc.lock", "mc.tacho"]);
}

#[test]
fn of_a_crash_loop_the_first_and_the_newest_are_kept_and_counted() {
    let dir = memory_dir();
    let dead: Vec<_> = (0..6).map(|_| crash(dir.path())).collect();
    let _region = builder(dir.path()).build().unwrap();
    let mut kept = archived(dir.path());
    kept.sort();
    let mut expected = [dead[0].clone(), dead[5].clone()];
    expected.sort();
    assert_eq!(kept, expected);
    let note = fs::read_to_string(dir.path().join("archive/.mc.bursts")).unwrap();
    let fields: Vec<_> = note.split_whitespace().collect();
    assert!(fields[0].contains(&dead[0]), "{note}");
    assert_eq!((fields.len(), fields[2]), (4, "6"), "{note}");
}

#[test]
fn with_one_file_a_crash_loop_is_counted_all_the_same() {
    let dir = memory_dir();
    let mut newest = String::new();
    for _ in 0..4 {
        newest = crash(dir.path());
        builder(dir.path()).keep_archived(1).build().unwrap().close();
        fs::remove_file(dir.path().join("mc.tacho")).unwrap();
    }
    assert_eq!(archived(dir.path()), [newest]);
    let note = fs::read_to_string(dir.path().join("archive/.mc.bursts")).unwrap();
    assert_eq!(note.split(' ').nth(2), Some("4"), "{note}");
}

#[test]
fn where_a_start_was_cut_off_after_it_archived_the_next_applies_the_rules() {
    let dir = memory_dir();
    let dead: Vec<_> = (0..3)
        .map(|index| {
            let uuid = crash(dir.path());
            archive_by_hand(dir.path(), &format!("2020010{index}T000000Z"));
            uuid
        })
        .collect();
    let archive = dir.path().join("archive");
    fs::set_permissions(&archive, Permissions::from_mode(0o750)).unwrap();
    let _region = builder(dir.path()).build().unwrap();
    assert_eq!(archived(dir.path()), [&dead[0], &dead[2]].map(String::clone));
    let note = fs::read_to_string(archive.join(".mc.bursts")).unwrap();
    assert_eq!(note.split(' ').nth(2), Some("3"), "{note}");
}

#[test]
fn an_archive_whose_making_was_cut_off_gets_its_mode() {
    let dir = memory_dir();
    crash(dir.path());
    let archive = dir.path().join("archive");
    let mode = |mode| fs::set_permissions(&archive, Permissions::from_mode(mode)).unwrap();
    fs::create_dir(&archive).unwrap();
    mode(0o700);
    builder(dir.path()).build().unwrap().close();
    let found = || fs::metadata(&archive).unwrap().permissions().mode() & 0o7777;
    assert_eq!(found(), 0o750);
    // One that is in use has the mode that somebody gave it.
    mode(0o700);
    let _region = builder(dir.path()).build().unwrap();
    assert_eq!(found(), 0o700);
}

#[test]
fn single_crashes_are_kept_up_to_the_cap() {
    let dir = memory_dir();
    let dead: Vec<_> = (1..=5).rev().map(|hours| crash_before(dir.path(), hours * 60)).collect();
    let closed = builder(dir.path()).build().unwrap();
    assert_eq!(archived(dir.path()), dead[1..]);
    // A closed one is worth less than any crash, though it is the newest of all.
    closed.close();
    set_back(&dir.path().join("mc.tacho"), 30);
    let last = crash(dir.path());
    assert_eq!(archived(dir.path()), dead[1..]);
    let _region = builder(dir.path()).build().unwrap();
    assert_eq!(archived(dir.path()), [&dead[2..], &[last]].concat());
}

#[test]
fn the_cap_is_the_builders_and_counts_its_own_name_only() {
    let dir = memory_dir();
    let other = Owner::start(dir.path(), "mc.other");
    let other_uuid = uuid_of(&dir.path().join("mc.other.tacho"));
    other.kill();
    Region::builder("mc.other").dir(dir.path()).build().unwrap().close();
    crash_before(dir.path(), 120);
    crash_before(dir.path(), 60);
    let newest = crash(dir.path());
    let _region = builder(dir.path()).keep_archived(1).build().unwrap();
    let mut kept = archived(dir.path());
    kept.sort();
    let mut expected = [other_uuid, newest];
    expected.sort();
    assert_eq!(kept, expected);
}

#[test]
fn stale_temporaries_of_the_name_are_removed() {
    let dir = memory_dir();
    let uuid = "0123456789abcdef0123456789abcdef";
    let stale = format!(".mc.{uuid}.tmp");
    let others = [format!(".mc-0.{uuid}.tmp"), ".mc.short.tmp".to_owned(), format!(".mc.x.{uuid}.tmp")];
    for file in others.iter().chain([&stale]) {
        File::create(dir.path().join(file)).unwrap();
    }
    let _region = builder(dir.path()).build().unwrap();
    let mut expected: Vec<String> = others.into();
    expected.extend(["mc.lock".to_owned(), "mc.tacho".to_owned()]);
    expected.sort();
    assert_eq!(names(dir.path()), expected);
}

/// Bytes of the file that `builder` makes.
fn region_bytes() -> u64 {
    let dir = memory_dir();
    let region = builder(dir.path()).build().unwrap();
    fs::metadata(region.path().unwrap()).unwrap().len()
}

#[test]
fn where_the_file_system_is_full_the_oldest_evidence_goes() {
    let bytes = region_bytes();
    // Room for three regions and a little; the archive may have all of it.
    let mounted = Mounted::new(bytes * 3 + bytes / 2);
    let dir = mounted.path();
    let oldest = crash_before(dir, 120);
    archive_by_hand(dir, "20200101T000000Z");
    // Out of sight of the starts between, which keep to the archive's usual share.
    let (archive, aside) = (dir.join("archive"), dir.join("aside"));
    fs::rename(&archive, &aside).unwrap();
    let older = crash_before(dir, 60);
    fs::rename(&aside, &archive).unwrap();
    archive_by_hand(dir, "20200102T000000Z");
    fs::rename(&archive, &aside).unwrap();
    let newest = crash(dir);
    fs::rename(&aside, &archive).unwrap();
    assert_eq!(archived(dir), [oldest, older.clone()]);
    let _region = builder(dir).archive_share(100).build().unwrap();
    assert_eq!(archived(dir), [older, newest]);
}

/// Moves the dead region to the archive, so that no rule is applied.
fn archive_by_hand(dir: &Path, stamp: &str) {
    let file = dir.join("mc.tacho");
    let archived = dir.join("archive").join(format!("mc.{stamp}.{}.tacho", uuid_of(&file)));
    fs::create_dir_all(dir.join("archive")).unwrap();
    fs::rename(file, archived).unwrap();
}

#[test]
fn evidence_never_stops_the_application_but_goes_only_where_that_helps() {
    let bytes = region_bytes();
    // Room for one region only: what was just archived has to go, too.
    let mounted = Mounted::new(bytes + bytes / 2);
    crash(mounted.path());
    let region = builder(mounted.path()).build().unwrap();
    assert!(archived(mounted.path()).is_empty());
    region.close();

    // A region that would not fit an empty file system leaves the evidence.
    let uuid = uuid_of(&mounted.path().join("mc.tacho"));
    let error = builder(mounted.path()).cells(100_000).archive_share(100).build().unwrap_err();
    assert!(matches!(error, BuildError::Full { .. }), "{error}");
    assert_eq!(archived(mounted.path()), [uuid]);
}

#[test]
fn the_archive_takes_no_more_than_its_share() {
    let bytes = region_bytes();
    let mounted = Mounted::new(bytes * 10);
    let dir = mounted.path();
    let dead: Vec<_> = [180, 120, 60].map(|minutes| crash_before(dir, minutes)).into();
    let _region = builder(dir).build().unwrap();
    // A quarter of ten is two.
    assert_eq!(archived(dir), dead[1..]);
}
