//! One actor's mailbox depth: counted when a message is put in, uncounted when the actor takes it out.
//!
//! Written by every sender and by the actor; the depth family of the region is the sum over living actors of a type, and
//! an actor's share is withdrawn when it ends. Never blocks. Logs a crossing into a higher level once, and again only
//! after the level fell.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use tachograph::{Activity, LabelValue, MailboxDepth};

use crate::actor_metrics::ActorMetrics;
use crate::fact::Fact;
use crate::metrics::ActorType;

/// How full a mailbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MailboxLevel {
    /// Nothing to say.
    Normal = 0,
    /// Above the first edge.
    Warning = 1,
    /// Above the second edge, or full, or it refused a message.
    Critical = 2,
}

impl MailboxLevel {
    /// The level of a depth: exactly at an edge is still below it, exactly at the capacity is full.
    ///
    /// ```
    /// use meeting_controller::{ActorType, MailboxLevel};
    /// let level = |depth| MailboxLevel::of(ActorType::Meeting, depth, 1_000);
    /// assert_eq!((level(100), level(101)), (MailboxLevel::Normal, MailboxLevel::Warning));
    /// assert_eq!((level(500), level(501)), (MailboxLevel::Warning, MailboxLevel::Critical));
    /// assert_eq!(MailboxLevel::of(ActorType::Meeting, 500, 500), MailboxLevel::Critical); // full
    /// ```
    #[must_use]
    pub const fn of(actor: ActorType, depth: u64, capacity: u64) -> Self {
        let (warning, critical) = match actor {
            ActorType::Controller | ActorType::Meeting => (100, 500),
            ActorType::Connection => (50, 200),
        };
        if depth > critical || depth >= capacity {
            Self::Critical
        } else if depth > warning {
            Self::Warning
        } else {
            Self::Normal
        }
    }
}

/// Keeps the true depth of one actor's mailbox, and the actor's share in the region.
///
/// Relaxed throughout: the channel orders messages, these are numbers about them.
#[derive(Debug)]
pub struct MailboxMonitor {
    actor: ActorType,
    id: Box<str>,
    capacity: u64,
    /// Messages inside; [`ENDED`] once the share is withdrawn.
    depth: AtomicU64,
    /// It refused a message and none went in or out since.
    refused: AtomicBool,
    /// The highest level said and not re-armed.
    said: AtomicU8,
    metrics: ActorMetrics,
    /// The depth as the actor's activity shows it.
    shown: Option<MailboxDepth>,
}

/// No depth: the actor is gone, and what comes now is not counted.
const ENDED: u64 = u64::MAX;

impl MailboxMonitor {
    /// The monitor of a mailbox for `capacity` messages, empty. The id is for logs only.
    #[must_use]
    pub fn new(actor: ActorType, id: &str, capacity: usize, metrics: &ActorMetrics) -> Self {
        Self {
            actor,
            id: id.into(),
            capacity: capacity as u64,
            depth: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            said: AtomicU8::new(MailboxLevel::Normal as u8),
            metrics: metrics.clone(),
            shown: None,
        }
    }

    /// Shows the depth in the actor's activity, too.
    #[must_use]
    pub fn shown_in(mut self, activity: &Activity) -> Self {
        self.shown = Some(activity.mailbox());
        self
    }

    /// Counts a message that is about to be put in. `false` where the actor is gone: then it must not be put in.
    #[must_use = "a message must not be put into the mailbox of an actor that is gone"]
    pub fn put(&self) -> bool {
        let family = self.metrics.metrics().actors.mailbox_depth.at(self.actor);
        // First the region, then the depth: whoever withdraws the share finds what it takes off already added, so that
        // the sum never reads below 0.
        family.inc();
        let change = |depth| if depth == ENDED { None } else { Some(depth + 1) };
        let Ok(before) = self.depth.fetch_update(Relaxed, Relaxed, change) else {
            family.dec();
            return false;
        };
        // The message is put in once this returns: the actor can't have taken it out yet.
        self.shown.iter().for_each(MailboxDepth::inc);
        let depth = before + 1;
        self.metrics.metrics().actors.mailbox_depth_peak.at(self.actor).record(depth.cast_signed());
        self.refused.store(false, Relaxed);
        self.say(MailboxLevel::of(self.actor, depth, self.capacity), depth);
        true
    }

    /// Uncounts a message that the actor took out. One too many changes nothing.
    pub fn take(&self) {
        let change = |depth| if depth == ENDED || depth == 0 { None } else { Some(depth - 1) };
        if let Ok(before) = self.depth.fetch_update(Relaxed, Relaxed, change) {
            self.metrics.metrics().actors.mailbox_depth.at(self.actor).dec();
            self.shown.iter().for_each(MailboxDepth::dec);
            self.refused.store(false, Relaxed);
            // Re-arms what lies above the level now.
            self.said.fetch_min(MailboxLevel::of(self.actor, before - 1, self.capacity) as u8, Relaxed);
        }
    }

    /// Counts a message that the mailbox refused, full or closed. The depth does not change.
    pub async fn refuse(&self) {
        if self.depth.load(Relaxed) != ENDED {
            self.refused.store(true, Relaxed);
            self.say(MailboxLevel::Critical, self.depth());
        }
        self.metrics.count(Fact::Dropped(self.actor)).await;
    }

    /// Withdraws the actor's share: it ended, and what is still inside will not be handled.
    pub fn end(&self) {
        let left = self.depth.swap(ENDED, Relaxed);
        if left != ENDED {
            self.metrics.metrics().actors.mailbox_depth.at(self.actor).sub(left);
        }
    }

    /// Messages inside now; 0 once the actor ended.
    #[must_use]
    pub fn depth(&self) -> u64 {
        match self.depth.load(Relaxed) {
            ENDED => 0,
            depth => depth,
        }
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> MailboxLevel {
        if self.refused.load(Relaxed) {
            MailboxLevel::Critical
        } else {
            MailboxLevel::of(self.actor, self.depth(), self.capacity)
        }
    }

    fn say(&self, level: MailboxLevel, depth: u64) {
        // Of several threads that cross at once, only one finds the lower level before it.
        let before = self.said.load(Relaxed);
        if level as u8 <= before || self.said.fetch_max(level as u8, Relaxed) >= level as u8 {
            return;
        }
        let (actor_type, actor_id) = (self.actor.as_str(), &*self.id);
        if level == MailboxLevel::Critical {
            tracing::warn!(target: "mc.actor.mailbox", actor_type, actor_id, depth, "mailbox depth critical");
        } else {
            tracing::debug!(target: "mc.actor.mailbox", actor_type, actor_id, depth, "mailbox depth elevated");
        }
    }
}

impl Drop for MailboxMonitor {
    fn drop(&mut self) {
        self.end();
    }
}
