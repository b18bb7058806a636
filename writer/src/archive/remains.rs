//! What a region file says of itself at first glance: whose it is, when its writer died, whether it was closed.
//!
//! Read with plain bounded reads, never mapped; every byte is taken for foreign. A file that is no region still has a
//! time and a size.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use bytemuck::Zeroable;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;
use tachograph_layout::{Control, Header, LAYOUT_MAJOR, RegionState, Words, retention};

use crate::directory::not_a_file;
use crate::{identity, lock};

/// What was found at the name of a region.
#[derive(Debug, Clone)]
pub(crate) struct Remains {
    /// The header, where it is one of this layout.
    pub(crate) header: Option<Header>,
    /// Whether the writer closed it in an orderly way.
    pub(crate) closed: bool,
    /// Whether the writer let go of it, closing it, unwinding or exiting: then it holds no lock, even where it lives on,
    /// or only for the moment until its process is gone.
    pub(crate) ended: bool,
    /// Last sign of life: nanoseconds since the Unix epoch.
    pub(crate) died_ns: u64,
    /// Bytes that the file takes of its file system.
    pub(crate) bytes: u64,
    /// It has another name beside this one: a start that adopts it is under way, or was cut off.
    pub(crate) linked: bool,
}

/// The header and the part of the control block that tells of the death.
const GLANCE: usize = 8192;

impl Remains {
    /// Looks at a regular file of a directory, `EINVAL` for anything else. A file that may not be read is told by its
    /// times alone.
    pub(crate) fn read(directory: impl AsFd, file: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory, file, flags, Mode::empty()) {
            Ok(fd) => Self::of_file(fd),
            Err(_) => {
                let stat = rustix::fs::statat(&directory, file, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
                Self::unknown(&stat)
            }
        }
    }

    /// Whether the process that wrote it lives on (in this pid namespace), and so has the file's pages mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        self.header.is_some_and(|header| header.pid_namespace == identity::pid_namespace() && lock::is_alive(&header))
    }

    fn of_file(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        let mut remains = Self::unknown(&stat)?;
        let mut words = [0u64; GLANCE / 8];
        let glance: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        if File::from(fd).read_exact_at(glance, 0).is_err() {
            return Ok(remains);
        }
        let header = words.get(..Header::WORDS).and_then(Header::from_words).unwrap_or_else(Header::zeroed);
        if header.magic != Header::MAGIC
            || header.byte_order != Header::BYTE_ORDER
            || header.layout_major != LAYOUT_MAJOR
        {
            return Ok(remains);
        }
        let control = |offset: u64| words.get(offset as usize / 8).copied().unwrap_or(0);
        let state = RegionState::from_wire(control(Control::STATE));
        remains.closed = state == Some(RegionState::Closed);
        remains.ended = matches!(state, Some(RegionState::Closed | RegionState::Unwound | RegionState::Exited));
        let signs = [Control::STATE_REALTIME_NS, Control::TICK_REALTIME_NS].map(control);
        let last_sign = signs.into_iter().fold(header.created_realtime_ns, u64::max);
        remains.died_ns = retention::died_ns(last_sign, nanoseconds(stat.st_ctime, stat.st_ctime_nsec));
        remains.header = Some(header);
        Ok(remains)
    }

    fn unknown(stat: &Stat) -> Result<Self, Errno> {
        if not_a_file(stat).is_some() {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            header: None,
            closed: false,
            ended: false,
            died_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec).min(nanoseconds(stat.st_ctime, stat.st_ctime_nsec)),
            linked: stat.st_nlink > 1,
            bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        })
    }
}

fn nanoseconds(seconds: i64, rest: u64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A region that says this of its writer's last sign.
    fn region(path: &std::path::Path, last_sign: SystemTime) {
        let mut words = vec![0_u64; GLANCE / 8];
        let since = last_sign.duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_nanos() as u64;
        let header = Header {
            magic: Header::MAGIC,
            byte_order: Header::BYTE_ORDER,
            layout_major: LAYOUT_MAJOR,
            ..Header::zeroed()
        };
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let header = bytemuck::bytes_of(&header);
        bytes[..header.len()].copy_from_slice(header);
        words[Control::TICK_REALTIME_NS as usize / 8] = since;
        std::fs::write(path, bytemuck::cast_slice(&words)).expect("it is written");
    }

    #[test]
    fn a_death_stays_the_same_however_often_its_file_is_renamed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("mc.tacho"), folder.path().join("other.tacho"));
        let directory = File::open(folder.path()).expect("it is there");
        let died = |file: &str| Remains::read(&directory, file).expect("it can be read").died_ns;
        // As if the file's time were behind the clock.
        region(&path, SystemTime::now() + Duration::from_millis(20));
        let before = died("mc.tacho");
        std::thread::sleep(Duration::from_millis(60));
        std::fs::rename(&path, &other).expect("it is renamed");
        assert_eq!(died("other.tacho"), before);
    }

    #[test]
    fn no_death_is_later_than_the_last_change_of_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = File::open(folder.path()).expect("it is there");
        let later = SystemTime::now() + Duration::from_secs(3_600);
        region(&folder.path().join("mc.tacho"), later);
        let died = Remains::read(&directory, "mc.tacho").expect("it can be read").died_ns;
        let later = later.duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_nanos() as u64;
        assert!(died < later - 3_000_000_000_000);
    }
}
