//! What labels may say: closed sets, an enum each. Every combination is a series that exists from the start.

use tachograph::{LabelSet, LabelValue};

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

/// What the store was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "operation")]
pub enum StoreOperation {
    /// Read a value.
    Get,
    /// Write a value.
    Set,
    /// Delete a value.
    Del,
    /// Raise a number by one.
    Incr,
    /// Write a field of a record.
    Hset,
    /// Read a field of a record.
    Hget,
    /// Run a script: a write that is fenced.
    Eval,
    /// Add to a sorted set.
    Zadd,
    /// Read a range of a sorted set.
    Zrange,
}

/// Why a fenced write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "reason")]
pub enum FenceReason {
    /// Another controller has a newer generation.
    StaleGeneration,
    /// Another controller wrote at the same time.
    ConcurrentWrite,
}

/// How a call to another service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "status")]
pub enum RpcStatus {
    /// As it should.
    Success,
    /// With an error.
    Error,
}

/// Why a token could not be refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "error_type")]
pub enum RefreshError {
    /// No answer.
    Http,
    /// The authority refused.
    AuthRejected,
    /// The answer made no sense.
    InvalidResponse,
    /// No token after all attempts.
    AcquisitionFailed,
    /// The controller is set up wrongly.
    Configuration,
    /// Nobody waits for the token any more.
    ChannelClosed,
}

/// How the connection of a client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "status")]
pub enum ConnectionStatus {
    /// Taken in.
    Accepted,
    /// Refused: no room.
    Rejected,
    /// Failed after it was accepted.
    Error,
}

/// How a validation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "result")]
pub enum ValidationResult {
    /// The token is valid.
    Success,
    /// It is not.
    Failure,
}

/// Whose token was validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
pub enum TokenType {
    /// A participant's, for a meeting.
    Meeting,
    /// A guest's.
    Guest,
    /// Another service's.
    Service,
}

/// Why a token is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
pub enum FailureReason {
    /// It is.
    None,
    /// The signature does not match.
    SignatureInvalid,
    /// It was valid once.
    Expired,
    /// There is none.
    MissingToken,
    /// It is valid for something else.
    ScopeMismatch,
    /// It is no token.
    Malformed,
}

/// A validation of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelSet)]
pub struct JwtValidation {
    /// How it ended.
    pub result: ValidationResult,
    /// Whose token it was.
    pub token_type: TokenType,
    /// Why it failed; `None` where it did not.
    pub failure_reason: FailureReason,
}

impl JwtValidation {
    /// The validation of a token that is valid.
    #[must_use]
    pub const fn success(token_type: TokenType) -> Self {
        Self { result: ValidationResult::Success, token_type, failure_reason: FailureReason::None }
    }

    /// The validation of a token that is not.
    #[must_use]
    pub const fn failure(token_type: TokenType, failure_reason: FailureReason) -> Self {
        Self { result: ValidationResult::Failure, token_type, failure_reason }
    }
}

/// How an attempt to join ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "status")]
pub enum JoinStatus {
    /// In the meeting.
    Success,
    /// Not.
    Failure,
}

/// Why an attempt to join failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "error_type")]
pub enum JoinError {
    /// The store failed.
    Redis,
    /// A call to another service failed.
    Grpc,
    /// The controller is not registered with the global controller.
    NotRegistered,
    /// The controller is set up wrongly.
    Config,
    /// The request made no sense.
    InvalidArgument,
    /// The session belongs to somebody else.
    SessionBinding,
    /// No such meeting.
    MeetingNotFound,
    /// No such participant.
    ParticipantNotFound,
    /// The meeting holds as many as it may.
    MeetingCapacityExceeded,
    /// The controller holds as many as it may.
    McCapacityExceeded,
    /// The controller or the meeting is ending.
    Draining,
    /// The meeting is moving to another controller.
    Migrating,
    /// Another controller has taken over.
    FencedOut,
    /// The participant is in the meeting already.
    Conflict,
    /// The token is not valid.
    JwtValidation,
    /// The token is valid, for less than this.
    PermissionDenied,
    /// No media handler is assigned.
    MhAssignmentMissing,
    /// A fault of the controller.
    Internal,
    /// The controller has no token of its own.
    TokenAcquisition,
    /// The controller had no token of its own in time.
    TokenAcquisitionTimeout,
}

/// What a media handler notifies of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "event_type")]
pub enum MediaEvent {
    /// A participant's media is there.
    Connected,
    /// A participant's media is gone.
    Disconnected,
}

/// The services that the controller offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
pub enum GrpcService {
    /// To the global controller.
    #[label(value = "MeetingControllerService")]
    MeetingController,
    /// To media handlers.
    #[label(value = "MediaCoordinationService")]
    MediaCoordination,
}

/// Who may call a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "expected_type")]
pub enum ExpectedCaller {
    /// The global controller.
    #[label(value = "global-controller")]
    GlobalController,
    /// A media handler.
    #[label(value = "media-handler")]
    MediaHandler,
}

/// Who called, by the token that was shown. What it says beyond these is `Unknown`: a token can't make series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelValue)]
#[label(name = "actual_type")]
pub enum CallerType {
    /// The global controller.
    #[label(value = "global-controller")]
    GlobalController,
    /// A media handler.
    #[label(value = "media-handler")]
    MediaHandler,
    /// A meeting controller.
    #[label(value = "meeting-controller")]
    MeetingController,
    /// Somebody else.
    Unknown,
}

/// A call of the wrong service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, LabelSet)]
pub struct CallerTypeRejected {
    /// What was called.
    pub grpc_service: GrpcService,
    /// Who may.
    pub expected_type: ExpectedCaller,
    /// Who did.
    pub actual_type: CallerType,
}
