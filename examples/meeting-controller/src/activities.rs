//! What actors mark in the region: who they are, which message they handle, how full their mailbox is.
//!
//! The controller's start makes one [`Activities`] and gives it to [`crate::ActorMetrics`]; every mailbox that is made with
//! those has an activity. Without it (most tests) actors mark nothing. Ids stand in activities and in the log, never in a
//! label.

use std::sync::Arc;
use std::time::Duration;

use tachograph::{Activity, DoingSet, LabelValue, MarkError, Pulse, Region};

use crate::connection::ConnectionMessage;
use crate::controller::ControllerMessage;
use crate::labels::ActorType;
use crate::meeting::MeetingMessage;

/// What the controller handles.
#[derive(Debug, Clone, Copy, LabelValue)]
pub enum ControllerDoing {
    /// Creating a meeting.
    Create,
    /// Looking a meeting up.
    Get,
    /// Removing a meeting.
    Remove,
    /// Telling what is going on.
    Status,
    /// The fault.
    Panic,
}

/// What a meeting handles.
#[derive(Debug, Clone, Copy, LabelValue)]
pub enum MeetingDoing {
    /// A participant joins.
    Join,
    /// A connection was lost.
    Disconnect,
    /// A participant comes back.
    Reconnect,
    /// A participant leaves.
    Leave,
    /// A signalling message.
    Signal,
    /// The meeting is over.
    End,
    /// The fault: no message is taken any more.
    Stall,
    /// The fault.
    Panic,
    /// A message for one connection.
    ToConnection,
}

/// What a connection handles.
#[derive(Debug, Clone, Copy, LabelValue)]
pub enum ConnectionDoing {
    /// A message for the client.
    Deliver,
    /// The client hung up.
    HangUp,
    /// The fault.
    Panic,
}

/// The region, and what its actors may be doing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Activities(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    region: Region,
    doings: Doings,
}

/// The registered doings of each type of actor.
#[derive(Debug, Clone, Copy)]
pub struct Doings {
    /// The controller's.
    pub controller: DoingSet<ControllerDoing>,
    /// A meeting's.
    pub meeting: DoingSet<MeetingDoing>,
    /// A connection's.
    pub connection: DoingSet<ConnectionDoing>,
}

/// A message that an actor marks while it handles it.
pub trait Marked {
    /// What the actor is doing while it handles this.
    fn doing(&self, doings: &Doings) -> tachograph::Doing;
}

/// How often the controller's loop comes round at least.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long it may stay away before it counts as hung.
pub const BEAT_WITHIN: Duration = Duration::from_secs(5);

impl Activities {
    /// Registers what actors may be doing.
    ///
    /// # Errors
    /// [`MarkError`] where the region has no room for the texts.
    pub fn new(region: &Region) -> Result<Self, MarkError> {
        let doings = Doings { controller: region.doings()?, meeting: region.doings()?, connection: region.doings()? };
        Ok(Self(Arc::new(Inner { region: region.clone(), doings })))
    }

    /// The registered doings.
    #[must_use]
    pub fn doings(&self) -> &Doings {
        &self.0.doings
    }

    /// The activity of a new actor.
    #[must_use]
    pub fn activity(&self, actor: ActorType, id: &str, capacity: usize) -> Activity {
        self.0.region.activity(actor.as_str(), id, capacity as u64)
    }

    /// The promise of the controller's loop. None, and a line in the log, where the region refuses it: no outage for that.
    #[must_use]
    pub fn pulse(&self, name: &str) -> Option<Pulse> {
        let pulse = self.0.region.pulse(name, BEAT_WITHIN);
        pulse.inspect_err(|error| tracing::warn!(%error, "no pulse")).ok()
    }
}

impl Marked for ControllerMessage {
    fn doing(&self, doings: &Doings) -> tachograph::Doing {
        doings.controller.at(match self {
            Self::Create { .. } => ControllerDoing::Create,
            Self::Get { .. } => ControllerDoing::Get,
            Self::Remove { .. } => ControllerDoing::Remove,
            Self::Status { .. } => ControllerDoing::Status,
            Self::Panic => ControllerDoing::Panic,
        })
    }
}

impl Marked for MeetingMessage {
    fn doing(&self, doings: &Doings) -> tachograph::Doing {
        doings.meeting.at(match self {
            Self::Join { .. } => MeetingDoing::Join,
            Self::Disconnect { .. } => MeetingDoing::Disconnect,
            Self::Reconnect { .. } => MeetingDoing::Reconnect,
            Self::Leave { .. } => MeetingDoing::Leave,
            Self::Signal { .. } => MeetingDoing::Signal,
            Self::End => MeetingDoing::End,
            Self::Stall => MeetingDoing::Stall,
            Self::Panic => MeetingDoing::Panic,
            Self::ToConnection { .. } => MeetingDoing::ToConnection,
        })
    }
}

impl Marked for ConnectionMessage {
    fn doing(&self, doings: &Doings) -> tachograph::Doing {
        doings.connection.at(match self {
            Self::Deliver { .. } => ConnectionDoing::Deliver,
            Self::HangUp => ConnectionDoing::HangUp,
            Self::Panic => ConnectionDoing::Panic,
        })
    }
}
