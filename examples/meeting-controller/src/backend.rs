//! The services around a controller, **simulated**: clients that connect, the store, media handlers, the global controller
//! and the authority that gives tokens. Nothing here is real: there is no network, no store and no token.
//!
//! Called by the load generator, one call an event of the load, and by the heartbeat. It draws outcomes and latencies from
//! a random stream of its own, by the seed, and counts what a controller would count. It draws nothing from the load's
//! stream, and its draws depend on no answer of an actor, so the same events bring the same counts. Latencies of the
//! load's events are numbers that nobody waits for; only [`SimulatedGlobalController`] takes its time, in the heartbeat's
//! own task. Actors don't know of it, and no client that is turned away here changes what actors get: it comes again.

use std::time::Duration;

use fastrand::Rng;

use crate::actor::Refused;
use crate::actor_metrics::ActorMetrics;
use crate::fact::Fact;
use crate::heartbeat::{Heartbeat, HeartbeatSink};
use crate::meeting::MeetingError;
use crate::metrics::{
    CallerType, CallerTypeRejected, ConnectionStatus, ExpectedCaller, FailureReason, FenceReason, GrpcService,
    JoinError, JoinStatus, JwtValidation, MediaEvent, RefreshError, RpcStatus, StoreOperation, TokenType,
};

const STORE: Duration = Duration::from_micros(700);
const CALL: Duration = Duration::from_millis(8);
const AUTHORITY: Duration = Duration::from_millis(60);
const HANDSHAKE: Duration = Duration::from_millis(30);

/// No latency is longer than so many times the typical one, and so none is over 5 s.
const LONGEST: u32 = 80;
/// One notification in so many is followed by one of a service that may not send any.
const STRAY_NOTIFICATION: u64 = 200;

/// Outcomes and latencies by seed, counted as a controller would count them.
#[derive(Debug)]
pub struct SimulatedBackend {
    random: Rng,
    metrics: ActorMetrics,
    /// Notifications so far.
    notified: u64,
}

/// A client that may ask its meeting to let it in: how long that took so far.
#[derive(Debug, Clone, Copy)]
#[must_use = "what is admitted is answered"]
pub struct Admission(Duration);

impl SimulatedBackend {
    /// What is around a controller that counts in `metrics`.
    #[must_use]
    pub fn new(seed: u64, metrics: &ActorMetrics) -> Self {
        // Another stream than the load's, whose seed is the same.
        Self { random: stream(seed, 1), metrics: metrics.clone(), notified: 0 }
    }

    /// The controller asks for a token, until it is given one.
    pub async fn refresh_token(&mut self) {
        while self.one_in(8) {
            let error = match self.random.u32(..10) {
                0..4 => RefreshError::Http,
                4..6 => RefreshError::AuthRejected,
                6..8 => RefreshError::InvalidResponse,
                _ => RefreshError::AcquisitionFailed,
            };
            self.count(Fact::TokenRefreshFailure(error)).await;
            self.refresh_answered(RpcStatus::Error).await;
        }
        self.refresh_answered(RpcStatus::Success).await;
        self.store(StoreOperation::Set).await;
    }

    /// The global controller assigns a meeting: its call is checked, the store is told, a media handler is found.
    pub async fn meeting_assigned(&mut self) {
        while self.one_in(100) {
            let reason = match self.random.u32(..4) {
                0 => FailureReason::SignatureInvalid,
                1 => FailureReason::Expired,
                2 => FailureReason::ScopeMismatch,
                _ => FailureReason::Malformed,
            };
            self.count(Fact::Validation(JwtValidation::failure(TokenType::Service, reason))).await;
        }
        let actual_type = if self.one_in(2) { CallerType::MeetingController } else { CallerType::Unknown };
        if self.one_in(50) {
            self.wrong_caller(GrpcService::MeetingController, ExpectedCaller::GlobalController, actual_type).await;
        }
        self.count(Fact::Validation(JwtValidation::success(TokenType::Service))).await;
        loop {
            self.store(StoreOperation::Incr).await;
            self.store(StoreOperation::Eval).await;
            if !self.one_in(25) {
                break;
            }
            let reason = if self.one_in(4) { FenceReason::ConcurrentWrite } else { FenceReason::StaleGeneration };
            self.count(Fact::FencedOut(reason)).await;
        }
        while self.one_in(40) {
            self.register_answered(RpcStatus::Error).await;
        }
        self.register_answered(RpcStatus::Success).await;
    }

    /// A meeting is over: the store forgets it.
    pub async fn meeting_removed(&mut self) {
        self.store(StoreOperation::Del).await;
    }

    /// A participant comes back: the store knows where it was.
    pub async fn participant_looked_up(&mut self) {
        self.store(StoreOperation::Hget).await;
        self.store(StoreOperation::Zrange).await;
    }

    /// A client connects, and comes again where it is turned away.
    pub async fn client_admitted(&mut self) -> Admission {
        loop {
            let fate = self.random.u32(..1_000);
            if fate < 10 {
                self.count(Fact::ClientConnection(ConnectionStatus::Rejected)).await;
                continue;
            }
            self.count(Fact::ClientConnection(ConnectionStatus::Accepted)).await;
            if fate < 15 {
                self.count(Fact::ClientConnection(ConnectionStatus::Error)).await;
                continue;
            }
            let mut took = self.latency(HANDSHAKE);
            let token = if self.one_in(5) { TokenType::Guest } else { TokenType::Meeting };
            if fate < 35 {
                let reason = match self.random.u32(..10) {
                    0..4 => FailureReason::Expired,
                    4..7 => FailureReason::SignatureInvalid,
                    7..9 => FailureReason::MissingToken,
                    _ => FailureReason::Malformed,
                };
                self.count(Fact::Validation(JwtValidation::failure(token, reason))).await;
                self.join_failed(JoinError::JwtValidation, took).await;
                continue;
            }
            self.count(Fact::Validation(JwtValidation::success(token))).await;
            took += self.store(StoreOperation::Get).await;
            if fate < 40 {
                self.join_failed(JoinError::Redis, took).await;
                continue;
            }
            if fate < 43 {
                self.join_failed(JoinError::MhAssignmentMissing, took).await;
                continue;
            }
            return Admission(took);
        }
    }

    /// The actors answered to an admitted client. Their own time is not in what is counted: it would differ in each run.
    pub async fn join_answered(&mut self, admission: Admission, answer: Result<(), MeetingError>) {
        // Drawn whatever the answer was.
        let (record, roster) = (self.latency(STORE), self.latency(STORE));
        let took = admission.0 + record + roster;
        match answer {
            Ok(()) => {
                self.count(Fact::StoreTook(StoreOperation::Hset, record)).await;
                self.count(Fact::StoreTook(StoreOperation::Zadd, roster)).await;
                self.count(Fact::Join(JoinStatus::Success)).await;
                self.count(Fact::JoinTook(JoinStatus::Success, took)).await;
                self.media(MediaEvent::Connected).await;
            }
            Err(error) => self.join_failed(join_error(error), admission.0).await,
        }
    }

    /// A media handler tells of a participant's media.
    pub async fn media(&mut self, event: MediaEvent) {
        self.count(Fact::MediaNotification(event)).await;
        // By what was counted, not by a draw: an answer decides whether there is a notification at all.
        self.notified += 1;
        if self.notified.is_multiple_of(STRAY_NOTIFICATION) {
            let (service, expected) = (GrpcService::MediaCoordination, ExpectedCaller::MediaHandler);
            self.wrong_caller(service, expected, CallerType::GlobalController).await;
        }
    }

    async fn wrong_caller(&self, grpc_service: GrpcService, expected_type: ExpectedCaller, actual_type: CallerType) {
        self.count(Fact::CallerRejected(CallerTypeRejected { grpc_service, expected_type, actual_type })).await;
    }

    async fn join_failed(&self, error: JoinError, took: Duration) {
        self.count(Fact::Join(JoinStatus::Failure)).await;
        self.count(Fact::JoinFailure(error)).await;
        self.count(Fact::JoinTook(JoinStatus::Failure, took)).await;
    }

    async fn store(&mut self, operation: StoreOperation) -> Duration {
        let took = self.latency(STORE);
        self.count(Fact::StoreTook(operation, took)).await;
        took
    }

    async fn refresh_answered(&mut self, status: RpcStatus) {
        let took = self.latency(AUTHORITY);
        self.count(Fact::TokenRefresh(status)).await;
        self.count(Fact::TokenRefreshTook(took)).await;
    }

    async fn register_answered(&mut self, status: RpcStatus) {
        let took = self.latency(CALL);
        self.count(Fact::RegisterMeeting(status)).await;
        self.count(Fact::RegisterMeetingTook(took)).await;
    }

    async fn count(&self, fact: Fact) {
        self.metrics.count(fact).await;
    }

    fn one_in(&mut self, of: u32) -> bool {
        self.random.u32(..of) == 0
    }

    fn latency(&mut self, typical: Duration) -> Duration {
        latency(&mut self.random, typical)
    }
}

/// A random stream of a seed, by number. Seeds are spread: streams of neighbours would begin alike.
fn stream(seed: u64, number: u64) -> Rng {
    Rng::with_seed(seed.wrapping_add(number << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Mostly near the typical one, between an eighth and eight times it; one in a hundred ten times as long.
fn latency(random: &mut Rng, typical: Duration) -> Duration {
    let spread = random.f64() + random.f64() + random.f64() - 1.5;
    let slow = if random.u32(..100) == 0 { 10.0 } else { 1.0 };
    typical.mul_f64((2.0 * spread).exp2() * slow).min(typical * LONGEST)
}

/// What a client is told, of what its meeting said.
const fn join_error(error: MeetingError) -> JoinError {
    match error {
        MeetingError::AlreadyJoined => JoinError::Conflict,
        MeetingError::AtCapacity => JoinError::McCapacityExceeded,
        MeetingError::UnknownParticipant | MeetingError::UnknownConnection => JoinError::ParticipantNotFound,
        MeetingError::WrongToken => JoinError::SessionBinding,
        MeetingError::Ending => JoinError::Draining,
        MeetingError::Refused(Refused::Closed) => JoinError::MeetingNotFound,
        MeetingError::Refused(Refused::Full | Refused::Unanswered) => JoinError::Internal,
    }
}

/// The binary's sink for heartbeats: logs them, and takes as long as a global controller would.
#[derive(Debug)]
pub struct SimulatedGlobalController(Rng);

impl SimulatedGlobalController {
    /// Latencies by seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(stream(seed, 2))
    }
}

/// The global controller did not take a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the simulated global controller is not available")]
pub struct Unavailable;

impl HeartbeatSink for SimulatedGlobalController {
    type Error = Unavailable;

    async fn send(&mut self, heartbeat: &Heartbeat) -> Result<(), Self::Error> {
        tracing::info!(?heartbeat, "heartbeat");
        tokio::time::sleep(latency(&mut self.0, CALL)).await;
        if self.0.u32(..50) == 0 { Err(Unavailable) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{AUTHORITY, Duration, LONGEST, Rng, latency};

    #[test]
    fn latencies_are_bounded_and_by_seed() {
        let typical = Duration::from_millis(10);
        let draw = |seed| {
            let mut random = Rng::with_seed(seed);
            (0..10_000).map(move |_| latency(&mut random, typical)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|took| *took >= typical / 8 && *took <= typical * LONGEST));
        assert!(draw(1).iter().any(|took| *took > typical * 10));
        assert!(AUTHORITY * LONGEST <= Duration::from_secs(5));
    }
}
