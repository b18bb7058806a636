//! What a region carries on of its predecessor: the totals of counters and histograms that its process has not taken yet.
//!
//! A region that adopted another holds them in a section of its own, complete before the region has its name and constant
//! from then on, but for one word a series: whether it was taken. So whoever adopts this region finds every total either
//! in a series of it or here, and needs no older file. Written and read by the writer at a start; a reader may skip it.
//! Every length is checked before it is used; nothing is taken that does not end inside the section.

use bytemuck::{Pod, Zeroable};

use crate::{Aggregation, FamilyRecord, Kind, Number, Words, record};

/// A carried family, 80 bytes, then: name, label names, bounds, and its series ([`CarriedSeries`]).
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::CarriedFamily>(), 80);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CarriedFamily {
    /// [`Kind`]: a counter's or a histogram's. 0 ends the list.
    pub kind: u32,
    /// [`Number`].
    pub number: u32,
    /// Cells a series.
    pub cells_per_series: u32,
    /// How many series follow.
    pub series: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Bytes of the label names, joined by commas.
    pub label_names_len: u32,
    /// How many bounds.
    pub bounds_count: u32,
    /// Exponential histogram: schema.
    pub schema: i32,
    /// Exponential histogram: lower end of the range, binary64 bits.
    pub range_lower: u64,
    /// Exponential histogram: upper end of the range, binary64 bits.
    pub range_upper: u64,
    /// What a raw value is multiplied by to be shown, binary64 bits.
    pub scale: u64,
    /// When the family was first registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// Bit 0: the family was open. Others zero.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Words of all of it, this record and the last series' cells included.
    pub words: u64,
}

record!(CarriedFamily, 80, {
    kind @ 0, number @ 4, cells_per_series @ 8, series @ 12, name_len @ 16, label_names_len @ 20, bounds_count @ 24,
    schema @ 28, range_lower @ 32, range_upper @ 40, scale @ 48, created_realtime_ns @ 56, flags @ 64, reserved @ 68,
    words @ 72,
});

/// A carried series, 24 bytes, then: its label block, and one word a cell, all lanes combined.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::CarriedSeries>(), 24);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CarriedSeries {
    /// 1 once a series of the region began with these values; stored after that series was published.
    pub taken: u64,
    /// When the series was first registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// Bytes of the label block.
    pub labels_len: u32,
    /// Zero.
    pub reserved: u32,
}

record!(CarriedSeries, 24, { taken @ 0, created_realtime_ns @ 8, labels_len @ 16, reserved @ 20 });

/// A carried family with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedEntry<'a> {
    /// The record. Its lengths and counts are those of the fields below once it was appended.
    pub record: CarriedFamily,
    /// Metric name.
    pub name: &'a str,
    /// Label names, joined by commas.
    pub label_names: &'a str,
    /// Histogram with own bounds: their words.
    pub bounds: &'a [u64],
    /// The series.
    pub series: Vec<CarriedSet<'a>>,
}

/// A carried series with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedSet<'a> {
    /// The record's first word, counted from the section's; of no meaning to [`CarriedEntry::append_to`].
    pub at: u64,
    /// The record.
    pub record: CarriedSeries,
    /// The label block.
    pub labels: &'a str,
    /// The cells, all lanes combined.
    pub cells: &'a [u64],
}

/// Why carried families can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("carried families: {what} at word {at}")]
pub struct CarriedError {
    /// What is wrong.
    pub what: &'static str,
    /// First word of the family that it is wrong with.
    pub at: u64,
}

impl CarriedEntry<'_> {
    /// Whether series of this kind are carried on at all: those whose total outlives the process.
    ///
    /// ```
    /// use tachograph_layout::{CarriedEntry, Kind};
    /// assert!(CarriedEntry::is_carried(Kind::Counter) && !CarriedEntry::is_carried(Kind::UpDownCounter));
    /// ```
    #[must_use]
    pub const fn is_carried(kind: Kind) -> bool {
        matches!(kind, Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential)
    }

    /// Appends the family as it stands in the section.
    ///
    /// ```
    /// use bytemuck::Zeroable;
    /// use tachograph_layout::{CarriedEntry, CarriedFamily, CarriedSeries, CarriedSet, Kind, Number, carried_entries};
    /// let (kind, number) = (Kind::Counter.to_wire(), Number::U64.to_wire());
    /// let entry = CarriedEntry {
    ///     record: CarriedFamily { kind, number, cells_per_series: 1, ..CarriedFamily::zeroed() },
    ///     name: "app_served_total",
    ///     label_names: "",
    ///     bounds: &[],
    ///     series: vec![CarriedSet { at: 0, record: CarriedSeries::zeroed(), labels: "", cells: &[77] }],
    /// };
    /// let mut words = Vec::new();
    /// entry.append_to(&mut words);
    /// let read = carried_entries(&words).next().unwrap()?;
    /// assert_eq!((read.name, read.series[0].cells), ("app_served_total", &[77][..]));
    /// # Ok::<(), tachograph_layout::CarriedError>(())
    /// ```
    pub fn append_to(&self, words: &mut Vec<u64>) {
        let start = words.len();
        let record = CarriedFamily {
            series: self.series.len() as u32,
            name_len: self.name.len() as u32,
            label_names_len: self.label_names.len() as u32,
            bounds_count: self.bounds.len() as u32,
            ..self.record
        };
        words.extend_from_slice(record.as_words());
        append_text(words, self.name);
        append_text(words, self.label_names);
        words.extend_from_slice(self.bounds);
        for set in &self.series {
            let record = CarriedSeries { labels_len: set.labels.len() as u32, ..set.record };
            words.extend_from_slice(record.as_words());
            append_text(words, set.labels);
            words.extend_from_slice(set.cells);
        }
        let all = (words.len() - start) as u64;
        if let Some(word) = words.get_mut(start + std::mem::offset_of!(CarriedFamily, words) / 8) {
            *word = all;
        }
    }
}

fn append_text(words: &mut Vec<u64>, text: &str) {
    words.extend(text.as_bytes().chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        u64::from_le_bytes(word)
    }));
}

/// The carried families in a copy of the section. Ends at the first that is not whole, with the error.
///
/// ```
/// assert_eq!(tachograph_layout::carried_entries(&[0; 10]).count(), 0);
/// assert!(tachograph_layout::carried_entries(&[u64::MAX; 10]).next().unwrap().is_err());
/// ```
pub fn carried_entries(words: &[u64]) -> impl Iterator<Item = Result<CarriedEntry<'_>, CarriedError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = words.get(at..)?;
        let record = rest.get(..CarriedFamily::WORDS).and_then(CarriedFamily::from_words)?;
        if record.kind == 0 {
            return None;
        }
        let start = at;
        let read = entry(rest, record, start as u64);
        at = match read {
            Ok(_) => start + record.words as usize,
            Err(_) => words.len(),
        };
        Some(read.map_err(|what| CarriedError { what, at: start as u64 }))
    })
}

fn entry(rest: &[u64], record: CarriedFamily, start: u64) -> Result<CarriedEntry<'_>, &'static str> {
    let words = usize::try_from(record.words).ok().and_then(|words| rest.get(..words)).ok_or("a length")?;
    let mut cursor = Cursor { rest: words.get(CarriedFamily::WORDS..).ok_or("a length")?, of: words.len() };
    let family = FamilyRecord {
        kind: record.kind,
        number: record.number,
        combine: Kind::from_wire(record.kind).ok_or("a kind")?.combine().to_wire(),
        aggregation: Aggregation::Sum.to_wire(),
        bounds_count: record.bounds_count,
        schema: record.schema,
        range_lower: record.range_lower,
        range_upper: record.range_upper,
        ..FamilyRecord::default()
    };
    let (kind, number, _) = family.meaning().map_err(|_| "a kind or number")?;
    if !CarriedEntry::is_carried(kind) || number == Number::I64 {
        return Err("a kind or number");
    }
    if family.expected_cells() != Ok(u64::from(record.cells_per_series)) {
        return Err("a number of cells");
    }
    let name = cursor.text(record.name_len).ok_or("a name")?;
    let label_names = cursor.text(record.label_names_len).ok_or("label names")?;
    let bounds = cursor.words(record.bounds_count as usize).ok_or("bounds")?;
    // No room is made by what the record says: each series takes words that are there.
    let mut series = Vec::new();
    for _ in 0..record.series {
        let at = start + cursor.at() as u64;
        let record_words = cursor.words(CarriedSeries::WORDS).and_then(CarriedSeries::from_words);
        let set = record_words.ok_or("a series")?;
        let labels = cursor.text(set.labels_len).ok_or("labels")?;
        let cells = cursor.words(record.cells_per_series as usize).ok_or("cells")?;
        series.push(CarriedSet { at, record: set, labels, cells });
    }
    if !cursor.rest.is_empty() {
        return Err("a length");
    }
    Ok(CarriedEntry { record, name, label_names, bounds, series })
}

/// What of a family's words was not read yet.
struct Cursor<'a> {
    rest: &'a [u64],
    /// Words of the whole family.
    of: usize,
}

impl<'a> Cursor<'a> {
    const fn at(&self) -> usize {
        self.of - self.rest.len()
    }

    fn words(&mut self, count: usize) -> Option<&'a [u64]> {
        let (words, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(words)
    }

    fn text(&mut self, len: u32) -> Option<&'a str> {
        let words = self.words((len as usize).div_ceil(8))?;
        std::str::from_utf8(bytemuck::cast_slice(words).get(..len as usize)?).ok()
    }
}
