//! Bytes of the ledger: a region's identity, the totals of a picture with all that tells what they are, and how the totals of
//! one picture became those of the next.
//!
//! Called by `ledger/content.rs`. Reading makes no room for what is not there, and takes nothing that could not stand in an
//! exposition: the file may be anybody's.

use std::ops::Range;
use std::sync::Arc;

use super::folded::{is_total, total};
use super::gone::Identity;
use crate::recording::wire::{Cursor, Malformed, put, put_bits, put_signed, put_text};
use crate::schema::{Family, Kind, Number, Schema};
use crate::snapshot::cells_of;
use crate::{RegionInfo, Snapshot, label_block};

pub(super) fn put_uuid(out: &mut Vec<u8>, uuid: [u8; 16]) {
    out.extend_from_slice(&uuid);
}

pub(super) fn uuid(cursor: &mut Cursor<'_>) -> Result<[u8; 16], Malformed> {
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = cursor.byte()?;
    }
    Ok(uuid)
}

pub(super) fn put_identity(out: &mut Vec<u8>, region: &Identity) {
    put_uuid(out, region.uuid);
    put_text(out, &region.name);
    [region.lineage_ns, region.restarts, region.created_ns].into_iter().for_each(|word| put(out, word));
}

pub(super) fn identity(cursor: &mut Cursor<'_>) -> Result<Identity, Malformed> {
    let (uuid, name) = (uuid(cursor)?, cursor.text()?.to_owned());
    let (lineage_ns, restarts, created_ns) = (cursor.number()?, cursor.number()?, cursor.number()?);
    Ok(Identity { uuid, name, lineage_ns, restarts, created_ns })
}

/// Appends the totals of a picture.
pub(super) fn put_picture(out: &mut Vec<u8>, picture: &Snapshot) {
    let families = || picture.schema.families.iter().filter(|family| is_total(family.kind));
    put(out, families().count() as u64);
    for family in families() {
        let label_names = family.label_names.join(",");
        [&family.name, &family.help, &family.unit, &label_names].into_iter().for_each(|text| put_text(out, text));
        put(out, u64::from(family.kind.to_wire()));
        put(out, u64::from(family.number.to_wire()));
        put_signed(out, i64::from(family.schema));
        [family.scale, family.range.0, family.range.1].into_iter().for_each(|float| put_bits(out, float.to_bits()));
        put(out, family.created_realtime_ns);
        put(out, family.bounds.len() as u64);
        family.bounds.iter().for_each(|bound| put_bits(out, bound.to_bits()));
        let all = picture.schema.series.range(family.series.clone());
        put(out, all.clone().count() as u64);
        for series in all {
            put_text(out, series.labels);
            put(out, series.created_realtime_ns);
            for at in cells(family, series.cell) {
                put(out, picture.lane.get(at).copied().unwrap_or(0));
            }
        }
    }
}

pub(super) fn picture(cursor: &mut Cursor<'_>) -> Result<Snapshot, Malformed> {
    let (mut schema, mut lane) = (Schema::default(), Vec::new());
    for index in 0..cursor.count(1)? {
        let mut family = family(cursor)?;
        let (start, cells) = (schema.series.len(), cells_of(&family));
        // A label block's length, a time and the cells: a byte each at least.
        for _ in 0..cursor.count(cells + 2)? {
            let labels = cursor.text()?;
            // Not its family's: under one shape there are label sets of several builds, and overflow series.
            if !label_block::is_block(labels) {
                return Err(Malformed("no label block"));
            }
            schema.series.push(total(index, labels, cursor.number()?, lane.len(), cells));
            for _ in 0..cells {
                lane.push(cursor.number()?);
            }
        }
        family.series = start..schema.series.len();
        schema.families.push(family);
    }
    Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), lane, Vec::new())
        .map_err(|_| Malformed("totals that do not fit their families"))
}

fn family(cursor: &mut Cursor<'_>) -> Result<Family, Malformed> {
    let (name, help, unit, label_names) = (cursor.text()?, cursor.text()?, cursor.text()?, cursor.text()?);
    let kind = Kind::from_wire(cursor.small()?).filter(|kind| is_total(*kind)).ok_or(Malformed("no kind of totals"))?;
    let number = Number::from_wire(cursor.small()?).ok_or(Malformed("no kind of number"))?;
    let mut family = Family { unit: unit.to_owned(), ..Family::new(name, help, kind, number) };
    family.label_names = label_names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    family.schema = i32::try_from(cursor.signed()?).map_err(|_| Malformed("a number out of range"))?;
    let mut float = || cursor.bits().map(f64::from_bits);
    (family.scale, family.range) = (float()?, (float()?, float()?));
    family.created_realtime_ns = cursor.number()?;
    for _ in 0..cursor.count(8)? {
        family.bounds.push(f64::from_bits(cursor.bits()?));
    }
    if is_sound(&family) { Ok(family) } else { Err(Malformed("no family that could be shown")) }
}

/// Whether a family of totals, from wherever it came, can stand in an exposition.
pub(super) fn is_sound(family: &Family) -> bool {
    label_block::is_metric_name(&family.name)
        && family.label_names.iter().all(|name| label_block::is_label_name(name))
        && family.scale.is_finite()
        && family.scale > 0.0
        && family.bounds.is_sorted_by(|a, b| a < b)
        && family.bounds.iter().all(|bound| bound.is_finite())
}

/// Where the totals of a picture stand in its lane, in the order of its families and their series, what is adjacent as one:
/// those of two pictures with the same totals pair up, wherever either has them.
pub(super) fn total_cells(schema: &Schema) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for family in schema.families.iter().filter(|family| is_total(family.kind)) {
        for series in schema.series.range(family.series.clone()) {
            let here = cells(family, series.cell);
            match all.last_mut() {
                Some(last) if last.end == here.start => last.end = here.end,
                _ => all.push(here),
            }
        }
    }
    all
}

fn cells(family: &Family, first: u64) -> Range<usize> {
    let first = usize::try_from(first).unwrap_or(usize::MAX - (1 << 32));
    first..first.saturating_add(cells_of(family))
}

/// Appends how the totals changed between two pictures of one structure, whose totals stand in these cells: each cell's
/// difference, and 0 with a length less 1 for a run that did not change. Appends nothing where none did.
pub(super) fn put_changes(out: &mut Vec<u8>, cells: &[Range<usize>], before: &[u64], now: &[u64]) {
    let start = out.len();
    let mut same = 0_u64;
    for range in cells {
        let (before, now) = (before.get(range.clone()), now.get(range.clone()));
        let (Some(before), Some(now)) = (before, now) else {
            same += range.len() as u64;
            continue;
        };
        for (before, now) in before.iter().zip(now) {
            let difference = now.wrapping_sub(*before);
            if difference == 0 {
                same += 1;
                continue;
            }
            put_same(out, &mut same);
            put_signed(out, difference.cast_signed());
        }
    }
    if out.len() > start {
        put_same(out, &mut same);
    }
}

fn put_same(out: &mut Vec<u8>, same: &mut u64) {
    if *same > 0 {
        put(out, 0);
        put(out, *same - 1);
        *same = 0;
    }
}

/// Changes the totals as they were changed.
pub(super) fn change(cursor: &mut Cursor<'_>, cells: &[Range<usize>], lane: &mut [u64]) -> Result<(), Malformed> {
    let mut same = 0_u64;
    for at in cells.iter().cloned().flatten() {
        if same > 0 {
            same -= 1;
            continue;
        }
        match cursor.signed()? {
            0 => same = cursor.number()?,
            difference => {
                let cell = lane.get_mut(at).ok_or(Malformed("a change of what is not there"))?;
                *cell = cell.wrapping_add(difference.cast_unsigned());
            }
        }
    }
    if same == 0 { Ok(()) } else { Err(Malformed("changes of more than there is")) }
}

#[cfg(test)]
mod tests;
