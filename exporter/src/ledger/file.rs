//! The ledger's file, `merge.ledger`: what stood at one time, whole, and behind it room for changes, which is written when the
//! file is made. So a change overwrites blocks that the file has already: that takes no room on a full disk, and to make it
//! durable takes no journal (0.5 ms where one that grows the file takes 4).
//!
//! `TACHOLDG`, version, CRC-32 of the rest of head and whole, their lengths; then frames, each on a page of its own, so that a
//! torn write harms no other: magic, sequence number, length, CRC-32. A last frame that is not whole was never shown, and is
//! cut; anything else that does not read is put aside by the caller, never written over.
//!
//! Called by `ledger/mod.rs`. Reads only a plain file of this user's or root's, and makes no room for what is not there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

const MAGIC: &[u8; 8] = b"TACHOLDG";
const FRAME: &[u8; 8] = b"TACHOCHG";
const VERSION: u32 = 2;
/// Longest file that is written or read.
const LONGEST: u64 = 256 << 20;
const PAGE: u64 = 4096;
/// Bytes before the whole: magic, version, checksum, length of the whole, length of the room.
const HEAD: usize = 32;
/// Bytes before a frame's change: magic, sequence number, length, checksum of both and of the change.
const FRAME_HEAD: usize = 24;
/// Room for changes, in bytes: at least, and at most. In between it is twice the whole.
const ROOM: (u64, u64) = (1 << 20, 64 << 20);

/// The file, open for changes.
#[derive(Debug)]
pub(super) struct Book {
    file: File,
    /// Where the next frame goes.
    at: u64,
    room: Range<u64>,
    sequence: u64,
    /// What stands there is not known to be durable.
    broken: bool,
    frame: Vec<u8>,
}

impl Book {
    /// Writes a new file beside, makes it durable and puts it in the place of the one before, which goes on where that fails.
    pub(super) fn replace(book: &mut Option<Self>, path: &Path, whole: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let temporary = path.with_extension("ledger.tmp");
        let start = (HEAD as u64 + whole.len() as u64).next_multiple_of(PAGE);
        let room = start..start + (whole.len() as u64).saturating_mul(2).clamp(ROOM.0, ROOM.1).next_multiple_of(PAGE);
        if room.end > LONGEST {
            return Err(io::Error::other(format!("{} bytes, {LONGEST} at most: too many series", room.end)));
        }
        if let Err(error) = std::fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o640))?);
        let written = write_new(&mut file, whole, &room).and_then(|()| std::fs::rename(&temporary, path));
        if let Err(error) = written {
            // On a full disk it would stand in the way of the next try.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        let new = Self { file, at: room.start, room, sequence: 0, broken: true, frame: Vec::new() };
        let new = book.insert(new);
        File::open(directory)?.sync_all()?;
        new.broken = false;
        Ok(())
    }

    /// Whether it still stands at this path: somebody may have removed it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), std::fs::symlink_metadata(path)) else { return false };
        (own.dev(), own.ino()) == (there.dev(), there.ino())
    }

    /// Appends a change and makes it durable; `false` where the file must be made anew first.
    pub(super) fn append(&mut self, change: &[u8]) -> io::Result<bool> {
        let end = self.at + ((FRAME_HEAD + change.len()) as u64).next_multiple_of(PAGE);
        if self.broken || end > self.room.end {
            return Ok(false);
        }
        let Ok(len) = u32::try_from(change.len()) else { return Ok(false) };
        self.frame.clear();
        self.frame.extend_from_slice(&frame_head(self.sequence, len, change));
        self.frame.extend_from_slice(change);
        let written = self.file.write_all_at(&self.frame, self.at).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        written?;
        (self.at, self.sequence) = (end, self.sequence + 1);
        Ok(true)
    }

    /// Whether it is time to make it anew, when nobody waits for it.
    pub(super) const fn is_half_full(&self) -> bool {
        self.at - self.room.start > (self.room.end - self.room.start) / 2
    }
}

fn write_new(file: &mut File, whole: &[u8], room: &Range<u64>) -> io::Result<()> {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[16..24].copy_from_slice(&(whole.len() as u64).to_le_bytes());
    head[24..32].copy_from_slice(&(room.end - room.start).to_le_bytes());
    let checksum = checksum(&[&head[16..], whole]);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    file.write_all(&head)?;
    file.write_all(whole)?;
    let zeros = [0; 1 << 16];
    let mut left = room.end - (HEAD + whole.len()) as u64;
    while left > 0 {
        let some = left.min(zeros.len() as u64);
        file.write_all(zeros.get(..some as usize).unwrap_or_default())?;
        left -= some;
    }
    file.sync_all()
}

fn frame_head(sequence: u64, len: u32, change: &[u8]) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    head[..8].copy_from_slice(FRAME);
    head[8..16].copy_from_slice(&sequence.to_le_bytes());
    head[16..20].copy_from_slice(&len.to_le_bytes());
    let checksum = checksum(&[&head[..20], change]);
    head[20..].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Read {
    bytes: Vec<u8>,
    whole: Range<usize>,
    changes: Vec<Range<usize>>,
    /// A change at the end was not written to its end.
    pub(super) torn: bool,
}

impl Read {
    pub(super) fn whole(&self) -> &[u8] {
        self.bytes.get(self.whole.clone()).unwrap_or_default()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &[u8]> {
        self.changes.iter().filter_map(|change| self.bytes.get(change.clone()))
    }
}

/// The file at this path; `None` where there is none yet.
pub(super) fn read(path: &Path) -> io::Result<Option<Read>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(io::Error::other("a symbolic link, not a plain file")),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(io::Error::other(format!("it belongs to user {}, and this is user {own}", metadata.uid())));
    }
    if metadata.len() > LONGEST {
        return Err(io::Error::other(format!("{} bytes, {LONGEST} at most", metadata.len())));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    parse(bytes).map(Some).map_err(io::Error::other)
}

pub(super) fn parse(bytes: Vec<u8>) -> Result<Read, String> {
    let word =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|word| u64::from_le_bytes(*word));
    let half =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|half| u32::from_le_bytes(*half));
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin as a ledger does".to_owned());
    }
    let version = half(8).ok_or("cut short")?;
    if version != VERSION {
        return Err(format!("version {version}; this exporter knows version {VERSION}"));
    }
    let (len, room) = (word(16).ok_or("cut short")?, word(24).ok_or("cut short")?);
    let sizes = usize::try_from(len).ok().zip(usize::try_from(room).ok()).ok_or("cut short")?;
    let end = HEAD.checked_add(sizes.0).ok_or("cut short")?;
    let start = end.checked_next_multiple_of(PAGE as usize).ok_or("cut short")?;
    if start.checked_add(sizes.1) != Some(bytes.len()) {
        return Err(format!("{} bytes; it was made for others: cut short or grown", bytes.len()));
    }
    if bytes.get(16..end).map(|rest| checksum(&[rest])) != half(12) {
        return Err("its checksum is wrong: torn or damaged".to_owned());
    }
    let (mut changes, mut at, mut sequence) = (Vec::new(), start, 0_u64);
    while let Some(change) = frame(&bytes, at, sequence) {
        at = change.end.next_multiple_of(PAGE as usize);
        changes.push(change);
        sequence += 1;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let torn = rest.iter().any(|byte| *byte != 0);
    // Each change was durable before the next began, so behind one that is torn there is none.
    if torn && (at..bytes.len()).step_by(PAGE as usize).skip(1).any(|page| begins_frame(&bytes, page, sequence)) {
        return Err(format!("damaged at byte {at}, before its end"));
    }
    Ok(Read { whole: HEAD..end, changes, torn, bytes })
}

/// Where the change of the frame at this place stands, where it is whole.
fn frame(bytes: &[u8], at: usize, sequence: u64) -> Option<Range<usize>> {
    let head = bytes.get(at..)?.first_chunk::<FRAME_HEAD>()?;
    let len = u32::from_le_bytes(*head.get(16..)?.first_chunk()?);
    let change = at.checked_add(FRAME_HEAD)?..at.checked_add(FRAME_HEAD)?.checked_add(len as usize)?;
    (*head == frame_head(sequence, len, bytes.get(change.clone())?)).then_some(change)
}

/// Whether a later frame begins here.
fn begins_frame(bytes: &[u8], at: usize, sequence: u64) -> bool {
    let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else { return false };
    head.starts_with(FRAME) && head.last_chunk::<8>().is_some_and(|found| u64::from_le_bytes(*found) > sequence)
}
