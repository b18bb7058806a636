//! The regions that are gone and whose totals are folded: so that none counts twice, whatever comes up again of it.
//!
//! Called by `ledger/folded.rs`. The list is bounded; a region that was built before the oldest one forgotten counts as
//! folded: rather too little than twice. A question costs the same, however many there are.

use std::collections::{HashMap, HashSet};

/// Regions that are remembered one by one.
const MOST_REGIONS: usize = 10_000;

/// A region, by what tells whether another one carries its totals on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uuid: [u8; 16],
    pub(crate) name: String,
    /// When the first region of its lineage was built: adopters keep it.
    pub(crate) lineage_ns: u64,
    /// Adoptions since.
    pub(crate) restarts: u64,
    pub(crate) created_ns: u64,
}

impl Identity {
    /// Whether this region's totals hold those of the other: it continues it, itself or by way of others.
    pub(crate) fn carries(&self, other: &Self) -> bool {
        self.name == other.name && self.lineage_ns == other.lineage_ns && self.restarts > other.restarts
    }
}

/// By name and beginning of their lineage: the fewest and the most adoptions of those that are gone.
type Lines = HashMap<String, HashMap<u64, (u64, u64)>>;

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    all: Vec<Identity>,
    /// Those that came since the list was last written.
    new: Vec<Identity>,
    uuids: HashSet<[u8; 16]>,
    lines: Lines,
    /// Nothing built before is folded any more, unless it is known otherwise.
    pub(crate) floor_ns: u64,
    /// Regions folded so far.
    pub(crate) count: u64,
}

impl Gone {
    /// Whether a dead region is folded, by itself or by one that carries it; or may be.
    pub(crate) fn holds(&self, region: &Identity) -> bool {
        region.created_ns < self.floor_ns
            || self.uuids.contains(&region.uuid)
            || self.line(region).is_some_and(|(_, most)| most > region.restarts)
    }

    /// Whether what this region carries on is folded: it would count twice.
    pub(crate) fn holds_predecessor_of(&self, region: &Identity) -> bool {
        self.line(region).is_some_and(|(fewest, _)| fewest < region.restarts)
    }

    fn line(&self, region: &Identity) -> Option<(u64, u64)> {
        self.lines.get(&region.name)?.get(&region.lineage_ns).copied()
    }

    /// Remembers a region as folded.
    pub(crate) fn remember(&mut self, region: Identity) {
        self.count = self.count.saturating_add(1);
        self.index(&region);
        self.new.push(region.clone());
        self.all.push(region);
        if self.all.len() > MOST_REGIONS {
            self.all.sort_by_key(|region| region.created_ns);
            // A tenth at a time, since the rest is indexed anew.
            for gone in self.all.drain(..MOST_REGIONS / 10) {
                self.floor_ns = self.floor_ns.max(gone.created_ns.saturating_add(1));
            }
            (self.uuids, self.lines) = Default::default();
            let all = std::mem::take(&mut self.all);
            all.iter().for_each(|region| self.index(region));
            self.all = all;
        }
    }

    fn index(&mut self, region: &Identity) {
        self.uuids.insert(region.uuid);
        if !self.lines.contains_key(&region.name) {
            self.lines.insert(region.name.clone(), HashMap::new());
        }
        if let Some(line) = self.lines.get_mut(&region.name) {
            let (fewest, most) = line.entry(region.lineage_ns).or_insert((region.restarts, region.restarts));
            (*fewest, *most) = ((*fewest).min(region.restarts), (*most).max(region.restarts));
        }
    }

    /// All that are remembered.
    pub(crate) fn all(&self) -> &[Identity] {
        &self.all
    }

    /// Those that came since [`Gone::is_written`].
    pub(crate) fn fresh(&self) -> &[Identity] {
        &self.new
    }

    /// All of it is on disk.
    pub(crate) fn is_written(&mut self) {
        self.new.clear();
    }
}
