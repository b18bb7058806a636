//! Prometheus text format 0.0.4: copies the plan's prefixes and puts the numbers behind them.
//!
//! Called by the server for `/metrics` and by `tacho show --format prom`. It allocates nothing a series: the buffer
//! grows to the size of the body once, and the caller may keep it.

use crate::number::{push_f64, push_i64, push_u64};
use crate::plan::{Line, Op, Plan, Source};
use crate::{Snapshot, Value};

/// The Content-Type of what [`render`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Room for the number and the line end of a line, as a first guess.
const NUMBER_LEN: usize = 8;

/// Renders the sources by a plan that fits them and appends the text. By a plan that does not ([`Plan::fits`]) the
/// numbers would be those of other series, so it then appends nothing and returns false.
///
/// The example of [`Plan`] shows it at work.
pub fn render(plan: &Plan, sources: &[Source], out: &mut Vec<u8>) -> bool {
    if !plan.fits(sources) {
        return false;
    }
    out.reserve(plan.arena.len() + plan.lines.len() * NUMBER_LEN);
    let mut start = 0;
    let mut running = Running::default();
    for line in &plan.lines {
        out.extend_from_slice(&plan.arena[start..line.end]);
        start = line.end;
        number(out, &sources[line.source as usize].snapshot, line, &mut running);
        out.push(b'\n');
    }
    true
}

/// Observations in the buckets of the current histogram so far: its lines follow each other.
#[derive(Default)]
struct Running {
    /// Buckets counted.
    buckets: usize,
    count: u64,
}

impl Running {
    /// The count of a bucket and all below it. A lower bucket than the last one begins another histogram.
    #[inline]
    fn up_to(&mut self, bucket: usize, buckets: &[u64]) -> u64 {
        if bucket < self.buckets {
            *self = Self::default();
        }
        let more = buckets.get(self.buckets..=bucket).unwrap_or_default();
        self.count = more.iter().fold(self.count, |count, bucket| count.wrapping_add(*bucket));
        self.buckets = bucket + 1;
        self.count
    }
}

#[inline]
fn number(out: &mut Vec<u8>, snapshot: &Snapshot, line: &Line, running: &mut Running) {
    if line.op == Op::One {
        return out.push(b'1');
    }
    match (snapshot.value(line.series as usize), line.op) {
        (Value::U64(value), _) => push_u64(out, value),
        (Value::I64(value), _) => push_i64(out, value),
        (Value::F64(value), _) => push_f64(out, value),
        (Value::Histogram { buckets, .. }, Op::Bucket(index)) => {
            push_u64(out, running.up_to(index as usize, buckets));
        }
        (Value::Histogram { sum, .. }, Op::Sum) => push_f64(out, sum),
        (Value::Histogram { buckets, .. }, _) => {
            push_u64(out, buckets.iter().fold(0, |count, bucket| count.wrapping_add(*bucket)));
        }
        (Value::States(states), Op::State(bit)) => out.push(if states >> bit.min(63) & 1 == 1 { b'1' } else { b'0' }),
        (Value::States(_) | Value::Info, _) => out.push(b'0'),
    }
}
