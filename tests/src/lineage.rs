//! A line of regions in which each continues the one before, whose processes are killed over and over.
//!
//! The heir (`tests/src/bin/heir.rs`) notes each deed before and after it is done ([`Deeds`]). After each death every
//! series that the newest region shows must hold exactly what the line held at the death before it, and what this life has
//! done: not one less, not one twice ([`Lineage::live`]). A reader looks on all the while: no series may ever show less
//! than it showed before, and at any moment there is a whole region under the name ([`look_on`]).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tachograph_exporter::{RegionReader, Snapshot, Value, Verdict};

use crate::process::heir;

/// The fail points that only a start that adopts passes, and what registers in it.
pub const ADOPTING: [&str; 10] = [
    "predecessor-read",
    "totals-written",
    "totals-kept",
    "totals-removed",
    "carried-stored",
    "beside-linking",
    "predecessor-linked",
    "total-stored",
    "total-published",
    "total-marked",
];

/// Threads of an heir that write.
pub const WRITERS: usize = 2;

/// What is counted: a series, as the exporter names it.
pub const FACTS: [(&str, &str); 10] = [
    ("h_served_total", ""),
    ("h_requests_total", "outcome=\"ok\""),
    ("h_requests_total", "outcome=\"failed\""),
    ("h_busy_seconds_total", ""),
    ("h_wait_seconds", ""),
    ("h_took_seconds", ""),
    ("h_size", ""),
    ("h_peer_total", "peer=\"a\""),
    ("h_peer_total", "peer=\"b\""),
    ("h_peer_total", "overflow=\"true\""),
];

/// What a deed adds to a float counter or observes in a histogram; every sum of these is exact.
pub const STEP: f64 = 0.25;

/// Which of an heir's families it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All.
    All,
    /// Every second one, and of the open family one set.
    Some,
    /// None at all.
    None,
}

impl Share {
    /// As the heir is told.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Some => "some",
            Self::None => "none",
        }
    }
}

/// How often each fact's deed was begun and done, in a small file: each word is written by one system call.
#[derive(Debug)]
pub struct Deeds(File);

impl Deeds {
    /// Makes an empty one, in the place of any other.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        file.set_len((WRITERS * FACTS.len() * 16) as u64)?;
        Ok(Self(file))
    }

    /// Opens the one that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).open(path)?))
    }

    /// Does the `number`-th deed of a thread.
    ///
    /// # Errors
    /// What the file system says.
    pub fn deed(&self, thread: usize, fact: usize, number: u64, deed: impl FnOnce()) -> io::Result<()> {
        let place = ((thread * FACTS.len() + fact) * 16) as u64;
        self.0.write_all_at(&number.to_ne_bytes(), place)?;
        deed();
        self.0.write_all_at(&number.to_ne_bytes(), place + 8)
    }

    /// Deeds done for certain, and begun, over all threads.
    ///
    /// # Errors
    /// What the file system says.
    pub fn bounds(&self, fact: usize) -> io::Result<(u64, u64)> {
        let word = |place: usize| -> io::Result<u64> {
            let mut bytes = [0; 8];
            self.0.read_exact_at(&mut bytes, place as u64)?;
            Ok(u64::from_ne_bytes(bytes))
        };
        let mut bounds = (0, 0);
        for thread in 0..WRITERS {
            let place = (thread * FACTS.len() + fact) * 16;
            bounds = (bounds.0 + word(place + 8)?, bounds.1 + word(place)?);
        }
        Ok(bounds)
    }
}

/// How an heir's life is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In an orderly way.
    Close,
    /// By SIGKILL, after everything was done.
    Die,
    /// By SIGKILL at the n-th pass of a fail point, where it gets there; else in an orderly way.
    At(String, u64),
}

/// What of a region's header a line is known by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ancestry {
    uuid: [u8; 16],
    predecessor: [u8; 16],
    restarts: u64,
    begun: u64,
}

/// What a line has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Heirs that were killed.
    pub kills: u64,
    /// Regions that were built.
    pub regions: u64,
    /// Deaths before the new region had the name.
    pub unborn: u64,
    /// Deaths while no region had the name, and the totals stood in a file of their own.
    pub put_aside: u64,
    /// Values that were compared.
    pub values: u64,
    /// Values that were found though the region before had not registered their series.
    pub skipped_lives: u64,
}

/// One directory, and the line of regions in it.
#[derive(Debug)]
pub struct Lineage {
    dir: PathBuf,
    deeds: PathBuf,
    /// Whether a file stands in the archive's place, so that what is left is kept beside it.
    blocked: bool,
    /// Whether the file system may have no room for two regions: then the name may be free after a kill, and the totals
    /// stand in a file of their own.
    tight: bool,
    /// Count and sum of each fact at the last death whose region showed it.
    held: BTreeMap<usize, (u64, f64)>,
    /// Whether the region before showed the fact.
    shown: [bool; FACTS.len()],
    newest: Ancestry,
    /// Deaths of regions that are not the newest.
    deaths: usize,
    newest_crashed: bool,
    /// What was seen.
    pub counts: Counts,
}

impl Lineage {
    /// One in an empty directory; the deeds are noted in a file beside it.
    #[must_use]
    pub fn new(dir: &Path, deeds: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            deeds: deeds.to_owned(),
            blocked: false,
            tight: false,
            held: BTreeMap::new(),
            shown: [false; FACTS.len()],
            newest: Ancestry::default(),
            deaths: 0,
            newest_crashed: false,
            counts: Counts::default(),
        }
    }

    /// One on a file system that has no room for its region and another one.
    #[must_use]
    pub fn tight(dir: &Path, deeds: &Path) -> Self {
        Self { tight: true, ..Self::new(dir, deeds) }
    }

    /// Puts a file in the place that the archive would be made in.
    ///
    /// # Panics
    /// Where there is an archive.
    pub fn block_archive(&mut self) {
        std::fs::File::create_new(self.dir.join("archive")).expect("nothing is in the archive's place");
        self.blocked = true;
    }

    /// Takes that file away: the next start moves into the archive what was kept beside.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn unblock_archive(&mut self) {
        std::fs::remove_file(self.dir.join("archive")).expect("a file is in the archive's place");
        self.blocked = false;
    }

    /// The command that lives one life.
    #[must_use]
    pub fn command(&self, end: &str, share: Share) -> Command {
        let mut command = Command::new(heir());
        command.arg("run").arg(&self.dir).arg(&self.deeds).arg(end).arg(share.word()).stdin(Stdio::null());
        command
    }

    /// Lives one life to its end, and checks everything. Says whether the heir was killed as planned.
    ///
    /// # Panics
    /// On anything that does not hold, with what was planned.
    pub fn live(&mut self, end: &End, share: Share) -> bool {
        let deeds = Deeds::create(&self.deeds).expect("a file for the deeds");
        let mut command = self.command(if *end == End::Die { "die" } else { "close" }, share);
        if let End::At(point, pass) = end {
            command.args([point, &pass.to_string()]);
        }
        let output = command.output().expect("the heir ends");
        let killed = output.status.signal() == Some(Signal::SIGKILL as i32);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(killed || output.status.success(), "{end:?}: {}: {text}", output.status);
        assert!(killed || *end != End::Die, "it was to die");
        self.counts.kills += u64::from(killed);
        let whole = *end == End::Die || !killed;
        self.inspect(&deeds, whole).unwrap_or_else(|what| panic!("{end:?}, {share:?}: {what}"));
        killed
    }

    fn inspect(&mut self, deeds: &Deeds, whole: bool) -> Result<(), String> {
        self.check_names(whole)?;
        let path = self.dir.join("heir.tacho");
        if !path.exists() {
            let nothing_yet = self.newest == Ancestry::default() && !whole;
            let put_aside = self.tight && !whole && self.dir.join(".heir.totals").exists();
            self.counts.put_aside += u64::from(put_aside);
            return if nothing_yet || put_aside { Ok(()) } else { Err("no region has the name".to_owned()) };
        }
        let reader = RegionReader::open(&path).map_err(|error| error.to_string())?;
        let findings = reader.verify();
        if !findings.is_empty() {
            return Err(format!("{findings:?}"));
        }
        let snapshot = reader.snapshot().map_err(|error| error.to_string())?;
        let found = ancestry(&path).map_err(|error| error.to_string())?;
        if found == self.newest {
            self.counts.unborn += 1;
            return if whole { Err("the region before still has the name".to_owned()) } else { Ok(()) };
        }
        let first = self.newest == Ancestry::default();
        let expected = Ancestry {
            uuid: found.uuid,
            predecessor: self.newest.uuid,
            restarts: if first { 0 } else { self.newest.restarts + 1 },
            begun: if first { found.begun } else { self.newest.begun },
        };
        if found != expected {
            return Err(format!("{found:?} after {:?}", self.newest));
        }
        self.counts.regions += 1;
        self.deaths += usize::from(self.newest_crashed);
        self.newest_crashed = snapshot.region.verdict == Verdict::Crashed;
        self.newest = found;
        self.check_values(&snapshot, deeds)?;
        // A death whose only evidence went to make room is no longer known of.
        if whole && !self.tight {
            self.check_bursts()?;
        }
        Ok(())
    }

    fn check_values(&mut self, snapshot: &Snapshot, deeds: &Deeds) -> Result<(), String> {
        for (fact, (name, labels)) in FACTS.into_iter().enumerate() {
            let (done, about) = deeds.bounds(fact).map_err(|error| error.to_string())?;
            let Some((count, sum)) = value(snapshot, name, labels) else {
                if about > 0 {
                    return Err(format!("{name}{{{labels}}} was written and is not there"));
                }
                self.shown[fact] = false;
                continue;
            };
            let held = self.held.get(&fact).copied().unwrap_or_default();
            if !(held.0 + done..=held.0 + about).contains(&count) {
                return Err(format!(
                    "{name}{{{labels}}} is {count}; the line held {}, this life did {done} to {about}",
                    held.0
                ));
            }
            // The bucket comes first: each thread's last observation may lack in the sum.
            let most = held.1 + (count - held.0) as f64 * STEP;
            if sum > most || sum < most - WRITERS as f64 * STEP {
                return Err(format!("the sum of {name}{{{labels}}} is {sum}, not {most}"));
            }
            let first = held.0 == 0;
            self.counts.skipped_lives += u64::from(!self.shown[fact] && !first);
            self.shown[fact] = true;
            self.held.insert(fact, (count, sum));
            self.counts.values += 1;
        }
        Ok(())
    }

    fn check_names(&self, whole: bool) -> Result<(), String> {
        let names = names(&self.dir);
        let temporary =
            |name: &&String| name.starts_with(".heir.") && name.ends_with(".tmp") && !name.starts_with(".heir.bursts");
        let beside = |name: &&String| name.starts_with(".heir.") && name.ends_with(".tacho");
        let bursts = |name: &&String| name.starts_with(".heir.bursts");
        let strange = names
            .iter()
            .filter(|name| !(self.tight && !whole && name.as_str() == ".heir.totals"))
            .filter(|name| !temporary(name) && !((self.blocked || !whole) && (beside(name) || bursts(name))))
            .any(|name| !["heir.lock", "heir.tacho", "archive"].contains(&name.as_str()));
        if strange || names.iter().filter(temporary).count() > usize::from(!whole) {
            return Err(format!("in the directory: {names:?}"));
        }
        let archived = self.dir.join("archive");
        let inside = names_of_regions(&archived).into_iter().map(|name| archived.join(name));
        let outside = names.iter().filter(beside).map(|name| self.dir.join(name));
        let regions: Vec<PathBuf> = inside.chain(outside).collect();
        if whole && regions.len() > 4 {
            return Err(format!("in the archive: {regions:?}"));
        }
        let mut uuids: Vec<[u8; 16]> = Vec::new();
        for region in &regions {
            let one = ancestry(region).map_err(|error| error.to_string())?;
            if uuids.contains(&one.uuid) {
                return Err(format!("the same region twice in the archive: {regions:?}"));
            }
            uuids.push(one.uuid);
        }
        Ok(())
    }

    /// Every death of the line is counted, as without adopting.
    fn check_bursts(&self) -> Result<(), String> {
        let place = if self.blocked { ".heir.bursts" } else { "archive/.heir.bursts" };
        let noted = std::fs::read_to_string(self.dir.join(place)).unwrap_or_default();
        let counts: Vec<usize> =
            noted.lines().filter_map(|line| line.split(' ').nth(2).and_then(|count| count.parse().ok())).collect();
        let expected: &[usize] = if self.deaths > 1 { &[self.deaths] } else { &[] };
        if counts == expected { Ok(()) } else { Err(format!("{} deaths, noted as {noted:?}", self.deaths)) }
    }
}

/// Count and sum of a series; of a counter in steps, and the same in the step's unit.
fn value(snapshot: &Snapshot, name: &str, labels: &str) -> Option<(u64, f64)> {
    let family = snapshot.schema.families.iter().find(|family| family.name == name)?;
    let series =
        family.series.clone().find(|series| snapshot.schema.series.get(*series).expect("a series").labels == labels)?;
    Some(match snapshot.value(series) {
        Value::U64(value) => (value, value as f64 * STEP),
        Value::F64(value) => ((value / STEP) as u64, value),
        Value::Histogram { buckets, sum } => (buckets.iter().sum(), sum),
        other => panic!("{name} is {other:?}"),
    })
}

fn ancestry(path: &Path) -> io::Result<Ancestry> {
    // Offsets of docs/LAYOUT.md, section 3.
    let file = File::open(path)?;
    let mut header = [0; 192];
    file.read_exact_at(&mut header, 0)?;
    let uuid = |at: usize| header[at..at + 16].try_into().unwrap_or_default();
    let word = |at: usize| header[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    Ok(Ancestry { uuid: uuid(64), predecessor: uuid(80), restarts: word(176), begun: word(184) })
}

/// Looks at the line's region for as long as `busy` says: whenever it is shown, a series holds no less than it was seen to
/// hold; and once there was a region, there always is one. Gives how many values it saw.
///
/// # Panics
/// Where that does not hold.
pub fn look_on(dir: &Path, busy: impl Fn() -> bool) -> u64 {
    let path = dir.join("heir.tacho");
    let mut most: BTreeMap<usize, u64> = BTreeMap::new();
    let (mut seen, mut born) = (0, false);
    while busy() {
        match RegionReader::open(&path) {
            Ok(reader) => {
                born = true;
                let snapshot = reader.snapshot().expect("what has the name can be read");
                for (fact, (name, labels)) in FACTS.into_iter().enumerate() {
                    let Some((count, _)) = value(&snapshot, name, labels) else { continue };
                    let before = most.insert(fact, count).unwrap_or(0);
                    assert!(count >= before, "{name}{{{labels}}} fell from {before} to {count}");
                    seen += 1;
                }
            }
            Err(error) => assert!(!born && error.is_not_found(), "once there was a region: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    seen
}

fn names_of_regions(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|name| name.ends_with(".tacho")).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
