//! Children forked while a region is being built must not keep its lock.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tachograph::Region;
use tachograph_tests::raw::fork_child;
use tachograph_tests::tmpfs;

#[test]
fn children_born_in_the_middle_of_a_start_keep_no_lock() {
    let folder = tmpfs::folder();
    let stop = AtomicBool::new(false);
    let (names, children) = std::thread::scope(|scope| {
        let builder = scope.spawn(|| {
            let mut names = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let name = format!("start-{}", names.len());
                let region = Region::builder(&name).dir(folder.path()).series(64).cells(64).build().expect("a region");
                region.close();
                names.push(name);
            }
            names
        });
        let children: Vec<_> = (0..40)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(3));
                fork_child(|| {
                    std::thread::sleep(Duration::from_secs(120));
                    0
                })
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        (builder.join().expect("no panic"), children)
    });
    assert!(names.len() > 10, "regions were built meanwhile: {}", names.len());
    // The children still live: a lock that one of them kept would be told as an owner.
    for name in &names {
        if let Err(error) = Region::builder(name).dir(folder.path()).series(64).cells(64).build() {
            panic!("{name}: {error}");
        }
    }
    for child in children {
        kill(child, Signal::SIGKILL).expect("the child is there");
        nix::sys::wait::waitpid(child, None).expect("waitpid");
    }
}
