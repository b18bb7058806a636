//! `--acks`: what the workload has done and what it may do, a JSON line every 10 ms on stdout, for tests that kill it.
//!
//! A line gives for each counter, and for each histogram's count, `done`, how many are in the region for sure, and
//! `about`, a ceiling that the workload promises not to pass before the next line is written: the line is written first,
//! whole and directly, and only then are the ceilings of the `Witness` raised to it; a task whose next count would pass
//! its ceiling waits. So after a kill at any instant, for the last complete line: `done <= region <= about`, however much
//! later the kill was. `sums_ns` gives for each histogram how many nanoseconds are in its sum for sure. The sum in the
//! region of a killed process may lack what each thread was counting at that instant.
//!
//! Where stdout cannot be written any more there are no more promises, and the ceilings are lifted: the workload goes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::fact::CountedSeries;
use crate::witness::Witness;

/// How far past what is done a line lets each counter go.
const CREDIT: u64 = 1_000;
const PERIOD: Duration = Duration::from_millis(10);

/// The thread that writes the lines. Not a task: it must go on while the runtime is busy.
#[derive(Debug)]
pub struct Acks {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Acks {
    /// Writes the first line, and starts the thread that writes the others.
    ///
    /// # Errors
    /// Where stdout cannot be written, or there is no thread.
    pub fn start(witness: Arc<Witness>) -> io::Result<Self> {
        let series = CountedSeries::all().map(Announced::new).collect();
        let mut writer = Lines { out: direct_stdout()?, started: Instant::now(), witness, series };
        writer.line()?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("acks".to_owned()).spawn(move || writer.run(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Writes the last line, whose `done` are final where the workload is, and ends the thread.
    pub fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::warn!("the acks thread panicked");
        }
    }
}

struct Lines {
    out: File,
    started: Instant,
    witness: Arc<Witness>,
    /// In index order.
    series: Vec<Announced>,
}

/// A series, with its names made once.
struct Announced {
    series: CountedSeries,
    name: String,
    sum_name: Option<String>,
}

impl Announced {
    fn new(series: CountedSeries) -> Self {
        Self { series, name: series.name(), sum_name: series.sum_name() }
    }
}

impl Lines {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        loop {
            let last = !matches!(stopped.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout));
            if let Err(error) = self.line() {
                tracing::warn!(%error, "stdout cannot be written: no more acks, the workload goes on without");
                self.witness.raise(&[u64::MAX; CountedSeries::COUNT]);
                return;
            }
            if last {
                return;
            }
        }
    }

    fn line(&mut self) -> io::Result<()> {
        let mut ceilings = [0; CountedSeries::COUNT];
        let mut counters = Map::new();
        let mut sums = Map::new();
        for (ceiling, announced) in ceilings.iter_mut().zip(&self.series) {
            let done = self.witness.done(announced.series);
            *ceiling = self.witness.ceiling(announced.series).max(done.saturating_add(CREDIT));
            counters.insert(announced.name.clone(), json!({ "about": *ceiling, "done": done }));
            if let Some(name) = &announced.sum_name {
                sums.insert(name.clone(), json!(self.witness.nanoseconds(announced.series)));
            }
        }
        let t_ms = self.started.elapsed().as_millis() as u64;
        write_line(&mut self.out, &json!({ "t_ms": t_ms, "counters": counters, "sums_ns": sums }))?;
        // Only now: had the process died before, the last complete line would hold the old ceilings.
        self.witness.raise(&ceilings);
        Ok(())
    }
}

/// Stdout past the standard library's buffer: what is written is out, or is an error.
///
/// # Errors
/// Where the descriptor cannot be duplicated.
pub(crate) fn direct_stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes a value as one line by one call.
pub(crate) fn write_line(out: &mut File, value: &Value) -> io::Result<()> {
    let mut line = value.to_string();
    line.push('\n');
    out.write_all(line.as_bytes())
}
