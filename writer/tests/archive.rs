//! What can go wrong with the archive: full, unusable, crowded, hostile. The application starts all the same, and no
//! evidence is overwritten.

mod mounted;

use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::SystemTime;

use mounted::Mounted;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use tachograph::{BuildError, Builder, Region};
use tachograph_layout::{Control, RegionState};
use tempfile::TempDir;

/// Header fields.
const UUID: usize = 64;
const PID: usize = 112;
const CREATED: usize = 136;
const MINUTE: u64 = 60_000_000_000;

fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn builder(dir: &Path) -> Builder {
    named("mc", dir)
}

fn named(name: &str, dir: &Path) -> Builder {
    keep_logs();
    Region::builder(name).dir(dir).lanes(16).series(64).cells(64)
}

/// The bytes of a small region.
fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = memory_dir();
        let region = builder(dir.path()).build().unwrap();
        fs::read(region.path().unwrap()).unwrap()
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// A region whose process died so many minutes before now, at any path; gives its uuid.
fn corpse(path: &Path, minutes: u64, state: RegionState) -> String {
    let mut bytes = template().to_vec();
    let uuid = *uuid::Uuid::new_v4().as_bytes();
    bytes[UUID..UUID + 16].copy_from_slice(&uuid);
    bytes[PID..PID + 4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    let time = (now() - minutes * MINUTE).to_le_bytes();
    for offset in [CREATED, Control::STATE_REALTIME_NS as usize, Control::TICK_REALTIME_NS as usize] {
        bytes[offset..offset + 8].copy_from_slice(&time);
    }
    let at = Control::STATE as usize;
    bytes[at..at + 8].copy_from_slice(&state.to_wire().to_le_bytes());
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o440)).unwrap();
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn crashed(dir: &Path, minutes: u64) -> String {
    corpse(&dir.join("mc.tacho"), minutes, RegionState::Live)
}

/// Files of a folder, hidden ones too, but none that belongs to regions in their place.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<_> = files.filter(|path| name(path).ends_with(".tacho") && name(path) != "mc.tacho").collect();
    files.sort();
    files
}

fn uuids(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|path| path.to_str().unwrap().rsplit('.').nth(1).unwrap().to_owned()).collect()
}

/// Starts over what is there, and ends without a trace in the place of the region.
fn start_over(dir: &Path) {
    let region = builder(dir).build().unwrap();
    fs::remove_file(region.path().unwrap()).unwrap();
}

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what each thread logs. One subscriber for the process: of several, each for a thread, a line whose place is first
/// reached by a thread without one would be lost.
fn keep_logs() {
    struct Lines;
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.with_borrow_mut(|log| log.write(bytes))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static KEPT: Once = Once::new();
    KEPT.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).init());
}

/// All that this thread logs during a piece of work.
fn logged(work: impl FnOnce()) -> String {
    keep_logs();
    LOG.take();
    work();
    String::from_utf8(LOG.take()).unwrap()
}

/// What makes an archive useless, done and undone.
type Obstacle = (&'static str, fn(&Path), fn(&Path));

const OBSTACLES: [Obstacle; 7] = [
    ("a file", |archive| drop(File::create(archive).unwrap()), |archive| fs::remove_file(archive).unwrap()),
    (
        "a link to a folder",
        |archive| symlink(archive.parent().unwrap().join("elsewhere"), archive).unwrap(),
        |archive| fs::remove_file(archive).unwrap(),
    ),
    ("a link to nothing", |archive| symlink("nowhere", archive).unwrap(), |archive| fs::remove_file(archive).unwrap()),
    (
        "writable by all",
        |archive| {
            fs::create_dir(archive).unwrap();
            fs::set_permissions(archive, Permissions::from_mode(0o777)).unwrap();
        },
        |archive| fs::remove_dir(archive).unwrap(),
    ),
    (
        "another's",
        |archive| {
            fs::create_dir(archive).unwrap();
            std::os::unix::fs::chown(archive, Some(4711), Some(4711)).unwrap();
        },
        |archive| fs::remove_dir(archive).unwrap(),
    ),
    (
        "read-only",
        |archive| {
            fs::create_dir(archive).unwrap();
            mount_bind(archive, archive).unwrap();
            let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
            rustix::mount::mount_remount(archive, flags, c"").unwrap();
        },
        |archive| {
            unmount(archive, UnmountFlags::DETACH).unwrap();
            fs::remove_dir(archive).unwrap();
        },
    ),
    (
        "another file system",
        |archive| {
            fs::create_dir(archive).unwrap();
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", archive, "tmpfs", flags, c"size=1m,mode=0755").unwrap();
        },
        |archive| {
            unmount(archive, UnmountFlags::DETACH).unwrap();
            fs::remove_dir(archive).unwrap();
        },
    ),
];

#[test]
fn an_archive_that_does_not_serve_neither_stops_the_start_nor_costs_the_evidence() {
    for (what, put, take_away) in OBSTACLES {
        let dir = memory_dir();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        let archive = dir.path().join("archive");
        put(&archive);
        let dead = crashed(dir.path(), 30);
        let bytes = fs::read(dir.path().join("mc.tacho")).unwrap();
        let mut private = None;
        let log = logged(|| private = Some(builder(dir.path()).build_or_private().is_private()));
        let beside = kept(dir.path());
        // One more of the same burst: its count is noted where the files are.
        fs::remove_file(dir.path().join("mc.tacho")).unwrap();
        crashed(dir.path(), 25);
        start_over(dir.path());
        let noted = fs::read_to_string(dir.path().join(".mc.bursts")).unwrap_or_default();
        take_away(&archive);
        assert_eq!(noted.split(' ').nth(2), Some("2"), "{what}: {noted}");
        assert_eq!(private, Some(false), "{what}: {log}");
        assert_eq!(log.matches(" WARN ").count(), 1, "{what}: {log}");
        assert!(log.contains("the archive can't be used"), "{what}: {log}");
        let [file] = &beside[..] else { panic!("{what}: {beside:?}") };
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".mc.") && name.ends_with(&format!(".{dead}.tacho")), "{what}: {name}");
        assert_eq!(fs::read(file).unwrap(), bytes, "{what}");
        assert!(fs::read_dir(dir.path().join("elsewhere")).unwrap().next().is_none(), "{what}: a link was followed");

        // Once the archive serves, it gathers what was put beside.
        crashed(dir.path(), 2);
        start_over(dir.path());
        assert!(kept(dir.path()).is_empty(), "{what}");
        assert!(uuids(&kept(&archive)).contains(&dead), "{what}");
    }
}

#[test]
fn a_crash_loop_without_an_archive_is_kept_small_and_counted_too() {
    let dir = memory_dir();
    File::create(dir.path().join("archive")).unwrap();
    let dead: Vec<_> = (1..=20).rev().map(|minutes| (crashed(dir.path(), minutes), start_over(dir.path())).0).collect();
    assert_eq!(uuids(&kept(dir.path())), [dead[0].clone(), dead[19].clone()]);
    assert!(fs::read_to_string(dir.path().join(".mc.bursts")).unwrap().contains(" 20 "));
    // The count goes along into the archive.
    fs::remove_file(dir.path().join("archive")).unwrap();
    let last = crashed(dir.path(), 0);
    start_over(dir.path());
    assert_eq!(uuids(&kept(&dir.path().join("archive"))), [dead[0].clone(), last]);
    assert!(fs::read_to_string(dir.path().join("archive/.mc.bursts")).unwrap().contains(" 21 "));
    assert!(!dir.path().join(".mc.bursts").exists());
}

#[test]
fn of_fifty_deaths_the_first_and_the_newest_are_kept_and_fifty_counted() {
    let dir = memory_dir();
    let dead: Vec<_> =
        (0..50).rev().map(|minutes| (crashed(dir.path(), minutes * 9), start_over(dir.path())).0).collect();
    let archive = dir.path().join("archive");
    assert_eq!(uuids(&kept(&archive)), [dead[0].clone(), dead[49].clone()]);
    let note = fs::read_to_string(archive.join(".mc.bursts")).unwrap();
    let fields: Vec<_> = note.split_whitespace().collect();
    assert!(fields[0].contains(&dead[0]), "{note}");
    assert_eq!((fields.len(), fields[2]), (4, "50"), "{note}");
}

#[test]
fn what_can_not_be_moved_at_all_is_an_error_or_a_private_region() {
    let dir = memory_dir();
    let file = dir.path().join("mc.tacho");
    let dead = crashed(dir.path(), 1);
    // A mount point can't be renamed.
    mount_bind(&file, &file).unwrap();
    let error = builder(dir.path()).build().unwrap_err();
    let mut region = None;
    let log = logged(|| region = Some(builder(dir.path()).build_or_private()));
    unmount(&file, UnmountFlags::DETACH).unwrap();
    assert!(matches!(&error, BuildError::Archive { path, .. } if path == &file), "{error}");
    assert!(error.to_string().contains("by hand"), "{error}");
    let region = region.unwrap();
    assert!(region.is_private());
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    let served = region.counter("app_served_total", "Requests served").unwrap();
    served.add(3);
    assert_eq!(served.get(), 3);
    assert_eq!(fs::read(&file).unwrap().len(), template().len());
    start_over(dir.path());
    assert_eq!(uuids(&kept(&dir.path().join("archive"))), [dead]);
}

#[test]
fn no_archived_file_is_ever_overwritten() {
    let dir = memory_dir();
    let archive = dir.path().join("archive");
    fs::create_dir(&archive).unwrap();
    fs::set_permissions(&archive, Permissions::from_mode(0o750)).unwrap();
    let dead = crashed(dir.path(), 30);
    // The same dead region comes again, as after `cp` by hand; and a folder and a link have the next names.
    let copy = fs::read(dir.path().join("mc.tacho")).unwrap();
    start_over(dir.path());
    let first = kept(&archive).remove(0);
    let stem = first.to_str().unwrap().strip_suffix(".tacho").unwrap().to_owned();
    fs::create_dir(format!("{stem}-2.tacho")).unwrap();
    symlink("nowhere", format!("{stem}-3.tacho")).unwrap();
    fs::write(dir.path().join("mc.tacho"), &copy).unwrap();
    start_over(dir.path());
    let kept = kept(&archive);
    assert_eq!(kept, [PathBuf::from(format!("{stem}-4.tacho")), first]);
    assert!(kept.iter().all(|file| fs::read(file).unwrap() == copy), "{dead}");
    assert!(Path::new(&format!("{stem}-2.tacho")).is_dir());
    assert_eq!(fs::read_link(format!("{stem}-3.tacho")).unwrap(), Path::new("nowhere"));
}

#[test]
fn hostile_notes_of_bursts_stop_nothing() {
    let note =
        |dir: &Path, temporary: bool| dir.join(if temporary { "archive/.mc.bursts.tmp" } else { "archive/.mc.bursts" });
    let victim = memory_dir();
    let precious = victim.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    type Put<'a> = &'a dyn Fn(&Path);
    let puts: [(&str, Put<'_>); 6] = [
        ("huge", &|path| File::create(path).unwrap().set_len(1 << 30).unwrap()),
        ("garbage", &|path| fs::write(path, [b"\xff\0 1 2 3 4\n".as_slice(), &b"x ".repeat(5_000)].concat()).unwrap()),
        ("numbers", &|path| {
            fs::write(path, format!("mc.x.tacho {0} {0} 0\nmc {0} 18446744073709551615 0\n", u64::MAX)).unwrap()
        }),
        ("link", &|path| symlink(&precious, path).unwrap()),
        ("FIFO", &|path| {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap()
        }),
        ("folder", &|path| fs::create_dir(path).unwrap()),
    ];
    for (what, put) in puts {
        for temporary in [false, true] {
            let dir = memory_dir();
            let dead = [28, 20].map(|minutes| (crashed(dir.path(), minutes), start_over(dir.path())).0);
            let path = note(dir.path(), temporary);
            let _ = fs::remove_file(&path);
            put(&path);
            crashed(dir.path(), 15);
            start_over(dir.path());
            let last = crashed(dir.path(), 10);
            // Another thread, so that a start that hangs is told as such.
            let (done, finished) = std::sync::mpsc::channel();
            let folder = dir.path().to_owned();
            std::thread::spawn(move || (start_over(&folder), done.send(())));
            let ended = finished.recv_timeout(std::time::Duration::from_secs(20));
            assert!(ended.is_ok(), "{what} hung the start ({path:?})");
            let kept = uuids(&kept(&dir.path().join("archive")));
            // Without any memory, two of a burst more than ten minutes apart look like two bursts.
            assert_eq!((kept.first(), kept.last()), (dead.first(), Some(&last)), "{what} {temporary}");
            assert!(kept.len() == 2 || what == "folder", "{what} {temporary}: {kept:?}");
            assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{what}");
            // A note that could be written anew says what the files tell, and counts on.
            if what != "folder" && what != "numbers" {
                let text = fs::read_to_string(note(dir.path(), false)).unwrap();
                assert_eq!(text.lines().count(), 1, "{what}: {text}");
                assert_eq!(text.split(' ').nth(2), Some("4"), "{what} {temporary}: {text}");
            }
        }
    }
}

#[test]
fn more_files_than_the_cap_are_brought_down_and_foreign_ones_are_left() {
    let dir = memory_dir();
    let archive = dir.path().join("archive");
    fs::create_dir(&archive).unwrap();
    fs::set_permissions(&archive, Permissions::from_mode(0o750)).unwrap();
    let put = |name: &str, hours: u64, state| {
        let uuid = corpse(&archive.join("put"), hours * 60, state);
        fs::rename(archive.join("put"), archive.join(format!("{name}.202601{hours:02}T000000Z.{uuid}.tacho"))).unwrap();
        uuid
    };
    let others = [put("other", 20, RegionState::Live), put("mc.2", 21, RegionState::Closed)];
    let by_hand: Vec<_> = (1..=9).map(|hours| put("mc", hours, RegionState::Live)).collect();
    put("mc", 10, RegionState::Closed);
    for foreign in ["mc.tacho", "README", "mc.20260101T000000Z.tacho", ".mc.20260101T000000Z.x.tacho", "mc.bursts"] {
        fs::write(archive.join(foreign), "foreign").unwrap();
    }
    fs::create_dir(archive.join("mc.20260101T000000Z.folder.tacho")).unwrap();
    let fifo = archive.join("mc.20260101T000000Z.fifo.tacho");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let last = crashed(dir.path(), 0);
    let log = logged(|| start_over(dir.path()));
    let mut left = uuids(&kept(&archive));
    left.retain(|uuid| uuid.len() == 32);
    left.sort();
    let mut expected: Vec<_> = by_hand[..3].iter().chain(&others).chain([&last]).cloned().collect();
    expected.sort();
    assert_eq!(left, expected, "{log}");
    for foreign in ["mc.tacho", "README", "mc.20260101T000000Z.tacho", ".mc.20260101T000000Z.x.tacho", "mc.bursts"] {
        assert_eq!(fs::read(archive.join(foreign)).unwrap(), b"foreign", "{foreign}");
    }
    assert!(archive.join("mc.20260101T000000Z.folder.tacho").is_dir() && fifo.exists());
    assert_eq!(log.matches(" WARN ").count(), 0, "{log}");
}

#[test]
fn a_full_file_system_while_archiving_still_starts() {
    let bytes = template().len() as u64;
    // Room for four regions and a little, all of it taken but what a new region needs.
    let mounted = Mounted::new(bytes * 4 + bytes / 2);
    let dir = mounted.path();
    let dead = crashed(dir, 30);
    let mut filler = File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    filler.set_len(filler.metadata().unwrap().len().saturating_sub(bytes)).unwrap();
    assert!(!builder(dir).archive_share(100).build_or_private().is_private());
    assert_eq!(uuids(&kept(&dir.join("archive"))), [dead]);
}

/// A file more than there may be: then evidence goes, and never the start.
#[test]
fn without_inodes_the_evidence_goes_and_the_region_starts() {
    // The directory, the dead region, the lock, the archive and the new region are five.
    for (inodes, stays) in [(3, 0), (4, 0), (5, 1)] {
        let mounted = Mounted::new(template().len() as u64 * 4);
        let dir = mounted.path();
        let dead = crashed(dir, 30);
        let options = std::ffi::CString::new(format!("nr_inodes={inodes}")).unwrap();
        rustix::mount::mount_remount(dir, rustix::mount::MountFlags::empty(), options.as_c_str()).unwrap();
        let mut private = None;
        let log = logged(|| private = Some(builder(dir).archive_share(100).build_or_private().is_private()));
        assert_eq!(private, Some(false), "{inodes}: {log}");
        let archive = dir.join("archive");
        let left = [kept(dir), if archive.exists() { kept(&archive) } else { Vec::new() }].concat();
        assert_eq!(uuids(&left), vec![dead; stays], "{inodes}: {log}");
        assert_eq!(log.contains("dropped archived evidence"), stays == 0, "{inodes}: {log}");
        assert!(dir.join("mc.tacho").exists());
    }
}

#[test]
fn a_large_orderly_end_does_not_cost_a_crash() {
    let bytes = template().len() as u64;
    // The share is two files and a half.
    let mounted = Mounted::new(bytes * 10);
    let dir = mounted.path();
    let dead = [(120, "mc"), (60, "mc")].map(|(minutes, name)| {
        let uuid = corpse(&dir.join(format!("{name}.tacho")), minutes, RegionState::Live);
        start_over(dir);
        uuid
    });
    let large = dir.join("mc.tacho");
    corpse(&large, 1, RegionState::Closed);
    fs::set_permissions(&large, Permissions::from_mode(0o640)).unwrap();
    let file = fs::OpenOptions::new().append(true).open(&large).unwrap();
    file.write_all_at(&vec![1; bytes as usize * 3], bytes).unwrap();
    start_over(dir);
    assert_eq!(uuids(&kept(&dir.join("archive"))), dead);
}
