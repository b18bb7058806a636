//! Fatal signals: which one, at which address, in which thread, in the fatal slot of every region that the process has in
//! use. Then the process dies as it would have without us, or lives on where an earlier handler mends the fault.
//!
//! The handler runs on the thread's alternate stack where it has one, which may be 8 KiB small: it makes system calls
//! and stores into regions, and nothing else. No allocation, no lock, no thread-local.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use rustix::time::ClockId;
use tachograph_layout::{CrashSlots, FatalRecord, publish};

use super::{Attached, attached, frames, thread};
use crate::activity;
use crate::housekeeping::clock_ns;

/// The signals that are recorded. Those that ask a process to end (SIGTERM, SIGINT, SIGHUP, SIGQUIT) are the
/// application's.
const SIGNALS: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// What was there before us, for each of [`SIGNALS`]; set before our handler is.
static BEFORE: [Before; SIGNALS.len()] =
    [const { Before { action: OnceLock::new(), gone: AtomicBool::new(false), mends: AtomicBool::new(false) } };
        SIGNALS.len()];

struct Before {
    action: OnceLock<libc::sigaction>,
    /// Whether the earlier handler removed itself: then the default is what was there.
    gone: AtomicBool,
    /// Whether the earlier handler ever mended a fault: then it may do so often, and no stack is walked any more.
    mends: AtomicBool,
}

/// The thread that is just recording; 0 where none is.
static RECORDING: AtomicU64 = AtomicU64::new(0);

/// Puts our handlers before those that are there. However often it is called, once.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (&signal, before) in SIGNALS.iter().zip(&BEFORE) {
            let installed = action_of(signal).is_some_and(|action| {
                let _ = before.action.set(action);
                set_action(signal, &ours(&action))
            });
            if !installed {
                tracing::warn!(signal, "no handler for a fatal signal: a death by it is told as a kill");
            }
        }
    });
}

/// In a forked child: no thread of the parent came along that could be recording. Async-signal-safe.
pub(super) fn forget_threads() {
    RECORDING.store(0, Ordering::Relaxed);
}

/// Our action for a signal, with what the earlier one said of masks and restarts.
fn ours(before: &libc::sigaction) -> libc::sigaction {
    let mut action = *before;
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & (libc::SA_RESTART | libc::SA_NODEFER);
    action
}

fn action_of(signal: c_int) -> Option<libc::sigaction> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing is changed, and the old one is stored where there is room for it.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: `sigaction` filled it, or it is all zero, which is an action as well: the default.
    (result == 0).then(|| unsafe { action.assume_init() })
}

fn set_action(signal: c_int, action: &libc::sigaction) -> bool {
    // SAFETY: the action is the default, one that was in force, or ours, which is async-signal-safe.
    unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) == 0 }
}

pub(super) fn set_default(signal: c_int) {
    // SAFETY: all zero is an action: the default one, without flags, with an empty mask.
    let default = unsafe { std::mem::zeroed::<libc::sigaction>() };
    set_action(signal, &default);
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library gives a valid address, the calling thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; read here and restored below, since an interrupted thread may go on.
    let before = unsafe { *errno };
    handle(signal, info, context);
    // SAFETY: as above.
    unsafe { *errno = before };
}

fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let me = thread::id();
    if RECORDING.load(Ordering::Relaxed) == me {
        // Our own fault: no second try, the process dies of it.
        return set_default(signal);
    }
    let Some(before) = SIGNALS.iter().position(|&known| known == signal).and_then(|index| BEFORE.get(index)) else {
        return;
    };
    let default = before.gone.load(Ordering::Relaxed);
    let handler = before.action.get().filter(|_| !default).map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    let from = Origin::of(info);
    if handler == libc::SIG_IGN && from.sent && !from.is_abort(signal) {
        return;
    }
    let mends = before.mends.load(Ordering::Relaxed);
    // An earlier handler may let a process live on that some other process sent a signal: no walk, so that a second such
    // signal finds this one done with.
    record(signal, &from, context, me, !mends && (!from.sent || matches!(handler, libc::SIG_DFL | libc::SIG_IGN)));
    match handler {
        libc::SIG_DFL => die(signal, info),
        // The kernel ignores nothing that it raises itself; and abort() sets the default itself.
        libc::SIG_IGN => {
            if !from.sent {
                die(signal, info);
            }
        }
        handler => {
            let flags = before.action.get().map_or(0, |action| action.sa_flags);
            if flags & libc::SA_RESETHAND != 0 {
                set_default(signal);
            }
            let aside = !mends && signal != libc::SIGABRT && swap_abort(true);
            call(handler, flags, signal, info, context);
            lived(signal, &from, before, me);
            if aside {
                swap_abort(false);
            }
        }
    }
}

/// Puts the earlier action for SIGABRT in the place of ours, or back: an abort of an earlier handler (std's, at a stack
/// overflow) belongs to the death that is recorded already, and there may be no stack left for one more handler: the
/// alternate stack is 8 KiB, and the processor's registers alone take up to 4 KiB of it for each. Says whether it did.
fn swap_abort(aside: bool) -> bool {
    let abort = SIGNALS.iter().position(|&signal| signal == libc::SIGABRT).and_then(|index| BEFORE.get(index));
    let Some(action) = abort.and_then(|before| before.action.get()) else { return false };
    let ours = ours(action);
    let (from, to) = if aside { (&ours, action) } else { (action, &ours) };
    // Whatever else stands there, somebody put it there since.
    action_of(libc::SIGABRT).is_some_and(|now| now.sa_sigaction == from.sa_sigaction) && set_action(libc::SIGABRT, to)
}

/// Calls an earlier handler, as the kernel would have.
fn call(handler: usize, flags: c_int, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO the word that was in force is the address of such a function.
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without it, and neither the default nor ignored, it is the address of such a function.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

/// What is to be done once an earlier handler has returned.
fn lived(signal: c_int, from: &Origin, before: &Before, me: u64) {
    let now = action_of(signal).map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    // The instruction runs again, faults again, and finds the default: that is how std's handler lets a process die.
    let faults_again = !from.sent && !matches!(signal, libc::SIGTRAP | libc::SIGSYS);
    if now == libc::SIG_DFL && faults_again {
        return;
    }
    take_back(me);
    before.mends.store(true, Ordering::Relaxed);
    if now == libc::SIG_DFL
        && let Some(action) = before.action.get()
    {
        // std's handler takes itself out for a signal that some process sent, and the process lives on. What it left
        // is the default, which is what the next such signal meets: with a record of it.
        before.gone.store(true, Ordering::Relaxed);
        before.mends.store(false, Ordering::Relaxed);
        set_action(signal, &ours(action));
    }
}

/// Dies of a signal by its default action once the handler returns: with the same registers, siginfo and core dump as
/// without a handler.
fn die(signal: c_int, info: *mut libc::siginfo_t) {
    set_default(signal);
    let (pid, thread) = (rustix::process::getpid().as_raw_pid(), rustix::thread::gettid().as_raw_pid());
    // SAFETY: a process may queue any siginfo to its own threads; this one came from the kernel.
    let queued = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, thread, signal, info) };
    if queued != 0 {
        // SAFETY: sends a signal to the calling thread.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    }
}

/// Where a signal came from.
struct Origin {
    code: i32,
    address: u64,
    /// Whether a process sent it, and not the kernel for a fault.
    sent: bool,
    /// 0 for a process that is outside of this one's pid namespace, too.
    sender_pid: u32,
    sender_uid: u32,
}

impl Origin {
    fn of(info: *mut libc::siginfo_t) -> Self {
        // SAFETY: the kernel passes a siginfo to a handler with SA_SIGINFO.
        let Some(info) = (unsafe { info.as_ref() }) else {
            return Self { code: 0, address: 0, sent: true, sender_pid: 0, sender_uid: 0 };
        };
        let (mut address, mut sender_pid, mut sender_uid) = (0, 0, 0);
        if info.si_code > 0 {
            // SAFETY: signals that the kernel raises for a fault have an address there (SIGSYS that of the call).
            address = unsafe { info.si_addr() }.addr() as u64;
        } else {
            // SAFETY: signals that a process sends have its id there.
            sender_pid = unsafe { info.si_pid() }.unsigned_abs();
            // SAFETY: as above.
            sender_uid = unsafe { info.si_uid() };
        }
        Self { code: info.si_code, address, sent: info.si_code <= 0, sender_pid, sender_uid }
    }

    /// Whether the process raised it itself, as `abort` does.
    fn is_abort(&self, signal: c_int) -> bool {
        signal == libc::SIGABRT && self.sender_pid == rustix::process::getpid().as_raw_pid().unsigned_abs()
    }
}

/// How many milliseconds a thread that dies waits for another one that is recording: dying at once would cut it short.
const PATIENCE: u32 = 2_000;

/// Records the signal in every region in use whose fatal slot is free.
#[inline(never)]
fn record(signal: c_int, from: &Origin, context: *mut c_void, me: u64, frames: bool) {
    for _ in 0..PATIENCE {
        // SYNC(recording): one thread at a time, and the next one finds what it wrote.
        if RECORDING.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            let pid = rustix::process::getpid();
            let registers = Registers::of(context);
            let regions = || attached().filter(|region| region.is_in_use(pid));
            let recorded = regions().filter(|region| record_in(region, signal, from, &registers, me)).count();
            if recorded > 0 && frames {
                let mut count = 0;
                frames::of_interrupted(registers.instruction, &SIGNALS, |address| {
                    regions().for_each(|region| add_frame(region, me, count, address));
                    count += 1;
                    count < FRAMES
                });
            }
            // SYNC(recording): see above.
            RECORDING.store(0, Ordering::Release);
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

const CLAIM: usize = 1;
const FRAME_COUNT: usize = 9;
const SENDER: usize = 13;
const FRAMES_FROM: usize = 14;
const PANICKING: usize = 78;
/// Frames that a record has room for.
const FRAMES: usize = 64;

/// Adds a frame to the record of thread `me`.
fn add_frame(region: &'static Attached, me: u64, index: usize, address: u64) {
    let word = |word: usize| region.crash_word(CrashSlots::FATAL, word);
    if let (Some(claim), Some(count), Some(frame)) = (word(CLAIM), word(FRAME_COUNT), word(FRAMES_FROM + index))
        && claim.load(Ordering::Relaxed) == me
    {
        frame.store(address, Ordering::Relaxed);
        // Relaxed: whoever reads this before the process is dead finds 0 in a frame that is not there yet.
        count.store(index as u64 + 1, Ordering::Relaxed);
    }
}

fn record_in(region: &'static Attached, signal: c_int, from: &Origin, registers: &Registers, me: u64) -> bool {
    let word = |word: usize| region.crash_word(CrashSlots::FATAL, word);
    // Relaxed: it decides who writes; what was written is published below.
    let free =
        word(CLAIM).is_some_and(|claim| claim.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok());
    if !free {
        return false;
    }
    let name: [u64; 2] = bytemuck::cast(thread::name());
    let halves = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let record = [
        1,
        me,
        clock_ns(ClockId::Realtime),
        clock_ns(ClockId::Monotonic),
        halves(signal.unsigned_abs(), from.code.cast_unsigned()),
        from.address,
        registers.instruction,
        registers.stack,
        activity::current(region),
        0,
        name[0],
        name[1],
        frames::image_base(),
        halves(from.sender_pid, from.sender_uid),
    ];
    const {
        assert!(std::mem::offset_of!(FatalRecord, frame_count) == FRAME_COUNT * 8);
        assert!(std::mem::offset_of!(FatalRecord, sender_pid) == SENDER * 8);
        assert!(std::mem::offset_of!(FatalRecord, frames) == FRAMES_FROM * 8);
        assert!(std::mem::offset_of!(FatalRecord, panicking) == PANICKING * 8);
    };
    if let Some(panicking) = word(PANICKING) {
        // It reads a count of the process and one of the thread, neither of which is made by looking. Relaxed: published below.
        panicking.store(1 + u64::from(std::thread::panicking()), Ordering::Relaxed);
    }
    publish(word, &record);
    true
}

/// The process lives on: the slots that this thread claimed are free again.
fn take_back(me: u64) {
    let pid = rustix::process::getpid();
    for region in attached().filter(|region| region.is_in_use(pid)) {
        let word = |word: usize| region.crash_word(CrashSlots::FATAL, word);
        if let (Some(sequence), Some(claim)) = (word(0), word(CLAIM))
            && claim.load(Ordering::Relaxed) == me
        {
            sequence.store(0, Ordering::Relaxed);
            claim.store(0, Ordering::Release);
        }
    }
}

/// The registers that a record tells of.
#[derive(Default)]
struct Registers {
    instruction: u64,
    stack: u64,
}

impl Registers {
    #[cfg(target_arch = "x86_64")]
    fn of(context: *mut c_void) -> Self {
        // SAFETY: the kernel passes the interrupted context to a handler with SA_SIGINFO.
        let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else { return Self::default() };
        let register = |register: c_int| context.uc_mcontext.gregs[register as usize].cast_unsigned();
        Self { instruction: register(libc::REG_RIP), stack: register(libc::REG_RSP) }
    }

    #[cfg(target_arch = "aarch64")]
    fn of(context: *mut c_void) -> Self {
        // SAFETY: the kernel passes the interrupted context to a handler with SA_SIGINFO.
        let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else { return Self::default() };
        Self { instruction: context.uc_mcontext.pc, stack: context.uc_mcontext.sp }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn of(_: *mut c_void) -> Self {
        Self::default()
    }
}
