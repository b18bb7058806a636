//! Where dead regions are put: `archive/`, and where that is of no use, beside the region under a hidden name.
//!
//! An archive that can't be made or used (a file or a link in its place, another's directory, another file system) must
//! neither stop the application nor cost the evidence. Hidden, since a reader takes every other `.tacho` file of a
//! region directory for a region in its place. What was put beside moves into the archive once that serves again.

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;
use tachograph_layout::retention::{Burst, Death, region_of};

use super::remains::Remains;
use super::{notes, region_file};
use crate::build_error::DirectoryFault;
use crate::directory::Directory;
use crate::fail_point::FailPoint;

/// Name of the archive in a region directory.
const ARCHIVE: &str = "archive";

/// The region directory, and the archive in it where that serves.
#[derive(Debug)]
pub(super) struct Places<'a> {
    beside: &'a Directory,
    inner: Option<Directory>,
}

impl<'a> Places<'a> {
    /// What is there.
    pub(super) fn find(directory: &'a Directory) -> Self {
        let inner = directory.inner(ARCHIVE).ok().filter(|inner| same_file_system(directory, inner));
        Self { beside: directory, inner }
    }

    /// Makes the archive where it is missing; says why where it does not serve.
    pub(super) fn make(directory: &'a Directory) -> (Self, Option<DirectoryFault>) {
        let made = directory.make_inner(ARCHIVE).and_then(|inner| {
            let other = DirectoryFault::Refused { error: Errno::XDEV.into() };
            if same_file_system(directory, &inner) { Ok(inner) } else { Err(other) }
        });
        match made {
            Ok(inner) => (Self { beside: directory, inner: Some(inner) }, None),
            Err(fault) => (Self { beside: directory, inner: None }, Some(fault)),
        }
    }

    /// The directory that a file of [`Self::deaths`] is in, told by its name.
    pub(super) fn of(&self, file: &str) -> &Directory {
        match &self.inner {
            Some(inner) if !file.starts_with('.') => inner,
            _ => self.beside,
        }
    }

    /// Moves the region file into the archive. Gives the name that it has there.
    pub(super) fn take_in(&self, name: &str, remains: &Remains) -> Result<String, Errno> {
        let inner = self.inner.as_ref().ok_or(Errno::NOENT)?;
        FailPoint::ArchiveMoving.pass();
        put_free(self.beside, &region_file(name), inner, &stem(name, remains), Put::Move)
    }

    /// Gives the region file a second name in the archive, the one that it will have there. Gives that name.
    pub(super) fn link_in(&self, name: &str, remains: &Remains) -> Result<String, Errno> {
        let inner = self.inner.as_ref().ok_or(Errno::NOENT)?;
        put_free(self.beside, &region_file(name), inner, &stem(name, remains), Put::Link)
    }

    /// Gives the region file a second, hidden name where it is. Gives that name.
    pub(super) fn link_beside(&self, name: &str, remains: &Remains) -> Result<String, Errno> {
        FailPoint::BesideLinking.pass();
        put_free(self.beside, &region_file(name), self.beside, &format!(".{}", stem(name, remains)), Put::Link)
    }

    /// Gives the region file a hidden name where it is. Gives that name.
    pub(super) fn take_beside(&self, name: &str, remains: &Remains) -> Result<String, Errno> {
        FailPoint::BesideMoving.pass();
        put_free(self.beside, &region_file(name), self.beside, &format!(".{}", stem(name, remains)), Put::Move)
    }

    /// Moves into the archive what was put beside while that did not serve.
    pub(super) fn gather(&self, name: &str) {
        let Some(inner) = &self.inner else { return };
        for file in
            names(self.beside).iter().filter(|file| region_of(file.strip_prefix('.').unwrap_or("")) == Some(name))
        {
            let to = file.trim_start_matches('.');
            FailPoint::Gathering.pass();
            match rustix::fs::renameat_with(self.beside, file.as_str(), inner, to, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    tracing::info!(path = %inner.join(to).display(), "the archive serves again: moved a region into it");
                    FailPoint::Gathered.pass();
                }
                Err(errno) => tracing::debug!(path = %self.beside.join(file).display(), %errno, "stays where it is"),
            }
        }
    }

    /// Every dead region that is kept. What can't be read is passed over: it is not dropped either.
    pub(super) fn deaths(&self) -> Vec<Death> {
        let inner = self.inner.iter().flat_map(|inner| names(inner).into_iter().map(move |file| (inner, file)));
        let beside =
            names(self.beside).into_iter().filter(|file| file.starts_with('.')).map(|file| (self.beside, file));
        let death = |(directory, file): (&Directory, String)| {
            let visible = if std::ptr::eq(directory, self.beside) { file.strip_prefix('.')? } else { &file };
            let region = region_of(visible)?.to_owned();
            let remains = Remains::read(directory, &file).ok()?;
            Some(Death { file, region, died_ns: remains.died_ns, closed: remains.closed, bytes: remains.bytes })
        };
        inner.chain(beside).filter_map(death).collect()
    }

    /// What is remembered of the bursts of the regions that `deaths` are of.
    pub(super) fn bursts(&self, deaths: &[Death]) -> Vec<Burst> {
        let mut regions: Vec<&str> = deaths.iter().map(|death| death.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        let places = || self.inner.iter().chain([self.beside]);
        regions.into_iter().flat_map(|region| places().flat_map(move |place| notes::read(place, region))).collect()
    }

    /// Remembers a region's bursts.
    pub(super) fn remember(&self, region: &str, bursts: &[Burst]) -> std::io::Result<()> {
        match &self.inner {
            Some(inner) => notes::write(inner, region, bursts).and_then(|()| notes::forget(self.beside, region)),
            None => notes::write(self.beside, region, bursts),
        }
    }
}

/// Nothing can be renamed into a mount of another one.
fn same_file_system(one: &Directory, other: &Directory) -> bool {
    let device = |directory| rustix::fs::fstat(directory).map(|stat| stat.st_dev);
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}

fn names(directory: &Directory) -> Vec<String> {
    directory.names().unwrap_or_else(|errno| {
        tracing::warn!(path = %directory.join("").display(), %errno, "can't look for archived regions");
        Vec::new()
    })
}

/// How a file gets its name in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Move,
    /// It keeps the one that it has.
    Link,
}

/// Gives a file the first free of the names that begin with `stem`: nothing is ever overwritten.
fn put_free(from: &Directory, file: &str, to: &Directory, stem: &str, put: Put) -> Result<String, Errno> {
    let mut name = format!("{stem}.tacho");
    for suffix in 2..100 {
        let done = match put {
            Put::Move => rustix::fs::renameat_with(from, file, to, name.as_str(), RenameFlags::NOREPLACE),
            Put::Link => rustix::fs::linkat(from, file, to, name.as_str(), AtFlags::empty()),
        };
        match done {
            Ok(()) => return Ok(name),
            // A start that adopts was cut off after it had linked the file.
            Err(Errno::EXIST) if is_same_file((from, file), (to, &name)) => {
                if put == Put::Move {
                    rustix::fs::unlinkat(from, file, AtFlags::empty())?;
                }
                return Ok(name);
            }
            Err(Errno::EXIST) => name = format!("{stem}-{suffix}.tacho"),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

fn is_same_file(one: (&Directory, &str), other: (&Directory, &str)) -> bool {
    let inode = |(directory, file): (&Directory, &str)| {
        rustix::fs::statat(directory, file, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
    };
    matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

/// An archived region's name before the ending: `mc-0.20261123T104512Z.<uuid>`.
fn stem(name: &str, remains: &Remains) -> String {
    let (uuid, time_ns) = match remains.header {
        Some(header) => (uuid::Uuid::from_bytes(header.uuid).simple().to_string(), header.created_realtime_ns),
        None => ("unknown".to_owned(), remains.died_ns),
    };
    format!("{name}.{}.{uuid}", stamp(time_ns))
}

/// A time as it stands in the name of an archived file: `20261123T104512Z`.
fn stamp(time_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_names_are_told_from_others() {
        let name = format!("mc-0.{}.0123456789abcdef0123456789abcdef.tacho", stamp(1_795_430_712_000_000_000));
        assert_eq!(name, "mc-0.20261123T104512Z.0123456789abcdef0123456789abcdef.tacho");
        assert_eq!(region_of(&name), Some("mc-0"));
        assert_eq!(region_of("a.b.20261123T104512Z.unknown-2.tacho"), Some("a.b"));
        for other in [
            "mc-0.tacho",
            "mc-0.20261123T104512Z.unknown",
            ".mc-0.bursts",
            "x.2026112T1104512Z.u.tacho",
            ".mc-0.20261123T104512Z.unknown.tacho",
            ".20261123T104512Z.unknown.tacho",
        ] {
            assert_eq!(region_of(other), None, "{other}");
        }
    }
}
