//! Reads one block, tick by tick, and gives each as a [`Sample`].
//!
//! Called by `window.rs`. The block may be the one that is being written, a copy of it, one that was torn by the death of
//! its recorder, or a forgery: what is good is read up to the first frame that is not, and that is told, not failed.

use std::io::{self, Read};
use std::sync::Arc;

use super::activity;
use super::facts::{self, Facts};
use super::frame::{Frames, Kind, Next};
use super::origin::Origin;
use super::structure::{MOST_WORK, Structure};
use super::wire::{Cursor, Malformed};
use super::words;
use crate::evidence::Activity;
use crate::region_info::RegionInfo;
use crate::snapshot::Snapshot;

/// A region as it was at one moment: what one tick of the recorder saw.
///
/// [`super::Window`] gives them out. The snapshot is as good as one of the region itself: every output renders from it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was taken: nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// When it was taken, on the monotonic clock of the machine that recorded it.
    pub monotonic_ns: u64,
    /// Nanoseconds between two samples, as the recorder meant it.
    pub interval_ns: u64,
    /// Ticks that the recorder left out just before, because it was late or could not write.
    pub lost: u64,
    /// Facts, structure and values of the region. The verdict is what the recorder saw then.
    pub snapshot: Snapshot,
    /// What the region's actors were doing, by slot.
    pub activities: Vec<Activity>,
    /// What was sampled beside the region.
    pub facts: Facts,
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In order.
    Sealed,
    /// Between two frames: it is being written, or its recorder died.
    Open,
    /// In the middle of a frame, after so many good bytes.
    Torn(u64),
}

/// A block, read from its beginning.
#[derive(Debug)]
pub(crate) struct Decoder<R> {
    frames: Frames<R>,
    origin: Origin,
    region: RegionInfo,
    structure: Structure,
    words: Vec<u64>,
    realtime_ns: u64,
    monotonic_ns: u64,
    spare: (Vec<u64>, Vec<u64>),
    /// What was spent of [`MOST_WORK`].
    work: u64,
    ended: Option<Ended>,
}

impl<R: Read> Decoder<R> {
    /// Reads a block's header; `None` where it has none that can be used. `len` is how long the block is.
    pub(crate) fn open(source: R, len: u64) -> io::Result<Option<Self>> {
        let Some(mut frames) = Frames::new(source, len)? else { return Ok(None) };
        let Next::Frame(Kind::Origin) = frames.next()? else { return Ok(None) };
        let Ok(origin) = Origin::read(&frames.content) else { return Ok(None) };
        let Ok(count) = usize::try_from(origin.facts) else { return Ok(None) };
        let structure = Structure::empty(count);
        Ok(Some(Self {
            frames,
            region: origin.region(),
            words: vec![0; structure.words()],
            structure,
            realtime_ns: origin.start_realtime_ns,
            monotonic_ns: origin.start_monotonic_ns,
            origin,
            spare: (Vec::new(), Vec::new()),
            work: 0,
            ended: None,
        }))
    }

    /// Which region it is of.
    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How it ended; `None` while there is more to read.
    pub(crate) const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Reads on to the next tick and gives when it was (realtime, monotonic) and how many were lost before it.
    pub(crate) fn next_tick(&mut self) -> io::Result<Option<(u64, u64, u64)>> {
        while self.ended.is_none() {
            let good = self.frames.read;
            if self.work > MOST_WORK {
                self.ended = Some(Ended::Torn(good));
                break;
            }
            match self.frames.next()? {
                Next::End => self.ended = Some(Ended::Open),
                Next::Torn => self.ended = Some(Ended::Torn(good)),
                Next::Frame(Kind::End) => self.ended = Some(Ended::Sealed),
                Next::Frame(Kind::Origin) => {}
                Next::Frame(Kind::Structure) => {
                    self.work = self.work.saturating_add(self.structure.cost());
                    let mut cursor = Cursor::new(&self.frames.content);
                    match self.structure.decode_change(&mut cursor, &self.words) {
                        Ok((structure, words)) => (self.structure, self.words) = (structure, words),
                        Err(_) => self.ended = Some(Ended::Torn(good)),
                    }
                }
                Next::Frame(Kind::Tick) => match self.tick() {
                    Ok(lost) => return Ok(Some((self.realtime_ns, self.monotonic_ns, lost))),
                    Err(_) => self.ended = Some(Ended::Torn(good)),
                },
            }
        }
        Ok(None)
    }

    fn tick(&mut self) -> Result<u64, Malformed> {
        self.work = self.work.saturating_add(self.words.len() as u64);
        let mut cursor = Cursor::new(&self.frames.content);
        let realtime_ns = self.realtime_ns.wrapping_add(cursor.signed()?.cast_unsigned());
        let monotonic_ns = self.monotonic_ns.wrapping_add(cursor.signed()?.cast_unsigned());
        let lost = cursor.number()?;
        words::decode(&mut cursor, &mut self.words, &self.structure.floats)?;
        (self.realtime_ns, self.monotonic_ns) = (realtime_ns, monotonic_ns);
        Ok(lost)
    }

    /// The tick that was read last, as a sample.
    pub(crate) fn sample(&mut self, lost: u64) -> Sample {
        let structure = &self.structure;
        let mut region = self.region.clone();
        let (mut lane, mut shared) = std::mem::take(&mut self.spare);
        let series = self.words.get(..structure.series_words()).unwrap_or_default();
        // Each series finds its words at its cell, whatever plane its kind stands in.
        for plane in [&mut lane, &mut shared] {
            plane.clear();
            plane.extend_from_slice(series);
        }
        let (activities, facts) =
            self.words.split_at_checked(structure.series_words()).map_or_else(Default::default, |(_, rest)| {
                let rest = rest.split_at_checked(structure.actors.len() * activity::WORDS).unwrap_or_default();
                let activities = structure.actors.iter().zip(rest.0.as_chunks::<{ activity::WORDS }>().0);
                let activities =
                    activities.map(|(slot, words)| slot.activity(words, &structure.doings, self.monotonic_ns));
                // A recorder of another version may have had more or fewer.
                let mut words = [0; facts::COUNT];
                words.iter_mut().zip(rest.1).for_each(|(word, found)| *word = *found);
                (activities.collect(), facts::read(&words, &mut region))
            });
        Sample {
            realtime_ns: self.realtime_ns,
            monotonic_ns: self.monotonic_ns,
            interval_ns: self.origin.interval_ns,
            lost,
            snapshot: Snapshot { region, schema: Arc::clone(&structure.schema), lane, shared },
            activities,
            facts,
        }
    }

    /// Takes a sample's buffers back, so that the next one allocates less.
    pub(crate) fn recycle(&mut self, sample: Sample) {
        self.spare = sample.snapshot.into_buffers();
    }
}
