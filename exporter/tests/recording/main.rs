//! Recordings of real regions: what a recorder writes is what a reader gets back, whatever happens to either of them.

#[cfg(feature = "demo")]
mod cases;
mod cuts;
mod keeping;
#[cfg(feature = "demo")]
mod kills;
mod round_trip;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachograph_exporter::Directories;
use tachograph_exporter::recording::{Recorder, RecorderConfig, Recordings, Tier};

/// A directory for regions, one for recordings.
struct Place {
    _root: tempfile::TempDir,
    regions: PathBuf,
    recorder: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let (regions, recorder) = (root.path().join("regions"), root.path().join("recorder"));
        rustix::fs::mkdir(&regions, rustix::fs::Mode::from_raw_mode(0o750)).unwrap();
        Self { _root: root, regions, recorder }
    }

    fn directories(&self) -> Directories {
        Directories::from_args(vec![self.regions.clone()])
    }

    /// A recorder at the shortest interval, with a coarse tier of four times that.
    fn config(&self) -> RecorderConfig {
        let tier = |interval, keep| Tier { interval: Duration::from_millis(interval), keep: Duration::from_secs(keep) };
        RecorderConfig { tiers: vec![tier(50, 60), tier(200, 600)], ..RecorderConfig::new(&self.recorder) }
    }

    fn record(&self) -> Recorder {
        Recorder::start(self.config(), self.directories()).unwrap()
    }

    fn recordings(&self) -> Recordings {
        Recordings::open(&self.recorder).unwrap()
    }
}

/// Waits for something that a thread will do.
fn until(what: &str, done: impl FnMut() -> bool) {
    until_within(Duration::from_secs(60), what, done);
}

fn until_within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The block files of a recorder.
fn blocks(recorder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(recorder.join("blocks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
