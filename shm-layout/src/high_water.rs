//! The high-water marks of families and series: what is appended below them stands whole.
//!
//! [`append`] is how a family comes into a region, [`HighWater::load`] how a reader learns of it. Called by the writer's
//! registration and by every reader. Generic over the word, so that the model checker runs this very code
//! (`ci/loom.sh`). The caller of `append` holds the mutex under which the process registers; readers hold nothing.

use std::sync::atomic::Ordering;

use crate::{Word, load_acquire};

/// How far the tables of families and series are filled.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use tachograph_layout::{HighWater, append};
/// let (families, series) = (AtomicU64::new(0), AtomicU64::new(0));
/// append((&families, &series), HighWater { families: 1, series: 3 }, || {}, || {});
/// assert_eq!(HighWater::load(&families, &series), HighWater { families: 1, series: 3 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HighWater {
    /// Series slots in use.
    pub series: u64,
    /// Families in use.
    pub families: u64,
}

impl HighWater {
    /// Loads both marks, so that every series below the one finds its family below the other. What a file says is not
    /// to be trusted: the caller takes both into their capacities.
    pub fn load<W: Word>(families_used: &W, series_used: &W) -> Self {
        // SYNC(series-used): every slot below the mark was published, and its family before it.
        let series = load_acquire(series_used);
        // SYNC(families-used): loaded after the series, so that each of them finds its family.
        let families = load_acquire(families_used);
        Self { series, families }
    }
}

/// Appends one family and its series: `family` publishes the family's record (by [`crate::publish`], its strings stored
/// before), `series` the records of all its series. `marks` are `families_used` and `series_used`, `used` what they are
/// afterwards. A reader meets no series without its family, and below a mark no slot that is not published.
pub fn append<W: Word>(marks: (&W, &W), used: HighWater, family: impl FnOnce(), series: impl FnOnce()) {
    let (families_used, series_used) = marks;
    family();
    // SYNC(families-used): a reader that finds a series below its high-water mark finds the series' family.
    families_used.store(used.families, Ordering::Release);
    series();
    // SYNC(series-used): below this mark every slot was published.
    series_used.store(used.series, Ordering::Release);
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::atomic::AtomicU64;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;
    use crate::{explore, publish, read_published};

    const LIVE: u64 = 2;

    /// Room for two families of one series each. A family's record is its state and its name; a series' is its state,
    /// its family and its label, which stands in the strings.
    struct Region {
        /// The names registered so far: what the process knows, under its mutex.
        registry: Mutex<Vec<u64>>,
        families: [[AtomicU64; 2]; 2],
        series: [[AtomicU64; 2]; 2],
        strings: [AtomicU64; 2],
        families_used: AtomicU64,
        series_used: AtomicU64,
    }

    impl Region {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                registry: Mutex::new(Vec::new()),
                families: Default::default(),
                series: Default::default(),
                strings: Default::default(),
                families_used: AtomicU64::new(0),
                series_used: AtomicU64::new(0),
            })
        }

        /// Get-or-create under the mutex, as registration does it.
        fn create(&self, name: u64) -> usize {
            let mut names = self.registry.lock().expect("no panic");
            if let Some(index) = names.iter().position(|known| *known == name) {
                return index;
            }
            let index = names.len();
            names.push(name);
            let (families, series) = (index as u64 + 1, index as u64 + 1);
            self.strings[index].store(name * 10, Ordering::Relaxed);
            append(
                (&self.families_used, &self.series_used),
                HighWater { series, families },
                // SYNC(family-publish): as registration does.
                || publish(|n| self.families[index].get(n), &[LIVE, name]),
                // SYNC(series-publish): as registration does.
                || publish(|n| self.series[index].get(n), &[LIVE, index as u64 + 1]),
            );
            index
        }

        fn read(&self) {
            let used = HighWater::load(&self.families_used, &self.series_used);
            assert!(used.families >= used.series, "no series without its family: {used:?}");
            for index in 0..used.families as usize {
                let mut family = [0; 2];
                // SYNC(family-publish): as a reader does.
                assert_eq!(read_published(|n| self.families[index].get(n), &mut family), Some(()));
                let string = self.strings[index].load(Ordering::Relaxed);
                assert_eq!((family[0], family[1] * 10), (LIVE, string), "a family below the mark is whole");
            }
            for (index, slot) in self.series.iter().enumerate() {
                let mut series = [0; 2];
                // SYNC(series-publish): as a reader does.
                assert_eq!(read_published(|n| slot.get(n), &mut series), Some(()));
                if series[0] == LIVE || (index as u64) < used.series {
                    assert_eq!(series, [LIVE, index as u64 + 1], "a series is whole, and below the mark it is there");
                    let family = self.families[index][0].load(Ordering::Relaxed);
                    assert_eq!(family, LIVE, "its family came before it");
                    assert_ne!(self.strings[index].load(Ordering::Relaxed), 0, "and so did its labels");
                }
            }
        }
    }

    fn two_registrants(first: u64, second: u64) {
        explore(move || {
            let region = Region::new();
            let registrants = [first, second].map(|name| {
                let region = Arc::clone(&region);
                thread::spawn(move || region.create(name))
            });
            region.read();
            let found = registrants.map(|registrant| registrant.join().expect("no panic"));
            assert_eq!(found[0] == found[1], first == second, "one name, one family");
            region.read();
            let used = HighWater::load(&region.families_used, &region.series_used);
            assert_eq!(used.families, if first == second { 1 } else { 2 });
        });
    }

    /// MODELS(series-used), MODELS(families-used), MODELS(series-publish), MODELS(family-publish).
    #[test]
    fn create_against_create_of_other_families() {
        two_registrants(7, 8);
    }

    /// As above, for the same name.
    #[test]
    fn create_against_create_of_one_family() {
        two_registrants(7, 7);
    }
}
