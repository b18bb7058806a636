//! Starting a region: what stands in the file, and what each thing that can be wrong gets.
//!
//! Run as root: some of these mount a small tmpfs and make files of another user.

mod starting_child;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::mount::{MountFlags, UnmountFlags};
use starting_child::Owner;
use tachograph::{BuildError, DirectoryFault, OnExisting, Region};
use tachograph_layout::{Control, Header, MemoryLock, RegionState, Words};
use tempfile::TempDir;

#[test]
#[ignore = "a role that other tests start as a process"]
fn child() {
    starting_child::act();
}

fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn header_of(path: &Path) -> Header {
    let mut bytes = vec![0; 4096];
    File::open(path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    let words: Vec<u64> = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    Header::from_words(&words).unwrap()
}

fn word_of(path: &Path, offset: u64) -> u64 {
    let mut word = [0; 8];
    File::open(path).unwrap().read_exact_at(&mut word, offset).unwrap();
    u64::from_le_bytes(word)
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn fault(dir: &Path) -> DirectoryFault {
    match Region::builder("mc").dir(dir).build().unwrap_err() {
        BuildError::Directory { path, fault } => {
            assert_eq!(path, dir);
            fault
        }
        other => panic!("{other}"),
    }
}

/// A tmpfs of its own, unmounted when dropped.
struct Mounted(TempDir);

impl Mounted {
    fn new(flags: MountFlags, options: &std::ffi::CStr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options).unwrap_or_else(|errno| {
            panic!("this test mounts a small tmpfs and must run as root with CAP_SYS_ADMIN: {errno}")
        });
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn the_file_says_who_writes_it() {
    let dir = memory_dir();
    let before = SystemTime::now();
    let region =
        Region::builder("mc-0").dir(dir.path()).version("1.2.3").tick(Duration::from_millis(50)).build().unwrap();
    let path = dir.path().join("mc-0.tacho");
    assert_eq!(region.path(), Some(path.as_path()));
    assert!(!region.is_private());
    assert_eq!(names(dir.path()), ["mc-0.lock", "mc-0.tacho"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o440);
    assert_eq!(fs::metadata(dir.path().join("mc-0.lock")).unwrap().permissions().mode() & 0o7777, 0o640);

    let header = header_of(&path);
    header.check(fs::metadata(&path).unwrap().len()).unwrap();
    assert_eq!((header.name(), header.version()), ("mc-0".to_owned(), "1.2.3".to_owned()));
    assert_eq!(header.uuid, region.uuid());
    assert_eq!(header.uuid[6] >> 4, 4, "a random uuid");
    assert_eq!(header.pid, std::process::id());
    assert_eq!(header.pid_namespace, fs::metadata("/proc/self/ns/pid").unwrap().ino());
    assert_eq!(header.tick_period_ns, 50_000_000);
    assert!(header.exe().contains("starting"), "{}", header.exe());
    assert_eq!(header.host(), fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    assert_eq!(header.predecessor_uuid, [0; 16]);
    let created = SystemTime::UNIX_EPOCH + Duration::from_nanos(header.created_realtime_ns);
    assert!(created >= before && created <= SystemTime::now());
    assert!([MemoryLock::Held.to_wire(), MemoryLock::Refused.to_wire()].contains(&header.memory_lock));
    assert_eq!(RegionState::from_wire(word_of(&path, Control::STATE)), Some(RegionState::Live));
    assert!(word_of(&path, Control::LANES_USED) >= 1);
    assert!(word_of(&path, Control::TICK_REALTIME_NS) >= header.created_realtime_ns);
}

#[test]
fn every_page_is_there_from_the_start() {
    let dir = memory_dir();
    let region = Region::builder("mc").dir(dir.path()).build().unwrap();
    let file = fs::metadata(region.path().unwrap()).unwrap();
    assert!(file.blocks() * 512 >= file.len(), "{} of {} bytes are there", file.blocks() * 512, file.len());
    assert!(file.len() <= 4 << 20 || std::thread::available_parallelism().unwrap().get() > 32);
}

#[test]
fn bad_names_are_refused() {
    let dir = memory_dir();
    for name in ["", ".hidden", "a/b", "a b", "käse", &"x".repeat(65)] {
        let error = Region::builder(name).dir(dir.path()).build().unwrap_err();
        assert!(matches!(&error, BuildError::Name { name: told } if told == name), "{error}");
        assert!(error.to_string().contains("A-Za-z0-9._-"));
    }
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_capacity_out_of_range_is_named() {
    let dir = memory_dir();
    let error = Region::builder("mc").dir(dir.path()).series(0).build().unwrap_err();
    assert!(matches!(error, BuildError::Capacity { .. }));
    assert_eq!(error.to_string(), "region mc can't be sized: series: 0 is out of range, 1 to 16777216");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_missing_directory_is_told_with_the_remedy() {
    let dir = memory_dir();
    let missing = dir.path().join("nowhere");
    assert!(matches!(fault(&missing), DirectoryFault::Missing));
    let text = Region::builder("mc").dir(&missing).build().unwrap_err().to_string();
    assert!(text.contains(missing.to_str().unwrap()), "{text}");
    assert!(text.contains("TACHOGRAPH_DIR") && text.contains("Builder::dir"), "{text}");
}

#[test]
fn unsafe_directories_are_refused() {
    let dir = memory_dir();
    let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    for bad in [0o777, 0o1777, 0o702] {
        mode(bad);
        assert!(matches!(fault(dir.path()), DirectoryFault::WritableByOthers { mode } if mode == bad));
    }
    mode(0o770);
    assert!(matches!(fault(dir.path()), DirectoryFault::GroupWithoutSetgid { mode: 0o770 }));
    mode(0o2770);
    drop(Region::builder("mc").dir(dir.path()).build().unwrap());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let dir = memory_dir();
    std::os::unix::fs::chown(dir.path(), Some(54_321), None).expect("this test gives a directory away: run it as root");
    assert!(matches!(fault(dir.path()), DirectoryFault::Owner { owner: 54_321, user: 0 }));
}

#[test]
fn a_linked_directory_is_never_followed() {
    let dir = memory_dir();
    fs::create_dir(dir.path().join("real")).unwrap();
    let link = dir.path().join("link");
    symlink("real", &link).unwrap();
    assert!(matches!(fault(&link), DirectoryFault::Link));
    // A slash at the end would make the kernel follow it.
    let error = Region::builder("mc").dir(format!("{}/", link.display())).build().unwrap_err();
    assert!(matches!(error, BuildError::Directory { fault: DirectoryFault::Link, .. }), "{error}");
    let file = dir.path().join("file");
    File::create(&file).unwrap();
    assert!(matches!(fault(&file), DirectoryFault::NotDirectory));
}

#[test]
fn a_directory_that_cant_be_written_is_refused() {
    let mounted = Mounted::new(MountFlags::RDONLY, c"size=1m,mode=0755");
    assert!(matches!(fault(mounted.path()), DirectoryFault::NotWritable));
}

#[test]
fn a_disk_is_refused_unless_allowed() {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kind = rustix::fs::statfs(disk.path()).unwrap().f_type as u64;
    assert_ne!(kind, 0x0102_1994, "this test needs the target directory on a disk");
    let found = fault(disk.path());
    assert!(matches!(found, DirectoryFault::DiskBacked { kind: told } if told == kind), "{found}");
    assert!(found.to_string().contains("tmpfs"));
    let region = Region::builder("mc").dir(disk.path()).allow_disk_backed(true).build().unwrap();
    assert_eq!(region.path(), Some(disk.path().join("mc.tacho").as_path()));
}

#[test]
fn a_full_file_system_is_told_and_left_as_it_was() {
    let mounted = Mounted::new(MountFlags::empty(), c"size=1m,mode=0755");
    let dir = mounted.path();
    let error = Region::builder("mc").dir(dir).build().unwrap_err();
    let BuildError::Full { path, needed, free } = &error else { panic!("{error}") };
    assert_eq!(path, &dir.join("mc.tacho"));
    assert!(*needed > 1 << 20 && *free <= 1 << 20 && *free > 900_000, "{needed} {free}");
    let text = error.to_string();
    assert!(text.contains(&needed.to_string()) && text.contains("remount,size"), "{text}");
    assert_eq!(names(dir), ["mc.lock"]);
    // The name is free again.
    assert!(matches!(Region::builder("mc").dir(dir).build(), Err(BuildError::Full { .. })));
    let private = Region::builder("mc").dir(dir).build_or_private();
    assert!(private.is_private());
}

#[test]
fn no_inode_left_is_told_and_left_as_it_was() {
    // Root directory and lock file take the only two.
    let mounted = Mounted::new(MountFlags::empty(), c"size=16m,nr_inodes=2,mode=0755");
    let error = Region::builder("mc").dir(mounted.path()).build().unwrap_err();
    assert!(matches!(error, BuildError::Full { .. }), "{error}");
    assert!(error.to_string().contains("inodes"), "{error}");
    assert_eq!(names(mounted.path()), ["mc.lock"]);
}

#[test]
fn a_lock_file_that_is_none_is_refused() {
    let dir = memory_dir();
    let lock = dir.path().join("mc.lock");
    let found = || match Region::builder("mc").dir(dir.path()).build().unwrap_err() {
        BuildError::LockFile { path, found } => {
            assert_eq!(path, lock);
            found
        }
        other => panic!("{other}"),
    };
    symlink("elsewhere", &lock).unwrap();
    assert_eq!(found(), "a symbolic link");
    assert!(!dir.path().join("elsewhere").exists());
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(found(), "a directory");
    fs::remove_dir(&lock).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(found(), "a FIFO");
}

#[test]
fn a_second_region_of_the_name_is_refused_here() {
    let dir = memory_dir();
    let region = Region::builder("mc").dir(dir.path()).build().unwrap();
    let error = Region::builder("mc").dir(dir.path()).build().unwrap_err();
    let BuildError::Owned { path, owner: Some(owner) } = &error else { panic!("{error}") };
    assert_eq!(path, &dir.path().join("mc.tacho"));
    assert_eq!(owner.pid, std::process::id());
    assert!(owner.same_pid_namespace);
    assert!(error.to_string().contains("(this process) since 2"), "{error}");
    drop(Region::builder("mc-1").dir(dir.path()).build().unwrap());
    region.close();
    drop(Region::builder("mc").dir(dir.path()).build().unwrap());
}

#[test]
fn a_region_of_another_process_is_refused_until_it_dies() {
    let dir = memory_dir();
    let owner = Owner::start(dir.path(), "mc");
    let before = header_of(&dir.path().join("mc.tacho"));
    let error = Region::builder("mc").dir(dir.path()).build().unwrap_err();
    let BuildError::Owned { owner: Some(told), .. } = &error else { panic!("{error}") };
    assert_eq!(told.pid, owner.pid());
    assert_eq!(told.since, SystemTime::UNIX_EPOCH + Duration::from_nanos(before.created_realtime_ns));
    assert!(error.to_string().contains(&format!("process {} since ", owner.pid())), "{error}");
    // The loser left everything as it was, and `Refuse` is no other answer.
    assert_eq!(names(dir.path()), ["mc.lock", "mc.tacho"]);
    let error = Region::builder("mc").dir(dir.path()).on_existing(OnExisting::Refuse).build().unwrap_err();
    assert!(matches!(error, BuildError::Owned { .. }));
    owner.kill();
    drop(Region::builder("mc").dir(dir.path()).build().unwrap());
}

/// While the lock is held, what stands there may be the predecessor's: one that ended, or that another boot wrote, owns
/// nothing, though a process with its pid and start time lives.
#[test]
fn what_ended_or_is_of_another_boot_names_no_owner() {
    let owner = |offset: u64, word: Option<u64>| {
        let dir = memory_dir();
        let region = Region::builder("mc").dir(dir.path()).build().unwrap();
        if let Some(word) = word {
            let file = File::options().write(true).open(region.path().unwrap()).unwrap();
            file.write_all_at(&word.to_le_bytes(), offset).unwrap();
        }
        let BuildError::Owned { owner, .. } = Region::builder("mc").dir(dir.path()).build().unwrap_err() else {
            panic!("the lock is held")
        };
        owner.map(|owner| owner.pid)
    };
    let boot = std::mem::offset_of!(Header, boot_id) as u64;
    std::thread::scope(|scope| {
        let ended = [RegionState::Closed, RegionState::Unwound, RegionState::Exited]
            .map(|state| scope.spawn(move || owner(Control::STATE, Some(state.to_wire()))));
        let other_boot = scope.spawn(|| owner(boot, Some(7)));
        assert_eq!(owner(0, None), Some(std::process::id()));
        for ended in ended {
            assert_eq!(ended.join().unwrap(), None);
        }
        assert_eq!(other_boot.join().unwrap(), None);
    });
}

#[test]
fn an_owner_whose_file_is_gone_is_unknown() {
    let dir = memory_dir();
    let region = Region::builder("mc").dir(dir.path()).build().unwrap();
    fs::remove_file(region.path().unwrap()).unwrap();
    let error = Region::builder("mc").dir(dir.path()).build().unwrap_err();
    assert!(matches!(error, BuildError::Owned { owner: None, .. }), "{error}");
    assert!(error.to_string().contains("unknown"), "{error}");
}

#[test]
fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
    let dir = memory_dir();
    let lock = File::create(dir.path().join("mc.lock")).unwrap();
    let whole = nix::libc::flock { l_type: nix::libc::F_WRLCK as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1));
        drop(lock);
    });
    drop(Region::builder("mc").dir(dir.path()).build().unwrap());
    holder.join().unwrap();
}

#[test]
fn the_environment_names_the_directory() {
    let dir = memory_dir();
    let _owner = Owner::start_with("mc", |command| command.env("TACHOGRAPH_DIR", dir.path()));
    assert_eq!(names(dir.path()), ["mc.lock", "mc.tacho"]);
}

#[test]
fn the_default_directory_is_the_users_own() {
    let name = format!("starting-test-{}", std::process::id());
    let owner = Owner::start_with(&name, |command| command.env_remove("TACHOGRAPH_DIR"));
    let user = rustix::process::geteuid().as_raw();
    let places = ["/run/tachograph".to_owned(), format!("/dev/shm/tachograph-{user}")];
    let found = places.iter().map(Path::new).find(|dir| dir.join(format!("{name}.tacho")).exists());
    owner.kill();
    let dir = found.unwrap();
    fs::remove_file(dir.join(format!("{name}.tacho"))).unwrap();
    fs::remove_file(dir.join(format!("{name}.lock"))).unwrap();
    assert_eq!(fs::metadata(dir).unwrap().mode() & 0o002, 0);
}

#[test]
fn a_private_region_has_no_file() {
    let dir = memory_dir();
    let region = Region::builder("bad/name").dir(dir.path()).series(0).build_or_private();
    assert!(region.is_private());
    assert_eq!((region.name(), region.path()), ("bad_name", None));
    assert!(matches!(Region::builder("bad/name").private(), Err(BuildError::Name { .. })));
    assert!(names(dir.path()).is_empty());
}
