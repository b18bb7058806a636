//! The one file of the tests with unsafe code: a bare fork, commands as another user, and the ways to die of a signal, which
//! no safe interface offers.

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, setgid, setgroups, setuid};

/// Forks; runs `child` in the child, which then exits at once with the code that it returned, without destructors or
/// exit handlers. Gives the child's id.
///
/// # Panics
/// Where the kernel refuses.
pub fn fork_child(child: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the tests that fork run alone in their process and hold no lock that the child would need: the child
    // allocates at most, which the C library makes safe in a child by its own fork handlers.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: _exit only ends the process.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

/// Ends the process at once: no destructor, no exit handler.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(code) }
}

/// As [`fork_child`], past the C library: no fork handler is run, in the parent or the child.
///
/// # Panics
/// Where the kernel refuses.
pub fn clone_child(child: impl FnOnce() -> i32) -> Pid {
    // SAFETY: as in `fork_child`; the child allocates little and starts no thread.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            exit_at_once(code)
        }
        pid => Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 0).expect("clone")),
    }
}

/// Waits for a child; its exit code.
///
/// # Panics
/// Where it did not exit by itself.
pub fn exit_code(child: Pid) -> i32 {
    match waitpid(child, None).expect("waitpid") {
        WaitStatus::Exited(_, code) => code,
        other => panic!("the child ended otherwise: {other:?}"),
    }
}

/// Makes a command run as another user, with these supplementary groups and no others, and with this umask.
pub fn as_user(command: &mut Command, uid: u32, gid: u32, groups: &[u32], mask: u32) {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let drop_rights = move || {
        umask(Mode::from_bits_truncate(mask));
        setgroups(&groups)?;
        setgid(Gid::from_raw(gid))?;
        setuid(Uid::from_raw(uid))?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes four system calls and allocates nothing: the groups are listed already.
    unsafe { command.pre_exec(drop_rights) };
}

/// Loads from an address where nothing is mapped.
pub fn segfault() {
    let nowhere: *const u8 = std::ptr::without_provenance(black_box(NOWHERE));
    // SAFETY: none: this is how a process dies of SIGSEGV.
    black_box(unsafe { nowhere.read_volatile() });
}

/// The address that [`segfault`] loads from.
pub const NOWHERE: usize = 0x1010;

/// Loads from a page that its file no longer has.
///
/// # Panics
/// Where there is no memory.
pub fn bus_error() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(4096).expect("a page");
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert!(page != libc::MAP_FAILED, "a mapping");
    file.set_len(0).expect("cut");
    // SAFETY: none: this is how a process dies of SIGBUS.
    black_box(unsafe { page.cast::<u8>().read_volatile() });
}

/// Runs an instruction that there is none of.
pub fn illegal_instruction() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none: this is how a process dies of SIGILL.
    unsafe {
        std::arch::asm!("ud2");
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("udf #0");
    }
}

/// Runs a breakpoint, which no debugger waits for.
pub fn breakpoint() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none: this is how a process dies of SIGTRAP.
    unsafe {
        std::arch::asm!("int3");
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("brk #0");
    }
}

/// Divides by zero in a way that the processor minds; where it minds none, the process raises the signal itself.
pub fn divide_by_zero() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none: this is how a process dies of SIGFPE. The registers that it writes are named.
    unsafe {
        std::arch::asm!("div {0:e}", in(reg) 0_u32, inout("eax") 1_u32 => _, inout("edx") 0_u32 => _);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = nix::sys::signal::raise(Signal::SIGFPE);
}

/// Has SIGSEGV handled by a function of three arguments that says so and ends the process by `_exit(41)`.
///
/// # Panics
/// Where the kernel refuses.
pub fn exit_on_segfault() {
    extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: a handler with SA_SIGINFO is given a siginfo.
        let code = if unsafe { info.as_ref() }.is_some() { 41 } else { 1 };
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) }
    }
    install(SigHandler::SigAction(handler), SaFlags::SA_SIGINFO);
}

/// Has SIGSEGV handled by a function that maps a page over [`NOWHERE`] and returns, so that the load goes on.
///
/// # Panics
/// Where the kernel refuses.
pub fn mend_segfault() {
    extern "C" fn handler(_: libc::c_int) {
        let page = std::ptr::without_provenance_mut(NOWHERE & !4095);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: nothing is mapped there.
        let mapped = unsafe { libc::mmap(page, 4096, libc::PROT_READ, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            // SAFETY: ends the process at once: the load would fault for ever.
            unsafe { libc::_exit(1) }
        }
    }
    install(SigHandler::Handler(handler), SaFlags::empty());
}

/// Takes the page away that [`mend_segfault`] maps.
pub fn unmend_segfault() {
    // SAFETY: the page is that handler's, and nobody holds a reference into it.
    unsafe { libc::munmap(std::ptr::without_provenance_mut(NOWHERE & !4095), 4096) };
}

/// Has SIGSEGV handled by a function that restores what was there before, and returns: the fault happens again.
///
/// # Panics
/// Where the kernel refuses.
pub fn pass_segfault_on() {
    static BEFORE: std::sync::OnceLock<SigAction> = std::sync::OnceLock::new();
    extern "C" fn handler(_: libc::c_int) {
        if let Some(before) = BEFORE.get() {
            // SAFETY: what was in force before is in force again.
            let _ = unsafe { sigaction(Signal::SIGSEGV, before) };
        }
    }
    let _ = BEFORE.set(install(SigHandler::Handler(handler), SaFlags::empty()));
}

/// Has a signal ignored.
///
/// # Panics
/// Where the kernel refuses.
pub fn ignore(signal: Signal) {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no code of ours is run.
    unsafe { sigaction(signal, &ignore) }.expect("sigaction");
}

/// Has a signal do what it does by default.
///
/// # Panics
/// Where the kernel refuses.
pub fn restore_default(signal: Signal) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no code of ours is run.
    unsafe { sigaction(signal, &default) }.expect("sigaction");
}

fn install(handler: SigHandler, flags: SaFlags) -> SigAction {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handlers above make system calls only.
    unsafe { sigaction(Signal::SIGSEGV, &action) }.expect("sigaction")
}
