//! Children forked while a region is being built must not keep its lock, once its owner is dead.
//!
//! One test function: a fork must not happen beside other tests of the same process.

use std::time::Duration;

use nix::sys::signal::{Signal, killpg, raise};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, setpgid};
use tachograph::Region;
use tachograph_tests::raw::fork_child;
use tachograph_tests::tmpfs;

#[test]
fn children_born_in_the_middle_of_a_start_keep_no_lock() {
    let folder = tmpfs::folder();
    let path = folder.path();
    let build = |name: &str| Region::builder(name).dir(path).lanes(16).series(64).cells(64).build();
    // The owner: builds regions in one thread while it forks in another, and dies without closing any of them.
    let owner = fork_child(|| {
        if setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_err() {
            return 1;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for index in 0_u32.. {
                    std::mem::forget(build(&format!("start-{index}")));
                }
            });
            for _ in 0..40 {
                std::thread::sleep(Duration::from_millis(3));
                fork_child(|| {
                    std::thread::sleep(Duration::from_secs(120));
                    0
                });
            }
            // An orderly end would let the locks go by itself.
            let _ = raise(Signal::SIGKILL);
        });
        2
    });
    let died = waitpid(owner, None).expect("the owner ends");
    assert!(matches!(died, nix::sys::wait::WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{died:?}");

    // Its children still live: a lock that one of them kept would be told as an owner.
    let mut names: Vec<String> = std::fs::read_dir(path)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".lock").map(str::to_owned))
        .collect();
    names.sort();
    let kept: Vec<String> = names.iter().filter_map(|name| build(name).err()).map(|error| error.to_string()).collect();
    let ended = killpg(owner, Signal::SIGKILL);
    assert!(names.len() > 10, "regions were built meanwhile: {names:?}");
    assert!(kept.is_empty(), "{} of {} locks are kept by children: {}", kept.len(), names.len(), kept[0]);
    ended.expect("the children lived until now");
}
