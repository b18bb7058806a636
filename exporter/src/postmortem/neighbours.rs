//! What lies beside the region that a report is on: its other lives, and what crashed about the same time.
//!
//! An archive may hold thousands of regions, and more than one question is asked of them all: each is opened once, however
//! many there are.

use std::cell::OnceCell;
use std::sync::Arc;

use super::{MOST, Other, burst};
use crate::directory::may_be_of;
use crate::{Directories, Problem, RegionInfo, RegionReader, Scan, Verdict};

/// The regions of some directories, in their places and archived, as they were when first asked for.
///
/// ```
/// use tachograph_exporter::{Directories, postmortem::Neighbours};
/// let directory = tempfile::tempdir()?;
/// let directories = Directories::from_args(vec![directory.path().into()]);
/// let neighbours = Neighbours::of(&directories);
/// assert!(neighbours.first_of_newest_burst().is_none());
/// assert_eq!(neighbours.problems().count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Neighbours<'a> {
    directories: &'a Directories,
    all: OnceCell<Found>,
    crashed: OnceCell<Vec<(Arc<RegionReader>, RegionInfo)>>,
}

#[derive(Debug)]
struct Found {
    in_place: Scan,
    archived: Scan,
}

impl Found {
    fn regions(&self) -> impl Iterator<Item = &Arc<RegionReader>> {
        self.archived.regions.iter().chain(&self.in_place.regions)
    }

    fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.archived.problems.iter().chain(&self.in_place.problems)
    }

    /// Those that may keep a region of this name from being found: all but the archive's files of other names.
    fn problems_of(&self, name: &str) -> impl Iterator<Item = &Problem> {
        let matters = move |problem: &&Problem| {
            let is_file = problem.path.extension().is_some_and(|extension| extension == "tacho");
            !is_file || may_be_of(&problem.path, name)
        };
        self.archived.problems.iter().filter(matters).chain(&self.in_place.problems)
    }
}

impl<'a> Neighbours<'a> {
    /// Those of these directories. Nothing is opened yet.
    #[must_use]
    pub const fn of(directories: &'a Directories) -> Self {
        Self { directories, all: OnceCell::new(), crashed: OnceCell::new() }
    }

    /// The region to report on where none is named: the first crash that is kept of the newest burst, with those of other
    /// names that it may have brought down. `None` where nothing crashed.
    #[must_use]
    pub fn first_of_newest_burst(&self) -> Option<Arc<RegionReader>> {
        let first = burst::first_of_newest(self.crashed().iter().map(|(_, region)| region))?;
        let mut crashed = self.crashed().iter();
        crashed.find(|(_, region)| std::ptr::eq(region, first)).map(|(reader, _)| Arc::clone(reader))
    }

    /// What could not be read of them all.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.all().problems()
    }

    /// Regions of other names that crashed about the same time.
    pub(super) fn others(&self, region: &RegionInfo) -> Vec<Other> {
        burst::others(region, self.crashed().iter().map(|(_, region)| region))
    }

    /// What else there is of a region's name.
    pub(super) fn lives(&self, region: &RegionInfo) -> Lives {
        let of_its_name;
        let found = if region.verdict == Verdict::Crashed {
            // All of them are asked for what crashed about the same time, too.
            self.all()
        } else {
            of_its_name = self.find(Some(&region.name));
            &of_its_name
        };
        let problems = found.problems_of(&region.name).take(MOST);
        let problems = problems.map(|one| format!("{}: {}", one.path.display(), one.error)).collect();
        let mut lives = Lives { problems, ..Lives::default() };
        lives.problems.dedup();
        let home = burst::home(&region.path, region.archived);
        for reader in found.regions().filter(|reader| reader.name() == region.name) {
            let Ok(other) = reader.info() else { continue };
            if other.verdict == Verdict::Copy || burst::home(&other.path, other.archived) != home {
                continue;
            }
            if other.created_realtime_ns > region.created_realtime_ns
                && lives.successor.as_ref().is_none_or(|next| other.created_realtime_ns < next.created_realtime_ns)
            {
                lives.successor = Some(other.clone());
            }
            if other.verdict == Verdict::Crashed {
                lives.crashes.push(other);
            }
        }
        lives
    }

    fn all(&self) -> &Found {
        self.all.get_or_init(|| self.find(None))
    }

    fn crashed(&self) -> &[(Arc<RegionReader>, RegionInfo)] {
        self.crashed.get_or_init(|| {
            let crashed = self.all().regions().filter_map(|reader| {
                let region = reader.info().ok().filter(|region| region.verdict == Verdict::Crashed)?;
                Some((Arc::clone(reader), region))
            });
            crashed.collect()
        })
    }

    /// Opens them, of the archive those of one name where one is given.
    fn find(&self, name: Option<&str>) -> Found {
        let in_place = self.directories.scan();
        Found { in_place, archived: self.directories.archived(name) }
    }
}

/// What else there is of a region's name.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) crashes: Vec<RegionInfo>,
    pub(super) successor: Option<RegionInfo>,
    pub(super) problems: Vec<String>,
}
