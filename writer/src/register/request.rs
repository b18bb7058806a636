//! What a registration asks for: checked against the rules of names and labels, and measured.
//!
//! Made by `Region` and the kinds, taken by the registry. Nothing here looks at a region or stores into one.

use tachograph_layout::{Aggregation, Combine, Kind, Number};

use super::hash::{FNV_START, fnv1a};
use super::identity::Identity;
use crate::open::Open;
use crate::shape::Shape;
use crate::{Desc, RegisterError, naming};

/// What a registration asks for, whatever the handle's type.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) desc: &'a Desc,
    pub(crate) kind: Kind,
    pub(crate) number: Number,
    pub(crate) aggregation: Aggregation,
    pub(crate) shape: Shape,
    pub(crate) label_names: Vec<&'a str>,
    /// Values of every label set, in index order; one empty set where there are no labels.
    pub(crate) label_sets: Vec<Vec<&'a str>>,
    /// Label sets that come and go, instead of `label_sets`.
    pub(crate) open: Option<Open>,
}

impl Request<'_> {
    pub(super) fn check(&self) -> Result<(), RegisterError> {
        let name = || self.desc.name.clone();
        naming::check(self.desc, self.kind).map_err(|rule| RegisterError::Name { name: name(), rule })?;
        if self.kind.combine() == Combine::Sum && self.aggregation != Aggregation::Sum {
            let rule = format!("is a {}: regions are merged by adding up, leave `aggregation` out", self.kind.as_str());
            return Err(RegisterError::Shape { name: name(), rule });
        }
        let label_error = |label: &str, rule| RegisterError::Label { name: name(), label: label.to_owned(), rule };
        for (index, label) in self.label_names.iter().enumerate() {
            naming::check_label(label).map_err(|rule| label_error(label, rule))?;
            if self.kind == Kind::StateSet && *label == self.desc.name {
                return Err(label_error(label, "is the state set's own name, which its states are shown under"));
            }
            if self.label_names[..index].contains(label) {
                return Err(label_error(label, naming::LABEL_TWICE));
            }
            if self.open.is_some() && *label == "overflow" {
                return Err(label_error(label, naming::LABEL_OVERFLOW));
            }
        }
        let mut seen = std::collections::HashSet::new();
        for set in &self.label_sets {
            if !seen.insert(set) {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_TWICE));
            }
            if set.iter().any(|value| value.is_empty()) {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_EMPTY));
            }
            if set.iter().map(|value| value.len()).sum::<usize>() > naming::MAX_TEXT {
                let label = self.label_names.join(",");
                return Err(label_error(&label, naming::VALUE_LONG));
            }
        }
        Ok(())
    }

    /// Series slots that the family takes.
    pub(crate) fn series(&self) -> u64 {
        self.open.as_ref().map_or(self.label_sets.len() as u64, |open| u64::from(open.rules.slots()))
    }

    /// Bytes of label areas that the family takes.
    pub(crate) fn label_area_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| self.series() * u64::from(open.rules.label_area_bytes()))
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            kind: self.kind,
            number: self.number,
            aggregation: self.aggregation,
            unit: self.desc.unit.clone(),
            help: self.desc.help.clone(),
            shape: self.shape.clone(),
            label_names: self.label_names.iter().map(|name| (*name).to_owned()).collect(),
            series: self.series(),
            open: self.open.as_ref().map(|open| open.rules),
            values: self.label_sets.iter().flatten().fold(FNV_START, |hash, value| fnv1a(fnv1a(hash, value), "\0")),
        }
    }

    /// Bytes of the strings section that the family takes.
    pub(crate) fn string_bytes(&self, blocks: &[String]) -> u64 {
        let names = self.label_names.join(",");
        [&self.desc.name, &self.desc.help, &self.desc.unit, &names, &self.shape.states_text()]
            .into_iter()
            .chain(blocks)
            .map(|text| padded(text))
            .sum()
    }
}

/// Strings start at multiples of 8, since they are stored by whole words.
pub(super) const fn padded(text: &str) -> u64 {
    (text.len() as u64).next_multiple_of(8)
}
