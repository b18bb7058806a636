//! The heartbeat's view of the controller: reads the very cells that `ActorMetrics` writes, and keeps nothing itself.
//!
//! So a heartbeat and a scrape cannot disagree. Two cells are read one after the other: each is exact, the pair is not
//! of one instant.

use crate::metrics::McMetrics;

/// Reads what is alive now.
///
/// ```
/// use meeting_controller::{ActorMetrics, ControllerMetrics, McMetrics};
/// let region = tachograph::Region::private("doc")?;
/// let metrics = region.metrics::<McMetrics>()?;
/// ActorMetrics::new(metrics).meeting_created();
/// assert_eq!(ControllerMetrics::new(metrics).snapshot().meetings, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ControllerMetrics(McMetrics);

/// What was alive when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerSnapshot {
    /// Meetings: `mc_meetings_active`.
    pub meetings: u64,
    /// Participants: `mc_participants_active`.
    pub participants: u64,
}

impl ControllerMetrics {
    /// A view of these metrics.
    #[must_use]
    pub const fn new(metrics: McMetrics) -> Self {
        Self(metrics)
    }

    /// Reads both gauges.
    #[must_use]
    pub fn snapshot(&self) -> ControllerSnapshot {
        // Neither gauge is ever lowered below 0.
        ControllerSnapshot {
            meetings: self.0.meetings.get().unsigned_abs(),
            participants: self.0.participants.get().unsigned_abs(),
        }
    }
}
