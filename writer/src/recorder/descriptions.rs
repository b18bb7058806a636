//! What `describe_counter!` and its like said of metrics that may not be there yet.
//!
//! Called at each description (some applications describe at every call, so saying the same again is only a lookup) and
//! when a family is first used.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::metrics::Unit;
use super::names;

/// Most metrics that are remembered: names that are made up at run time must not take all memory.
const MOST: usize = 65_536;

/// A metric's unit and HELP.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Description {
    pub(super) unit: Option<Unit>,
    pub(super) help: String,
}

/// Descriptions by repaired name.
#[derive(Debug, Default)]
pub(super) struct Descriptions(RwLock<HashMap<String, Description>>);

impl Descriptions {
    /// Remembers a description; the last one before the metric's first use stands.
    pub(super) fn put(&self, raw: &str, unit: Option<Unit>, help: &str) {
        let known = |found: &Description| found.unit == unit && found.help == help;
        // Most names need no repair, and are found without making one.
        if self.0.read().unwrap_or_else(PoisonError::into_inner).get(raw).is_some_and(known) {
            return;
        }
        let name = names::repaired(raw);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST || all.contains_key(&name) {
            all.insert(name, Description { unit, help: help.to_owned() });
        }
    }

    /// What was said of a metric, by its repaired name.
    pub(super) fn get(&self, name: &str) -> Description {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }
}
