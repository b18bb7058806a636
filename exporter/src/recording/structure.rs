//! What a recording's words mean at a tick: families, series and activities, and how one such structure becomes the next.
//!
//! Both ends hold one: the encoder makes a change of it when a region's schema or its actors changed, the decoder applies
//! that change. Bytes may be hostile: the work of a change is bounded by its bytes and by what the structure holds already,
//! and both ends refuse a structure of more than a recording may tell.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tachograph_layout::{Kind, Number};

use super::activity::{self, Slot};
use super::edit::{self, Edit};
use super::parts::{family, put_family, put_series, series};
use super::wire::{Cursor, Malformed, put, put_text};
use crate::schema::{Family, Schema};
use crate::series::{Series, SeriesList};
use crate::snapshot::cells_of;
use crate::table::printable;

/// Most words of a tick: sixteen million cells, as many as a region's largest tables have slots.
pub(crate) const MOST_WORDS: usize = 1 << 24;

/// Most series of a structure: some kinds own no words, and what it takes to tell a series from others is more than a word.
pub(crate) const MOST_SERIES: usize = 1 << 22;

/// Most families of a structure: as many as a region has.
const MOST_FAMILIES: usize = 1 << 16;

/// Most activities of a structure, and most different ones of a block: as many as a region has at once.
const MOST_ACTIVITIES: usize = 1 << 20;

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

    /// What a change to this structure costs a reader, in words that are copied: all that it holds is carried over.
    pub(crate) fn cost(&self) -> u64 {
        // Each thing by itself: its place among the others, and what is allocated for it.
        let thing = |texts: &[&str]| 64 + texts.iter().map(|text| text_cost(text.len())).sum::<u64>();
        let families = self.schema.families.iter().map(|family| {
            let texts = family.label_names.iter().chain(&family.states).map(|text| thing(&[text]));
            thing(&[&family.name, &family.help, &family.unit]) + texts.sum::<u64>() + 4 * family.bounds.len() as u64
        });
        let series = &self.schema.series;
        families.sum::<u64>()
            + 64 * series.len() as u64
            + text_cost(series.text_len())
            + self.actors.iter().map(|slot| thing(&slot.texts())).sum::<u64>()
            + self.doings.iter().map(|doing| thing(&[doing])).sum::<u64>()
            + 2 * self.words() as u64
    }

    /// Whether a recording may tell so much; a reader refuses what is more.
    pub(crate) fn fits(&self) -> bool {
        self.schema.families.len() <= MOST_FAMILIES
            && self.schema.series.len() <= MOST_SERIES
            && self.doings.len() <= MOST_ACTIVITIES
            && self.actors.len() <= MOST_ACTIVITIES
            && self.words() - self.facts <= MOST_WORDS
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
        let mut laid = LaidOut::default();
        for (index, family) in families.iter_mut().enumerate() {
            let start = laid.series.len();
            schema.series.range(family.series.clone()).for_each(|one| laid.push(Series { family: index, ..one }));
            family.series = start..laid.series.len();
        }
        Self::laid_out(families, laid.series, actors, doings, facts)
    }

    /// A structure whose series are grouped by family, and laid out.
    fn laid_out(
        families: Vec<Family>,
        series: SeriesList,
        actors: Vec<Slot>,
        doings: Vec<String>,
        facts: usize,
    ) -> Self {
        let mut floats = Vec::new();
        for family in &families {
            family.series.clone().for_each(|_| push_floats(&mut floats, family));
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
        let new = cursor.count(30)?;
        if self.schema.families.len() + new > MOST_FAMILIES {
            return Err(Malformed("more families than a region has"));
        }
        let mut families = self.schema.families.clone();
        for _ in 0..new {
            families.push(family(cursor)?);
        }
        let mut names = HashSet::new();
        if !families.iter().all(|family| names.insert(family.name.as_str())) {
            return Err(Malformed("a family twice"));
        }
        let mut laid = LaidOut::default();
        let mut ends = vec![0; families.len()];
        let series_edits = edit::decode(
            cursor,
            self.schema.series.iter(),
            MOST_SERIES,
            |cursor| series(cursor, &families),
            |series| {
                laid.push_grouped(series)?;
                ends.get_mut(series.family).into_iter().for_each(|end| *end = laid.series.len());
                Ok(())
            },
        )?;
        let mut doings = self.doings.clone();
        let new = cursor.count(1)?;
        if doings.len() + new > MOST_ACTIVITIES {
            return Err(Malformed("more activities than a region has"));
        }
        for _ in 0..new {
            doings.push(printable(cursor.text()?));
        }
        let mut actors = Vec::new();
        let actor_edits = edit::decode(cursor, self.actors.iter().cloned(), MOST_ACTIVITIES, Slot::take, |slot| {
            actors.push(slot);
            Ok(())
        })?;
        cursor.end()?;
        if laid.words.saturating_add(actors.len() * activity::WORDS) > MOST_WORDS {
            return Err(TOO_MANY_WORDS);
        }
        let mut start = 0;
        for (family, end) in families.iter_mut().zip(ends) {
            // One without series has no end of its own.
            family.series = start..end.max(start);
            start = family.series.end;
        }
        let next = Self::laid_out(families, laid.series, actors, doings, self.facts);
        let words = self.carried(&next, words, &series_edits, &actor_edits);
        Ok((next, words))
    }
}

const TOO_MANY_WORDS: Malformed = Malformed("more words than a region has");

/// Series, each with its cells behind those of the one before.
#[derive(Debug, Default)]
struct LaidOut {
    series: SeriesList,
    words: usize,
    /// Index of the last one's family.
    family: usize,
}

impl LaidOut {
    fn push(&mut self, series: Series<'_>) {
        self.series.push(Series { cell: self.words as u64, ..series });
        self.words = self.words.saturating_add(series.cells as usize);
        self.family = series.family;
    }

    /// The same, where the family is the last one's or one behind it, so that each family's series are one range.
    fn push_grouped(&mut self, series: Series<'_>) -> Result<(), Malformed> {
        if series.family < self.family {
            return Err(Malformed("series that are not grouped by family"));
        }
        self.push(series);
        if self.words > MOST_WORDS { Err(TOO_MANY_WORDS) } else { Ok(()) }
    }
}

/// What it costs to carry a text over, beside what any thing costs.
const fn text_cost(bytes: usize) -> u64 {
    bytes as u64 / 4
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What puts a family into a structure that has none, and so many series of it.
    fn change(family: &Family, labels: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, 1);
        put_family(&mut bytes, family);
        put(&mut bytes, 1);
        put(&mut bytes, (labels.len() as u64) << 2 | 2);
        for (slot, labels) in (0..).zip(labels) {
            let (family, cell, cells) = (0, 0, 1);
            let series =
                Series { family, slot, generation: 0, labels, created_realtime_ns: 0, retired: false, cell, cells };
            put_series(&mut bytes, &series);
        }
        bytes.extend([0, 0]);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Structure, Malformed> {
        Structure::empty(0).decode_change(&mut Cursor::new(bytes), &[]).map(|(structure, _)| structure)
    }

    #[test]
    fn a_change_costs_at_least_a_word_for_each_that_the_structure_holds() {
        let counter = || Family::new("app_x_total", "h", Kind::Counter, Number::U64);
        let bounds = (0..100_000).map(f64::from).collect();
        let histogram = || Family::new("app_x", "h", Kind::HistogramBounds, Number::U64);
        let states: Vec<String> = (0..64).map(|state| format!("{state:010000}")).collect();
        let labels = format!("l=\"{}\"", "x".repeat(800_000));
        let label_names: Vec<String> = (0..10_000).map(|name| format!("l{name}")).collect();
        for (family, labels, words) in [
            (Family { bounds, ..histogram() }, &[] as &[&str], 100_000),
            (Family { bounds: (0..100_000).map(f64::from).collect(), ..histogram() }, &[""], 300_000),
            (Family { states, ..Family::new("app_x", "h", Kind::StateSet, Number::U64) }, &[], 80_000),
            (Family { label_names: vec!["l".to_owned()], ..counter() }, &[&labels], 100_000),
            (Family { label_names, ..counter() }, &[], 30_000),
            (Family { help: "h".repeat(800_000), ..counter() }, &[], 100_000),
        ] {
            let structure = decoded(&change(&family, labels)).expect("a change");
            assert!(structure.cost() >= words, "{} for {words} of {:?}", structure.cost(), family.kind);
        }
    }

    #[test]
    fn a_reader_and_a_recorder_know_the_same_most_series() {
        let of = |count: usize| {
            let mut bytes = vec![0];
            put(&mut bytes, 1);
            put(&mut bytes, (count as u64) << 2 | 2);
            bytes.resize(bytes.len() + count, 0);
            decoded(&bytes).unwrap_err().to_string()
        };
        assert_eq!(of(MOST_SERIES), "a series of no family", "so many are looked at");
        assert_eq!(of(MOST_SERIES + 1), "more than a region has");

        let mut family = Family::new("app_x_info", "h", Kind::Info, Number::U64);
        let labels = "";
        let series = |slot| Series {
            family: 0,
            slot,
            generation: 0,
            labels,
            created_realtime_ns: 0,
            retired: false,
            cell: 0,
            cells: 0,
        };
        let mut list: SeriesList = (0..MOST_SERIES as u32).map(series).collect();
        family.series = 0..list.len();
        let mut schema = Schema { families: vec![family], series: list.clone(), ..Schema::default() };
        assert!(Structure::of(&schema, Vec::new(), Vec::new(), 0).fits());
        list.push(series(MOST_SERIES as u32));
        (schema.families[0].series, schema.series) = (0..list.len(), list);
        assert!(!Structure::of(&schema, Vec::new(), Vec::new(), 0).fits());
    }

    #[test]
    fn a_block_holds_many_changes_of_a_million_counters() {
        let labels: Vec<String> = (0..20_000).map(|number| format!("l=\"{number:0>150}\"")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let family =
            Family { label_names: vec!["l".to_owned()], ..Family::new("app_x_total", "h", Kind::Counter, Number::U64) };
        let structure = decoded(&change(&family, &labels)).expect("a change");
        // Of a million, fifty times as much: a block holds more than fifty changes of them.
        assert!(structure.cost() * 50 * 50 < MOST_WORK / 2, "{}", structure.cost());
        assert!(structure.fits());
        assert_eq!(structure.schema.families[0].series, 0..20_000);
        assert_eq!(structure.schema.series.last().map(|last| last.cell), Some(19_999));
    }
}
