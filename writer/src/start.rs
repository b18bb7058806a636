//! Starting a region: from a checked plan to a file with its name, or to private memory in the same shape.
//!
//! Called by the builder only. Everything happens under the region's lock, in a temporary file that no reader looks at;
//! the rename is the last step that can fail. Whatever fails, the temporary is gone and the lock is free again.

mod succession;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytemuck::Zeroable;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::time::ClockId;
use tachograph_layout::{
    Control, Header, LANE_HEADER_CELLS, LAYOUT_MAJOR, LAYOUT_MINOR, Layout, MapError, MemoryLock, RegionState,
    SectionKind, Words, WriterMap, publish,
};

use crate::adopt::{Adoption, Predecessor, kept};
use crate::archive::{self, Rules};
use crate::build_error::{BuildError, one_line};
use crate::builder::OnExisting;
use crate::directory::Directory;
use crate::fail_point::FailPoint;
use crate::field::put_text;
use crate::housekeeping::clock_ns;
use crate::identity::Identity;
use crate::lock::{self, Lock};

/// A region that was started: all that [`crate::Region`] is made of.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) map: &'static WriterMap,
    pub(crate) layout: Layout,
    /// The region file; `None` for private memory, as the two after it.
    pub(crate) file: Option<OwnedFd>,
    /// The lock: held until the descriptor is closed.
    pub(crate) lock: Option<Lock>,
    pub(crate) path: Option<PathBuf>,
    pub(crate) name: String,
    pub(crate) uuid: [u8; 16],
    pub(crate) tick: Duration,
    /// The totals that it continues.
    pub(crate) adoption: Option<&'static Adoption>,
    /// The largest families that the region was sized by, and their series.
    pub(crate) largest: Vec<(String, u32)>,
}

/// A region that has its file and its name.
type Made = (&'static WriterMap, [u8; 16], OwnedFd);

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) tick: Duration,
    pub(crate) layout: Layout,
    pub(crate) largest: Vec<(String, u32)>,
}

impl Plan {
    /// Starts in private memory: no file, no lock, no reader.
    pub(crate) fn in_private_memory(self) -> Result<Started, BuildError> {
        let map = WriterMap::private(&self.layout).map_err(|error| self.no_memory(error))?;
        let uuid = *uuid::Uuid::new_v4().as_bytes();
        let map = map.leak();
        self.fill(map, uuid, MemoryLock::Refused, None);
        Ok(self.started(map, uuid))
    }

    /// Starts in a directory, under the region's lock.
    pub(crate) fn in_directory(
        self,
        directory: &Directory,
        on_existing: OnExisting,
        rules: Rules,
    ) -> Result<Started, BuildError> {
        self.check_file_size(directory)?;
        let lock = lock::acquire(directory, &self.name)?;
        let archived = if !archive::occupied(directory, &self.name)? {
            if on_existing == OnExisting::Adopt
                && let Some(predecessor) = kept::find(directory, &self.name)
            {
                return self.adopt(directory, lock, predecessor, rules);
            }
            kept::forget(directory, &self.name);
            archive::finish(directory, &self.name, rules)
        } else {
            // What stands there holds them.
            kept::forget(directory, &self.name);
            match on_existing {
                OnExisting::Archive => archive::archive(directory, &self.name, rules)?,
                OnExisting::Adopt => match Predecessor::read(directory, &self.name) {
                    Ok(predecessor) => return self.adopt(directory, lock, predecessor, rules),
                    Err(why) => {
                        let path = self.path(directory);
                        tracing::warn!(path = %path.display(), why, "nothing is continued of what stands there: archived");
                        archive::archive(directory, &self.name, rules)?
                    }
                },
                OnExisting::Refuse => return Err(BuildError::Exists { path: self.path(directory) }),
            }
        };
        self.remove_stale(directory);
        FailPoint::StaleRemoved.pass();
        let made = self.make_with_room(directory, None, archived.as_deref())?;
        Ok(self.started_in(directory, lock, made))
    }

    /// Makes the region file; where there is no room, once more after archived evidence was dropped for it.
    fn make_with_room(
        &self,
        directory: &Directory,
        predecessor: Option<(&Predecessor, Rules)>,
        archived: Option<&str>,
    ) -> Result<Made, BuildError> {
        match self.make(directory, predecessor) {
            Err(BuildError::Full { .. }) if archive::make_room(directory, self.layout.file_len(), archived) => {
                self.make(directory, predecessor)
            }
            made => made,
        }
    }

    fn started_in(self, directory: &Directory, lock: Lock, (map, uuid, file): Made) -> Started {
        let path = self.path(directory);
        Started { file: Some(file), lock: Some(lock), path: Some(path), ..self.started(map, uuid) }
    }

    fn started(self, map: &'static WriterMap, uuid: [u8; 16]) -> Started {
        let Self { name, tick, layout, largest, .. } = self;
        Started { map, layout, file: None, lock: None, path: None, name, uuid, tick, adoption: None, largest }
    }

    /// Makes the region file and gives it its name.
    fn make(&self, directory: &Directory, predecessor: Option<(&Predecessor, Rules)>) -> Result<Made, BuildError> {
        let needed = self.layout.file_len();
        // Filling the file system to its last page only to find that it does not suffice would hurt its other users.
        if directory.room().is_some_and(|(_, free)| free < needed) {
            return Err(self.full(directory));
        }
        let uuid = uuid::Uuid::new_v4();
        let name = format!(".{}.{}.tmp", self.name, uuid.simple());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name.as_str(), flags, Mode::from_raw_mode(0o640))
            .map_err(|errno| self.failed(directory, "make", &name, errno))?;
        let temporary = Temporary { directory, name };
        FailPoint::TemporaryMade.pass();
        match self.fill_file(directory, &temporary, &file, *uuid.as_bytes(), predecessor) {
            Ok(map) => Ok((map, *uuid.as_bytes(), file)),
            Err(error) => {
                // The pages are free only once name and descriptor are gone; then the error can tell how many are.
                drop(temporary);
                drop(file);
                Err(if matches!(error, BuildError::Full { .. }) { self.full(directory) } else { error })
            }
        }
    }

    /// Asked before anything is touched: a file beyond the limit is no error, but a signal that ends the process.
    fn check_file_size(&self, directory: &Directory) -> Result<(), BuildError> {
        let needed = self.layout.file_len();
        match rustix::process::getrlimit(rustix::process::Resource::Fsize).current {
            Some(limit) if limit < needed => {
                Err(BuildError::FileSizeLimit { path: self.path(directory), needed, limit })
            }
            _ => Ok(()),
        }
    }

    fn fill_file(
        &self,
        directory: &Directory,
        temporary: &Temporary<'_>,
        file: &OwnedFd,
        uuid: [u8; 16],
        predecessor: Option<(&Predecessor, Rules)>,
    ) -> Result<&'static WriterMap, BuildError> {
        let failed = |action, errno| self.failed(directory, action, &temporary.name, errno);
        let needed = self.layout.file_len();
        rustix::fs::ftruncate(file, needed).map_err(|errno| failed("set the length of", errno))?;
        FailPoint::TemporarySized.pass();
        if !kernel_populates() {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, needed) {
                // Where the file system can't reserve, touching the pages has to do.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(failed("reserve the pages of", errno)),
            }
        }
        let refused = |error| match error {
            MapError::Full { .. } => self.full(directory),
            error => self.no_memory(error),
        };
        let map = WriterMap::of_file(file.as_fd(), &self.layout).map_err(refused)?;
        map.populate().map_err(refused)?;
        FailPoint::TemporaryPopulated.pass();
        let memory_lock = if map.lock_memory() { MemoryLock::Held } else { MemoryLock::Refused };
        let map = map.leak();
        self.fill(map, uuid, memory_lock, predecessor.map(|(predecessor, _)| predecessor));
        FailPoint::StateLive.pass();
        // Read-only for everybody from here on, so that no stray `>` cuts it; the descriptor and the map stay writable.
        let named = rustix::fs::fchmod(file, Mode::from_raw_mode(0o440))
            .map_err(|errno| failed("protect", errno))
            .inspect(|()| FailPoint::TemporaryProtected.pass())
            .and_then(|()| match predecessor {
                Some((predecessor, rules)) => self.succeed(directory, temporary, predecessor, rules),
                None => self.give_name(directory, temporary),
            });
        if named.is_err() {
            // A leaked map would keep the pages of the removed file for as long as the process lives.
            map.detach();
        }
        FailPoint::RegionNamed.pass();
        named.map(|()| map)
    }

    fn give_name(&self, directory: &Directory, temporary: &Temporary<'_>) -> Result<(), BuildError> {
        let to = archive::region_file(&self.name);
        rustix::fs::renameat_with(directory, temporary.name.as_str(), directory, to.as_str(), RenameFlags::NOREPLACE)
            .map_err(|errno| self.failed(directory, "give its name to", &to, errno))
    }

    /// Writes header and control words; the state last.
    fn fill(
        &self,
        map: &'static WriterMap,
        uuid: [u8; 16],
        memory_lock: MemoryLock,
        predecessor: Option<&Predecessor>,
    ) {
        let monotonic = clock_ns(ClockId::Monotonic);
        let realtime = clock_ns(ClockId::Realtime);
        let put = |offset: u64, value: u64| {
            debug_assert!(map.word(offset).is_some(), "header and control words are in every map");
            if let Some(word) = map.word(offset) {
                // Relaxed: no reader looks at the file before its state says so.
                word.store(value, Ordering::Relaxed);
            }
        };
        let mut header = self.header(uuid, memory_lock);
        header.created_monotonic_ns = monotonic;
        header.created_realtime_ns = realtime;
        header.lineage_created_realtime_ns = realtime;
        if let Some(predecessor) = predecessor {
            header.predecessor_uuid = predecessor.uuid;
            header.restarts = predecessor.restarts.saturating_add(1);
            header.lineage_created_realtime_ns = predecessor.lineage_created_realtime_ns.min(realtime);
            let carried = self.layout.section(SectionKind::Carried);
            (0..).zip(&predecessor.words).for_each(|(index, word)| put(carried.offset + index * 8, *word));
            FailPoint::CarriedStored.pass();
        }
        for (index, word) in (0..).zip(header.as_words().iter().copied()) {
            put(index * 8, word);
        }
        put(Control::CELLS_USED, LANE_HEADER_CELLS as u64);
        put(Control::LANES_USED, 1);
        put(Control::TICKS, 0);
        put(Control::TICK_MONOTONIC_NS, monotonic);
        put(Control::TICK_REALTIME_NS, realtime);
        // SYNC(region-live): whoever loads a state other than Building sees the header and all control words.
        let word = |word: usize| {
            if word == 0 {
                FailPoint::HeaderFilled.pass();
            }
            map.word(Control::STATE + word as u64 * 8)
        };
        publish(word, &[RegionState::Live.to_wire(), realtime]);
    }

    fn header(&self, uuid: [u8; 16], memory_lock: MemoryLock) -> Header {
        let own = Identity::own();
        let mut header = Header::zeroed();
        header.magic = Header::MAGIC;
        header.layout_major = LAYOUT_MAJOR;
        header.layout_minor = LAYOUT_MINOR;
        header.byte_order = Header::BYTE_ORDER;
        header.header_len = Header::LEN as u32;
        header.file_len = self.layout.file_len();
        header.uuid = uuid;
        header.boot_id = own.boot_id;
        header.pid = own.pid;
        header.uid = own.uid;
        header.gid = own.gid;
        header.pid_namespace = own.pid_namespace;
        header.process_start_ticks = own.process_start_ticks;
        header.ticks_per_second = own.ticks_per_second;
        header.tick_period_ns = u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX);
        header.memory_lock = memory_lock.to_wire();
        header.name_len = put_text(&mut header.name, &self.name);
        header.host_len = put_text(&mut header.host, &own.host);
        header.version_len = put_text(&mut header.version, &self.version);
        header.exe_len = put_text(&mut header.exe, &own.exe);
        header.build_id_len = put_bytes(&mut header.build_id, &own.build_id);
        let entries = self.layout.entries();
        header.section_count = entries.len() as u32;
        header.sections.iter_mut().zip(entries).for_each(|(slot, entry)| *slot = entry);
        header
    }

    /// Removes what starts that were cut off left behind: `.<name>.<32 hex digits>.tmp`, exactly.
    fn remove_stale(&self, directory: &Directory) {
        let names = directory.names().unwrap_or_else(|errno| {
            tracing::debug!(%errno, "can't look for stale temporary files");
            Vec::new()
        });
        for stale in names.iter().filter(|file| is_temporary_of(&self.name, file)) {
            match rustix::fs::unlinkat(directory, stale.as_str(), AtFlags::empty()) {
                Ok(()) => tracing::debug!(file = stale, "removed the temporary file of a start that was cut off"),
                Err(errno) => tracing::warn!(file = stale, %errno, "can't remove a stale temporary file"),
            }
        }
    }

    fn path(&self, directory: &Directory) -> PathBuf {
        directory.join(&archive::region_file(&self.name))
    }

    fn full(&self, directory: &Directory) -> BuildError {
        let free = directory.room().map_or(0, |(_, free)| free);
        BuildError::Full { path: self.path(directory), needed: self.layout.file_len(), free }
    }

    fn no_memory(&self, source: MapError) -> BuildError {
        BuildError::Memory { name: self.name.clone(), source }
    }

    fn failed(&self, directory: &Directory, action: &'static str, file: &str, errno: Errno) -> BuildError {
        match errno {
            Errno::NOSPC | Errno::DQUOT => self.full(directory),
            errno => BuildError::Io { action, path: directory.join(file), source: errno.into() },
        }
    }
}

/// The one INFO line of a region that was built.
pub(crate) fn log(started: &Started) {
    let count = |kind| started.layout.section(kind).count;
    let largest: Vec<String> = started.largest.iter().map(|(family, series)| format!("{family} {series}")).collect();
    let path = started.path.as_ref().map_or_else(|| "private memory".to_owned(), |path| path.display().to_string());
    tracing::info!(
        region = started.name,
        path,
        bytes = started.layout.file_len(),
        lanes = count(SectionKind::Lanes),
        series = count(SectionKind::Series),
        largest_families = largest.join(", "),
        "region ready"
    );
}

/// Says that a region is private where it should have been a file.
pub(crate) fn warn_private(name: &str, error: &BuildError) {
    tracing::warn!(
        region = name,
        error = one_line(error),
        "no region file: metrics go to private memory, nobody sees them"
    );
}

/// A file under its temporary name; unlinks that name when dropped, which does nothing once it was renamed.
struct Temporary<'a> {
    directory: &'a Directory,
    name: String,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(self.directory, self.name.as_str(), AtFlags::empty());
    }
}

fn is_temporary_of(name: &str, file: &str) -> bool {
    let uuid = file
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(".tmp"));
    uuid.is_some_and(|uuid| uuid.len() == 32 && uuid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn put_bytes(field: &mut [u8], bytes: &[u8]) -> u32 {
    field.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
    bytes.len().min(field.len()) as u32
}

/// Whether the kernel has MADV_POPULATE_WRITE (Linux 5.14), which reserves pages and says so when there are none.
fn kernel_populates() -> bool {
    let uname = rustix::system::uname();
    at_least(&uname.release().to_string_lossy(), (5, 14))
}

fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|digits| digits.parse().ok());
    let found: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    found.is_some_and(|found| found >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_told_apart() {
        for new in ["5.14.0-427.el9.x86_64", "6.1", "6.18.44-fc-v669", "10.0.0"] {
            assert!(at_least(new, (5, 14)), "{new}");
        }
        for old in ["5.13.19", "4.18.0-553.el8", "4.4.0", "", "unknown"] {
            assert!(!at_least(old, (5, 14)), "{old}");
        }
    }

    #[test]
    fn only_own_temporaries_are_stale() {
        let uuid = "0123456789abcdef0123456789abcdef";
        assert!(is_temporary_of("mc", &format!(".mc.{uuid}.tmp")));
        for other in [
            format!(".mc-0.{uuid}.tmp"),
            format!(".mc.x.{uuid}.tmp"),
            format!(".mc.{uuid}0.tmp"),
            format!(".mc.{uuid}.tacho"),
            format!("mc.{uuid}.tmp"),
            format!(".mc.{}.tmp", uuid.to_uppercase()),
        ] {
            assert!(!is_temporary_of("mc", &other), "{other}");
        }
    }
}
