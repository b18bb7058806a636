//! A panic of the recorder's own threads, caught: a fault of this program, which must cost neither the serving nor what else
//! is recorded.
//!
//! Called around what a thread does for one region, and around a whole tick. What was being changed when it came is not
//! used again. The process's panic hook has told the place by then; the caller tells what it costs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does it, or gives the panic's message.
pub(super) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}

/// Where a test makes the recorder panic.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// At the begin of a tick.
    Tick,
    /// Before a region of this name is sampled.
    Sample(&'a str),
    /// Before the case of a region of this name is written.
    Case(&'a str),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    use tachograph::Region;

    use super::*;
    use crate::Directories;
    use crate::recording::recorder::FAULTS_IN_A_ROW;
    use crate::recording::{Recorder, RecorderConfig, RecorderCounts, Recordings, Tier};

    /// What is logged by all tests of this process.
    #[cfg(feature = "cli")]
    static LOG: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());

    #[cfg(feature = "cli")]
    struct Log;

    #[cfg(feature = "cli")]
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Lines of the log that have all of these in them.
    #[cfg(feature = "cli")]
    fn logged(words: &[&str]) -> usize {
        let log = LOG.lock().unwrap();
        String::from_utf8_lossy(&log).lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    struct Bench {
        root: tempfile::TempDir,
        /// Faults come from now on.
        armed: Arc<AtomicBool>,
        recorder: Recorder,
    }

    impl Bench {
        fn new(at: impl Fn(Place<'_>) -> bool + Send + Sync + 'static) -> Self {
            #[cfg(feature = "cli")]
            let _ = tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).try_init();
            let root = tempfile::tempdir_in("/dev/shm").unwrap();
            rustix::fs::chmod(root.path(), rustix::fs::Mode::from_raw_mode(0o750)).unwrap();
            let tier = Tier { interval: Duration::from_millis(50), keep: Duration::from_secs(60) };
            let config = RecorderConfig { tiers: vec![tier], ..RecorderConfig::new(root.path().join("recorder")) };
            let armed = Arc::new(AtomicBool::new(false));
            let on = Arc::clone(&armed);
            let fault = move |place: Place<'_>| assert!(!(on.load(Relaxed) && at(place)), "a fault of the test's");
            let directories = Directories::from_args(vec![root.path().to_owned()]);
            let recorder = Recorder::start_with(config, directories, Arc::new(fault)).unwrap();
            Self { root, armed, recorder }
        }

        fn region(&self, name: &str) -> Region {
            let region = Region::builder(name).dir(self.root.path()).build().unwrap();
            region.counter("app_a_total", "A").unwrap().inc();
            region
        }

        fn until(&self, what: &str, done: impl Fn(RecorderCounts) -> bool) -> RecorderCounts {
            let start = Instant::now();
            loop {
                let counts = self.recorder.stats().counts();
                if done(counts) {
                    return counts;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "{what}: {counts:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        fn samples(&self, name: &str) -> usize {
            let recordings = Recordings::open(&self.root.path().join("recorder")).unwrap();
            recordings
                .named(name)
                .map(|recorded| {
                    let mut window = recorded.window(0, u64::MAX);
                    let count = std::iter::from_fn(|| window.next_sample().map(|_| ())).count();
                    assert_eq!(window.problems(), []);
                    count
                })
                .sum()
        }
    }

    #[test]
    fn a_fault_in_one_region_costs_that_one_its_recording_and_is_shown() {
        let bench = Bench::new(|place| place == Place::Sample("bad"));
        let (bad, good) = (bench.region("bad"), bench.region("good"));
        bench.until("samples of both", |counts| counts.regions == 2 && counts.samples > 8);
        assert_eq!(bench.recorder.stats().counts().failing, 0);
        bench.armed.store(true, Relaxed);
        let counts = bench.until("a fault", |counts| counts.failing == 1 && counts.regions == 1);
        let after = bench.until("samples after it", |now| now.samples > counts.samples + 5);
        assert_eq!((after.errors, after.failing), (1, 1), "told once, and shown for as long as the region is there");
        #[cfg(feature = "cli")]
        assert_eq!(
            logged(&["ERROR", "a fault in the recorder: this region", "region=bad", "a fault of the test's"]),
            1
        );
        assert!(bench.samples("bad") > 2, "what was recorded of it stands");
        assert!(bench.samples("good") > bench.samples("bad"));
        drop(good);
        std::fs::remove_file(bad.path().unwrap()).unwrap();
        bad.close();
        bench.until("that it is over", |counts| counts.failing == 0);
    }

    #[test]
    fn a_fault_at_a_tick_is_shown_and_the_next_one_goes_on_but_not_for_ever() {
        let bench = Bench::new(|place| place == Place::Tick);
        let region = bench.region("app");
        bench.until("samples", |counts| counts.samples > 3);
        bench.armed.store(true, Relaxed);
        bench.until("a fault", |counts| counts.failing == 1);
        bench.armed.store(false, Relaxed);
        let counts = bench.until("recording again", |counts| counts.failing == 0 && counts.regions == 1);
        bench.until("samples", |now| now.samples > counts.samples + 3);
        bench.armed.store(true, Relaxed);
        bench.until("that it is down", |now| now.errors >= counts.errors + FAULTS_IN_A_ROW);
        std::thread::sleep(Duration::from_millis(300));
        let down = bench.recorder.stats().counts();
        assert_eq!((down.errors, down.failing), (counts.errors + FAULTS_IN_A_ROW, 1), "no more ticks, and it shows");
        #[cfg(feature = "cli")]
        assert!(logged(&["ERROR", "this tick is lost"]) > 10 && logged(&["ERROR", "the recorder gives up"]) == 1);
        assert!(bench.samples("app") > 6);
        drop(region);
    }

    #[test]
    fn a_fault_in_a_case_costs_that_case_only() {
        let bench = Bench::new(|place| place == Place::Case("bad"));
        bench.armed.store(true, Relaxed);
        // Two that died: their writers' locks are free, and nothing says that they were closed.
        for name in ["bad", "good"] {
            let region = bench.region(name);
            bench.until("a sample", |counts| counts.regions >= 1);
            let path = region.path().unwrap().to_owned();
            let copy = std::fs::read(&path).unwrap();
            region.close();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, copy).unwrap();
        }
        let counts = bench.until("both", |counts| counts.cases == 1 && counts.case_errors == 1);
        assert_eq!((counts.cases, counts.case_errors), (1, 1));
        #[cfg(feature = "cli")]
        assert_eq!(logged(&["no case was written", "region=bad", "a fault of the test's"]), 1);
    }
}
