//! Takes snapshots of one region: the only code that turns mapped memory into what renderers see.
//!
//! A [`RegionReader`] holds its file open and mapped, so it goes on reading what it opened, whatever happens to the
//! path. It writes nothing and takes no lock of the region's. Threads may share it; snapshots of one region queue.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tachograph_layout::{Control, HighWater, MemoryLock, RegionState, SectionKind, SlotState, SlotWord, WordView};

use crate::Verdict;
use crate::cause::{Cause, DeathFacts};
use crate::evidence::{self, Activities, Evidence, Fatal, Moment};
use crate::json::Now;
use crate::lock::LockError;
use crate::parse::{self, Parsed};
use crate::promise::{self, Promise};
use crate::region_file::{OpenError, RegionFile};
use crate::schema::Schema;
use crate::snapshot::{Capacity, RegionInfo, Snapshot, Usage};
use crate::values::{self, ReadPlan};
use crate::verdict::Facts;
use crate::verify::{self, Finding};

/// Why a region can't be read any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file was cut while it was open.
    #[error("{path}: cut short: {found} bytes where it had {expected}", path = path.display())]
    CutShort {
        /// The path.
        path: PathBuf,
        /// Length now.
        found: u64,
        /// Length when it was opened.
        expected: u64,
    },
    /// The file was cut while it was being read, or at some time before, whatever its length is now.
    #[error("{path}: cut while it was mapped: what was cut off reads as zeros, so nothing of it is shown", path = path.display())]
    Cut {
        /// The path.
        path: PathBuf,
    },
    /// Its length can't be asked.
    #[error("{path}: can't be read", path = path.display())]
    Stat {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its lock can't be asked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Reads one region.
///
/// ```
/// use tachograph_exporter::RegionReader;
/// let error = RegionReader::open("/nowhere/mc-0.tacho".as_ref()).unwrap_err();
/// assert!(error.is_not_found() && error.to_string().starts_with("/nowhere/mc-0.tacho: "));
/// ```
#[derive(Debug)]
pub struct RegionReader {
    file: RegionFile,
    cache: Mutex<Cache>,
    /// Where a case was unpacked to: goes with the reader.
    _unpacked: Option<tempfile::TempDir>,
    /// The case that the region was taken out of.
    case: Option<PathBuf>,
}

/// What one snapshot leaves for the next.
#[derive(Debug, Default)]
struct Cache {
    structure: Option<Structure>,
    /// Buffers given back by [`RegionReader::recycle`].
    spare: Vec<(Vec<u64>, Vec<u64>)>,
}

/// A parsed structure and what tells whether it still stands.
#[derive(Debug, Clone)]
struct Structure {
    word: u64,
    used: HighWater,
    schema: Arc<Schema>,
    plan: Arc<ReadPlan>,
    open_slots: Arc<Vec<(u32, u64)>>,
    next_expiry: u64,
}

/// The verdict on a region's writer with what speaks for it.
struct Judgement {
    verdict: Verdict,
    cause: Option<Cause>,
    signal: Option<String>,
    broken_promises: Vec<Promise>,
}

/// A writer that ticked so long after a fatal signal was handled by somebody, and survived it.
const SURVIVED_NS: u64 = 10_000_000_000;

/// Pairs of buffers kept.
const SPARE: usize = 2;

impl RegionReader {
    /// Opens a region file: `<name>.tacho` in its place, an archived one, or a copy.
    ///
    /// # Errors
    /// [`OpenError`] saying what was found and what is supported.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { file: RegionFile::open(path)?, cache: Mutex::default(), _unpacked: None, case: None })
    }

    /// The same, of a file that stands in a directory of its own, which goes when the reader does.
    pub(crate) fn keeping(mut self, directory: tempfile::TempDir) -> Self {
        self._unpacked = Some(directory);
        self
    }

    /// The same, told by the path of the case that it was taken out of.
    pub(crate) fn out_of(mut self, case: &Path) -> Self {
        self.case = Some(case.to_owned());
        self
    }

    /// Where the region was opened; of a case, the case's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.case.as_deref().unwrap_or(&self.file.path)
    }

    /// The region's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The region's own id.
    #[must_use]
    pub const fn uuid(&self) -> [u8; 16] {
        self.file.header.uuid
    }

    /// Id of the region that stood at its place before; zeros where there was none.
    #[must_use]
    pub const fn predecessor_uuid(&self) -> [u8; 16] {
        self.file.header.predecessor_uuid
    }

    /// When the region was built: nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn created_realtime_ns(&self) -> u64 {
        self.file.header.created_realtime_ns
    }

    /// What became of the writer, asked now.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn verdict(&self) -> Result<Verdict, ReadError> {
        Ok(self.facts()?.0.verdict())
    }

    /// Facts about the region without its values.
    ///
    /// # Errors
    /// As [`RegionReader::verdict`].
    pub fn info(&self) -> Result<RegionInfo, ReadError> {
        let judgement = self.judgement()?;
        let lanes = self.file.sections.section(SectionKind::Lanes);
        let view = self.view();
        let used = values::lanes_used(view, &self.file.sections);
        let dropped = (0..used).filter_map(|lane| view.load(lanes.entry(lane)?)).fold(0, u64::wrapping_add);
        let info = self.info_with(judgement, dropped);
        self.check_whole()?;
        Ok(info)
    }

    /// A snapshot of structure and values. The structure is shared with the snapshot before where it did not change.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let judgement = self.judgement()?;
        let verdict = judgement.verdict;
        let view = self.view();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut lane, mut shared) = cache.spare.pop().unwrap_or_default();
        let structure = view.read_structure(verdict.is_alive(), |word| {
            let structure = cache.current(view, &self.file, word, self.now(verdict));
            values::read(view, &self.file.sections, &structure.plan, &mut lane, &mut shared);
            structure
        });
        // A file is opened only where it holds the whole header, in which the structure word stands.
        let structure = structure.ok_or_else(|| ReadError::Cut { path: self.path().to_owned() })?;
        let schema = self.still_there(&structure);
        self.check_whole()?;
        let region = self.info_with(judgement, lane.first().copied().unwrap_or(0));
        Ok(Snapshot { region, schema, lane, shared })
    }

    /// What the region holds beside its values: activities, pulses, notes, panics, the fatal signal. Work and memory are
    /// bounded by the file's length, whatever it says; what is half written or damaged is left out and counted.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn evidence(&self) -> Result<Evidence, ReadError> {
        let verdict = self.verdict()?;
        let now = verdict.is_alive().then(|| Moment::from(Now::read()));
        let evidence = evidence::read(self.view(), &self.file.header, &self.file.sections, now);
        self.check_whole()?;
        Ok(evidence)
    }

    /// How many actors are stuck ([`crate::evidence::Activity::stuck`]): now where the writer lives, else at its last tick.
    ///
    /// # Errors
    /// [`ReadError`] where the file was cut or the lock can't be asked.
    pub fn stuck_actors(&self, longest: Duration) -> Result<u64, ReadError> {
        let now = self.now(self.verdict()?);
        let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let stuck = evidence::stuck(self.view(), &self.file.sections, now, longest_ns);
        self.check_whole()?;
        Ok(stuck)
    }

    /// Who is doing what, alone: what the recorder looks at many times a second. `busy_ns` is not reckoned.
    pub(crate) fn activities(&self) -> Result<Activities, ReadError> {
        self.check_length()?;
        let activities = evidence::activities(self.view(), &self.file.sections);
        self.check_whole()?;
        Ok(activities)
    }

    /// When the first region of its lineage was built, in nanoseconds since the Unix epoch, and how often it was continued
    /// since: what adopters keep.
    #[cfg(feature = "server")]
    pub(crate) const fn lineage(&self) -> (u64, u64) {
        let header = &self.file.header;
        match header.lineage_created_realtime_ns {
            0 => (header.created_realtime_ns, header.restarts),
            lineage => (lineage, header.restarts),
        }
    }

    /// The words of what it carries on of its predecessor; none where the file was cut.
    #[cfg(feature = "server")]
    pub(crate) fn carried(&self) -> Vec<u64> {
        let section = self.file.sections.section(SectionKind::Carried);
        let mut words = vec![0; usize::try_from(section.count).unwrap_or(0)];
        let copied = self.check_length().ok().and_then(|()| self.view().copy(section.offset, &mut words));
        if copied.is_some() && self.check_whole().is_ok() { words } else { Vec::new() }
    }

    /// Takes a snapshot's buffers back, so that the next one allocates nothing.
    pub fn recycle(&self, snapshot: Snapshot) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.spare.len() < SPARE {
            cache.spare.push(snapshot.into_buffers());
        }
    }

    /// Checks every structure; a healthy region gives no finding.
    #[must_use]
    pub fn verify(&self) -> Vec<Finding> {
        let findings = self.verdict().map(|verdict| verify::verify(&self.file, verdict));
        match findings.and_then(|findings| self.check_whole().map(|()| findings)) {
            Ok(findings) => findings,
            Err(error) => vec![Finding::error("file", error)],
        }
    }

    /// Whether the path still leads to this region.
    pub(crate) fn is_current(&self) -> bool {
        self.file.is_current()
    }

    /// Whether the file lost its name and its writer still lives.
    pub(crate) fn is_unlinked_alive(&self) -> bool {
        self.file.links().is_ok_and(|links| links == 0) && self.verdict().is_ok_and(Verdict::is_alive)
    }

    /// The open file.
    pub(crate) const fn file(&self) -> &RegionFile {
        &self.file
    }

    /// Which cells are read, by the structure as it is now.
    pub(crate) fn read_plan(&self, verdict: Verdict, word: u64) -> Arc<ReadPlan> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.current(self.view(), &self.file, word, self.now(verdict)).plan
    }

    fn view(&self) -> WordView<'_> {
        self.file.map.view()
    }

    fn state(&self) -> Option<RegionState> {
        // SYNC(region-live): whoever finds the region closed finds its last values.
        self.view().load_acquire(Control::STATE).and_then(RegionState::from_wire)
    }

    /// The verdict with what speaks for it, asked now.
    fn judgement(&self) -> Result<Judgement, ReadError> {
        let (facts, broken_promises) = self.facts()?;
        let verdict = facts.verdict();
        if verdict != Verdict::Crashed {
            let broken_promises = if verdict == Verdict::Hung { broken_promises } else { Vec::new() };
            return Ok(Judgement { verdict, cause: None, signal: None, broken_promises });
        }
        let signal = self.fatal_signal();
        let silent = DeathFacts { fatal: signal.is_some(), state: facts.state, process_lives: false };
        let cause = match silent.cause() {
            // Only then is it asked of the kernel, and of the files beside.
            Cause::Killed => DeathFacts { process_lives: self.file.is_outlived(facts), ..silent }.cause(),
            cause => cause,
        };
        Ok(Judgement { verdict, cause: Some(cause), signal: signal.flatten(), broken_promises: Vec::new() })
    }

    /// What a verdict is made of, and the promises that are broken if the writer lives.
    fn facts(&self) -> Result<(Facts, Vec<Promise>), ReadError> {
        self.check_length()?;
        let broken_promises = self.broken_promises();
        Ok((self.file.facts(self.state(), !broken_promises.is_empty())?, broken_promises))
    }

    /// The promises that are broken now, if the writer lives.
    fn broken_promises(&self) -> Vec<Promise> {
        let (view, header) = (self.view(), &self.file.header);
        let now = Moment::from(Now::read());
        // Until the first tick there is the start.
        let tick = view.load(Control::TICK_MONOTONIC_NS).unwrap_or(0).max(header.created_monotonic_ns);
        promise::broken(header.tick_period_ns, now.since_ns(tick), evidence::pulses(view, &self.file.sections, now))
    }

    /// The name of the signal that the writer died of; `Some(None)` where its record is unfinished.
    fn fatal_signal(&self) -> Option<Option<String>> {
        let (fatal, unfinished) = evidence::fatal(self.view(), &self.file.sections);
        let ticked = self.view().load(Control::TICK_MONOTONIC_NS).unwrap_or(0);
        let died = |fatal: &Fatal| ticked.saturating_sub(fatal.at.monotonic_ns) <= SURVIVED_NS;
        match fatal {
            Some(fatal) => died(&fatal).then_some(Some(fatal.name)),
            None => unfinished.map(|_| None),
        }
    }

    /// A load from a page that was cut off raises SIGBUS. The guard survives that, but the region's maps are lost for
    /// good, so the length is asked before anything is loaded.
    fn check_length(&self) -> Result<(), ReadError> {
        let path = || self.path().to_owned();
        let expected = self.file.header.file_len;
        match self.file.length() {
            Ok(found) if found < expected => Err(ReadError::CutShort { path: path(), found, expected }),
            Ok(_) => Ok(()),
            Err(source) => Err(ReadError::Stat { path: path(), source }),
        }
    }

    /// Asked after reading: zeros that the guard put in the place of missing pages are no values.
    pub(crate) fn check_whole(&self) -> Result<(), ReadError> {
        if self.file.map.is_damaged() {
            return Err(ReadError::Cut { path: self.path().to_owned() });
        }
        Ok(())
    }

    /// The writer's monotonic clock: now where it lives; else as it was at its last tick, so that what lingered when it
    /// died is shown for as long as its region is.
    fn now(&self, verdict: Verdict) -> u64 {
        if verdict.is_alive() {
            let now = clock_gettime(ClockId::Monotonic);
            (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
        } else {
            self.view().load(Control::TICK_MONOTONIC_NS).unwrap_or(0)
        }
    }

    /// The schema without series whose slots were given away while their values were read. Only an open family's slots
    /// ever change hands.
    fn still_there(&self, structure: &Structure) -> Arc<Schema> {
        if structure.open_slots.is_empty() {
            return Arc::clone(&structure.schema);
        }
        let (view, section) = (self.view(), self.file.sections.section(SectionKind::Series));
        let gone = |slot, generation| {
            let found = SlotWord::new(generation, SlotState::Live);
            !section.entry(u64::from(slot)).is_some_and(|entry| view.slot_stands(entry, found))
        };
        let schema = &structure.schema;
        let open = |series: &crate::Series| schema.families.get(series.family).is_some_and(|family| family.open);
        let lost: Vec<bool> =
            schema.series.iter().map(|series| open(series) && gone(series.slot, series.generation)).collect();
        if lost.contains(&true) { Arc::new(schema.without(&lost)) } else { Arc::clone(schema) }
    }

    fn info_with(&self, judgement: Judgement, dropped_observations: u64) -> RegionInfo {
        let (header, view) = (&self.file.header, self.view());
        let word = |offset| view.load(offset).unwrap_or(0);
        let usage = |used: u64, kind| {
            let capacity = self.file.sections.section(kind).count;
            Usage { used: used.min(capacity), capacity }
        };
        let (cells, lanes) = (self.file.sections.cells(), values::lanes_used(view, &self.file.sections));
        let Judgement { verdict, cause, signal, broken_promises } = judgement;
        RegionInfo {
            name: self.file.name.clone(),
            path: self.path().to_owned(),
            uuid: header.uuid,
            verdict,
            cause,
            signal,
            broken_promises,
            pid: header.pid,
            pid_namespace: header.pid_namespace,
            process_start_ticks: header.process_start_ticks,
            ticks_per_second: header.ticks_per_second,
            boot_id: header.boot_id,
            created_realtime_ns: header.created_realtime_ns,
            created_monotonic_ns: header.created_monotonic_ns,
            tick_period_ns: header.tick_period_ns,
            ticks: word(Control::TICKS),
            tick_monotonic_ns: word(Control::TICK_MONOTONIC_NS),
            tick_realtime_ns: word(Control::TICK_REALTIME_NS),
            state: self.state(),
            state_realtime_ns: word(Control::STATE_REALTIME_NS),
            exe: printable(&header.exe()),
            host: printable(&header.host()),
            version: printable(&header.version()),
            build_id: header.build_id(),
            predecessor: header.predecessor_uuid,
            restarts: header.restarts,
            capacity: Capacity {
                series: usage(word(Control::SERIES_USED), SectionKind::Series),
                families: usage(word(Control::FAMILIES_USED), SectionKind::Families),
                cells: Usage { used: word(Control::CELLS_USED).min(cells), capacity: cells },
                strings: usage(word(Control::STRINGS_USED), SectionKind::Strings),
                label_areas: usage(word(Control::LABEL_AREAS_USED), SectionKind::LabelAreas),
                bounds: usage(word(Control::BOUNDS_USED), SectionKind::Bounds),
                shared: usage(word(Control::SHARED_USED), SectionKind::Shared),
                lanes: usage(lanes, SectionKind::Lanes),
            },
            memory_locked: header.memory_lock == MemoryLock::Held.to_wire(),
            lane_overflows: word(Control::LANE_OVERFLOWS),
            registrations_dropped: word(Control::REGISTRATIONS_DROPPED),
            label_overflows: word(Control::LABEL_OVERFLOWS),
            dropped_observations,
            unlinked: word(Control::UNLINKED) == 1 || self.file.links().is_ok_and(|links| links == 0),
            file_len: header.file_len,
            archived: self.file.in_archive(),
        }
    }
}

impl Cache {
    /// The structure as it is at `now`: the cached one where nothing changed, else parsed anew.
    fn current(&mut self, view: WordView<'_>, file: &RegionFile, word: u64, now: u64) -> Structure {
        let section = file.sections.section(SectionKind::Series);
        let stands = |structure: &Structure| {
            structure.word == word
                && now < structure.next_expiry
                && structure.used == parse::high_water(view, &file.sections)
                // Neither taking a free slot nor retiring a series touches the words above.
                && structure.open_slots.iter().all(|(slot, state)| {
                    parse::slot_state(view, section, *slot).bits() == *state
                })
        };
        if let Some(structure) = self.structure.as_ref().filter(|structure| stands(structure)) {
            return structure.clone();
        }
        let parsed = parse::parse(view, &file.sections, Some(now));
        // An equal schema stays the same `Arc`, so that plans made of it stay good, too.
        let schema = match &self.structure {
            Some(before) if *before.schema == parsed.schema => Arc::clone(&before.schema),
            _ => Arc::new(parsed.schema),
        };
        let plan = Arc::new(ReadPlan::new(&schema));
        let open_slots = Arc::new(parsed.open_slots);
        let Parsed { used, next_expiry, .. } = parsed;
        self.structure.insert(Structure { word, used, schema, plan, open_slots, next_expiry }).clone()
    }
}

/// A foreign string without control characters, which would move a terminal's cursor or break a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use crate::{Directories, ReadError};

    /// What a load from a missing page left behind in the map stays there, so the file is mapped anew.
    #[test]
    fn a_region_that_was_cut_and_mended_in_place_is_read_again() {
        let (made, copied) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let region = tachograph::Region::builder("mc-0").dir(made.path()).allow_disk_backed(true).build();
        let region = region.expect("a region");
        region.counter("app_served_total", "Requests served").expect("a counter").inc();
        region.close();
        // Another file: the writer's own map is not to be cut.
        let path = copied.path().join("mc-0.tacho");
        let bytes = std::fs::read(made.path().join("mc-0.tacho")).expect("the file");
        std::fs::write(&path, &bytes).expect("a copy");
        let regions = Directories::from_args(vec![copied.path().to_owned()]);
        let before = regions.scan().regions.remove(0);
        assert!(before.snapshot().is_ok());
        assert!(Arc::ptr_eq(&before, &regions.scan().regions[0]), "a whole one stays mapped");

        let file = File::options().write(true).open(&path).expect("the copy");
        let last = bytes.len() as u64 - 8;
        file.set_len(4096).expect("cut");
        assert_eq!(before.view().load(last), Some(0), "the guard puts zeros there");
        file.write_all_at(&bytes, 0).expect("mended");
        assert!(matches!(before.snapshot(), Err(ReadError::Cut { .. })));
        let after = regions.scan().regions.remove(0);
        assert!(after.snapshot().is_ok(), "mended in place, it is read again");
    }
}
