//! The words of the text formats: HELP, TYPE and UNIT of a family, and what stands around the labels of each line.
//!
//! Called when a plan is made. A sample line has the same words in text 0.0.4 and in OpenMetrics, so that a series keeps
//! its name when a scraper changes the format that it asks for.

use crate::exposition::body::{AROUND, Text};
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

/// What stands around the labels of a series in one of its lines, as places in [`Words`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// `name{`; of a series without labels all up to its number.
    head: Place,
    /// `,tacho_region="x",le="1"} `, or `} ` where no label is added.
    tail: Place,
}

/// Where a text begins, and how long it is.
#[derive(Debug, Clone, Copy)]
struct Place(usize, u32);

/// The texts of all lines, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Words {
    text: Vec<u8>,
    /// Where the last text began.
    last: usize,
}

impl Words {
    fn put(&mut self, text: &str) -> Place {
        // Lines of one family follow each other, and many begin alike.
        if self.text.get(self.last..).is_none_or(|last| last != text.as_bytes()) {
            self.last = self.text.len();
            self.text.extend_from_slice(text.as_bytes());
        }
        // Of names, none of which is nearly that long.
        Place(self.last, text.len() as u32)
    }

    /// Puts behind the last text what a copy in blocks reads.
    pub(super) fn finish(&mut self) {
        self.text.resize(self.text.len() + AROUND, 0);
        self.text.shrink_to_fit();
    }

    #[inline]
    fn get(&self, Place(from, len): Place) -> Text<'_> {
        Text { from: &self.text[from..], len: len as usize }
    }

    /// Head and tail of a line.
    #[inline]
    pub(crate) fn of(&self, line: Line) -> (Text<'_>, Text<'_>) {
        (self.get(line.head), self.get(line.tail))
    }
}

/// The lines that each series of a family has.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    labelled: Vec<Line>,
    bare: Vec<Line>,
}

impl Lines {
    fn new(words: &mut Words, name: &str, parts: &[Part], region: &str, (labelled, bare): (bool, bool)) -> Self {
        let added = |part: &Part| {
            let blocks = [region, &part.label].into_iter().filter(|block| !block.is_empty());
            blocks.collect::<Vec<_>>().join(",")
        };
        let mut lines = Self::default();
        if labelled {
            let heads: Vec<Place> = parts.iter().map(|part| words.put(&format!("{name}{}{{", part.suffix))).collect();
            lines.labelled.extend(parts.iter().zip(heads).map(|(part, head)| {
                let added = added(part);
                let comma = if added.is_empty() { "" } else { "," };
                Line { head, tail: words.put(&format!("{comma}{added}}} ")) }
            }));
        }
        if bare {
            lines.bare.extend(parts.iter().map(|part| {
                let added = added(part);
                let (open, close) = if added.is_empty() { ("", "") } else { ("{", "}") };
                let head = words.put(&format!("{name}{}{open}{added}{close} ", part.suffix));
                Line { head, tail: Place(head.0, 0) }
            }));
        }
        lines
    }

    /// Those of all series; none where some have labels and some have not.
    pub(crate) fn all(&self) -> &[Line] {
        match (&*self.labelled, &*self.bare) {
            ([], lines) | (lines, []) => lines,
            _ => &[],
        }
    }

    /// Those of a series whose labels are so long.
    #[inline]
    pub(crate) fn of(&self, labels: usize) -> &[Line] {
        if labels > 0 { &self.labelled } else { &self.bare }
    }
}

/// What the lines of each series of a family show; their words; and those of the line that says when it was created, if its
/// kind has one. `region` is the label that is added. `with` says whether some series has labels, and whether some has none.
pub(super) fn of(words: &mut Words, family: &Family, region: &str, with: (bool, bool)) -> (Vec<Op>, Lines, Lines) {
    let parts = parts(family);
    let lines = Lines::new(words, &family.name, &parts, region, with);
    let counts = matches!(family.kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential);
    let created = if counts {
        let part = Part { suffix: "_created", ..Part::plain(Op::One) };
        Lines::new(words, openmetrics_name(family), &[part], region, with)
    } else {
        Lines::default()
    };
    (parts.into_iter().map(|part| part.op).collect(), lines, created)
}

/// What tells a line from the others of its series.
struct Part {
    /// What stands behind the family's name.
    suffix: &'static str,
    /// The label that is added.
    label: String,
    op: Op,
}

impl Part {
    const fn plain(op: Op) -> Self {
        Self { suffix: "", label: String::new(), op }
    }
}

/// The lines of one series.
fn parts(family: &Family) -> Vec<Part> {
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
