//! The totals of all regions that are gone, as one set, and which regions those were.
//!
//! Called by `ledger/mod.rs`. Counters and histograms only: levels die with their region. The set is bounded in series, the
//! list of regions in length; a region that is too old to be on the list is never folded, so nothing counts twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::merge::{combine, shape};
use crate::schema::{Family, Kind, Schema, Series};
use crate::snapshot::cells_of;
use crate::{RegionInfo, Snapshot};

/// Series of the set at most.
const MOST_SERIES: usize = 200_000;
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

/// Whether totals of this kind outlive their region.
pub(crate) const fn is_total(kind: Kind) -> bool {
    matches!(kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential)
}

/// Series of one family by label block: when each was first registered, and its cells.
type Sets = BTreeMap<String, (u64, Vec<u64>)>;

/// The set.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    families: BTreeMap<String, (Family, Sets)>,
    series: usize,
    pub(crate) regions: Vec<Identity>,
    /// Nothing built before is folded any more, unless it is known otherwise.
    pub(crate) floor_ns: u64,
    /// Series that found no room.
    pub(crate) left_out: u64,
    /// Regions folded so far.
    pub(crate) count: u64,
    picture: Option<Arc<Snapshot>>,
}

impl Folded {
    /// Whether a dead region is in the set, by itself or by one that carries it; or may be.
    pub(crate) fn holds(&self, region: &Identity) -> bool {
        region.created_ns < self.floor_ns
            || self.regions.iter().any(|folded| folded.uuid == region.uuid || folded.carries(region))
    }

    /// Whether the set holds what this region carries on: it would count twice.
    pub(crate) fn holds_predecessor_of(&self, region: &Identity) -> bool {
        self.regions.iter().any(|folded| region.carries(folded))
    }

    /// Remembers a region as folded.
    pub(crate) fn remember(&mut self, region: Identity) {
        self.count = self.count.saturating_add(1);
        self.regions.push(region);
        if self.regions.len() > MOST_REGIONS {
            self.regions.sort_by_key(|region| region.created_ns);
            let over = self.regions.len() - MOST_REGIONS;
            for gone in self.regions.drain(..over) {
                self.floor_ns = self.floor_ns.max(gone.created_ns.saturating_add(1));
            }
        }
    }

    /// Adds the totals of a picture.
    pub(crate) fn add(&mut self, picture: &Snapshot) {
        for family in &picture.schema.families {
            for place in family.series.clone() {
                if let Some(series) = picture.schema.series.get(place) {
                    self.add_series(family, series, &picture.lane);
                }
            }
        }
    }

    /// Adds one series.
    pub(crate) fn add_series(&mut self, family: &Family, series: &Series, lane: &[u64]) {
        let cells = cells_of(family);
        let at = series.cell as usize;
        let Some(from) = lane.get(at..at.saturating_add(cells)).filter(|_| is_total(family.kind)) else { return };
        self.picture = None;
        let (_, sets) = self
            .families
            .entry(shape(family))
            .or_insert_with(|| (Family { series: 0..0, ..family.clone() }, BTreeMap::new()));
        if !sets.contains_key(&series.labels) {
            if self.series >= MOST_SERIES {
                self.left_out = self.left_out.saturating_add(1);
                return;
            }
            self.series += 1;
            sets.insert(series.labels.clone(), (series.created_realtime_ns, vec![0; cells]));
        }
        if let Some((created, into)) = sets.get_mut(&series.labels) {
            *created = (*created).min(series.created_realtime_ns);
            combine(family, false, from, into);
        }
    }

    /// The set as a picture; the same one until it changes.
    pub(crate) fn picture(&mut self) -> Arc<Snapshot> {
        if let Some(picture) = &self.picture {
            return Arc::clone(picture);
        }
        let (mut schema, mut lane) = (Schema::default(), Vec::new());
        for (family, sets) in self.families.values() {
            let (index, start) = (schema.families.len(), schema.series.len());
            for (labels, (created, cells)) in sets {
                schema.series.push(total(index, labels.clone(), *created, lane.len(), cells.len()));
                lane.extend_from_slice(cells);
            }
            schema.families.push(Family { series: start..schema.series.len(), ..family.clone() });
        }
        let region = RegionInfo::default();
        let picture = Arc::new(Snapshot { region, schema: Arc::new(schema), lane, shared: Vec::new() });
        Arc::clone(self.picture.insert(picture))
    }
}

/// A series of totals.
pub(crate) fn total(family: usize, labels: String, created_realtime_ns: u64, cell: usize, cells: usize) -> Series {
    let (cell, cells) = (cell as u64, cells as u32);
    Series { family, slot: 0, generation: 0, labels, created_realtime_ns, retired: false, cell, cells }
}

/// A picture with nothing but the totals of another.
pub(crate) fn totals_of(picture: &Snapshot) -> Snapshot {
    let (mut schema, mut lane) = (Schema::default(), Vec::new());
    for family in picture.schema.families.iter().filter(|family| is_total(family.kind)) {
        let (index, start, cells) = (schema.families.len(), schema.series.len(), cells_of(family));
        for series in picture.schema.series.get(family.series.clone()).unwrap_or_default() {
            let at = series.cell as usize;
            let Some(from) = picture.lane.get(at..at.saturating_add(cells)) else { continue };
            schema.series.push(total(index, series.labels.clone(), series.created_realtime_ns, lane.len(), cells));
            lane.extend_from_slice(from);
        }
        schema.families.push(Family { series: start..schema.series.len(), ..family.clone() });
    }
    Snapshot { region: picture.region.clone(), schema: Arc::new(schema), lane, shared: Vec::new() }
}

/// Puts into the set what was seen of a region and is not in what it shows now: series that are gone, and the values of those
/// that fell. So no total falls with them.
pub(crate) fn settle(folded: &mut Folded, before: &[Arc<Snapshot>], now: &[Arc<Snapshot>]) {
    let same = before.len() == now.len()
        && before.iter().zip(now).all(|(before, now)| Arc::ptr_eq(&before.schema, &now.schema));
    let mut shown: HashMap<(String, &str), &[u64]> = HashMap::new();
    if !same {
        for picture in now {
            for (family, series, cells) in totals(picture) {
                shown.insert((shape(family), series.labels.as_str()), cells);
            }
        }
    }
    for (index, picture) in before.iter().enumerate() {
        for (family, series, cells) in totals(picture) {
            let now = if same {
                let at = series.cell as usize;
                now.get(index).and_then(|now| now.lane.get(at..at + cells.len()))
            } else {
                shown.get(&(shape(family), series.labels.as_str())).copied()
            };
            if now.is_none_or(|now| fell(family, cells, now)) {
                folded.add_series(family, series, &picture.lane);
            }
        }
    }
}

fn totals(picture: &Snapshot) -> impl Iterator<Item = (&Family, &Series, &[u64])> {
    picture.schema.families.iter().filter(|family| is_total(family.kind)).flat_map(move |family| {
        let cells = cells_of(family);
        picture.schema.series.get(family.series.clone()).unwrap_or_default().iter().filter_map(move |series| {
            let at = series.cell as usize;
            Some((family, series, picture.lane.get(at..at.saturating_add(cells))?))
        })
    })
}

fn fell(family: &Family, before: &[u64], now: &[u64]) -> bool {
    let float = family.number == crate::Number::F64;
    if family.kind == Kind::Counter && float {
        return matches!((before.first(), now.first()), (Some(b), Some(n)) if f64::from_bits(*n) < f64::from_bits(*b));
    }
    // A histogram's sum may fall, where what was observed is negative.
    let counted = if family.kind == Kind::Counter { before.len() } else { before.len().saturating_sub(1) };
    before.iter().zip(now).take(counted).any(|(before, now)| now < before)
}
