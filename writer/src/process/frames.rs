//! Return addresses of a stack, raw: what they are called is the reader's to find out, from the executable's build id.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

/// Load address of the executable; 0 until [`prepare`] was called. Relaxed: it publishes nothing.
static IMAGE_BASE: AtomicU64 = AtomicU64::new(0);

/// What is taken off an address of the executable, so that it is the file's own.
pub(super) fn image_base() -> u64 {
    IMAGE_BASE.load(Ordering::Relaxed)
}

/// Finds out, while there is time for it, what can't be asked for at a crash.
pub(super) fn prepare() {
    extern "C" fn first(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: the loader hands each object's description, alive for the call.
        let object = unsafe { object.as_ref() };
        IMAGE_BASE.store(object.map_or(0, |object| object.dlpi_addr), Ordering::Relaxed);
        1 // The first one is the executable: no other is asked for.
    }
    // SAFETY: the callback keeps nothing of what it is given.
    unsafe { libc::dl_iterate_phdr(Some(first), std::ptr::null_mut()) };
}

/// The return addresses of the calling thread, innermost first; how many were found. Not async-signal-safe: the unwinder
/// that panics use themselves walks the stack.
#[inline(never)]
pub(super) fn of_caller(frames: &mut [u64]) -> usize {
    let mut found = Found { frames, count: 0 };
    // SAFETY: `collect` matches the callback's signature, and `found` outlives the call.
    unsafe { _Unwind_Backtrace(collect, (&raw mut found).cast()) };
    found.count
}

struct Found<'a> {
    frames: &'a mut [u64],
    count: usize,
}

/// Nothing wrong, go on; and one of the codes that end the walk.
const NO_REASON: c_int = 0;
const END_OF_STACK: c_int = 5;

extern "C" fn collect(context: *mut c_void, found: *mut c_void) -> c_int {
    // SAFETY: `of_caller` passes its own `Found`, which nothing else touches meanwhile.
    let found = unsafe { &mut *found.cast::<Found<'_>>() };
    // SAFETY: the unwinder passes its context, alive for the call.
    let address = unsafe { _Unwind_GetIP(context) };
    let Some(frame) = found.frames.get_mut(found.count).filter(|_| address != 0) else { return END_OF_STACK };
    *frame = address as u64;
    found.count += 1;
    NO_REASON
}

// The unwinder that every Rust program with std is linked with, as the Itanium C++ ABI declares it.
unsafe extern "C" {
    fn _Unwind_Backtrace(trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}
