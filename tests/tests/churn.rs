//! Label sets that come and go by the hundred thousand, read by another process all the while: no value ever stands under
//! a label that is not its own, nothing that lives is lost or falls, and nothing of the region is used up.
//!
//! The writer is this test binary again, in a role. Each set's value follows from its labels, so that the reader knows
//! what may stand under them: nothing yet, or exactly that.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tachograph::{Counter, Desc, Gauge, OpenFamily, OpenRules, Region, UpDownCounter};
use tachograph_exporter::{RegionInfo, RegionReader, Snapshot, Value};
use tachograph_tests::tmpfs;

const DIR: &str = "CHURN_DIR";
const SETS: &str = "CHURN_SETS";
const NAME: &str = "churn";
const THREADS: u64 = 4;
const BUDGET: u32 = 500;
const LINGER: Duration = Duration::from_millis(20);

/// What a set's series are set to; no two sets have the same.
const fn amount(thread: u64, id: u64) -> u64 {
    1 + thread + id * THREADS
}

/// A series of the churning families, by its labels: `thread="1",id="17"`.
fn expected(labels: &str) -> u64 {
    let value = |name: &str| -> u64 {
        let (_, rest) = labels.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{name} in {labels}"));
        rest.split('"').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {labels}"))
    };
    amount(value("thread"), value("id"))
}

/// The writer in its role; does nothing in a run of all tests.
#[test]
#[ignore = "the writer's role, started by the other tests"]
fn writer() {
    let (Ok(dir), Ok(sets)) = (std::env::var(DIR), std::env::var(SETS)) else { return };
    let sets: u64 = sets.parse().expect("a number");
    let builder = Region::builder(NAME).dir(dir).tick(Duration::from_millis(50)).lanes(16);
    let region = builder.series(4_096).label_bytes(256 * 1024).build().expect("a region");
    let rules = OpenRules::new(BUDGET).label_area(48).linger(LINGER);
    let labels = ["thread", "id"];
    let sent: OpenFamily<Counter, 2> =
        region.open_family(Desc::new("churn_sent_total", "Sent"), labels, rules).expect("room");
    let level: OpenFamily<UpDownCounter, 2> =
        region.open_family(Desc::new("churn_level", "Level"), labels, rules).expect("room");
    let depth: OpenFamily<Gauge<i64>, 2> =
        region.open_family(Desc::new("churn_depth", "Depth"), labels, rules).expect("room");
    let living: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("churn_living_total", "Rounds"), ["thread"], OpenRules::new(8)).expect("room");
    let mut out = std::io::stdout();
    writeln!(out, "\nready").expect("the test listens");
    out.flush().expect("the test listens");

    let (overflows, overflowed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (overflows, overflowed) = (&overflows, &overflowed);
            scope.spawn(move || {
                let name = thread.to_string();
                let rounds = living.with([&name]);
                for id in 0..sets / THREADS {
                    rounds.inc();
                    let (text, amount) = (id.to_string(), amount(thread, id));
                    let set = [name.as_str(), text.as_str()];
                    let (sent, level, depth) = (sent.with(set), level.with(set), depth.with(set));
                    // Written in part by another thread, as an actor's messages are.
                    let other = sent.clone();
                    other.add(amount);
                    drop(sent);
                    level.add(3 * amount);
                    level.sub(2 * amount);
                    depth.set(amount as i64);
                    let full = [other.is_overflow(), level.is_overflow(), depth.is_overflow()];
                    overflows.fetch_add(full.iter().filter(|full| **full).count() as u64, Relaxed);
                    if other.is_overflow() {
                        overflowed.fetch_add(amount, Relaxed);
                        // All slots linger: what is next needs one.
                        std::thread::sleep(LINGER / 4);
                    }
                }
            });
        }
    });
    // Whatever became free so far: from here on the budget is held, and ten sets are beyond it.
    std::thread::sleep(2 * LINGER);
    let beyond: Vec<_> = (0..u64::from(BUDGET) + 10)
        .map(|id| {
            let lease = sent.with(["9", &id.to_string()]);
            lease.add(amount(9, id));
            if lease.is_overflow() {
                overflows.fetch_add(1, Relaxed);
                overflowed.fetch_add(amount(9, id), Relaxed);
            }
            lease
        })
        .collect();
    assert_eq!(beyond.iter().filter(|lease| lease.is_overflow()).count(), 10);
    writeln!(out, "\ndone {} {}", overflows.load(Relaxed), overflowed.load(Relaxed)).expect("the test listens");
    out.flush().expect("the test listens");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// The writer's process. Killed when dropped.
struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _input: ChildStdin,
    path: PathBuf,
}

impl Writer {
    fn start(dir: &Path, sets: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
        command.args(["--exact", "writer", "--ignored", "--nocapture"]).env(DIR, dir).env(SETS, sets.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the writer starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let input = child.stdin.take().expect("piped");
        let mut writer = Self { child, lines, _input: input, path: dir.join(format!("{NAME}.tacho")) };
        let ready = writer.line("ready");
        assert_eq!(ready, "ready");
        writer
    }

    fn line(&mut self, start: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines.find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("the writer ended before it said {start}"))
    }

    fn kill(&mut self) {
        self.child.kill().expect("the writer is there");
        self.child.wait().expect("the writer can be waited for");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a reader knows from one snapshot to the next.
#[derive(Default)]
struct Seen {
    /// Living counters: value, slot, generation.
    living: HashMap<String, (u64, u32, u32)>,
    /// Labels by slot and generation: they go together for good.
    slots: HashMap<(u32, u32), String>,
    /// Series that were found with their value.
    complete: u64,
}

impl Seen {
    fn check(&mut self, snapshot: &Snapshot) {
        assert!(snapshot.schema.damaged.is_empty(), "{:?}", snapshot.schema.damaged);
        let mut found = 0;
        for (index, series) in snapshot.schema.series.iter().enumerate() {
            let family = &snapshot.schema.families[series.family];
            let place = || format!("{}{{{}}} of slot {}", family.name, series.labels, series.slot);
            let labels = self.slots.entry((series.slot, series.generation)).or_insert_with(|| series.labels.to_owned());
            assert_eq!(*labels, series.labels, "{}, generation {}", place(), series.generation);
            if series.labels == "overflow=\"true\"" {
                continue;
            }
            if family.name == "churn_living_total" {
                let Value::U64(value) = snapshot.value(index) else { panic!("{} is no counter", place()) };
                let now = (value, series.slot, series.generation);
                let before = self.living.insert(series.labels.to_owned(), now).unwrap_or(now);
                assert!(value >= before.0, "{} fell from {} to {value}", place(), before.0);
                assert_eq!((before.1, before.2), (now.1, now.2), "{} moved", place());
                found += 1;
                continue;
            }
            let amount = expected(series.labels);
            let (value, allowed) = match snapshot.value(index) {
                Value::U64(value) => (value as i64, [0, amount, amount]),
                Value::I64(value) if family.name == "churn_level" => (value, [0, 3 * amount, amount]),
                Value::I64(value) => (value, [0, amount, amount]),
                other => panic!("{}: {other:?}", place()),
            };
            let allowed = allowed.map(|allowed| allowed as i64);
            assert!(allowed.contains(&value), "{} is {value}, may be {allowed:?}", place());
            assert!(!series.retired || value == allowed[2], "{} is {value} though nobody writes it", place());
            self.complete += u64::from(value == allowed[2]);
        }
        assert_eq!(found, self.living.len(), "a series that lives is missing");
    }
}

fn value(snapshot: &Snapshot, name: &str, labels: &str) -> u64 {
    let family = snapshot.schema.families.iter().find(|family| family.name == name).expect("the family");
    let index =
        family.series.clone().find(|index| snapshot.schema.series.get(*index).expect("a series").labels == labels);
    let Value::U64(value) = snapshot.value(index.expect("the series")) else { panic!("a counter") };
    value
}

#[test]
fn a_hundred_thousand_label_sets_never_mix() {
    const ALL: u64 = 100_000;
    let folder = tmpfs::folder();
    let mut writer = Writer::start(folder.path(), ALL);
    let reader = RegionReader::open(&writer.path).expect("the region");
    let strings = |info: &RegionInfo| (info.capacity.strings, info.capacity.label_areas, info.capacity.series);
    let before = strings(&reader.info().expect("facts"));

    let (send, done) = std::sync::mpsc::channel();
    let mut seen = Seen::default();
    let mut snapshots = 0;
    let said = std::thread::scope(|scope| {
        scope.spawn(|| send.send(writer.line("done")));
        loop {
            let snapshot = reader.snapshot().expect("a snapshot");
            seen.check(&snapshot);
            reader.recycle(snapshot);
            snapshots += 1;
            if let Ok(said) = done.try_recv() {
                break said;
            }
        }
    });
    let numbers: Vec<u64> = said.split(' ').skip(1).map(|number| number.parse().expect("a number")).collect();
    let last = reader.snapshot().expect("a snapshot");
    seen.check(&last);
    println!(
        "{snapshots} snapshots, {} series seen, {} in full; overflows {numbers:?}",
        seen.slots.len(),
        seen.complete
    );
    assert!(snapshots >= 20 && seen.complete >= 5_000, "the reader looked on: {snapshots}, {}", seen.complete);
    assert!(seen.slots.len() >= 2_000, "slots changed hands before its eyes: {}", seen.slots.len());
    assert_eq!(seen.living.len(), THREADS as usize);
    assert_eq!(last.region.label_overflows, numbers[0]);
    assert_eq!(value(&last, "churn_sent_total", "overflow=\"true\""), numbers[1]);
    let rounds: u64 =
        (0..THREADS).map(|thread| value(&last, "churn_living_total", &format!("thread=\"{thread}\""))).sum();
    assert_eq!(rounds, ALL);
    assert_eq!(strings(&last.region), before, "nothing is used up");
    assert!(reader.verify().is_empty(), "{:?}", reader.verify());
}

/// SIGKILL while slots change hands: whatever half of a change the region holds, what it shows is right.
#[test]
fn a_killed_writer_leaves_every_series_whole() {
    let folder = tmpfs::folder();
    for round in 0..10_u64 {
        let mut writer = Writer::start(folder.path(), u64::MAX);
        let reader = RegionReader::open(&writer.path).expect("the region");
        let end = Instant::now() + Duration::from_millis(60 + 23 * round);
        let mut seen = Seen::default();
        while Instant::now() < end || seen.living.len() < THREADS as usize {
            seen.check(&reader.snapshot().expect("a snapshot"));
        }
        writer.kill();
        seen.check(&reader.snapshot().expect("a snapshot of the dead"));
        assert!(reader.verify().is_empty(), "round {round}: {:?}", reader.verify());
        // And so finds whoever comes later.
        let late = RegionReader::open(&writer.path).expect("the region of the dead");
        seen.check(&late.snapshot().expect("a snapshot of the dead"));
        assert!(seen.complete > 0, "the writer was at work");
    }
}
