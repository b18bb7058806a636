//! The sample lines that both text formats have: the plan's prefix, and a number behind it.
//!
//! Called by `text.rs` and `openmetrics.rs` for each block of series. This is the exporter's hottest loop: it copies,
//! formats, and looks at no name.

use super::selection::{Selection, Wanted};
use crate::distribution::plus;
use crate::number::{push_f64, push_i64, push_u64};
use crate::plan::{Block, Op, Plan, Source, openmetrics_name};
use crate::schema::{Family, Kind};
use crate::{Series, Value};

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
    plan: &Plan,
    block: &Block,
    source: &Source,
    wanted: &Wanted<'_>,
    style: Style,
    head: &mut &[u8],
    out: &mut Vec<u8>,
) {
    let snapshot = &source.snapshot;
    let Some(family) = snapshot.schema.families.get(block.family) else { return };
    let cells = plan.cells.get(block.series.clone()).unwrap_or_default();
    let all = snapshot.schema.series.get(family.series.clone()).unwrap_or_default();
    let per_series = block.ops.len();
    let lines = plan.prefixes.get(block.line..block.line + cells.len() * per_series).unwrap_or_default();
    // A state set without states has series and no lines.
    let lines = lines.chunks_exact(per_series.max(1));
    let mut writer = Writer { arena: &plan.arena, at: block.start, out };
    let plain = !style.strict && !style.created;
    if let (Some(values), false, true) = (snapshot.integers(family), style.created, wanted.all()) {
        // Most of what there is, without a look at each one's kind.
        for (cell, prefix) in cells.iter().zip(lines.flatten()) {
            writer.out.extend_from_slice(std::mem::take(head));
            let value = usize::try_from(*cell).ok().and_then(|cell| values.get(cell)).copied().unwrap_or(0);
            writer.line(*prefix, |out| push_u64(out, value));
        }
        return;
    }
    for ((cell, prefixes), series) in cells.iter().zip(lines).zip(all) {
        if !wanted.wants(&series.labels) {
            writer.skip(prefixes);
            continue;
        }
        writer.out.extend_from_slice(std::mem::take(head));
        match (snapshot.value_at(family, *cell), prefixes) {
            (Value::U64(value), [prefix]) => writer.line(*prefix, |out| push_u64(out, value)),
            (Value::I64(value), [prefix]) => writer.line(*prefix, |out| push_i64(out, value)),
            (Value::F64(value), [prefix]) if plain || shows(family, value) => {
                writer.line(*prefix, |out| push_f64(out, value));
            }
            (Value::Histogram { buckets, sum }, _) => {
                let has_sum = plain || (sum >= 0.0 && family.bounds.first().is_none_or(|bound| *bound >= 0.0));
                writer.histogram(prefixes, &block.ops, buckets, has_sum.then_some(sum));
            }
            (Value::States(states), _) => writer.states(prefixes, &block.ops, states),
            (Value::Info, [prefix]) => writer.line(*prefix, |out| out.push(b'1')),
            _ => {
                writer.skip(prefixes);
                continue;
            }
        }
        if style.created && counts(family) {
            writer.created(family, series, prefixes);
        }
    }
}

/// Whether a strict reader takes this value of this family.
fn shows(family: &Family, value: f64) -> bool {
    family.kind != Kind::Counter || value >= 0.0
}

/// Whether a family's series say when they were created.
const fn counts(family: &Family) -> bool {
    matches!(family.kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential)
}

/// Writes lines one after the other, with the prefixes that follow each other in the arena.
struct Writer<'a> {
    arena: &'a [u8],
    /// Where the next prefix begins.
    at: usize,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    #[inline]
    fn line(&mut self, prefix: u32, number: impl FnOnce(&mut Vec<u8>)) {
        let end = self.at + prefix as usize;
        self.out.extend_from_slice(&self.arena[self.at..end]);
        self.at = end;
        number(self.out);
        self.out.push(b'\n');
    }

    fn skip(&mut self, prefixes: &[u32]) {
        self.at += prefixes.iter().map(|prefix| *prefix as usize).sum::<usize>();
    }

    #[inline]
    fn histogram(&mut self, prefixes: &[u32], ops: &[Op], buckets: &[u64], sum: Option<f64>) {
        // Buckets are counted upwards, each from where the one before ended.
        let (mut count, mut counted) = (0_u64, 0);
        let mut up_to = |end: usize| {
            let more = buckets.get(counted..end).unwrap_or_default();
            count = more.iter().fold(count, |count, bucket| plus(count, *bucket));
            counted = counted.max(end);
            count
        };
        for (prefix, op) in prefixes.iter().zip(ops) {
            match (op, sum) {
                (Op::Bucket(index), _) => {
                    let count = up_to(*index as usize + 1);
                    self.line(*prefix, |out| push_u64(out, count));
                }
                (Op::Sum, Some(sum)) => self.line(*prefix, |out| push_f64(out, sum)),
                // A count without a sum is refused, too.
                (Op::Sum | Op::Count, None) => self.at += *prefix as usize,
                _ => {
                    let count = up_to(buckets.len());
                    self.line(*prefix, |out| push_u64(out, count));
                }
            }
        }
    }

    fn states(&mut self, prefixes: &[u32], ops: &[Op], states: u64) {
        for (prefix, op) in prefixes.iter().zip(ops) {
            let Op::State(bit) = op else { continue };
            self.line(*prefix, |out| out.push(if states >> (*bit).min(63) & 1 == 1 { b'1' } else { b'0' }));
        }
    }

    /// The line `<name>_created`: the labels are those behind the name in the line before.
    fn created(&mut self, family: &Family, series: &Series, prefixes: &[u32]) {
        let suffix = if family.kind == Kind::Counter { "" } else { "_count" };
        let last = self.at - prefixes.last().map_or(0, |prefix| *prefix as usize);
        let labels = self.arena.get(last + family.name.len() + suffix.len()..self.at);
        let (Some(labels), 1..) = (labels, series.created_realtime_ns) else { return };
        self.out.extend_from_slice(openmetrics_name(family).as_bytes());
        self.out.extend_from_slice(b"_created");
        self.out.extend_from_slice(labels);
        let millis = series.created_realtime_ns / 1_000_000;
        push_u64(self.out, millis / 1_000);
        self.out.push(b'.');
        let rest = millis % 1_000;
        self.out.extend_from_slice(&[100, 10, 1].map(|place| b'0' + (rest / place % 10) as u8));
        self.out.push(b'\n');
    }
}

/// Makes room for a whole body, as a first guess.
pub(super) fn reserve(plan: &Plan, selection: &Selection, out: &mut Vec<u8>) {
    /// For a number and the line's end.
    const NUMBER: usize = 8;
    if selection.is_all() {
        out.reserve(plan.arena.len() + plan.prefixes.len() * NUMBER);
    }
}
