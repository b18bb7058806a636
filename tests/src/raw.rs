//! The one file of the tests with unsafe code: a bare fork, and commands as another user, which no safe interface offers.

use std::os::unix::process::CommandExt;
use std::process::Command;

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
