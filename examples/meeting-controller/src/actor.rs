//! The two halves of an actor's mailbox: the address that others hold, and the mailbox that the task owns.
//!
//! A bounded channel with a `MailboxMonitor` around it. An address never keeps an actor alive in the metrics: when the
//! task ends, its mailbox is dropped, and with it the actor's share of the depth, whatever addresses are left. Messages
//! are put in by `offer` (refused where there is no room, and counted) or `send` (waits for room).

use std::sync::Arc;

use tachograph::{Activity, ActivityId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::activities::{Doings, Marked};
use crate::actor_metrics::ActorMetrics;
use crate::mailbox::MailboxMonitor;
use crate::metrics::ActorType;

/// A name of an actor, meeting, participant or connection: for logs and maps, never a label.
pub type Id = Arc<str>;

/// Why a message was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The mailbox has no room. The message was counted as dropped.
    #[error("the mailbox is full: try again later")]
    Full,
    /// The actor takes no more messages. The message was counted as dropped.
    #[error("the mailbox is closed: the actor has ended or is ending")]
    Closed,
    /// The message was taken in, but the actor ended before it answered.
    #[error("the actor ended before it answered")]
    Unanswered,
}

/// Makes the mailbox of one actor.
///
/// ```
/// use meeting_controller::{actor, ActorMetrics, ActorType, McMetrics};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let region = tachograph::Region::private("doc")?;
/// let metrics = ActorMetrics::new(region.metrics::<McMetrics>()?);
/// let (address, mut mailbox) = actor::mailbox(ActorType::Meeting, "m", 1, &metrics);
/// address.offer("hello").await?;
/// assert!(address.offer("no room").await.is_err());
/// assert_eq!(metrics.metrics().actors.dropped.at(ActorType::Meeting).get(), 1);
/// assert_eq!(mailbox.take().await, Some("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn mailbox<M>(actor: ActorType, id: &str, capacity: usize, metrics: &ActorMetrics) -> (Address<M>, Mailbox<M>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let monitor = MailboxMonitor::new(actor, id, capacity, metrics);
    let marks = metrics.activities().map(|activities| (activities.activity(actor, id, capacity), *activities.doings()));
    let monitor = Arc::new(match &marks {
        Some((activity, _)) => monitor.shown_in(activity),
        None => monitor,
    });
    (Address { sender, monitor: Arc::clone(&monitor) }, Mailbox { receiver, monitor, marks })
}

/// Where to send an actor its messages.
#[derive(Debug)]
pub struct Address<M> {
    sender: mpsc::Sender<M>,
    monitor: Arc<MailboxMonitor>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), monitor: Arc::clone(&self.monitor) }
    }
}

impl<M> Address<M> {
    /// Puts a message in where there is room; else it is dropped and counted.
    ///
    /// # Errors
    /// [`Refused::Full`] or [`Refused::Closed`].
    pub async fn offer(&self, message: M) -> Result<(), Refused> {
        match self.sender.try_reserve() {
            Ok(permit) => self.put(permit, message).await,
            Err(TrySendError::Full(())) => {
                self.monitor.refuse().await;
                Err(Refused::Full)
            }
            Err(TrySendError::Closed(())) => self.refuse_closed().await,
        }
    }

    /// Puts a message in, waiting for room.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub async fn send(&self, message: M) -> Result<(), Refused> {
        match self.sender.reserve().await {
            Ok(permit) => self.put(permit, message).await,
            Err(_closed) => self.refuse_closed().await,
        }
    }

    /// Puts a question in, waiting for room, and waits for the answer.
    ///
    /// # Errors
    /// [`Refused::Closed`] or [`Refused::Unanswered`].
    pub async fn ask<R>(&self, question: impl FnOnce(oneshot::Sender<R>) -> M) -> Result<R, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(question(reply)).await?;
        answer.await.map_err(|_| Refused::Unanswered)
    }

    /// Waits until the actor takes no more messages.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Depth and level of the mailbox.
    #[must_use]
    pub fn monitor(&self) -> &MailboxMonitor {
        &self.monitor
    }

    async fn put(&self, permit: mpsc::Permit<'_, M>, message: M) -> Result<(), Refused> {
        // Counted between reserving and sending: there is room for sure, and the actor cannot have taken it out yet.
        if self.monitor.put() {
            permit.send(message);
            Ok(())
        } else {
            drop(permit);
            self.refuse_closed().await
        }
    }

    async fn refuse_closed(&self) -> Result<(), Refused> {
        self.monitor.refuse().await;
        Err(Refused::Closed)
    }
}

/// What the actor's task owns: it takes messages out.
#[derive(Debug)]
pub struct Mailbox<M> {
    receiver: mpsc::Receiver<M>,
    monitor: Arc<MailboxMonitor>,
    /// The actor's activity, and what it may be doing.
    marks: Option<(Activity, Doings)>,
}

impl<M> Mailbox<M> {
    /// Takes the next message out, waiting for one. `None` once the mailbox is closed and empty. Cancel safe.
    pub async fn take(&mut self) -> Option<M> {
        let message = self.receiver.recv().await?;
        self.monitor.take();
        Some(message)
    }

    /// Marks that the actor begins to handle a message.
    pub fn begin(&mut self, message: &impl Marked) {
        if let Some((activity, doings)) = &mut self.marks {
            activity.begin(message.doing(doings));
        }
    }

    /// Marks that the actor has handled its message.
    pub fn end(&mut self) {
        if let Some((activity, _)) = &mut self.marks {
            activity.end();
        }
    }

    /// The actor's activity: its task is to be tracked by it, so that a crash names the actor.
    #[must_use]
    pub fn activity(&self) -> ActivityId {
        self.marks.as_ref().map(|(activity, _)| activity.id()).unwrap_or_default()
    }

    /// Lets nothing more in; what is inside can still be taken out.
    pub fn close(&mut self) {
        self.receiver.close();
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.receiver.close();
        self.monitor.end();
    }
}
