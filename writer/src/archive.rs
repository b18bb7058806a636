//! The archive: where the region of a dead writer goes when its successor starts, and what is kept of the many.
//!
//! Called under the region's lock only, so the file that is moved has no writer. Evidence must not stop the
//! application: only a file that can't be moved out of the way at all is an error; whatever goes wrong with keeping the
//! archive small is logged. Nothing is ever overwritten.

mod notes;
mod places;
mod remains;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;
use rustix::time::ClockId;
use tachograph_layout::retention::{self, Limits};

use places::Places;
pub(crate) use remains::Remains;

use crate::build_error::{BuildError, DirectoryFault, one_line};
use crate::directory::{Directory, not_a_file};
use crate::fail_point::FailPoint;
use crate::housekeeping::clock_ns;

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

/// Gives what stands at the region's name its name in the archive too, so that the region that continues it can be put in
/// its place by one step. The rules are applied by [`finish`], after that. Fails where the file can have no second name.
pub(crate) fn link(directory: &Directory, name: &str) -> Result<(), Errno> {
    let (places, fault) = Places::make(directory);
    places.gather(name);
    let remains = Remains::read(directory, &region_file(name))?;
    let linked = match places.link_in(name, &remains) {
        Err(Errno::NOSPC) if make_room(directory, 0, None) => places.link_in(name, &remains),
        linked => linked,
    };
    let file = match linked {
        Ok(file) => file,
        Err(errno) => {
            let file = places.link_beside(name, &remains)?;
            warn_beside(directory, fault, errno);
            file
        }
    };
    tell(&places, &file, &remains);
    Ok(())
}

/// Moves what stands at the region's name to the archive, then applies the rules. Gives the archived file's name; `None`
/// where somebody removed it meanwhile.
pub(crate) fn archive(directory: &Directory, name: &str, rules: Rules) -> Result<Option<String>, BuildError> {
    let (places, fault) = Places::make(directory);
    places.gather(name);
    let taken = Remains::read(directory, &region_file(name)).and_then(|remains| {
        let taken = match places.take_in(name, &remains) {
            Err(Errno::NOSPC) if make_room(directory, 0, None) => places.take_in(name, &remains),
            taken => taken,
        };
        let file = match taken {
            Ok(file) => file,
            Err(errno) => {
                let file = places.take_beside(name, &remains)?;
                warn_beside(directory, fault, errno);
                file
            }
        };
        Ok((file, remains))
    });
    let (archived, remains) = match taken {
        Ok(taken) => taken,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => {
            let (path, to) = (directory.join(&region_file(name)), directory.join("archive"));
            return Err(BuildError::Archive { path, to, source: errno.into() });
        }
    };
    tell(&places, &archived, &remains);
    FailPoint::ArchiveMoved.pass();
    retain(&places, directory.room(), name, &archived, false, rules);
    Ok(Some(archived))
}

/// Gives back its name to a region that was archived for one that could not be built: the next start is to find it there.
/// Says whether it has it.
pub(crate) fn restore(directory: &Directory, name: &str, file: &str) -> bool {
    let places = Places::find(directory);
    let to = region_file(name);
    let back = rustix::fs::renameat_with(places.of(file), file, directory, to.as_str(), RenameFlags::NOREPLACE);
    match back {
        Ok(()) => {
            tracing::info!(path = %directory.join(&to).display(), "put back: no region could be built in its place")
        }
        Err(errno) => tracing::warn!(file, %errno, "the region that was to be continued is not put back"),
    }
    back.is_ok()
}

fn warn_beside(directory: &Directory, fault: Option<DirectoryFault>, errno: Errno) {
    let error = fault.map_or_else(|| std::io::Error::from(errno).to_string(), |fault| one_line(&fault));
    tracing::warn!(
        path = %directory.join("archive").display(),
        error,
        "the archive can't be used: what the process before left is kept beside it, under a hidden name"
    );
}

fn tell(places: &Places<'_>, archived: &str, remains: &Remains) {
    tracing::info!(
        path = %places.of(archived).join(archived).display(),
        closed = remains.closed,
        pid = remains.header.map(|header| header.pid),
        "archived the region of the process before"
    );
}

/// Applies the rules where nothing is there to archive: the start that archived last may have been cut off right after.
/// Gives the newest archived file's name, as `archive` would have.
pub(crate) fn finish(directory: &Directory, name: &str, rules: Rules) -> Option<String> {
    let places = Places::find(directory);
    let mut deaths = places.deaths();
    deaths.retain(|death| death.region == name);
    let now_ns = clock_ns(ClockId::Realtime);
    let newest = deaths.iter().max_by_key(|death| (death.died_ns <= now_ns, death.died_ns))?;
    let told = places.bursts(&deaths).iter().any(|burst| (burst.from_ns..=burst.last_ns).contains(&newest.died_ns));
    retain(&places, directory.room(), name, &newest.file, told, rules);
    Some(newest.file.clone())
}

/// Drops archived files, the least telling first, until `needed` bytes are free, and at least one; says whether it
/// did. Drops nothing where all of them would not suffice, and none that need not go. The crash that was `just`
/// archived goes only where nothing else is left.
pub(crate) fn make_room(directory: &Directory, needed: u64, just: Option<&str>) -> bool {
    let places = Places::find(directory);
    let mut deaths = places.deaths();
    let remembered = places.bursts(&deaths);
    // A process that lives still maps what it closed: dropping that would lose evidence and free nothing.
    // Nor does dropping one name of a region that a start is about to adopt.
    let frees_nothing = |remains: Remains| remains.linked || remains.is_mapped();
    deaths.retain(|death| !Remains::read(places.of(&death.file), &death.file).is_ok_and(frees_nothing));
    let mut free = directory.room().map_or(u64::MAX, |(_, free)| free);
    let victims = retention::order(deaths.iter(), &remembered, just.unwrap_or(""), clock_ns(ClockId::Realtime));
    let missing = needed.saturating_sub(free).max(1);
    if retention::sum(&victims) < missing {
        return false;
    }
    let mut dropped = false;
    for death in retention::enough(&victims, missing) {
        let inner = places.of(&death.file);
        FailPoint::RoomDropping.pass();
        match rustix::fs::unlinkat(inner, death.file.as_str(), AtFlags::empty()) {
            Ok(()) => {
                tracing::warn!(
                    path = %inner.join(&death.file).display(),
                    bytes = death.bytes,
                    "dropped archived evidence: the file system is full and a region must start"
                );
                FailPoint::RoomDropped.pass();
                dropped = true;
                let before = free;
                free = directory.room().map_or_else(|| free.saturating_add(death.bytes), |(_, free)| free);
                if free <= before || free >= needed {
                    // Either it suffices, or something else holds its pages, and so it may be with the others.
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

/// Applies the rules after `just` was archived. `told`: it is counted in what is remembered already.
fn retain(places: &Places<'_>, room: Option<(u64, u64)>, name: &str, just: &str, told: bool, rules: Rules) {
    let deaths = places.deaths();
    let bytes = room.map(|(all, _)| (u128::from(all) * u128::from(rules.share) / 100) as u64);
    let now_ns = clock_ns(ClockId::Realtime);
    let limits = Limits { region: name, just, told, now_ns, files: rules.files.max(1), bytes };
    let plan = retention::plan(&deaths, &places.bursts(&deaths), limits);
    // Noted before anything is dropped: a start that is cut off between the two forgets no death.
    let noted = places.remember(name, &plan.bursts);
    for file in &plan.drop {
        let inner = places.of(file);
        FailPoint::RetentionDropping.pass();
        match rustix::fs::unlinkat(inner, file.as_str(), AtFlags::empty()) {
            Ok(()) => tracing::info!(path = %inner.join(file).display(), "dropped archived region: retention"),
            Err(errno) => tracing::warn!(path = %inner.join(file).display(), %errno, "can't drop archived region"),
        }
        FailPoint::RetentionDropped.pass();
    }
    // Where the file system was full, there is room now.
    if let Err(error) = noted.or_else(|_| places.remember(name, &plan.bursts)) {
        tracing::warn!(region = name, error = one_line(&error), "can't note the count of a burst of crashes");
    }
}
