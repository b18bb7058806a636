//! The controller actor: it creates and removes meetings, and supervises them.
//!
//! One a process. Shutdown drains in order: the controller lets nothing new in, each meeting handles its mailbox and
//! ends its connections, and only when the last meeting ended does the controller end. Its own end is watched by the
//! task that `Controller::spawn` starts beside it.

use std::collections::HashMap;
use std::time::Duration;

use tachograph::Pulse;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::activities::BEAT_EVERY;
use crate::actor::{self, Address, Id, Mailbox, Refused};
use crate::actor_metrics::{Active, ActorMetrics};
use crate::connection::inject_panic;
use crate::fact::Fact;
use crate::meeting::{Meeting, MeetingConfig, MeetingHandle};
use crate::metrics::ActorType;
use crate::supervision::{self, Children, Ended, Outcome};

/// Messages that the controller's mailbox holds.
pub const CAPACITY: usize = 1_000;

/// How long meetings that were told to end may take before they are aborted.
const MEETINGS_END_WITHIN: Duration = Duration::from_secs(30);

/// What a controller is made with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ControllerConfig {
    /// The controller's id: for logs and heartbeats.
    pub id: String,
    /// How long a participant without a connection stays.
    pub grace: Duration,
    /// Meetings that it hosts at most.
    pub max_meetings: u64,
    /// Participants that it holds at most.
    pub max_participants: u64,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self { id: "mc-0".to_owned(), grace: Duration::from_secs(30), max_meetings: 1_000, max_participants: 100_000 }
    }
}

/// Why the controller refused what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// There is a meeting of that id.
    #[error("there is a meeting of that id, or it is still ending")]
    Conflict,
    /// It hosts as many meetings as it may.
    #[error("the controller hosts as many meetings as it may")]
    AtCapacity,
    /// No meeting of that id.
    #[error("no meeting of that id")]
    UnknownMeeting,
    /// The controller is ending.
    #[error("the controller is ending")]
    Draining,
    /// The message did not get through.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What the controller says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Meetings: `mc_meetings_active`.
    pub meetings: u64,
    /// Connections: `mc_connections_active`.
    pub connections: u64,
    /// Messages in the controller's own mailbox.
    pub mailbox_depth: u64,
    /// Whether it is ending.
    pub draining: bool,
}

type Reply<T> = oneshot::Sender<Result<T, ControllerError>>;

/// What the controller is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControllerMessage {
    /// Create a meeting.
    Create {
        /// Its id.
        meeting: Id,
        /// The answer.
        reply: Reply<MeetingHandle>,
    },
    /// Look a meeting up.
    Get {
        /// Its id.
        meeting: Id,
        /// The answer.
        reply: Reply<MeetingHandle>,
    },
    /// Remove a meeting; answered once it ended.
    Remove {
        /// Its id.
        meeting: Id,
        /// The answer.
        reply: Reply<()>,
    },
    /// What is going on.
    Status {
        /// The answer.
        reply: oneshot::Sender<Status>,
    },
    /// A fault: panic while handling this.
    Panic,
}

/// What others hold of the controller.
#[derive(Debug, Clone)]
pub struct ControllerHandle {
    address: Address<ControllerMessage>,
    cancel: CancellationToken,
    ended: watch::Receiver<Option<Outcome>>,
}

impl ControllerHandle {
    /// Its address.
    #[must_use]
    pub const fn address(&self) -> &Address<ControllerMessage> {
        &self.address
    }

    /// Creates a meeting.
    ///
    /// # Errors
    /// [`ControllerError`]: there is one of that id, no room, or the controller is ending.
    pub async fn create(&self, meeting: &str) -> Result<MeetingHandle, ControllerError> {
        let meeting = meeting.into();
        self.address.ask(|reply| ControllerMessage::Create { meeting, reply }).await?
    }

    /// Looks a meeting up.
    ///
    /// # Errors
    /// [`ControllerError`]: no such meeting.
    pub async fn get(&self, meeting: &str) -> Result<MeetingHandle, ControllerError> {
        let meeting = meeting.into();
        self.address.ask(|reply| ControllerMessage::Get { meeting, reply }).await?
    }

    /// Removes a meeting, and waits until it and its connections ended.
    ///
    /// # Errors
    /// [`ControllerError`]: no such meeting.
    pub async fn remove(&self, meeting: &str) -> Result<(), ControllerError> {
        let meeting = meeting.into();
        self.address.ask(|reply| ControllerMessage::Remove { meeting, reply }).await?
    }

    /// What is going on.
    ///
    /// # Errors
    /// [`ControllerError`]: the controller has ended.
    pub async fn status(&self) -> Result<Status, ControllerError> {
        Ok(self.address.ask(|reply| ControllerMessage::Status { reply }).await?)
    }

    /// Ends connections, meetings and the controller, in this order, and waits for it.
    pub async fn shutdown(&self) -> Outcome {
        self.cancel.cancel();
        self.ended().await
    }

    /// Waits for the controller's end, and its panic to be counted.
    pub async fn ended(&self) -> Outcome {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Aborted),
            // The watching task is gone: its runtime is.
            Err(_) => Outcome::Aborted,
        }
    }
}

/// The task's half.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    mailbox: Mailbox<ControllerMessage>,
    /// For its own depth in `Status`.
    address: Address<ControllerMessage>,
    cancel: CancellationToken,
    metrics: ActorMetrics,
    meetings: HashMap<Id, Hosted>,
    tasks: Children<Id>,
    draining: bool,
}

#[derive(Debug)]
struct Hosted {
    handle: MeetingHandle,
    /// Taken when the meeting is removed: it no longer counts while it ends.
    active: Option<Active>,
    /// Who waits for its end.
    waiting: Vec<Reply<()>>,
}

impl Controller {
    /// Starts the controller on the current runtime.
    #[must_use]
    pub fn spawn(config: ControllerConfig, metrics: &ActorMetrics) -> ControllerHandle {
        let (address, mailbox) = actor::mailbox(ActorType::Controller, &config.id, CAPACITY, metrics);
        let cancel = CancellationToken::new();
        let (end, ended) = watch::channel(None);
        let id = config.id.clone();
        let controller = Self {
            config,
            mailbox,
            address: address.clone(),
            cancel: cancel.clone(),
            metrics: metrics.clone(),
            meetings: HashMap::new(),
            tasks: Children::default(),
            draining: false,
        };
        let activity = controller.mailbox.activity();
        let task = tokio::spawn(activity.track(controller.run()));
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let outcome = match task.await {
                Ok(()) => Outcome::Finished,
                Err(error) => Outcome::of(error),
            };
            supervision::account(&metrics, ActorType::Controller, &id, &outcome).await;
            end.send_replace(Some(outcome));
        });
        ControllerHandle { address, cancel, ended }
    }

    async fn run(mut self) {
        // While it drains it waits for others, and promises nothing.
        let mut beat = self.metrics.activities().and_then(|activities| activities.pulse("control-loop")).map(Beat::new);
        loop {
            // Supervision before messages: an end must not wait behind a full mailbox.
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                Some(ended) = self.tasks.next() => self.meeting_ended(ended).await,
                message = self.mailbox.take() => match message {
                    Some(message) => self.handle(message).await,
                    None => break,
                },
                () = Beat::due(&mut beat) => {}
            }
            if let Some(beat) = &mut beat {
                beat.pulse.beat();
            }
        }
        drop(beat);
        self.drain().await;
    }

    async fn drain(&mut self) {
        self.draining = true;
        self.mailbox.close();
        while let Some(message) = self.mailbox.take().await {
            self.handle(message).await;
        }
        self.meetings.values().for_each(|hosted| hosted.handle.cancel());
        let deadline = Instant::now() + MEETINGS_END_WITHIN;
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.next()).await {
                Ok(Some(ended)) => self.meeting_ended(ended).await,
                Ok(None) => break,
                Err(_late) => {
                    self.tasks.abort_all();
                    while let Some(ended) = self.tasks.next().await {
                        self.meeting_ended(ended).await;
                    }
                    break;
                }
            }
        }
    }

    async fn handle(&mut self, message: ControllerMessage) {
        self.mailbox.begin(&message);
        match message {
            ControllerMessage::Create { meeting, reply } => answer(reply, self.create(&meeting)),
            ControllerMessage::Get { meeting, reply } => {
                let hosted = self.meetings.get(&meeting).filter(|hosted| hosted.active.is_some());
                answer(reply, hosted.map(|hosted| hosted.handle.clone()).ok_or(ControllerError::UnknownMeeting));
            }
            ControllerMessage::Remove { meeting, reply } => self.remove(&meeting, reply),
            ControllerMessage::Status { reply } => {
                let metrics = self.metrics.metrics();
                let status = Status {
                    meetings: metrics.meetings.get().unsigned_abs(),
                    connections: metrics.connections.get().unsigned_abs(),
                    mailbox_depth: self.address.monitor().depth(),
                    draining: self.draining,
                };
                // Whoever asked may have gone.
                let _ = reply.send(status);
            }
            ControllerMessage::Panic => self.draining = inject_panic("controller"),
        }
        self.metrics.count(Fact::Message(ActorType::Controller)).await;
        self.mailbox.end();
    }

    fn create(&mut self, id: &Id) -> Result<MeetingHandle, ControllerError> {
        if self.draining {
            return Err(ControllerError::Draining);
        }
        if self.meetings.contains_key(id) {
            return Err(ControllerError::Conflict);
        }
        if self.meetings.len() as u64 >= self.config.max_meetings {
            return Err(ControllerError::AtCapacity);
        }
        let config = MeetingConfig { grace: self.config.grace, max_participants: self.config.max_participants };
        // Not a child of the controller's own token: meetings end when the controller has handled its mailbox.
        let (handle, meeting) = Meeting::new(id, config, CancellationToken::new(), &self.metrics);
        let activity = meeting.activity();
        self.tasks.spawn(Id::clone(id), activity.track(meeting.run()));
        let hosted =
            Hosted { handle: handle.clone(), active: Some(self.metrics.active_meeting()), waiting: Vec::new() };
        self.meetings.insert(Id::clone(id), hosted);
        Ok(handle)
    }

    fn remove(&mut self, id: &Id, reply: Reply<()>) {
        match self.meetings.get_mut(id) {
            None => answer(reply, Err(ControllerError::UnknownMeeting)),
            Some(hosted) => {
                hosted.active = None;
                hosted.handle.cancel();
                hosted.waiting.push(reply);
            }
        }
    }

    async fn meeting_ended(&mut self, ended: Ended<Id>) {
        let Some(id) = ended.key else { return };
        supervision::account(&self.metrics, ActorType::Meeting, &id, &ended.outcome).await;
        if let Some(hosted) = self.meetings.remove(&id) {
            hosted.waiting.into_iter().for_each(|reply| answer(reply, Ok(())));
        }
    }
}

/// The loop's promise, and what has it come round where there is nothing to do.
#[derive(Debug)]
struct Beat {
    pulse: Pulse,
    every: Interval,
}

impl Beat {
    fn new(pulse: Pulse) -> Self {
        let mut every = tokio::time::interval(BEAT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { pulse, every }
    }

    /// Waits until the next beat is due; for ever, where nothing was promised. Cancel safe.
    async fn due(beat: &mut Option<Self>) {
        match beat {
            Some(beat) => _ = beat.every.tick().await,
            None => std::future::pending().await,
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, ControllerError>) {
    // Whoever asked may have gone.
    let _ = reply.send(result);
}
