//! What a region carries on of its predecessor and its process has not registered (yet), as a picture.
//!
//! Called by `ledger/mod.rs` for regions that adopted another. A total is either in a series of the region or here: whoever
//! took it published the series first, so one that is in the snapshot, or is marked as taken, is left out.

use std::collections::HashSet;
use std::sync::Arc;

use tachograph_layout::{CarriedEntry, Kind, Number, carried_entries, exponential_buckets, exponential_upper};

use super::folded::total;
use super::merge::shape;
use super::picture::is_sound;
use crate::schema::{Family, Schema};
use crate::snapshot::cells_of;
use crate::{RegionInfo, Snapshot, label_block};

/// What a region shows, and what it carries on beside. The words of the section are read first: a total that is taken between
/// the two would be in neither else, and would count twice once it is shown.
pub(super) fn beside(
    words: impl FnOnce() -> Vec<u64>,
    shown: impl FnOnce() -> Arc<Snapshot>,
) -> (Arc<Snapshot>, Option<Snapshot>) {
    let words = words();
    let shown = shown();
    let carried = picture(&words, &shown);
    (shown, carried)
}

/// The totals in these words of the section that the snapshot does not show.
fn picture(words: &[u64], shown: &Snapshot) -> Option<Snapshot> {
    let there: HashSet<(String, &str)> = shown
        .schema
        .families
        .iter()
        .flat_map(|family| {
            let all = shown.schema.series.range(family.series.clone());
            all.map(move |series| (likeness(family), series.labels))
        })
        .collect();
    let (mut schema, mut lane) = (Schema::default(), Vec::new());
    for entry in carried_entries(words).map_while(Result::ok) {
        let Some(mut family) = family(&entry) else { continue };
        let (index, start, cells, key) =
            (schema.families.len(), schema.series.len(), cells_of(&family), likeness(&family));
        for set in &entry.series {
            let sound = label_block::is_block(set.labels) && set.cells.len() == cells;
            if set.record.taken == 0 && sound && !there.contains(&(key.clone(), set.labels)) {
                let created = set.record.created_realtime_ns;
                schema.series.push(total(index, set.labels, created, lane.len(), cells));
                lane.extend_from_slice(set.cells);
            }
        }
        if schema.series.len() > start {
            family.series = start..schema.series.len();
            schema.families.push(family);
        }
    }
    if schema.families.is_empty() {
        return None;
    }
    Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), lane, Vec::new()).ok()
}

/// What must be the same for a total to be taken: beside the shape the label names, in their order. An overflow series has the
/// same label block under any.
fn likeness(family: &Family) -> String {
    format!("{}|{}", shape(family), family.label_names.join(","))
}

/// The family as a region that registered it would show it, but for HELP and unit, which are not carried.
fn family(entry: &CarriedEntry<'_>) -> Option<Family> {
    let record = &entry.record;
    let (kind, number) = (Kind::from_wire(record.kind)?, Number::from_wire(record.number)?);
    let mut family = Family::new(entry.name, "", kind, number);
    family.label_names = entry.label_names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    family.scale = f64::from_bits(record.scale);
    family.schema = record.schema;
    family.range = (f64::from_bits(record.range_lower), f64::from_bits(record.range_upper));
    family.created_realtime_ns = record.created_realtime_ns;
    if kind == Kind::HistogramExponential {
        let (lower, upper) = family.range;
        let (first, last) = exponential_buckets(family.schema, lower, upper)?;
        family.bounds.push(lower);
        family.bounds.extend((first..=last).map(|bucket| exponential_upper(family.schema, bucket)));
    } else {
        let raw = |bits: u64| if number == Number::F64 { f64::from_bits(bits) } else { bits as f64 };
        family.bounds = entry.bounds.iter().map(|bits| family.shown(raw(*bits))).collect();
    }
    is_sound(&family).then_some(family)
}

#[cfg(test)]
mod tests;
