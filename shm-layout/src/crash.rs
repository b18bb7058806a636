//! Crash slots: what the process could still say when it died. Written by the hooks, only by stores into the region.

use bytemuck::{Pod, Zeroable};

use crate::record;

/// Which slot of the crash section holds what. Each slot takes [`CrashSlots::STRIDE`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct CrashSlots;

impl CrashSlots {
    /// Bytes a slot.
    pub const STRIDE: u64 = 2048;
    /// Slot of the [`FatalRecord`].
    pub const FATAL: u64 = 0;
    /// Slot of the first panic of the process' life, a [`PanicRecord`] that is never overwritten.
    pub const FIRST_PANIC: u64 = 1;
    /// First slot of the ring of the latest panics.
    pub const PANIC_RING: u64 = 2;
    /// Slots of that ring.
    pub const PANIC_RING_LEN: u64 = 8;
    /// All slots.
    ///
    /// ```
    /// assert_eq!(tachograph_layout::CrashSlots::COUNT, 10);
    /// ```
    pub const COUNT: u64 = 10;
}

/// A fatal signal, 2048 bytes. Claimed by compare-and-swap of `claim`; `sequence` 1 is stored after all but the frames, with
/// Release. The frames come last, `frame_count` behind each, so that a death while the stack is walked costs only frames.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::FatalRecord>(), 2048);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FatalRecord {
    /// 1 once the record is complete but for its frames.
    pub sequence: u64,
    /// Kernel's id of the thread that claimed the slot; 0 while it is free.
    pub claim: u64,
    /// When: nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// When, on the monotonic clock.
    pub monotonic_ns: u64,
    /// Signal number.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
    /// Instruction pointer.
    pub instruction: u64,
    /// Stack pointer.
    pub stack: u64,
    /// Activity slot of the thread, plus 1; 0 where none.
    pub activity: u64,
    /// How many of `frames` are used.
    pub frame_count: u64,
    /// The kernel's name of the thread, zero padded; the main thread's is the program's.
    pub thread_name: [u8; 16],
    /// Load address of the executable, to be taken off the frames.
    pub image_base: u64,
    /// `si_pid`: who sent the signal, where `code` says that a process did; else 0.
    pub sender_pid: u32,
    /// `si_uid`: the sender's user, where `code` says that a process sent it; else 0.
    pub sender_uid: u32,
    /// Raw return addresses, innermost first.
    pub frames: [u64; 64],
    /// Whether the thread had a panic that it was not over with: 1 no, 2 yes; 0 where the writer does not tell.
    pub panicking: u64,
    /// Zero.
    pub reserved: [u64; 177],
}

record!(FatalRecord, 2048, {
    sequence @ 0, claim @ 8, realtime_ns @ 16, monotonic_ns @ 24, signal @ 32, code @ 36, address @ 40,
    instruction @ 48, stack @ 56, activity @ 64, frame_count @ 72, thread_name @ 80, image_base @ 96,
    sender_pid @ 104, sender_uid @ 108, frames @ 112, panicking @ 624, reserved @ 632,
});

/// A panic, fatal or survived, 2048 bytes. Written by [`crate::write_stamped`].
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::PanicRecord>(), 2048);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PanicRecord {
    /// Number of the panic, from 1; 0 where there was none yet; with its top bit set while it is being written.
    pub sequence: u64,
    /// When: nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// When, on the monotonic clock.
    pub monotonic_ns: u64,
    /// Kernel's id of the thread.
    pub thread_id: u64,
    /// Activity slot of the thread, plus 1; 0 where none.
    pub activity: u64,
    /// Bytes used of `message`.
    pub message_len: u32,
    /// Bytes used of `place`.
    pub place_len: u32,
    /// How many of `frames` are used.
    pub frame_count: u64,
    /// The kernel's name of the thread, zero padded; the main thread's is the program's.
    pub thread_name: [u8; 16],
    /// Load address of the executable, to be taken off the frames.
    pub image_base: u64,
    /// `file:line:column`, UTF-8.
    pub place: [u8; 256],
    /// Message, UTF-8.
    pub message: [u8; 1024],
    /// Raw return addresses, innermost first.
    pub frames: [u64; 64],
    /// How many of the innermost frames are the recorder's own and those by which the runtime came to it.
    pub runtime_frames: u64,
    /// Zero.
    pub reserved: [u64; 21],
}

record!(PanicRecord, 2048, {
    sequence @ 0, realtime_ns @ 8, monotonic_ns @ 16, thread_id @ 24, activity @ 32, message_len @ 40, place_len @ 44,
    frame_count @ 48, thread_name @ 56, image_base @ 72, place @ 80, message @ 336, frames @ 1360, runtime_frames @ 1872,
    reserved @ 1880,
});
