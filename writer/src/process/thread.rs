//! Who the calling thread is, as the kernel knows it. Async-signal-safe.

/// The kernel's id of the calling thread.
pub(super) fn id() -> u64 {
    u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())
}

/// The kernel's name of the calling thread, zero padded: the first 15 bytes of what std calls it, but for the main
/// thread, whose name is the program's.
pub(super) fn name() -> [u8; 16] {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, and that many are there.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}
