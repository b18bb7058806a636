//! A region that counts by itself: what it shows, or last showed.
//!
//! Called by `ledger/mod.rs`, which decides which regions do.

use std::sync::Arc;
use std::time::Instant;

use super::carried;
use super::folded::{Folded, settle, totals_of};
use super::gone::Identity;
use crate::{RegionReader, Snapshot};

/// A region that counts by itself.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) identity: Identity,
    /// Held open: its last values can be read when its file is gone.
    pub(super) reader: Option<Arc<RegionReader>>,
    /// What it shows, and what it carries on beside.
    pub(super) pictures: Vec<Arc<Snapshot>>,
    pub(super) alive: bool,
    /// Since when it is not in its place.
    pub(super) aside: Option<Instant>,
}

impl Standing {
    pub(super) fn new(identity: Identity, reader: &Arc<RegionReader>) -> Self {
        Self { identity, reader: Some(Arc::clone(reader)), pictures: Vec::new(), alive: true, aside: None }
    }

    /// Shows it as it is now; of a dead one the totals only. What is lost or fell is folded.
    pub(super) fn show(&mut self, snapshot: Arc<Snapshot>, alive: bool, folded: &mut Folded) {
        if snapshot.schema.damaged_count() > 0 && !self.pictures.is_empty() {
            // What is missing is not gone: as it was last seen whole, without levels once it is dead.
            if !alive {
                self.bury();
            }
            return;
        }
        let same = self.pictures.first().is_some_and(|before| Arc::ptr_eq(&before.schema, &snapshot.schema));
        let (snapshot, carried) =
            if same { (snapshot, self.pictures.get(1).cloned()) } else { self.with_carried(snapshot) };
        let shown = if alive { snapshot } else { Arc::new(totals_of(&snapshot)) };
        let now: Vec<Arc<Snapshot>> = [Some(shown), carried].into_iter().flatten().collect();
        settle(folded, &self.pictures, &now);
        let before = std::mem::replace(&mut self.pictures, now);
        self.alive = alive;
        if let (Some(reader), Some(old)) = (&self.reader, before.into_iter().next().and_then(Arc::into_inner)) {
            reader.recycle(old);
        }
    }

    /// What it carries on beside what it shows, which is read anew for that.
    fn with_carried(&self, snapshot: Arc<Snapshot>) -> (Arc<Snapshot>, Option<Arc<Snapshot>>) {
        let adopts = |reader: &&Arc<RegionReader>| reader.predecessor_uuid() != [0; 16];
        let Some(reader) = self.reader.as_ref().filter(adopts) else { return (snapshot, None) };
        let (snapshot, carried) = carried::beside(|| reader.carried(), || reader.snapshot().map_or(snapshot, Arc::new));
        (snapshot, carried.map(Arc::new))
    }

    /// It is not in its place any more: shows its last values, as far as they can be had.
    pub(super) fn leave(&mut self, folded: &mut Folded) {
        if self.aside.is_none() {
            self.aside = Some(Instant::now());
        }
        if !self.alive {
            return;
        }
        let last = self.reader.as_ref().and_then(|reader| last_values(reader));
        match last {
            Some(snapshot) => self.show(Arc::new(snapshot), false, folded),
            None => self.bury(),
        }
    }

    /// What it was last seen with, without levels.
    fn bury(&mut self) {
        self.alive = false;
        for picture in &mut self.pictures {
            *picture = Arc::new(totals_of(picture));
        }
    }
}

pub(super) fn identity(reader: &RegionReader) -> Identity {
    let (lineage_ns, restarts) = reader.lineage();
    Identity {
        uuid: reader.uuid(),
        name: reader.name().to_owned(),
        lineage_ns,
        restarts,
        created_ns: reader.created_realtime_ns(),
    }
}

/// The values that a dead region ended with; `None` of one that lives, or can't be read. One that lost its lock with its file
/// is dead to whoever reads it.
pub(super) fn last_values(reader: &RegionReader) -> Option<Snapshot> {
    let snapshot = reader.snapshot().ok()?;
    (!snapshot.region.verdict.is_alive()).then_some(snapshot)
}

#[cfg(test)]
mod tests;
