//! Names of signals and of their codes, and which of them tell of an address. Called by `read.rs`; reads nothing.

use nix::sys::signal::Signal;

/// The name of a signal: `SIGSEGV`, or `signal 99` for one without a name.
pub(super) fn name(signal: u32) -> String {
    let known = i32::try_from(signal).ok().and_then(|signal| Signal::try_from(signal).ok());
    known.map_or_else(|| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// The address that a signal is about: a fault that the processor found, not one that somebody sent.
pub(super) fn address(signal: u32, code: i32, address: u64) -> Option<u64> {
    let faults = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP];
    let is_fault = faults.iter().any(|fault| *fault as i32 == signal.cast_signed());
    (is_fault && code > 0 && code != SI_KERNEL).then_some(address)
}

/// Whether a code says that a process sent the signal: `SI_USER`, `SI_QUEUE` or `SI_TKILL`.
pub(super) const fn is_sent(code: i32) -> bool {
    matches!(code, 0 | -1 | -6)
}

const SI_KERNEL: i32 = 0x80;

/// The name of a signal's code, as the kernel's headers have it.
pub(super) fn code_name(signal: u32, code: i32) -> Option<&'static str> {
    match code {
        0 => return Some("SI_USER"),
        SI_KERNEL => return Some("SI_KERNEL"),
        -1 => return Some("SI_QUEUE"),
        -2 => return Some("SI_TIMER"),
        -3 => return Some("SI_MESGQ"),
        -4 => return Some("SI_ASYNCIO"),
        -5 => return Some("SI_SIGIO"),
        -6 => return Some("SI_TKILL"),
        _ => {}
    }
    let names: &[&str] = match Signal::try_from(signal.cast_signed()).ok()? {
        Signal::SIGSEGV => &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
            "SEGV_CPERR",
        ],
        Signal::SIGBUS => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        Signal::SIGILL => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        Signal::SIGFPE => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        Signal::SIGTRAP => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
        Signal::SIGSYS => &["SYS_SECCOMP"],
        _ => return None,
    };
    names.get(usize::try_from(code).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_and_codes_have_the_kernels_names() {
        assert_eq!(
            (name(11).as_str(), code_name(11, 1), code_name(11, 2)),
            ("SIGSEGV", Some("SEGV_MAPERR"), Some("SEGV_ACCERR"))
        );
        assert_eq!((name(7).as_str(), code_name(7, 2)), ("SIGBUS", Some("BUS_ADRERR")));
        assert_eq!((name(6).as_str(), code_name(6, -6)), ("SIGABRT", Some("SI_TKILL")));
        assert_eq!((name(8).as_str(), code_name(8, 1)), ("SIGFPE", Some("FPE_INTDIV")));
        assert_eq!(
            (name(0), name(99), name(u32::MAX)),
            ("signal 0".into(), "signal 99".into(), "signal 4294967295".into())
        );
        assert_eq!(
            (code_name(11, 77), code_name(11, i32::MIN), code_name(u32::MAX, 1), code_name(6, 1)),
            (None, None, None, None)
        );
    }

    #[test]
    fn only_a_fault_has_an_address() {
        assert_eq!(address(11, 1, 0), Some(0));
        assert_eq!(address(11, 0, 77), None, "sent by a process, whose id stands there");
        assert_eq!(address(11, 0x80, 77), None, "the kernel says that it knows none");
        assert_eq!(address(6, -6, 77), None);
    }
}
