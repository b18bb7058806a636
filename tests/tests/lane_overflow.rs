//! More threads than lanes: said once, told by the region and by the exporter's own metric, every sum exact, what was
//! dropped is counted exactly.
//!
//! One test function: lanes and the warning are the process's.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use tachograph::Region;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::tmpfs;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn warnings(&self) -> usize {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains("more threads than lanes")).count()
    }
}

#[test]
fn extra_threads_are_told_once_and_lose_nothing() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let folder = tmpfs::folder();
    let tick = Duration::from_millis(20);
    let regions = ["one", "two"]
        .map(|name| Region::builder(name).dir(folder.path()).lanes(4).tick(tick).build().expect("a region"));
    let counters = regions.each_ref().map(|region| {
        (
            region.counter("app_served_total", "Requests served").expect("a counter"),
            region.float_counter("app_spent_seconds_total", "Time spent").expect("a float counter"),
            region.updown_counter("app_live", "Live requests").expect("an up-down counter"),
        )
    });
    // This thread has a lane from the start, and no other claims one while the last region below is there.
    tachograph::enter_thread();
    // Two rounds of ten threads for two more lanes beside the shared one; all of a round live at once.
    for _ in 0..2 {
        let (start, end) = (Barrier::new(10), Barrier::new(10));
        let threads: [std::thread::Result<()>; 10] = std::thread::scope(|scope| {
            let spawn = |_: usize| {
                scope.spawn(|| {
                    start.wait();
                    for (served, spent, live) in &counters {
                        for _ in 0..1_000 {
                            served.inc();
                            spent.add(0.5);
                            spent.add(f64::NAN);
                            spent.add(-1.0);
                            live.add(2);
                            live.dec();
                        }
                    }
                    end.wait();
                })
            };
            std::array::from_fn::<_, 10, _>(spawn).map(std::thread::ScopedJoinHandle::join)
        });
        assert!(threads.iter().all(Result::is_ok));
    }
    for (served, spent, live) in &counters {
        assert_eq!((served.get(), spent.get(), live.get()), (20_000, 10_000.0, 20_000));
    }
    eventually("the warning", Duration::from_secs(10), || (lines.warnings() > 0).then_some(()));
    std::thread::sleep(tick * 10);
    assert_eq!(lines.warnings(), 1, "said once, for all regions and rounds");

    // A region built now is read in the lanes that were claimed before it was there.
    let late = Region::builder("late").dir(folder.path()).lanes(4).build().expect("a region");
    late.counter("app_served_total", "Requests served").expect("a counter").add(9);

    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(folder.path());
    command.args(["--web.listen-address", &format!("127.0.0.1:{port}")]);
    let _server = Running::start(&mut command);
    let metrics = eventually("a scrape", Duration::from_secs(20), || get(port, "/metrics")).body;
    let series = "app_served_total{tacho_region=\"late\"} 9";
    assert!(metrics.lines().any(|found| found == series), "no {series} in\n{metrics}");
    for (name, region) in ["one", "two"].iter().zip(regions) {
        for (metric, value) in [("lane_overflows", 16), ("observations_dropped", 40_000)] {
            let line = format!("tacho_region_{metric}_total{{tacho_region=\"{name}\"}} {value}");
            assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
        }
        let series = format!("app_served_total{{tacho_region=\"{name}\"}} 20000");
        assert!(metrics.lines().any(|found| found == series), "no {series} in\n{metrics}");
        region.close();
    }
}
