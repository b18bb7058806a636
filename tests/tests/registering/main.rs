//! Readers against a writer that registers 50,000 series while its threads write them: no snapshot and no scrape ever
//! shows a torn name, a value under the wrong series, a family in part, a counter that falls or a series that vanishes;
//! nor does the region after a `kill -9` in the middle.
//!
//! `TACHOGRAPH_REGISTERING_SECONDS` repeats each test with new regions for that long; without it each is done once.

mod checker;
mod workload;
mod writer;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tachograph::Region;
use tachograph_exporter::{RegionReader, Verdict};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tacho};
use tachograph_tests::tmpfs;

use checker::Checker;
use workload::{FAMILIES, SERIES};
use writer::Writer;

const LIMIT: Duration = Duration::from_secs(120);
/// Steps of the registration: the reader comes between any two, and in the middle of most.
const STEPS: usize = 16;

/// Does it once, or for as long as was asked for.
fn rounds(mut round: impl FnMut(u32)) {
    let seconds = std::env::var("TACHOGRAPH_REGISTERING_SECONDS").map_or(0, |text| text.parse().expect("seconds"));
    let start = Instant::now();
    for number in 0.. {
        round(number);
        if start.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
}

fn open(dir: &Path, name: &str) -> RegionReader {
    RegionReader::open(&dir.join(format!("{name}.tacho"))).expect("the writer's region")
}

/// Takes a snapshot and checks it.
fn snapshot(reader: &RegionReader, checker: &mut Checker) -> Verdict {
    let start = Instant::now();
    let taken = reader.snapshot().expect("a snapshot");
    checker.snapshot(&taken, start.elapsed());
    let verdict = taken.region.verdict;
    reader.recycle(taken);
    verdict
}

#[test]
fn every_snapshot_and_every_scrape_is_right_while_series_are_registered() {
    rounds(|_| {
        let folder = tmpfs::folder();
        let mut writer = Writer::start(folder.path(), "registering");
        let reader = open(folder.path(), "registering");
        let port = free_port();
        let mut serve = Command::new(binary("tacho"));
        serve.args(["serve", "--web.listen-address", &format!("127.0.0.1:{port}"), "--region-dir"]).arg(folder.path());
        let _serve = Running::start(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        eventually("the first scrape", LIMIT, || get(port, "/metrics"));
        let scrape = |checker: &mut Checker| {
            let start = Instant::now();
            let response = get(port, "/metrics").expect("a scrape");
            assert_eq!(response.status, 200);
            let took = start.elapsed();
            checker.scrape(&Exposition::parse_of_region(&response.body, "registering"), took);
        };

        let mut snapshots = Checker::new();
        let (registered, scraped) = (AtomicBool::new(false), AtomicUsize::new(0));
        let scrapes = std::thread::scope(|scope| {
            let scraper = scope.spawn(|| {
                let mut scrapes = Checker::new();
                while !registered.load(Ordering::Relaxed) {
                    scrape(&mut scrapes);
                    scraped.fetch_add(1, Ordering::Relaxed);
                }
                scrapes
            });
            // The scraper must end even where a check fails here.
            let ended = Ended(&registered);
            for step in 1..=STEPS {
                writer.order(&FAMILIES.div_ceil(STEPS).to_string());
                let before = snapshots.count();
                // Further orders come while the writer is at work on the last ones.
                eventually("more series", LIMIT, || {
                    assert_eq!(snapshot(&reader, &mut snapshots), Verdict::Running);
                    (snapshots.count() > before).then_some(())
                });
                if step % (STEPS / 2) == 0 {
                    let before = scraped.load(Ordering::Relaxed);
                    // One that was under way may have begun long before; the one after it has not.
                    eventually("scrapes", LIMIT, || {
                        let done = scraped.load(Ordering::Relaxed) > before + 1;
                        (done || scraper.is_finished()).then_some(())
                    });
                }
            }
            writer.order("end");
            eventually("the end of the writer's work", LIMIT, || {
                snapshot(&reader, &mut snapshots);
                writer.said("all done").then_some(())
            });
            drop(ended);
            scraper.join().expect("every scrape was right")
        });
        let mut scrapes = scrapes;
        snapshot(&reader, &mut snapshots);
        scrape(&mut scrapes);
        for (checker, least, what) in [(&snapshots, STEPS, "snapshots"), (&scrapes, 3, "scrapes")] {
            assert_eq!(checker.count(), SERIES, "{what}");
            checker.end();
            let partial = checker.counts.len();
            assert!(partial >= least, "{what} met the registration at {partial} counts only: {:?}", checker.counts);
            assert!(checker.counts.is_sorted(), "{what}: {:?}", checker.counts);
        }
        assert!(reader.verify().is_empty(), "{:?}", reader.verify());
    });
}

/// Sets its flag when it goes.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Between registrations, and in the middle of the threads' writing. A kill between two steps of one registration is too rare at
/// any moment to hold their order: that is what fail_points.rs is for.
#[test]
fn kill_9_in_the_middle_of_registration_leaves_whole_families_with_their_values() {
    let mut middles = 0;
    rounds(|round| {
        for part in [1, 8, 25] {
            let folder = tmpfs::folder();
            let name = format!("killed-{round}-{part}");
            let mut writer = Writer::start(folder.path(), &name);
            let reader = open(folder.path(), &name);
            let mut checker = Checker::new();
            writer.order(&FAMILIES.to_string());
            eventually("some series", LIMIT, || {
                let used = reader.info().expect("facts").capacity.series.used;
                (used >= (SERIES * part / 40) as u64).then_some(())
            });
            snapshot(&reader, &mut checker);
            writer.process.signal(Signal::SIGKILL);
            writer.process.wait(Duration::from_secs(10));
            // The same checker: nothing that was seen alive is lost in death.
            assert_eq!(snapshot(&reader, &mut checker), Verdict::Crashed);
            middles += u32::from(checker.count() < SERIES);
            assert!(reader.verify().is_empty(), "{:?}", reader.verify());
            let verified = tacho(&["verify", &name, "--region-dir", folder.path().to_str().expect("UTF-8 path")]);
            assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
            // Whoever comes later sees the same.
            let mut fresh = Checker::new();
            snapshot(&open(folder.path(), &name), &mut fresh);
            assert_eq!(fresh.count(), checker.count());
        }
    });
    assert!(middles > 0, "every kill came too late");
}

/// Without a pause between registrations: many small regions, since a snapshot of few series is quickly taken, and so
/// comes at every moment of the publishing.
#[test]
fn families_appear_whole_however_fast_they_come() {
    let folder = tmpfs::folder();
    let mut checker = Checker::new();
    let mut met = 0;
    rounds(|round| {
        for number in 0..12 {
            let name = format!("fast-{round}-{number}");
            let builder = Region::builder(&name).dir(folder.path()).lanes(5).families(256).series(10_000);
            let region = builder.cells(10_000).shared(5_000).string_bytes(2 << 20).build().expect("a region");
            let reader = open(folder.path(), &name);
            std::thread::scope(|scope| {
                let registering = scope.spawn(|| (0..250).map(|index| workload::register(&region, index).len()).sum());
                while !registering.is_finished() {
                    snapshot(&reader, &mut checker);
                }
                snapshot(&reader, &mut checker);
                let registered: usize = registering.join().expect("no panic");
                assert_eq!(checker.count(), registered);
            });
            met += checker.counts.len() - 2;
            checker.forget();
            region.close();
            std::fs::remove_file(folder.path().join(format!("{name}.tacho"))).expect("the region file");
        }
    });
    assert!(met > 12, "{met} snapshots met the registrations");
}
