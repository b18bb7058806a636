//! Children that outlive a killed parent: its death is seen as death, and its name is free, whoever of them lives on.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, alarm, setpgid};
use tachograph::{Counter, Region, RegisterError};
use tachograph_tests::process::{binary, eventually, tacho, verdict};
use tachograph_tests::raw::fork_child;
use tachograph_tests::tmpfs;

const PATIENCE: Duration = Duration::from_secs(20);

/// Says that a step is done: other processes wait for it by [`reached`].
fn reach(dir: &Path, step: &str) {
    std::fs::write(dir.join(step), "").expect("a file");
}

fn reached(dir: &Path, step: &str) {
    eventually(step, PATIENCE, || dir.join(step).exists().then_some(()));
}

fn build(dir: &Path, name: &str) -> Region {
    Region::builder(name).dir(dir).lanes(16).build().expect("a region")
}

fn served(region: &Region) -> Counter {
    region.counter("app_served_total", "Requests served").expect("a counter")
}

/// Whoever hangs is ended, and so are its own children, by the alarm.
fn orphan(dir: &Path, step: &str, work: impl FnOnce()) {
    alarm::set(60);
    work();
    reach(dir, step);
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_parent_is_dead_whoever_of_its_children_lives() {
    binary("tacho"); // built before the fork
    let folder = tmpfs::folder();
    let dir = folder.path();
    let owner = fork_child(|| {
        if setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_err() {
            return 1;
        }
        let region = build(dir, "owner");
        let counter = served(&region);
        counter.add(5);
        fork_child(|| {
            orphan(dir, "child", || {
                counter.add(100);
                // A grandchild, which inherits twice: it writes into nothing, and has its own.
                fork_child(|| {
                    orphan(dir, "grandchild", || {
                        counter.add(1_000);
                        let refused = region.counter("app_late_total", "In the grandchild");
                        assert!(matches!(refused, Err(RegisterError::Ended { .. })), "{refused:?}");
                        let own = build(dir, "grandchild-own");
                        let own_counter = served(&own);
                        own_counter.add(3);
                        // Its own child, born with three regions of others in its memory.
                        let last = fork_child(|| {
                            own_counter.add(50);
                            counter.add(50);
                            0
                        });
                        assert!(matches!(waitpid(last, None), Ok(WaitStatus::Exited(_, 0))));
                        std::mem::forget(own);
                    });
                    0
                });
                let own = build(dir, "child-own");
                served(&own).add(2);
                reached(dir, "owner-is-dead");
                // The name of its dead parent, under the parent's grandchild's eyes.
                let heir = build(dir, "owner");
                served(&heir).add(4);
                std::mem::forget((own, heir));
            });
            0
        });
        reached(dir, "grandchild");
        // No orderly end: nobody closes, nobody unlocks.
        let _ = raise(Signal::SIGKILL);
        2
    });
    let died = waitpid(owner, None).expect("the owner ends");
    assert!(matches!(died, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{died:?}");
    assert_eq!(verdict(dir, "owner"), "crashed", "its children live, it does not");
    assert_eq!(verdict(dir, "child-own"), "running");
    assert_eq!(verdict(dir, "grandchild-own"), "running");
    let value = |name: &str| {
        let shown = tacho(&["show", name, "--format", "prom", "--region-dir", dir.to_str().expect("UTF-8 path")]);
        let text = String::from_utf8(shown.stdout).expect("UTF-8");
        let line = text.lines().find(|line| line.starts_with("app_served_total")).expect("the counter").to_owned();
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    assert_eq!(value("owner@crash"), "5", "nobody wrote into the dead parent's region");
    reach(dir, "owner-is-dead");
    reached(dir, "child");
    assert_eq!(verdict(dir, "owner"), "running", "the child took its dead parent's name");
    assert_eq!((value("owner"), value("owner@crash")), ("4".to_owned(), "5".to_owned()));
    assert_eq!((value("child-own"), value("grandchild-own")), ("2".to_owned(), "3".to_owned()));
    killpg(owner, Signal::SIGKILL).expect("the orphans lived until now");
    for name in ["owner", "child-own", "grandchild-own"] {
        eventually("the orphans' death", PATIENCE, || (verdict(dir, name) == "crashed").then_some(()));
    }
}
