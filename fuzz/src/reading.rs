//! Reads a region file in every way there is, and holds each to its bounds.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::{self, Now, RegionEntry};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{RegionReader, Snapshot, Value, table};

use crate::packed::{Case, Lock, NAME};

/// A directory on tmpfs with one region file that is rewritten for each case, and its lock.
#[derive(Debug)]
pub struct Workbench {
    _directory: tempfile::TempDir,
    path: PathBuf,
    lock_path: PathBuf,
    file: File,
    /// What stands in the file now.
    now: Vec<u8>,
}

/// What reading a case came to, for tests that want more than that it returned.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome {
    /// Series that were served at the first snapshot; `None` where the file was not taken for a region.
    pub series: Option<usize>,
    /// Most bytes that reading and rendering held at one time.
    pub peak: u64,
}

/// Most bytes of text for a file of this length. Each line is charged against `8 * len + 1 MiB`; HELP comes on top,
/// charged against the strings (and escaped).
fn most_text(len: u64) -> u64 {
    16 * len + (2 << 20)
}

/// Most bytes of memory that a snapshot may hold at one time while it is taken.
fn most_snapshot(len: u64) -> u64 {
    8 * len + (1 << 20)
}

/// Most bytes of memory that all of it may hold at one time: a JSON tree is many times its text.
fn most_all(len: u64) -> u64 {
    160 * len + (16 << 20)
}

impl Default for Workbench {
    fn default() -> Self {
        Self::new()
    }
}

impl Workbench {
    /// A fresh directory.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("/dev/shm takes directories");
        let path = directory.path().join(format!("{NAME}.tacho"));
        let lock_path = directory.path().join(format!("{NAME}.lock"));
        let file = File::options().create_new(true).read(true).write(true).open(&path).expect("a new file");
        Self { path, lock_path, file, now: Vec::new(), _directory: directory }
    }

    /// Writes the case's file and reads it. Panics where a bound does not hold.
    pub fn read(&mut self, case: &Case) -> Outcome {
        self.put(&case.bytes);
        let lock = self.lock(case.lock);
        let mut outcome = Outcome::default();
        let peak = allocation_counter::measure(|| {
            if let Ok(reader) = RegionReader::open(&self.path) {
                outcome.series = Some(self.read_open(case, &reader));
            }
        })
        .bytes_max;
        outcome.peak = peak;
        let len = case.bytes.len() as u64;
        assert!(peak <= most_all(len), "{peak} bytes of memory for a file of {len}");
        drop(lock);
        if outcome.series.is_some() {
            for (at, word) in &case.later {
                self.now[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
        outcome
    }

    fn read_open(&self, case: &Case, reader: &RegionReader) -> usize {
        let len = case.bytes.len() as u64;
        let mut first = None;
        let measured = allocation_counter::measure(|| first = reader.snapshot().ok());
        assert!(measured.bytes_max <= most_snapshot(len), "{} bytes for a snapshot of {len}", measured.bytes_max);
        let first = first.expect("a whole file is read");
        let series = first.schema.series.len();
        let again = reader.snapshot().expect("a file that did not change is read again");
        assert!(Arc::ptr_eq(&first.schema, &again.schema), "nothing changed, so nothing is parsed again");
        reader.recycle(again);
        render(first, len);
        let findings = reader.verify();
        assert!(findings.len() < 12_000, "{} findings", findings.len());
        let evidence = reader.evidence().expect("a whole file is read");
        assert!(evidence.activities.actors.len() as u64 <= len / 256, "more actors than the file has room for");
        // A region's living writer changes words under its reader.
        for (at, word) in &case.later {
            self.file.write_all_at(&word.to_le_bytes(), *at as u64 * 8).expect("the file takes a word");
        }
        if !case.later.is_empty() {
            if let Ok(second) = reader.snapshot() {
                render(second, len);
            }
            let _ = (reader.verify(), reader.info(), reader.evidence(), reader.stuck_actors(Duration::ZERO));
        }
        series
    }

    /// Makes the file hold these bytes, writing only pages that differ.
    fn put(&mut self, bytes: &[u8]) {
        const PAGE: usize = 4096;
        if bytes.len() != self.now.len() {
            self.file.set_len(bytes.len() as u64).expect("the file can be cut and grown");
            // Written from end to end, since a hole is refused.
            self.file.write_all_at(bytes, 0).expect("room for the file");
            self.now = bytes.to_vec();
            return;
        }
        for (index, (new, old)) in bytes.chunks(PAGE).zip(self.now.chunks_mut(PAGE)).enumerate() {
            if new != old {
                self.file.write_all_at(new, (index * PAGE) as u64).expect("room for the page");
                old.copy_from_slice(new);
            }
        }
    }

    /// Makes the lock beside the file what the case says; it is held as long as the result lives.
    fn lock(&self, lock: Lock) -> Option<File> {
        if lock == Lock::Missing {
            let _ = std::fs::remove_file(&self.lock_path);
            return None;
        }
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&self.lock_path).expect("a lock file");
        if lock == Lock::Held {
            let whole = nix::libc::flock {
                l_type: nix::libc::F_WRLCK as i16,
                l_whence: nix::libc::SEEK_SET as i16,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).expect("nobody else holds it");
        }
        Some(file)
    }
}

/// Renders a snapshot in every format.
fn render(snapshot: Snapshot, len: u64) {
    for index in 0..snapshot.schema.series.len() {
        let family = &snapshot.schema.families[snapshot.schema.series.get(index).expect("a series").family];
        match snapshot.value(index) {
            Value::Histogram { buckets, .. } => assert_eq!(buckets.len(), family.bounds.len() + 1),
            _ => drop(snapshot.since_start(index)),
        }
    }
    let entry = RegionEntry::new(snapshot.region.clone(), Now { realtime_ns: 1 << 60, monotonic_ns: 1 << 40 }, 0);
    let object = json::values(&entry, &snapshot, &Filter::default(), usize::MAX);
    let written = serde_json::to_string(&object).expect("JSON can be written");
    assert!(written.len() as u64 <= 8 * most_text(len), "{} bytes of JSON for {len}", written.len());
    drop((object, written));
    drop(json::regions(std::slice::from_ref(&entry), &[]));
    let shown = table::values(&snapshot, &Filter::default());
    assert!(shown.chars().all(|char| char == '\n' || !char.is_control()), "nothing drives a terminal");
    drop((shown, table::regions(&[entry])));

    let sources = [Source::region(Arc::new(snapshot))];
    let Ok(plan) = Plan::new(&sources, &Options::default()) else { return };
    let mut body = Vec::new();
    assert!(Exposition::new(Format::Text).render(&plan, &sources, &mut body), "the plan was made for these sources");
    assert!(body.len() as u64 <= most_text(len), "{} bytes of text for {len}", body.len());
    check_text(&body);
    for format in [Format::OpenMetrics, Format::Protobuf, Format::Json] {
        body.clear();
        let exposition = Exposition { created: true, ..Exposition::new(format) };
        assert!(exposition.render(&plan, &sources, &mut body), "the plan was made for these sources");
        // A label takes more bytes in protobuf and JSON, and each histogram stands twice in protobuf.
        assert!(body.len() as u64 <= 8 * most_text(len), "{} bytes of {format:?} for {len}", body.len());
        match format {
            Format::OpenMetrics => check_openmetrics(&body),
            Format::Json => drop(serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")),
            _ => check_frames(&body),
        }
    }
}

/// The text ends where it says, and every sample is below the TYPE of its family.
fn check_openmetrics(body: &[u8]) {
    let text = std::str::from_utf8(body).expect("text is UTF-8");
    let text = text.strip_suffix("# EOF\n").expect("an end");
    let (mut series, mut types, mut name) = (HashSet::new(), HashSet::new(), "");
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (name, _) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name), "{name} has two types");
        } else if !line.starts_with("# HELP ") && !line.starts_with("# UNIT ") {
            let (id, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line:?}");
            assert!(series.insert(id), "{id} stands twice");
            assert!(!name.is_empty() && id.starts_with(name), "{line:?} below the TYPE of {name}");
        }
    }
}

/// Each message is as long as it says.
fn check_frames(mut body: &[u8]) {
    while !body.is_empty() {
        let bytes = body.iter().position(|byte| *byte < 0x80).expect("a length") + 1;
        let length =
            (0..).zip(&body[..bytes]).fold(0, |length, (at, byte)| length | usize::from(byte & 0x7f) << (7 * at));
        body = body.get(bytes + length..).expect("a whole message");
    }
}

/// Every line is HELP, TYPE or a sample, no series stands twice, and no family.
fn check_text(body: &[u8]) {
    let text = std::str::from_utf8(body).expect("text is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    let (mut series, mut types) = (HashSet::new(), HashSet::new());
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name), "{name} has two types");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line:?}");
        } else if !line.starts_with("# HELP ") {
            let (id, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line:?}");
            assert!(series.insert(id), "{id} stands twice");
            let end = id.find('{').unwrap_or(id.len());
            assert!(
                id[..end].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'),
                "{line:?}"
            );
            assert!(end == id.len() || id.ends_with('}'), "{line:?}");
        }
    }
}
