//! The structure of a region, owned and plain: its families, their series, and what was left out as damaged.
//!
//! Every string here was checked: names follow Prometheus' grammar, label blocks are properly escaped and name the
//! family's labels in order, all text is UTF-8. The parser makes it from a region; renderers read it.

use std::ops::Range;

pub use tachograph_layout::{Aggregation, Kind, Number};

use crate::series::SeriesList;

/// The structure of a region. Equal structures are shared: a [`crate::RegionReader`] gives out the same `Arc` until
/// its region's structure changes.
///
/// ```
/// let empty = tachograph_exporter::Schema::default();
/// assert!(empty.families.is_empty() && empty.series.is_empty() && empty.damaged.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// Families in the order of their registration.
    pub families: Vec<Family>,
    /// Series, grouped by family, in slot order within each.
    pub series: SeriesList,
    /// Families and series that were left out, the first [`Schema::MAX_DAMAGED`] of them.
    pub damaged: Vec<Damage>,
    /// How many more were left out than `damaged` lists.
    pub damaged_more: u64,
}

impl Schema {
    /// Most entries of [`Schema::damaged`].
    pub const MAX_DAMAGED: usize = 1_000;

    /// How many families and series were left out.
    #[must_use]
    pub const fn damaged_count(&self) -> u64 {
        self.damaged.len() as u64 + self.damaged_more
    }

    /// This schema without the series that `lost` marks, by index.
    pub(crate) fn without(&self, lost: &[bool]) -> Self {
        let mut left = self.headless();
        for family in &mut left.families {
            let start = left.series.len();
            for index in family.series.clone() {
                if let (Some(series), Some(false)) = (self.series.get(index), lost.get(index)) {
                    left.series.push(series);
                }
            }
            family.series = start..left.series.len();
        }
        left
    }

    /// This schema without any of its series; the families still say where theirs stood.
    fn headless(&self) -> Self {
        let Self { families, damaged, damaged_more, .. } = self;
        Self {
            families: families.clone(),
            series: SeriesList::default(),
            damaged: damaged.clone(),
            damaged_more: *damaged_more,
        }
    }

    /// Puts one more on the list of what was left out, or counts it where the list is full.
    pub(crate) fn damage(&mut self, place: impl Into<String>, what: impl std::fmt::Display) {
        if self.damaged.len() < Self::MAX_DAMAGED {
            self.damaged.push(Damage { place: place.into(), what: what.to_string() });
        } else {
            self.damaged_more = self.damaged_more.saturating_add(1);
        }
    }
}

/// A metric name with its kind, help, unit and label names.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Metric name as text 0.0.4 shows it: a counter's ends in `_total`, the unit is included.
    pub name: String,
    /// HELP, not escaped.
    pub help: String,
    /// Unit: the suffix of the name (before `_total`); empty where none.
    pub unit: String,
    /// Label names, each once, in the order of the label blocks.
    pub label_names: Vec<String>,
    /// What it measures.
    pub kind: Kind,
    /// What the bits of its cells are.
    pub number: Number,
    /// How values of several regions become one.
    pub aggregation: Aggregation,
    /// What raw values are multiplied by to be shown. Already applied to `bounds` and to what
    /// [`crate::Snapshot::value`] gives: renderers need not look at it.
    pub scale: f64,
    /// Histogram: upper bounds as shown, ascending, without +Inf: one less than there are buckets. For an exponential
    /// histogram these are the zero bucket's threshold and the upper bounds of the range's buckets.
    pub bounds: Vec<f64>,
    /// Exponential histogram: buckets grow by 2^(2^-schema).
    pub schema: i32,
    /// Exponential histogram: the range that its buckets cover, as shown: the zero bucket is at and below its lower end,
    /// the last bucket holds its upper end.
    pub range: (f64, f64),
    /// State set: the names of its states, not escaped; bit `n` of the value is the n-th.
    pub states: Vec<String>,
    /// Label sets come and go.
    pub open: bool,
    /// When it was registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// Its series, as a range of [`Schema::series`].
    pub series: Range<usize>,
}

impl Family {
    /// A family without labels, unit, bounds or series, for schemas that come from no region.
    ///
    /// ```
    /// use tachograph_exporter::{Family, Kind, Number};
    /// let family = Family::new("app_served_total", "Requests served", Kind::Counter, Number::U64);
    /// assert_eq!(family.shown(3.0), 3.0);
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, help: impl Into<String>, kind: Kind, number: Number) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            unit: String::new(),
            label_names: Vec::new(),
            kind,
            number,
            aggregation: Aggregation::Sum,
            scale: 1.0,
            bounds: Vec::new(),
            schema: 0,
            range: (0.0, 0.0),
            states: Vec::new(),
            open: false,
            created_realtime_ns: 0,
            series: 0..0,
        }
    }

    /// A raw value as it is shown: scaled. A scale like 1e-9 divides by 1e9, so that 5 ms in nanoseconds shows as
    /// 0.005 and not as its neighbour.
    ///
    /// ```
    /// use tachograph_exporter::{Family, Kind, Number};
    /// let mut family = Family::new("app_seconds", "Time", Kind::HistogramBounds, Number::U64);
    /// family.scale = 1e-9;
    /// assert_eq!(family.shown(3_000_000.0), 0.003);
    /// ```
    #[must_use]
    pub fn shown(&self, raw: f64) -> f64 {
        if self.scale == 1.0 {
            return raw;
        }
        let inverse = self.scale.recip().round();
        if inverse.is_normal() && inverse.recip() == self.scale { raw / inverse } else { raw * self.scale }
    }
}

/// A family or series that was left out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// Where: `family 3 (app_x_total)`, `series 17`, ...
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}
