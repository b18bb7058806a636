//! Reads the archive's books of what it dropped: how many deaths a burst had, of which two files are left. Called by
//! `deaths.rs`, and by the report on a crash. What is found there is foreign: bounded, checked, and passed over where it
//! says nothing.

use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tachograph_layout::retention::Burst;

#[cfg(feature = "server")]
use crate::region_file::is_region_name;

/// Longest book that is read, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Most books of an archive that are read.
#[cfg(feature = "server")]
const MOST: usize = 10_000;

/// The books of an archive, by region; none where it can't be listed.
#[cfg(feature = "server")]
pub(crate) fn read_all(archive: &Path) -> Vec<(String, Vec<Burst>)> {
    let entries = std::fs::read_dir(archive).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        file.strip_prefix('.')?.strip_suffix(".bursts").filter(|name| is_region_name(name)).map(str::to_owned)
    });
    names.take(MOST).map(|name| (read(archive, &name), name)).map(|(bursts, name)| (name, bursts)).collect()
}

/// The book of one region; nothing where it can't be read.
pub(crate) fn read(archive: &Path, name: &str) -> Vec<Burst> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::open(archive.join(format!(".{name}.bursts")), flags, Mode::empty()) else {
        return Vec::new();
    };
    let mut bytes = Vec::new();
    if std::fs::File::from(fd).take(LONGEST).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&bytes).lines().filter_map(|line| burst(name, line)).collect()
}

/// A line that can be true.
fn burst(region: &str, line: &str) -> Option<Burst> {
    let burst = Burst::of_line(region, line)?;
    // More deaths than nanoseconds were written by somebody else.
    (burst.is_possible() && burst.deaths <= burst.last_ns - burst.from_ns + 1).then_some(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_say_nothing_are_passed_over() {
        assert!(burst("mc", "mc.a.tacho 900 3 100").is_some());
        for line in
            ["", "a 1 2", "a 1 2 3 4", "a x 2 1", "a 100 3 900", "a 900 0 100", "a 900 18446744073709551615 100"]
        {
            assert_eq!(burst("mc", line), None, "{line}");
        }
        assert_eq!(burst("mc", "a 600000000001 1 0"), None, "one death has no span");
    }
}
