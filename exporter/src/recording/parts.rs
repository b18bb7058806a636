//! A family and a series as a recording tells them, written and read back.
//!
//! Called by `structure.rs`. Bytes may be hostile: names, labels and bounds are checked by the rules of a region's own.

use std::collections::HashSet;

use tachograph_layout::{Aggregation, Kind, Number, exponential_buckets, exponential_upper};

use super::edit;
use super::wire::{Cursor, Malformed, put, put_bits, put_signed, put_text};
use crate::schema::Family;
use crate::series::Series;
use crate::snapshot::cells_of;
use crate::{family_rules, label_block};

impl edit::Item for Series<'_> {
    fn order(&self) -> (u64, u64, u64) {
        (self.family as u64, u64::from(self.slot), u64::from(self.generation))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.created_realtime_ns == other.created_realtime_ns
            && self.cells == other.cells
    }

    fn is_changed(&self, other: &Self) -> bool {
        self.retired != other.retired
    }

    fn change(&mut self) {
        self.retired = !self.retired;
    }
}

pub(crate) fn put_series(out: &mut Vec<u8>, series: &Series<'_>) {
    put(out, series.family as u64);
    put(out, u64::from(series.slot));
    put(out, u64::from(series.generation) << 1 | u64::from(series.retired));
    put(out, series.created_realtime_ns);
    put_text(out, series.labels);
}

pub(crate) fn series<'a>(cursor: &mut Cursor<'a>, families: &[Family]) -> Result<Series<'a>, Malformed> {
    let index: usize = cursor.small()?;
    let family = families.get(index).ok_or(Malformed("a series of no family"))?;
    let slot = cursor.small()?;
    let generation = cursor.number()?;
    let created_realtime_ns = cursor.number()?;
    let labels = cursor.text()?;
    if !(family.open && labels == label_block::OVERFLOW) {
        label_block::check(labels, &family.label_names).map_err(|_| Malformed("labels that are not the family's"))?;
    }
    Ok(Series {
        family: index,
        slot,
        generation: u32::try_from(generation >> 1).map_err(|_| Malformed("a number out of range"))?,
        labels,
        created_realtime_ns,
        retired: generation & 1 == 1,
        cell: 0,
        cells: u32::try_from(cells_of(family)).map_err(|_| Malformed("a number out of range"))?,
    })
}

pub(crate) fn put_family(out: &mut Vec<u8>, family: &Family) {
    put_text(out, &family.name);
    put_text(out, &family.help);
    put_text(out, &family.unit);
    put_texts(out, &family.label_names);
    put_texts(out, &family.states);
    put(out, u64::from(family.kind.to_wire()));
    put(out, u64::from(family.number.to_wire()));
    put(out, u64::from(family.aggregation.to_wire()));
    put(out, u64::from(family.open));
    put(out, family.created_realtime_ns);
    put_signed(out, i64::from(family.schema));
    put_bits(out, family.scale.to_bits());
    put_bits(out, family.range.0.to_bits());
    put_bits(out, family.range.1.to_bits());
    put(out, family.bounds.len() as u64);
    family.bounds.iter().for_each(|bound| put_bits(out, bound.to_bits()));
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text));
}

fn texts(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Malformed> {
    (0..cursor.count(1)?).map(|_| cursor.text().map(str::to_owned)).collect()
}

pub(crate) fn family(cursor: &mut Cursor<'_>) -> Result<Family, Malformed> {
    let (name, help, unit) = (cursor.text()?, cursor.text()?, cursor.text()?);
    let (label_names, states) = (texts(cursor)?, texts(cursor)?);
    let kind = Kind::from_wire(cursor.small()?).ok_or(Malformed("a kind that is not known"))?;
    let number = Number::from_wire(cursor.small()?).ok_or(Malformed("a number that is not known"))?;
    let aggregation = Aggregation::from_wire(cursor.small()?).ok_or(Malformed("an aggregation that is not known"))?;
    let open = cursor.number()? == 1;
    let created_realtime_ns = cursor.number()?;
    let schema = i32::try_from(cursor.signed()?).map_err(|_| Malformed("a number out of range"))?;
    let scale = f64::from_bits(cursor.bits()?);
    let range = (f64::from_bits(cursor.bits()?), f64::from_bits(cursor.bits()?));
    let bounds: Vec<f64> =
        (0..cursor.count(8)?).map(|_| cursor.bits().map(f64::from_bits)).collect::<Result<_, _>>()?;
    let family = Family {
        unit: unit.to_owned(),
        label_names,
        aggregation,
        scale,
        bounds,
        schema,
        range,
        states,
        open,
        created_realtime_ns,
        ..Family::new(name, help, kind, number)
    };
    let ascending = family.bounds.is_sorted_by(|a, b| a < b) && family.bounds.iter().all(|bound| bound.is_finite());
    let is_histogram = matches!(kind, Kind::HistogramBounds | Kind::HistogramExponential);
    let mut names = HashSet::new();
    let labels = family.label_names.iter().all(|name| label_block::is_label_name(name) && names.insert(name));
    let stated = family.states.len() <= 64 && (kind == Kind::StateSet || family.states.is_empty());
    if !(ascending && labels && stated && scale.is_finite() && scale > 0.0)
        || !(is_histogram || family.bounds.is_empty())
    {
        return Err(Malformed("a family that no region has"));
    }
    if kind == Kind::HistogramExponential && !is_exponential(&family) {
        return Err(Malformed("buckets that are not those of the range"));
    }
    family_rules::check_number(kind, number).map_err(|_| Malformed("a kind that is not made of that number"))?;
    family_rules::check_names(&family).map_err(|_| Malformed("a name that no family has"))?;
    Ok(family)
}

/// Whether a family's bounds are those of its range.
fn is_exponential(family: &Family) -> bool {
    let (lower, upper) = family.range;
    let Some((first, last)) = exponential_buckets(family.schema, lower, upper) else { return false };
    let bounds = (first..=last).map(|bucket| exponential_upper(family.schema, bucket));
    family.bounds.first() == Some(&lower) && bounds.eq(family.bounds.iter().skip(1).copied())
}
