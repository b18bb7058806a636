//! Who is doing what: activities (one slot an actor) and pulses (one named promise a loop).

use bytemuck::{Pod, Zeroable};

use crate::record;

/// An actor's slot, 256 bytes: who it is in the first 128, what it is doing in the second. No metrics format shows it.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::ActivityRecord>(), 256);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ActivityRecord {
    /// [`crate::SlotWord`]; stored last, with Release.
    pub state: u64,
    /// Bytes used of `actor_type`, then of `actor_id`.
    pub type_len: u32,
    /// Bytes used of `actor_id`.
    pub id_len: u32,
    /// Type of the actor, UTF-8.
    pub actor_type: [u8; 32],
    /// Id of the actor, UTF-8, cut at 32 bytes.
    pub actor_id: [u8; 32],
    /// How many messages its mailbox holds.
    pub mailbox_capacity: u64,
    /// When the slot was claimed: nanoseconds since the Unix epoch.
    pub claimed_realtime_ns: u64,
    /// How the actor ended: 0 while it lives, [`ActivityRecord::ENDED`] or [`ActivityRecord::UNWOUND`].
    pub outcome: u64,
    /// When it ended: nanoseconds since the Unix epoch; 0 while it lives.
    pub ended_realtime_ns: u64,
    /// Zero.
    pub reserved: [u64; 2],
    /// What it is doing: a [`crate::StrRef`] as one word (offset in the low half); 0 when idle.
    pub doing: u64,
    /// Since when, on the monotonic clock, by the clock of the last tick: up to one period of the tick too early.
    pub since_monotonic_ns: u64,
    /// Messages in its mailbox.
    pub mailbox_depth: u64,
    /// Messages handled.
    pub handled: u64,
    /// Zero.
    pub reserved_hot: [u64; 12],
}

impl ActivityRecord {
    /// `outcome` of an actor that ended by itself, or was dropped.
    pub const ENDED: u64 = 1;
    /// `outcome` of an actor that ended while its thread was unwinding: it panicked, or whoever owned it did.
    pub const UNWOUND: u64 = 2;
}

record!(ActivityRecord, 256, {
    state @ 0, type_len @ 8, id_len @ 12, actor_type @ 16, actor_id @ 48, mailbox_capacity @ 80,
    claimed_realtime_ns @ 88, outcome @ 96, ended_realtime_ns @ 104, reserved @ 112, doing @ 128, since_monotonic_ns @ 136, mailbox_depth @ 144, handled @ 152,
    reserved_hot @ 160,
});

/// A promise of a loop to come round, 128 bytes: the count that it bumps on a line of its own, then name and promise.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::PulseRecord>(), 128);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PulseRecord {
    /// How often the loop came round.
    pub count: u64,
    /// When it last did, on the monotonic clock.
    pub beat_monotonic_ns: u64,
    /// Zero.
    pub reserved_hot: [u64; 6],
    /// [`crate::SlotWord`]; stored last, with Release.
    pub state: u64,
    /// How old the last beat may be before the promise is broken, in nanoseconds.
    pub max_age_ns: u64,
    /// Bytes used of `name`.
    pub name_len: u64,
    /// Name, UTF-8.
    pub name: [u8; 32],
    /// Zero.
    pub reserved: u64,
}

record!(PulseRecord, 128, {
    count @ 0, beat_monotonic_ns @ 8, reserved_hot @ 16, state @ 64, max_age_ns @ 72, name_len @ 80, name @ 88,
    reserved @ 120,
});
