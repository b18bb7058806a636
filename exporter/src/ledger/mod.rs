//! Regions added up: `serve --merge`, and the ledger that keeps the totals of those that are gone.
//!
//! Called by `serve/scrape.rs`, under its lock, once a scrape and twice a second between. Each region counts once, by its
//! uuid, in one of three places: as it is shown now (living, or dead in its place, which its successor may still continue);
//! as it was last seen (out of its place since a short while, or not readable); or folded into one set with all that are
//! gone. A region that is carried on by an adopter counts in that one. What is served is on disk before: after a kill at any
//! moment the next exporter goes on from there, and no total falls.
//!
//! Promised of damaged and hostile regions: what is added up has passed the reader's checks; a region whose structure is
//! damaged stays at what was last seen of it whole; a total that falls counts as one that began anew.

mod carried;
mod content;
mod durable;
mod file;
#[cfg(test)]
mod file_tests;
mod folded;
mod gone;
#[cfg(test)]
mod label_tests;
mod merge;
#[cfg(test)]
mod once_tests;
mod picture;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use content::{Content, OnFile};
use durable::{put_aside, read};
use file::Book;
use folded::{Folded, settle};
use gone::Identity;
use merge::{Merge, Part};

pub(crate) use merge::Clashes;
use standing::{Standing, identity, last_values};

use crate::{Directories, RegionReader, Snapshot};

/// The file in the recorder's directory.
const FILE: &str = "merge.ledger";
/// How long a region is out of its place before it is folded, unless another took that place: a start that adopts may have
/// put it aside for a moment.
const ASIDE: Duration = Duration::from_secs(60);
/// Regions out of their place that are kept apart at most.
const MOST_ASIDE: usize = 1_000;
/// How long after the file could not be made anew before there was need it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The ledger, and how its regions add up.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    folded: Folded,
    standing: BTreeMap<[u8; 16], Standing>,
    merge: Merge,
    /// Archived files that need not be opened again.
    known: HashSet<PathBuf>,
    /// The file, once this exporter wrote it, and what it holds.
    book: Option<Book>,
    on_file: OnFile,
    /// What stood in the file's place can't be read, and could not be put aside yet.
    in_the_way: bool,
    /// When the file is made anew before there is need, at the earliest.
    tidy_from: Instant,
    /// What was last served, once it was durable.
    served: Option<Arc<Snapshot>>,
    said: bool,
}

/// A region in its place.
pub(crate) struct InPlace {
    pub(crate) reader: Arc<RegionReader>,
    pub(crate) now: Now,
}

/// What becomes of a region in its place.
pub(crate) enum Now {
    /// It lives, with these values; `None` where only a new one need be read.
    Lives(Option<Arc<Snapshot>>),
    Dead,
    /// It can't be read now.
    Unreadable,
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
        let (content, in_the_way) = match read(&path) {
            Ok(content) => (content, false),
            Err(error) => {
                let aside = put_aside(&path);
                tracing::error!(path = %path.display(), %error, ?aside,
                    "the ledger of merged totals can't be read: put aside; totals begin anew from the regions that are there");
                (None, aside.is_err())
            }
        };
        let known = content.is_some();
        let Content { folded, standing } = content.unwrap_or_default();
        let now = Instant::now();
        let stands = |(uuid, (identity, pictures)): (_, (_, Vec<Snapshot>))| {
            let pictures = pictures.into_iter().map(Arc::new).collect();
            (uuid, Standing { identity, reader: None, pictures, alive: false, aside: Some(now) })
        };
        let mut ledger = Self {
            path,
            folded,
            standing: standing.into_iter().map(stands).collect(),
            merge: Merge::default(),
            known: HashSet::new(),
            book: None,
            on_file: OnFile::default(),
            in_the_way,
            tidy_from: now,
            served: None,
            said: false,
        };
        if known {
            // Where nothing can be written, this is what was.
            ledger.served = ledger.sum(&mut Clashes::default()).map(Arc::new);
        }
        ledger
    }

    /// Takes note of the regions that are there, and gives their sum: durable, or the last one that was. `None` where
    /// nothing was ever durable.
    pub(crate) fn observe(
        &mut self,
        directories: &Directories,
        in_place: &[InPlace],
        clashes: &mut Clashes,
    ) -> Option<Arc<Snapshot>> {
        self.look(directories, in_place, clashes);
        if self.store()
            && let Some(sum) = self.sum(clashes)
        {
            self.served = Some(Arc::new(sum));
        }
        self.served.clone()
    }

    /// The same, where nobody waits for the sum: regions come, go and die; what goes on living is not read.
    pub(crate) fn note(&mut self, directories: &Directories, in_place: &[InPlace]) {
        self.look(directories, in_place, &mut Clashes::default());
        if !self.store() || !self.book.as_ref().is_some_and(Book::is_half_full) || Instant::now() < self.tidy_from {
            return;
        }
        if let Err(error) = self.rewrite() {
            tracing::debug!(%error, "the ledger of merged totals can't be made anew; there is room in it still");
            self.tidy_from = Instant::now() + TRY_AGAIN;
        }
    }

    fn look(&mut self, directories: &Directories, in_place: &[InPlace], clashes: &mut Clashes) {
        for one in in_place {
            self.see(one, clashes);
        }
        let here: HashSet<[u8; 16]> = in_place.iter().map(|one| one.reader.uuid()).collect();
        self.find_archived(directories, &here);
        let gone = self.standing.values_mut().filter(|standing| !here.contains(&standing.identity.uuid));
        gone.for_each(|standing| standing.leave(&mut self.folded));
        self.drop_carried();
        self.fold(in_place);
    }

    /// How it is doing.
    pub(crate) fn condition(&self) -> Condition {
        Condition {
            durable: !self.said,
            folded: self.folded.regions.count,
            standing: self.standing.len() as u64,
            left_out: self.folded.left_out,
        }
    }

    /// Takes a region in its place as it is now.
    fn see(&mut self, one: &InPlace, clashes: &mut Clashes) {
        let identity = identity(&one.reader);
        let uuid = identity.uuid;
        if self.is_folded(&identity) {
            clashes.left_out.push(format!(
                "{}: not added up: it, or what it continues, was out of its place and is counted already",
                one.reader.path().display()
            ));
            return;
        }
        let known = self.standing.get_mut(&uuid);
        let known = known.map(|known| {
            known.aside = None;
            (known.alive, known.reader.is_some())
        });
        let shown = match (&one.now, known) {
            // As it was last seen; a dead one does not change any more.
            (Now::Unreadable, _) | (Now::Dead, Some((false, true))) | (Now::Lives(None), Some((true, true))) => None,
            (Now::Lives(Some(snapshot)), _) => Some(Arc::clone(snapshot)),
            (Now::Lives(None), _) => one.reader.snapshot().ok().map(Arc::new),
            (Now::Dead, _) => last_values(&one.reader).map(Arc::new),
        };
        let Some(shown) = shown else { return };
        let alive = matches!(one.now, Now::Lives(_));
        let standing = self.standing.entry(uuid).or_insert_with(|| Standing::new(identity, &one.reader));
        standing.reader = Some(Arc::clone(&one.reader));
        standing.aside = None;
        standing.show(shown, alive, &mut self.folded);
    }

    /// Whether it, or what it continues, is folded.
    fn is_folded(&self, region: &Identity) -> bool {
        self.folded.regions.holds(region) || self.folded.regions.holds_predecessor_of(region)
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
            if !carried && !self.is_folded(&identity) {
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
        let mut last: HashMap<(&str, u64), &Identity> = HashMap::new();
        for standing in self.standing.values() {
            let own = &standing.identity;
            let last = last.entry((&own.name, own.lineage_ns)).or_insert(own);
            if own.restarts > last.restarts {
                *last = own;
            }
        }
        let heir = |own: &Identity| {
            let heir = last.get(&(own.name.as_str(), own.lineage_ns)).filter(|heir| heir.carries(own))?;
            Some((own.uuid, heir.uuid))
        };
        let carried: Vec<_> = self.standing.values().filter_map(|standing| heir(&standing.identity)).collect();
        for (older, heir) in carried {
            let (Some(before), Some(now)) = (self.standing.remove(&older), self.standing.get(&heir)) else { continue };
            settle(&mut self.folded, &before.pictures, &now.pictures);
        }
    }

    /// Folds what nobody can continue any more.
    fn fold(&mut self, in_place: &[InPlace]) {
        if self.standing.values().all(|standing| standing.aside.is_none()) {
            return;
        }
        let in_place: Vec<_> = in_place.iter().map(|one| (identity(&one.reader), one.reader.place())).collect();
        let mut aside: Vec<(Instant, [u8; 16])> = Vec::new();
        for standing in self.standing.values() {
            let (own, Some(since)) = (&standing.identity, standing.aside) else { continue };
            if in_place.iter().any(|(other, _)| other.carries(own)) {
                // That one can't be read now.
                continue;
            }
            // Another region of its name stands in its place, so nobody will continue it.
            let place = standing.reader.as_ref().map(|reader| reader.place());
            let replaced = in_place.iter().any(|(other, at)| other.name == own.name && place == Some(*at));
            let long_ago = Instant::now().checked_sub(ASIDE);
            aside.push((long_ago.filter(|_| replaced).unwrap_or(since), own.uuid));
        }
        aside.sort();
        let over = aside.len().saturating_sub(MOST_ASIDE);
        for (index, (since, uuid)) in aside.into_iter().enumerate() {
            if index < over || since.elapsed() >= ASIDE {
                let Some(standing) = self.standing.remove(&uuid) else { continue };
                standing.pictures.iter().for_each(|picture| self.folded.add(picture));
                self.folded.regions.remember(standing.identity);
            }
        }
    }

    /// The sum of all that counts.
    fn sum(&mut self, clashes: &mut Clashes) -> Option<Snapshot> {
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
        clashes.add(&self.merge.clashes);
        self.merge.sum(&parts).ok()
    }
}
