//! The flight recorder: a thread that samples every living region at each tick and keeps what it saw.
//!
//! Started by `tacho serve`. It reads regions as every reader does and takes nothing from the threads that serve: its
//! directories, readers and buffers are its own. What it can't write it counts, says once, and tries again at the next tick.
//! A panic in it (a fault of ours) costs the region that it came with its recording, or the tick; it is counted, and shown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::archives::Archives;
use super::cases::Cases;
use super::config::RecorderConfig;
use super::encoder::Observation;
use super::fault::caught;
use super::lineage::Lineage;
use super::oom::OomWatch;
use super::stats::RecorderStats;
use super::store::{Store, StoreError};
use crate::case::Shelf;
use crate::json::Now;
use crate::listing::chain;
use crate::{Directories, RegionReader, Verdict};

/// Ticks with a fault in a row after which the recorder gives up.
pub(super) const FAULTS_IN_A_ROW: u64 = 10;

/// Makes a thread panic where a test wants it.
#[cfg(test)]
pub(super) type Inject = Arc<dyn Fn(super::fault::Place<'_>) + Send + Sync>;

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// What the operator chose is wrong; all of it, joined by `; `.
    #[error("{0}")]
    Config(String),
    /// The directory does not serve.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its thread can't be started.
    #[error("the recorder's thread can't be started")]
    Thread(#[source] std::io::Error),
}

/// A recorder at work. Dropped, it ends its blocks in order.
///
/// ```
/// use tachograph_exporter::Directories;
/// use tachograph_exporter::recording::{Recorder, RecorderConfig};
/// let directory = tempfile::tempdir()?;
/// let config = RecorderConfig::new(directory.path().join("recorder"));
/// let recorder = Recorder::start(config, Directories::from_args(vec![directory.path().into()]))?;
/// assert_eq!(recorder.stats().counts().errors, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    stats: Arc<RecorderStats>,
    oom: Arc<OomWatch>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Checks the configuration, makes and locks the directory, and starts to sample.
    ///
    /// # Errors
    /// [`RecorderError`] naming what is wrong and what helps.
    pub fn start(config: RecorderConfig, directories: Directories) -> Result<Self, RecorderError> {
        Self::start_with(
            config,
            directories,
            #[cfg(test)]
            Arc::new(|_| {}),
        )
    }

    /// As [`Self::start`], with the faults that a test wants.
    pub(super) fn start_with(
        config: RecorderConfig,
        directories: Directories,
        #[cfg(test)] inject: Inject,
    ) -> Result<Self, RecorderError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(RecorderError::Config(problems.join("; ")));
        }
        let store = Store::open(&config.directory, config.max_bytes)?;
        let stats = Arc::new(RecorderStats::default());
        let oom = Arc::new(OomWatch::default());
        let shelf = Shelf::open(&store.cases());
        let handled = shelf.seen();
        let cases = Cases::start(
            &config.directory,
            shelf,
            Arc::clone(&stats),
            #[cfg(test)]
            Arc::clone(&inject),
        )
        .map_err(RecorderError::Thread)?;
        let (stop, stopped) = mpsc::channel();
        let sampler = Sampler {
            config,
            directories,
            store,
            stats: Arc::clone(&stats),
            oom: Arc::clone(&oom),
            lineages: HashMap::new(),
            failing: false,
            cases,
            handled,
            archives: Archives::default(),
            left_out: HashSet::new(),
            #[cfg(test)]
            inject,
        };
        let thread = std::thread::Builder::new()
            .name("tacho-recorder".to_owned())
            .spawn(move || sampler.run(&stopped))
            .map_err(RecorderError::Thread)?;
        Ok(Self { stats, oom, stop: Some(stop), thread: Some(thread) })
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> Arc<RecorderStats> {
        Arc::clone(&self.stats)
    }

    /// Which of the writers that it samples were killed for want of memory.
    #[must_use]
    pub fn oom(&self) -> Arc<OomWatch> {
        Arc::clone(&self.oom)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It catches its panics itself.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Sampler {
    config: RecorderConfig,
    directories: Directories,
    store: Store,
    stats: Arc<RecorderStats>,
    oom: Arc<OomWatch>,
    lineages: HashMap<[u8; 16], Lineage>,
    /// The last tick could not write; said once.
    failing: bool,
    cases: Cases,
    /// Regions whose death has a case, had one, or gets one.
    handled: HashSet<[u8; 16]>,
    archives: Archives,
    /// Regions with which this thread panicked: they are not sampled any more.
    left_out: HashSet<[u8; 16]>,
    #[cfg(test)]
    inject: Inject,
}

impl Sampler {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let interval = self.config.tiers.first().map_or(Duration::from_secs(1), |tier| tier.interval);
        let start = Instant::now();
        let (mut tick, mut faults) = (0_u64, 0);
        loop {
            let begun = Instant::now();
            match caught(|| self.tick(tick)) {
                Ok(()) => faults = 0,
                Err(fault) => {
                    self.faulted(&fault);
                    faults += 1;
                }
            }
            if faults >= FAULTS_IN_A_ROW {
                // `failing` stays as it is, for the metric.
                tracing::error!("the recorder gives up: nothing is recorded until `tacho serve` is started again");
                return;
            }
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            RecorderStats::add(&self.stats.busy_ns, took);
            RecorderStats::add(&self.stats.ticks, 1);
            // The next one on the grid that is still ahead; those that passed meanwhile are lost.
            let passed = (start.elapsed().as_nanos() / interval.as_nanos().max(1)) as u64;
            let next = passed.max(tick) + 1;
            RecorderStats::add(&self.stats.late, next - tick - 1);
            tick = next;
            let at = start + interval.saturating_mul(u32::try_from(tick).unwrap_or(u32::MAX));
            match stopped.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
        }
        for lineage in self.lineages.values_mut() {
            lineage.end(&mut self.store);
        }
    }

    /// A tick panicked: what was in its hands is not used again, and each region begins anew.
    fn faulted(&mut self, fault: &str) {
        RecorderStats::add(&self.stats.errors, 1);
        self.lineages.clear();
        let directory = self.config.directory.display();
        tracing::error!(%directory, fault, "a fault in the recorder: this tick is lost; please report it");
        self.failing = true;
        RecorderStats::set(&self.stats.failing, 1);
    }

    fn tick(&mut self, tick: u64) {
        #[cfg(test)]
        (self.inject)(super::fault::Place::Tick);
        if !self.store.stands() && !self.make_anew() {
            return;
        }
        let regions = self.directories.scan().regions;
        let mut failure = None;
        let mut seen = HashSet::new();
        for reader in regions {
            seen.insert(reader.uuid());
            if let Err(error) = self.sample_or_leave_out(tick, &reader) {
                failure = Some(error);
            }
        }
        self.left_out.retain(|uuid| seen.contains(uuid));
        // Their place was taken, or they are gone; what is held open still has their last values.
        let gone: Vec<[u8; 16]> = self.lineages.keys().filter(|uuid| !seen.contains(*uuid)).copied().collect();
        for uuid in gone {
            let Some(reader) = self.lineages.get(&uuid).map(|lineage| Arc::clone(&lineage.reader)) else { continue };
            // While its successor has the lock and not yet the name, it looks alive: its end is told by a later tick.
            let ended = !reader.verdict().is_ok_and(Verdict::is_alive);
            if let Err(error) = self.sample_or_leave_out(tick, &reader) {
                failure = Some(error);
            }
            if ended && let Some(mut lineage) = self.lineages.remove(&uuid) {
                lineage.end(&mut self.store);
            }
        }
        self.archived();
        self.say(failure);
        let living = self.lineages.values().filter(|lineage| !lineage.finished).count();
        RecorderStats::set(&self.stats.regions, living as u64);
        RecorderStats::set(&self.stats.bytes, self.store.bytes());
        RecorderStats::set(&self.stats.oldest_ns, self.store.oldest_ns().unwrap_or(0));
    }

    /// The directory was removed under the recorder: it is made again, and each region begins anew. Gives whether there is
    /// one to record to.
    fn make_anew(&mut self) -> bool {
        match Store::open(&self.config.directory, self.config.max_bytes) {
            Ok(store) => {
                let directory = self.config.directory.display();
                tracing::warn!(%directory, "it was removed while recording: it is made anew, and what it held is gone");
                self.store = store;
                self.lineages.clear();
                true
            }
            Err(error) => {
                RecorderStats::add(&self.stats.errors, 1);
                self.say(Some(chain(&error)));
                false
            }
        }
    }

    /// Samples one region; one that this thread panics with is sampled no more, so that the others are.
    fn sample_or_leave_out(&mut self, tick: u64, reader: &Arc<RegionReader>) -> Result<(), String> {
        if self.left_out.contains(&reader.uuid()) {
            if reader.verdict().is_ok_and(|verdict| !verdict.is_alive()) {
                self.died(reader);
            }
            return Ok(());
        }
        caught(|| self.sample(tick, reader)).unwrap_or_else(|fault| {
            RecorderStats::add(&self.stats.errors, 1);
            tracing::error!(
                region = %reader.name(),
                fault,
                "a fault in the recorder: this region is recorded no more, the others are; please report it"
            );
            self.left_out.insert(reader.uuid());
            if let Some(mut lineage) = self.lineages.remove(&reader.uuid()) {
                lineage.end(&mut self.store);
            }
            Ok(())
        })
    }

    /// Samples one region. Gives why it could not be done.
    fn sample(&mut self, tick: u64, reader: &Arc<RegionReader>) -> Result<(), String> {
        #[cfg(test)]
        (self.inject)(super::fault::Place::Sample(reader.name()));
        let uuid = reader.uuid();
        let known = self.lineages.get(&uuid);
        if known.is_some_and(|lineage| lineage.finished) {
            return Ok(());
        }
        if known.is_none() && !reader.verdict().is_ok_and(Verdict::is_alive) {
            // It died while nobody recorded.
            self.died(reader);
            return Ok(());
        }
        let snapshot = match reader.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                RecorderStats::add(&self.stats.errors, 1);
                // Damaged files are told by every scrape; here they are only not recorded.
                tracing::debug!(error = %chain(&error), "not recorded");
                return Ok(());
            }
        };
        let activities = reader.activities().map_or_else(|_| Vec::new(), |activities| activities.actors);
        let now = Now::read();
        let tiers = &self.config.tiers;
        let lineage = self.lineages.entry(uuid).or_insert_with(|| Lineage::new(Arc::clone(reader), tiers));
        let dead = !snapshot.region.verdict.is_alive();
        let mut facts = lineage.watched.sample(&snapshot.region);
        if let (false, Some(memory), Some(cgroup)) = (dead, &facts.memory, lineage.watched.cgroup()) {
            // It may have been killed before its cgroup was looked at: then that is no count of its life.
            if reader.verdict().is_ok_and(Verdict::is_alive) {
                self.oom.note(uuid, cgroup, memory.oom_kills);
            } else {
                facts.memory = None;
            }
        }
        let observation = Observation {
            realtime_ns: now.realtime_ns,
            monotonic_ns: now.monotonic_ns,
            snapshot: &snapshot,
            activities: &activities,
            facts,
        };
        let (bytes, samples, result) = lineage.write(tick, &observation, dead, &mut self.store);
        RecorderStats::add(&self.stats.written, bytes);
        RecorderStats::add(&self.stats.samples, samples);
        lineage.finished = dead;
        reader.recycle(snapshot);
        if dead {
            self.died(reader);
        }
        result.map_err(|error| {
            RecorderStats::add(&self.stats.errors, 1);
            error.to_string()
        })
    }

    /// Has a case written where a region's writer crashed; once for each.
    fn died(&mut self, reader: &Arc<RegionReader>) {
        if !self.handled.contains(&reader.uuid()) && reader.verdict().is_ok_and(|verdict| verdict == Verdict::Crashed) {
            self.handled.insert(reader.uuid());
            self.cases.write(reader);
        }
    }

    /// Deaths whose regions were archived before this thread saw them. Of one that it samples the last sample comes first.
    fn archived(&mut self) {
        for reader in self.archives.crashed(&self.directories, |uuid| self.lineages.contains_key(&uuid)) {
            self.died(&reader);
        }
    }

    /// Says once that it can't write, and once that it can again.
    fn say(&mut self, failure: Option<String>) {
        let directory = self.config.directory.display();
        match (&failure, self.failing) {
            (Some(error), false) => {
                tracing::warn!(%directory, %error, "nothing is recorded; it is tried again at each tick");
            }
            (None, true) => tracing::info!(%directory, "recording again"),
            _ => {}
        }
        self.failing = failure.is_some();
        // What is left out was told by itself, and is shown for as long as the region is there.
        RecorderStats::set(&self.stats.failing, u64::from(self.failing || !self.left_out.is_empty()));
    }
}
