//! A region directory in which victims are killed over and over, and what must hold of it after each death.
//!
//! The campaign knows every region that ever had its name, by uuid, in order. After each death: nothing stands in the
//! directory that has no business there; what has the region's name is whole; its values are within the victim's ledger;
//! no evidence is gone but what retention may drop. After each whole life also: no temporary is left, and the archive
//! counts every death.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph_exporter::{OpenError, RegionReader, Snapshot, Value, Verdict};

use crate::ledger::{Bounds, FAMILIES, Fact, Ledger, OBSERVED, WRITERS, WRITTEN, series_of, times_observed};
use crate::process::victim;

/// Files of one region that the archive keeps by default.
const KEPT: usize = 4;

/// How a victim's life is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In an orderly way.
    Close,
    /// By SIGKILL, after everything was done.
    Die,
    /// By SIGKILL at the n-th pass of a fail point, where it gets there; else in an orderly way.
    At(String, u64),
    /// By SIGKILL so long after it was started, where it gets there; else in an orderly way.
    After(Duration),
}

/// A region that had its name once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Past {
    uuid: String,
    closed: bool,
}

/// What a campaign has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Victims that were killed.
    pub kills: u64,
    /// Regions that were left behind without being closed.
    pub deaths: u64,
    /// Deaths in which a temporary file was left.
    pub temporaries: u64,
    /// Deaths between the old region's move to the archive and the new one's name.
    pub nameless: u64,
    /// Values that were compared with a ledger.
    pub values: u64,
}

/// One directory, and everything that happened in it.
#[derive(Debug)]
pub struct Campaign {
    dir: PathBuf,
    ledger: PathBuf,
    /// Whether room is so short that evidence has to go for the next region.
    cramped: bool,
    /// Whether the archive was of no use at some time: then evidence may be beside it.
    beside: bool,
    past: Vec<Past>,
    /// What was seen.
    pub counts: Counts,
}

impl Campaign {
    /// One in an empty directory; the ledger is put beside it.
    #[must_use]
    pub fn new(dir: &Path, ledger: &Path, cramped: bool) -> Self {
        Self {
            dir: dir.to_owned(),
            ledger: ledger.to_owned(),
            cramped,
            beside: false,
            past: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Puts a file in the place of the archive, which must not be there yet.
    ///
    /// # Panics
    /// Where that can't be done.
    pub fn block_archive(&mut self) {
        std::fs::File::create_new(self.dir.join("archive")).expect("a file in the archive's place");
        self.beside = true;
    }

    /// Removes that file again: the next start is to gather what was put beside.
    ///
    /// # Panics
    /// Where that can't be done.
    pub fn unblock_archive(&self) {
        std::fs::remove_file(self.dir.join("archive")).expect("the file goes");
    }

    /// Lives one life to its end, and checks everything. Says whether the victim was killed as planned.
    ///
    /// # Panics
    /// On anything that does not hold, with what was planned.
    pub fn live(&mut self, end: &End) -> bool {
        let ledger = Ledger::create(&self.ledger).expect("a ledger");
        let mut command = Command::new(victim());
        command.arg("run").arg(&self.dir).arg(&self.ledger);
        match end {
            End::Close | End::After(_) => command.arg("close"),
            End::Die => command.arg("die"),
            End::At(point, pass) => command.args(["close", point, &pass.to_string()]),
        };
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the victim starts");
        if let End::After(delay) = end {
            std::thread::sleep(*delay);
            child.kill().expect("the victim can be killed");
        }
        let output = child.wait_with_output().expect("the victim ends");
        let killed = output.status.signal() == Some(Signal::SIGKILL as i32);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(killed || output.status.success(), "{end:?}: {}: {text}", output.status);
        assert!(killed || *end != End::Die, "it was to die");
        self.counts.kills += u64::from(killed);
        self.inspect(&ledger, end, *end == End::Die || !killed);
        killed
    }

    /// What must hold after a death; `whole` where the victim had done everything before.
    fn inspect(&mut self, ledger: &Ledger, end: &End, whole: bool) {
        let (mut names, mut archived) = (names(&self.dir), names(&self.dir.join("archive")));
        if self.beside {
            // Of what is archived, what stands beside is known by its hidden name.
            let (hidden, others) = names.into_iter().partition(|name| is_beside(name));
            names = others;
            archived.extend(hidden.iter().map(|name: &String| match name.strip_prefix('.') {
                Some(file) if file.ends_with(".tacho") => file.to_owned(),
                _ => name.clone(),
            }));
        }
        let temporaries = names.iter().filter(|name| is_temporary(name)).count();
        for name in names.iter().filter(|name| !is_temporary(name)) {
            assert!(["mc.lock", "mc.tacho", "archive"].contains(&name.as_str()), "{end:?}: {names:?}");
        }
        assert!(temporaries <= usize::from(!whole), "{end:?}: {names:?}");
        self.counts.temporaries += temporaries as u64;

        let built = ledger.uuid().expect("the ledger is read").map(hex);
        if names.iter().any(|name| name == "mc.tacho") {
            let reader =
                RegionReader::open(&self.dir.join("mc.tacho")).unwrap_or_else(|error| panic!("{end:?}: {error}"));
            let findings = reader.verify();
            assert!(findings.is_empty(), "{end:?}: {findings:?}");
            let snapshot = reader.snapshot().unwrap_or_else(|error| panic!("{end:?}: {error}"));
            let uuid = hex(snapshot.region.uuid);
            let closed = match snapshot.region.verdict {
                Verdict::Closed => true,
                Verdict::Crashed => false,
                other => panic!("{end:?}: the region is {other}"),
            };
            assert!(built.is_none() || built.as_ref() == Some(&uuid), "{end:?}: built {built:?}, found {uuid}");
            if !self.past.iter().any(|past| past.uuid == uuid) {
                self.past.push(Past { uuid, closed });
                self.counts.deaths += u64::from(!closed);
                self.counts.values += values(&snapshot, ledger, whole).unwrap_or_else(|what| panic!("{end:?}: {what}"));
            } else {
                assert!(!whole, "{end:?}: the region before still has the name");
            }
        } else {
            assert!(built.is_none() && !whole, "{end:?}: the region {built:?} has no name: {names:?}");
            self.counts.nameless += 1;
        }
        self.check_evidence(&archived, end, whole);
    }

    fn check_evidence(&self, archived: &[String], end: &End, whole: bool) {
        let mut kept = Vec::new();
        for name in archived {
            if let Some(uuid) = name.strip_prefix("mc.").and_then(|rest| rest.strip_suffix(".tacho")) {
                kept.push(uuid.rsplit('.').next().unwrap_or_default().to_owned());
                assert!(self.past.iter().any(|past| kept.last() == Some(&past.uuid)), "{end:?}: {name} is of no past");
            } else {
                let known = if whole { &[".mc.bursts"][..] } else { &[".mc.bursts", ".mc.bursts.tmp"] };
                assert!(known.contains(&name.as_str()), "{end:?}: {archived:?}");
            }
        }
        let in_place = names(&self.dir).iter().any(|name| name == "mc.tacho");
        let (gone, current) = self.past.split_at(self.past.len() - usize::from(in_place && !self.past.is_empty()));
        let deaths: Vec<&Past> = gone.iter().filter(|past| !past.closed).collect();
        let newest_kept = deaths.iter().rposition(|past| kept.contains(&past.uuid));
        for (index, past) in gone.iter().enumerate().filter(|(_, past)| !kept.contains(&past.uuid)) {
            let just_archived = index + 1 == gone.len();
            let may_go = if past.closed {
                // Closed ones go first, for room or for the number of files.
                self.cramped || kept.len() >= KEPT
            } else {
                // Of the one burst that a campaign is, the first and the newest stay.
                let place = deaths.iter().position(|death| death.uuid == past.uuid);
                place > Some(0) && (self.cramped || place < newest_kept)
            };
            let may_go = may_go && (!just_archived || past.closed && self.cramped);
            assert!(may_go, "{end:?}: evidence {} of {gone:?} is lost; kept: {kept:?}", past.uuid);
        }
        if whole {
            assert_eq!(current.len(), 1, "{end:?}");
            assert!(kept.len() <= KEPT, "{end:?}: {archived:?}");
            let place = if self.dir.join("archive").is_dir() { "archive/.mc.bursts" } else { ".mc.bursts" };
            let noted = std::fs::read_to_string(self.dir.join(place)).unwrap_or_default();
            let counts: Vec<usize> = noted
                .lines()
                .map(|line| line.split(' ').nth(2).and_then(|count| count.parse().ok()).expect("a count"))
                .collect();
            let expected: &[usize] = if deaths.len() > 1 { &[deaths.len()] } else { &[] };
            // An orderly close archives no death, and one without a start after it counts when that comes.
            assert_eq!(counts, expected, "{end:?}: deaths counted by {noted:?}");
        }
    }
}

/// Compares every value with the ledger; gives how many.
fn values(snapshot: &Snapshot, ledger: &Ledger, whole: bool) -> Result<u64, String> {
    let read = |error: std::io::Error| error.to_string();
    let families = ledger.families().map_err(read)?;
    let shown = &snapshot.schema.families;
    let expected = if whole { FAMILIES.len() as u64..=FAMILIES.len() as u64 } else { families.done..=families.about };
    if !expected.contains(&(shown.len() as u64)) && shown.len() as u64 + 1 != families.about {
        return Err(format!("{} families where {families:?}", shown.len()));
    }
    let mut compared = 0;
    for (index, family) in shown.iter().enumerate() {
        if FAMILIES.get(index) != Some(&family.name.as_str()) {
            return Err(format!("family {index} is {}", family.name));
        }
        let full = family.series.len() == series_of(index);
        if !full && (!family.series.is_empty() || (index as u64) < families.done) {
            return Err(format!("{} has {} series, {families:?}", family.name, family.series.len()));
        }
        for (number, series) in family.series.clone().enumerate() {
            let sum = |fact: Fact| -> Result<(i128, i128), String> {
                let bounds = ledger.bounds(fact, number).map_err(read)?;
                let all = |of: fn(&Bounds) -> u64| bounds.iter().map(|one| i128::from(of(one))).sum();
                Ok((all(|one| one.done), all(|one| one.about)))
            };
            let (least, most) = match index {
                0 => sum(Fact::Served)?,
                1 => sum(Fact::Requests)?,
                2 => {
                    let (up, down) = (sum(Fact::Up)?, sum(Fact::Down)?);
                    ((up.0 - down.1).max(0), up.1 - down.0)
                }
                3 => sum(Fact::Busy)?,
                4 => sum(Fact::Level)?,
                5 => {
                    let bounds = ledger.bounds(Fact::Peak, 0).map_err(read)?;
                    let largest = |of: fn(&Bounds) -> u64| bounds.iter().map(of).max().map_or(0, i128::from);
                    (largest(|one| one.done), largest(|one| one.about))
                }
                _ => (0, 0),
            };
            if let Value::Histogram { buckets, sum } = snapshot.value(series) {
                let fact = if index == 6 { Fact::Wait } else { Fact::Took };
                observations(buckets, sum, &ledger.bounds(fact, 0).map_err(read)?, fact == Fact::Wait)
                    .map_err(|what| format!("{}: {what}", family.name))?;
                compared += 1;
                continue;
            }
            let value = match (index, snapshot.value(series)) {
                (5, _) => snapshot.since_start(series).map_or(Value::I64(0), |(value, _)| value),
                (_, value) => value,
            };
            let value = match value {
                Value::U64(value) => i128::from(value),
                Value::I64(value) => i128::from(value),
                Value::F64(value) => (value * 2.0) as i128,
                other => return Err(format!("{} is {other:?}", family.name)),
            };
            let busy = !whole || index >= WRITTEN || least == most;
            if value < least || value > most || !busy && value == least {
                return Err(format!("series {number} of {} is {value}, the ledger has {least} to {most}", family.name));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// Compares a histogram with the ledger; bucket by bucket where each of [`OBSERVED`] has its own.
fn observations(buckets: &[u64], sum: f64, bounds: &[Bounds; WRITERS], apart: bool) -> Result<(), String> {
    let times = |which, of: fn(&Bounds) -> u64| bounds.iter().map(|one| times_observed(which, of(one))).sum::<u64>();
    let [done, about] = [|one: &Bounds| one.done, |one: &Bounds| one.about].map(|of| [0, 1, 2].map(|n| times(n, of)));
    let within = |found: u64, least: u64, most: u64| (least..=most).contains(&found);
    let count: u64 = buckets.iter().sum();
    let counted = within(count, done.iter().sum(), about.iter().sum())
        && (!apart || (0..3).all(|which| within(buckets[which], done[which], about[which])));
    // Half seconds, so that sums are exact.
    let halves = |times: [u64; 3]| (0..3).map(|which| times[which] * (OBSERVED[which] * 2.0) as u64).sum::<u64>();
    let sum = (sum * 2.0).round() as u64;
    // The bucket comes before the sum, which may lack each thread's last observation.
    let lacking = !apart || {
        let counted = halves([buckets[0], buckets[1], buckets[2]]);
        within(sum, counted.saturating_sub(WRITERS as u64 * (OBSERVED[2] * 2.0) as u64), counted)
    };
    if counted && lacking && within(sum, halves(done), halves(about)) {
        return Ok(());
    }
    Err(format!("buckets {buckets:?} and {sum} half seconds, the ledger has {bounds:?}"))
}

/// Looks at the region's name for as long as `busy` says: whenever a file has the name it must be whole. Gives how often
/// one had it.
///
/// # Panics
/// Where anything half-made has the name.
pub fn watch(dir: &Path, busy: impl Fn() -> bool) -> u64 {
    let path = dir.join("mc.tacho");
    let mut seen = 0;
    while busy() {
        match RegionReader::open(&path) {
            Ok(reader) => {
                let findings = reader.verify();
                assert!(findings.is_empty(), "seen under the region's name: {findings:?}");
                seen += 1;
            }
            Err(error) if error.is_not_found() => {}
            Err(error @ OpenError::Lock(_)) => panic!("{error}"),
            Err(error) => panic!("seen under the region's name: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    seen
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".mc.") && name.ends_with(".tmp")
}

/// Whether a file is one that belongs to the archive.
fn is_beside(name: &str) -> bool {
    matches!(name, ".mc.bursts" | ".mc.bursts.tmp") || name.starts_with(".mc.") && name.ends_with(".tacho")
}

fn hex(uuid: [u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names in a directory, sorted; none where there is no directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name of ours")).collect();
    names.sort();
    names
}
