//! Adopting: a region that continues the counters and histograms of the one that a dead process left under its name.
//!
//! A start reads the predecessor ([`Predecessor`]), stores all of its totals into the new region's section of carried
//! families before that has its name, and hands them to this file's [`Adoption`]. Registration and the slots of open
//! families take a series' total from it ([`Sets::take`]) and store it into lane 0 before they publish the series; each is
//! taken once. What stands in the region is never read back. Nothing here is for a hot path.

pub(crate) mod kept;
mod predecessor;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

use tachograph_layout::{CarriedEntry, LaneOffset, Section, SectionKind, WriterMap, carried_entries};

pub(crate) use predecessor::Predecessor;

use crate::fail_point::FailPoint;
use crate::register::Request;
use crate::start::Started;

/// What became of the totals of the region that this one continues: given by [`crate::Region::adopted`].
///
/// ```
/// use tachograph::{OnExisting, Region};
/// let dir = tempfile::tempdir_in("/dev/shm")?;
/// let builder = Region::builder("mc-0").dir(dir.path()).on_existing(OnExisting::Adopt);
/// let region = builder.clone().build()?;
/// assert!(region.adopted().is_none()); // nothing was there
/// region.counter("app_served_total", "Requests served")?.add(41);
/// region.counter("app_old_total", "Of an older build")?;
/// region.close();
/// let region = builder.build()?;
/// let served = region.counter("app_served_total", "Requests served")?;
/// served.inc();
/// assert_eq!(served.get(), 42);
/// let adopted = region.adopted().unwrap();
/// assert_eq!((adopted.taken, adopted.restarts), (1, 1));
/// assert_eq!(adopted.left, ["app_old_total"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The region that is continued.
    pub predecessor: [u8; 16],
    /// How often the lineage was continued, this time included.
    pub restarts: u64,
    /// Series that began with the predecessor's total.
    pub taken: u64,
    /// Series of open families that are registered: each waits for its label set to be taken again.
    pub waiting: u64,
    /// Series that nothing registered matches (yet).
    pub unmatched: u64,
    /// The families of these, by name.
    pub left: Vec<String>,
    /// Series that no process took over in more than one life and that found no room any more, among them label sets of open
    /// families beyond the slots that these had: their totals end here.
    pub dropped: u64,
}

/// The totals that a region continues, for the life of the process.
#[derive(Debug)]
pub(crate) struct Adoption {
    region: String,
    map: &'static WriterMap,
    section: Section,
    predecessor: [u8; 16],
    restarts: u64,
    dropped: u64,
    families: HashMap<&'static str, Vec<Sets>>,
    taken: AtomicU64,
    /// Registrations and totals taken so far, and what housekeeping found at its last tick.
    stirred: AtomicU64,
    seen: AtomicU64,
    quiet_ticks: AtomicU64,
    said: AtomicBool,
}

/// The totals of one family, by label block.
#[derive(Debug)]
pub(crate) struct Sets {
    entry: CarriedEntry<'static>,
    /// Whether the family is registered and open: then what is left may be taken at any time.
    open: AtomicBool,
    /// Indices into the entry's series: those that were not taken.
    free: Mutex<HashMap<&'static str, usize>>,
}

/// A series' total, taken: stored by [`Adoption::store`], then marked by [`Adoption::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total {
    pub(crate) created_realtime_ns: u64,
    cells: &'static [u64],
    at: u64,
}

/// What must be the same, beside the name, for a family to be continued.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Likeness<'a> {
    kind: u32,
    number: u32,
    label_names: &'a str,
    bounds: &'a [u64],
    exponential: (i32, u64, u64),
    scale: u64,
    cells: u32,
}

fn likeness<'a>(entry: &CarriedEntry<'a>) -> Likeness<'a> {
    let record = &entry.record;
    Likeness {
        kind: record.kind,
        number: record.number,
        label_names: entry.label_names,
        bounds: entry.bounds,
        exponential: (record.schema, record.range_lower, record.range_upper),
        scale: record.scale,
        cells: record.cells_per_series,
    }
}

/// Ticks without a registration after which what was left is told.
const QUIET_TICKS: u64 = 10;
/// Names that one line of the log tells.
const NAMES_TOLD: usize = 8;

impl Adoption {
    /// Of what was read and stored in the section of a region that has its name now. Leaked: handles of open families
    /// look label sets up in it for the life of the process.
    pub(crate) fn new(started: &Started, predecessor: Predecessor) -> &'static Self {
        let words: &'static [u64] = predecessor.words.leak();
        let mut families: HashMap<&'static str, Vec<Sets>> = HashMap::new();
        // What was made by `append_to` reads without an error.
        for entry in carried_entries(words).map_while(Result::ok) {
            let free = entry.series.iter().enumerate().map(|(index, set)| (set.labels, index)).collect();
            let sets = Sets { open: AtomicBool::new(false), free: Mutex::new(free), entry };
            families.entry(sets.entry.name).or_default().push(sets);
        }
        Box::leak(Box::new(Self {
            region: started.name.clone(),
            map: started.map,
            section: started.layout.section(SectionKind::Carried),
            predecessor: predecessor.uuid,
            restarts: predecessor.restarts.saturating_add(1),
            dropped: predecessor.dropped,
            families,
            taken: AtomicU64::new(0),
            stirred: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            quiet_ticks: AtomicU64::new(0),
            said: AtomicBool::new(false),
        }))
    }

    /// The totals of the family that is being registered.
    pub(crate) fn of(&'static self, request: &Request<'_>) -> Option<&'static Sets> {
        self.stirred.fetch_add(1, Relaxed);
        let names = request.label_names.join(",");
        let (schema, lower, upper) = request.shape.exponential.unwrap_or((0, 0.0, 0.0));
        let wanted = Likeness {
            kind: request.kind.to_wire(),
            number: request.number.to_wire(),
            label_names: &names,
            bounds: &request.shape.bounds,
            exponential: (schema, lower.to_bits(), upper.to_bits()),
            scale: request.shape.scale.to_bits(),
            cells: request.shape.cells,
        };
        let sets = self.families.get(request.desc.name.as_str())?;
        let sets = sets.iter().find(|sets| likeness(&sets.entry) == wanted)?;
        sets.open.store(request.open.is_some(), Relaxed);
        Some(sets)
    }

    /// Stores a total into the cells of a series that is not published: lane 0's, which are zero as all others are.
    pub(crate) fn store(&self, total: Total, first_cell: u64) {
        let Some(shared) = LaneOffset::new(0) else { return };
        for (cell, value) in (first_cell..).zip(total.cells) {
            if let Some(block) = self.map.lane_block::<1>(cell, 1) {
                // Relaxed: the state word that is stored next publishes it, so a reader finds the total or no series.
                block.series(0).cell::<0>().at(shared).store(*value, Relaxed);
            }
        }
        FailPoint::TotalStored.pass();
    }

    /// Notes in the region that a total is in a series of it, now that this is published. Until then who adopts this
    /// region takes the total from its section; from then on from the series, even once its slot is another's.
    pub(crate) fn mark(&self, total: Total) {
        FailPoint::TotalPublished.pass();
        if let Some(word) = self.map.word(self.section.offset + total.at * 8) {
            // Release: not before the series is published and in use. No reader's Acquire belongs to it, since it is read of the dead
            // only: what a killed thread stored is there in the order of its program.
            word.store(1, Release);
        }
        FailPoint::TotalMarked.pass();
        self.taken.fetch_add(1, Relaxed);
        self.stirred.fetch_add(1, Relaxed);
    }

    /// What became of the totals so far.
    pub(crate) fn adopted(&self) -> Adopted {
        let mut adopted = Adopted {
            predecessor: self.predecessor,
            restarts: self.restarts,
            taken: self.taken.load(Relaxed),
            waiting: 0,
            unmatched: 0,
            left: Vec::new(),
            dropped: self.dropped,
        };
        for sets in self.families.values().flatten() {
            let (free, name) = (sets.lock().len() as u64, sets.entry.name);
            // Of a closed family that is registered, what is left are values that its labels have no more.
            if sets.open.load(Relaxed) {
                adopted.waiting += free;
            } else if free > 0 {
                adopted.unmatched += free;
                adopted.left.push(name.to_owned());
            }
        }
        adopted.left.sort_unstable();
        adopted.left.dedup();
        adopted
    }

    /// Called at each tick: tells what was left, once nothing was registered for a while.
    pub(crate) fn tick(&self) {
        let stirred = self.stirred.load(Relaxed);
        let quiet = if self.seen.swap(stirred, Relaxed) == stirred && stirred > 0 {
            self.quiet_ticks.fetch_add(1, Relaxed) + 1
        } else {
            self.quiet_ticks.store(0, Relaxed);
            0
        };
        if quiet >= QUIET_TICKS {
            self.say();
        }
    }

    /// Tells in one line what was continued and what was left; once.
    pub(crate) fn say(&self) {
        if self.said.swap(true, Relaxed) {
            return;
        }
        let adopted = self.adopted();
        let (region, taken, waiting) = (self.region.as_str(), adopted.taken, adopted.waiting);
        if adopted.left.is_empty() {
            tracing::info!(region, taken, waiting, "the counters of the region before are continued");
            return;
        }
        // Out of a file: nothing of it reaches a terminal as it is.
        let names = adopted
            .left
            .iter()
            .take(NAMES_TOLD)
            .map(|name| name.escape_debug().to_string())
            .collect::<Vec<_>>()
            .join(" ");
        tracing::warn!(
            region,
            taken,
            waiting,
            left = adopted.unmatched,
            families = adopted.left.len(),
            names,
            "counters of the region before were not continued: nothing registered has their name, labels, kind and buckets; \
             they wait in the region for a process that has"
        );
    }
}

impl Sets {
    /// The total of the series with this label block, where it was not taken yet. For whoever is about to publish it.
    pub(crate) fn take(&self, block: &str) -> Option<Total> {
        let index = self.lock().remove(block)?;
        let set = self.entry.series.get(index)?;
        Some(Total { created_realtime_ns: set.record.created_realtime_ns, cells: set.cells, at: set.at })
    }

    /// When the family was first registered.
    pub(crate) const fn created_realtime_ns(&self) -> u64 {
        self.entry.record.created_realtime_ns
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
