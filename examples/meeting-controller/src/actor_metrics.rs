//! How actors count: the gauges of what is alive, and one series a fact.
//!
//! Called by all actors and by supervision. Nothing here fails, panics, locks or allocates. The gauges saturate at 0 for
//! real: an extra removal leaves 0, and the next creation gives 1.

use std::sync::Arc;

use tachograph::Gauge;

use crate::activities::Activities;
use crate::fact::Fact;
use crate::metrics::McMetrics;
use crate::witness::Witness;

/// What actors write. Cheap to clone; all clones write the same cells.
#[derive(Debug, Clone)]
pub struct ActorMetrics {
    metrics: McMetrics,
    witness: Option<Arc<Witness>>,
    activities: Option<Activities>,
}

impl ActorMetrics {
    /// Counts in the region's cells only.
    #[must_use]
    pub const fn new(metrics: McMetrics) -> Self {
        Self { metrics, witness: None, activities: None }
    }

    /// Keeps a second book of every fact counted by [`ActorMetrics::count`].
    #[must_use]
    pub fn with_witness(mut self, witness: Arc<Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Has every actor that is made with this mark what it does in the region.
    #[must_use]
    pub fn with_activities(mut self, activities: Activities) -> Self {
        self.activities = Some(activities);
        self
    }

    /// Where actors mark what they do.
    #[must_use]
    pub const fn activities(&self) -> Option<&Activities> {
        self.activities.as_ref()
    }

    /// The handles themselves.
    #[must_use]
    pub const fn metrics(&self) -> &McMetrics {
        &self.metrics
    }

    /// A meeting came to be.
    pub fn meeting_created(&self) {
        self.metrics.meetings.inc();
    }

    /// A meeting is gone. One too many leaves 0.
    pub fn meeting_removed(&self) {
        self.metrics.meetings.saturating_sub(1);
    }

    /// A connection was opened.
    pub fn connection_created(&self) {
        self.metrics.connections.inc();
    }

    /// A connection is gone. One too many leaves 0.
    pub fn connection_closed(&self) {
        self.metrics.connections.saturating_sub(1);
    }

    /// A participant joined.
    pub fn participant_joined(&self) {
        self.metrics.participants.inc();
    }

    /// A participant left, or did not come back. One too many leaves 0.
    pub fn participant_left(&self) {
        self.metrics.participants.saturating_sub(1);
    }

    /// Counts a meeting until the guard is dropped.
    pub(crate) fn active_meeting(&self) -> Active {
        Active::new(self.metrics.meetings)
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn active_connection(&self) -> Active {
        Active::new(self.metrics.connections)
    }

    /// Counts a participant until the guard is dropped.
    pub(crate) fn active_participant(&self) -> Active {
        Active::new(self.metrics.participants)
    }

    /// Counts a fact in its series, now and unconditionally.
    pub fn record(&self, fact: Fact) {
        fact.record(&self.metrics);
    }

    /// Counts a fact in its series, and in the witness's books where there is one, at whose ceiling it waits.
    pub async fn count(&self, fact: Fact) {
        let Some(witness) = &self.witness else { return self.record(fact) };
        witness.claim(fact).await;
        self.record(fact);
        witness.finish(fact);
    }
}

/// Counts one in a gauge of living things; takes it off when dropped, by whatever way its owner ended.
#[derive(Debug)]
pub(crate) struct Active(Gauge<i64>);

impl Active {
    fn new(gauge: Gauge<i64>) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.saturating_sub(1);
    }
}
