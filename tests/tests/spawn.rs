//! A process that the application starts inherits nothing of its regions.

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
