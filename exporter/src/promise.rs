//! The promises of a living writer, and which of them it broke: its housekeeping tick, and the pulses of its loops.
//!
//! A writer that promised nothing is never hung. Ages count on the monotonic clock, which does not run while the machine
//! sleeps and can't be set. Called by `reader/judgement.rs`; pure.

use serde::{Deserialize, Serialize};

use crate::evidence::Pulse;
use crate::table;

/// How many periods of the tick may pass without one.
const STALE_PERIODS: u64 = 5;

/// A promise that a living writer broke.
///
/// ```
/// use tachograph_exporter::promise::Promise;
/// let pulse = Promise::Pulse { name: "control".into(), age_ns: 12_000_000_000, max_age_ns: 2_000_000_000 };
/// assert_eq!(pulse.to_string(), "pulse control silent for 12.0s, promised every 2.0s");
/// assert_eq!(serde_json::to_value(&pulse).unwrap()["promise"], "pulse");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "promise", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Promise {
    /// Its housekeeping ticks once a period; five missing periods break it.
    Housekeeping {
        /// Nanoseconds since the last tick.
        age_ns: u64,
        /// How old the last tick may be.
        max_age_ns: u64,
    },
    /// A loop beats at least so often.
    Pulse {
        /// Name of the loop.
        name: String,
        /// Nanoseconds since its last beat.
        age_ns: u64,
        /// How old the last beat may be.
        max_age_ns: u64,
    },
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = |ns: u64| table::span(ns as f64 / 1e9);
        match self {
            Self::Housekeeping { age_ns, max_age_ns } => {
                write!(f, "no housekeeping for {}, stale after {}", span(*age_ns), span(*max_age_ns))
            }
            Self::Pulse { name, age_ns, max_age_ns } => {
                write!(f, "pulse {name} silent for {}, promised every {}", span(*age_ns), span(*max_age_ns))
            }
        }
    }
}

/// The broken ones: of the tick, of `period_ns` and last seen `age_ns` ago, and of the pulses.
pub(crate) fn broken(period_ns: u64, age_ns: u64, pulses: Vec<Pulse>) -> Vec<Promise> {
    let max_age_ns = period_ns.saturating_mul(STALE_PERIODS);
    let tick = (period_ns > 0 && age_ns > max_age_ns).then_some(Promise::Housekeeping { age_ns, max_age_ns });
    let pulses = pulses.into_iter().filter(|pulse| pulse.broken);
    let pulses = pulses.map(|Pulse { name, age_ns, max_age_ns, .. }| Promise::Pulse { name, age_ns, max_age_ns });
    tick.into_iter().chain(pulses).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_stale_after_five_periods_and_a_pulse_after_its_age() {
        assert_eq!(broken(10, 50, Vec::new()), []);
        assert_eq!(broken(10, 51, Vec::new()), [Promise::Housekeeping { age_ns: 51, max_age_ns: 50 }]);
        assert_eq!(broken(0, u64::MAX, Vec::new()), [], "no period, no promise");
        let beats = Pulse { name: "a".into(), age_ns: 3, max_age_ns: 2, broken: false, ..Pulse::default() };
        let silent = Pulse { broken: true, ..beats.clone() };
        assert_eq!(broken(10, 0, vec![beats, silent]), [Promise::Pulse { name: "a".into(), age_ns: 3, max_age_ns: 2 }]);
    }
}
