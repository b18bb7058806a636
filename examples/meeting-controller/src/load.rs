//! The load generator: signalling messages and churn, on a timeline that depends on the seed and the rates alone.
//!
//! The step at a given place of the timeline is the same in every run with the same options; a run that ends early did a
//! prefix of them. What a full mailbox refuses depends on the machine, and is counted. It drives the actors through the
//! same handles as any user would, and keeps its own totals of what was answered, for the report at the end. The services
//! around a controller that its steps would involve are told to [`SimulatedBackend`].

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actor::Refused;
use crate::actor_metrics::ActorMetrics;
use crate::backend::SimulatedBackend;
use crate::controller::{ControllerError, ControllerHandle};
use crate::meeting::{self, Joined, MeetingError, MeetingHandle, MeetingMessage};
use crate::metrics::MediaEvent;
use crate::timeline::{Step, Timeline};

/// What load to make.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Meetings, from the start on.
    pub meetings: usize,
    /// Participants of each, from the start on.
    pub connections_per_meeting: usize,
    /// Signalling messages a second, over all meetings.
    pub rate: f64,
    /// Comings and goings a second, over all meetings.
    pub churn: f64,
    /// Chooses who does what.
    pub seed: u64,
    /// When to end; none: when told to.
    pub duration: Option<Duration>,
    /// A meeting panics this often.
    pub panic_meeting_every: Option<Duration>,
    /// A meeting that panicked is not replaced.
    pub no_replacement: bool,
    /// The first meeting stalls after this time, and its mailbox is filled.
    pub stall_meeting: Option<Duration>,
}

/// What the load did: the answers it got, not what any metric says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Meetings created.
    pub created: u64,
    /// Meetings removed.
    pub removed: u64,
    /// Participants that joined.
    pub joined: u64,
    /// Participants that left.
    pub left: u64,
    /// Connections lost.
    pub disconnected: u64,
    /// Participants that came back.
    pub reconnected: u64,
    /// Signalling messages that a mailbox took in.
    pub sent: u64,
    /// Messages that a mailbox refused.
    pub dropped: u64,
    /// Meetings that were made to panic.
    pub panicked: u64,
    /// Meetings that were made to stall.
    pub stalled: u64,
    /// Questions refused by an actor for a reason of its own.
    pub refused: u64,
    /// Questions that were taken in, and not answered because the actor ended.
    pub unanswered: u64,
}

/// Drives a controller.
#[derive(Debug)]
pub struct Load {
    config: LoadConfig,
    controller: ControllerHandle,
    backend: SimulatedBackend,
    stop: CancellationToken,
    random: fastrand::Rng,
    meetings: Vec<Driven>,
    named: u64,
    sequence: u64,
    totals: Totals,
}

#[derive(Debug)]
struct Driven {
    handle: MeetingHandle,
    members: Vec<Member>,
    stalled: bool,
}

#[derive(Debug)]
struct Member {
    name: String,
    joined: Joined,
    away: bool,
}

/// How often what is due is looked up.
const TICK: Duration = Duration::from_millis(5);

impl Load {
    /// A load on a controller, until `stop` is cancelled. What is simulated around the controller is counted in `metrics`.
    #[must_use]
    pub fn new(
        config: LoadConfig,
        controller: ControllerHandle,
        metrics: &ActorMetrics,
        stop: CancellationToken,
    ) -> Self {
        let random = fastrand::Rng::with_seed(config.seed);
        let backend = SimulatedBackend::new(config.seed, metrics);
        Self {
            config,
            controller,
            backend,
            stop,
            random,
            meetings: Vec::new(),
            named: 0,
            sequence: 0,
            totals: Totals::default(),
        }
    }

    /// Runs to its end, and tells what was done.
    pub async fn run(mut self) -> Totals {
        self.backend.refresh_token().await;
        for _ in 0..self.config.meetings {
            if self.stop.is_cancelled() {
                return self.totals;
            }
            self.open_meeting().await;
        }
        let start = Instant::now();
        let mut timeline = Timeline::new(&self.config);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let elapsed = start.elapsed();
            let end = self.config.duration.map_or(elapsed, |duration| duration.min(elapsed));
            while let Some(step) = timeline.next_before(end.as_secs_f64()) {
                if self.stop.is_cancelled() {
                    break;
                }
                self.step(step).await;
            }
            if self.config.duration == Some(end) {
                break;
            }
        }
        self.totals
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Signal => self.signal().await,
            Step::Churn => self.churn().await,
            Step::PanicMeeting => self.panic_meeting().await,
            Step::RefreshToken => self.backend.refresh_token().await,
            Step::StallMeeting => self.stall_meeting().await,
        }
    }

    async fn signal(&mut self) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Some(place) = self.any_meeting() {
            let offered = self.meetings[place].handle.address().offer(MeetingMessage::Signal { sequence }).await;
            match offered {
                Ok(()) => self.totals.sent += 1,
                Err(_refused) => self.totals.dropped += 1,
            }
        }
        // Nothing above waits while there is room: the actors need the core too.
        if sequence.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }

    /// One participant leaves and another one joins, or one is lost, or comes back, or a meeting gives way to a new one.
    async fn churn(&mut self) {
        let choice = self.random.u32(..100);
        let which = self.random.usize(..);
        let Some(place) = self.any_meeting().filter(|place| !self.meetings[*place].stalled) else { return };
        match choice {
            0..2 => self.replace_meeting(place).await,
            2..40 => self.replace_member(place, which).await,
            _ => self.flip_member(place, which).await,
        }
    }

    async fn replace_meeting(&mut self, place: usize) {
        let meeting = self.meetings.swap_remove(place);
        match self.controller.remove(meeting.handle.id()).await {
            Ok(()) => self.totals.removed += 1,
            Err(error) => self.count_controller_error(error),
        }
        self.backend.meeting_removed().await;
        self.open_meeting().await;
    }

    async fn replace_member(&mut self, place: usize, which: usize) {
        let meeting = &mut self.meetings[place];
        if !meeting.members.is_empty() {
            let which = which % meeting.members.len();
            let member = meeting.members.swap_remove(which);
            match meeting.handle.leave(&member.name).await {
                Ok(()) => self.totals.left += 1,
                Err(error) => self.count_meeting_error(error),
            }
            if !member.away {
                self.backend.media(MediaEvent::Disconnected).await;
            }
        }
        self.join(place).await;
    }

    async fn flip_member(&mut self, place: usize, which: usize) {
        let meeting = &mut self.meetings[place];
        if meeting.members.is_empty() {
            return;
        }
        let which = which % meeting.members.len();
        let member = &mut meeting.members[which];
        if !member.away {
            self.backend.media(MediaEvent::Disconnected).await;
            match meeting.handle.disconnect(&member.joined.connection).await {
                Ok(()) => {
                    member.away = true;
                    self.totals.disconnected += 1;
                }
                Err(error) => self.count_meeting_error(error),
            }
            return;
        }
        self.backend.participant_looked_up().await;
        match meeting.handle.reconnect(&member.name, member.joined.token).await {
            Ok(joined) => {
                (member.joined, member.away) = (joined, false);
                self.totals.reconnected += 1;
                self.backend.media(MediaEvent::Connected).await;
            }
            Err(error) => {
                // Its grace period was over: it is no member any more.
                meeting.members.swap_remove(which);
                self.count_meeting_error(error);
            }
        }
    }

    async fn panic_meeting(&mut self) {
        let Some(place) = self.any_meeting().filter(|place| !self.meetings[*place].stalled) else { return };
        let meeting = self.meetings.swap_remove(place);
        match meeting.handle.address().send(MeetingMessage::Panic).await {
            Ok(()) => {
                meeting.handle.address().closed().await;
                self.totals.panicked += 1;
            }
            Err(_refused) => self.totals.dropped += 1,
        }
        if !self.config.no_replacement {
            self.open_meeting().await;
        }
    }

    /// The first meeting takes no more messages, and gets more than its mailbox holds.
    async fn stall_meeting(&mut self) {
        let Some(meeting) = self.meetings.first_mut() else { return };
        meeting.stalled = true;
        if meeting.handle.address().send(MeetingMessage::Stall).await.is_err() {
            self.totals.dropped += 1;
            return;
        }
        self.totals.stalled += 1;
        for _ in 0..meeting::CAPACITY + 100 {
            self.sequence += 1;
            match meeting.handle.address().offer(MeetingMessage::Signal { sequence: self.sequence }).await {
                Ok(()) => self.totals.sent += 1,
                Err(_refused) => self.totals.dropped += 1,
            }
        }
    }

    async fn open_meeting(&mut self) {
        self.named += 1;
        self.backend.meeting_assigned().await;
        match self.controller.create(&format!("meeting-{:06}", self.named)).await {
            Ok(handle) => {
                self.totals.created += 1;
                self.meetings.push(Driven { handle, members: Vec::new(), stalled: false });
                for _ in 0..self.config.connections_per_meeting {
                    self.join(self.meetings.len() - 1).await;
                }
            }
            Err(error) => self.count_controller_error(error),
        }
    }

    async fn join(&mut self, place: usize) {
        self.named += 1;
        let name = format!("participant-{:09}", self.named);
        let meeting = &mut self.meetings[place];
        let admission = self.backend.client_admitted().await;
        let answer = meeting.handle.join(&name).await;
        self.backend.join_answered(admission, answer.as_ref().map(|_| ()).map_err(|error| *error)).await;
        match answer {
            Ok(joined) => {
                meeting.members.push(Member { name, joined, away: false });
                self.totals.joined += 1;
            }
            Err(error) => self.count_meeting_error(error),
        }
    }

    /// A meeting, by chance. A draw is made even where there is none, so that the timeline stays the same.
    fn any_meeting(&mut self) -> Option<usize> {
        let draw = self.random.usize(..);
        draw.checked_rem(self.meetings.len())
    }

    fn count_meeting_error(&mut self, error: MeetingError) {
        match error {
            MeetingError::Refused(refused) => self.count_refused(refused),
            _ => self.totals.refused += 1,
        }
    }

    fn count_controller_error(&mut self, error: ControllerError) {
        match error {
            ControllerError::Refused(refused) => self.count_refused(refused),
            _ => self.totals.refused += 1,
        }
    }

    const fn count_refused(&mut self, refused: Refused) {
        match refused {
            Refused::Full | Refused::Closed => self.totals.dropped += 1,
            Refused::Unanswered => self.totals.unanswered += 1,
        }
    }
}
