//! The metrics of the controller: every family, declared once. Names, HELP and label values are what Prometheus shows.
//!
//! Ids of meetings, participants and connections are never labels: they are for logs.

use tachograph::{Counter, Family, Gauge, LabelValue, Metrics, UpDownCounter, WatermarkMax};

/// Kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, LabelValue)]
pub enum ActorType {
    /// The one on top.
    Controller,
    /// One a meeting.
    Meeting,
    /// One a connection of a participant.
    Connection,
}

/// How a heartbeat ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "status")]
pub enum HeartbeatStatus {
    /// The sink took it.
    Success,
    /// The sink refused it.
    Error,
}

/// Kind of heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
pub enum HeartbeatType {
    /// Counts and health, every 10 s.
    Fast,
    /// Also cpu and memory, every 30 s.
    Comprehensive,
}

/// All metrics of the controller: a handle each, `Copy`. Names stand here whole, so that whoever meets one on a
/// dashboard finds it by searching.
///
/// ```
/// use meeting_controller::{ActorType, McMetrics};
/// let region = tachograph::Region::private("doc")?;
/// let metrics = region.metrics::<McMetrics>()?;
/// assert_eq!(metrics.panics.at(ActorType::Controller).get(), 0); // there from the start
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Metrics)]
pub struct McMetrics {
    /// Meetings hosted now.
    #[metric(name = "mc_meetings_active")]
    pub meetings: Gauge<i64>,
    /// Connections of participants open now.
    #[metric(name = "mc_connections_active")]
    pub connections: Gauge<i64>,
    /// Participants in meetings now, those in their grace period included.
    #[metric(name = "mc_participants_active")]
    pub participants: Gauge<i64>,
    /// Actors that panicked. Any is a bug.
    #[metric(name = "mc_actor_panics_total")]
    pub panics: Family<Counter, ActorType>,
    /// Messages that actors handled.
    #[metric(name = "mc_actor_messages_total")]
    pub messages: Family<Counter, ActorType>,
    /// Messages waiting in the mailboxes of living actors.
    #[metric(name = "mc_actor_mailbox_depth")]
    pub mailbox_depth: Family<UpDownCounter, ActorType>,
    /// Depth of the fullest single mailbox in the last minute.
    #[metric(name = "mc_actor_mailbox_depth_peak")]
    pub mailbox_peak: Family<WatermarkMax, ActorType>,
    /// Messages that a full or closed mailbox refused.
    #[metric(name = "mc_messages_dropped_total")]
    pub dropped: Family<Counter, ActorType>,
    /// Heartbeats to the global controller.
    #[metric(name = "mc_gc_heartbeats_total")]
    pub heartbeats: Family<Counter, (HeartbeatStatus, HeartbeatType)>,
}
