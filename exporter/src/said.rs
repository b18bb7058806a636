//! Warnings that are logged once while they stand, not once a scrape.
//!
//! Called at the end of each scrape with everything that is wrong then: what is new is logged, and what was mended may be
//! told again when it comes back.

use std::collections::HashSet;

use crate::Problem;

/// What was logged and still stands.
#[derive(Debug, Default)]
pub(crate) struct Said(HashSet<String>);

/// Most new ones that one scrape logs.
const MOST_LOGGED: usize = 20;

impl Said {
    /// Logs those of these problems and texts that are new.
    pub(crate) fn tell(&mut self, problems: &[Problem], others: impl IntoIterator<Item = String>) {
        let problems = problems.iter().map(ToString::to_string);
        let current: Vec<String> = problems.chain(others).collect();
        let new: Vec<&String> = current.iter().filter(|text| !self.0.contains(*text)).collect();
        for text in new.iter().take(MOST_LOGGED) {
            tracing::warn!("{text}");
        }
        if new.len() > MOST_LOGGED {
            tracing::warn!(more = new.len() - MOST_LOGGED, "more problems; `tacho ls` lists them");
        }
        self.0 = current.into_iter().collect();
    }
}
