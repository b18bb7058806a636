//! Who may be doing something: an activity's slot as a recording tells it, once for as long as it stays the same.
//!
//! Called by `structure.rs`. What the actor does is told at each tick, as words.

use super::edit::Item;
use super::wire::{Cursor, Malformed, put, put_text};
use crate::evidence::{Activity, ActivityState, Actor};
use crate::table::printable;

/// Words that an activity has: what it does, since when, mailbox depth, messages handled.
pub(crate) const WORDS: usize = 4;

/// An actor in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    slot: u64,
    actor: Actor,
    ended: bool,
    mailbox_capacity: u64,
    claimed_realtime_ns: u64,
}

impl Slot {
    pub(crate) fn of(activity: &Activity) -> Self {
        Self {
            slot: activity.slot,
            actor: activity.actor.clone(),
            ended: activity.state == ActivityState::Ended,
            mailbox_capacity: activity.mailbox_capacity,
            claimed_realtime_ns: activity.claimed_realtime_ns,
        }
    }

    /// Whether an activity stands in this slot, unchanged but for what it does.
    pub(crate) fn is_of(&self, activity: &Activity) -> bool {
        self.slot == activity.slot
            && self.claimed_realtime_ns == activity.claimed_realtime_ns
            && self.ended == (activity.state == ActivityState::Ended)
            && self.mailbox_capacity == activity.mailbox_capacity
            && self.actor == activity.actor
    }

    /// What it holds beside numbers.
    pub(crate) fn texts(&self) -> [&str; 2] {
        [&self.actor.actor_type, &self.actor.id]
    }

    /// The activity at a tick, from its words.
    pub(crate) fn activity(&self, words: &[u64; WORDS], doings: &[String], monotonic_ns: u64) -> Activity {
        let [doing, since_monotonic_ns, mailbox_depth, handled] = *words;
        let index = usize::try_from(doing).ok().and_then(|doing| doing.checked_sub(1));
        let doing = index.and_then(|index| doings.get(index)).cloned();
        Activity {
            slot: self.slot,
            actor: self.actor.clone(),
            state: if self.ended { ActivityState::Ended } else { ActivityState::Live },
            busy_ns: doing.as_ref().map(|_| monotonic_ns.saturating_sub(since_monotonic_ns)),
            doing,
            since_monotonic_ns,
            mailbox_depth,
            mailbox_capacity: self.mailbox_capacity,
            handled,
            claimed_realtime_ns: self.claimed_realtime_ns,
        }
    }

    pub(crate) fn put(out: &mut Vec<u8>, slot: &Self) {
        put(out, slot.slot << 1 | u64::from(slot.ended));
        put_text(out, &slot.actor.actor_type);
        put_text(out, &slot.actor.id);
        put(out, slot.mailbox_capacity);
        put(out, slot.claimed_realtime_ns);
    }

    pub(crate) fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let head = cursor.number()?;
        Ok(Self {
            slot: head >> 1,
            ended: head & 1 == 1,
            actor: Actor { actor_type: printable(cursor.text()?), id: printable(cursor.text()?) },
            mailbox_capacity: cursor.number()?,
            claimed_realtime_ns: cursor.number()?,
        })
    }
}

impl Item for Slot {
    fn order(&self) -> (u64, u64, u64) {
        (self.slot, self.claimed_realtime_ns, 0)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.actor == other.actor && self.mailbox_capacity == other.mailbox_capacity
    }

    fn is_changed(&self, other: &Self) -> bool {
        self.ended != other.ended
    }

    fn change(&mut self) {
        self.ended = !self.ended;
    }
}
