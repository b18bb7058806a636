//! `--acks`: what the workload has done and what it may do, a JSON line every 10 ms on stdout, for tests that kill it.
//!
//! A line gives for each counter series `done`, how many are in the region for sure, and `about`, a ceiling that the
//! workload promises not to pass before the next line is written: the line is written first, whole and directly, and
//! only then are the ceilings of the `Witness` raised to it; a task whose next count would pass its ceiling waits. So
//! after a kill at any instant, for the last complete line: `done <= region <= about`, however much later the kill was.
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

use crate::fact::Fact;
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
        let mut writer = Lines { out: direct_stdout()?, started: Instant::now(), witness };
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
}

impl Lines {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        loop {
            let last = !matches!(stopped.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout));
            if let Err(error) = self.line() {
                tracing::warn!(%error, "stdout cannot be written: no more acks, the workload goes on without");
                self.witness.raise(&[u64::MAX; Fact::COUNT]);
                return;
            }
            if last {
                return;
            }
        }
    }

    fn line(&mut self) -> io::Result<()> {
        let mut ceilings = [0; Fact::COUNT];
        let mut counters = Map::new();
        for (ceiling, fact) in ceilings.iter_mut().zip(Fact::all()) {
            let done = self.witness.done(fact);
            *ceiling = self.witness.ceiling(fact).max(done.saturating_add(CREDIT));
            counters.insert(fact.series(), json!({ "about": *ceiling, "done": done }));
        }
        let t_ms = self.started.elapsed().as_millis() as u64;
        write_line(&mut self.out, &json!({ "t_ms": t_ms, "counters": counters }))?;
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
