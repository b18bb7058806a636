//! Starting in the place of a region that is continued: what differs from a start over nothing, or over an archived region.
//!
//! Called by `start.rs`, under the region's lock, with what was read of the predecessor. The predecessor keeps its name until
//! the new region, complete with all of its totals, takes that over.

use rustix::io::Errno;

use super::{Plan, Started, Temporary};
use crate::adopt::{Adoption, Predecessor, kept};
use crate::archive::{self, Rules};
use crate::build_error::BuildError;
use crate::directory::Directory;
use crate::fail_point::FailPoint;
use crate::lock::Lock;

impl Plan {
    /// Starts in the place of the region that is continued. That keeps its name until the new one, with all of its totals,
    /// takes it over by one rename: a kill at any moment leaves either of them there, and nothing else has to be looked at.
    pub(super) fn adopt(
        mut self,
        directory: &Directory,
        lock: Lock,
        predecessor: Predecessor,
        rules: Rules,
    ) -> Result<Started, BuildError> {
        FailPoint::PredecessorRead.pass();
        self.layout = self.layout.carrying(predecessor.words.len() as u64);
        // A start that archived last may have been cut off right after.
        archive::finish(directory, &self.name, rules);
        self.remove_stale(directory);
        FailPoint::StaleRemoved.pass();
        let made = match self.make_with_room(directory, Some((&predecessor, rules)), None) {
            // What is to be continued was read: rather than not starting at all, it goes the way that evidence goes, once its
            // totals stand in a file of their own.
            Err(BuildError::Full { .. }) => {
                kept::keep(directory, &self.name, &predecessor);
                let archived = archive::archive(directory, &self.name, rules)?;
                let made = self.make_with_room(directory, Some((&predecessor, rules)), archived.as_deref());
                if let (Err(_), Some(file)) = (&made, &archived)
                    && archive::restore(directory, &self.name, file)
                {
                    kept::forget(directory, &self.name);
                }
                made
            }
            made => made,
        }?;
        kept::forget(directory, &self.name);
        archive::finish(directory, &self.name, rules);
        let mut started = self.started_in(directory, lock, made);
        tracing::info!(
            region = started.name,
            predecessor = %uuid::Uuid::from_bytes(predecessor.uuid).simple(),
            restarts = predecessor.restarts.saturating_add(1),
            damaged = predecessor.damaged,
            dropped = predecessor.dropped,
            "continues the counters of the region before"
        );
        if predecessor.damaged > 0 {
            tracing::warn!(
                region = started.name,
                damaged = predecessor.damaged,
                "parts of the region before are damaged and not continued; it is in the archive"
            );
        }
        started.adoption = Some(Adoption::new(&started, predecessor));
        Ok(started)
    }

    /// Gives it the name of the region that it continues, in one step.
    pub(super) fn succeed(
        &self,
        directory: &Directory,
        temporary: &Temporary<'_>,
        predecessor: &Predecessor,
        rules: Rules,
    ) -> Result<(), BuildError> {
        if let Err(errno) = archive::link(directory, &self.name) {
            // The file can have no second name here, or is gone. So it is moved, and for that moment nothing has the name.
            tracing::debug!(%errno, "what is continued can't be linked into the archive");
            if errno != Errno::NOENT {
                kept::keep(directory, &self.name, predecessor);
                archive::archive(directory, &self.name, rules)?;
            }
            return self.give_name(directory, temporary);
        }
        FailPoint::PredecessorLinked.pass();
        let to = archive::region_file(&self.name);
        rustix::fs::renameat(directory, temporary.name.as_str(), directory, to.as_str())
            .map_err(|errno| self.failed(directory, "give its name to", &to, errno))
    }
}
