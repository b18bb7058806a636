//! The archive: where the region of a dead writer goes when its successor starts, and what is kept of the many.
//!
//! Called under the region's lock only, so the file that is moved has no writer. Evidence must not stop the
//! application: only a file that can't be moved out of the way is an error; whatever goes wrong with keeping the
//! archive small is logged.

mod remains;
mod retention;

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

pub(crate) use remains::Remains;
use retention::{Burst, Death, Limits};

use crate::build_error::{BuildError, DirectoryFault, one_line};
use crate::directory::{Directory, not_a_file};

/// Name of the archive in a region directory.
const ARCHIVE: &str = "archive";

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Most files of one region, at least 1.
    pub(crate) files: usize,
    /// Most percent of the file system for the whole archive.
    pub(crate) share: u8,
}

/// Whether something stands at the region's name. Anything but a regular file is an error.
pub(crate) fn occupied(directory: &Directory, name: &str) -> Result<bool, BuildError> {
    let file = region_file(name);
    match rustix::fs::statat(directory, file.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match not_a_file(&stat) {
            None => Ok(true),
            Some(found) => Err(BuildError::Squatted { path: directory.join(&file), found }),
        },
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => {
            Err(BuildError::Io { action: "look at the region file", path: directory.join(&file), source: errno.into() })
        }
    }
}

/// Moves what stands at the region's name to the archive, then applies the rules. Gives the archived file's name.
pub(crate) fn archive(directory: &Directory, name: &str, rules: Rules) -> Result<String, BuildError> {
    let file = region_file(name);
    let failed = |to: &str, source: std::io::Error| BuildError::Archive {
        path: directory.join(&file),
        to: directory.join(ARCHIVE).join(to),
        source,
    };
    let inner = directory.make_inner(ARCHIVE).map_err(|fault| match fault {
        DirectoryFault::Refused { error } => failed("", error),
        fault => failed("", std::io::Error::other(fault)),
    })?;
    let remains = Remains::read(directory, &file).map_err(|errno| failed("", errno.into()))?;
    let (archived, errno) = move_in(directory, &inner, name, &remains);
    match errno {
        None => {}
        Some(Errno::NOSPC) if make_room(directory, 0, None) => {
            if let (archived, Some(errno)) = move_in(directory, &inner, name, &remains) {
                return Err(failed(&archived, errno.into()));
            }
        }
        Some(errno) => return Err(failed(&archived, errno.into())),
    }
    tracing::info!(
        path = %inner.join(&archived).display(),
        closed = remains.closed,
        pid = remains.header.map(|header| header.pid),
        "archived the region of the process before"
    );
    retain(&inner, directory.room(), name, &archived, rules);
    Ok(archived)
}

/// Drops archived files, the least telling first, until `needed` bytes are free, and at least one; says whether it
/// did. Drops nothing where all of them would not suffice. `just` goes only when nothing else is left.
pub(crate) fn make_room(directory: &Directory, needed: u64, just: Option<&str>) -> bool {
    let Ok(inner) = directory.inner(ARCHIVE) else { return false };
    // A process that lives still maps what it closed: dropping that would lose evidence and free nothing.
    let mut deaths = deaths(&inner);
    deaths.retain(|death| !Remains::read(&inner, &death.file).is_ok_and(|remains| remains.is_mapped()));
    let mut free = directory.room().map_or(u64::MAX, |(_, free)| free);
    let all = deaths.iter().fold(free, |sum, death| sum.saturating_add(death.bytes));
    if all < needed {
        return false;
    }
    let mut victims = retention::order(deaths.iter(), &[]);
    victims.sort_by_key(|death| Some(death.file.as_str()) == just);
    let mut dropped = false;
    for death in victims {
        if dropped && free >= needed {
            break;
        }
        match rustix::fs::unlinkat(&inner, death.file.as_str(), AtFlags::empty()) {
            Ok(()) => {
                tracing::warn!(
                    path = %inner.join(&death.file).display(),
                    bytes = death.bytes,
                    "dropped archived evidence: the file system is full and a region must start"
                );
                dropped = true;
                let before = free;
                free = directory.room().map_or_else(|| free.saturating_add(death.bytes), |(_, free)| free);
                if free <= before {
                    // Something else holds its pages: so it may be with the others.
                    break;
                }
            }
            Err(errno) => {
                tracing::warn!(path = %inner.join(&death.file).display(), %errno, "can't drop archived region")
            }
        }
    }
    dropped
}

/// The file of a region.
pub(crate) fn region_file(name: &str) -> String {
    format!("{name}.tacho")
}

/// Renames the region file under the first free name in the archive. Gives that name, and the error where it failed.
fn move_in(directory: &Directory, inner: &Directory, name: &str, remains: &Remains) -> (String, Option<Errno>) {
    let (uuid, time_ns) = match remains.header {
        Some(header) => (uuid::Uuid::from_bytes(header.uuid).simple().to_string(), header.created_realtime_ns),
        None => ("unknown".to_owned(), remains.died_ns),
    };
    let stamp = stamp(time_ns);
    let mut archived = format!("{name}.{stamp}.{uuid}.tacho");
    for suffix in 2..100 {
        match rustix::fs::renameat_with(directory, region_file(name), inner, archived.as_str(), RenameFlags::NOREPLACE)
        {
            Ok(()) => return (archived, None),
            Err(Errno::EXIST) => archived = format!("{name}.{stamp}.{uuid}-{suffix}.tacho"),
            Err(errno) => return (archived, Some(errno)),
        }
    }
    (archived, Some(Errno::EXIST))
}

/// A time as it stands in the name of an archived file: `20261123T104512Z`.
fn stamp(time_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The region's name in the name of an archived file; `None` for files that no writer put there.
fn region_of(file: &str) -> Option<&str> {
    let (rest, _uuid) = file.strip_suffix(".tacho")?.rsplit_once('.')?;
    let (region, stamp) = rest.rsplit_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let stamp = stamp.strip_suffix('Z')?;
    let (day, time) = stamp.split_once('T')?;
    (day.len() == 8 && time.len() == 6 && digits(day) && digits(time)).then_some(region)
}

/// What is in the archive. What can't be read is passed over: it is not dropped either.
fn deaths(inner: &Directory) -> Vec<Death> {
    let names = inner.names().unwrap_or_else(|errno| {
        tracing::warn!(path = %inner.join("").display(), %errno, "can't read the archive");
        Vec::new()
    });
    let death = |file: String| {
        let region = region_of(&file)?.to_owned();
        let remains = Remains::read(inner, &file).ok()?;
        Some(Death { file, region, died_ns: remains.died_ns, closed: remains.closed, bytes: remains.bytes })
    };
    names.into_iter().filter_map(death).collect()
}

/// Applies the rules after `just` was archived.
fn retain(inner: &Directory, room: Option<(u64, u64)>, name: &str, just: &str, rules: Rules) {
    let deaths = deaths(inner);
    let bytes = room.map(|(all, _)| (u128::from(all) * u128::from(rules.share) / 100) as u64);
    let limits = Limits { region: name, just, files: rules.files.max(1), bytes };
    let plan = retention::plan(&deaths, &read_bursts(inner, name), limits);
    for file in &plan.drop {
        match rustix::fs::unlinkat(inner, file.as_str(), AtFlags::empty()) {
            Ok(()) => tracing::info!(path = %inner.join(file).display(), "dropped archived region: retention"),
            Err(errno) => tracing::warn!(path = %inner.join(file).display(), %errno, "can't drop archived region"),
        }
    }
    if let Err(error) = write_bursts(inner, name, &plan.bursts) {
        tracing::warn!(region = name, error = one_line(&error), "can't note the count of a burst of crashes");
    }
}

/// The file that remembers a region's bursts: a line each, `<file of the first> <last death, ns> <deaths>`.
fn bursts_file(name: &str) -> String {
    format!(".{name}.bursts")
}

/// Longest such file that is read, in bytes.
const BURSTS_MAX: usize = 64 * 1024;

fn read_bursts(inner: &Directory, name: &str) -> Vec<Burst> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(inner, bursts_file(name), flags, Mode::empty()) else { return Vec::new() };
    let mut bytes = Vec::new();
    if std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(fd), BURSTS_MAX as u64), &mut bytes)
        .is_err()
    {
        return Vec::new();
    }
    let burst = |line: &str| {
        let mut fields = line.split(' ');
        let (first, last, deaths) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Burst { first: first.to_owned(), last_ns: last.parse().ok()?, deaths: deaths.parse().ok()? })
    };
    String::from_utf8_lossy(&bytes).lines().filter_map(burst).collect()
}

/// Remembers the bursts of which files were dropped; of the others the files themselves tell.
fn write_bursts(inner: &Directory, name: &str, bursts: &[Burst]) -> std::io::Result<()> {
    let text: String = bursts
        .iter()
        .filter(|burst| burst.deaths > 2)
        .map(|burst| format!("{} {} {}\n", burst.first, burst.last_ns, burst.deaths))
        .collect();
    let file = bursts_file(name);
    if text.is_empty() {
        return match rustix::fs::unlinkat(inner, file.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
    }
    let temporary = format!("{file}.tmp");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::openat(inner, temporary.as_str(), flags, Mode::from_raw_mode(0o640))
        .map_err(std::io::Error::from)
        .and_then(|fd| std::io::Write::write_all(&mut std::fs::File::from(fd), text.as_bytes()))
        .and_then(|()| Ok(rustix::fs::renameat(inner, temporary.as_str(), inner.as_fd(), file.as_str())?));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(inner, temporary.as_str(), AtFlags::empty());
    }
    written
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
        for other in ["mc-0.tacho", "mc-0.20261123T104512Z.unknown", ".mc-0.bursts", "x.2026112T1104512Z.u.tacho"] {
            assert_eq!(region_of(other), None, "{other}");
        }
    }
}
