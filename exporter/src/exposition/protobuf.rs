//! Delimited protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>).
//!
//! The one format that carries native histograms: an exponential histogram has its native buckets and, beside them, the
//! classic ones of the text formats. What never changes is encoded once a plan; a render copies it and encodes numbers.

mod encoded;
mod wire;

use prost::encoding::encode_varint;
use tachograph_layout::exponential_index;

use super::body::{Body, Text};
use super::selection::{Selection, Wanted, families};
use crate::Value;
use crate::distribution::{self, plus};
use crate::plan::{Block, Op, Plan, Source};
use crate::schema::{Family, Kind};

use encoded::{Scalars, number_field};
use wire::{VALUE, bytes, double, label, message, number, text, varint, zigzag};

pub(crate) use encoded::Encoded;

/// A block of a plan, with its index, and which of its series are wanted.
type Part<'a> = (usize, &'a Block, &'a Source, Wanted<'a>);

pub(super) fn render(plan: &Plan, sources: &[Source], selection: &Selection, body: &mut Body<'_>) {
    let encoded = plan.encoded.get_or_init(|| Encoded::of(plan, sources));
    for (planned, family) in families(plan, sources, selection) {
        let parts = planned.blocks.clone().filter_map(|index| {
            let block = plan.blocks.get(index)?;
            let source = sources.get(block.source)?;
            Some((index, block, source, Wanted::of(selection, source)?))
        });
        let parts: Vec<Part<'_>> = parts.collect();
        if number_field(family.kind).is_some() && parts.iter().all(|(.., wanted)| wanted.by_labels().is_none()) {
            scalars(encoded, family, &parts, body);
        } else {
            any_kind(encoded, family, &parts, body);
        }
    }
}

/// A family of single numbers: its length is known before it is written.
fn scalars(encoded: &Encoded, family: &Family, parts: &[Part<'_>], body: &mut Body<'_>) {
    let all: Vec<Scalars<'_>> =
        parts.iter().filter_map(|(index, block, source, _)| Scalars::of(encoded, *index, block, source)).collect();
    let len: usize = all.iter().map(Scalars::len).sum();
    if len > 0 {
        body.appending(|out| {
            head(out, family);
            let head = out.len();
            encode_varint((head + len) as u64, out);
            out.rotate_left(head);
        });
        all.iter().for_each(|scalars| scalars.write(body));
    }
}

/// A family that must be whole before its length is known.
fn any_kind(encoded: &Encoded, family: &Family, parts: &[Part<'_>], body: &mut Body<'_>) {
    body.appending(|out| {
        let begin = out.len();
        let mut any = false;
        message(out, |out| {
            head(out, family);
            for (index, block, source, wanted) in parts {
                any |= metrics(block, source, wanted, encoded.of_block(*index), out);
            }
        });
        if !any {
            out.truncate(begin);
        }
    });
}

/// Name, HELP, type and unit of a family.
fn head(out: &mut Vec<u8>, family: &Family) {
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::HistogramBounds | Kind::HistogramExponential => 4,
        Kind::Gauge | Kind::UpDownCounter | Kind::Info | Kind::StateSet | Kind::WatermarkMax | Kind::WatermarkMin => 1,
    };
    text(out, 1, &family.name);
    text(out, 2, &family.help);
    out.extend_from_slice(&[varint(3), kind]);
    text(out, 5, &family.unit);
}

/// Appends the metrics of one block; whether there were any.
fn metrics<'a>(
    block: &Block,
    source: &Source,
    wanted: &Wanted<'_>,
    labels: impl Iterator<Item = Text<'a>>,
    out: &mut Vec<u8>,
) -> bool {
    let snapshot = &source.snapshot;
    let Some(family) = snapshot.schema.families.get(block.family) else { return false };
    let all = snapshot.schema.series.range(family.series.clone());
    let native = Native::of(family);
    let mut any = false;
    for (series, labels) in all.zip(labels) {
        let labels = labels.from.get(..labels.len).unwrap_or_default();
        if !wanted.wants(series.labels) {
            continue;
        }
        match snapshot.value_at(family, series.cell) {
            Value::States(states) => {
                for (op, state) in block.ops.iter().zip(&family.states) {
                    let Op::State(bit) = op else { continue };
                    let on = states >> (*bit).min(63) & 1 == 1;
                    out.push(bytes(4));
                    message(out, |out| {
                        out.extend_from_slice(labels);
                        label(out, &family.name, state);
                        out.push(bytes(2));
                        message(out, |out| double(out, VALUE, f64::from(u8::from(on))));
                    });
                }
            }
            Value::Histogram { buckets, sum } => metric(out, labels, bytes(7), |out| {
                histogram(out, family, native.as_ref(), &block.ops, buckets, sum);
                created(out, 15, series.created_realtime_ns);
            }),
            value => {
                // What was encoded goes up to its number.
                out.extend_from_slice(labels);
                out.extend_from_slice(&as_f64(value).to_bits().to_le_bytes());
                if family.kind == Kind::Counter {
                    created(out, 3, series.created_realtime_ns);
                }
            }
        }
        any = true;
    }
    any
}

/// A scalar as the only number that the format knows.
pub(super) const fn as_f64(value: Value<'_>) -> f64 {
    match value {
        Value::U64(value) => value as f64,
        Value::I64(value) => value as f64,
        Value::F64(value) => value,
        Value::Info | Value::States(_) | Value::Histogram { .. } => 1.0,
    }
}

/// One metric: its labels, then a value in the field for its type.
fn metric(out: &mut Vec<u8>, labels: &[u8], field: u8, value: impl FnOnce(&mut Vec<u8>)) {
    out.push(bytes(4));
    message(out, |out| {
        out.extend_from_slice(labels);
        out.push(field);
        message(out, value);
    });
}

/// What is the same for all series of a native histogram.
struct Native {
    /// Number of the range's first bucket, as Prometheus counts them.
    first: i32,
    schema: i32,
    zero_threshold: f64,
}

impl Native {
    /// Number of the bucket that ends at +Inf: the one after the last that a binary64 can be in.
    const fn infinite(&self) -> i32 {
        (1024 << self.schema) + 1
    }

    fn of(family: &Family) -> Option<Self> {
        let (Kind::HistogramExponential, [zero_threshold, first, ..]) = (family.kind, family.bounds.as_slice()) else {
            return None;
        };
        let (schema, zero_threshold) = (family.schema, *zero_threshold);
        Some(Self { first: exponential_index(schema, *first), schema, zero_threshold })
    }
}

fn histogram(out: &mut Vec<u8>, family: &Family, native: Option<&Native>, ops: &[Op], buckets: &[u64], sum: f64) {
    let count = distribution::count(buckets);
    number(out, varint(1), count);
    double(out, 2, sum);
    let (mut below, mut counted) = (0_u64, 0);
    for op in ops {
        let (upper, end) = match op {
            Op::Bucket(index) => (family.bounds.get(*index as usize).copied(), *index as usize + 1),
            Op::Infinite => (Some(f64::INFINITY), buckets.len()),
            _ => continue,
        };
        let more = buckets.get(counted..end).unwrap_or_default();
        below = more.iter().fold(below, |below, bucket| plus(below, *bucket));
        counted = end;
        let Some(upper) = upper else { continue };
        out.push(bytes(3));
        message(out, |out| {
            number(out, varint(1), below);
            double(out, 2, upper);
        });
    }
    let (Some(native), [zero, range @ .., overflow]) = (native, buckets) else { return };
    number(out, varint(5), zigzag(i64::from(native.schema)));
    double(out, 6, native.zero_threshold);
    let zero = plus(0, *zero);
    number(out, varint(7), zero);
    // Each bucket as what it adds to the count, so that all of them add up to it.
    let numbered = || {
        let all = (native.first..).zip(range).chain([(native.infinite(), overflow)]);
        let added = all.scan(zero, |count, (index, bucket)| {
            let before = std::mem::replace(count, plus(*count, *bucket));
            Some((index, *count - before))
        });
        added.filter(|(_, bucket)| *bucket > 0)
    };
    spans(out, numbered().map(|(index, _)| index));
    // Each bucket as its difference to the one before.
    let mut before = 0_u64;
    for (_, count) in numbered() {
        number(out, varint(13), zigzag(count.wrapping_sub(before).cast_signed()));
        before = count;
    }
}

/// The buckets that hold something, as runs of neighbours. Without any there is one run of none, by which a reader knows
/// the histogram for a native one.
fn spans(out: &mut Vec<u8>, indexes: impl Iterator<Item = i32>) {
    let mut run: Option<(i32, i32)> = None;
    let mut end = 0;
    let mut write = |(first, next): (i32, i32)| {
        out.push(bytes(12));
        message(out, |out| {
            number(out, varint(1), zigzag(i64::from(first.wrapping_sub(end))));
            number(out, varint(2), u64::from(next.abs_diff(first)));
        });
        end = next;
    };
    for index in indexes {
        run = match run {
            Some((first, next)) if next == index => Some((first, index + 1)),
            finished => {
                finished.into_iter().for_each(&mut write);
                Some((index, index + 1))
            }
        };
    }
    write(run.unwrap_or((0, 0)));
}

/// When a series was created, nanoseconds since the Unix epoch, as a timestamp in this field.
fn created(out: &mut Vec<u8>, field: u8, at: u64) {
    const SECOND: u64 = 1_000_000_000;
    if at > 0 {
        out.push(bytes(field));
        message(out, |out| {
            number(out, varint(1), at / SECOND);
            number(out, varint(2), at % SECOND);
        });
    }
}
