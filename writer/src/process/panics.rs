//! The panic hook: what each panic said, and where, in the ring of every region that the process has in use.
//!
//! It runs in the thread that panics, before anything unwinds, and then calls the hook that was there before. A panic that
//! is caught is recorded as any other: readers tell which one was the last. It allocates nothing and takes no lock.

use std::fmt::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::Ordering;

use bytemuck::Zeroable;
use rustix::time::ClockId;
use tachograph_layout::{Control, CrashSlots, PanicRecord, Words, ring_slot, write_stamped};

use super::{attached, frames, thread};
use crate::housekeeping::clock_ns;

/// Puts the hook before the one that is there. However often it is called, once.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        tracing::warn!("no panic hook: the region is built by a thread that is panicking");
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            record(panic);
            before(panic);
        }));
    });
}

fn record(panic: &PanicHookInfo<'_>) {
    let pid = rustix::process::getpid();
    let mut record = None;
    for region in attached().filter(|region| region.is_in_use(pid)) {
        let record = record.get_or_insert_with(|| describe(panic));
        // Relaxed: it hands out numbers, the slots tell the rest.
        let number = region.control(Control::PANICS_SEEN).fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let put = |slot| write_stamped(|word| region.crash_word(slot, word), number, record.as_words());
        if number == 1 {
            put(CrashSlots::FIRST_PANIC);
        }
        // Not written where eight newer ones came meanwhile: what it has to say is the oldest then.
        put(CrashSlots::PANIC_RING + ring_slot(number, CrashSlots::PANIC_RING_LEN));
    }
}

fn describe(panic: &PanicHookInfo<'_>) -> PanicRecord {
    let mut record = PanicRecord::zeroed();
    record.realtime_ns = clock_ns(ClockId::Realtime);
    record.monotonic_ns = clock_ns(ClockId::Monotonic);
    record.thread_id = thread::id();
    record.thread_name = thread::name();
    // As std's own message has it.
    let message = panic.payload_as_str().unwrap_or("Box<dyn Any>");
    let mut text = Text { field: &mut record.message, len: 0 };
    let _ = text.write_str(message);
    record.message_len = text.len as u32;
    if let Some(place) = panic.location() {
        let mut text = Text { field: &mut record.place, len: 0 };
        // The end of a long path tells more than its start, and the line more than either.
        let file = place.file();
        let room = text.field.len() - LINE_AND_COLUMN;
        let file = file.get(file.ceil_char_boundary(file.len().saturating_sub(room))..).unwrap_or_default();
        let _ = write!(text, "{file}:{}:{}", place.line(), place.column());
        record.place_len = text.len as u32;
    }
    record.image_base = frames::image_base();
    record.frame_count = frames::of_caller(&mut record.frames) as u64;
    record
}

/// Bytes that `:line:column` takes at most.
const LINE_AND_COLUMN: usize = ":4294967295:4294967295".len();

/// Text in a field of a record, cut at a character's edge where it is too long.
struct Text<'a> {
    field: &'a mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.field.get_mut(self.len..).unwrap_or_default();
        let text = text.get(..text.floor_char_boundary(room.len())).unwrap_or_default();
        room.iter_mut().zip(text.bytes()).for_each(|(byte, text)| *byte = text);
        self.len += text.len();
        Ok(())
    }
}
