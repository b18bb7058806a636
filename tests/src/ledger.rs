//! What a victim was about to do and what it has done, kept where its death can't touch it: a small file on tmpfs, to
//! which each word is written by one system call, before and after the deed.
//!
//! So for every fact, whenever the victim died: done <= what the region holds <= about, and the two differ by one deed
//! a thread at most.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Threads of a victim that write.
pub const WRITERS: usize = 3;

/// Families in the order in which a victim registers them: those that its threads write, then others, to have more
/// registrations to be killed in.
pub const FAMILIES: [&str; 20] = [
    "v_served_total",
    "v_requests_total",
    "v_active",
    "v_busy_seconds_total",
    "v_level",
    "v_peak",
    "v_wait_seconds",
    "v_took_seconds",
    "v_other_00_total",
    "v_other_01_total",
    "v_other_02_total",
    "v_other_03_total",
    "v_other_04_total",
    "v_other_05_total",
    "v_other_06_total",
    "v_other_07_total",
    "v_other_08_total",
    "v_other_09_total",
    "v_other_10_total",
    "v_other_11_total",
];

/// How many of [`FAMILIES`] the threads write.
pub const WRITTEN: usize = 8;

/// Values of the label of `v_requests_total` and of the others; families before and after it have one series.
pub const OUTCOMES: [&str; 3] = ["ok", "failed", "late"];

/// Series of a family, once it is registered.
#[must_use]
pub const fn series_of(family: usize) -> usize {
    if family == 1 || family >= WRITTEN { OUTCOMES.len() } else { 1 }
}

/// What is counted, for each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Increments of `v_served_total`.
    Served,
    /// Increments of the three series of `v_requests_total`, the first of three facts in a row.
    Requests,
    /// Ups of `v_active`; after the two other facts of requests.
    Up = 4,
    /// Downs of `v_active`.
    Down,
    /// Halves of a second added to `v_busy_seconds_total`.
    Busy,
    /// The value that `v_level` was set to (by the first thread alone).
    Level,
    /// The largest value recorded in `v_peak`.
    Peak,
    /// Observations of `v_wait_seconds`, each of [`observed`] seconds.
    Wait,
    /// Observations of `v_took_seconds`, likewise.
    Took,
}

/// Facts of a thread.
pub const FACTS: usize = Fact::Took as usize + 1;

/// Upper bounds of `v_wait_seconds`; one of [`OBSERVED`] falls below each, and one above all.
pub const BOUNDS: [f64; 2] = [1.0, 2.0];

/// What is observed, in seconds, in turn.
pub const OBSERVED: [f64; 3] = [0.5, 1.5, 4.0];

/// The value of a thread's n-th observation, n from 1.
#[must_use]
pub const fn observed(n: u64) -> f64 {
    OBSERVED[(n % 3) as usize]
}

/// How many of a thread's first `n` observations were of `OBSERVED[which]`.
#[must_use]
pub const fn times_observed(which: usize, n: u64) -> u64 {
    // 0 itself is no observation.
    (n + 3 - which as u64) / 3 - if which == 0 { 1 } else { 0 }
}
/// Words before those of the facts: uuid (2), families about and done.
const HEAD: u64 = 4;

/// About and done of one fact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Never begun beyond this.
    pub about: u64,
    /// Done for certain.
    pub done: u64,
}

/// The file.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Makes an empty one, in the place of any other.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        file.set_len((HEAD + (WRITERS * FACTS * 2) as u64) * 8)?;
        Ok(Self(file))
    }

    /// Opens the one that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).open(path)?))
    }

    /// Notes the region that was built.
    ///
    /// # Errors
    /// What the file system says.
    pub fn built(&self, uuid: [u8; 16]) -> io::Result<()> {
        self.0.write_all_at(&uuid, 0)
    }

    /// The region that was built; `None` where the victim died before.
    ///
    /// # Errors
    /// What the file system says.
    pub fn uuid(&self) -> io::Result<Option<[u8; 16]>> {
        let mut uuid = [0; 16];
        self.0.read_exact_at(&mut uuid, 0)?;
        Ok((uuid != [0; 16]).then_some(uuid))
    }

    /// Notes that registering the n-th family begins.
    ///
    /// # Errors
    /// What the file system says.
    pub fn family_about(&self, families: u64) -> io::Result<()> {
        self.put(2, families)
    }

    /// Notes that `families` are registered.
    ///
    /// # Errors
    /// What the file system says.
    pub fn family_done(&self, families: u64) -> io::Result<()> {
        self.put(3, families)
    }

    /// How many families were begun, and how many were registered.
    ///
    /// # Errors
    /// What the file system says.
    pub fn families(&self) -> io::Result<Bounds> {
        Ok(Bounds { about: self.get(2)?, done: self.get(3)? })
    }

    /// Does a deed that brings a fact of a thread (and of its `index`-th series) to `value`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn deed(&self, thread: usize, fact: Fact, index: usize, value: u64, deed: impl FnOnce()) -> io::Result<()> {
        let place = place(thread, fact, index);
        self.put(place, value)?;
        deed();
        self.put(place + 1, value)
    }

    /// The bounds of a fact, of each thread.
    ///
    /// # Errors
    /// What the file system says.
    pub fn bounds(&self, fact: Fact, index: usize) -> io::Result<[Bounds; WRITERS]> {
        let mut bounds = [Bounds::default(); WRITERS];
        for (thread, bounds) in bounds.iter_mut().enumerate() {
            let place = place(thread, fact, index);
            *bounds = Bounds { about: self.get(place)?, done: self.get(place + 1)? };
        }
        Ok(bounds)
    }

    fn put(&self, word: u64, value: u64) -> io::Result<()> {
        self.0.write_all_at(&value.to_ne_bytes(), word * 8)
    }

    fn get(&self, word: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, word * 8)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn place(thread: usize, fact: Fact, index: usize) -> u64 {
    HEAD + ((thread * FACTS + fact as usize + index) * 2) as u64
}

#[cfg(test)]
mod tests {
    use super::{OBSERVED, observed, times_observed};

    #[test]
    fn observations_are_counted_as_they_are_made() {
        let mut counted = [0; 3];
        for n in 0..100 {
            if n > 0 {
                let which = OBSERVED.iter().position(|value| *value == observed(n));
                counted[which.expect("one of them")] += 1;
            }
            assert_eq!([0, 1, 2].map(|which| times_observed(which, n)), counted, "{n}");
        }
    }
}
