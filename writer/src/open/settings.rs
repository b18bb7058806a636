//! What a group's table says of an open family: label names and rules, as constants.
//!
//! Filled by [`crate::Member`], carried by a description to registration; checked by both, in const evaluation and at
//! run time, in the same words. It registers nothing.

use std::time::Duration;

use super::OpenRules;
use crate::naming::Broken;

/// The settings that only open families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenSettings {
    pub(crate) labels: Option<&'static [&'static str]>,
    pub(crate) budget: Option<u32>,
    /// In bytes.
    pub(crate) label_area: Option<u32>,
    pub(crate) linger_seconds: Option<u64>,
}

impl OpenSettings {
    pub(crate) const NONE: Self = Self { labels: None, budget: None, label_area: None, linger_seconds: None };

    /// Checks the settings against the type: of an open family with so many labels, or of what is none.
    pub(crate) const fn check(&self, labels: Option<usize>) -> Result<(), Broken> {
        let Some(count) = labels else {
            return if matches!(self, Self { labels: None, budget: None, label_area: None, linger_seconds: None }) {
                Ok(())
            } else {
                Err("is no `OpenFamily`: leave `labels`, `budget`, `label_area` and `linger_seconds` out, \
                     or make it one")
            };
        };
        let Some(names) = self.labels else {
            return Err("is an open family and names no labels: write `#[metric(labels = [\"peer\"], budget = 100)]`");
        };
        if self.budget.is_none() {
            return Err("is an open family and has no budget, the most label sets at a time: \
                        write `#[metric(labels = [\"peer\"], budget = 100)]`");
        }
        if names.is_empty() || count == 0 {
            return Err("is an open family without labels: name one, or take the kind by itself");
        }
        if names.len() != count {
            return Err("has not as many labels as its type says: in `OpenFamily<_, N>` N is how many `labels` names");
        }
        Ok(())
    }

    /// The names of the labels.
    pub(crate) const fn names(&self) -> &'static [&'static str] {
        match self.labels {
            Some(names) => names,
            None => &[],
        }
    }

    /// The rules, with defaults where nothing is set.
    pub(crate) const fn rules(&self) -> OpenRules {
        let mut rules = OpenRules::new(match self.budget {
            Some(budget) => budget,
            None => 0,
        });
        if let Some(bytes) = self.label_area {
            rules = rules.label_area(bytes);
        }
        if let Some(seconds) = self.linger_seconds {
            rules = rules.linger(Duration::from_secs(seconds));
        }
        rules
    }
}
