//! What makes a registered family the same family: compared when a name is registered again, shown when it clashes.
//!
//! Made of a request, kept by the registry. It holds copies: no caller's memory is kept alive by it.

use tachograph_layout::{Aggregation, Kind, Number};

use crate::open::OpenRules;
use crate::shape::Shape;

/// Everything that must be the same for a name to be the same family.
#[derive(Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    pub(super) number: Number,
    pub(super) aggregation: Aggregation,
    pub(super) unit: String,
    pub(super) help: String,
    pub(super) shape: Shape,
    pub(super) label_names: Vec<String>,
    pub(super) series: u64,
    /// Hash of all label values, in order.
    pub(super) values: u64,
    pub(super) open: Option<OpenRules>,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = match self.number {
            Number::U64 => "u64",
            Number::I64 => "i64",
            Number::F64 => "f64",
        };
        write!(f, "{} of {number}", self.kind.as_str())?;
        if !self.unit.is_empty() {
            write!(f, " in {}", self.unit)?;
        }
        if !self.label_names.is_empty() {
            write!(f, " by {} ({} series)", self.label_names.join(", "), self.series)?;
        }
        if let Some(rules) = &self.open {
            write!(f, ", {rules}")?;
        }
        write!(f, "{}, merged by {:?}, HELP {:?}", self.shape, self.aggregation, self.help)
    }
}
