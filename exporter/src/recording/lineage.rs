//! The recording of one region while it lives: a block in the making for each tier.
//!
//! Called by the recorder's thread. A tick that can't be written is lost and counted, in the block as in the stats; the next
//! one is told as a difference from the last that was written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::block::BlockName;
use super::config::Tier;
use super::encoder::{Encoder, Observation};
use super::facts;
use super::origin::Origin;
use super::proc::Watched;
use super::store::{Store, Writing};
use crate::RegionReader;

/// Blocks that a tier's span is cut into: what is dropped at a time.
const BLOCKS_A_TIER: u32 = 8;

/// One region's recording.
#[derive(Debug)]
pub(crate) struct Lineage {
    pub(crate) reader: Arc<RegionReader>,
    pub(crate) watched: Watched,
    /// Its last sample was taken: the writer is dead.
    pub(crate) finished: bool,
    tiers: Vec<TierState>,
}

#[derive(Debug)]
struct TierState {
    tier: Tier,
    /// Ticks of the recorder between two samples of this tier.
    every: u64,
    block: Option<OpenBlock>,
    /// The tick that was written last.
    last: Option<u64>,
}

#[derive(Debug)]
struct OpenBlock {
    writing: Writing,
    encoder: Encoder,
    /// When it was begun, on the monotonic clock.
    begun_ns: u64,
}

impl Lineage {
    pub(crate) fn new(reader: Arc<RegionReader>, tiers: &[Tier]) -> Self {
        let finest = tiers.first().map_or(Duration::from_secs(1), |tier| tier.interval);
        let state = |tier: &Tier| TierState {
            tier: *tier,
            every: (tier.interval.as_nanos() / finest.as_nanos().max(1)).max(1) as u64,
            block: None,
            last: None,
        };
        Self { reader, watched: Watched::default(), finished: false, tiers: tiers.iter().map(state).collect() }
    }

    /// Writes what was seen at a tick to the tiers whose turn it is; to all of them where it is the `last`. Gives the bytes
    /// and the samples written.
    pub(crate) fn write(
        &mut self,
        tick: u64,
        seen: &Observation<'_>,
        last: bool,
        store: &mut Store,
    ) -> (u64, u64, io::Result<()>) {
        let (mut bytes, mut samples, mut result) = (0, 0, Ok(()));
        let predecessor = self.reader.predecessor_uuid();
        for state in &mut self.tiers {
            let due = state.last.is_none_or(|before| tick / state.every > before / state.every);
            if !(due || last) {
                continue;
            }
            match state.write(tick, seen, predecessor, store) {
                Ok(written) => (bytes, samples) = (bytes + written, samples + 1),
                Err(error) => result = Err(error),
            }
            if last {
                state.end(store);
            }
        }
        (bytes, samples, result)
    }

    /// Ends all blocks.
    pub(crate) fn end(&mut self, store: &mut Store) {
        self.tiers.iter_mut().for_each(|state| state.end(store));
    }
}

impl TierState {
    fn write(
        &mut self,
        tick: u64,
        seen: &Observation<'_>,
        predecessor: [u8; 16],
        store: &mut Store,
    ) -> io::Result<u64> {
        let step = self.last.map_or(1, |last| tick / self.every - last / self.every);
        let lost = step.saturating_sub(1);
        let span = u64::try_from((self.tier.keep / BLOCKS_A_TIER).as_nanos()).unwrap_or(u64::MAX);
        let full = |block: &OpenBlock| {
            block.writing.torn
                || block.writing.is_removed()
                || block.writing.len >= store.block_bytes()
                || seen.monotonic_ns.saturating_sub(block.begun_ns) >= span
        };
        if self.block.as_ref().is_some_and(full) {
            self.end(store);
        }
        let mut bytes = Vec::new();
        if let Some(block) = &mut self.block {
            if block.encoder.tick(seen, lost, &mut bytes).is_some() {
                store.append(&mut block.writing, &bytes, seen.realtime_ns)?;
                block.encoder.kept();
                self.last = Some(tick);
                return Ok(bytes.len() as u64);
            }
            self.end(store);
            bytes.clear();
        }
        let region = &seen.snapshot.region;
        let interval_ns = u64::try_from(self.tier.interval.as_nanos()).unwrap_or(u64::MAX);
        let interval_ms = interval_ns / 1_000_000;
        store.expire(region.uuid, interval_ms, self.tier.keep, seen.realtime_ns);
        let origin = Origin {
            sequence: store.next_sequence(region.uuid, interval_ms),
            start_realtime_ns: seen.realtime_ns,
            start_monotonic_ns: seen.monotonic_ns,
            ..Origin::of(region, predecessor, interval_ns, facts::COUNT)
        };
        let mut encoder = Encoder::begin(&origin, &mut bytes);
        // From nothing, every structure is a change.
        let large = || io::Error::other("it has more series or cells than a recording may tell");
        encoder.tick(seen, lost, &mut bytes).ok_or_else(large)?;
        let name = BlockName { region: region.name.clone(), uuid: region.uuid, interval_ms, sequence: origin.sequence };
        let writing = store.begin(name, &bytes, seen.realtime_ns)?;
        encoder.kept();
        self.block = Some(OpenBlock { writing, encoder, begun_ns: seen.monotonic_ns });
        self.last = Some(tick);
        Ok(bytes.len() as u64)
    }

    fn end(&mut self, store: &mut Store) {
        if let Some(mut block) = self.block.take() {
            let mut bytes = Vec::new();
            Encoder::end(&mut bytes);
            if !block.writing.torn {
                // Without its last frame a block is as good.
                let _ = store.append_end(&mut block.writing, &bytes);
            }
            store.end(&block.writing);
        }
    }
}
