//! Row `sampled`: what a reader costs the writer. All cores raise counters of a region of 100,000 series in 16 lanes while
//! another process takes snapshots of it: never, once a second, every 50 ms.
//!
//! `throughput_*` is nanoseconds an increment over a whole window, `p999_*` the 99.9th percentile of the mean increment in
//! batches of 100. The peer is the same without a reader, from windows in between.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tachograph::{Counter, Desc, Family, LabelSet, Region};
use tachograph_exporter::RegionReader;

use crate::contest::{Effort, Line, median};
use crate::start::{Digit, Hundred, Ten, Thousand};

type Labels = (Thousand, Hundred, Ten, Digit);

/// Families of 10,000 series each.
const FAMILIES: usize = 10;
const LANES: usize = 16;
const BATCH: usize = 100;

/// How a window's increments went.
struct Window {
    /// Nanoseconds an increment, as a thread sees it.
    mean_ns: f64,
    p999_ns: f64,
}

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let series = (FAMILIES * Labels::COUNT) as u32;
    let builder = Region::builder("sampled").dir(dir.path()).lanes(LANES).series(series).cells(series);
    let region = builder.families(64).string_bytes(16 << 20).build().expect("a region");
    let families: Vec<Family<Counter, Labels>> = (0..FAMILIES)
        .map(|index| region.family(Desc::new(format!("bench_{index}_total"), "Raised by a bench")).expect("room"))
        .collect();
    // Threads that end leave their lanes in use: a reader reads all 16.
    let barrier = std::sync::Barrier::new(LANES - 1);
    std::thread::scope(|scope| {
        (1..LANES).for_each(|_| {
            scope.spawn(|| {
                families[0].at(labels(0)).inc();
                barrier.wait();
            });
        });
    });
    let path = region.path().expect("a file").to_owned();
    let periods = [("1s", 1_000), ("50ms", 50)];
    let length = effort.turn * 250;
    let mut windows: [Vec<Window>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.rounds.min(9) {
        windows[0].push(window(&families, length));
        for (index, (_, period)) in periods.iter().enumerate() {
            let reader = Reader::start(&path, *period);
            windows[index + 1].push(window(&families, length));
            reader.stop();
        }
    }
    let of = |index: usize, pick: fn(&Window) -> f64| median(windows[index].iter().map(pick).collect());
    let line = |mode, index, pick| Line {
        row: "sampled",
        mode,
        ours_ns: of(index, pick),
        peer: "unsampled",
        peer_ns: Some(of(0, pick)),
    };
    vec![
        line("throughput_1s", 1, |window| window.mean_ns),
        line("throughput_50ms", 2, |window| window.mean_ns),
        line("p999_1s", 1, |window| window.p999_ns),
        line("p999_50ms", 2, |window| window.p999_ns),
    ]
}

fn labels(index: usize) -> Labels {
    use tachograph::LabelValue;
    let digit = |place: usize| index / place % 10;
    (Thousand::all()[digit(1000)], Hundred::all()[digit(100)], Ten::all()[digit(10)], Digit::all()[digit(1)])
}

/// All cores raise all counters, for so long.
fn window(families: &[Family<Counter, Labels>], length: Duration) -> Window {
    let stop = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(LANES - 1);
    let total =
        || families.iter().map(|family| (0..Labels::COUNT).map(|index| family.at(labels(index)).get()).sum::<u64>());
    let before: u64 = total().sum();
    let write = |thread: usize| {
        tachograph::enter_thread();
        let counters: Vec<Counter> =
            families.iter().flat_map(|family| (0..Labels::COUNT).map(|index| family.at(labels(index)))).collect();
        let mut batches = Vec::with_capacity(1 << 22);
        let mut next = thread * 7919;
        while !stop.load(Relaxed) && batches.len() < batches.capacity() {
            let start = Instant::now();
            for _ in 0..BATCH {
                // A stride that visits all, and no two in a row on one cache line.
                next = (next + 10_007) % counters.len();
                counters[next].inc();
            }
            batches.push(start.elapsed().as_nanos() as u32);
        }
        batches
    };
    let start = Instant::now();
    let (batches, took): (Vec<u32>, Duration) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|thread| scope.spawn(move || write(thread))).collect();
        std::thread::sleep(length);
        stop.store(true, Relaxed);
        let took = start.elapsed();
        let batches = threads.into_iter().flat_map(|thread| thread.join().expect("a writer ends")).collect();
        (batches, took)
    });
    let written = (batches.len() * BATCH) as u64;
    assert_eq!(total().sum::<u64>() - before, written, "increments were lost");
    let mut batches = batches;
    batches.sort_unstable();
    let p999 = batches[batches.len() * 999 / 1000];
    Window {
        mean_ns: took.as_secs_f64() * 1e9 * cores as f64 / written as f64,
        p999_ns: f64::from(p999) / BATCH as f64,
    }
}

/// Another process that takes snapshots.
struct Reader(Child);

impl Reader {
    fn start(path: &std::path::Path, period_ms: u64) -> Self {
        let this = std::env::current_exe().expect("the bench's own path");
        let mut command = Command::new(this);
        command.arg("--sample").arg(path).arg(period_ms.to_string()).stdout(Stdio::piped());
        let mut reader = command.spawn().expect("the reader starts");
        // Its first snapshot, which reads the names, is over.
        let mut ready = String::new();
        let said = reader.stdout.as_mut().map(|out| std::io::BufReader::new(out).read_line(&mut ready));
        assert!(said.is_some_and(|read| read.is_ok()) && ready == "ready\n", "the reader failed");
        Self(reader)
    }

    fn stop(mut self) {
        self.0.kill().expect("the reader runs");
        let _ = self.0.wait();
    }
}

/// The reader's own life: a snapshot each period, until it is killed.
pub(crate) fn sample(path: &str, period_ms: &str) -> Result<(), Box<dyn std::error::Error>> {
    let reader = RegionReader::open(std::path::Path::new(path))?;
    let period = Duration::from_millis(period_ms.parse()?);
    reader.recycle(reader.snapshot()?);
    println!("ready");
    let mut next = Instant::now();
    loop {
        let snapshot = reader.snapshot()?;
        assert_eq!(snapshot.schema.series.len(), FAMILIES * Labels::COUNT, "not all series are seen");
        reader.recycle(snapshot);
        next += period;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
