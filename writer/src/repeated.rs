//! A number of the process that only rises, and that every region repeats for its readers: how many lanes may hold values,
//! and whether the crash hooks are on.
//!
//! It rises while another thread adds a region: whoever comes second must tell that region's readers. Called by
//! `process.rs` only. Generic over its word, so that the model checker runs this very code (`ci/loom.sh`). It neither
//! allocates nor blocks.

use std::sync::atomic::Ordering;

use tachograph_layout::Word;

/// The process's own number; never falls.
#[derive(Debug)]
pub(crate) struct Repeated<W>(W);

impl<W: Word> Repeated<W> {
    /// Starts with a word that holds what new regions say.
    pub(crate) const fn new(word: W) -> Self {
        Self(word)
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes it at least `least`, and known to the readers of every region. `regions` walks the list of regions, loading with
    /// Acquire, and gives of each the word that its readers look at.
    pub(crate) fn raise<'a, I>(&self, least: u64, regions: impl FnOnce() -> I)
    where
        I: Iterator<Item = &'a W>,
        W: 'a,
    {
        // SYNC(attach): of this and the one in `attached`, one comes first. The second finds what was done before the
        // first: the region in the list, or the number raised.
        let number = self.0.fetch_max(least, Ordering::AcqRel).max(least);
        for region in regions() {
            region.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// Makes the number so far known to the readers of a region that was just put into the list, with Release.
    pub(crate) fn attached(&self, region: &W) {
        // SYNC(attach): see `raise`. A load would not do: it may be done before the region is in the list.
        let number = self.0.fetch_max(0, Ordering::AcqRel);
        region.fetch_max(number, Ordering::Relaxed);
    }
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;
    use tachograph_layout::explore;

    use super::*;

    /// One region; it is in the list once `listed` is not 0.
    struct Process {
        used: Repeated<AtomicU64>,
        listed: AtomicU64,
        region: AtomicU64,
    }

    /// MODELS(attach): a region is added while two threads claim lanes.
    #[test]
    fn every_region_learns_of_every_lane() {
        explore(|| {
            let process = Arc::new(Process {
                used: Repeated::new(AtomicU64::new(1)),
                listed: AtomicU64::new(0),
                region: AtomicU64::new(1),
            });
            let threads = [1, 2].map(|lane| {
                let process = Arc::clone(&process);
                thread::spawn(move || {
                    let regions =
                        || (process.listed.load(Ordering::Acquire) != 0).then_some(&process.region).into_iter();
                    process.used.raise(lane + 1, regions);
                    lane
                })
            });
            process.listed.store(1, Ordering::Release);
            process.used.attached(&process.region);
            for thread in threads {
                let lane = thread.join().expect("no panic");
                assert!(process.region.load(Ordering::Relaxed) > lane, "readers of the region know lane {lane}");
            }
            assert_eq!((process.used.get(), process.region.load(Ordering::Relaxed)), (3, 3));
        });
    }
}
