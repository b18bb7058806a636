//! Delimited protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>).
//!
//! The one format that carries native histograms: an exponential histogram has its native buckets and, beside them, the
//! classic ones of the text formats. Labels are encoded once a plan; a render copies them and encodes numbers.

use prost::encoding::{encode_varint, encoded_len_varint};
use tachograph_layout::exponential_index;

use super::body::Body;
use super::selection::{Selection, Wanted, families};
use crate::distribution::{self, plus};
use crate::label_block;
use crate::plan::{Block, Op, Plan, Source};
use crate::schema::{Family, Kind};
use crate::{Series, Value};

/// The label pairs of all series of a plan, encoded.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    arena: Vec<u8>,
    /// For each series, in the plan's order, how many bytes are its own.
    lengths: Vec<u32>,
    /// For each block where its labels begin and which length is its first.
    blocks: Vec<(usize, usize)>,
}

// A field's number and wire type, as one byte.
const fn varint(field: u8) -> u8 {
    field << 3
}

const fn fixed64(field: u8) -> u8 {
    field << 3 | 1
}

const fn bytes(field: u8) -> u8 {
    field << 3 | 2
}

/// Numbers of the fields that stand in more than one place.
const LABEL: u8 = 1;
const VALUE: u8 = 1;

pub(super) fn render(plan: &Plan, sources: &[Source], selection: &Selection, body: &mut Body<'_>) {
    let labels = plan.labels.get_or_init(|| Labels::of(plan, sources));
    for (planned, family) in families(plan, sources, selection) {
        body.appending(|out| {
            let begin = out.len();
            let mut any = false;
            message(out, |out| {
                head(out, family);
                for index in planned.blocks.clone() {
                    let Some(block) = plan.blocks.get(index) else { continue };
                    let Some(source) = sources.get(block.source) else { continue };
                    let Some(wanted) = Wanted::of(selection, source) else { continue };
                    any |= metrics(block, source, &wanted, labels.of_block(index), out);
                }
            });
            if !any {
                out.truncate(begin);
            }
        });
    }
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
    labels: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> bool {
    let snapshot = &source.snapshot;
    let Some(family) = snapshot.schema.families.get(block.family) else { return false };
    let all = snapshot.schema.series.range(family.series.clone());
    let native = Native::of(family);
    let mut any = false;
    for (series, labels) in all.zip(labels) {
        if !wanted.wants(series.labels) {
            continue;
        }
        let mut gauge = |value: f64| metric(out, labels, bytes(2), |out| double(out, VALUE, value));
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
                created(out, 15, &series);
            }),
            value if family.kind == Kind::Counter => metric(out, labels, bytes(3), |out| {
                double(out, VALUE, as_f64(value));
                created(out, 3, &series);
            }),
            value => gauge(as_f64(value)),
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

/// When a series was created, as a timestamp in this field.
fn created(out: &mut Vec<u8>, field: u8, series: &Series<'_>) {
    const SECOND: u64 = 1_000_000_000;
    let at = series.created_realtime_ns;
    if at > 0 {
        out.push(bytes(field));
        message(out, |out| {
            number(out, varint(1), at / SECOND);
            number(out, varint(2), at % SECOND);
        });
    }
}

impl Labels {
    fn of(plan: &Plan, sources: &[Source]) -> Self {
        let mut labels = Self::default();
        for block in &plan.blocks {
            labels.blocks.push((labels.arena.len(), labels.lengths.len()));
            let schema = sources.get(block.source).map(|source| &source.snapshot.schema);
            let family = schema.and_then(|schema| schema.families.get(block.family));
            let Some((schema, family)) = schema.zip(family) else { continue };
            for series in schema.series.range(family.series.clone()) {
                let before = labels.arena.len();
                for (name, value) in label_block::pairs(series.labels).chain(label_block::pairs(&block.region)) {
                    label(&mut labels.arena, name, &label_block::unescaped(value));
                }
                // Of strings that are none longer than 64 KiB.
                labels.lengths.push((labels.arena.len() - before) as u32);
            }
        }
        labels.arena.shrink_to_fit();
        labels.lengths.shrink_to_fit();
        labels
    }

    /// Those of each series of a block; what follows it has none that are asked for.
    fn of_block(&self, block: usize) -> impl Iterator<Item = &[u8]> {
        let (mut at, first) = self.blocks.get(block).copied().unwrap_or_default();
        self.lengths.get(first..).unwrap_or_default().iter().map(move |length| {
            let labels = self.arena.get(at..at + *length as usize).unwrap_or_default();
            at += labels.len();
            labels
        })
    }
}

fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(bytes(LABEL));
    message(out, |out| {
        text(out, 1, name);
        text(out, 2, value);
    });
}

/// A string field; an empty one is left out.
fn text(out: &mut Vec<u8>, field: u8, text: &str) {
    if !text.is_empty() {
        out.push(bytes(field));
        encode_varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(fixed64(field));
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn number(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    encode_varint(value, out);
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Appends a message behind its length, for which one byte is kept free: most messages are short. Where that was not
/// enough the message is moved up, once.
fn message(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let place = out.len();
    out.push(0);
    write(out);
    let len = out.len() - place - 1;
    let more = encoded_len_varint(len as u64) - 1;
    if more > 0 {
        let end = out.len();
        out.resize(end + more, 0);
        out.copy_within(place + 1..end, place + 1 + more);
    }
    let mut prefix = out.get_mut(place..=place + more).unwrap_or_default();
    encode_varint(len as u64, &mut prefix);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_stands_behind_its_length() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let mut out = b"before".to_vec();
            message(&mut out, |out| out.extend(std::iter::repeat_n(7, len)));
            let mut rest = &out[6..];
            assert_eq!(prost::encoding::decode_varint(&mut rest).expect("a length"), len as u64);
            assert_eq!((rest.len(), rest.iter().all(|byte| *byte == 7)), (len, true));
        }
    }
}
