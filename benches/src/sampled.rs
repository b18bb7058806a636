//! Row `sampled`: what a reader costs the writer. All cores raise counters of a region of 100,000 series in 16 lanes while
//! another process takes snapshots of it: never, once a second, every 50 ms.
//!
//! A window's time has four parts, and so that noise is not taken for the reader they are told apart: `throughput_*` is
//! nanoseconds an increment over the whole window; `cpu_*` the processor time of the writing threads alone, an increment:
//! what the reader costs them while they run; `reader_*` the reader's own processor time spread over all increments, which
//! has to come from somewhere where every core writes; what is left is other load of the machine. `p999_*` is the 99.9th
//! percentile of the mean increment in batches of 100. The peer is the same without a reader. Windows take turns, and each
//! is compared with the one without a reader of its own round; the medians of those ratios are what is shown. Writers stand
//! each on a core of its own, the reader on the first.

use std::io::{BufRead, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tachograph::{Counter, Desc, Family, LabelSet, Region};
use tachograph_exporter::RegionReader;

use crate::contest::{Effort, Line, median};
use crate::start::{Digit, Hundred, Ten, Thousand};

type Labels = (Thousand, Hundred, Ten, Digit);

/// Families of 10,000 series each.
const FAMILIES: usize = 10;
const LANES: usize = 16;
const BATCH: usize = 100;

/// How a window's increments went, in nanoseconds an increment.
struct Window {
    /// Of the time of all writing threads.
    throughput: f64,
    /// Of their processor time.
    cpu: f64,
    /// Of the reader's processor time; 0 where none ran.
    reader: f64,
    p999: f64,
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
    let length = effort.turn * 250;
    // Without, at one a second, at twenty.
    let periods = [None, Some(1_000), Some(50)];
    let mut rounds: Vec<[Window; 3]> = Vec::new();
    for round in 0..effort.rounds.min(11) {
        let mut windows = [None, None, None];
        for turn in 0..periods.len() {
            let index = (round + turn) % periods.len();
            let reader = periods[index].map(|period| Reader::start(&path, period));
            windows[index] = Some(window(&families, length, reader.as_ref()));
            reader.into_iter().for_each(Reader::stop);
        }
        rounds.push(windows.map(|window| window.expect("each had its turn")));
    }
    let line = |mode, index: usize, pick: fn(&Window) -> f64| {
        let without = median(rounds.iter().map(|windows| pick(&windows[0])).collect());
        let ratio = median(rounds.iter().map(|windows| pick(&windows[index]) / pick(&windows[0])).collect());
        Line { row: "sampled", mode, ours_ns: ratio * without, peer: "unsampled", peer_ns: Some(without) }
    };
    let reader = |mode, index: usize| {
        let ours_ns = median(rounds.iter().map(|windows| windows[index].reader).collect());
        assert!(ours_ns > 0.0, "the reader took no time: it did not read");
        Line { row: "sampled", mode, ours_ns, peer: "none", peer_ns: None }
    };
    vec![
        line("throughput_1s", 1, |window| window.throughput),
        line("throughput_50ms", 2, |window| window.throughput),
        line("cpu_1s", 1, |window| window.cpu),
        line("cpu_50ms", 2, |window| window.cpu),
        reader("reader_1s", 1),
        reader("reader_50ms", 2),
        line("p999_1s", 1, |window| window.p999),
        line("p999_50ms", 2, |window| window.p999),
    ]
}

/// The cores that this process may run on.
fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("a thread may ask where it may run");
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps the calling thread on one core.
fn stay_on(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).expect("a thread may stay where it may run");
}

fn labels(index: usize) -> Labels {
    use tachograph::LabelValue;
    let digit = |place: usize| index / place % 10;
    (Thousand::all()[digit(1000)], Hundred::all()[digit(100)], Ten::all()[digit(10)], Digit::all()[digit(1)])
}

/// All cores raise all counters, for so long.
fn window(families: &[Family<Counter, Labels>], length: Duration, reader: Option<&Reader>) -> Window {
    let stop = AtomicBool::new(false);
    let cores: Vec<usize> = cores().into_iter().take(LANES - 1).collect();
    let total = || -> u64 {
        families.iter().map(|family| (0..Labels::COUNT).map(|index| family.at(labels(index)).get()).sum::<u64>()).sum()
    };
    let before = total();
    let barrier = std::sync::Barrier::new(cores.len() + 1);
    let write = |thread: usize, core: usize| {
        stay_on(core);
        tachograph::enter_thread();
        let counters: Vec<Counter> =
            families.iter().flat_map(|family| (0..Labels::COUNT).map(|index| family.at(labels(index)))).collect();
        // Touched beforehand: a page fault is no increment.
        let mut batches = vec![0; 1 << 22];
        batches.clear();
        let mut next = thread * 7919;
        barrier.wait();
        let (started, cpu) = (Instant::now(), thread_cpu());
        while !stop.load(Relaxed) && batches.len() < batches.capacity() {
            let start = Instant::now();
            for _ in 0..BATCH {
                // A stride that visits all, and no two in a row on one cache line.
                next = (next + 10_007) % counters.len();
                counters[next].inc();
            }
            batches.push(start.elapsed().as_nanos() as u32);
        }
        (batches, started.elapsed(), thread_cpu() - cpu)
    };
    let (mut batches, mut took, mut cpu) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let reader_cpu = std::thread::scope(|scope| {
        let threads: Vec<_> =
            cores.iter().enumerate().map(|(thread, core)| scope.spawn(move || write(thread, *core))).collect();
        barrier.wait();
        let before = reader.map_or(Duration::ZERO, Reader::cpu);
        reader.iter().for_each(|reader| reader.go());
        std::thread::sleep(length);
        let reader_cpu = reader.map_or(Duration::ZERO, Reader::cpu) - before;
        stop.store(true, Relaxed);
        for thread in threads {
            let (one, wall, own) = thread.join().expect("a writer ends");
            batches.extend(one);
            took += wall;
            cpu += own;
        }
        reader_cpu
    });
    let written = (batches.len() * BATCH) as u64;
    assert_eq!(total() - before, written, "increments were lost");
    batches.sort_unstable();
    let each = |time: Duration| time.as_secs_f64() * 1e9 / written as f64;
    Window {
        throughput: each(took),
        cpu: each(cpu),
        reader: each(reader_cpu),
        p999: f64::from(batches[batches.len() * 999 / 1000]) / BATCH as f64,
    }
}

/// Processor time of the calling thread.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time is not negative")
}

/// Another process that takes snapshots.
struct Reader(Child);

impl Reader {
    fn start(path: &std::path::Path, period_ms: u64) -> Self {
        let this = std::env::current_exe().expect("the bench's own path");
        let mut command = Command::new(this);
        command.arg("--sample").arg(path).arg(period_ms.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut reader = command.spawn().expect("the reader starts");
        // Its first snapshot, which reads the names, is over.
        let mut ready = String::new();
        let said = reader.stdout.as_mut().map(|out| std::io::BufReader::new(out).read_line(&mut ready));
        assert!(said.is_some_and(|read| read.is_ok()) && ready == "ready\n", "the reader failed");
        Self(reader)
    }

    /// Lets it read from now on, at once and then each period; before, it waits.
    fn go(&self) {
        let told = self.0.stdin.as_ref().map(|mut stdin| stdin.write_all(b"\n"));
        assert!(told.is_some_and(|written| written.is_ok()), "the reader does not listen");
    }

    /// Its processor time so far.
    fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.0.id());
        let stat = std::fs::read_to_string(&path).expect("the kernel keeps schedstat");
        let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanoseconds.expect("nanoseconds on a processor"))
    }

    fn stop(mut self) {
        self.0.kill().expect("the reader runs");
        let _ = self.0.wait();
    }
}

/// The reader's own life: a snapshot each period, until it is killed.
pub(crate) fn sample(path: &str, period_ms: &str) -> Result<(), Box<dyn std::error::Error>> {
    stay_on(cores()[0]);
    let reader = RegionReader::open(std::path::Path::new(path))?;
    let period = Duration::from_millis(period_ms.parse()?);
    reader.recycle(reader.snapshot()?);
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let mut next = Instant::now();
    loop {
        let snapshot = reader.snapshot()?;
        assert_eq!(snapshot.schema.series.len(), FAMILIES * Labels::COUNT, "not all series are seen");
        reader.recycle(snapshot);
        next += period;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
