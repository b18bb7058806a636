//! The file that remembers a region's bursts, since the files between the first death and the newest are gone.
//!
//! `.<name>.bursts`, a line each: `<file of the first> <last death, ns> <deaths> <earliest death, ns>`. What is found
//! there is taken for foreign: a line that says nothing is passed over, and nothing at that name can stop a start.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tachograph_layout::retention::Burst;

use crate::directory::Directory;
use crate::fail_point::FailPoint;

/// Longest such file that is read, in bytes.
const LONGEST: usize = 64 * 1024;

fn file_of(region: &str) -> String {
    format!(".{region}.bursts")
}

/// What is remembered of a region's bursts; nothing where that can't be read.
pub(super) fn read(directory: &Directory, region: &str) -> Vec<Burst> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(directory, file_of(region), flags, Mode::empty()) else { return Vec::new() };
    let mut bytes = Vec::new();
    let mut file = std::io::Read::take(std::fs::File::from(fd), LONGEST as u64);
    if std::io::Read::read_to_end(&mut file, &mut bytes).is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&bytes).lines().filter_map(|line| Burst::of_line(region, line)).collect()
}

/// Remembers a region's bursts in the place of what was remembered before. A single death tells of itself.
pub(super) fn write(directory: &Directory, region: &str, bursts: &[Burst]) -> std::io::Result<()> {
    let file = file_of(region);
    let text: String = bursts.iter().filter(|burst| burst.deaths > 1).map(Burst::line).collect();
    let temporary = format!("{file}.tmp");
    // Made anew: whatever stands at the name, a FIFO too, is neither opened nor cut.
    remove(directory, &temporary)?;
    if text.is_empty() {
        remove(directory, &file)?;
        FailPoint::BurstsRemoved.pass();
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::openat(directory, temporary.as_str(), flags, Mode::from_raw_mode(0o640))
        .map_err(std::io::Error::from)
        .and_then(|fd| std::io::Write::write_all(&mut std::fs::File::from(fd), text.as_bytes()))
        .inspect(|()| FailPoint::BurstsWritten.pass())
        .and_then(|()| Ok(rustix::fs::renameat(directory, temporary.as_str(), directory.as_fd(), file.as_str())?));
    FailPoint::BurstsNamed.pass();
    if written.is_err() {
        let _ = remove(directory, &temporary);
    }
    written
}

/// Forgets a region's bursts.
pub(super) fn forget(directory: &Directory, region: &str) -> std::io::Result<()> {
    Ok(remove(directory, &file_of(region))?)
}

fn remove(directory: &Directory, file: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
