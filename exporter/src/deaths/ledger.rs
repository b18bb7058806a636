//! The ledger of deaths: what was counted, by cause, and which deaths those were. Called by `deaths.rs`.
//!
//! A small JSON file, `deaths.json`, replaced as a whole: written beside, made durable, renamed, the directory made durable.
//! One that can't be read is put aside, never written over. Bounded: of each region the newest deaths are remembered.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tachograph_layout::retention::Burst;

use super::{Tally, UNSEEN};
use crate::cause::Cause;

/// The file in the recorder's directory.
const FILE: &str = "deaths.json";
/// Deaths of one region that are remembered one by one.
const MOST_DEATHS: usize = 1_000;
/// Bursts of one region that are remembered.
const MOST_BURSTS: usize = 100;
/// Regions that are remembered.
const MOST_REGIONS: usize = 10_000;
/// Longest file that is read.
const LONGEST: u64 = 256 << 20;

/// What was counted, and where that is kept.
#[derive(Debug)]
pub(super) struct Ledger {
    path: Option<PathBuf>,
    book: Book,
    /// Not on disk yet.
    changed: bool,
    /// That it can't be written was logged.
    said: bool,
}

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Book {
    version: u32,
    /// Deaths by cause.
    crashes: BTreeMap<String, u64>,
    /// By name.
    regions: BTreeMap<String, Deceased>,
}

/// The deaths of one region name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Deceased {
    last_crash_ns: u64,
    /// All that were counted, seen or not. A book of an exporter that did not count by region has none: see [`read`].
    #[serde(default)]
    crashes: u64,
    /// Those that were counted, oldest counted first.
    deaths: VecDeque<Death>,
    bursts: Vec<Counted>,
}

/// When a region died.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// Its last sign of life, by which the archive's books tell bursts.
    pub(super) last_sign_ns: u64,
    /// Its end, as well as that is known.
    pub(super) ended_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Death {
    uuid: String,
    died_ns: u64,
    /// The cause that it was counted under; `None` of deaths that an older exporter counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// Deaths of a burst that were counted and are not in the list: never seen, or forgotten again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    from_ns: u64,
    last_ns: u64,
    beside: u64,
}

impl Counted {
    const fn holds(&self, ns: u64) -> bool {
        self.from_ns <= ns && ns <= self.last_ns
    }
}

impl Ledger {
    /// Reads the ledger of a directory, which is made where it is missing.
    pub(super) fn open(directory: Option<&Path>) -> Self {
        let path = directory.map(|directory| directory.join(FILE));
        let book = path.as_deref().and_then(|path| match read(path) {
            Ok(book) => Some(book),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let aside = path.with_extension("json.unreadable");
                let moved = std::fs::rename(path, &aside);
                tracing::error!(path = %path.display(), %error, aside = %aside.display(), moved = moved.is_ok(),
                    "the ledger of deaths can't be read: put aside; deaths are counted from the archives anew");
                None
            }
        });
        let changed = book.is_none();
        Self { path, book: book.unwrap_or_else(|| Book { version: 1, ..Book::default() }), changed, said: false }
    }

    /// Whether this death was counted.
    pub(super) fn knows(&self, name: &str, uuid: &[u8; 16]) -> bool {
        let uuid = hex(uuid);
        self.book.regions.get(name).is_some_and(|region| region.deaths.iter().any(|death| death.uuid == uuid))
    }

    /// Counts a death.
    pub(super) fn count(&mut self, name: &str, uuid: &[u8; 16], at: At, cause: &'static str) {
        self.changed = true;
        *self.book.crashes.entry(cause.to_owned()).or_default() += 1;
        let region = self.book.regions.entry(name.to_owned()).or_default();
        region.last_crash_ns = region.last_crash_ns.max(at.ended_ns);
        region.crashes = region.crashes.saturating_add(1);
        region.deaths.push_back(Death { uuid: hex(uuid), died_ns: at.last_sign_ns, cause: Some(cause.to_owned()) });
        while region.deaths.len() > MOST_DEATHS {
            // The first of a burst is what the archive keeps for long, and what could be found again.
            let is_first = |death: &Death| region.bursts.iter().any(|burst| burst.from_ns == death.died_ns);
            let at = region.deaths.iter().position(|death| !is_first(death)).unwrap_or(0);
            let Some(forgotten) = region.deaths.remove(at) else { break };
            if let Some(burst) = region.bursts.iter_mut().find(|burst| burst.holds(forgotten.died_ns)) {
                burst.beside += 1;
            }
        }
        while self.book.regions.len() > MOST_REGIONS {
            let oldest = self.book.regions.iter().min_by_key(|(_, region)| region.last_crash_ns);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            self.book.regions.remove(&name);
        }
    }

    /// Counts the deaths of a burst beyond those that were counted one by one: nobody saw them. Gives how many are new.
    pub(super) fn count_burst(&mut self, name: &str, burst: &Burst) -> u64 {
        let region = self.book.regions.entry(name.to_owned()).or_default();
        let seen =
            region.deaths.iter().filter(|death| (burst.from_ns..=burst.last_ns).contains(&death.died_ns)).count();
        // A burst grows at its ends; what overlaps it is what it was.
        let (same, others): (Vec<Counted>, Vec<Counted>) =
            region.bursts.iter().partition(|known| known.from_ns <= burst.last_ns && burst.from_ns <= known.last_ns);
        let beside: u64 = same.iter().fold(0, |sum, known| sum.saturating_add(known.beside));
        let new = burst.deaths.saturating_sub(seen as u64).saturating_sub(beside);
        let known = Counted {
            from_ns: same.iter().map(|known| known.from_ns).fold(burst.from_ns, u64::min),
            last_ns: same.iter().map(|known| known.last_ns).fold(burst.last_ns, u64::max),
            beside: beside.saturating_add(new),
        };
        if same == [known] {
            return 0;
        }
        self.changed = true;
        region.bursts = others;
        region.bursts.push(known);
        region.bursts.sort_by_key(|burst| burst.from_ns);
        let over = region.bursts.len().saturating_sub(MOST_BURSTS);
        region.bursts.drain(..over);
        region.last_crash_ns = region.last_crash_ns.max(burst.last_ns);
        if new > 0 {
            region.crashes = region.crashes.saturating_add(new);
            let count = self.book.crashes.entry(UNSEEN.to_owned()).or_default();
            *count = count.saturating_add(new);
        }
        new
    }

    /// What is shown of it.
    pub(super) fn tally(&self) -> Tally {
        let words = Cause::ALL.map(Cause::as_str).into_iter().chain([UNSEEN]);
        Tally {
            crashes: words.map(|word| (word, self.book.crashes.get(word).copied().unwrap_or(0))).collect(),
            last_crash_ns: self
                .book
                .regions
                .iter()
                .filter(|(_, region)| region.last_crash_ns > 0)
                .map(|(name, region)| (name.clone(), region.last_crash_ns))
                .collect(),
            by_region: self
                .book
                .regions
                .iter()
                .filter(|(_, region)| region.crashes > 0)
                .map(|(name, region)| (name.clone(), region.crashes))
                .collect(),
        }
    }

    /// Makes what was counted durable.
    pub(super) fn store(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.changed) else { return };
        match write(path, &self.book) {
            Ok(()) => (self.changed, self.said) = (false, false),
            Err(error) if !self.said => {
                self.said = true;
                tracing::error!(path = %path.display(), %error,
                    "the ledger of deaths can't be written: after a restart deaths may be counted again, or not");
            }
            Err(_) => {}
        }
    }
}

/// The cause that a death was counted under by the ledger of this directory, as far as that is to be read.
pub(super) fn cause_of(directory: &Path, name: &str, uuid: &[u8; 16]) -> Option<Cause> {
    let (book, uuid) = (read(&directory.join(FILE)).ok()?, hex(uuid));
    let death = book.regions.get(name)?.deaths.iter().find(|death| death.uuid == uuid)?;
    Cause::from_word(death.cause.as_deref()?)
}

fn hex(uuid: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*uuid))
}

fn read(path: &Path) -> io::Result<Book> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    let mut book: Book = serde_json::from_str(&text)?;
    if book.version != 1 {
        return Err(io::Error::other(format!("version {}; this exporter knows version 1", book.version)));
    }
    for region in book.regions.values_mut().filter(|region| region.crashes == 0) {
        let beside = region.bursts.iter().map(|burst| burst.beside);
        region.crashes = beside.fold(region.deaths.len() as u64, u64::saturating_add);
    }
    Ok(book)
}

fn write(path: &Path, book: &Book) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory)?;
    let temporary = path.with_extension("json.tmp");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(serde_json::to_string(book)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> At {
        At { last_sign_ns: ns, ended_ns: ns }
    }

    fn burst(from_ns: u64, last_ns: u64, deaths: u64) -> Burst {
        Burst { region: "mc".into(), first: String::new(), from_ns, last_ns, deaths }
    }

    const MINUTE: u64 = 60_000_000_000;

    fn uuid(number: u8) -> [u8; 16] {
        [number; 16]
    }

    fn unseen(ledger: &Ledger) -> u64 {
        ledger.tally().crashes[UNSEEN]
    }

    #[test]
    fn deaths_that_nobody_saw_are_counted_once() {
        let mut ledger = Ledger::open(None);
        ledger.count("mc", &uuid(1), at(10 * MINUTE), "killed");
        let burst = |last, deaths| burst(10 * MINUTE, last * MINUTE, deaths);
        ledger.count_burst("mc", &burst(12, 3));
        assert_eq!(unseen(&ledger), 2);
        ledger.count_burst("mc", &burst(12, 3));
        assert_eq!(unseen(&ledger), 2, "told again");
        // Seen in place first, and then told of by the book.
        ledger.count("mc", &uuid(2), at(13 * MINUTE), "signal");
        ledger.count_burst("mc", &burst(13, 4));
        assert_eq!(unseen(&ledger), 2);
        ledger.count_burst("mc", &burst(20, 9));
        assert_eq!(unseen(&ledger), 7);
        ledger.count_burst("other", &burst(20, 9));
        assert_eq!(unseen(&ledger), 16, "another region's");
        assert_eq!(ledger.tally().last_crash_ns, [("mc".into(), 20 * MINUTE), ("other".into(), 20 * MINUTE)].into());
    }

    #[test]
    fn deaths_that_were_forgotten_again_are_not_counted_as_unseen() {
        let mut ledger = Ledger::open(None);
        let deaths = MOST_DEATHS as u64 + 50;
        for death in 0..deaths {
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&death.to_le_bytes());
            ledger.count("mc", &uuid, at((death + 1) * MINUTE), "killed");
            let burst = burst(MINUTE, (death + 1) * MINUTE, death + 1);
            ledger.count_burst("mc", &burst);
        }
        assert_eq!((unseen(&ledger), ledger.tally().crashes["killed"]), (0, deaths));
        assert_eq!(ledger.book.regions["mc"].deaths.len(), MOST_DEATHS);
        assert!(ledger.knows("mc", &[0; 16]), "the first of the burst, which the archive still has");
    }

    #[test]
    fn it_is_found_again_as_it_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        let mut ledger = Ledger::open(Some(&place));
        ledger.count("mc", &uuid(1), at(7), "signal");
        ledger.count_burst("mc", &burst(7, 9, 3));
        ledger.store();
        let again = Ledger::open(Some(&place));
        assert_eq!((&again.book, again.changed), (&ledger.book, false));
        let mode = std::os::unix::fs::PermissionsExt::mode(&place.join(FILE).metadata().unwrap().permissions());
        assert_eq!(mode & 0o137, 0, "names of regions are for the exporter's user and group");
        assert!(again.knows("mc", &uuid(1)) && !again.knows("mc", &uuid(2)) && !again.knows("other", &uuid(1)));
    }

    #[test]
    fn a_region_s_deaths_are_counted_seen_or_not_and_forgotten_ones_too() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(Some(directory.path()));
        ledger.count("mc", &uuid(1), at(10 * MINUTE), "killed");
        ledger.count_burst("mc", &burst(10 * MINUTE, 12 * MINUTE, 5));
        ledger.count("other", &uuid(2), at(11 * MINUTE), "signal");
        let expected = BTreeMap::from([("mc".to_owned(), 5), ("other".to_owned(), 1)]);
        assert_eq!(ledger.tally().by_region, expected);
        ledger.store();
        assert_eq!(Ledger::open(Some(directory.path())).tally().by_region, expected);
        // The book of an exporter that counted by cause alone.
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let without =
            text.replace("\"crashes\":5,\"deaths\"", "\"deaths\"").replace("\"crashes\":1,\"deaths\"", "\"deaths\"");
        assert_ne!(text, without);
        std::fs::write(&path, without).unwrap();
        assert_eq!(Ledger::open(Some(directory.path())).tally().by_region, expected);
        for number in 0..MOST_DEATHS as u64 + 7 {
            ledger.count("many", &u128::from(number).to_be_bytes(), at(number), "killed");
        }
        assert_eq!(ledger.tally().by_region["many"], MOST_DEATHS as u64 + 7);
    }

    #[test]
    fn what_can_not_be_read_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{", r#"{"version":2,"crashes":{},"regions":{}}"#] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let mut ledger = Ledger::open(Some(directory.path()));
            assert_eq!(ledger.tally().crashes["killed"], 0);
            ledger.store();
            assert_eq!(std::fs::read_to_string(directory.path().join("deaths.json.unreadable")).unwrap(), text);
            assert_eq!(Ledger::open(Some(directory.path())).book, ledger.book);
        }
    }
}
