//! Many processes start the same region at once: exactly one has it, the others are told who, and nothing is lost. And
//! what a start is told while the one that has the lock is not done.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tachograph::{BuildError, Region};
use tachograph_exporter::{RegionReader, Verdict};
use tachograph_tests::process::{Running, victim};
use tachograph_tests::tmpfs;

/// A process that starts the region `mc` when it is told to.
struct Contender {
    process: Running,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What became of its start.
#[derive(Debug)]
enum Outcome {
    Won { uuid: String },
    Owned { pid: u32, message: String },
}

impl Contender {
    fn new(dir: &Path, stop_at: Option<&str>) -> Self {
        let mut command = Command::new(victim());
        command.arg("contend").arg(dir).args(stop_at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running::start(&mut command);
        let input = process.0.stdin.take();
        let output = BufReader::new(process.0.stdout.take().expect("stdout is piped"));
        Self { process, input, output }
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Lets it start, or go on from where it stopped.
    fn go(&mut self) {
        self.input.as_mut().expect("stdin is piped").write_all(b"\n").expect("it reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes text");
        line.trim_end().to_owned()
    }

    fn outcome(&mut self) -> Outcome {
        let line = self.line();
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("not understood: {line:?}"));
        match (word, rest.split_once(' ')) {
            ("won", None) => Outcome::Won { uuid: rest.to_owned() },
            ("owned", Some((pid, message))) => {
                Outcome::Owned { pid: pid.parse().expect("a pid"), message: message.to_owned() }
            }
            _ => panic!("{line}"),
        }
    }

    fn won(&mut self) -> String {
        match self.outcome() {
            Outcome::Won { uuid } => uuid,
            owned @ Outcome::Owned { .. } => panic!("{owned:?}"),
        }
    }

    fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        assert_eq!(self.process.wait(Duration::from_secs(10)), None);
    }

    /// Lets it close its region and end.
    fn end(mut self) {
        drop(self.input.take());
        assert_eq!(self.process.wait(Duration::from_secs(10)), Some(0));
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// Uuids in the archive.
fn archived(dir: &Path) -> BTreeSet<String> {
    let uuid = |name: String| Some(name.strip_suffix(".tacho")?.rsplit('.').next()?.to_owned());
    names(&dir.join("archive")).into_iter().filter_map(uuid).collect()
}

fn hex(uuid: [u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The region that has the name: whole, of that process.
fn check_region(dir: &Path, pid: u32, uuid: &str) {
    let reader = RegionReader::open(&dir.join("mc.tacho")).expect("the winner's region");
    assert_eq!(reader.verify(), []);
    let info = reader.info().expect("its info");
    assert_eq!((info.pid, hex(info.uuid).as_str(), info.verdict), (pid, uuid, Verdict::Running));
    assert_eq!(names(dir).iter().filter(|name| name.starts_with('.')).count(), 0, "{:?}", names(dir));
}

/// Starts `count` at once. Gives the winner and its uuid, after the others' answers were checked: all name `owner`, or
/// the winner where that is `None`.
fn contest(dir: &Path, count: usize, owner: Option<u32>) -> Option<(Contender, String)> {
    let mut contenders: Vec<Contender> = (0..count).map(|_| Contender::new(dir, None)).collect();
    contenders.iter_mut().for_each(Contender::go);
    let outcomes: Vec<Outcome> = contenders.iter_mut().map(Contender::outcome).collect();
    let won: Vec<usize> = (0..count).filter(|index| matches!(outcomes[*index], Outcome::Won { .. })).collect();
    assert_eq!(won.len(), usize::from(owner.is_none()), "{outcomes:?}");
    let winner = won.first().map(|index| contenders[*index].pid());
    let named = owner.or(winner).expect("somebody has it");
    for outcome in &outcomes {
        if let Outcome::Owned { pid, message } = outcome {
            assert_eq!(*pid, named, "{message}");
            assert!(message.contains(&format!("process {named} since 2")), "{message}");
        }
    }
    let index = *won.first()?;
    let Outcome::Won { uuid } = &outcomes[index] else { unreachable!("filtered above") };
    Some((contenders.swap_remove(index), uuid.clone()))
}

/// Ten rounds: over nothing, over a living region, over a closed one, over a killed one.
fn contests(count: usize) {
    for round in 0..10 {
        let folder = tmpfs::folder();
        let dir = folder.path();
        let (winner, first) = contest(dir, count, None).expect("one wins");
        check_region(dir, winner.pid(), &first);
        assert_eq!(names(dir), ["mc.lock", "mc.tacho"]);

        assert!(contest(dir, count, Some(winner.pid())).is_none());
        check_region(dir, winner.pid(), &first);
        assert_eq!(names(dir), ["mc.lock", "mc.tacho"]);

        winner.end();
        let (mut winner, second) = contest(dir, count, None).expect("one wins");
        check_region(dir, winner.pid(), &second);
        assert_eq!(archived(dir), BTreeSet::from([first.clone()]), "round {round}");

        winner.kill();
        let (winner, third) = contest(dir, count, None).expect("one wins");
        check_region(dir, winner.pid(), &third);
        assert_eq!(archived(dir), BTreeSet::from([first, second]), "round {round}");
        winner.end();
    }
}

#[test]
fn of_two_starters_one_has_the_region() {
    contests(2);
}

#[test]
fn of_twenty_starters_one_has_the_region() {
    contests(20);
}

/// Whoever waits for one that is starting gets the region when that one is killed, wherever it was.
#[test]
fn a_starter_that_is_killed_leaves_the_region_to_those_who_wait() {
    for point in ["lock-taken", "archive-moved", "stale-removed", "temporary-populated", "temporary-protected"] {
        let folder = tmpfs::folder();
        let dir = folder.path();
        let mut before = Contender::new(dir, None);
        before.go();
        let dead = before.won();
        before.kill();

        let mut first = Contender::new(dir, Some(point));
        first.go();
        assert_eq!(first.line(), format!("at {point}"));
        let mut waiting: Vec<Contender> = (0..3).map(|_| Contender::new(dir, None)).collect();
        waiting.iter_mut().for_each(Contender::go);
        std::thread::sleep(Duration::from_millis(100));
        first.kill();
        let outcomes: Vec<Outcome> = waiting.iter_mut().map(Contender::outcome).collect();
        let winner = outcomes.iter().position(|outcome| matches!(outcome, Outcome::Won { .. }));
        let winner = winner.unwrap_or_else(|| panic!("{point}: nobody has it: {outcomes:?}"));
        for outcome in &outcomes {
            match outcome {
                Outcome::Won { uuid } => check_region(dir, waiting[winner].pid(), uuid),
                Outcome::Owned { pid, message } => assert_eq!(*pid, waiting[winner].pid(), "{point}: {message}"),
            }
        }
        assert_eq!(archived(dir), BTreeSet::from([dead]), "{point}");
    }
}

/// The region that stands there while another process starts is its predecessor's: its pid is not the owner's, whether
/// that process died, closed, or lives on after it unwound.
#[test]
fn a_starter_that_is_not_done_is_not_taken_for_its_predecessor() {
    let unwound = |dir: &Path| {
        let region = Region::builder("mc").dir(dir).lanes(16).build().expect("a region");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _region = region;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
    };
    let killed = |dir: &Path| {
        let mut before = Contender::new(dir, None);
        before.go();
        before.won();
        before.kill();
    };
    let leave: [&dyn Fn(&Path); 2] = [&unwound, &killed];
    for leave in leave {
        let folder = tmpfs::folder();
        let dir = folder.path();
        leave(dir);
        let mut first = Contender::new(dir, Some("lock-taken"));
        first.go();
        assert_eq!(first.line(), "at lock-taken");
        let started = Instant::now();
        let error = Region::builder("mc").dir(dir).lanes(16).build().expect_err("it is being started");
        assert!(matches!(error, BuildError::Owned { owner: None, .. }), "{error}");
        assert!(error.to_string().contains("just starting"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        first.go();
        first.won();
        let error = Region::builder("mc").dir(dir).lanes(16).build().expect_err("it has the region");
        assert!(error.to_string().contains(&format!("process {} since 2", first.pid())), "{error}");
    }
}

/// A cleaner that removes the lock file of a living writer gives nobody its region; whoever comes once it is dead has it.
#[test]
fn a_region_whose_lock_file_was_removed_is_not_taken_from_its_writer() {
    let folder = tmpfs::folder();
    let dir = folder.path();
    let mut first = Contender::new(dir, None);
    first.go();
    let uuid = first.won();
    std::fs::remove_file(dir.join("mc.lock")).expect("the cleaner may");
    for _ in 0..2 {
        let mut other = Contender::new(dir, None);
        other.go();
        match other.outcome() {
            Outcome::Owned { pid, .. } => assert_eq!(pid, first.pid()),
            won @ Outcome::Won { .. } => panic!("{won:?}"),
        }
        assert_eq!(names(dir), ["mc.tacho"], "nothing is archived, and no lock file says that its writer is dead");
    }
    assert!(matches!(Region::builder("mc").dir(dir).build(), Err(BuildError::Owned { .. })));

    first.kill();
    let mut next = Contender::new(dir, None);
    next.go();
    assert_ne!(next.won(), uuid);
    assert_eq!(archived(dir), BTreeSet::from([uuid]));
    next.end();
}

/// Within one process, too; and what the process was before it called `exec` is dead, pid or not.
#[test]
fn a_process_takes_its_own_region_for_dead_only_where_it_does_not_hold_it() {
    let folder = tmpfs::folder();
    let builder = || Region::builder("mc").dir(folder.path());
    let region = builder().build().expect("a region");
    std::fs::remove_file(folder.path().join("mc.lock")).expect("the cleaner may");
    assert!(matches!(builder().build(), Err(BuildError::Owned { .. })));
    let mut bytes = std::fs::read(folder.path().join("mc.tacho")).expect("the region file");
    region.close();
    assert!(builder().build().is_ok(), "closed, it is free");

    // As `exec` leaves it: a living region's file with this process's pid, which no region of the process is.
    // docs/LAYOUT.md: the header's uuid.
    bytes[64] ^= 1;
    let other = tmpfs::folder();
    std::fs::write(other.path().join("mc.tacho"), &bytes).expect("a copy");
    assert!(Region::builder("mc").dir(other.path()).build().is_ok());
}
