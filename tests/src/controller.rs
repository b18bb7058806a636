//! The reference controller under load, and what it promised on its way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::exposition::key;
use crate::process::{Running, binary};

/// Bounds of one counter, or one histogram's count: what was done when the line was written, and the ceiling announced with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Done for certain: the region holds at least this.
    pub done: u64,
    /// Never begun beyond this before the next line: the region holds at most this.
    pub about: u64,
}

/// A `meeting-controller` process.
#[derive(Debug)]
pub struct Controller {
    /// The process.
    pub process: Running,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Controller {
    /// Starts it with a region of `name` in `dir`, and further arguments.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(dir: &Path, name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(binary("meeting-controller"));
        command.arg("--region").arg(name).arg("--region-dir").arg(dir).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Running::start(&mut command);
        let stdout = process.0.stdout.take().expect("stdout is piped");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            // A line cut by the kill is no promise: only what ends in a newline counts.
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|len| len > 0) && line.ends_with('\n') {
                written.lock().expect("no panic in the reader").push(std::mem::take(&mut line));
            }
        });
        Self { process, lines, reader: Some(reader) }
    }

    /// How many lines it wrote so far.
    ///
    /// # Panics
    /// Never in practice: where the reading thread panicked.
    pub fn lines(&self) -> usize {
        self.lines.lock().expect("no panic in the reader").len()
    }

    /// Every line it wrote, once it has ended.
    ///
    /// # Panics
    /// Where the reading thread panicked.
    pub fn all_lines(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic in the reader");
        }
        self.lines.lock().expect("no panic in the reader").clone()
    }

    /// The bounds of the last whole `--acks` line, by series.
    ///
    /// # Panics
    /// Where there is none, or it is no JSON of the documented form.
    pub fn last_acks(&mut self) -> BTreeMap<String, Bounds> {
        let value = self.last_line();
        let counters = value["counters"].as_object().expect("acks have counters");
        let number = |value: &serde_json::Value| value.as_u64().expect("acks are whole numbers");
        counters
            .iter()
            .map(|(series, pair)| (key(series), Bounds { done: number(&pair["done"]), about: number(&pair["about"]) }))
            .collect()
    }

    /// The nanoseconds that each histogram's sum holds for certain, by the last whole `--acks` line, by the sum's series.
    ///
    /// # Panics
    /// As [`Controller::last_acks`].
    pub fn last_sums(&mut self) -> BTreeMap<String, u64> {
        let value = self.last_line();
        let sums = value["sums_ns"].as_object().expect("acks have sums");
        sums.iter().map(|(series, sum)| (key(series), sum.as_u64().expect("a whole number"))).collect()
    }

    fn last_line(&mut self) -> serde_json::Value {
        let lines = self.all_lines();
        let line = lines.iter().rev().find(|line| line.contains("\"t_ms\"")).expect("at least one line of acks");
        serde_json::from_str(line).expect("acks are JSON")
    }

    /// What it printed at its end: `counters` by series, `sums_ns` of histograms, and the `report` of what the load did.
    ///
    /// # Panics
    /// Where there are none.
    pub fn totals(&mut self) -> serde_json::Value {
        let lines = self.all_lines();
        let line = lines.iter().rev().find(|line| line.contains("\"report\"")).expect("a line of totals");
        serde_json::from_str(line).expect("totals are JSON")
    }
}
