//! Notes: a ring of the last lines of text that the application left in its region.

use bytemuck::{Pod, Zeroable};

use crate::record;

/// One line of the ring, 256 bytes.
///
/// Line `n` (from 1) stands at slot `(n - 1) % count`, see [`crate::ring_slot`]; it is written by [`crate::write_stamped`].
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::NoteRecord>(), 256);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NoteRecord {
    /// Number of the line, from 1; 0 where there was none yet; with its top bit set while it is being written.
    pub sequence: u64,
    /// When: nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// When, on the monotonic clock.
    pub monotonic_ns: u64,
    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub level: u32,
    /// Bytes used of `text`, at most 216.
    pub len: u32,
    /// Kernel's id of the thread.
    pub thread_id: u64,
    /// UTF-8, cut at 216 bytes on a character's edge.
    pub text: [u8; 216],
}

record!(NoteRecord, 256, {
    sequence @ 0, realtime_ns @ 8, monotonic_ns @ 16, level @ 24, len @ 28, thread_id @ 32, text @ 40,
});
