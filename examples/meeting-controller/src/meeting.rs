//! The meeting actor: its participants, their connections, and the grace period of those that are away.
//!
//! Spawned and supervised by the controller; spawns and supervises connections. Disconnect starts the grace period;
//! reconnect within it keeps the participant; leave ends it at once; expiry ends it once. What counts as active is held
//! by guards in this actor's maps, so that it is withdrawn however the actor ends. It never waits for a connection's
//! mailbox: what does not fit is dropped and counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tachograph::ActivityId;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actor::{self, Address, Id, Mailbox, Refused};
use crate::actor_metrics::{Active, ActorMetrics};
use crate::connection::{Connection, ConnectionHandle, ConnectionMessage, inject_panic};
use crate::fact::Fact;
use crate::metrics::ActorType;
use crate::supervision::{self, Children, Ended};

/// Messages that a meeting's mailbox holds.
pub const CAPACITY: usize = 500;

/// How long connections that were told to end may take before they are aborted.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(5);

/// Why a meeting refused what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeetingError {
    /// That participant is in the meeting already.
    #[error("the participant is in the meeting already: reconnect instead")]
    AlreadyJoined,
    /// The controller holds as many participants as it may.
    #[error("the controller holds as many participants as it may")]
    AtCapacity,
    /// No such participant: never joined, left, or its grace period is over.
    #[error("no such participant: never joined, left, or away for longer than the grace period")]
    UnknownParticipant,
    /// No such connection, or it is closed already.
    #[error("no such connection, or it is closed already")]
    UnknownConnection,
    /// The token is not the one that this participant was given last.
    #[error("the token is not the one that this participant was given last")]
    WrongToken,
    /// The meeting is ending.
    #[error("the meeting is ending")]
    Ending,
    /// The message did not get through.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What a participant gets on joining and on coming back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The connection that was opened.
    pub connection: Id,
    /// What to show on coming back. Valid once.
    pub token: u64,
}

type Reply<T> = oneshot::Sender<Result<T, MeetingError>>;

/// What a meeting is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum MeetingMessage {
    /// A participant joins.
    Join {
        /// Who.
        participant: Id,
        /// The answer.
        reply: Reply<Joined>,
    },
    /// A connection was lost.
    Disconnect {
        /// Which.
        connection: Id,
        /// The answer.
        reply: Reply<()>,
    },
    /// A participant comes back.
    Reconnect {
        /// Who.
        participant: Id,
        /// The token it was given last.
        token: u64,
        /// The answer.
        reply: Reply<Joined>,
    },
    /// A participant leaves.
    Leave {
        /// Who.
        participant: Id,
        /// The answer.
        reply: Reply<()>,
    },
    /// A signalling message, passed on to one connection after another.
    Signal {
        /// The message's number, chosen by its sender.
        sequence: u64,
    },
    /// The meeting is over.
    End,
    /// A fault: take no message until cancelled.
    Stall,
    /// A fault: panic while handling this.
    Panic,
    /// A fault: hand a message to the connection of a participant.
    ToConnection {
        /// Whose.
        participant: Id,
        /// What.
        message: ConnectionMessage,
    },
}

/// What others hold of a meeting.
#[derive(Debug, Clone)]
pub struct MeetingHandle {
    id: Id,
    address: Address<MeetingMessage>,
    cancel: CancellationToken,
}

impl MeetingHandle {
    /// The meeting's id.
    #[must_use]
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Its address, for messages without an answer.
    #[must_use]
    pub const fn address(&self) -> &Address<MeetingMessage> {
        &self.address
    }

    /// A participant joins.
    ///
    /// # Errors
    /// [`MeetingError`]: joined already, no room, or the meeting is ending.
    pub async fn join(&self, participant: &str) -> Result<Joined, MeetingError> {
        let participant = participant.into();
        self.address.ask(|reply| MeetingMessage::Join { participant, reply }).await?
    }

    /// A connection was lost: its participant's grace period starts.
    ///
    /// # Errors
    /// [`MeetingError`]: no such connection.
    pub async fn disconnect(&self, connection: &Id) -> Result<(), MeetingError> {
        let connection = Id::clone(connection);
        self.address.ask(|reply| MeetingMessage::Disconnect { connection, reply }).await?
    }

    /// A participant comes back, on a new connection.
    ///
    /// # Errors
    /// [`MeetingError`]: no such participant (any more), or a wrong token.
    pub async fn reconnect(&self, participant: &str, token: u64) -> Result<Joined, MeetingError> {
        let participant = participant.into();
        self.address.ask(|reply| MeetingMessage::Reconnect { participant, token, reply }).await?
    }

    /// A participant leaves.
    ///
    /// # Errors
    /// [`MeetingError`]: no such participant.
    pub async fn leave(&self, participant: &str) -> Result<(), MeetingError> {
        let participant = participant.into();
        self.address.ask(|reply| MeetingMessage::Leave { participant, reply }).await?
    }

    /// Asks the meeting to end: it handles what is in its mailbox, then its connections end, then it.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// What a meeting is made with.
#[derive(Debug, Clone)]
pub(crate) struct MeetingConfig {
    pub(crate) grace: Duration,
    pub(crate) max_participants: u64,
}

/// The task's half.
#[derive(Debug)]
pub(crate) struct Meeting {
    id: Id,
    config: MeetingConfig,
    mailbox: Mailbox<MeetingMessage>,
    cancel: CancellationToken,
    /// Not a child of `cancel`: connections end after the meeting has handled its mailbox.
    connections_end: CancellationToken,
    metrics: ActorMetrics,
    /// In order of their ids, so that a run of the same messages passes them on alike.
    participants: BTreeMap<Id, Participant>,
    /// Whose connection it is: the open ones.
    owners: HashMap<Id, Id>,
    connections: Children<Id>,
    /// Ends of grace periods, the earliest first (all are equally long). One that its participant no longer has is stale.
    graces: VecDeque<(Instant, Id)>,
    /// Who got the last signalling message.
    last_addressee: Option<Id>,
    connections_made: u64,
    stalled: bool,
    ending: bool,
}

#[derive(Debug)]
struct Participant {
    token: u64,
    state: Presence,
    _active: Active,
}

#[derive(Debug)]
enum Presence {
    Connected { id: Id, handle: ConnectionHandle, _active: Active },
    Away { until: Instant },
}

enum Event {
    Cancelled,
    Child(Ended<Id>),
    GraceOver,
    Message(Option<MeetingMessage>),
}

impl Meeting {
    pub(crate) fn new(
        id: &Id,
        config: MeetingConfig,
        cancel: CancellationToken,
        metrics: &ActorMetrics,
    ) -> (MeetingHandle, Self) {
        let (address, mailbox) = actor::mailbox(ActorType::Meeting, id, CAPACITY, metrics);
        let handle = MeetingHandle { id: Id::clone(id), address, cancel: cancel.clone() };
        let meeting = Self {
            id: Id::clone(id),
            config,
            mailbox,
            cancel,
            connections_end: CancellationToken::new(),
            metrics: metrics.clone(),
            participants: BTreeMap::new(),
            owners: HashMap::new(),
            connections: Children::default(),
            graces: VecDeque::new(),
            last_addressee: None,
            connections_made: 0,
            stalled: false,
            ending: false,
        };
        (handle, meeting)
    }

    /// Its activity.
    pub(crate) fn activity(&self) -> ActivityId {
        self.mailbox.activity()
    }

    pub(crate) async fn run(mut self) {
        while !self.ending {
            let grace_over = self.graces.front().map(|(until, _)| *until);
            // Supervision before messages: an end must not wait behind a full mailbox.
            let event = tokio::select! {
                biased;
                () = self.cancel.cancelled() => Event::Cancelled,
                Some(ended) = self.connections.next() => Event::Child(ended),
                () = sleep_until(grace_over) => Event::GraceOver,
                message = self.mailbox.take(), if !self.stalled => Event::Message(message),
            };
            match event {
                Event::Cancelled | Event::Message(None) => break,
                Event::Child(ended) => self.connection_ended(ended).await,
                Event::GraceOver => self.expire(Instant::now()),
                Event::Message(Some(message)) => self.handle(message).await,
            }
        }
        self.end().await;
    }

    /// Handles what is in the mailbox, then ends the connections, which handle what is in theirs.
    async fn end(&mut self) {
        self.ending = true;
        self.stalled = false;
        self.mailbox.close();
        while let Some(message) = self.mailbox.take().await {
            self.handle(message).await;
        }
        self.connections_end.cancel();
        let deadline = Instant::now() + CONNECTIONS_END_WITHIN;
        loop {
            match tokio::time::timeout_at(deadline, self.connections.next()).await {
                Ok(Some(ended)) => self.connection_ended(ended).await,
                Ok(None) => break,
                Err(_late) => {
                    self.connections.abort_all();
                    while let Some(ended) = self.connections.next().await {
                        self.connection_ended(ended).await;
                    }
                    break;
                }
            }
        }
        tracing::debug!(meeting = &*self.id, "meeting ended");
    }

    async fn handle(&mut self, message: MeetingMessage) {
        self.mailbox.begin(&message);
        match message {
            MeetingMessage::Join { participant, reply } => answer(reply, self.join(participant)),
            MeetingMessage::Disconnect { connection, reply } => answer(reply, self.disconnect(&connection)),
            MeetingMessage::Reconnect { participant, token, reply } => {
                answer(reply, self.reconnect(&participant, token))
            }
            MeetingMessage::Leave { participant, reply } => answer(reply, self.leave(&participant)),
            MeetingMessage::Signal { sequence } => self.pass_on(sequence).await,
            MeetingMessage::End => self.ending = true,
            // Stalled while ending would be ended by nobody.
            MeetingMessage::Stall => self.stalled = !self.ending,
            MeetingMessage::Panic => self.ending = inject_panic("meeting"),
            MeetingMessage::ToConnection { participant, message } => {
                if let Some(Presence::Connected { handle, .. }) = self.participants.get(&participant).map(|p| &p.state)
                {
                    // A refusal is counted by the address; there is nobody to tell.
                    let _ = handle.address.offer(message).await;
                }
            }
        }
        self.metrics.count(Fact::Message(ActorType::Meeting)).await;
        // One that stalls is busy with that until it is told to end.
        if !self.stalled {
            self.mailbox.end();
        }
    }

    fn join(&mut self, id: Id) -> Result<Joined, MeetingError> {
        if self.ending {
            return Err(MeetingError::Ending);
        }
        if self.participants.contains_key(&id) {
            return Err(MeetingError::AlreadyJoined);
        }
        if self.metrics.metrics().participants.get().unsigned_abs() >= self.config.max_participants {
            return Err(MeetingError::AtCapacity);
        }
        let (joined, state) = self.connect(&id);
        let participant = Participant { token: joined.token, state, _active: self.metrics.active_participant() };
        self.participants.insert(id, participant);
        Ok(joined)
    }

    fn reconnect(&mut self, id: &Id, token: u64) -> Result<Joined, MeetingError> {
        if self.ending {
            return Err(MeetingError::Ending);
        }
        match self.participants.get(id) {
            None => return Err(MeetingError::UnknownParticipant),
            Some(participant) if participant.token != token => return Err(MeetingError::WrongToken),
            // The timer may be due and not yet handled.
            Some(Participant { state: Presence::Away { until }, .. }) if *until <= Instant::now() => {
                return Err(MeetingError::UnknownParticipant);
            }
            Some(_) => {}
        }
        let (joined, state) = self.connect(id);
        if let Some(participant) = self.participants.get_mut(id) {
            participant.token = joined.token;
            // An old connection that is still open is replaced: its late end finds no owner and changes nothing.
            let old = std::mem::replace(&mut participant.state, state);
            self.close(old);
        }
        Ok(joined)
    }

    fn disconnect(&mut self, connection: &Id) -> Result<(), MeetingError> {
        let id = self.owners.remove(connection).ok_or(MeetingError::UnknownConnection)?;
        let until = Instant::now() + self.config.grace;
        if let Some(participant) = self.participants.get_mut(&id) {
            let old = std::mem::replace(&mut participant.state, Presence::Away { until });
            self.graces.push_back((until, id));
            self.close(old);
        }
        Ok(())
    }

    fn leave(&mut self, id: &Id) -> Result<(), MeetingError> {
        let participant = self.participants.remove(id).ok_or(MeetingError::UnknownParticipant)?;
        self.close(participant.state);
        Ok(())
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, id)) = self.graces.pop_front_if(|(until, _)| *until <= now) {
            let away =
                |participant: &Participant| matches!(participant.state, Presence::Away { until: u } if u == until);
            if self.participants.get(&id).is_some_and(away) {
                self.participants.remove(&id);
            }
        }
    }

    /// Opens a connection for a participant.
    fn connect(&mut self, participant: &Id) -> (Joined, Presence) {
        self.connections_made += 1;
        let id: Id = format!("{}/connection-{}", self.id, self.connections_made).into();
        let (handle, connection) = Connection::new(&id, self.connections_end.child_token(), &self.metrics);
        let activity = connection.activity();
        self.connections.spawn(Id::clone(&id), activity.track(connection.run()));
        self.owners.insert(Id::clone(&id), Id::clone(participant));
        // Unique within the meeting, which is all that a simulated client needs.
        let joined = Joined { connection: Id::clone(&id), token: self.connections_made };
        (joined, Presence::Connected { id, handle, _active: self.metrics.active_connection() })
    }

    fn close(&mut self, state: Presence) {
        if let Presence::Connected { id, handle, .. } = state {
            self.owners.remove(&id);
            handle.cancel.cancel();
        }
    }

    async fn connection_ended(&mut self, ended: Ended<Id>) {
        let Some(id) = ended.key else { return };
        supervision::account(&self.metrics, ActorType::Connection, &id, &ended.outcome).await;
        // One that was told to end has no owner any more; one that ended by itself starts the grace period.
        let _ = self.disconnect(&id);
    }

    /// Passes a signalling message on to the connected participant after the one that got the last.
    async fn pass_on(&mut self, sequence: u64) {
        use std::ops::Bound::{Excluded, Unbounded};
        let connected = |(id, participant): (&Id, &Participant)| match &participant.state {
            Presence::Connected { handle, .. } => Some((Id::clone(id), handle.address.clone())),
            Presence::Away { .. } => None,
        };
        let after = self
            .last_addressee
            .take()
            .and_then(|last| self.participants.range::<Id, _>((Excluded(last), Unbounded)).find_map(connected));
        if let Some((id, address)) = after.or_else(|| self.participants.iter().find_map(connected)) {
            self.last_addressee = Some(id);
            // A refusal is counted by the address.
            let _ = address.offer(ConnectionMessage::Deliver { sequence }).await;
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, MeetingError>) {
    // Whoever asked may have gone.
    let _ = reply.send(result);
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
