//! The shape of a family's series: how many cells each owns, and what its record tells a reader of them.
//!
//! Made from a description by the kind's handle before anything is registered; compared when a name is registered
//! again; written by `register.rs`. It knows no region.

use crate::Desc;

/// What a description makes of a family's series.
#[allow(unnameable_types, reason = "sealed: stands in a method of the sealed trait behind `Metric`")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// Cells a series: of a lane, or lines of the shared plane.
    pub(crate) cells: u32,
    /// What a raw value is multiplied by to be shown.
    pub(crate) scale: f64,
    /// Histogram with own bounds: upper bounds, as they stand in the bounds section.
    pub(crate) bounds: Vec<u64>,
    /// Exponential histogram: schema, and the range's ends as shown.
    pub(crate) exponential: Option<(i32, f64, f64)>,
    /// Histogram: the upper edge of every bucket but the last, as words that compare as the values do. This is what
    /// recording searches; it follows from the fields above.
    pub(crate) edges: Vec<u64>,
    /// Histogram: the same edges as they are shown.
    pub(crate) uppers: Vec<f64>,
    /// State set: the names of its states.
    pub(crate) states: Vec<&'static str>,
}

impl Shape {
    /// A series of so many cells, shown as they are, of a kind that has no buckets.
    pub(crate) fn plain(desc: &Desc, cells: u32) -> Result<Self, String> {
        if desc.buckets.is_some() {
            return Err("is no histogram and has no buckets: leave `buckets` out".to_owned());
        }
        Ok(Self { cells, scale: 1.0, ..Self::default() })
    }

    /// The state names as they are stored: each ended by a zero byte.
    pub(crate) fn states_text(&self) -> String {
        self.states.iter().flat_map(|state| [*state, "\0"]).collect()
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((schema, lower, upper)) = self.exponential {
            write!(f, ", schema {schema} over {lower:?} to {upper:?}")?;
        } else if !self.edges.is_empty() {
            write!(f, ", {} bounds", self.bounds.len())?;
        }
        if !self.states.is_empty() {
            write!(f, ", states {}", self.states.join(" "))?;
        }
        Ok(())
    }
}
