//! The panic hook: what each panic said, and where, in the ring of every region that the process has in use.
//!
//! It runs in the thread that panics, before anything unwinds, and then calls the hook that was there before. A panic that
//! is caught is recorded as any other: readers tell which one was the last. It allocates nothing and takes no lock.

use std::fmt::Write;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::Ordering;

use bytemuck::Zeroable;
use rustix::time::ClockId;
use tachograph_layout::{Control, CrashSlots, PanicRecord, Words, ring_slot, write_stamped};

use super::{attached, frames, thread};
use crate::activity;
use crate::field::{Field, put_text};
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
        record.activity = activity::current(region);
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
    record.message_len = put_text(&mut record.message, message);
    if let Some(place) = panic.location() {
        let room = record.place.len() - LINE_AND_COLUMN;
        let mut text = Field::new(&mut record.place);
        // The end of a long path tells more than its start, and the line more than either.
        let file = place.file();
        let file = file.get(file.ceil_char_boundary(file.len().saturating_sub(room))..).unwrap_or_default();
        let _ = write!(text, "{file}:{}:{}", place.line(), place.column());
        record.place_len = text.len() as u32;
    }
    record.image_base = frames::image_base();
    // The runtime has the payload on the stack of a function that it calls for nothing else, by one more that is never
    // inlined: all frames up to there are the recorder's and the runtime's, and none of them tells where the panic was.
    let payload = std::ptr::from_ref(panic.payload()).addr();
    let (count, below) = frames::of_caller(&mut record.frames, payload);
    record.frame_count = count as u64;
    record.runtime_frames = if below == 0 { 0 } else { count.min(below + 1) as u64 };
    record
}

/// Bytes that `:line:column` takes at most.
const LINE_AND_COLUMN: usize = ":4294967295:4294967295".len();
