//! Pulses: a loop's promise to come round, and the beats that keep it. A broken promise is what readers call hung.
//!
//! Registered where the loop starts, dropped where it ends; [`Pulse::beat`] never fails, allocates or locks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytemuck::Zeroable;
use rustix::time::ClockId;
use tachograph_layout::{Control, PulseRecord, Section, Words, add_own};

use crate::field::put_text;
use crate::owned_slots::{Owned, OwnedSlots};
use crate::process::Attached;
use crate::{MarkError, Region, housekeeping};

const STATE: usize = std::mem::offset_of!(PulseRecord, state);
const _: () =
    assert!(std::mem::offset_of!(PulseRecord, count) == 0 && std::mem::offset_of!(PulseRecord, beat_monotonic_ns) == 8);

/// The slots of a region's pulses, and the names of those that live.
#[derive(Debug)]
pub(crate) struct Pulses {
    slots: OwnedSlots,
    names: Mutex<Vec<String>>,
}

impl Pulses {
    pub(crate) fn new(attached: &'static Attached, section: Section) -> Self {
        let slots = OwnedSlots::new(attached, section, Control::PULSES_USED, STATE / 8);
        Self { slots, names: Mutex::new(Vec::new()) }
    }
}

/// A loop's promise that its beats are never further apart than it said. Dropped, the loop has ended and promises nothing.
///
/// ```
/// use std::time::Duration;
/// let region = tachograph::Region::private("doc")?;
/// let mut pulse = region.pulse("control-loop", Duration::from_secs(5))?;
/// for _round in 0..3 {
///     pulse.beat();
/// }
/// assert_eq!(pulse.count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pulse {
    /// Count, and when the last beat was.
    words: &'static [AtomicU64; 2],
    slot: Owned,
    pulses: &'static Pulses,
    name: String,
}

impl Region {
    /// Registers a loop's promise: its beats are at most `max_age` apart, the first from now. Readers say that the process
    /// hangs, and name the loop, where the last beat is older. Name: 1 to 32 bytes, unique among the living pulses.
    ///
    /// # Errors
    /// [`MarkError`]: a bad or taken name, a `max_age` of nothing, no slot left, or the region has ended.
    pub fn pulse(&self, name: &str, max_age: Duration) -> Result<Pulse, MarkError> {
        let what = "pulse";
        let (region, text) = (|| self.name().to_owned(), || name.to_owned());
        let rule = if !(1..=32).contains(&name.len()) {
            Some("must have a name of 1 to 32 bytes")
        } else if max_age.is_zero() {
            Some("promises more than any loop keeps: `max_age` must be more than 0")
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(MarkError::Rule { what, region: region(), name: text(), rule });
        }
        let pulses = &self.marks().pulses;
        let ended = || MarkError::Ended { what, region: region(), name: text() };
        // Asked before the mutex is touched: a forked child may have inherited it locked.
        if pulses.slots.attached().ended.load(Relaxed) {
            return Err(ended());
        }
        let mut names = pulses.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.iter().any(|taken| taken == name) {
            return Err(MarkError::Taken { region: region(), name: text() });
        }
        let mut record = PulseRecord::zeroed();
        record.beat_monotonic_ns = now();
        record.max_age_ns = u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX);
        record.name_len = u64::from(put_text(&mut record.name, name));
        let Some(slot) = pulses.slots.claim(record.as_words()) else {
            return Err(MarkError::Full {
                what,
                region: region(),
                name: text(),
                unit: "pulses",
                free: 0,
                capacity: pulses.slots.capacity(),
                remedy: "drop those whose loops ended",
            });
        };
        let words = slot.words(0).ok_or_else(ended)?;
        names.push(name.to_owned());
        Ok(Pulse { words, slot, pulses, name: name.to_owned() })
    }
}

impl Pulse {
    /// The loop came round. Two plain stores and the kernel's coarse clock, which is read without a system call.
    #[inline]
    pub fn beat(&mut self) {
        let [count, beat] = self.words;
        beat.store(now(), Relaxed);
        // The slot has one owner, and this is `&mut`: nobody else stores to the words.
        add_own(count, 1, Relaxed);
    }

    /// How often the loop came round.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words[0].load(Relaxed)
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.slot.retire(false);
        if !self.pulses.slots.attached().ended.load(Relaxed) {
            let mut names = self.pulses.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.retain(|name| *name != self.name);
        }
    }
}

/// The monotonic clock as coarse as the kernel's own tick, some milliseconds: a promise may be much shorter than a period
/// of housekeeping.
fn now() -> u64 {
    housekeeping::clock_ns(ClockId::MonotonicCoarse)
}
