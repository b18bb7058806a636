//! Adds pictures of several regions up to one: which series of each become which of the whole, and the arithmetic.
//!
//! Called by `ledger/mod.rs`. The structure is made anew only when that of a part changes; a scrape then adds cells by
//! index. A series is known by its family and its label block. Families of one name that differ in kind, numbers or bounds
//! can't be added up: one shape stands, the rest is left out and named.

use std::collections::HashMap;
use std::sync::Arc;

use super::folded::total;
use crate::label_block::sorted;
use crate::schema::{Aggregation, Family, Kind, Number, Schema};
use crate::snapshot::cells_of;
use crate::{PartsError, RegionInfo, Snapshot};

/// What is added up, the oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Whose it is, in messages.
    pub(crate) name: String,
    pub(crate) picture: Arc<Snapshot>,
    /// The totals of the folded: they decide which shape stands where a living part has it, too.
    pub(crate) folded: bool,
}

/// The structure of a sum.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    schema: Arc<Schema>,
    parts: Vec<(Arc<Schema>, Vec<Run>)>,
    pub(crate) clashes: Clashes,
    lane: usize,
    shared: usize,
}

/// What is not in the sum as it says of itself, in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clashes {
    /// Not in it.
    pub(crate) left_out: Vec<String>,
    /// In it, under what an older one says.
    pub(crate) otherwise: Vec<String>,
}

impl Clashes {
    pub(super) fn add(&mut self, other: &Self) {
        self.left_out.extend_from_slice(&other.left_out);
        self.otherwise.extend_from_slice(&other.otherwise);
    }

    /// All of them.
    pub(crate) fn all(self) -> impl Iterator<Item = String> {
        self.left_out.into_iter().chain(self.otherwise)
    }
}

/// A series of the whole while it is planned.
struct Summed {
    labels: String,
    created_realtime_ns: u64,
    /// Its first cell.
    cell: usize,
}

/// Cells of a part that go into the whole together: a series, or several where each cell is added by itself.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Index of the family in the part.
    family: usize,
    from: usize,
    to: usize,
    cells: usize,
    /// Nothing went there before.
    first: bool,
}

/// What must be the same for two families to be added up.
pub(crate) fn shape(family: &Family) -> String {
    let Family { name, kind, number, bounds, schema, range, scale, states, .. } = family;
    format!("{name}|{kind:?}|{number:?}|{schema}|{range:?}|{scale}|{states:?}|{bounds:?}")
}

impl Merge {
    /// Whether it was made of these parts' structures.
    pub(crate) fn fits(&self, parts: &[Part]) -> bool {
        let same = |(made, part): (&(Arc<Schema>, Vec<Run>), &Part)| Arc::ptr_eq(&made.0, &part.picture.schema);
        self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(same)
    }

    /// Plans the sum of these parts.
    pub(crate) fn new(parts: &[Part]) -> Self {
        let standing = standing(parts);
        let mut merge = Self::default();
        let mut families: Vec<Family> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let mut series: Vec<Vec<Summed>> = Vec::new();
        let mut known: Vec<HashMap<String, usize>> = Vec::new();
        // Where each series came to stand within its family.
        let mut orders: Vec<Vec<usize>> = Vec::new();
        // First which family and which place in it; the places of the whole are known at the end.
        let mut places: Vec<Vec<Option<(usize, usize)>>> = Vec::new();
        for part in parts {
            let schema = &part.picture.schema;
            let mut of_part = vec![None; schema.series.len()];
            for family in &schema.families {
                let shape = shape(family);
                if standing.get(family.name.as_str()) != Some(&shape) {
                    let (name, family) = (&part.name, &family.name);
                    merge.clashes.left_out.push(format!(
                        "family {family} of {name} is left out of the sum: its kind, numbers or buckets are not those of an older one"
                    ));
                    continue;
                }
                let at = *index.entry(shape).or_insert_with(|| {
                    families.push(Family { series: 0..0, ..family.clone() });
                    series.push(Vec::new());
                    known.push(HashMap::new());
                    families.len() - 1
                });
                if families[at].help.is_empty() {
                    families[at].help.clone_from(&family.help);
                    families[at].unit.clone_from(&family.unit);
                } else if let Some(what) = told_otherwise(family, &families[at]).filter(|_| !part.folded) {
                    let (name, family) = (&part.name, &family.name);
                    merge
                        .clashes
                        .otherwise
                        .push(format!("family {family} of {name} is added up under the {what} of an older one"));
                }
                for place in family.series.clone() {
                    let Some(one) = schema.series.get(place) else { continue };
                    let labels = sorted(one.labels).into_owned();
                    let here = *known[at].entry(labels.clone()).or_insert_with(|| {
                        series[at].push(Summed { labels, created_realtime_ns: one.created_realtime_ns, cell: 0 });
                        series[at].len() - 1
                    });
                    let created = &mut series[at][here].created_realtime_ns;
                    *created = (*created).min(one.created_realtime_ns);
                    of_part[place] = Some((at, here));
                }
            }
            places.push(of_part);
        }
        let (mut schema, mut stands) = (Schema::default(), Vec::new());
        for ((mut family, mut of_family), known) in families.into_iter().zip(series).zip(known) {
            let (index, start, cells) = (schema.families.len(), schema.series.len(), cells_of(&family));
            let plane = if family.kind.in_shared_plane() { &mut merge.shared } else { &mut merge.lane };
            // Cells stand as the oldest part has them, so that long runs are added at once.
            for one in &mut of_family {
                one.cell = *plane;
                *plane += cells;
            }
            // Series by their labels, so that none changes its place when a part comes or goes.
            of_family.sort_by(|a, b| a.labels.cmp(&b.labels));
            let mut order = vec![0; of_family.len()];
            for (place, one) in of_family.iter().enumerate() {
                if let Some(before) = known.get(&one.labels) {
                    order[*before] = place;
                }
            }
            orders.push(order);
            for Summed { labels, created_realtime_ns, cell } in &of_family {
                schema.series.push(total(index, labels, *created_realtime_ns, *cell, cells));
                stands.push(*cell);
            }
            family.series = start..schema.series.len();
            schema.families.push(family);
        }
        let mut seen = vec![false; schema.series.len()];
        for (part, of_part) in parts.iter().zip(places) {
            let part = &part.picture.schema;
            let mut runs: Vec<Run> = Vec::new();
            for (series, at) in part.series.iter().zip(of_part) {
                let Some((family, place)) = at else { continue };
                let place = schema.families[family].series.start + orders[family][place];
                let first = !std::mem::replace(&mut seen[place], true);
                let (from, to) = (series.cell as usize, stands[place]);
                let cells = cells_of(&schema.families[family]);
                let each = is_added_cell_by_cell(&schema.families[family]);
                match runs.last_mut() {
                    Some(last)
                        if each
                            && last.family == series.family
                            && (last.from.saturating_add(last.cells), last.to + last.cells) == (from, to) =>
                    {
                        last.cells += cells;
                    }
                    _ => runs.push(Run { family: series.family, from, to, cells, first }),
                }
            }
            merge.parts.push((Arc::clone(part), runs));
        }
        merge.schema = Arc::new(schema);
        merge
    }

    /// The sum of parts that fit.
    pub(crate) fn sum(&self, parts: &[Part]) -> Result<Snapshot, PartsError> {
        let (mut lane, mut shared) = (vec![0; self.lane], vec![0; self.shared]);
        for (part, (schema, runs)) in parts.iter().zip(&self.parts) {
            for run in runs {
                let Some(family) = schema.families.get(run.family) else { continue };
                let plane = if family.kind.in_shared_plane() { &mut shared } else { &mut lane };
                let from = if family.kind.in_shared_plane() { &part.picture.shared } else { &part.picture.lane };
                let (from, into) =
                    (from.get(run.from..run.from.saturating_add(run.cells)), plane.get_mut(run.to..run.to + run.cells));
                if let (Some(from), Some(into)) = (from, into) {
                    combine(family, run.first, from, into);
                }
            }
        }
        let region = RegionInfo { name: "merged".into(), ..RegionInfo::default() };
        Snapshot::from_parts(region, Arc::clone(&self.schema), lane, shared)
    }
}

/// What a family says of itself that the one it is added to says otherwise. What is carried on says nothing.
fn told_otherwise(family: &Family, stands: &Family) -> Option<&'static str> {
    match (family.help == stands.help, family.unit == stands.unit) {
        _ if family.help.is_empty() => None,
        (false, _) => Some("HELP"),
        (true, false) => Some("UNIT"),
        (true, true) => None,
    }
}

/// The shape that stands under each name: the oldest living part's, unless the folded have one that a living part has, too;
/// where no part lives, that of the folded.
fn standing(parts: &[Part]) -> HashMap<&str, String> {
    let shapes = |folded: bool| {
        let parts = parts.iter().filter(move |part| part.folded == folded);
        parts.flat_map(|part| &part.picture.schema.families).map(|family| (family.name.as_str(), shape(family)))
    };
    let folded: HashMap<String, &str> = shapes(true).map(|(name, shape)| (shape, name)).collect();
    let mut standing: HashMap<&str, String> = HashMap::new();
    for (name, shape) in shapes(false) {
        let stands =
            standing.get(name).is_some_and(|stands| !folded.contains_key(&shape) || folded.contains_key(stands));
        if !stands {
            standing.insert(name, shape);
        }
    }
    for (name, shape) in shapes(true) {
        standing.entry(name).or_insert(shape);
    }
    standing
}

/// Whether [`combine`] does the same to cells of several series at once.
const fn is_added_cell_by_cell(family: &Family) -> bool {
    match family.kind {
        Kind::Counter => !matches!(family.number, Number::F64),
        Kind::UpDownCounter => true,
        _ => false,
    }
}

/// Adds one series' cells to another's. Of gauges by what the family declares, "newest" being the part that comes last; of
/// watermarks the extreme; of state sets every state that is on in some part.
pub(crate) fn combine(family: &Family, first: bool, from: &[u64], into: &mut [u64]) {
    match family.kind {
        Kind::Counter if family.number == Number::F64 => add_float(into, from, 0),
        Kind::HistogramBounds | Kind::HistogramExponential => {
            let sum = into.len().saturating_sub(1);
            let floats = family.number == Number::F64;
            let words = if floats { sum } else { into.len() };
            add(into.get_mut(..words).unwrap_or_default(), from);
            if floats {
                add_float(into, from, sum);
            }
        }
        Kind::Counter => add(into, from),
        // Up and down counts are added as they are: only their difference is shown.
        Kind::UpDownCounter => into.iter_mut().zip(from).for_each(|(into, from)| *into = into.wrapping_add(*from)),
        Kind::Gauge => {
            let (Some(into), Some(from)) = (into.first_mut(), from.first()) else { return };
            *into = if first { *from } else { gauge(family, *into, *from) };
        }
        Kind::StateSet => into.iter_mut().zip(from).for_each(|(into, from)| *into |= from),
        Kind::WatermarkMax | Kind::WatermarkMin => {
            let (Some(into), Some(from)) = (into.first_chunk_mut::<4>(), from.first_chunk::<4>()) else { return };
            (into[0], into[1]) = (into[0].max(from[0]), into[1].max(from[1]));
            if from[2] > into[2] {
                (into[2], into[3]) = (from[2], from[3]);
            }
        }
        Kind::Info => {}
    }
}

fn add(into: &mut [u64], from: &[u64]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into = into.saturating_add(*from));
}

/// What is no finite number is not added: one writer must not spoil the total of all.
fn add_float(into: &mut [u64], from: &[u64], at: usize) {
    if let (Some(into), Some(from)) = (into.get_mut(at), from.get(at)) {
        let from = f64::from_bits(*from);
        if from.is_finite() {
            *into = (f64::from_bits(*into) + from).to_bits();
        }
    }
}

fn gauge(family: &Family, into: u64, from: u64) -> u64 {
    let float = family.number == Number::F64;
    let (a, b) = (f64::from_bits(into), f64::from_bits(from));
    let (x, y) = (into.cast_signed(), from.cast_signed());
    match (family.aggregation, float) {
        (Aggregation::Sum, true) => (a + b).to_bits(),
        (Aggregation::Sum, false) => x.saturating_add(y).cast_unsigned(),
        (Aggregation::Min, true) => a.min(b).to_bits(),
        (Aggregation::Min, false) => x.min(y).cast_unsigned(),
        (Aggregation::Max, true) => a.max(b).to_bits(),
        (Aggregation::Max, false) => x.max(y).cast_unsigned(),
        (Aggregation::Newest, _) => from,
    }
}

#[cfg(test)]
mod tests;
