//! Row `facade_counter_literal`: `counter!("name").increment(1)` with a literal name, the recorder of each library behind it.
//!
//! A process has one recorder, so each library runs in a child process: this program with `--facade=LIBRARY MODE`, which
//! reads numbers of operations, does them, proves by its library's own output that all were counted, and answers how
//! many nanoseconds they took. A literal has no handle to reload: `1t_reloaded` is the work of `1t` again.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use metrics::counter;
use metrics_exporter_prometheus::PrometheusBuilder;
use tachograph::Region;
use tachograph_exporter::{RegionReader, Value};

use crate::contest::{Contestant, Effort, Line, contest};

const OURS: &str = "tachograph";
const PEER: &str = "metrics-exporter-prometheus";
const MODES: [&str; 6] = ["1t", "1t_reloaded", "1t_64_in_turn", "2t_same", "2t_apart", "nt_same"];

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let run =
        |mode| contest("facade_counter_literal", mode, effort, vec![contestant(OURS, mode), contestant(PEER, mode)]);
    MODES.into_iter().flat_map(run).collect()
}

/// A library's child, ended when its contest is over.
struct Facade {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Facade {
    fn turn(&mut self, operations: u64) -> Option<Duration> {
        writeln!(self.ask.as_mut()?, "{operations}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        answer.trim().parse().ok().map(Duration::from_nanos)
    }
}

impl Drop for Facade {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        self.ask = None;
        let _ = self.child.wait();
    }
}

fn contestant(library: &'static str, mode: &str) -> Contestant {
    let program = std::env::current_exe().expect("this program's path");
    let mut command = Command::new(program);
    command.arg(format!("--facade={library}")).arg(mode).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("this program runs again");
    let (ask, answers) = (child.stdin.take(), child.stdout.take().map(BufReader::new).expect("stdout is piped"));
    let mut facade = Facade { child, ask, answers };
    let mode = mode.to_owned();
    Contestant::new(library, move |operations| {
        facade.turn(operations).unwrap_or_else(|| panic!("{library} in mode {mode} died: its own message stands above"))
    })
}

/// This program as a library's child.
pub(crate) fn facade(library: &str, mode: &str) -> Result<(), String> {
    let mut counted = recorder(library)?;
    let turn = turn_of(mode)?;
    for line in std::io::stdin().lines() {
        let operations = line.map_err(|error| error.to_string())?.parse().map_err(|_| "no number".to_owned())?;
        let before = counted();
        let (took, done) = turn(operations);
        let counted = counted().wrapping_sub(before);
        if counted != done {
            return Err(format!("{library} in mode {mode} counted {counted} of {done} operations"));
        }
        println!("{}", took.as_nanos());
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Installs the library's recorder; gives what its output says was counted, in all counters.
fn recorder(library: &str) -> Result<Box<dyn FnMut() -> u64>, String> {
    match library {
        OURS => {
            let folder = tempfile::tempdir_in("/dev/shm").map_err(|error| error.to_string())?;
            let region = Region::builder("bench").dir(folder.path()).build().map_err(|error| error.to_string())?;
            tachograph::recorder::install(&region).map_err(|error| error.to_string())?;
            let reader = RegionReader::open(region.path().ok_or("no file")?).map_err(|error| error.to_string())?;
            Ok(Box::new(move || {
                let _keep = (&folder, &region);
                let snapshot = reader.snapshot().expect("the region is read");
                let value = |series| match snapshot.value(series) {
                    Value::U64(value) => value,
                    other => panic!("no counter: {other:?}"),
                };
                (0..snapshot.schema.series.len()).map(value).fold(0, u64::wrapping_add)
            }))
        }
        PEER => {
            let handle = PrometheusBuilder::new().install_recorder().map_err(|error| error.to_string())?;
            Ok(Box::new(move || {
                let body = handle.render();
                let samples = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
                samples
                    .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0))
                    .sum::<u64>()
            }))
        }
        other => Err(format!("no library {other}")),
    }
}

/// Does so many operations a thread; gives what they took each thread, and how many they were in all.
type Turn = fn(u64) -> (Duration, u64);

fn turn_of(mode: &str) -> Result<Turn, String> {
    Ok(match mode {
        "1t" | "1t_reloaded" => |operations| (timed(|| same(operations)), operations),
        "1t_64_in_turn" => |operations| (timed(|| in_turn(operations)), operations),
        "2t_same" => |operations| threads(&[same, same], operations),
        "2t_apart" => |operations| threads(&[same, apart], operations),
        "nt_same" => |operations| {
            let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
            threads(&vec![same as fn(u64); cores], operations)
        },
        other => return Err(format!("no mode {other}")),
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn threads(works: &[fn(u64)], operations: u64) -> (Duration, u64) {
    let barrier = Barrier::new(works.len());
    let run = |work: fn(u64)| {
        barrier.wait();
        timed(|| work(operations))
    };
    let took: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = works.iter().map(|work| scope.spawn(|| run(*work))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the bench")).sum()
    });
    (took / works.len() as u32, operations * works.len() as u64)
}

#[inline(never)]
fn same(operations: u64) {
    for _ in 0..operations {
        counter!("bench_same_total").increment(black_box(1));
    }
}

#[inline(never)]
fn apart(operations: u64) {
    for _ in 0..operations {
        counter!("bench_apart_total").increment(black_box(1));
    }
}

macro_rules! each_once {
    ($($name:literal)*) => {
        $(counter!($name).increment(black_box(1));)*
    };
}

#[inline(never)]
fn in_turn(operations: u64) {
    for _ in 0..operations / 64 {
        each_once!(
            "bench_00_total" "bench_01_total" "bench_02_total" "bench_03_total"
            "bench_04_total" "bench_05_total" "bench_06_total" "bench_07_total"
            "bench_08_total" "bench_09_total" "bench_10_total" "bench_11_total"
            "bench_12_total" "bench_13_total" "bench_14_total" "bench_15_total"
            "bench_16_total" "bench_17_total" "bench_18_total" "bench_19_total"
            "bench_20_total" "bench_21_total" "bench_22_total" "bench_23_total"
            "bench_24_total" "bench_25_total" "bench_26_total" "bench_27_total"
            "bench_28_total" "bench_29_total" "bench_30_total" "bench_31_total"
            "bench_32_total" "bench_33_total" "bench_34_total" "bench_35_total"
            "bench_36_total" "bench_37_total" "bench_38_total" "bench_39_total"
            "bench_40_total" "bench_41_total" "bench_42_total" "bench_43_total"
            "bench_44_total" "bench_45_total" "bench_46_total" "bench_47_total"
            "bench_48_total" "bench_49_total" "bench_50_total" "bench_51_total"
            "bench_52_total" "bench_53_total" "bench_54_total" "bench_55_total"
            "bench_56_total" "bench_57_total" "bench_58_total" "bench_59_total"
            "bench_60_total" "bench_61_total" "bench_62_total" "bench_63_total"
        );
    }
    same(operations % 64);
}
