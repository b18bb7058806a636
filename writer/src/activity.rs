//! Activities: which actor does what, since when, and how full its mailbox is. No metrics format shows them.
//!
//! An actor claims a slot where it starts ([`Region::activity`]) and marks each message by two plain stores where it
//! begins and ends ([`Activity::begin`], [`Activity::end`]). Marks never fail, allocate, lock or ask a clock. What an ended
//! actor was doing stays in its slot until another actor takes it.

mod current;
mod doing;
mod mailbox;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytemuck::Zeroable;
use rustix::time::ClockId;
use tachograph_layout::{ActivityRecord, Control, Section, Words, add_own};

use crate::field::put_text;
use crate::owned_slots::{Owned, OwnedSlots};
use crate::process::Attached;
use crate::{Region, housekeeping};

pub(crate) use current::current;
pub use current::{ActivityId, Entered, Tracked};
pub use doing::{Doing, DoingSet};
pub use mailbox::MailboxDepth;

/// The words of a slot that change with every message, from [`HOT`] on.
type Hot = [AtomicU64; 16];
const HOT: usize = std::mem::offset_of!(ActivityRecord, doing);
const DOING: usize = 0;
const SINCE: usize = (std::mem::offset_of!(ActivityRecord, since_monotonic_ns) - HOT) / 8;
const DEPTH: usize = (std::mem::offset_of!(ActivityRecord, mailbox_depth) - HOT) / 8;
const HANDLED: usize = (std::mem::offset_of!(ActivityRecord, handled) - HOT) / 8;
/// Outcome and time of the end.
const OUTCOME: usize = std::mem::offset_of!(ActivityRecord, outcome);

/// What actors without a slot mark, all of them.
static NOWHERE: Hot = [const { AtomicU64::new(0) }; 16];

/// The slots of a region's activities.
pub(crate) fn slots(attached: &'static Attached, section: Section) -> OwnedSlots {
    OwnedSlots::new(attached, section, Control::ACTIVITIES_USED, 0)
}

/// An actor's slot: who it is, and what it is doing. Owned by the actor; dropped, the actor has ended.
///
/// Marks are Relaxed stores: they order nothing, and a reader may find the time of one message with the name of the next.
/// The time is the last tick's (see [`crate::Builder::tick`]): up to one period too early. Where the actor is dropped while
/// its thread is unwinding, its slot says that it was unwound, and what it was doing.
///
/// ```
/// use tachograph::{LabelValue, Region};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Message { Join, Leave }
///
/// let region = Region::private("doc")?;
/// let doings = region.doings::<Message>()?; // once, at the start
///
/// let mut activity = region.activity("meeting", "stand-up", 500);
/// let depth = activity.mailbox();
/// depth.inc(); // by whoever puts a message in
/// depth.dec(); // by the actor that takes it out
/// activity.begin(doings.at(Message::Join));
/// // handle the message
/// activity.end();
/// assert_eq!(activity.handled(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Activity {
    hot: &'static Hot,
    /// `None` where there was no slot left.
    slot: Option<Arc<Owned>>,
}

impl Region {
    /// Claims an activity slot for an actor: its type, its id (at most 32 bytes of each are kept), and how many messages
    /// its mailbox holds (0: no bound).
    ///
    /// Never fails: where all slots of the region have owners (see [`crate::Builder::activities`]) or the region has
    /// ended, the actor marks nothing that anybody reads; the former is counted in the region.
    #[must_use = "dropped, the actor has ended"]
    pub fn activity(&self, actor_type: &str, id: &str, mailbox_capacity: u64) -> Activity {
        let mut record = ActivityRecord::zeroed();
        record.type_len = put_text(&mut record.actor_type, actor_type);
        record.id_len = put_text(&mut record.actor_id, id);
        record.mailbox_capacity = mailbox_capacity;
        record.claimed_realtime_ns = housekeeping::clock_ns(ClockId::Realtime);
        record.since_monotonic_ns = housekeeping::coarse_monotonic_ns();
        let slots = &self.marks().activities;
        let slot = slots.claim(record.as_words());
        if slot.is_none() && !slots.attached().ended.load(Relaxed) {
            slots.attached().control(Control::ACTIVITY_OVERFLOWS).fetch_add(1, Relaxed);
        }
        let hot = slot.as_ref().and_then(|slot| slot.words(HOT)).unwrap_or(&NOWHERE);
        Activity { hot, slot: slot.map(Arc::new) }
    }
}

impl Activity {
    /// Marks that the actor begins with a message: since now it is doing that.
    #[inline]
    pub fn begin(&mut self, doing: Doing) {
        // The time first: where the process dies in between, an old message is never told with a new time.
        self.hot[SINCE].store(housekeeping::coarse_monotonic_ns(), Relaxed);
        self.hot[DOING].store(doing.word(), Relaxed);
    }

    /// Marks that the actor has handled its message: since now it is idle.
    #[inline]
    pub fn end(&mut self) {
        self.hot[DOING].store(0, Relaxed);
        self.hot[SINCE].store(housekeeping::coarse_monotonic_ns(), Relaxed);
        // The slot has one owner, and this is `&mut`: nobody else stores to the word.
        add_own(&self.hot[HANDLED], 1, Relaxed);
    }

    /// How many messages the actor handled.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.hot[HANDLED].load(Relaxed)
    }

    /// The depth of the actor's mailbox, for those who put messages in and take them out. As long as one is held the slot
    /// goes to no other actor.
    #[must_use]
    pub fn mailbox(&self) -> MailboxDepth {
        MailboxDepth::new(self.hot, self.slot.clone())
    }

    /// Which slot it is, to tell the crash hooks what a thread is running: see [`ActivityId`].
    #[must_use]
    pub fn id(&self) -> ActivityId {
        self.slot.as_ref().map(|slot| ActivityId::new(slot.region(), slot.index())).unwrap_or_default()
    }

    /// Whether the actor has a slot that readers see.
    #[must_use]
    pub const fn has_slot(&self) -> bool {
        self.slot.is_some()
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        let Some(slot) = &self.slot else { return };
        let unwound = std::thread::panicking();
        if let Some([outcome, ended]) = slot.words(OUTCOME) {
            ended.store(housekeeping::clock_ns(ClockId::Realtime), Relaxed);
            outcome.store(if unwound { ActivityRecord::UNWOUND } else { ActivityRecord::ENDED }, Relaxed);
        }
        slot.retire(unwound);
    }
}

const _: () = assert!(std::mem::offset_of!(ActivityRecord, ended_realtime_ns) == OUTCOME + 8);
