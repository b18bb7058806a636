//! A family as a group's table has it, in constants: what it is called, what it counts, and what it takes.
//!
//! Filled by [`crate::Member`], which puts its name together; read in const evaluation and when a region is sized. It
//! registers nothing.

use tachograph_layout::{Aggregation, Kind, bounds_cells, exponential_cells};

use crate::histogram::edges::{DEFAULT, MOST_BOUNDS};
use crate::naming::Broken;
use crate::open::OpenSettings;
use crate::text::strip_suffix;
use crate::{Desc, Needs};

/// A family of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) prefix: &'static str,
    pub(crate) stem: &'static str,
    /// Whether the stem is the whole name, to which nothing is added.
    pub(crate) whole: bool,
    pub(crate) help: &'static [&'static str],
    pub(crate) unit: &'static str,
    pub(crate) aggregation: Option<Aggregation>,
    pub(crate) buckets: Asked,
    pub(crate) kind: Kind,
    /// The unit that its type is shown in, or nothing.
    pub(crate) shown_in: &'static str,
    pub(crate) labels: &'static [&'static str],
    /// How many labels its type says that it has, where it is an open family.
    pub(crate) open: Option<usize>,
    pub(crate) settings: OpenSettings,
    /// Without the budget of an open family.
    pub(crate) series: u32,
    pub(crate) needs: fn(&Desc) -> Needs,
}

/// [`crate::Buckets`] as constants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Nothing,
    Bounds(&'static [f64]),
    Exponential { schema: i32, lower: f64, upper: f64 },
}

impl Declared {
    /// Whether a family of durations is called by the unit that they are shown in.
    pub(crate) const fn check_durations(&self, name: &str) -> Result<(), Broken> {
        let fits = match strip_suffix(name, self.shown_in) {
            Some(rest) => strip_suffix(rest, "_").is_some(),
            None => false,
        };
        if self.shown_in.is_empty() || fits {
            return Ok(());
        }
        Err(
            "counts durations, which are shown in seconds, and does not end in `_seconds`: write `#[metric(unit = \"seconds\")]`",
        )
    }

    /// Whether an info has labels: it says nothing else.
    pub(crate) const fn check_info(&self) -> Result<(), Broken> {
        match (self.kind, self.labels, self.open) {
            (Kind::Info, [], None) => Err("is an info without labels, which tells nothing: \
                                           register it by `Region::info`, with what it tells, or take an `OpenFamily<Info, N>`"),
            _ => Ok(()),
        }
    }

    /// How many series it has, an open family's overflow series included.
    pub(crate) const fn series(&self) -> u32 {
        match (self.open, self.settings.budget) {
            (Some(_), Some(budget)) => self.series.saturating_add(budget),
            _ => self.series,
        }
    }

    /// Cells of one series: of a lane, or lines of the shared plane. None where registration will refuse the buckets.
    pub(crate) const fn cells(&self) -> u32 {
        let (schema, lower, upper) = match (self.kind, self.buckets) {
            (Kind::Info, _) => return 0,
            (Kind::Counter | Kind::Gauge | Kind::StateSet, _) => return 1,
            (Kind::UpDownCounter, _) => return 2,
            (Kind::WatermarkMax | Kind::WatermarkMin, _) => return 4,
            (Kind::HistogramBounds, Asked::Bounds(bounds)) => return bounds_cells(bounds.len() as u32),
            (Kind::HistogramExponential, Asked::Exponential { schema, lower, upper }) => (schema, lower, upper),
            (Kind::HistogramExponential, Asked::Nothing) => DEFAULT,
            _ => return 0,
        };
        match exponential_cells(schema, lower, upper) {
            Some(cells) => cells,
            None => 0,
        }
    }

    /// Checks the buckets against the kind, as far as constants tell: whether own bounds are whole numbers, or whole
    /// nanoseconds, is the handle's to know.
    pub(crate) const fn check_buckets(&self) -> Result<(), Broken> {
        match (self.kind, self.buckets) {
            (Kind::HistogramBounds, Asked::Bounds(bounds)) => {
                if bounds.is_empty() || bounds.len() > MOST_BOUNDS {
                    return Err("has no bounds, or more than 16384");
                }
                let mut index = 0;
                while index < bounds.len() {
                    if !bounds[index].is_finite() {
                        return Err("has a bound that is not finite: +Inf is always there unnamed");
                    }
                    if index > 0 && bounds[index] <= bounds[index - 1] {
                        return Err("has a bound that is not above the one before: bounds ascend");
                    }
                    index += 1;
                }
            }
            (Kind::HistogramBounds, Asked::Nothing) => {
                return Err("is a histogram and names no bounds: \
                            write `#[metric(bounds = [..])]`, or take an exponential kind");
            }
            (Kind::HistogramBounds, Asked::Exponential { .. }) => {
                return Err("is a histogram with own bounds, asked for with exponential buckets: \
                            write `#[metric(bounds = [..])]`, or take an exponential kind");
            }
            (Kind::HistogramExponential, Asked::Bounds(_)) => {
                return Err("is an exponential histogram, asked for with own bounds: \
                            write `#[metric(exponential(schema = 3, range = 1e-6..=100.0))]`, or take a kind with own bounds");
            }
            (Kind::HistogramExponential, Asked::Exponential { schema, lower, upper }) => {
                if exponential_cells(schema, lower, upper).is_none() {
                    return Err("asks for exponential buckets that there are not: schema is 0 to 5, the range goes \
                                upwards between 2^-1022 and 2^1023, and makes at most 16384 buckets");
                }
            }
            (Kind::HistogramExponential, Asked::Nothing) | (_, Asked::Nothing) => {}
            (_, Asked::Bounds(_) | Asked::Exponential { .. }) => {
                return Err("is no histogram and has no buckets: leave them out");
            }
        }
        Ok(())
    }
}
