//! The series of a structure, packed: what a writer registers together stands together, so it is told once.
//!
//! Called by whoever makes a schema or reads one. A series costs its labels and four bytes where it follows the one before it
//! as the members of a closed family do: next slot, next cells, and the same in everything else. Of an open family's it costs
//! some sixty bytes more.

use std::ops::Range;

use crate::exposition::body::Text;

/// A family with one set of label values, as [`SeriesList`] gives it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series<'a> {
    /// Index into [`crate::Schema::families`].
    pub family: usize,
    /// Its slot in the region.
    pub slot: u32,
    /// How often the slot was given to another series.
    pub generation: u32,
    /// The label block, escaped and ready to print: `a="x",b="y"`. Empty where the family has no labels.
    pub labels: &'a str,
    /// When it was registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// No handle is left; its last value is shown for a while.
    pub retired: bool,
    /// First cell, or first line of the shared plane, where [`crate::Kind::in_shared_plane`].
    pub cell: u64,
    /// How many cells (or lines) it owns.
    pub cells: u32,
}

/// Series in the order in which they were pushed.
///
/// ```
/// use tachograph_exporter::{Series, SeriesList};
/// let mut list = SeriesList::default();
/// for (number, labels) in (0..).zip([r#"peer="a""#, r#"peer="b""#]) {
///     list.push(Series {
///         family: 0, slot: number, generation: 0, labels, created_realtime_ns: 5, retired: false, cell: number.into(), cells: 1,
///     });
/// }
/// assert_eq!(list.get(1).map(|series| series.labels), Some(r#"peer="b""#));
/// assert_eq!(list.iter().map(|series| series.cell).sum::<u64>(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesList {
    runs: Vec<Run>,
    /// Where the labels of each series end, counted from where those of its run begin.
    ends: Vec<u32>,
    /// All labels, one behind the other.
    text: String,
}

/// Series that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// Index of the first one.
    first: usize,
    /// Where its labels begin.
    text: usize,
    family: usize,
    slot: u32,
    generation: u32,
    created_realtime_ns: u64,
    retired: bool,
    cell: u64,
    cells: u32,
}

impl Run {
    /// The one that is `ahead` of the first.
    fn at<'a>(&self, ahead: usize, labels: &'a str) -> Series<'a> {
        Series {
            family: self.family,
            // A run ends before its slots or cells would.
            slot: self.slot.wrapping_add(ahead as u32),
            generation: self.generation,
            labels,
            created_realtime_ns: self.created_realtime_ns,
            retired: self.retired,
            cell: self.cell.wrapping_add(ahead as u64 * u64::from(self.cells)),
            cells: self.cells,
        }
    }
}

impl SeriesList {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The one at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Series<'_>> {
        self.range(index..index.saturating_add(1)).next()
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<Series<'_>> {
        self.get(self.len().wrapping_sub(1))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Series<'_>> + Clone {
        self.range(0..self.len())
    }

    /// Those in a range of indexes; none where they are not all there.
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = Series<'_>> + Clone {
        self.stretches(range).flat_map(Stretch::series)
    }

    /// The same, in stretches of such as follow each other.
    pub(crate) fn stretches(&self, range: Range<usize>) -> impl Iterator<Item = Stretch<'_>> + Clone {
        let range = if range.start < range.end && range.end <= self.len() { range } else { 0..0 };
        let first = self.runs.partition_point(|run| run.first <= range.start).saturating_sub(1);
        let runs = self.runs.get(first..).unwrap_or_default();
        let end = range.end;
        runs.iter().enumerate().take_while(move |(_, run)| run.first < end).filter_map(move |(index, run)| {
            let next = runs.get(index + 1).map_or(self.ends.len(), |next| next.first);
            let (from, to) = (range.start.max(run.first), end.min(next));
            // All labels behind the one before the first.
            let skipped = if from > run.first { *self.ends.get(from - 1)? } else { 0 };
            let text = self.text.get(run.text..)?;
            Some(Stretch { run, ahead: from - run.first, skipped, ends: self.ends.get(from..to)?, text })
        })
    }

    /// Appends one.
    pub fn push(&mut self, series: Series<'_>) {
        let index = self.ends.len();
        let follows = self.runs.last().and_then(|run| {
            let ahead = index - run.first;
            let begun = self.text.len() - run.text;
            let end = u32::try_from(begun + series.labels.len()).ok()?;
            let slot = u32::try_from(ahead).ok().and_then(|ahead| run.slot.checked_add(ahead));
            let cell = (ahead as u64).checked_mul(u64::from(run.cells)).and_then(|ahead| run.cell.checked_add(ahead));
            let next = slot == Some(series.slot) && cell == Some(series.cell);
            (next && run.at(ahead, series.labels) == series).then_some(end)
        });
        let end = follows.unwrap_or_else(|| {
            self.runs.push(Run {
                first: index,
                text: self.text.len(),
                family: series.family,
                slot: series.slot,
                generation: series.generation,
                created_realtime_ns: series.created_realtime_ns,
                retired: series.retired,
                cell: series.cell,
                cells: series.cells,
            });
            // No label block is nearly as long as that.
            u32::try_from(series.labels.len()).unwrap_or(u32::MAX)
        });
        self.text.push_str(series.labels);
        self.ends.push(end);
    }

    /// Bytes of all labels.
    pub(crate) const fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Drops those from an index on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.ends.truncate(len);
            self.runs.truncate(self.runs.partition_point(|run| run.first < len));
            let end = self.ends.last().map_or(0, |end| *end as usize);
            self.text.truncate(self.runs.last().map_or(0, |run| run.text) + end);
        }
    }

    /// Gives back what was set aside for more.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.runs.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.text.shrink_to_fit();
    }
}

impl<'a> Extend<Series<'a>> for SeriesList {
    fn extend<I: IntoIterator<Item = Series<'a>>>(&mut self, list: I) {
        list.into_iter().for_each(|series| self.push(series));
    }
}

impl<'a> FromIterator<Series<'a>> for SeriesList {
    fn from_iter<I: IntoIterator<Item = Series<'a>>>(list: I) -> Self {
        let mut all = Self::default();
        all.extend(list);
        all
    }
}

/// Series that follow each other in one family, or some of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'a> {
    run: &'a Run,
    /// How many of the run stand before the first.
    ahead: usize,
    /// Bytes of labels of those.
    skipped: u32,
    ends: &'a [u32],
    /// From the run's first label on, with what is behind the last.
    text: &'a str,
}

impl<'a> Stretch<'a> {
    /// First cell of the first one; those of the others follow.
    pub(crate) fn cell(&self) -> u64 {
        self.run.at(self.ahead, "").cell
    }

    /// How many they are.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Cells of each.
    pub(crate) fn cells(&self) -> u64 {
        self.run.cells.into()
    }

    /// When they were registered.
    pub(crate) const fn created_realtime_ns(&self) -> u64 {
        self.run.created_realtime_ns
    }

    /// The labels of each.
    #[inline]
    pub(crate) fn labels(self) -> impl Iterator<Item = Text<'a>> + Clone {
        let (bytes, mut start) = (self.text.as_bytes(), self.skipped as usize);
        self.ends.iter().map_while(move |end| {
            let (from, len) = (bytes.get(start..)?, (*end as usize).wrapping_sub(start));
            start = *end as usize;
            Some(Text { from, len })
        })
    }

    fn series(self) -> impl Iterator<Item = Series<'a>> + Clone {
        let mut start = self.skipped as usize;
        self.ends.iter().zip(self.ahead..).map(move |(end, ahead)| {
            let labels = self.text.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            self.run.at(ahead, labels)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of few, so that many follow each other.
    fn series() -> impl Strategy<Value = (usize, u32, u32, String, u64, bool, u64, u32)> {
        let labels = prop_oneof![Just(String::new()), "[a-z]{1,5}", Just("ü=\"∞\"".to_owned())];
        (0..2_usize, 0..4_u32, 0..2_u32, labels, 0..2_u64, any::<bool>(), 0..6_u64, 0..3_u32)
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_given_out(
            mut all in proptest::collection::vec((series(), any::<bool>()), 0..40),
            from in 0..40_usize,
            count in 0..40_usize,
        ) {
            // Half of them follow the one before.
            for index in 1..all.len() {
                if all[index].1 {
                    let ((family, slot, generation, _, created, retired, cell, cells), _) = all[index - 1].clone();
                    let labels = all[index].0.3.clone();
                    all[index].0 = (family, slot + 1, generation, labels, created, retired, cell + u64::from(cells), cells);
                }
            }
            let pushed: Vec<Series<'_>> = all.iter().map(|((family, slot, generation, labels, created, retired, cell, cells), _)| Series {
                family: *family, slot: *slot, generation: *generation, labels, created_realtime_ns: *created, retired: *retired,
                cell: *cell, cells: *cells,
            }).collect();
            let list: SeriesList = pushed.iter().copied().collect();
            prop_assert_eq!(list.len(), pushed.len());
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), pushed.clone());
            prop_assert_eq!(list.last(), pushed.last().copied());
            for index in 0..=pushed.len() {
                prop_assert_eq!(list.get(index), pushed.get(index).copied());
            }
            let mut cut = list.clone();
            cut.truncate(from);
            prop_assert_eq!(&cut, &pushed.iter().copied().take(from).collect());
            let range = from..from + count;
            prop_assert_eq!(list.range(range.clone()).collect::<Vec<_>>(), pushed.get(range.clone()).unwrap_or_default());
            let labels: Vec<&[u8]> = list.stretches(range.clone()).flat_map(|stretch| stretch.labels().map(|text| &text.from[..text.len])).collect();
            let wanted: Vec<&[u8]> = pushed.get(range).unwrap_or_default().iter().map(|series| series.labels.as_bytes()).collect();
            prop_assert_eq!(labels, wanted);
        }
    }

    #[test]
    fn members_of_a_closed_family_are_told_once() {
        let of = |slot: u32| Series {
            family: 3,
            slot,
            generation: 0,
            labels: "a=\"b\"",
            created_realtime_ns: 7,
            retired: false,
            cell: u64::from(slot) * 14,
            cells: 14,
        };
        let mut list: SeriesList = (5..1_005).map(of).collect();
        assert_eq!((list.runs.len(), list.len(), list.text.len()), (1, 1_000, 5_000));
        list.push(of(1_006));
        list.push(Series { retired: true, ..of(1_007) });
        assert_eq!(list.runs.len(), 3);
    }

    #[test]
    fn slots_and_cells_at_their_ends_begin_a_run() {
        let last = |slot, cell| Series {
            family: 0,
            slot,
            generation: 0,
            labels: "",
            created_realtime_ns: 0,
            retired: false,
            cell,
            cells: 2,
        };
        let all = [last(u32::MAX, 0), last(0, 2), last(1, u64::MAX - 1), last(2, 0)];
        let list: SeriesList = all.into_iter().collect();
        assert_eq!(list.iter().collect::<Vec<_>>(), all);
        assert_eq!(list.runs.len(), 4);
    }
}
