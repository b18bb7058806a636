//! The crash hooks: each way to die leaves its record in the region, and the process ends as it would have without them:
//! by the same signal or code, with the same words on stderr.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tachograph_exporter::RegionReader;
use tachograph_exporter::evidence::{Evidence, Fatal, Panic};
use tachograph_tests::process::{crash_victim, eventually};
use tachograph_tests::raw::NOWHERE;
use tachograph_tests::tmpfs;

/// How a victim ended, and what it left.
struct End {
    /// As `wait` gives it: exit code, signal, and whether there was a core dump.
    status: i32,
    stderr: String,
    evidence: Evidence,
    state: String,
    pid: u32,
}

impl End {
    fn fatal(&self) -> &Fatal {
        self.evidence.fatal.as_ref().unwrap_or_else(|| panic!("no fatal record; stderr: {}", self.stderr))
    }

    fn messages(&self) -> Vec<&str> {
        self.evidence.panics.latest.iter().map(|panic| panic.message.as_str()).collect()
    }

    fn left_nothing(&self) -> bool {
        self.evidence.fatal.is_none() && self.evidence.fatal_unfinished.is_none() && self.evidence.panics.seen == 0
    }
}

fn evidence(dir: &Path, name: &str) -> (Evidence, String) {
    let reader = RegionReader::open(&dir.join(format!("{name}.tacho"))).expect("the region is there");
    let state = reader.info().expect("facts").state;
    (reader.evidence().expect("evidence"), state.map_or_else(String::new, |state| format!("{state:?}")))
}

/// Whether every thread but the main one blocks signals.
fn blocks_signals(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut others = threads.filter(|thread| thread.file_name().to_str() != Some(&pid.to_string()));
    others.all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("SigBlk:") && !line.ends_with("0000000000000000"))
    })
}

/// Runs a victim to its end; those that wait are sent `signals`, one after the other.
fn run(dir: &Path, hooks: &str, death: &str, signals: &[Signal]) -> End {
    // By `env`, which it becomes: where the tests were started in the background by a shell, SIGINT and SIGQUIT are ignored, and
    // a child inherits that.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(crash_victim());
    command.arg(dir).args([hooks, death]).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The messages are compared: no backtraces in between, and no core dump in the tree.
    command.env_remove("RUST_BACKTRACE").current_dir(dir);
    let mut child = command.spawn().expect("the victim starts");
    let pid = child.id();
    if !signals.is_empty() {
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says that it is ready");
        assert!(line.starts_with("ready"), "{death}: {line:?}");
        // The housekeeping thread takes no signals once it has come so far as to say so: then they go to the main thread.
        eventually("housekeeping blocks signals", Duration::from_secs(30), || blocks_signals(pid).then_some(()));
        for (index, &signal) in signals.iter().enumerate() {
            // The one before is delivered, and its handler done, before the next is sent: the same signal would be merged
            // with it, or go to another thread.
            let pending = || {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let set = |line: &str| line.starts_with("ShdPnd:") || line.starts_with("SigBlk:");
                status.lines().any(|line| set(line) && !line.ends_with("0000000000000000"))
            };
            while index > 0 && pending() {
                std::thread::yield_now();
            }
            kill(Pid::from_raw(pid as i32), signal).expect("it is there");
        }
    }
    let output = child.wait_with_output().expect("it ends");
    let (evidence, state) = evidence(dir, "v");
    End {
        status: output.status.into_raw(),
        stderr: String::from_utf8(output.stderr).expect("text"),
        evidence,
        state,
        pid,
    }
}

/// Runs a victim with the hooks and without. It ends the same way; without, nothing is left.
fn both(death: &str, signals: &[Signal]) -> End {
    let folder = tmpfs::folder();
    let (bare, hooked) = ("bare", "hooks");
    let [bare, hooked] = [bare, hooked].map(|hooks| {
        let dir = folder.path().join(hooks);
        std::fs::create_dir(&dir).expect("a folder");
        run(&dir, hooks, death, signals)
    });
    assert_eq!(hooked.status, bare.status, "{death}: wait status; stderr: {}", hooked.stderr);
    // Ids of threads differ from run to run; and where std prints a backtrace by itself, the hook is in it.
    let text = |end: &End| -> String {
        let lines = end.stderr.lines().filter(|line| !line.starts_with("  "));
        lines.map(|line| line.replace(|letter: char| letter.is_ascii_digit(), "") + "\n").collect()
    };
    assert_eq!(text(&hooked), text(&bare), "{death}: stderr");
    assert!(bare.left_nothing(), "{death}: {:?}", bare.evidence);
    let told = [&bare, &hooked].map(|end| end.evidence.crash_hooks);
    assert_eq!(told, [Some(false), Some(true)], "{death}: each region says whether its process had the hooks");
    assert_eq!(hooked.state, bare.state, "{death}");
    hooked
}

/// As [`both`], for a death by a signal; checks what holds for each of those.
fn fatal(death: &str, signals: &[Signal], expected: Signal) -> End {
    let end = both(death, signals);
    assert_eq!(end.status & 0x7f, expected as i32, "{death}: status {:#x}; stderr: {}", end.status, end.stderr);
    let fatal = end.fatal();
    assert_eq!(fatal.name, expected.as_str(), "{death}");
    assert_eq!(end.evidence.fatal_unfinished, None, "{death}");
    assert!(fatal.instruction != 0 && fatal.stack != 0, "{death}: {fatal:?}");
    assert!(fatal.at.realtime_ns > 1 << 60 && fatal.at.monotonic_ns > 0, "{death}: {fatal:?}");
    end
}

/// More than the victim is large.
const EXECUTABLE: u64 = 1 << 30;

/// What the kernel calls the main thread of the victim.
const MAIN: &str = "crash_victim";

fn in_main(end: &End) -> bool {
    let by = &end.fatal().by;
    by.thread_id == u64::from(end.pid) && by.thread_name == MAIN
}

#[test]
fn faults_of_the_main_thread() {
    for (death, signal) in [
        ("segv", Signal::SIGSEGV),
        ("default_before", Signal::SIGSEGV),
        ("bus", Signal::SIGBUS),
        ("ignored_fault", Signal::SIGBUS),
        ("ill", Signal::SIGILL),
        ("fpe", Signal::SIGFPE),
        ("trap", Signal::SIGTRAP),
        ("sys", Signal::SIGSYS),
        ("abort", Signal::SIGABRT),
        ("ignored_abort", Signal::SIGABRT),
    ] {
        let end = fatal(death, &[], signal);
        assert!(in_main(&end), "{death}: {:?}", end.fatal());
        assert_eq!(end.evidence.panics.seen, 0, "{death}");
        assert_eq!(end.state, "Live", "{death}");
        let frames = &end.fatal().frames;
        assert!(frames.len() >= 5, "{death}: main has callers: {frames:?}");
        // They are addresses of code: those of the executable lie below its end, most of them are there.
        let own = frames.iter().filter(|frame| frame.offset.is_some_and(|offset| offset < EXECUTABLE)).count();
        assert!(own >= 3, "{death}: {frames:?}");
        if signal == Signal::SIGSEGV {
            assert_eq!(end.fatal().address, Some(NOWHERE as u64));
            assert_eq!(end.fatal().code_name.as_deref(), Some("SEGV_MAPERR"));
        }
    }
}

#[test]
fn a_fault_of_another_thread_names_it() {
    let end = fatal("segv_thread", &[], Signal::SIGSEGV);
    let by = &end.fatal().by;
    assert_eq!(by.thread_name, "a-worker-with-a", "the kernel keeps 15 bytes");
    assert_ne!(by.thread_id, u64::from(end.pid));
}

#[test]
fn a_stack_overflow_is_recorded_and_std_says_its_message() {
    for (death, thread) in [("overflow_main", MAIN), ("overflow_thread", "deep")] {
        let end = fatal_overflow(death);
        assert!(end.stderr.contains("has overflowed its stack"), "{death}: {}", end.stderr);
        assert_eq!(end.fatal().by.thread_name, thread);
        let frames = &end.fatal().frames;
        assert_eq!(frames.len(), 64, "{death}: as many as there is room for");
        assert_eq!(frames[10], frames[11], "{death}: of one function that calls itself");
        assert_eq!(end.fatal().name, "SIGSEGV", "the fault, not the abort that std makes of it");
        let apart = end.fatal().address.expect("a fault has one").abs_diff(end.fatal().stack);
        assert!(apart <= 4096, "{death}: {apart} bytes from the stack pointer");
    }
}

/// std makes a SIGABRT of the fault: the record keeps what came first.
fn fatal_overflow(death: &str) -> End {
    let end = both(death, &[]);
    assert_eq!(end.status & 0x7f, Signal::SIGABRT as i32, "{death}");
    end
}

#[test]
fn several_threads_that_die_at_once_leave_one_whole_record() {
    for _ in 0..10 {
        let folder = tmpfs::folder();
        let end = run(folder.path(), "hooks", "two_at_once", &[]);
        let died_of = end.status & 0x7f;
        assert!([Signal::SIGSEGV as i32, Signal::SIGILL as i32].contains(&died_of), "{:#x}", end.status);
        let fatal = end.fatal();
        assert!(["SIGSEGV", "SIGILL"].contains(&fatal.name.as_str()), "{fatal:?}");
        assert_eq!(fatal.name == "SIGSEGV", fatal.address == Some(NOWHERE as u64), "of one thread: {fatal:?}");
        assert_eq!(end.evidence.fatal_unfinished, None);
        assert!(fatal.frames.len() > 3, "the others waited for the frames, too: {fatal:?}");
    }
}

#[test]
fn a_signal_from_outside_names_its_sender() {
    // std's handler takes itself out at the first SIGSEGV that no fault raised, and the process lives on.
    let end = fatal("wait", &[Signal::SIGSEGV, Signal::SIGSEGV], Signal::SIGSEGV);
    assert_eq!(end.fatal().code_name.as_deref(), Some("SI_USER"));
    assert_eq!(end.fatal().address, None, "no address was at fault");
    let end = fatal("wait", &[Signal::SIGABRT], Signal::SIGABRT);
    assert_eq!(end.fatal().code_name.as_deref(), Some("SI_USER"));
}

#[test]
fn what_is_no_crash_of_its_own_leaves_no_record() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL, Signal::SIGHUP, Signal::SIGQUIT] {
        let end = both("wait", &[signal]);
        assert_eq!(end.status & 0x7f, signal as i32);
        assert!(end.left_nothing(), "{signal}: {:?}", end.evidence);
        assert_eq!(end.state, "Live", "{signal}");
    }
    let end = both("ignored_sent", &[]);
    assert_eq!(end.status, 0, "an ignored signal is ignored still");
    assert!(end.left_nothing(), "{:?}", end.evidence);
}

#[test]
fn an_earlier_handler_is_called_and_decides() {
    let end = both("earlier_handler", &[]);
    assert_eq!(end.status >> 8, 41, "the handler ended the process");
    assert_eq!(end.fatal().name, "SIGSEGV");
    let end = both("mended_fault", &[]);
    assert_eq!((end.status, end.state.as_str()), (0, "Closed"), "the handler mended the fault");
    assert!(end.left_nothing(), "a fault that was survived is no death: {:?}", end.evidence);
    let end = fatal("mended_then_fatal", &[], Signal::SIGILL);
    assert_eq!(end.fatal().address, Some(end.fatal().instruction), "the slot was free for the fault that counts");
}

#[test]
fn a_later_handler_comes_first() {
    let end = both("later_handler", &[]);
    assert_eq!(end.status >> 8, 41);
    assert!(end.left_nothing(), "the hooks never came to know");
    fatal("later_handler_passes_on", &[], Signal::SIGSEGV);
}

#[test]
fn panics_leave_message_place_and_thread() {
    let end = both("panic_main", &[]);
    assert_eq!(end.status >> 8, 101);
    assert_eq!(end.state, "Unwound");
    assert!(end.evidence.fatal.is_none());
    let panic = end.evidence.panics.first.as_ref().expect("the first panic");
    assert_eq!(panic.message, "the last words of main");
    let (file, line) = panic.place.split_once("crash_victim.rs:").expect("file:line:column");
    assert!(file.ends_with("examples/"), "{}", panic.place);
    assert!(end.stderr.contains(&format!("crash_victim.rs:{line}")), "{line} is where std says: {}", end.stderr);
    assert_eq!((panic.by.thread_id, panic.by.thread_name.as_str()), (u64::from(end.pid), MAIN));
    assert!(panic.frames.len() > 3, "{:?}", panic.frames);
    assert!(panic.frames.iter().filter(|frame| frame.offset.is_some()).count() > 3, "in the executable");
    assert_eq!(end.evidence.panics.latest, std::slice::from_ref(panic));
}

#[test]
fn an_abort_after_a_panic_is_recorded_by_the_same_thread() {
    let end = fatal("panic_abort", &[], Signal::SIGABRT);
    assert_eq!(end.messages(), ["no way out", "panic in a function that cannot unwind"]);
    assert!(end.evidence.panics.latest.iter().all(|panic| panic.by.thread_id == end.fatal().by.thread_id));
    let end = fatal("panic_twice", &[], Signal::SIGABRT);
    let messages = end.messages();
    assert_eq!(messages.get(..2), Some(&["the first", "the second"][..]), "{messages:?}");
    let death: Vec<&str> = end.evidence.fatal_panics().iter().map(|panic| panic.message.as_str()).collect();
    assert_eq!(death, ["the first", "the second", "panic in a destructor during cleanup"]);
    assert_eq!(end.fatal().panicking, Some(true));
    // A moment before, by the same thread, and no part of it.
    let end = fatal("panic_caught_then_abort", &[], Signal::SIGABRT);
    assert_eq!((end.messages(), end.fatal().panicking), (vec!["caught"], Some(false)));
    assert!(end.evidence.fatal_panics().is_empty());
}

#[test]
fn survived_panics_fill_the_ring_and_the_first_stays() {
    let end = both("panics_survived", &[]);
    assert_eq!((end.status, end.state.as_str()), (0, "Closed"));
    let panics = &end.evidence.panics;
    assert_eq!((panics.seen, panics.left_out), (11, 0));
    assert_eq!(panics.first.as_ref().map(|panic| panic.message.as_str()), Some("number 1"));
    let numbers: Vec<u64> = panics.latest.iter().map(|panic| panic.number).collect();
    assert_eq!(numbers, [4, 5, 6, 7, 8, 9, 10, 11]);
    // Whoever panics, the way from there into the record is one; and behind it they differ from nothing but themselves.
    let runtime = |panic: &Panic| panic.frames[..panic.runtime_frames as usize].to_vec();
    let first = panics.first.as_ref().expect("it stays");
    assert!(first.runtime_frames >= 6 && first.runtime_frames + 4 < first.frames.len() as u64, "{first:?}");
    for panic in &panics.latest {
        assert_eq!(runtime(panic), runtime(first), "{panic:?}");
        assert_eq!(panic.message, format!("number {}", panic.number));
        assert_eq!(panic.by.thread_name, format!("worker-{}", panic.number));
    }
}

#[test]
fn a_message_is_cut_at_a_character_and_what_is_no_text_is_named() {
    let end = both("panic_long", &[]);
    let messages = end.messages();
    // One byte, then characters of two: 1024 would cut one of them.
    assert_eq!(messages[0].len(), 1023);
    assert_eq!(messages[0].chars().count(), 512);
    assert_eq!(messages[1], "Box<dyn Any>");
}

#[test]
fn the_applications_own_panic_hook_is_called() {
    let end = both("own_panic_hook", &[]);
    assert!(end.stderr.contains("the application's own hook"), "{}", end.stderr);
    assert_eq!(end.messages(), ["heard by both"]);
    assert_eq!(end.state, "Exited", "the process went on to its exit, the region was not closed");
}

#[test]
fn each_region_in_use_gets_the_record() {
    let folder = tmpfs::folder();
    let end = run(folder.path(), "hooks", "several_regions", &[]);
    let (third, _) = evidence(folder.path(), "x");
    assert_eq!(third.fatal.expect("the other region's").at.monotonic_ns > 0, end.fatal().at.monotonic_ns > 0);
    let (closed, state) = evidence(folder.path(), "w");
    assert!(closed.fatal.is_none() && state == "Closed", "a closed region is done with");
    let end = both("closed_before", &[]);
    assert_eq!((end.status & 0x7f, end.state.as_str()), (Signal::SIGSEGV as i32, "Closed"));
    assert!(end.left_nothing(), "{:?}", end.evidence);
}

#[test]
fn a_childs_crash_or_exit_is_not_its_parents() {
    // A child that is cloned past the C library has its parent's regions in its map, and still is not their owner.
    let deaths =
        ["child_crashes", "child_exits", "child_with_region_crashes", "cloned_child_crashes", "cloned_child_exits"];
    for death in deaths {
        let folder = tmpfs::folder();
        let end = run(folder.path(), "hooks", death, &[Signal::SIGTERM]);
        assert_eq!(end.status & 0x7f, Signal::SIGTERM as i32, "{death}");
        assert!(end.left_nothing(), "{death}: {:?}", end.evidence);
        assert_eq!(end.state, "Live", "{death}");
        if death == "child_with_region_crashes" {
            let (child, state) = evidence(folder.path(), "child");
            assert_eq!(child.fatal.expect("the child's own").name, "SIGSEGV");
            assert_eq!(child.panics.seen, 1, "the hook ran once");
            assert_eq!(child.panics.latest[0].message, "in the child");
            assert_eq!(state, "Live");
        }
    }
}

#[test]
fn an_exit_is_told_from_a_kill() {
    for (death, code, state) in [
        ("exit", 3, "Exited"),
        ("exit_in_thread", 3, "Exited"),
        ("return_leaked", 0, "Exited"),
        ("return_dropped", 0, "Closed"),
        ("underscore_exit", 5, "Live"),
    ] {
        let end = both(death, &[]);
        assert_eq!((end.status >> 8, end.status & 0x7f, end.state.as_str()), (code, 0, state), "{death}");
        assert!(end.left_nothing(), "{death}");
    }
}

/// The image before the exec can't say anything: its region is archived by the one after it.
#[test]
fn an_exec_leaves_a_region_in_use() {
    let folder = tmpfs::folder();
    let end = run(folder.path(), "hooks", "exec", &[]);
    assert_eq!((end.status, end.state.as_str()), (0, "Closed"), "the second image's; stderr: {}", end.stderr);
    let archived: Vec<_> = std::fs::read_dir(folder.path().join("archive"))
        .expect("an archive")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tacho"))
        .collect();
    let [first] = archived.as_slice() else { panic!("{archived:?}") };
    let reader = RegionReader::open(first).expect("the first image's region");
    assert_eq!(reader.info().expect("facts").state.map(|state| format!("{state:?}")).as_deref(), Some("Live"));
    assert!(reader.evidence().expect("evidence").fatal.is_none());
}
