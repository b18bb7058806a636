//! A process that the application starts inherits nothing of its regions.

use std::os::unix::process::CommandExt;
use std::process::Command;

use tachograph::Region;
use tachograph_tests::process::Running;
use tachograph_tests::tmpfs;

#[test]
fn a_spawned_command_does_not_inherit_the_lock() {
    let folder = tmpfs::folder();
    let region = Region::builder("spawner").dir(folder.path()).build().expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let sleeper = Running::start(Command::new("sleep").arg("60"));
    served.inc();
    assert_eq!(served.get(), 1, "the parent writes on");
    region.close();
    // Had `sleep` inherited the lock's descriptor, the name would still be owned.
    Region::builder("spawner").dir(folder.path()).build().expect("the lock is free while the command runs").close();
    drop(sleeper);
}

#[test]
fn a_spawned_command_has_no_descriptor_of_a_region() {
    let folder = tmpfs::folder();
    let region = Region::builder("spawner").dir(folder.path()).build().expect("a region");
    let user = nix::unistd::geteuid().as_raw();
    let list = || {
        let mut command = Command::new("ls");
        command.args(["-l", "/proc/self/fd"]);
        command
    };
    // By posix_spawn, and (where the user is set) by fork and exec.
    for command in [&mut list(), list().uid(user)] {
        let output = command.output().expect("ls runs");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && listed.contains("/proc/"), "{listed}");
        assert!(!listed.contains("spawner") && !listed.contains("tachograph-test-"), "{listed}");
    }
    // Here they are, so that the listing above would have shown them.
    let own = std::fs::read_dir("/proc/self/fd").expect("own descriptors");
    let own = own.filter_map(|entry| std::fs::read_link(entry.expect("an entry").path()).ok());
    let own = own.filter(|path| path.starts_with(folder.path())).count();
    assert!(own >= 2, "the lock and the file: {own}");
    region.close();
}
