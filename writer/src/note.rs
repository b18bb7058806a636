//! Notes: the last lines of text that the application left in its region, a ring written over from the oldest on.
//!
//! Any number of threads at once, each in a slot of its own by its number; nothing waits, nothing allocates. A writer that
//! was lapped by a whole ring loses its note. Called by the application and by the tracing layer.

use std::cell::Cell;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use bytemuck::Zeroable;
use rustix::time::ClockId;
use tachograph_layout::{Control, NoteRecord, Section, Words, ring_slot, write_stamped};

use crate::field::Field;
use crate::process::Attached;
use crate::{Region, housekeeping};

/// How severe a note is.
///
/// ```
/// use tachograph::NoteLevel;
/// assert!(NoteLevel::Error < NoteLevel::Warn);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteLevel {
    /// An error.
    Error = 1,
    /// A warning.
    Warn = 2,
    /// For information.
    Info = 3,
    /// For who looks for a fault.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

/// The ring of a region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notes {
    attached: &'static Attached,
    section: Section,
}

impl Region {
    /// Leaves a line of text in the region's ring of the latest 256, with the time and the thread: the last words of a
    /// process that dies. At most 216 bytes are kept, cut at a character's edge. For what happens now and then, not for
    /// every message.
    ///
    /// What `text` displays is formatted at once and allocates nothing by itself.
    ///
    /// ```
    /// use tachograph::{NoteLevel, Region};
    /// let region = Region::private("doc")?;
    /// region.note(NoteLevel::Warn, "the store does not answer");
    /// region.note(NoteLevel::Info, format_args!("leader is {}", "mc-1"));
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn note(&self, level: NoteLevel, text: impl Display) {
        self.marks().notes.write(level, |field| {
            let _ = write!(field, "{text}");
        });
    }

    /// How many notes were ever left in the region.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// region.note(tachograph::NoteLevel::Info, "started");
    /// assert_eq!(region.notes_written(), 1);
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    #[must_use]
    pub fn notes_written(&self) -> u64 {
        self.marks().notes.attached.control(Control::NOTES_WRITTEN).load(Relaxed)
    }
}

impl Notes {
    pub(crate) const fn new(attached: &'static Attached, section: Section) -> Self {
        Self { attached, section }
    }

    /// Notes ever written, and the newest.
    #[cfg(all(test, feature = "tracing-layer"))]
    pub(crate) fn newest(self) -> Option<(u64, NoteRecord)> {
        let written = self.attached.control(Control::NOTES_WRITTEN).load(Relaxed);
        let entry = self.section.entry(ring_slot(written, self.section.count))?;
        self.attached.map.view().stamped(entry)
    }

    /// Writes the text that `fill` puts together.
    pub(crate) fn write(self, level: NoteLevel, fill: impl FnOnce(&mut Field<'_>)) {
        let mut note = NoteRecord::zeroed();
        let mut field = Field::new(&mut note.text);
        // Before the note has a number: what is displayed is the application's code, and may leave notes itself.
        fill(&mut field);
        note.len = field.len() as u32;
        note.level = level as u32;
        note.thread_id = thread_id();
        note.realtime_ns = housekeeping::clock_ns(ClockId::Realtime);
        note.monotonic_ns = housekeeping::clock_ns(ClockId::Monotonic);
        // Relaxed: it hands out numbers, the slots tell the rest.
        let number = self.attached.control(Control::NOTES_WRITTEN).fetch_add(1, Relaxed).wrapping_add(1);
        let Some(entry) = self.section.entry(ring_slot(number, self.section.count)) else { return };
        // Not written where a whole ring of newer ones came meanwhile.
        write_stamped(|word| self.attached.map.word(entry + word as u64 * 8), number, note.as_words());
    }
}

thread_local! {
    /// The kernel's id of the thread, asked once; 0 before.
    static THREAD_ID: Cell<u64> = const { Cell::new(0) };
}

fn thread_id() -> u64 {
    if THREAD_ID.get() == 0 {
        THREAD_ID.set(u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
    }
    THREAD_ID.get()
}

/// Asks for the thread's id now, so that no note does.
pub(crate) fn enter_thread() {
    thread_id();
}

/// In a forked child: the thread that forked has another id here. Async-signal-safe.
pub(crate) fn forget_thread() {
    THREAD_ID.set(0);
}
