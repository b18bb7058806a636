//! `.<name>.totals`: the totals of a region that has to go before its successor has the name.
//!
//! Written only where the file system has no room for two regions at a time, or the old one can't be linked: from the
//! moment it is put aside until the new one has the name, its totals stand here. It is a region file itself, the smallest
//! there is, with the uuid and the line of the one that it stands for and all of its totals in the section of carried
//! families; holes take no room. Called by starts only, under the region's lock. It is of no meaning while a region has
//! the name, which then holds all of its totals itself: a start that finds both removes it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytemuck::Zeroable;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tachograph_layout::{Geometry, Header, LAYOUT_MAJOR, LAYOUT_MINOR, SectionKind, Words};

use super::Predecessor;
use crate::archive;
use crate::directory::Directory;
use crate::fail_point::FailPoint;
use crate::field::put_text;

fn file_of(region: &str) -> String {
    format!(".{region}.totals")
}

/// Writes them; where the file system is full to its last pages, archived evidence goes for them. Says whether they stand
/// there: if not, they are in this process only until the new region has its name.
pub(crate) fn keep(directory: &Directory, name: &str, predecessor: &Predecessor) -> bool {
    let bytes = 8 * (Header::WORDS + predecessor.words.len()) as u64;
    let kept = match write(directory, name, predecessor) {
        Err(Errno::NOSPC | Errno::DQUOT) if archive::make_room(directory, bytes, None) => {
            write(directory, name, predecessor)
        }
        kept => kept,
    };
    if let Err(errno) = kept {
        tracing::warn!(
            path = %directory.join(&file_of(name)).display(),
            %errno,
            "the totals of the region before can't be put aside: were this process killed before its region has the name, they would be lost"
        );
    }
    kept.is_ok()
}

fn write(directory: &Directory, name: &str, predecessor: &Predecessor) -> Result<(), Errno> {
    let temporary = format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, temporary.as_str(), flags, Mode::from_raw_mode(0o440))?;
    let named = fill(&File::from(file), name, predecessor).and_then(|()| {
        FailPoint::TotalsWritten.pass();
        rustix::fs::renameat(directory, temporary.as_str(), directory, file_of(name).as_str())
    });
    match named {
        Ok(()) => FailPoint::TotalsKept.pass(),
        Err(_) => {
            let _ = rustix::fs::unlinkat(directory, temporary.as_str(), AtFlags::empty());
        }
    }
    named
}

fn fill(file: &File, name: &str, predecessor: &Predecessor) -> Result<(), Errno> {
    let smallest = Geometry {
        families: 1,
        series: 1,
        string_bytes: 1,
        label_bytes: 1,
        bounds: 1,
        shared: 1,
        cells: 1,
        lanes: 1,
        activities: 1,
    };
    let layout = smallest.layout().map_err(|_| Errno::INVAL)?.carrying(predecessor.words.len() as u64);
    let mut header = Header::zeroed();
    header.magic = Header::MAGIC;
    header.layout_major = LAYOUT_MAJOR;
    header.layout_minor = LAYOUT_MINOR;
    header.byte_order = Header::BYTE_ORDER;
    header.header_len = Header::LEN as u32;
    header.file_len = layout.file_len();
    header.uuid = predecessor.uuid;
    header.restarts = predecessor.restarts;
    header.created_realtime_ns = predecessor.lineage_created_realtime_ns;
    header.lineage_created_realtime_ns = predecessor.lineage_created_realtime_ns;
    header.name_len = put_text(&mut header.name, name);
    let entries = layout.entries();
    header.section_count = entries.len() as u32;
    header.sections.iter_mut().zip(entries).for_each(|(slot, entry)| *slot = entry);
    let put = |words: &[u64], offset| {
        file.write_all_at(bytemuck::cast_slice(words), offset)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOSPC))
    };
    rustix::fs::ftruncate(file, layout.file_len())?;
    put(header.as_words(), 0)?;
    put(&predecessor.words, layout.section(SectionKind::Carried).offset)
}

/// Those that a start left which was cut off before its region had the name.
pub(crate) fn find(directory: &Directory, name: &str) -> Option<Predecessor> {
    let file = file_of(name);
    rustix::fs::statat(directory, file.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match Predecessor::kept(directory, &file, name) {
        Ok(predecessor) => Some(predecessor),
        Err(why) => {
            tracing::warn!(path = %directory.join(&file).display(), why, "the totals that were put aside are not continued");
            None
        }
    }
}

/// Removes them, where there are any: a region has the name, or nothing is to be continued.
pub(crate) fn forget(directory: &Directory, name: &str) {
    let file = file_of(name);
    match rustix::fs::unlinkat(directory, file.as_str(), AtFlags::empty()) {
        Ok(()) => FailPoint::TotalsRemoved.pass(),
        Err(Errno::NOENT) => {}
        Err(errno) => {
            tracing::warn!(path = %directory.join(&file).display(), %errno, "can't remove the totals that were put aside");
        }
    }
}
