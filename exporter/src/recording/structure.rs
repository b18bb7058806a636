//! What a recording's words mean at a tick: families, series and activities, and how one such structure becomes the next.
//!
//! Both ends hold one: the encoder makes a change of it when a region's schema or its actors changed, the decoder applies
//! that change. Bytes may be hostile: names, labels and bounds are checked by the rules of a region's own, and the work
//! of a change is bounded by its bytes and by what the structure holds already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tachograph_layout::{Aggregation, Kind, Number, exponential_buckets, exponential_upper};

use super::activity::{self, Slot};
use super::edit::{self, Edit};
use super::wire::{Cursor, Malformed, put, put_bits, put_signed, put_text};
use crate::schema::{Family, Schema};
use crate::series::{Series, SeriesList};
use crate::snapshot::cells_of;
use crate::table::printable;
use crate::{family_rules, label_block};

/// Most words of a tick: sixteen million cells, as many as a region's largest tables have slots.
pub(crate) const MOST_WORDS: usize = 1 << 24;

/// What one block may cost its reader: each tick its words, each change of structure a multiple of what it holds. A recorder
/// begins a new block at half of it.
pub(crate) const MOST_WORK: u64 = 1 << 34;

/// The meaning of a tick's words: those of each series, then those of each activity, then the facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structure {
    /// The families, each with its series; a series' `cell` is its first word.
    pub(crate) schema: Arc<Schema>,
    /// Who may be doing something, by slot.
    pub(crate) actors: Vec<Slot>,
    /// What they may be doing: the first word of an activity is an index, from 1.
    pub(crate) doings: Vec<String>,
    /// Where each of these stands.
    pub(crate) doing_index: HashMap<String, u64>,
    /// Of each word, whether it holds the bits of an f64.
    pub(crate) floats: Vec<bool>,
    /// How many facts stand at the end.
    pub(crate) facts: usize,
}

impl Structure {
    /// A structure without series or actors, for so many facts.
    pub(crate) fn empty(facts: usize) -> Self {
        Self { facts, floats: vec![false; facts], ..Self::default() }
    }

    /// What a change to this structure costs a reader, in words that are copied.
    pub(crate) fn cost(&self) -> u64 {
        64 * (self.schema.families.len() + self.schema.series.len() + self.actors.len() + self.doings.len()) as u64
    }

    /// Words of the series.
    pub(crate) fn series_words(&self) -> usize {
        self.schema.series.last().map_or(0, |last| (last.cell as usize).saturating_add(last.cells as usize))
    }

    /// All words.
    pub(crate) fn words(&self) -> usize {
        self.floats.len()
    }

    /// A structure of these parts. The series' cells are laid out one after the other.
    pub(crate) fn of(schema: &Schema, actors: Vec<Slot>, doings: Vec<String>, facts: usize) -> Self {
        let mut families: Vec<Family> = schema.families.clone();
        let mut series = SeriesList::default();
        let mut floats = Vec::new();
        for (index, family) in families.iter_mut().enumerate() {
            let start = series.len();
            for one in schema.series.range(family.series.clone()) {
                let cell = floats.len() as u64;
                push_floats(&mut floats, family);
                series.push(Series { family: index, cell, ..one });
            }
            family.series = start..series.len();
        }
        floats.resize(floats.len() + actors.len() * activity::WORDS + facts, false);
        let schema = Schema { families, series, ..Schema::default() };
        let doing_index = doings.iter().cloned().zip(1..).collect();
        Self { schema: Arc::new(schema), actors, doings, doing_index, floats, facts }
    }

    /// Whether `next` can be told as a change of this one: its families begin with all of these.
    pub(crate) fn leads_to(&self, next: &Self) -> bool {
        let (old, new) = (&self.schema.families, &next.schema.families);
        let same = |(old, new): (&Family, &Family)| {
            // All but the range of series, which is told by the series themselves.
            old.name == new.name && Family { series: 0..0, ..old.clone() } == Family { series: 0..0, ..new.clone() }
        };
        old.len() <= new.len()
            && old.iter().zip(new).all(same)
            && next.doings.starts_with(&self.doings)
            && self.facts == next.facts
    }

    /// Appends what turns this structure into `next`, to which it leads.
    pub(crate) fn encode_change(&self, next: &Self, out: &mut Vec<u8>) {
        let families = next.schema.families.get(self.schema.families.len()..).unwrap_or_default();
        put(out, families.len() as u64);
        families.iter().for_each(|family| put_family(out, family));
        edit::encode(out, self.schema.series.iter(), next.schema.series.iter(), put_series);
        let doings = next.doings.get(self.doings.len()..).unwrap_or_default();
        put(out, doings.len() as u64);
        doings.iter().for_each(|doing| put_text(out, doing));
        edit::encode(out, self.actors.iter(), next.actors.iter(), Slot::put);
    }

    /// The words of this structure carried over to `next`: those of what is new are 0.
    pub(crate) fn carry(&self, next: &Self, words: &[u64]) -> Vec<u64> {
        let series = edit::between::<Series<'_>, _>(self.schema.series.iter(), next.schema.series.iter());
        let actors = edit::between::<Slot, _>(self.actors.iter(), next.actors.iter());
        self.carried(next, words, &series, &actors)
    }

    fn carried(&self, next: &Self, words: &[u64], series: &[Edit], actors: &[Edit]) -> Vec<u64> {
        let mut carried = Vec::with_capacity(next.words());
        let width = |list: &SeriesList, range: std::ops::Range<usize>| -> usize {
            list.range(range).map(|series| series.cells as usize).sum()
        };
        let mut at = 0;
        let mut take = |carried: &mut Vec<u64>, len: usize, keep: bool| {
            if keep {
                carried.extend_from_slice(words.get(at..at + len).unwrap_or_default());
            }
            at += len;
        };
        let (mut old, mut new) = (0, 0);
        for edit in series {
            match *edit {
                Edit::Keep(count) | Edit::Change(count) => {
                    take(&mut carried, width(&self.schema.series, old..old + count), true);
                    (old, new) = (old + count, new + count);
                }
                Edit::Drop(count) => {
                    take(&mut carried, width(&self.schema.series, old..old + count), false);
                    old += count;
                }
                Edit::Insert(count) => {
                    carried.resize(carried.len() + width(&next.schema.series, new..new + count), 0);
                    new += count;
                }
            }
        }
        for edit in actors {
            match *edit {
                Edit::Keep(count) | Edit::Change(count) => take(&mut carried, count * activity::WORDS, true),
                Edit::Drop(count) => take(&mut carried, count * activity::WORDS, false),
                Edit::Insert(count) => carried.resize(carried.len() + count * activity::WORDS, 0),
            }
        }
        take(&mut carried, self.facts, true);
        carried.resize(next.words(), 0);
        carried
    }

    /// Reads a change and gives the structure after it, with the words carried over.
    pub(crate) fn decode_change(&self, cursor: &mut Cursor<'_>, words: &[u64]) -> Result<(Self, Vec<u64>), Malformed> {
        let mut families = self.schema.families.clone();
        for _ in 0..cursor.count(30)? {
            families.push(family(cursor)?);
        }
        let mut names = HashSet::new();
        if !families.iter().all(|family| names.insert(family.name.as_str())) {
            return Err(Malformed("a family twice"));
        }
        let (list, series_edits) = edit::decode(cursor, self.schema.series.iter(), |cursor| series(cursor, &families))?;
        let mut doings = self.doings.clone();
        for _ in 0..cursor.count(1)? {
            doings.push(printable(cursor.text()?));
        }
        let (actors, actor_edits) = edit::decode(cursor, self.actors.iter().cloned(), Slot::take)?;
        cursor.end()?;
        let cells = list.iter().fold(0_usize, |cells, series| cells.saturating_add(series.cells as usize));
        if cells.saturating_add(actors.len() * activity::WORDS) > MOST_WORDS {
            return Err(Malformed("more words than a region has"));
        }
        // Grouped by family, so that each family's are one range.
        if !list.is_sorted_by_key(|series| series.family) {
            return Err(Malformed("series that are not grouped by family"));
        }
        let mut end = 0;
        for (index, family) in families.iter_mut().enumerate() {
            let start = end;
            end += list.get(start..).unwrap_or_default().partition_point(|series| series.family == index);
            family.series = start..end;
        }
        let schema = Schema { families, series: list.into_iter().collect(), ..Schema::default() };
        let next = Self::of(&schema, actors, doings, self.facts);
        let words = self.carried(&next, words, &series_edits, &actor_edits);
        Ok((next, words))
    }
}

fn push_floats(floats: &mut Vec<bool>, family: &Family) {
    let cells = cells_of(family);
    let start = floats.len();
    let all = matches!(family.kind, Kind::Counter | Kind::Gauge) && family.number == Number::F64;
    floats.resize(start + cells, all);
    if matches!(family.kind, Kind::HistogramBounds | Kind::HistogramExponential)
        && family.number == Number::F64
        && let Some(sum) = floats.last_mut()
    {
        *sum = true;
    }
}

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

fn put_series(out: &mut Vec<u8>, series: &Series<'_>) {
    put(out, series.family as u64);
    put(out, u64::from(series.slot));
    put(out, u64::from(series.generation) << 1 | u64::from(series.retired));
    put(out, series.created_realtime_ns);
    put_text(out, series.labels);
}

fn series<'a>(cursor: &mut Cursor<'a>, families: &[Family]) -> Result<Series<'a>, Malformed> {
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

fn put_family(out: &mut Vec<u8>, family: &Family) {
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

fn family(cursor: &mut Cursor<'_>) -> Result<Family, Malformed> {
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
