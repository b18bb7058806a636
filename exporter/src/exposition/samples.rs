//! The sample lines that both text formats have: the plan's prefix, and a number behind it.
//!
//! Called by `text.rs` and `openmetrics.rs` for each block of series. This is the exporter's hottest loop: it copies,
//! formats, and looks at no name.

use super::body::Body;
use super::selection::{Selection, Wanted};
use crate::distribution::plus;
use crate::number::{WIDTH, write_f64, write_i64, write_millis, write_u64};
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
    out: &mut Body<'_>,
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
            writer.head(head);
            let value = usize::try_from(*cell).ok().and_then(|cell| values.get(cell)).copied().unwrap_or(0);
            writer.line(*prefix, |out| write_u64(out, value));
        }
        return;
    }
    for ((cell, prefixes), series) in cells.iter().zip(lines).zip(all) {
        if !wanted.wants(&series.labels) {
            writer.skip(prefixes);
            continue;
        }
        writer.head(head);
        match (snapshot.value_at(family, *cell), prefixes) {
            (Value::U64(value), [prefix]) => writer.line(*prefix, |out| write_u64(out, value)),
            (Value::I64(value), [prefix]) => writer.line(*prefix, |out| write_i64(out, value)),
            (Value::F64(value), [prefix]) if plain || shows(family, value) => {
                writer.line(*prefix, |out| write_f64(out, value));
            }
            (Value::Histogram { buckets, sum }, _) => {
                let has_sum = plain || (sum >= 0.0 && family.bounds.first().is_none_or(|bound| *bound >= 0.0));
                writer.histogram(prefixes, &block.ops, buckets, has_sum.then_some(sum));
            }
            (Value::States(states), _) => writer.states(prefixes, &block.ops, states),
            (Value::Info, [prefix]) => writer.line(*prefix, |out| write_u64(out, 1)),
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
struct Writer<'a, 'b> {
    arena: &'a [u8],
    /// Where the next prefix begins.
    at: usize,
    out: &'a mut Body<'b>,
}

impl Writer<'_, '_> {
    /// Writes the head, once.
    #[inline]
    fn head(&mut self, head: &mut &[u8]) {
        if !head.is_empty() {
            self.out.text(std::mem::take(head));
        }
    }

    #[inline(always)]
    fn line(&mut self, prefix: u32, number: impl FnOnce(&mut [u8; WIDTH]) -> usize) {
        // Behind the last prefix there is a block more.
        self.out.line(&self.arena[self.at..], prefix as usize, number);
        self.at += prefix as usize;
    }

    fn skip(&mut self, prefixes: &[u32]) {
        self.at += prefixes.iter().map(|prefix| *prefix as usize).sum::<usize>();
    }

    #[inline]
    fn histogram(&mut self, prefixes: &[u32], ops: &[Op], buckets: &[u64], sum: Option<f64>) {
        // Buckets are counted upwards, each from where the one before ended.
        let (mut count, mut counted) = (0_u64, 0);
        for (prefix, op) in prefixes.iter().zip(ops) {
            let end = match (op, sum) {
                (Op::Bucket(index), _) => *index as usize + 1,
                (Op::Sum, Some(sum)) => {
                    self.line(*prefix, |out| write_f64(out, sum));
                    continue;
                }
                // A count without a sum is refused, too.
                (Op::Sum | Op::Count, None) => {
                    self.at += *prefix as usize;
                    continue;
                }
                _ => buckets.len(),
            };
            while counted < end {
                count = plus(count, buckets.get(counted).copied().unwrap_or(0));
                counted += 1;
            }
            self.line(*prefix, |out| write_u64(out, count));
        }
    }

    fn states(&mut self, prefixes: &[u32], ops: &[Op], states: u64) {
        for (prefix, op) in prefixes.iter().zip(ops) {
            let Op::State(bit) = op else { continue };
            self.line(*prefix, |out| write_u64(out, states >> (*bit).min(63) & 1));
        }
    }

    /// The line `<name>_created`: the labels are those behind the name in the line before.
    fn created(&mut self, family: &Family, series: &Series, prefixes: &[u32]) {
        let suffix = if family.kind == Kind::Counter { "" } else { "_count" };
        let last = self.at - prefixes.last().map_or(0, |prefix| *prefix as usize);
        let start = last + family.name.len() + suffix.len();
        let (Some(labels), 1..) = (self.arena.get(start..), series.created_realtime_ns) else { return };
        self.out.text(openmetrics_name(family).as_bytes());
        self.out.text(b"_created");
        let millis = series.created_realtime_ns / 1_000_000;
        self.out.line(labels, self.at.saturating_sub(start), |out| write_millis(out, millis));
    }
}

/// Makes room for a whole body, as a first guess.
pub(super) fn reserve(plan: &Plan, selection: &Selection, out: &mut Body<'_>) {
    /// For a number and the line's end.
    const NUMBER: usize = 8;
    if selection.is_all() {
        out.reserve(plan.arena.len() + plan.prefixes.len() * NUMBER);
    }
}
