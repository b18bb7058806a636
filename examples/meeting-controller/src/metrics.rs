//! The metrics of the controller: every family, declared once. Names, HELP and label values are what Prometheus shows.
//!
//! Ids of meetings, participants and connections are never labels: they are for logs.

use tachograph::{Counter, Family, Gauge, UpDownCounter, Watermark};

tachograph::label_value! {
    /// Kind of actor.
    #[derive(Debug, Hash, PartialOrd, Ord)]
    pub enum ActorType: "actor_type" {
        /// The one on top.
        Controller = "controller",
        /// One a meeting.
        Meeting = "meeting",
        /// One a connection of a participant.
        Connection = "connection",
    }
}

tachograph::label_value! {
    /// How a heartbeat ended.
    #[derive(Debug, Hash)]
    pub enum HeartbeatStatus: "status" {
        /// The sink took it.
        Success = "success",
        /// The sink refused it.
        Error = "error",
    }
}

tachograph::label_value! {
    /// Kind of heartbeat.
    #[derive(Debug, Hash)]
    pub enum HeartbeatType: "heartbeat_type" {
        /// Counts and health, every 10 s.
        Fast = "fast",
        /// Also cpu and memory, every 30 s.
        Comprehensive = "comprehensive",
    }
}

tachograph::metrics! {
    /// All metrics of the controller: a handle each, `Copy`.
    ///
    /// ```
    /// use meeting_controller::{ActorType, McMetrics};
    /// let region = tachograph::Region::private("doc")?;
    /// let metrics = region.metrics::<McMetrics>()?;
    /// assert_eq!(metrics.panics.at(ActorType::Controller).get(), 0); // there from the start
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct McMetrics {
        /// Meetings hosted now.
        pub meetings: Gauge<i64> = "mc_meetings_active",
        /// Connections of participants open now.
        pub connections: Gauge<i64> = "mc_connections_active",
        /// Participants in meetings now, those in their grace period included.
        pub participants: Gauge<i64> = "mc_participants_active",
        /// Actors that panicked. Any is a bug.
        pub panics: Family<Counter, ActorType> = "mc_actor_panics_total",
        /// Messages that actors handled.
        pub messages: Family<Counter, ActorType> = "mc_actor_messages_total",
        /// Messages waiting in the mailboxes of living actors.
        pub mailbox_depth: Family<UpDownCounter, ActorType> = "mc_actor_mailbox_depth",
        /// Depth of the fullest single mailbox in the last minute.
        pub mailbox_peak: Family<Watermark, ActorType> = "mc_actor_mailbox_depth_peak",
        /// Messages that a full or closed mailbox refused.
        pub dropped: Family<Counter, ActorType> = "mc_messages_dropped_total",
        /// Heartbeats to the global controller.
        pub heartbeats: Family<Counter, (HeartbeatStatus, HeartbeatType)> = "mc_gc_heartbeats_total",
    }
}
