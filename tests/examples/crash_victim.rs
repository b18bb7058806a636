//! A process that dies, or ends, in the way that it is told: `crash_victim DIR hooks|bare DEATH`.
//!
//! It builds a region `v` in DIR, with the crash hooks or without them, so that a test can hold both ends side by side.
//! `ready` on stdout says that it waits to be killed.

use std::error::Error;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::unistd::Pid;
use tachograph::Region;
use tachograph_tests::raw;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, hooks, death] = args.as_slice() else { return Err("crash_victim DIR hooks|bare DEATH".into()) };
    before_hooks(death);
    let build = |name: &str| Region::builder(name).dir(dir).series(16).lanes(4).crash_hooks(hooks == "hooks").build();
    let region = build("v")?;
    region.counter("app_deeds_total", "Deeds")?.inc();
    die(death, region, &build)
}

/// What has to be there before the hooks are.
fn before_hooks(death: &str) {
    match death {
        "earlier_handler" => raw::exit_on_segfault(),
        "mended_fault" | "mended_then_fatal" => raw::mend_segfault(),
        "default_before" => raw::restore_default(Signal::SIGSEGV),
        "ignored_abort" => raw::ignore(Signal::SIGABRT),
        "ignored_sent" | "ignored_fault" => raw::ignore(Signal::SIGBUS),
        "own_panic_hook" => std::panic::set_hook(Box::new(|_| eprintln!("the application's own hook"))),
        _ => {}
    }
}

fn die(
    death: &str,
    region: Region,
    build: &dyn Fn(&str) -> Result<Region, tachograph::BuildError>,
) -> Result<(), Box<dyn Error>> {
    match death {
        // Panics.
        "panic_main" => panic!("the last words of {}", "main"),
        "own_panic_hook" => {
            // The region outlives the panic: it is not closed by unwinding.
            std::mem::forget(region);
            panic!("heard by both");
        }
        "panic_abort" => {
            extern "C" fn no_unwind() {
                panic!("no way out");
            }
            no_unwind();
        }
        "panic_twice" => {
            struct Grudge;
            impl Drop for Grudge {
                fn drop(&mut self) {
                    panic!("the second");
                }
            }
            let _grudge = Grudge;
            panic!("the first");
        }
        "panic_caught_then_abort" => {
            assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
            std::process::abort();
        }
        "panics_survived" => {
            for panic in 1..=11 {
                let thread = std::thread::Builder::new().name(format!("worker-{panic}"));
                assert!(thread.spawn(move || panic!("number {panic}"))?.join().is_err());
            }
        }
        "panics_then_wait" => {
            for number in 0..2 {
                let _ = std::panic::catch_unwind(|| panic!("survived {number}"));
            }
            wait_to_be_killed();
        }
        "panic_long" => {
            let long = "é".repeat(1000);
            assert!(std::panic::catch_unwind(move || panic!("x{long}")).is_err());
            assert!(std::panic::catch_unwind(|| std::panic::panic_any(7)).is_err());
        }
        // Faults.
        "segv" | "earlier_handler" | "default_before" => raw::segfault(),
        "bus" | "ignored_fault" => raw::bus_error(),
        "ill" => raw::illegal_instruction(),
        "fpe" => raw::divide_by_zero(),
        "trap" => raw::breakpoint(),
        "sys" => raise(Signal::SIGSYS)?,
        "abort" | "ignored_abort" => std::process::abort(),
        "segv_thread" => {
            let thread = std::thread::Builder::new().name("a-worker-with-a-long-name".to_owned());
            let _ = thread.spawn(raw::segfault)?.join();
        }
        "overflow_main" => drop(black_box(descend(0))),
        "overflow_thread" => {
            let thread = std::thread::Builder::new().name("deep".to_owned());
            let _ = thread.spawn(|| black_box(descend(0)))?.join();
        }
        "two_at_once" => {
            let start = Arc::new(Barrier::new(4));
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let start = Arc::clone(&start);
                    std::thread::spawn(move || {
                        start.wait();
                        if thread % 2 == 0 { raw::segfault() } else { raw::illegal_instruction() }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        "mended_fault" => raw::segfault(),
        "mended_then_fatal" => {
            raw::segfault();
            raw::unmend_segfault();
            raw::illegal_instruction();
        }
        "later_handler" => {
            raw::exit_on_segfault();
            raw::segfault();
        }
        "later_handler_passes_on" => {
            raw::pass_segfault_on();
            raw::segfault();
        }
        "ignored_sent" => raise(Signal::SIGBUS)?,
        // Several regions, none, closed ones.
        "several_regions" => {
            let (second, third) = (build("w")?, build("x")?);
            second.close();
            std::mem::forget(third);
            raw::segfault();
        }
        "closed_before" => {
            region.close();
            assert!(std::panic::catch_unwind(|| panic!("too late")).is_err());
            raw::segfault();
        }
        // Children.
        "child_crashes" => {
            let child = raw::fork_child(|| {
                let _ = std::panic::catch_unwind(|| panic!("in the child"));
                raw::segfault();
                0
            });
            let _ = nix::sys::wait::waitpid(child, None)?;
            wait_to_be_killed();
        }
        "cloned_child_crashes" => {
            let child = raw::clone_child(|| {
                let _ = std::panic::catch_unwind(|| panic!("in the child"));
                raw::segfault();
                0
            });
            let _ = nix::sys::wait::waitpid(child, None)?;
            wait_to_be_killed();
        }
        "cloned_child_exits" => {
            let child = raw::clone_child(|| std::process::exit(0));
            let _ = nix::sys::wait::waitpid(child, None)?;
            wait_to_be_killed();
        }
        "child_with_region_crashes" => {
            let child = raw::fork_child(|| {
                let Ok(own) = build("child") else { return 1 };
                let _ = std::panic::catch_unwind(|| panic!("in the child"));
                raw::segfault();
                drop(own);
                0
            });
            let _ = nix::sys::wait::waitpid(child, None)?;
            wait_to_be_killed();
        }
        "child_exits" => {
            let child = raw::fork_child(|| std::process::exit(0));
            let _ = nix::sys::wait::waitpid(child, None)?;
            wait_to_be_killed();
        }
        // Ends that are no crash, and kills.
        "exit" => std::process::exit(3),
        "exit_in_thread" => drop(std::thread::spawn(|| std::process::exit(3)).join()),
        "return_leaked" => std::mem::forget(region),
        "return_dropped" => {}
        "underscore_exit" => raw::exit_at_once(5),
        "exec" => {
            if std::env::var_os("CRASH_VICTIM_SECOND").is_some() {
                return Ok(());
            }
            let mut again = Command::new(std::env::current_exe()?);
            again.args(std::env::args().skip(1)).env("CRASH_VICTIM_SECOND", "1");
            return Err(again.exec().into());
        }
        "exec_other" => return Err(Command::new("sleep").arg("60").exec().into()),
        "wait" => wait_to_be_killed(),
        "eat" => {
            println!("ready {}", Pid::this());
            // Once it is told to, it takes memory until it is killed for it.
            std::io::stdin().read_line(&mut String::new())?;
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
                black_box(&eaten);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        other => return Err(format!("no death {other}").into()),
    }
    Ok(())
}

/// Says that it is ready, and waits.
fn wait_to_be_killed() {
    println!("ready {}", Pid::this());
    std::thread::sleep(Duration::from_secs(60));
}

/// Uses up the stack.
fn descend(depth: u64) -> u64 {
    let page = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { descend(depth + 1) + page[(depth % 64) as usize] }
}
