//! A full file system: archived evidence goes only where that makes room.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph::{BuildError, Region};
use tachograph_tests::controller::Controller;
use tachograph_tests::process::eventually;
use tachograph_tests::tmpfs::Tmpfs;

fn die(dir: &Path) {
    let mut controller = Controller::start(dir, "evidence", &["--rate", "0", "--acks"]);
    eventually("acks", Duration::from_secs(20), || (controller.lines() > 2).then_some(()));
    controller.process.signal(Signal::SIGKILL);
    controller.process.wait(Duration::from_secs(10));
}

/// A process still maps every region that it closed, so dropping those from the archive frees nothing: neither they nor
/// anybody else's evidence may go for that.
#[test]
fn evidence_is_not_dropped_where_that_frees_too_little() {
    let tmpfs = Tmpfs::new("14m");
    die(tmpfs.path());
    die(tmpfs.path());
    let archived = || -> Vec<String> {
        let entries = std::fs::read_dir(tmpfs.path().join("archive")).expect("an archive");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.filter(|name| name.starts_with("evidence.")).collect()
    };
    assert_eq!(archived().len(), 1, "the first death is archived");
    let mut built = 0;
    let full = loop {
        assert!(built < 50, "14 MiB are never full");
        match Region::builder("again").dir(tmpfs.path()).lanes(16).cells(60_000).archive_share(100).build() {
            Ok(region) => region.close(),
            Err(error) => break error,
        }
        built += 1;
    };
    assert!(matches!(full, BuildError::Full { .. }), "after {built} regions: {full}");
    assert_eq!(archived().len(), 1, "evidence was dropped for nothing, after {built} regions");
}
