//! The connection actor: the controller's end of one participant's connection.
//!
//! Spawned and supervised by its meeting, which holds the only address. It ends when its meeting cancels it, when its
//! client hangs up, or by a panic; asked to end, it first handles what is already in its mailbox.

use tachograph::ActivityId;
use tokio_util::sync::CancellationToken;

use crate::actor::{self, Address, Id, Mailbox};
use crate::actor_metrics::ActorMetrics;
use crate::fact::Fact;
use crate::metrics::ActorType;

/// Messages that a connection's mailbox holds.
pub const CAPACITY: usize = 200;

/// What a connection is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionMessage {
    /// Send a signalling message to the client.
    Deliver {
        /// The message's number, chosen by its sender.
        sequence: u64,
    },
    /// The client hung up: the connection ends by itself.
    HangUp,
    /// A fault: panic while handling this.
    Panic,
}

/// A running connection, as its meeting holds it.
#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    pub(crate) address: Address<ConnectionMessage>,
    pub(crate) cancel: CancellationToken,
}

/// The task's half.
#[derive(Debug)]
pub(crate) struct Connection {
    id: Id,
    mailbox: Mailbox<ConnectionMessage>,
    cancel: CancellationToken,
    metrics: ActorMetrics,
    /// Sequence of the message last sent to the client.
    last_sent: u64,
}

impl Connection {
    pub(crate) fn new(id: &Id, cancel: CancellationToken, metrics: &ActorMetrics) -> (ConnectionHandle, Self) {
        let (address, mailbox) = actor::mailbox(ActorType::Connection, id, CAPACITY, metrics);
        let handle = ConnectionHandle { address, cancel: cancel.clone() };
        (handle, Self { id: Id::clone(id), mailbox, cancel, metrics: metrics.clone(), last_sent: 0 })
    }

    /// Its activity.
    pub(crate) fn activity(&self) -> ActivityId {
        self.mailbox.activity()
    }

    pub(crate) async fn run(mut self) {
        loop {
            let message = tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                message = self.mailbox.take() => message,
            };
            let Some(message) = message else { break };
            if !self.handle(message).await {
                break;
            }
        }
        self.mailbox.close();
        while let Some(message) = self.mailbox.take().await {
            self.handle(message).await;
        }
        tracing::trace!(connection = &*self.id, last_sent = self.last_sent, "connection closed");
    }

    /// Whether to go on.
    async fn handle(&mut self, message: ConnectionMessage) -> bool {
        self.mailbox.begin(&message);
        let go_on = match message {
            ConnectionMessage::Deliver { sequence } => {
                self.last_sent = sequence;
                true
            }
            ConnectionMessage::HangUp => false,
            ConnectionMessage::Panic => inject_panic("connection"),
        };
        self.metrics.count(Fact::Message(ActorType::Connection)).await;
        self.mailbox.end();
        go_on
    }
}

/// The fault that tests and the load ask for: a real panic, which unwinds the actor's task.
#[expect(clippy::panic, reason = "an injected fault")]
pub(crate) fn inject_panic(actor: &str) -> bool {
    panic!("injected fault: {actor} panics");
}
