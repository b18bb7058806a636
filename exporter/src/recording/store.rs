//! The recorder's directory on disk: made and checked, locked against a second recorder, and kept within its bytes.
//!
//! Called by the recorder only. Blocks are appended to and dropped whole, never rewritten. Nothing is synced: what was
//! written outlives the recorder in the page cache; a power loss may cost what the kernel had not written back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::block::BlockName;
use super::library::BLOCKS;
use crate::case::CASES;

/// Why a directory can't be recorded to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't be made, opened or written to.
    #[error("{path}: {what}; give --recorder.dir a directory on disk that this user owns, such as /var/lib/tacho", path = path.display())]
    Directory {
        /// The path.
        path: PathBuf,
        /// What is in the way.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is not safe: others could put files there.
    #[error("{path}: {what}; make it yours alone: chown it to the recorder's user and chmod 0750", path = path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another recorder has it.
    #[error("{path}: another tacho records there; give each its own --recorder.dir", path = path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
}

/// Its lock file: held by the recorder that has it.
const LOCK: &str = ".lock";

/// What is counted of a file: whole units of the file system.
const UNIT: u64 = 4096;

/// A block on disk.
#[derive(Debug)]
struct Kept {
    len: u64,
    /// When its last sample was taken, in nanoseconds since the Unix epoch.
    newest_ns: u64,
    /// Being written.
    open: bool,
}

impl Kept {
    const fn counted(&self) -> u64 {
        self.len.next_multiple_of(UNIT)
    }
}

/// A recorder's directory.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    max_bytes: u64,
    blocks: BTreeMap<BlockName, Kept>,
    bytes: u64,
    lock: OwnedFd,
}

/// A block that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) name: BlockName,
    file: File,
    pub(crate) len: u64,
    /// Half a frame stands at its end and could not be taken off: nothing may follow it.
    pub(crate) torn: bool,
}

impl Writing {
    /// Whether somebody removed its file: what is appended would be lost.
    pub(crate) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Store {
    /// Makes the directory where it is missing, checks and locks it, and finds the blocks of recorders before.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> Result<Self, StoreError> {
        let fail = |what| {
            let path = directory.to_owned();
            move |source: io::Error| StoreError::Directory { path, what, source }
        };
        make(directory)?;
        check(directory)?;
        let blocks = directory.join(BLOCKS);
        for inner in [&blocks, &directory.join(CASES)] {
            make(inner)?;
            check(inner)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::open(directory.join(LOCK), flags, Mode::from_raw_mode(0o640))
            .map_err(|errno| fail("its lock file can't be opened")(errno.into()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Taken { path: directory.to_owned() })?;
        let mut store = Self { directory: directory.to_owned(), max_bytes, blocks: BTreeMap::new(), bytes: 0, lock };
        for entry in std::fs::read_dir(&blocks).map_err(fail("can't be listed"))?.flatten() {
            let Some(name) = entry.file_name().to_str().and_then(BlockName::of) else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let newest = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let newest = newest.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let kept = Kept { len: metadata.len(), newest_ns: newest.as_nanos() as u64, open: false };
            store.bytes += kept.counted();
            store.blocks.insert(name, kept);
        }
        Ok(store)
    }

    /// Whether the directory is still the one that was locked, with a place for blocks in it: somebody may have removed it.
    pub(crate) fn stands(&self) -> bool {
        let Ok(locked) = rustix::fs::fstat(&self.lock) else { return false };
        let there = rustix::fs::lstat(self.directory.join(LOCK));
        there.is_ok_and(|there| (there.st_dev, there.st_ino) == (locked.st_dev, locked.st_ino))
            && [BLOCKS, CASES].iter().all(|inner| self.directory.join(inner).is_dir())
    }

    /// Where cases are kept.
    pub(crate) fn cases(&self) -> PathBuf {
        self.directory.join(CASES)
    }

    /// Bytes of all blocks.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that one block may have before it is ended.
    pub(crate) fn block_bytes(&self) -> u64 {
        (self.max_bytes / 32).clamp(64 << 10, 8 << 20)
    }

    /// Where a block is.
    pub(crate) fn path(&self, name: &BlockName) -> PathBuf {
        self.directory.join(BLOCKS).join(name.file())
    }

    /// The blocks of a region, of all tiers.
    pub(crate) fn of_region(&self, uuid: [u8; 16]) -> impl Iterator<Item = &BlockName> {
        self.blocks.keys().filter(move |name| name.uuid == uuid)
    }

    /// Number of the next block of a region and tier.
    pub(crate) fn next_sequence(&self, uuid: [u8; 16], interval_ms: u64) -> u64 {
        let of = self.of_region(uuid).filter(|name| name.interval_ms == interval_ms);
        of.map(|name| name.sequence).max().unwrap_or(0) + 1
    }

    /// Begins a block with its first bytes.
    pub(crate) fn begin(&mut self, name: BlockName, bytes: &[u8], now_ns: u64) -> io::Result<Writing> {
        self.make_room(bytes.len() as u64 + UNIT, &[])?;
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(self.path(&name), flags, Mode::from_raw_mode(0o640))?);
        self.blocks.insert(name.clone(), Kept { len: 0, newest_ns: now_ns, open: true });
        let mut writing = Writing { name, file, len: 0, torn: false };
        match self.append(&mut writing, bytes, now_ns) {
            Ok(()) => Ok(writing),
            Err(error) => {
                self.drop_block(&writing.name);
                Err(error)
            }
        }
    }

    /// Appends whole frames to a block. Where that fails, none of them is in the file.
    pub(crate) fn append(&mut self, writing: &mut Writing, bytes: &[u8], now_ns: u64) -> io::Result<()> {
        self.make_room(bytes.len() as u64, &[&writing.name])?;
        if let Err(error) = writing.file.write_all(bytes) {
            // A reader stops at half a frame, so nothing may follow one.
            writing.torn = writing.file.set_len(writing.len).is_err();
            return Err(error);
        }
        writing.len += bytes.len() as u64;
        if let Some(kept) = self.blocks.get_mut(&writing.name) {
            self.bytes -= kept.counted();
            (kept.len, kept.newest_ns) = (writing.len, now_ns);
            self.bytes += kept.counted();
        }
        Ok(())
    }

    /// Appends the frame that ends a block; it changes nothing of what the block holds.
    pub(crate) fn append_end(&mut self, writing: &mut Writing, bytes: &[u8]) -> io::Result<()> {
        let newest_ns = self.blocks.get(&writing.name).map_or(0, |kept| kept.newest_ns);
        self.append(writing, bytes, newest_ns)
    }

    /// When the oldest block's last sample was taken; `None` without any.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        self.blocks.values().map(|kept| kept.newest_ns).min()
    }

    /// Ends a block: it may be dropped from now on.
    pub(crate) fn end(&mut self, writing: &Writing) {
        if writing.is_removed() {
            self.drop_block(&writing.name);
        }
        if let Some(kept) = self.blocks.get_mut(&writing.name) {
            kept.open = false;
        }
    }

    /// Drops the blocks of a tier of a region that hold nothing newer than `keep` before `now_ns`.
    pub(crate) fn expire(&mut self, uuid: [u8; 16], interval_ms: u64, keep: Duration, now_ns: u64) {
        let until = now_ns.saturating_sub(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX));
        let old = |(name, kept): &(&BlockName, &Kept)| {
            name.uuid == uuid && name.interval_ms == interval_ms && !kept.open && kept.newest_ns < until
        };
        let names: Vec<BlockName> = self.blocks.iter().filter(old).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.drop_block(name));
    }

    /// Drops the oldest blocks until so many bytes more are within the limit. The tier that takes most gives first, so
    /// that a fine one does not push a coarse one out.
    fn make_room(&mut self, bytes: u64, except: &[&BlockName]) -> io::Result<()> {
        // What is appended may begin a unit.
        while self.bytes + bytes.next_multiple_of(UNIT) > self.max_bytes {
            let mut tiers: BTreeMap<u64, u64> = BTreeMap::new();
            let droppable = |(name, kept): &(&BlockName, &Kept)| !kept.open && !except.contains(name);
            for (name, kept) in self.blocks.iter().filter(droppable) {
                *tiers.entry(name.interval_ms).or_default() += kept.counted();
            }
            let most = tiers.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(interval_ms, _)| interval_ms);
            let of_tier = |(name, _): &(&BlockName, &Kept)| Some(name.interval_ms) == most;
            let oldest = self.blocks.iter().filter(droppable).filter(of_tier).min_by_key(|(_, kept)| kept.newest_ns);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return Err(io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    "the recorder's own limit is too small for what is open",
                ));
            };
            self.drop_block(&name);
        }
        Ok(())
    }

    fn drop_block(&mut self, name: &BlockName) {
        // Gone already, or not to be removed: either way it is not counted on any more.
        if let Err(error) = std::fs::remove_file(self.path(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(block = %name.file(), %error, "a block of the recording can't be removed");
        }
        if let Some(kept) = self.blocks.remove(name) {
            self.bytes -= kept.counted();
        }
    }
}

/// Makes a directory where it is missing.
pub(crate) fn make(directory: &Path) -> Result<(), StoreError> {
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => {
            Err(StoreError::Directory { path: directory.to_owned(), what: "can't be made", source: errno.into() })
        }
    }
}

/// Whether what is written to a directory is safe there: it is one, owned by this user or root, and not for others to
/// write to.
fn check(directory: &Path) -> Result<(), StoreError> {
    let unsafe_ = |what: String| StoreError::Unsafe { path: directory.to_owned(), what };
    let fail = |what| {
        let path = directory.to_owned();
        move |errno: rustix::io::Errno| StoreError::Directory { path, what, source: errno.into() }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(fail("can't be opened as a directory"))?;
    let stat = rustix::fs::fstat(&fd).map_err(fail("can't be looked at"))?;
    let (mode, user) = (stat.st_mode & 0o7777, rustix::process::geteuid().as_raw());
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(unsafe_(format!("owned by user {}, not by {user} or root", stat.st_uid)));
    }
    if mode & 0o002 != 0 || (mode & 0o020 != 0 && mode & 0o2000 == 0) {
        return Err(unsafe_(format!("writable by others (mode {mode:04o})")));
    }
    use rustix::fs::{Access, AtFlags};
    rustix::fs::accessat(&fd, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(fail("not writable"))
}
