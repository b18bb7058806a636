//! The metrics of the controller: every family, declared once, in groups. Names, HELP, label values and buckets are what
//! Prometheus shows.
//!
//! Ids of meetings, participants and connections are never labels: they are for logs. What a label may say stands in
//! `labels`. A name is the prefix `mc`, the group's prefix, the field, the unit, and `_total` for a counter.

use tachograph::{Counter, DurationHistogram, Family, Gauge, Metrics, UpDownCounter, WatermarkMax};

pub use crate::labels::{
    ActorType, CallerType, CallerTypeRejected, ConnectionStatus, ExpectedCaller, FailureReason, FenceReason,
    GrpcService, HeartbeatStatus, HeartbeatType, JoinError, JoinStatus, JwtValidation, MediaEvent, RefreshError,
    RpcStatus, StoreOperation, TokenType, ValidationResult,
};

/// Upper bounds of the times of calls to other services and to the store, in seconds.
pub const CALL_BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Upper bounds of the times of token refreshes, in seconds.
pub const REFRESH_BOUNDS: [f64; 8] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Upper bounds of the times of joins, in seconds.
pub const JOIN_BOUNDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// All metrics of the controller: a handle each, `Copy`.
///
/// ```
/// use meeting_controller::{ActorType, McMetrics};
/// let region = tachograph::Region::builder("doc").fit::<McMetrics>().private()?;
/// let metrics = region.metrics::<McMetrics>()?;
/// assert_eq!(metrics.actors.panics.at(ActorType::Controller).get(), 0); // there from the start
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "mc")]
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
    /// `mc_actor_*`, and the messages that mailboxes refused.
    #[metrics(nested)]
    pub actors: ActorFamilies,
    /// `mc_gc_*`: the global controller.
    #[metrics(nested)]
    pub gc: GlobalControllerFamilies,
    /// `mc_redis_*` and `mc_fenced_out_total`: the store.
    #[metrics(nested)]
    pub store: StoreFamilies,
    /// `mc_token_refresh_*`: the controller's own token.
    #[metrics(nested)]
    pub token: TokenFamilies,
    /// `mc_session_*`, and what comes before a session: connecting, and showing a token.
    #[metrics(nested)]
    pub sessions: SessionFamilies,
    /// `mc_register_meeting_*` and `mc_mh_*`: media handlers, and calls of the wrong service.
    #[metrics(nested)]
    pub media: MediaFamilies,
}

/// What actors do.
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "actor")]
pub struct ActorFamilies {
    /// Actors that panicked. Any is a bug.
    pub panics: Family<Counter, ActorType>,
    /// Messages that actors handled.
    pub messages: Family<Counter, ActorType>,
    /// Messages waiting in the mailboxes of living actors.
    pub mailbox_depth: Family<UpDownCounter, ActorType>,
    /// Depth of the fullest single mailbox in the last minute.
    pub mailbox_depth_peak: Family<WatermarkMax, ActorType>,
    /// Messages that a full or closed mailbox refused.
    #[metric(name = "messages_dropped_total")]
    pub dropped: Family<Counter, ActorType>,
}

/// Heartbeats to the global controller.
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "gc")]
pub struct GlobalControllerFamilies {
    /// Heartbeats to the global controller.
    pub heartbeats: Family<Counter, (HeartbeatStatus, HeartbeatType)>,
    /// Round trip of a heartbeat, taken or not.
    #[metric(unit = "seconds", bounds = CALL_BOUNDS)]
    pub heartbeat_latency: Family<DurationHistogram, HeartbeatType>,
}

/// Calls to the store.
#[derive(Debug, Clone, Copy, Metrics)]
pub struct StoreFamilies {
    /// Round trip of a call to the store, whether it succeeded or not.
    #[metric(name = "redis_latency_seconds", unit = "seconds", bounds = CALL_BOUNDS)]
    pub latency: Family<DurationHistogram, StoreOperation>,
    /// Writes that the store refused because another controller had taken over.
    pub fenced_out: Family<Counter, FenceReason>,
}

/// Refreshes of the token that the controller shows to other services.
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "token")]
pub struct TokenFamilies {
    /// Attempts to refresh the controller's token.
    pub refresh: Family<Counter, RpcStatus>,
    /// Time of an attempt to refresh the controller's token, without the wait before the next one.
    #[metric(unit = "seconds", bounds = REFRESH_BOUNDS)]
    pub refresh_duration: DurationHistogram,
    /// Attempts to refresh the controller's token that failed, by what failed.
    pub refresh_failures: Family<Counter, RefreshError>,
}

/// Clients, from connecting to joining.
#[derive(Debug, Clone, Copy, Metrics)]
#[metrics(prefix = "session")]
pub struct SessionFamilies {
    /// Connections of clients. One that fails after it was accepted counts as accepted and as error.
    #[metric(name = "webtransport_connections_total")]
    pub connections: Family<Counter, ConnectionStatus>,
    /// Tokens that were validated: of clients, and of services that call.
    #[metric(name = "jwt_validations_total")]
    pub validations: Family<Counter, JwtValidation>,
    /// Attempts to join a meeting.
    pub joins: Family<Counter, JoinStatus>,
    /// Time from an accepted connection to the answer to its attempt to join.
    #[metric(unit = "seconds", bounds = JOIN_BOUNDS)]
    pub join_duration: Family<DurationHistogram, JoinStatus>,
    /// Attempts to join a meeting that failed, by what failed.
    pub join_failures: Family<Counter, JoinError>,
}

/// Media handlers, and calls that this controller does not take.
#[derive(Debug, Clone, Copy, Metrics)]
pub struct MediaFamilies {
    /// Meetings registered with a media handler.
    pub register_meeting: Family<Counter, RpcStatus>,
    /// Round trip of registering a meeting with a media handler.
    #[metric(unit = "seconds", bounds = CALL_BOUNDS)]
    pub register_meeting_duration: DurationHistogram,
    /// Notifications of media handlers that passed validation.
    pub mh_notifications_received: Family<Counter, MediaEvent>,
    /// Calls refused because the caller was of the wrong type. Any is a misconfiguration.
    pub caller_type_rejected: Family<Counter, CallerTypeRejected>,
}
