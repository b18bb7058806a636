//! Regions added up: `serve --merge`, and the ledger that keeps the totals of those that are gone.
//!
//! Called by `serve/scrape.rs`, under its lock, once a scrape and once a second between. Each region counts once, by its
//! uuid, in one of three places: as it is shown now (living, or dead in its place, which its successor may still continue);
//! as it was last seen (out of its place since a short while, or not readable); or folded into one set with all that are
//! gone. A region that is carried on by an adopter counts in that one. What is served is on disk before: after a kill at any
//! moment the next exporter goes on from there, and no total falls.
//!
//! Promised of damaged and hostile regions: what is added up has passed the reader's checks; a region whose structure is
//! damaged stays at what was last seen of it whole; a total that falls counts as one that began anew.

mod carried;
mod file;
mod folded;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use file::Content;
use folded::{Folded, Identity, settle, totals_of};
use merge::{Merge, Part};

use crate::{Directories, RegionReader, Snapshot, Verdict};

/// The file in the recorder's directory.
const FILE: &str = "merge.ledger";
/// How long a region is out of its place before it is folded, unless another took that place: a start that adopts may have
/// put it aside for a moment.
const ASIDE: Duration = Duration::from_secs(60);
/// Regions out of their place that are kept apart at most.
const MOST_ASIDE: usize = 1_000;

/// The ledger, and how its regions add up.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    folded: Folded,
    standing: BTreeMap<[u8; 16], Standing>,
    merge: Merge,
    /// Archived files that need not be opened again.
    known: HashSet<PathBuf>,
    /// Checksum of what is on disk.
    on_disk: Option<u32>,
    /// What was last served, once it was durable.
    served: Option<Arc<Snapshot>>,
    said: bool,
}

/// A region that counts by itself.
#[derive(Debug)]
struct Standing {
    identity: Identity,
    /// Held open: its last values can be read when its file is gone.
    reader: Option<Arc<RegionReader>>,
    /// What it shows, and what it carries on beside.
    pictures: Vec<Arc<Snapshot>>,
    alive: bool,
    /// Since when it is not in its place.
    aside: Option<Instant>,
}

/// A region in its place.
pub(crate) struct InPlace {
    pub(crate) reader: Arc<RegionReader>,
    /// Its values, where it lives; `None` also where it can't be read now.
    pub(crate) living: Option<Arc<Snapshot>>,
    pub(crate) readable: bool,
}

/// How the ledger is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Condition {
    pub(crate) durable: bool,
    pub(crate) folded: u64,
    pub(crate) standing: u64,
    pub(crate) left_out: u64,
}

impl Ledger {
    /// Goes on from the ledger in this directory.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let content = file::read(&path).unwrap_or_else(|error| {
            let aside = path.with_extension("ledger.unreadable");
            let moved = std::fs::rename(&path, &aside).is_ok();
            tracing::error!(path = %path.display(), %error, aside = %aside.display(), moved,
                "the ledger of merged totals can't be read: put aside; totals begin anew from the regions that are there");
            None
        });
        let Content { folded, standing } = content.unwrap_or_default();
        let now = Instant::now();
        let stands = |(identity, pictures): (Identity, _)| {
            let uuid = identity.uuid;
            (uuid, Standing { identity, reader: None, pictures, alive: false, aside: Some(now) })
        };
        Self {
            path,
            folded,
            standing: standing.into_iter().map(stands).collect(),
            merge: Merge::default(),
            known: HashSet::new(),
            on_disk: None,
            served: None,
            said: false,
        }
    }

    /// Takes note of the regions that are there, and gives their sum: durable, or the last one that was. `None` where
    /// nothing was ever durable.
    pub(crate) fn observe(
        &mut self,
        directories: &Directories,
        in_place: &[InPlace],
        problems: &mut Vec<String>,
    ) -> Option<Arc<Snapshot>> {
        for one in in_place {
            self.see(one, problems);
        }
        let here: HashSet<[u8; 16]> = in_place.iter().map(|one| one.reader.uuid()).collect();
        self.find_archived(directories, &here);
        let gone = self.standing.values_mut().filter(|standing| !here.contains(&standing.identity.uuid));
        gone.for_each(|standing| standing.leave(&mut self.folded));
        self.drop_carried();
        self.fold(in_place);
        let durable = self.store();
        if durable || self.served.is_none() {
            match self.sum(problems) {
                Some(sum) if durable => self.served = Some(Arc::new(sum)),
                _ => {}
            }
        }
        self.served.clone()
    }

    /// How it is doing.
    pub(crate) fn condition(&self) -> Condition {
        Condition {
            durable: !self.said,
            folded: self.folded.count,
            standing: self.standing.len() as u64,
            left_out: self.folded.left_out,
        }
    }

    /// Takes a region in its place as it is now.
    fn see(&mut self, one: &InPlace, problems: &mut Vec<String>) {
        let identity = identity(&one.reader);
        let uuid = identity.uuid;
        if self.folded.holds(&identity) || self.folded.holds_predecessor_of(&identity) {
            problems.push(format!(
                "{}: not added up: it, or what it continues, was out of its place and is counted already",
                one.reader.path().display()
            ));
            return;
        }
        let known = self.standing.get_mut(&uuid);
        if !one.readable {
            // As it was last seen.
            if let Some(standing) = known {
                standing.aside = None;
            }
            return;
        }
        let read_once = known.as_ref().is_some_and(|known| !known.alive && known.reader.is_some());
        let shown = match &one.living {
            Some(snapshot) => Arc::clone(snapshot),
            // A dead one does not change any more.
            None if read_once => {
                if let Some(standing) = known {
                    standing.aside = None;
                }
                return;
            }
            None => match last_values(&one.reader) {
                Some(snapshot) => Arc::new(snapshot),
                None => return,
            },
        };
        let alive = one.living.is_some();
        let entry = self.standing.entry(uuid);
        let standing = entry.or_insert_with(|| Standing::new(identity, &one.reader));
        standing.reader = Some(Arc::clone(&one.reader));
        standing.aside = None;
        standing.show(shown, alive, &mut self.folded);
    }

    /// Regions that lived and died unseen, and those that a former exporter knew.
    fn find_archived(&mut self, directories: &Directories, here: &HashSet<[u8; 16]>) {
        let mut there = HashSet::new();
        let mut found = Vec::new();
        for directory in directories.paths() {
            let archive = directory.join("archive");
            if !archive.is_dir() {
                continue;
            }
            for path in crate::content::regions(&archive, &mut Vec::new()) {
                there.insert(path.clone());
                if self.known.contains(&path) {
                    continue;
                }
                let Ok(reader) = RegionReader::open(&path) else { continue };
                found.push((identity(&reader), Arc::new(reader), path));
            }
        }
        self.known.retain(|path| there.contains(path));
        // Of a line of adopters the last one holds all.
        found.sort_by_key(|(identity, ..)| std::cmp::Reverse((identity.restarts, identity.created_ns)));
        for (identity, reader, path) in found {
            let uuid = identity.uuid;
            let carried = self.standing.values().any(|standing| standing.identity.carries(&identity));
            let held = self.standing.get(&uuid).is_some_and(|standing| standing.reader.is_some());
            if here.contains(&uuid) || held {
                // Asked again, once it is only here.
                continue;
            }
            if !carried && !self.folded.holds(&identity) && !self.folded.holds_predecessor_of(&identity) {
                let Some(snapshot) = last_values(&reader) else { continue };
                let standing = self.standing.entry(uuid).or_insert_with(|| Standing::new(identity, &reader));
                standing.reader = Some(reader);
                standing.show(Arc::new(snapshot), false, &mut self.folded);
                standing.aside = standing.aside.or_else(|| Some(Instant::now()));
            }
            self.known.insert(path);
        }
    }

    /// Regions that are carried on by another count in that one.
    fn drop_carried(&mut self) {
        let identities: Vec<Identity> = self.standing.values().map(|standing| standing.identity.clone()).collect();
        for older in &identities {
            let heirs = identities.iter().filter(|heir| heir.carries(older));
            let Some(heir) = heirs.max_by_key(|heir| heir.restarts) else { continue };
            let (Some(before), Some(now)) = (self.standing.remove(&older.uuid), self.standing.get(&heir.uuid)) else {
                continue;
            };
            settle(&mut self.folded, &before.pictures, &now.pictures);
        }
    }

    /// Folds what nobody can continue any more.
    fn fold(&mut self, in_place: &[InPlace]) {
        let in_place: Vec<Identity> = in_place.iter().map(|one| identity(&one.reader)).collect();
        let mut aside: Vec<(Instant, [u8; 16])> = Vec::new();
        for standing in self.standing.values() {
            let (own, Some(since)) = (&standing.identity, standing.aside) else { continue };
            if in_place.iter().any(|other| other.carries(own)) {
                // That one can't be read now.
                continue;
            }
            // Another region of its name stands in its place, so nobody will continue it.
            let replaced = standing.reader.is_some() && in_place.iter().any(|other| other.name == own.name);
            let long_ago = Instant::now().checked_sub(ASIDE);
            aside.push((long_ago.filter(|_| replaced).unwrap_or(since), own.uuid));
        }
        aside.sort();
        let over = aside.len().saturating_sub(MOST_ASIDE);
        for (index, (since, uuid)) in aside.into_iter().enumerate() {
            if index < over || since.elapsed() >= ASIDE {
                let Some(standing) = self.standing.remove(&uuid) else { continue };
                standing.pictures.iter().for_each(|picture| self.folded.add(picture));
                self.folded.remember(standing.identity);
            }
        }
    }

    /// Whether what stands here is on disk now.
    fn store(&mut self) -> bool {
        let standing: Vec<(&Identity, &[Arc<Snapshot>])> =
            self.standing.values().map(|one| (&one.identity, one.pictures.as_slice())).collect();
        let bytes = file::encode(&mut self.folded, &standing);
        let checksum = crc32fast::hash(&bytes);
        if self.on_disk == Some(checksum) {
            return true;
        }
        match file::write(&self.path, &bytes) {
            Ok(()) => {
                self.on_disk = Some(checksum);
                if std::mem::take(&mut self.said) {
                    tracing::info!(path = %self.path.display(), "the ledger of merged totals is written again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    tracing::error!(path = %self.path.display(), %error,
                        "the ledger of merged totals can't be written: the last durable values are served until it can");
                }
                false
            }
        }
    }

    /// The sum of all that counts.
    fn sum(&mut self, problems: &mut Vec<String>) -> Option<Snapshot> {
        let part = |name: &str, picture, folded| Part { name: name.to_owned(), picture, folded };
        let mut standing: Vec<&Standing> = self.standing.values().collect();
        standing.sort_by_key(|standing| (standing.identity.created_ns, standing.identity.uuid));
        let mut parts = Vec::new();
        for one in standing {
            let name = format!("region {}", one.identity.name);
            parts.extend(one.pictures.iter().map(|picture| part(&name, Arc::clone(picture), false)));
        }
        parts.push(part("regions that are gone", self.folded.picture(), true));
        if !self.merge.fits(&parts) {
            self.merge = Merge::new(&parts);
        }
        problems.extend(self.merge.clashes.iter().cloned());
        self.merge.sum(&parts).ok()
    }
}

impl Standing {
    fn new(identity: Identity, reader: &Arc<RegionReader>) -> Self {
        Self { identity, reader: Some(Arc::clone(reader)), pictures: Vec::new(), alive: true, aside: None }
    }

    /// Shows it as it is now; of a dead one the totals only. What is lost or fell is folded.
    fn show(&mut self, snapshot: Arc<Snapshot>, alive: bool, folded: &mut Folded) {
        if snapshot.schema.damaged_count() > 0 && !self.pictures.is_empty() {
            // What is missing is not gone: as it was last seen whole, without levels once it is dead.
            if !alive {
                self.bury();
            }
            return;
        }
        let same = self.pictures.first().is_some_and(|before| Arc::ptr_eq(&before.schema, &snapshot.schema));
        let carried = match self.pictures.get(1) {
            Some(carried) if same => Some(Arc::clone(carried)),
            None if same => None,
            _ => self.carried(&snapshot),
        };
        let shown = if alive { snapshot } else { Arc::new(totals_of(&snapshot)) };
        let now: Vec<Arc<Snapshot>> = [Some(shown), carried].into_iter().flatten().collect();
        settle(folded, &self.pictures, &now);
        let before = std::mem::replace(&mut self.pictures, now);
        self.alive = alive;
        if let (Some(reader), Some(old)) = (&self.reader, before.into_iter().next().and_then(Arc::into_inner)) {
            reader.recycle(old);
        }
    }

    fn carried(&self, snapshot: &Snapshot) -> Option<Arc<Snapshot>> {
        let reader = self.reader.as_ref().filter(|reader| reader.predecessor_uuid() != [0; 16])?;
        carried::picture(&reader.carried(), snapshot).map(Arc::new)
    }

    /// It is not in its place any more: shows its last values, as far as they can be had.
    fn leave(&mut self, folded: &mut Folded) {
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

fn identity(reader: &RegionReader) -> Identity {
    let (lineage_ns, restarts) = reader.lineage();
    Identity {
        uuid: reader.uuid(),
        name: reader.name().to_owned(),
        lineage_ns,
        restarts,
        created_ns: reader.created_realtime_ns(),
    }
}

/// The values that a dead region ended with; `None` of one that lives, is a copy, or can't be read.
fn last_values(reader: &RegionReader) -> Option<Snapshot> {
    let snapshot = reader.snapshot().ok()?;
    let replaced_alive = snapshot.region.verdict.is_alive() || snapshot.region.verdict == Verdict::Copy;
    (!replaced_alive).then_some(snapshot)
}
