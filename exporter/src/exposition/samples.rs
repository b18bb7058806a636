//! The sample lines that both text formats have: the plan's words around the labels of a series, and a number behind them.
//!
//! Called by `text.rs` and `openmetrics.rs` for each block of series. This is the exporter's hottest loop: it copies,
//! formats, and looks at no name.

use std::ops::Range;

use super::body::{Body, Text};
use super::selection::Wanted;
use crate::distribution::plus;
use crate::number::{WIDTH, write_f64, write_i64, write_millis, write_u64};
use crate::plan::{Block, Line, Op, Source, Words};
use crate::schema::{Family, Kind};
use crate::{Snapshot, Value};

/// What a format allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// What only goes up is never shown as NaN or as a negative number, and no sum stands beside negative bounds: a
    /// reader of OpenMetrics would refuse the whole body. Such lines are left out.
    pub(super) strict: bool,
    /// Counters and histograms say when they were created.
    pub(super) created: bool,
}

/// Appends the lines of one block. `head` stands before the first line that is written, and is empty from then on.
pub(super) fn block(
    words: &Words,
    block: &Block,
    source: &Source,
    wanted: &Wanted<'_>,
    style: Style,
    head: &mut &[u8],
    out: &mut Body<'_>,
) {
    let snapshot = &source.snapshot;
    let Some(family) = snapshot.schema.families.get(block.family) else { return };
    let mut writer = Writer { words, block, snapshot, family, style, plain: !style.strict && !style.created, out };
    if let Some(wants) = wanted.by_labels() {
        // Of the exporter's own only.
        for index in family.series.clone() {
            if snapshot.schema.series.get(index).is_some_and(|series| wants(series.labels)) {
                writer.range(index..index + 1, head);
            }
        }
    } else {
        writer.range(family.series.clone(), head);
    }
}

/// Ends a line behind a number of this length, and says how long both are.
#[inline(always)]
fn ended(number: usize, out: &mut [u8; WIDTH]) -> usize {
    if let Some(end) = out.get_mut(number) {
        *end = b'\n';
    }
    number + 1
}

#[inline(always)]
fn integer(out: &mut [u8; WIDTH], value: u64) -> usize {
    ended(write_u64(out, value), out)
}

/// Whether a strict reader takes this value of this family.
fn shows(family: &Family, value: f64) -> bool {
    family.kind != Kind::Counter || value >= 0.0
}

/// Writes the lines of one block.
struct Writer<'a, 'b> {
    words: &'a Words,
    block: &'a Block,
    snapshot: &'a Snapshot,
    family: &'a Family,
    style: Style,
    /// Nothing is left out and nothing added.
    plain: bool,
    out: &'a mut Body<'b>,
}

impl Writer<'_, '_> {
    fn range(&mut self, range: Range<usize>, head: &mut &[u8]) {
        let integers = self.snapshot.integers(self.family).filter(|_| !self.style.created);
        for stretch in self.snapshot.schema.series.stretches(range) {
            if !head.is_empty() && !self.block.ops.is_empty() {
                // A state set without states has series and no lines.
                self.out.text(std::mem::take(head));
            }
            let cell = stretch.cell();
            if let Some(integers) = integers {
                // Most of what there is, without a look at each one's kind.
                let values = usize::try_from(cell).ok().and_then(|cell| integers.get(cell..)).unwrap_or_default();
                self.integers(stretch.labels().zip(values.iter().copied()));
            } else {
                let cells = stretch.cells();
                for (labels, ahead) in stretch.labels().zip(0_u64..) {
                    let value = self.snapshot.value_at(self.family, cell.wrapping_add(ahead * cells));
                    self.series(labels, value, stretch.created_realtime_ns());
                }
            }
        }
    }

    /// A line of each, which are of a kind that has one.
    fn integers<'t>(&mut self, all: impl Iterator<Item = (Text<'t>, u64)>) {
        if let [line] = self.block.lines.all() {
            let (head, tail) = self.words.of(*line);
            self.out.lines(head, tail, all, integer);
        } else {
            all.for_each(|(labels, value)| self.one(labels, |out| integer(out, value)));
        }
    }

    #[inline]
    fn series(&mut self, labels: Text<'_>, value: Value<'_>, created_realtime_ns: u64) {
        match value {
            Value::U64(value) => self.one(labels, |out| integer(out, value)),
            Value::I64(value) => self.one(labels, |out| ended(write_i64(out, value), out)),
            Value::F64(value) if self.plain || shows(self.family, value) => {
                self.one(labels, |out| ended(write_f64(out, value), out));
            }
            Value::F64(_) => return,
            Value::Info => self.one(labels, |out| integer(out, 1)),
            Value::Histogram { buckets, sum } => self.histogram(labels, buckets, sum),
            Value::States(states) => self.states(labels, states),
        }
        if self.style.created
            && created_realtime_ns > 0
            && let [line] = self.block.created.of(labels.len)
        {
            self.line(*line, labels, |out| ended(write_millis(out, created_realtime_ns / 1_000_000), out));
        }
    }

    fn one(&mut self, labels: Text<'_>, number: impl Fn(&mut [u8; WIDTH]) -> usize) {
        if let [line] = self.block.lines.of(labels.len) {
            self.line(*line, labels, number);
        }
    }

    #[inline(always)]
    fn line(&mut self, line: Line, labels: Text<'_>, number: impl Fn(&mut [u8; WIDTH]) -> usize) {
        let (head, tail) = self.words.of(line);
        self.out.line(head, labels, tail, number);
    }

    #[inline]
    fn histogram(&mut self, labels: Text<'_>, buckets: &[u64], sum: f64) {
        let lines = self.block.lines.of(labels.len);
        // The buckets come first, then the sum and the count.
        let Some((lines, [sum_line, count_line])) = lines.split_last_chunk() else { return };
        // Buckets are counted upwards, each from where the one before ended.
        let (mut count, mut counted) = (0_u64, 0);
        let mut below = |end: usize| {
            while counted < end {
                count = plus(count, buckets.get(counted).copied().unwrap_or(0));
                counted += 1;
            }
            count
        };
        let counts = lines.iter().zip(&self.block.ops).map(|(line, op)| {
            let end = if let Op::Bucket(index) = op { *index as usize + 1 } else { buckets.len() };
            (self.words.of(*line), below(end))
        });
        self.out.alike(labels, counts, integer);
        // A count without a sum is refused, too.
        if self.plain || (sum >= 0.0 && self.family.bounds.first().is_none_or(|bound| *bound >= 0.0)) {
            self.line(*sum_line, labels, |out| ended(write_f64(out, sum), out));
            self.line(*count_line, labels, |out| integer(out, count));
        }
    }

    fn states(&mut self, labels: Text<'_>, states: u64) {
        for (line, op) in self.block.lines.of(labels.len).iter().zip(&self.block.ops) {
            let Op::State(bit) = op else { continue };
            self.line(*line, labels, |out| integer(out, states >> (*bit).min(63) & 1));
        }
    }
}
