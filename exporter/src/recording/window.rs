//! A window of a recording: its samples one after the other, in memory that does not grow with the window.
//!
//! Made by [`super::RecordedRegion::window`]. It never fails as a whole: a block that is torn or damaged gives what is good
//! of it, and says so in [`Window::problems`].

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use super::block::{self, BlockReader};
use super::decoder::{Ended, Sample};
use super::library::Block;
use crate::directory::Problem;

/// Samples from one moment to another.
///
/// ```no_run
/// use tachograph_exporter::recording::Recordings;
/// let recordings = Recordings::open("/var/lib/tacho".as_ref())?;
/// for region in recordings.named("mc-0") {
///     let mut window = region.window(0, u64::MAX);
///     while let Some(sample) = window.next_sample() {
///         println!("{} {} series", sample.realtime_ns, sample.snapshot.schema.series.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Window {
    from_ns: u64,
    to_ns: u64,
    /// Blocks still to be read, each with the moment from which on finer ones know better.
    blocks: VecDeque<(Block, u64)>,
    current: Option<Current>,
    sample: Option<Sample>,
    gap_ns: Option<u64>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    reader: BlockReader,
    until_ns: u64,
}

/// A pause between two samples is a gap where it is longer than so many intervals.
const GAP: u64 = 3;

impl Window {
    pub(crate) fn new(tiers: &BTreeMap<u64, Vec<Block>>, from_ns: u64, to_ns: u64) -> Self {
        // The finest tier first: a coarser one counts only before it.
        let mut until_ns = u64::MAX;
        let mut blocks = VecDeque::new();
        for tier in tiers.values() {
            let starts: Vec<u64> = tier.iter().map(|block| block.origin.start_realtime_ns).collect();
            for (index, block) in tier.iter().enumerate().rev() {
                let start = block.origin.start_realtime_ns;
                let end = starts.get(index + 1).copied().unwrap_or(u64::MAX);
                if start <= to_ns && end >= from_ns && start < until_ns {
                    blocks.push_front((block.clone(), until_ns));
                }
            }
            until_ns = until_ns.min(starts.into_iter().min().unwrap_or(u64::MAX));
        }
        Self { from_ns, to_ns, blocks, current: None, sample: None, gap_ns: None, problems: Vec::new() }
    }

    /// The next sample; `None` at the end of the window.
    pub fn next_sample(&mut self) -> Option<&Sample> {
        let before = self.sample.take().map(|sample| {
            let times = (sample.monotonic_ns, sample.interval_ns);
            if let Some(current) = &mut self.current {
                current.reader.recycle(sample);
            }
            times
        });
        loop {
            let Some(current) = &mut self.current else {
                let (block, until_ns) = self.blocks.pop_front()?;
                match block::open(&block.path) {
                    Ok(Some(reader)) => self.current = Some(Current { path: block.path, reader, until_ns }),
                    // Dropped since it was listed: what it held is gone.
                    Ok(None) => {}
                    Err(error) => self.problems.push(Problem { path: block.path, error: error.to_string() }),
                }
                continue;
            };
            match current.reader.next_tick() {
                Ok(Some((time, ..))) if time < self.from_ns => {}
                Ok(Some((time, monotonic_ns, lost))) if time <= self.to_ns && time < current.until_ns => {
                    let sample = current.reader.sample(lost);
                    self.gap_ns = before.and_then(|(before, interval_ns)| {
                        let pause = monotonic_ns.saturating_sub(before);
                        (pause > interval_ns.max(sample.interval_ns).saturating_mul(GAP)).then_some(pause)
                    });
                    return Some(self.sample.insert(sample));
                }
                Ok(ended_or_past) => {
                    if let (None, Some(Ended::Torn(good))) = (ended_or_past, current.reader.ended()) {
                        let error = format!(
                            "torn after {good} bytes: the recorder died while it wrote, or the file is damaged; what is \
                             before that was read"
                        );
                        self.problems.push(Problem { path: current.path.clone(), error });
                    }
                    self.current = None;
                }
                Err(error) => {
                    let problem = Problem { path: current.path.clone(), error: error.to_string() };
                    self.problems.push(problem);
                    self.current = None;
                }
            }
        }
    }

    /// How long nothing was recorded just before the sample given last, in nanoseconds; `None` where the samples are as
    /// close as they were meant to be, and for the first one.
    #[must_use]
    pub const fn gap_ns(&self) -> Option<u64> {
        self.gap_ns
    }

    /// What could not be read so far.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
