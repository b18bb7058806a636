//! Makes the bytes of one block: header, structure, and a frame a tick.
//!
//! Called by the recorder, once for each region and tier. It writes nothing itself: what it gives is appended to a file
//! whole, and counts only once that went well ([`Encoder::kept`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Facts;
use super::activity::{self, Slot};
use super::facts;
use super::frame::{self, Kind};
use super::origin::Origin;
use super::structure::{MOST_WORK, Structure};
use super::wire::{put, put_signed};
use super::words;
use crate::evidence::Activity;
use crate::schema::Schema;
use crate::snapshot::Snapshot;

/// What was seen of a region at one tick.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    /// When: nanoseconds since the Unix epoch.
    pub(crate) realtime_ns: u64,
    /// When, on the monotonic clock.
    pub(crate) monotonic_ns: u64,
    /// Its values.
    pub(crate) snapshot: &'a Snapshot,
    /// What its actors are doing, by slot.
    pub(crate) activities: &'a [Activity],
    /// What was sampled beside.
    pub(crate) facts: Facts,
}

/// One block in the making.
#[derive(Debug)]
pub(crate) struct Encoder {
    state: State,
    /// What the state is once the bytes given last are written.
    next: Option<State>,
}

#[derive(Debug, Clone)]
struct State {
    /// The schema of the snapshot that the structure was made of.
    schema: Arc<Schema>,
    structure: Arc<Structure>,
    words: Vec<u64>,
    realtime_ns: u64,
    monotonic_ns: u64,
    /// What the block costs its reader so far.
    work: u64,
}

impl Encoder {
    /// Begins a block: gives its first bytes.
    pub(crate) fn begin(origin: &Origin, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&frame::MAGIC);
        let json = serde_json::to_vec(origin).unwrap_or_default();
        frame::put(out, Kind::Origin, &json, false);
        let structure = Structure::empty(facts::COUNT);
        let state = State {
            schema: Arc::default(),
            words: vec![0; structure.words()],
            structure: Arc::new(structure),
            realtime_ns: origin.start_realtime_ns,
            monotonic_ns: origin.start_monotonic_ns,
            work: 0,
        };
        Self { state, next: None }
    }

    /// Appends a tick; `lost` is how many were left out before it. `None` where this block can't hold it: its structure
    /// is no change of the one before, so a new block has to be begun, or it is larger than any recording may tell.
    pub(crate) fn tick(&mut self, seen: &Observation<'_>, lost: u64, out: &mut Vec<u8>) -> Option<()> {
        let before = &self.state;
        let structure = self.structure(seen)?;
        let mut content = Vec::new();
        let carried = if Arc::ptr_eq(&structure, &before.structure) {
            None
        } else {
            before.structure.encode_change(&structure, &mut content);
            frame::put(out, Kind::Structure, &content, true);
            content.clear();
            Some(before.structure.carry(&structure, &before.words))
        };
        let words = gather(seen, &structure);
        let change = if carried.is_some() { before.structure.cost() } else { 0 };
        let work = before.work + words.len() as u64 + change;
        if before.work > 0 && work > MOST_WORK / 2 {
            return None;
        }
        put_signed(&mut content, seen.realtime_ns.wrapping_sub(before.realtime_ns).cast_signed());
        put_signed(&mut content, seen.monotonic_ns.wrapping_sub(before.monotonic_ns).cast_signed());
        put(&mut content, lost);
        words::encode(&mut content, carried.as_ref().unwrap_or(&before.words), &words, &structure.floats);
        frame::put(out, Kind::Tick, &content, true);
        let schema = Arc::clone(&seen.snapshot.schema);
        let (realtime_ns, monotonic_ns) = (seen.realtime_ns, seen.monotonic_ns);
        self.next = Some(State { schema, structure, words, realtime_ns, monotonic_ns, work });
        Some(())
    }

    /// The bytes of the last tick were written.
    pub(crate) fn kept(&mut self) {
        if let Some(next) = self.next.take() {
            self.state = next;
        }
    }

    /// Ends the block.
    pub(crate) fn end(out: &mut Vec<u8>) {
        frame::put(out, Kind::End, &[], false);
    }

    /// The structure of what was seen: the one before where nothing changed.
    fn structure(&self, seen: &Observation<'_>) -> Option<Arc<Structure>> {
        let before = &self.state.structure;
        let known = before.actors.iter().zip(seen.activities);
        let same_actors = before.actors.len() == seen.activities.len()
            && known.into_iter().all(|(slot, activity)| slot.is_of(activity));
        let doing = seen.activities.iter().filter_map(|activity| activity.doing.as_ref());
        let new: BTreeSet<&String> = doing.filter(|doing| !before.doing_index.contains_key(*doing)).collect();
        if Arc::ptr_eq(&self.state.schema, &seen.snapshot.schema) && same_actors && new.is_empty() {
            return Some(Arc::clone(before));
        }
        let doings = before.doings.iter().chain(new).cloned().collect();
        let actors: Vec<Slot> = seen.activities.iter().map(Slot::of).collect();
        let next = Structure::of(&seen.snapshot.schema, actors, doings, facts::COUNT);
        (before.leads_to(&next) && next.fits()).then(|| Arc::new(next))
    }
}

/// All words of a tick.
fn gather(seen: &Observation<'_>, structure: &Structure) -> Vec<u64> {
    let mut words = Vec::with_capacity(structure.words());
    for family in &seen.snapshot.schema.families {
        for series in seen.snapshot.schema.series.range(family.series.clone()) {
            seen.snapshot.append_cells(&series, &mut words);
        }
    }
    debug_assert_eq!(words.len(), structure.series_words(), "each series has the cells of its kind");
    words.resize(structure.series_words(), 0);
    for activity in seen.activities {
        let doing = activity.doing.as_ref().and_then(|doing| structure.doing_index.get(doing));
        let cells: [u64; activity::WORDS] =
            [doing.copied().unwrap_or(0), activity.since_monotonic_ns, activity.mailbox_depth, activity.handled];
        words.extend_from_slice(&cells);
    }
    words.extend_from_slice(&facts::words(&seen.snapshot.region, &seen.facts));
    words
}
