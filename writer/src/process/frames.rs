//! Return addresses of a stack, raw: what they are called is the reader's to find out, from the executable's build id.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// The return addresses of the calling thread, innermost first: how many were found, and how many of those are of functions
/// that run below the one that has the object at `object` on its stack, that one included; 0 where none has. Not
/// async-signal-safe: the unwinder that panics use themselves walks the stack.
#[inline(never)]
pub(super) fn of_caller(frames: &mut [u64], object: usize) -> (usize, usize) {
    let (mut count, mut below, mut beyond) = (0, 0, false);
    walk(&mut |address, stack| {
        let Some(frame) = frames.get_mut(count) else { return false };
        *frame = address;
        count += 1;
        // What a function has on the stack lies between its own place and that of its caller.
        if stack <= object {
            below = count
        } else {
            beyond = true
        }
        true
    });
    (count, if beyond { below } else { 0 })
}

/// The return addresses behind an instruction that a signal interrupted, innermost first, one by one to `each`, which says
/// whether it wants more. To be called by the signal's handler.
///
/// The unwinder may lock, and may fault on a stack that is damaged, or run out of the handler's. So a copy of the process
/// walks the stack: `each` runs in a forked child without exit signal, sees the parent's memory as it was, and writes to its
/// parent by shared memory alone. What becomes of the copy is nobody's business; after a second it is killed.
pub(super) fn of_interrupted(instruction: u64, signals: &[c_int], mut each: impl FnMut(u64) -> bool) {
    // SAFETY: a bare fork: the child makes system calls, walks its own copy of the stack, and ends.
    let copy = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    if copy == 0 {
        // SAFETY: neither dumps core when it faults, nor outlives the thread that waits for it.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        signals.iter().for_each(|&signal| super::fatal::set_default(signal));
        widen_stack();
        let mut behind = false;
        walk(&mut |address, _| {
            let go_on = !behind || each(address);
            behind |= address == instruction;
            go_on
        });
        // SAFETY: ends the copy: no destructor and no exit handler.
        unsafe { libc::_exit(0) };
    }
    let Ok(copy) = i32::try_from(copy) else { return };
    if copy < 0 {
        return;
    }
    for _ in 0..1_000 {
        // SAFETY: waits for the copy alone, which nobody else does: it has no exit signal.
        if unsafe { libc::waitpid(copy, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) } != 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: the copy was not waited for, so the id is still its own.
    unsafe { libc::kill(copy, libc::SIGKILL) };
    // SAFETY: as above.
    unsafe { libc::waitpid(copy, std::ptr::null_mut(), libc::__WALL) };
}

/// What the unwinder is given below the 8 KiB that std's alternate stacks have: their guard. More would be somebody else's,
/// the loader's tables for one, which the unwinder reads.
const ROOM: usize = 4096;

/// In the copy: puts memory below the alternate stack that it runs on, over the guard that is there.
fn widen_stack() {
    let mut stack = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: only asks, into a value of this function's.
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) };
    if stack.ss_flags & libc::SS_ONSTACK != 0 {
        let below = stack.ss_sp.wrapping_byte_sub(ROOM);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
        // SAFETY: the copy's address space is its own, it has one thread, and nothing that this thread's frames refer to
        // lies below the lowest address of its stack; what else was there, it loses.
        unsafe { libc::mmap(below, ROOM, protection, flags, -1, 0) };
    }
}

/// Calls `each` with the return addresses of the calling thread, innermost first, and each one's stack pointer, until it
/// wants no more.
fn walk(mut each: &mut dyn FnMut(u64, usize) -> bool) {
    // SAFETY: `collect` matches the callback's signature, and `each` outlives the call.
    unsafe { _Unwind_Backtrace(collect, (&raw mut each).cast()) };
}

/// Nothing wrong, go on; and one of the codes that end the walk.
const NO_REASON: c_int = 0;
const END_OF_STACK: c_int = 5;

extern "C" fn collect(context: *mut c_void, each: *mut c_void) -> c_int {
    // SAFETY: `walk` passes its own reference, which nothing else touches meanwhile.
    let each = unsafe { &mut *each.cast::<&mut dyn FnMut(u64, usize) -> bool>() };
    // SAFETY: the unwinder passes its context, alive for the call.
    let address = unsafe { _Unwind_GetIP(context) } as u64;
    // SAFETY: as above.
    let stack = unsafe { _Unwind_GetCFA(context) };
    if address != 0 && each(address, stack) { NO_REASON } else { END_OF_STACK }
}

// The unwinder that every Rust program with std is linked with, as the Itanium C++ ABI declares it.
unsafe extern "C" {
    fn _Unwind_Backtrace(trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Bytes of code that each of the functions below stays under.
    const CODE: u64 = 4096;

    #[inline(never)]
    fn walked(object: usize) -> (Vec<u64>, usize) {
        let mut frames = [0; 64];
        let (count, below) = of_caller(&mut frames, black_box(object));
        (frames[..count].to_vec(), below)
    }

    #[inline(never)]
    fn between(object: usize) -> (Vec<u64>, usize) {
        let walked = walked(black_box(object));
        black_box(walked)
    }

    #[inline(never)]
    fn owner() -> (Vec<u64>, usize) {
        let object = [black_box(7_u64); 4];
        let walked = between(std::ptr::from_ref(&object).addr());
        black_box(&object);
        walked
    }

    #[test]
    fn frames_up_to_the_owner_of_an_object_on_the_stack_are_counted() {
        let (frames, below) = owner();
        let of = |function: fn() -> (Vec<u64>, usize), frame: u64| {
            frame.checked_sub((function as *const ()).addr() as u64).is_some_and(|offset| offset < CODE)
        };
        assert!(below >= 4 && below < frames.len(), "{below} of {}", frames.len());
        let last = frames[below - 1];
        assert!(of(owner, last), "{last:#x} is not in owner, at {:#x}", (owner as *const ()).addr());
        assert_eq!(between(std::ptr::from_ref(Box::leak(Box::new(7))).addr()).1, 0, "an object that is on no stack");
    }
}
