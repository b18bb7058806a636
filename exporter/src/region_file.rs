//! One region's file, held open and mapped: opened with care, its header copied once and checked.
//!
//! Called by `reader.rs`. Never writes, never follows a link, never blocks on a FIFO. Who lives and who is dead is
//! told by [`RegionFile::facts`], in the order that DESIGN asks for: file first, then lock, then the path again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use tachograph_layout::{Header, HeaderError, ReaderMap, RegionState, SectionTable};

use crate::access;
use crate::guard::Guarded;
use crate::lock::{self, LockError, LockState};
use crate::process_image;
use crate::verdict::Facts;

/// Why a file can't be opened as a region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file, or it may not be read.
    #[error("{path}: can't be opened{hint}", path = path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What is in the way and what helps; may be empty.
        hint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is no regular file.
    #[error("{path}: {found}, where a region is a regular file", path = path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// It has no bytes at all.
    #[error("{path}: empty, so not a region; remove it", path = path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// It has holes, and stands on a file system where reading a hole takes memory.
    #[error("{path}: {allocated} bytes of {len} are there, the rest are holes, which reading would fill; copy it with `cp --sparse=never`", path = path.display())]
    Sparse {
        /// The path.
        path: PathBuf,
        /// Bytes that the file system holds.
        allocated: u64,
        /// Length of the file.
        len: u64,
    },
    /// Its header can't be used.
    #[error("{path}: {source}", path = path.display())]
    Header {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The name in its header is none that a region can have.
    #[error("{path}: its header names the region {name:?}; a name is 1 to 64 of A-Z a-z 0-9 . _ -", path = path.display())]
    Name {
        /// The path.
        path: PathBuf,
        /// The name found.
        name: String,
    },
    /// It can't be read or mapped.
    #[error("{path}: can't be read", path = path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its lock can't be asked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its path led to another file each time.
    #[error("{path}: replaced {tries} times while it was being opened; try again", path = path.display())]
    Restless {
        /// The path.
        path: PathBuf,
        /// How often it was tried.
        tries: u32,
    },
}

impl OpenError {
    /// Whether there was simply no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn hint(path: &Path, errno: rustix::io::Errno) -> String {
    match errno {
        rustix::io::Errno::ACCESS => format!("; {}", access::denied(path)),
        rustix::io::Errno::LOOP => {
            "; it is a symbolic link, which readers do not follow: name the file itself".to_owned()
        }
        _ => String::new(),
    }
}

/// How often opening starts over when the path leads to another file than the one that was opened.
const TRIES: u32 = 8;

/// A region file, open and mapped.
#[derive(Debug)]
pub(crate) struct RegionFile {
    /// Where it was opened.
    pub(crate) path: PathBuf,
    /// The header as it was when the file was opened; it passed [`Header::check`].
    pub(crate) header: Header,
    /// The region's name, checked.
    pub(crate) name: String,
    /// The checked sections.
    pub(crate) sections: SectionTable,
    /// The map of the whole file, under guard against being cut.
    pub(crate) map: Guarded,
    file: File,
    device: u64,
    inode: u64,
    in_archive: bool,
    /// Path of its lock; `None` where the file does not have the name that goes with a lock.
    lock: Option<PathBuf>,
}

impl RegionFile {
    /// Opens a region; starts over where the path changes hands meanwhile.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        for _ in 0..TRIES {
            let region = Self::open_once(path)?;
            // The uuid was copied with the header; now the lock, then the path again.
            if !region.facts(None, false)?.replaced {
                return Ok(region);
            }
        }
        Err(OpenError::Restless { path: path.to_owned(), tries: TRIES })
    }

    fn open_once(path: &Path) -> Result<Self, OpenError> {
        let read = |source| OpenError::Read { path: path.to_owned(), source };
        let Opened { file, stat, header, sections } = open_header(path)?;
        let len = length(&stat);
        let name = header.name();
        if !is_region_name(&name) {
            return Err(OpenError::Name { path: path.to_owned(), name });
        }
        if let Some(allocated) = holes(&file, &stat) {
            return Err(OpenError::Sparse { path: path.to_owned(), allocated, len });
        }
        let map = ReaderMap::new(&file, len).and_then(Guarded::new).map_err(read)?;
        let own_name = path.file_name().is_some_and(|file| *file == *format!("{name}.tacho"));
        let lock = own_name.then(|| path.with_file_name(format!("{name}.lock")));
        let in_archive = is_in_archive(path);
        let (device, inode) = (stat.st_dev, stat.st_ino);
        Ok(Self { path: path.to_owned(), header, name, sections, map, file, device, inode, in_archive, lock })
    }

    /// The facts that a verdict is made of, asked now: first the lock, then whether the path still leads here.
    pub(crate) fn facts(&self, state: Option<RegionState>, promise_broken: bool) -> Result<Facts, LockError> {
        let lock = self.lock.as_deref().map_or(Ok(LockState::Missing), lock::ask)?;
        let beside_lock = lock != LockState::Missing;
        Ok(Facts {
            archived: self.in_archive && !beside_lock,
            beside_lock,
            lock_held: lock == LockState::Held,
            replaced: self.is_replaced(),
            this_boot: boot_id().is_none_or(|boot| boot == self.header.boot_id),
            state,
            promise_broken,
        })
    }

    /// Whether the process that wrote it lives on without it.
    pub(crate) fn is_outlived(&self, facts: Facts) -> bool {
        // As long as it has its place, nobody can have come after it.
        let followed = self.in_archive || facts.replaced;
        (facts.this_boot && process_image::runs(&self.header))
            || (followed && process_image::is_followed(&self.header, &self.path, &self.name, self.in_archive))
    }

    /// Whether it stands in an archive: dead by definition.
    pub(crate) const fn in_archive(&self) -> bool {
        self.in_archive
    }

    /// Whether another region took this one's place: another file stands at the path, or none does and the file was
    /// moved, not unlinked (an unlinked file's writer may still live).
    fn is_replaced(&self) -> bool {
        match rustix::fs::lstat(&self.path) {
            Ok(stat) => (stat.st_dev, stat.st_ino) != (self.device, self.inode),
            Err(rustix::io::Errno::NOENT) => self.links().is_ok_and(|links| links != 0),
            // Not allowed to look: then the file that is held open is all there is to judge by.
            Err(_) => false,
        }
    }

    /// Whether the path still leads to this file and the file still holds this region. The inode can't be used again
    /// while the file is held open, but a copy may be written over in place. A map that lost pages is not that of the
    /// file any more, even where the file was mended since.
    pub(crate) fn is_current(&self) -> bool {
        let mut uuid = [0_u8; 16];
        !self.map.is_damaged()
            && !self.is_replaced()
            && self.file.read_exact_at(&mut uuid, std::mem::offset_of!(Header, uuid) as u64).is_ok()
            && uuid == self.header.uuid
            && self.length().is_ok_and(|length| length == self.header.file_len)
    }

    /// How many names the file has; 0 once it was unlinked.
    pub(crate) fn links(&self) -> Result<u64, OpenError> {
        let stat = rustix::fs::fstat(&self.file);
        #[allow(clippy::useless_conversion, reason = "st_nlink is 32 bits wide on some targets")]
        stat.map(|stat| u64::from(stat.st_nlink))
            .map_err(|errno| OpenError::Read { path: self.path.clone(), source: errno.into() })
    }

    /// Length of the file now: shorter than the map once it was cut; as short as what is left of it where holes were
    /// made in it.
    pub(crate) fn length(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(holes(&self.file, &stat).unwrap_or_else(|| length(&stat)))
    }
}

/// A file with a region's header.
struct Opened {
    file: File,
    stat: Stat,
    header: Header,
    sections: SectionTable,
}

/// Opens a file, copies its header and checks it.
fn open_header(path: &Path) -> Result<Opened, OpenError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |errno: rustix::io::Errno| {
        let hint = hint(path, errno);
        OpenError::Open { path: path.to_owned(), hint, source: errno.into() }
    };
    let read = |source| OpenError::Read { path: path.to_owned(), source };
    let bad = |source| OpenError::Header { path: path.to_owned(), source };
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(open)?);
    let stat = rustix::fs::fstat(&file).map_err(|errno| read(errno.into()))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(OpenError::NotRegular { path: path.to_owned(), found: file_type(kind) });
    }
    let len = length(&stat);
    if len == 0 {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    if len < Header::LEN {
        return Err(bad(HeaderError::TooShort(len)));
    }
    let mut bytes = [0_u8; Header::LEN as usize];
    file.read_exact_at(&mut bytes, 0).map_err(read)?;
    let header: Header = bytemuck::pod_read_unaligned(&bytes);
    let sections = header.check(len).map_err(bad)?;
    Ok(Opened { file, stat, header, sections })
}

/// The header of a region file, without mapping it; `None` where it can't be read as one.
pub(crate) fn header_of(path: &Path) -> Option<Header> {
    open_header(path).ok().map(|opened| opened.header)
}

/// Bytes that are allocated, where that is fewer than the file is long and a read of a mapped hole would allocate the
/// rest: on tmpfs. A writer populates all of its region, so a hole there is never its own.
fn holes(file: &File, stat: &Stat) -> Option<u64> {
    const TMPFS: u64 = 0x0102_1994;
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if allocated >= length(stat) {
        return None;
    }
    let kind = rustix::fs::fstatfs(file).ok()?.f_type;
    #[allow(clippy::unnecessary_cast, reason = "f_type has another width on some targets")]
    (kind as u64 == TMPFS).then_some(allocated)
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Whether a name is one that a region can have. It goes into paths, labels and terminals.
pub(crate) fn is_region_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether a file's directory is called `archive`, seen through links and relative paths.
fn is_in_archive(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    parent.canonicalize().is_ok_and(|parent| parent.file_name().is_some_and(|name| name == "archive"))
}

const fn file_type(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "a special file",
    }
}

/// This machine's boot id; `None` where it can't be read (no /proc), and then no region is called dead for its own.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    static BOOT_ID: OnceLock<Option<[u8; 16]>> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(uuid::Uuid::try_parse(text.trim()).ok()?.into_bytes())
    })
}
