//! The totals of all regions that are gone, as one set.
//!
//! Called by `ledger/mod.rs`. Counters and histograms only: levels die with their region. The set is bounded in series. It
//! knows what changed since it was last written, so that a death costs what died, and not what is gone already.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::gone::{Gone, Identity};
use super::merge::{combine, shape};
use super::picture::{identity, picture, put_identity, put_picture};
use crate::label_block::sorted;
use crate::recording::wire::{Cursor, Malformed, put};
use crate::schema::{Family, Kind, Schema};
use crate::series::Series;
use crate::snapshot::cells_of;
use crate::{RegionInfo, Snapshot};

/// Series of the set at most.
const MOST_SERIES: usize = 200_000;

/// Whether totals of this kind outlive their region.
pub(crate) const fn is_total(kind: Kind) -> bool {
    matches!(kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential)
}

/// The series of one family.
#[derive(Debug)]
struct Totals {
    family: Family,
    /// By label block, its labels by name: a build may name them in another order than the one before.
    sets: BTreeMap<String, Set>,
    /// Label blocks of those that changed since they were last written.
    changed: Vec<String>,
}

/// One series.
#[derive(Debug)]
struct Set {
    /// When it was first registered.
    created: u64,
    cells: Vec<u64>,
    changed: bool,
}

/// The set.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    families: BTreeMap<String, Totals>,
    series: usize,
    /// Whose totals they are.
    pub(crate) regions: Gone,
    /// Series that found no room.
    pub(crate) left_out: u64,
    changed: bool,
    /// The structure of the picture, until a series comes.
    schema: Option<Arc<Schema>>,
    picture: Option<Arc<Snapshot>>,
}

impl Folded {
    /// Adds the totals of a picture.
    pub(crate) fn add(&mut self, picture: &Snapshot) {
        for (family, all) in families(picture) {
            self.put_all(family, all.map(|series| (series, picture)), |family, from, into| {
                combine(family, false, from, into);
            });
        }
    }

    /// Adds some series of one family.
    fn add_series<'a>(&mut self, family: &Family, all: impl IntoIterator<Item = (Series<'a>, &'a Snapshot)>) {
        self.put_all(family, all, |family, from, into| combine(family, false, from, into));
    }

    fn put_all<'a>(
        &mut self,
        family: &Family,
        all: impl IntoIterator<Item = (Series<'a>, &'a Snapshot)>,
        put: impl Fn(&Family, &[u64], &mut [u64]),
    ) {
        let cells = cells_of(family);
        let totals = self.families.entry(shape(family)).or_insert_with(|| Totals {
            family: Family { series: 0..0, ..family.clone() },
            sets: BTreeMap::new(),
            changed: Vec::new(),
        });
        self.changed = true;
        self.picture = None;
        for (series, picture) in all {
            let at = series.cell as usize;
            let Some(from) = picture.lane.get(at..at.saturating_add(cells)) else { continue };
            let labels = sorted(series.labels);
            if !totals.sets.contains_key(labels.as_ref()) {
                if self.series >= MOST_SERIES {
                    self.left_out = self.left_out.saturating_add(1);
                    continue;
                }
                self.series += 1;
                self.schema = None;
                let new = Set { created: series.created_realtime_ns, cells: vec![0; cells], changed: false };
                totals.sets.insert(labels.clone().into_owned(), new);
            }
            let Some(set) = totals.sets.get_mut(labels.as_ref()) else { continue };
            if series.created_realtime_ns < set.created {
                set.created = series.created_realtime_ns;
                self.schema = None;
            }
            if !std::mem::replace(&mut set.changed, true) {
                totals.changed.push(labels.into_owned());
            }
            put(family, from, &mut set.cells);
        }
    }

    /// The set as a picture; the same one until it changes.
    pub(crate) fn picture(&mut self) -> Arc<Snapshot> {
        if let Some(picture) = &self.picture {
            return Arc::clone(picture);
        }
        let lane = self.families.values().flat_map(|totals| totals.sets.values()).flat_map(|set| &set.cells).copied();
        let lane: Vec<u64> = lane.collect();
        let families = &self.families;
        let schema = self.schema.get_or_insert_with(|| {
            let all = families.values().map(|totals| (&totals.family, totals.sets.iter()));
            Arc::new(schema_of(all))
        });
        let (region, schema) = (RegionInfo::default(), Arc::clone(schema));
        Arc::clone(self.picture.insert(Arc::new(Snapshot { region, schema, lane, shared: Vec::new() })))
    }

    /// Whether something changed since [`Folded::is_written`].
    pub(crate) fn is_changed(&self) -> bool {
        self.changed || !self.regions.fresh().is_empty()
    }

    /// All that it is, is on disk.
    pub(crate) fn is_written(&mut self) {
        self.changed = false;
        self.regions.is_written();
        for totals in self.families.values_mut().filter(|totals| !totals.changed.is_empty()) {
            for labels in totals.changed.drain(..) {
                if let Some(set) = totals.sets.get_mut(&labels) {
                    set.changed = false;
                }
            }
        }
    }

    /// Appends all of it.
    pub(crate) fn put_whole(&mut self, out: &mut Vec<u8>) {
        let picture = self.picture();
        self.put(out, self.regions.all(), &picture);
    }

    /// Appends what changed: the series that did, as they are now.
    pub(crate) fn put_changed(&self, out: &mut Vec<u8>) {
        let changed = self.families.values().filter(|totals| !totals.changed.is_empty()).map(|totals| {
            let sets = totals.changed.iter().filter_map(|labels| totals.sets.get_key_value(labels));
            (&totals.family, sets)
        });
        let lane = changed.clone().flat_map(|(_, sets)| sets).flat_map(|(_, set)| &set.cells).copied().collect();
        let schema = Arc::new(schema_of(changed));
        let picture = Snapshot { region: RegionInfo::default(), schema, lane, shared: Vec::new() };
        self.put(out, self.regions.fresh(), &picture);
    }

    fn put(&self, out: &mut Vec<u8>, regions: &[Identity], picture: &Snapshot) {
        [self.left_out, self.regions.count, self.regions.floor_ns].into_iter().for_each(|word| put(out, word));
        put(out, regions.len() as u64);
        regions.iter().for_each(|region| put_identity(out, region));
        put_picture(out, picture);
    }

    /// Takes what was appended, whole or changed.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let (left_out, count, floor_ns) = (cursor.number()?, cursor.number()?, cursor.number()?);
        for _ in 0..cursor.count(16)? {
            self.regions.remember(identity(cursor)?);
        }
        let picture = picture(cursor)?;
        for (family, all) in families(&picture) {
            self.put_all(family, all.map(|series| (series, &picture)), |_, from, into| {
                into.copy_from_slice(from);
            });
        }
        (self.left_out, self.regions.count, self.regions.floor_ns) = (left_out, count, floor_ns);
        Ok(())
    }
}

/// The structure of totals that stand one behind the other.
fn schema_of<'a, S: Iterator<Item = (&'a String, &'a Set)>>(families: impl Iterator<Item = (&'a Family, S)>) -> Schema {
    let (mut schema, mut at) = (Schema::default(), 0);
    for (index, (family, sets)) in families.enumerate() {
        let start = schema.series.len();
        for (labels, set) in sets {
            schema.series.push(total(index, labels, set.created, at, set.cells.len()));
            at += set.cells.len();
        }
        schema.families.push(Family { series: start..schema.series.len(), ..family.clone() });
    }
    schema
}

/// The families of totals in a picture, with their series.
fn families(picture: &Snapshot) -> impl Iterator<Item = (&Family, impl Iterator<Item = Series<'_>> + Clone)> {
    let totals = picture.schema.families.iter().filter(|family| is_total(family.kind));
    totals.map(|family| (family, picture.schema.series.range(family.series.clone())))
}

/// A series of totals.
pub(crate) fn total(family: usize, labels: &str, created_realtime_ns: u64, cell: usize, cells: usize) -> Series<'_> {
    // Slots as a region would give them, so that those of one family follow each other.
    let slot = (cell / cells.max(1)) as u32;
    let (cell, cells) = (cell as u64, cells as u32);
    Series { family, slot, generation: 0, labels, created_realtime_ns, retired: false, cell, cells }
}

/// A picture with nothing but the totals of another.
pub(crate) fn totals_of(picture: &Snapshot) -> Snapshot {
    let (mut schema, mut lane) = (Schema::default(), Vec::new());
    for family in picture.schema.families.iter().filter(|family| is_total(family.kind)) {
        let (index, start, cells) = (schema.families.len(), schema.series.len(), cells_of(family));
        for series in picture.schema.series.range(family.series.clone()) {
            let at = series.cell as usize;
            let Some(from) = picture.lane.get(at..at.saturating_add(cells)) else { continue };
            schema.series.push(total(index, series.labels, series.created_realtime_ns, lane.len(), cells));
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
    let (was, shown) = if same { Default::default() } else { (sums(before), sums(now)) };
    for (index, picture) in before.iter().enumerate() {
        for (family, all) in families(picture) {
            let now = now.get(index).filter(|_| same);
            let shape = if same { String::new() } else { shape(family) };
            let (was, shown) = (was.get(&shape), shown.get(&shape));
            let mut lost = all.filter(|series| {
                let (before, now) = if let Some(now) = now {
                    (cells(picture, family, series), cells(now, family, series))
                } else {
                    let labels = sorted(series.labels);
                    (of(was, &labels), of(shown, &labels))
                };
                let Some(before) = before else { return false };
                now.is_none_or(|now| fell(family, before, now))
            });
            if let Some(first) = lost.next() {
                let lost = std::iter::once(first).chain(lost);
                folded.add_series(family, lost.map(|series| (series, picture.as_ref())));
            }
        }
    }
}

/// Cells by label set.
type Sets<'a> = HashMap<Cow<'a, str>, Cow<'a, [u64]>>;

/// What pictures show together, by the shape of a family and the label set: one set may stand in two of them, with its labels
/// in two orders.
fn sums(pictures: &[Arc<Snapshot>]) -> HashMap<String, Sets<'_>> {
    let mut sums: HashMap<String, Sets<'_>> = HashMap::new();
    for picture in pictures {
        for (family, all) in families(picture) {
            let sets = sums.entry(shape(family)).or_default();
            for series in all {
                let Some(from) = cells(picture, family, &series) else { continue };
                match sets.entry(sorted(series.labels)) {
                    Entry::Vacant(new) => _ = new.insert(Cow::Borrowed(from)),
                    Entry::Occupied(mut there) => combine(family, false, from, there.get_mut().to_mut()),
                }
            }
        }
    }
    sums
}

fn of<'a>(sets: Option<&'a Sets<'_>>, labels: &str) -> Option<&'a [u64]> {
    sets?.get(labels).map(AsRef::as_ref)
}

/// The cells of a series of totals.
#[inline]
fn cells<'a>(picture: &'a Snapshot, family: &Family, series: &Series<'_>) -> Option<&'a [u64]> {
    let at = series.cell as usize;
    picture.lane.get(at..at.saturating_add(cells_of(family)))
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

#[cfg(test)]
pub(super) mod tests;
