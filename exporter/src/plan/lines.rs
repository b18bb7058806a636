//! The words of the text formats: HELP, TYPE and UNIT of a family, and what stands before the number of each line.
//!
//! Called when a plan is made. A sample line has the same prefix in text 0.0.4 and in OpenMetrics, so that a series keeps
//! its name when a scraper changes the format that it asks for.

use crate::label_block::escaped;
use crate::number;
use crate::schema::{Family, Kind};

/// What a line shows of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// The value as it is.
    Scalar,
    /// The count of bucket `n` and of all below it. Lines of one histogram follow each other, buckets upwards.
    Bucket(u32),
    /// The count of all buckets, as the bucket that ends at +Inf.
    Infinite,
    /// A histogram's sum.
    Sum,
    /// The count of all buckets.
    Count,
    /// 1 where state `n` is on, else 0.
    State(u32),
    /// 1.
    One,
}

/// One of the lines of a series.
pub(super) struct Part {
    /// What stands behind the family's name.
    pub(super) suffix: &'static str,
    /// The label that is added.
    pub(super) label: String,
    pub(super) op: Op,
}

impl Part {
    const fn plain(op: Op) -> Self {
        Self { suffix: "", label: String::new(), op }
    }
}

/// The lines of one series.
pub(super) fn parts(family: &Family) -> Vec<Part> {
    match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => {
            let mut parts: Vec<_> = (0..)
                .zip(&family.bounds)
                .filter(|(index, bound)| is_classic(family, *index, **bound))
                .map(|(index, bound)| Part { suffix: "_bucket", label: le(*bound), op: Op::Bucket(index) })
                .collect();
            parts.push(Part { suffix: "_bucket", label: le(f64::INFINITY), op: Op::Infinite });
            parts.push(Part { suffix: "_sum", ..Part::plain(Op::Sum) });
            parts.push(Part { suffix: "_count", ..Part::plain(Op::Count) });
            parts
        }
        Kind::StateSet => (0..)
            .zip(&family.states)
            .map(|(bit, state)| {
                let label = format!("{}=\"{}\"", family.name, escaped(state));
                Part { suffix: "", label, op: Op::State(bit) }
            })
            .collect(),
        Kind::Info => vec![Part::plain(Op::One)],
        Kind::Counter | Kind::Gauge | Kind::UpDownCounter | Kind::WatermarkMax | Kind::WatermarkMin => {
            vec![Part::plain(Op::Scalar)]
        }
    }
}

/// Whether a bucket is a line of its own in formats that know cumulative buckets only. Of an exponential histogram these
/// are the zero bucket, those that end at a power of two, and the last: counts stay exact, and a series has a line a
/// doubling, not 2^schema of them. Which lines there are never depends on what was counted.
fn is_classic(family: &Family, index: u32, bound: f64) -> bool {
    let power_of_two = bound.to_bits() & ((1 << (f64::MANTISSA_DIGITS - 1)) - 1) == 0;
    family.kind != Kind::HistogramExponential || index == 0 || power_of_two || index as usize + 1 == family.bounds.len()
}

/// `name_suffix{blocks} `, the blocks that are not empty joined by commas.
pub(super) fn prefix(arena: &mut Vec<u8>, name: &str, suffix: &str, blocks: [&str; 3]) {
    arena.extend_from_slice(name.as_bytes());
    arena.extend_from_slice(suffix.as_bytes());
    let mut open = false;
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        arena.push(if open { b',' } else { b'{' });
        arena.extend_from_slice(block.as_bytes());
        open = true;
    }
    if open {
        arena.push(b'}');
    }
    arena.push(b' ');
}

/// What OpenMetrics calls a family: without the suffix that its samples have, `_total` or `_info`.
pub(crate) fn openmetrics_name(family: &Family) -> &str {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        _ => return &family.name,
    };
    family.name.strip_suffix(suffix).filter(|base| !base.is_empty()).unwrap_or(&family.name)
}

/// HELP and TYPE of text 0.0.4. A family without help gets no HELP line.
pub(super) fn text_head(family: &Family) -> Vec<u8> {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::HistogramBounds | Kind::HistogramExponential => "histogram",
        Kind::Gauge | Kind::UpDownCounter | Kind::Info | Kind::StateSet | Kind::WatermarkMax | Kind::WatermarkMin => {
            "gauge"
        }
    };
    let mut head = Vec::new();
    if !family.help.is_empty() {
        line(&mut head, "HELP", &family.name, &help(&family.help));
    }
    line(&mut head, "TYPE", &family.name, kind);
    head
}

/// TYPE, UNIT and HELP of OpenMetrics 1.0.
pub(super) fn openmetrics_head(family: &Family) -> Vec<u8> {
    let name = openmetrics_name(family);
    // Its samples must have the suffix, which a writer sees to; a name without it comes from a damaged region.
    let suffixed = name.len() < family.name.len();
    let kind = match family.kind {
        Kind::Counter if suffixed => "counter",
        Kind::Info if suffixed => "info",
        Kind::Counter | Kind::Info => "unknown",
        Kind::HistogramBounds | Kind::HistogramExponential => "histogram",
        Kind::StateSet => "stateset",
        Kind::Gauge | Kind::UpDownCounter | Kind::WatermarkMax | Kind::WatermarkMin => "gauge",
    };
    let mut head = Vec::new();
    line(&mut head, "TYPE", name, kind);
    let unit = &family.unit;
    let ends_in_it = name.strip_suffix(unit.as_str()).is_some_and(|rest| rest.ends_with('_'));
    if !unit.is_empty() && ends_in_it && !matches!(family.kind, Kind::Info | Kind::StateSet) {
        line(&mut head, "UNIT", name, unit);
    }
    if !family.help.is_empty() {
        line(&mut head, "HELP", name, &help(&family.help).replace('"', "\\\""));
    }
    head
}

fn line(head: &mut Vec<u8>, word: &str, name: &str, text: &str) {
    for piece in ["# ", word, " ", name, " ", text, "\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
}

/// HELP as both text formats escape it.
fn help(text: &str) -> String {
    // For a carriage return no escape exists, and a scraper may take it for the end of the line.
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', " ")
}

fn le(bound: f64) -> String {
    let mut text = b"le=\"".to_vec();
    number::push_le(&mut text, bound);
    text.push(b'"');
    String::from_utf8_lossy(&text).into_owned()
}
