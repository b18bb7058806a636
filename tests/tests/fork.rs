//! A forked child: it neither writes its parent's cells nor keeps its parent alive in the eyes of readers.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region, RegisterError};
use tachograph_tests::process::{binary, tacho, verdict};
use tachograph_tests::raw::{exit_code, fork_child};
use tachograph_tests::tmpfs;

#[test]
fn a_child_writes_into_nothing_and_builds_its_own() {
    binary("tacho"); // built before the fork
    let folder = tmpfs::folder();
    let dir = folder.path();
    let region = Region::builder("parent").dir(folder.path()).build().expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let depth = region.gauge::<i64>("app_depth", "Depth").expect("a gauge");
    served.add(5);
    depth.set(7);

    let peers: OpenFamily<Counter, 1> = region
        .open_family(Desc::new("app_peers_total", "By peer"), ["peer"], OpenRules::new(2))
        .expect("an open family");
    let held = peers.with(["a"]);
    held.add(3);
    let last = std::cell::RefCell::new(Some(peers.with(["d"])));

    let child = fork_child(|| {
        // Neither a set that exists nor a new one touches the parent's region, nor its lock; nor does the last lease.
        for peer in ["a", "b", "c"] {
            peers.with([peer]).add(100);
        }
        held.clone().add(1_000);
        drop(last.take());
        for _ in 0..1_000 {
            served.inc();
            depth.set(-1);
        }
        let refused = region.counter("app_late_total", "In the child");
        if !matches!(refused, Err(RegisterError::Ended { .. })) {
            return 1;
        }
        let Ok(own) = Region::builder("child").dir(folder.path()).build() else { return 2 };
        let Ok(counter) = own.counter("app_served_total", "Requests served") else { return 3 };
        counter.add(11);
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(move || counter.add(100))).collect();
        if threads.into_iter().any(|thread| thread.join().is_err()) || counter.get() != 411 {
            return 4;
        }
        own.close();
        0
    });
    assert_eq!(exit_code(child), 0);
    assert_eq!((served.get(), depth.get()), (5, 7), "the parent's cells are untouched");
    assert_eq!(held.get(), 3);
    assert!(last.take().is_some_and(|lease| !lease.is_overflow() && lease.get() == 0), "the parent has its leases");
    let overflow = peers.with(["b"]);
    assert!(overflow.is_overflow());
    assert_eq!(overflow.get(), 0, "nor did the child count into the overflow series");
    drop(overflow);
    assert_eq!(verdict(dir, "parent"), "running", "the child's end is not the parent's");
    assert_eq!(verdict(dir, "child"), "closed");
    served.inc();
    assert_eq!(served.get(), 6);
    let shown = tacho(&["show", "child", "--format", "prom", "--region-dir", dir.to_str().expect("UTF-8 path")]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(" 411\n"));

    // A child that ends in an orderly way, with the parent's region dropped and exit handlers run, closes only its own.
    let held = std::cell::RefCell::new(Some(region));
    let orderly = fork_child(|| {
        drop(held.take());
        std::process::exit(0)
    });
    assert_eq!(exit_code(orderly), 0);
    let region = held.take().expect("the parent's own is still there");
    assert_eq!(verdict(dir, "parent"), "running", "a child's end closed its parent's region");
    region.counter("app_after_total", "After the child").expect("the parent registers on").inc();
    served.inc();
    assert_eq!(served.get(), 7);

    // A child that lives on does not keep a dead parent's lock: the parent's death is seen as death.
    let lingering = fork_child(|| {
        std::thread::sleep(Duration::from_secs(60));
        0
    });
    region.close();
    Region::builder("parent").dir(folder.path()).build().expect("the lock is free, whatever the child does").close();
    nix::sys::signal::kill(lingering, Signal::SIGKILL).expect("the child is there");
    nix::sys::wait::waitpid(lingering, None).expect("waitpid");
}
