//! Forks from any thread, while others write, register, claim lanes and build regions: no child is stuck, none writes
//! into its parent's cells, and the parent's sums are exact.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{alarm, geteuid};
use tachograph::{Region, RegisterError};
use tachograph_tests::raw::{exit_code, fork_child};
use tachograph_tests::tmpfs;

#[test]
fn children_of_a_busy_process_are_neither_stuck_nor_in_its_cells() {
    let folder = tmpfs::folder();
    let build = |name: &str| Region::builder(name).dir(folder.path()).lanes(16).series(16_384).build();
    let region = build("busy").expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let live = region.updown_counter("app_live", "Live requests").expect("an up-down counter");
    let (stop, written, short) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (children, commands, registered) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let running = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        // Two that write all the time.
        for _ in 0..2 {
            scope.spawn(|| {
                let mut count = 0;
                while running() {
                    served.inc();
                    live.inc();
                    live.dec();
                    count += 1;
                }
                written.fetch_add(count, Ordering::Relaxed);
            });
        }
        // One that registers all the time: so the registry's mutex is held at most forks.
        scope.spawn(|| {
            for index in 0_u32.. {
                if !running() {
                    break;
                }
                // Past its capacity the region refuses, under the same mutex.
                let done = region.counter(&format!("app_number_{index}_total"), "One of many");
                registered.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
            }
        });
        // One whose threads claim lanes and give them back.
        scope.spawn(|| {
            while running() {
                let thread = scope.spawn(|| served.inc());
                thread.join().expect("a short thread");
                short.fetch_add(1, Ordering::Relaxed);
            }
        });
        // One that starts commands, by posix_spawn and (where the user is set) by fork and exec.
        scope.spawn(|| {
            while running() {
                let user = geteuid().as_raw();
                for command in [&mut Command::new("true"), Command::new("true").uid(user)] {
                    assert!(command.status().expect("true runs").success());
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Two that fork: the child of a thread that has a lane, and of one that has none.
        let forkers = [true, false].map(|claims| {
            let (served, region, build, children) = (&served, &region, &build, &children);
            scope.spawn(move || {
                if claims {
                    served.add(1_000_000_000);
                }
                let start = Instant::now();
                for round in 0_u32.. {
                    if start.elapsed() > Duration::from_secs(4) {
                        break;
                    }
                    let child = fork_child(|| {
                        // Whoever is stuck is ended by a signal, and is told from an exit.
                        alarm::set(20);
                        served.add(1_000_000_000_000);
                        let refused = region.counter("app_late_total", "In the child");
                        if !matches!(refused, Err(RegisterError::Ended { .. })) {
                            return 1;
                        }
                        let Ok(own) = build(&format!("child-{claims}")) else { return 2 };
                        let Ok(counter) = own.counter("app_served_total", "Requests served") else { return 3 };
                        counter.add(7);
                        // No thread is started here: the standard library's lock for a new thread's stack may have come
                        // along locked, by a thread that its parent was just starting.
                        if counter.get() == 7 { 0 } else { 4 }
                    });
                    assert_eq!(exit_code(child), 0, "child {round} of a thread that has a lane: {claims}");
                    children.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let ended = forkers.map(std::thread::ScopedJoinHandle::join);
        stop.store(true, Ordering::Relaxed);
        for end in ended {
            end.expect("a forking thread");
        }
    });
    let [written, short, children] = [&written, &short, &children].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(served.get(), written + short + 1_000_000_000, "after {children} children");
    assert_eq!(live.get(), 0);
    let [commands, registered] = [&commands, &registered].map(|count| count.load(Ordering::Relaxed));
    assert!(
        children > 10 && commands > 10 && registered > 100 && short > 10,
        "{children} {commands} {registered} {short}"
    );
}
