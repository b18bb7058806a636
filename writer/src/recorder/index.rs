//! From a key of the `metrics` crate to its handle, without a lock: what every macro does at every call.
//!
//! A table with open addressing whose places are written once. It only grows: a larger table, which has all that the one
//! before had, is put behind that, and readers go to the last. Nothing is ever taken out or moved while a reader may look
//! at it, so that no reader announces itself and none is waited for. Inserting is for whoever holds the families' lock.

use std::sync::{Arc, OnceLock};

use tachograph_layout::lane_count;

use super::metrics::Key;
use crate::lane;

/// A key and the handles that are given out for it, one a lane: each is counted by its own word, so that threads do not
/// contend for the count of handles, which is raised and lowered at every call.
pub(super) struct Entry<H> {
    key: Key,
    make: Box<dyn Fn() -> H + Send + Sync>,
    by_lane: Box<[OnceLock<H>]>,
}

impl<H: Clone> Entry<H> {
    pub(super) fn new(key: &Key, make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        let by_lane = (0..lane_count().max(1)).map(|_| OnceLock::new()).collect();
        // Retained: its text must not be borrowed from whoever made it.
        Self { key: key.to_retained(), make: Box::new(make), by_lane }
    }

    /// The handle of the calling thread's lane. Made when it is first asked for.
    #[inline]
    pub(super) fn handle(&self) -> H {
        let mut lane = lane::current();
        if lane.is_shared() {
            lane = lane::claim();
        }
        match self.by_lane.get(lane.lane()).and_then(OnceLock::get) {
            Some(handle) => handle.clone(),
            None => self.first_handle(lane.lane()),
        }
    }

    #[cold]
    #[inline(never)]
    fn first_handle(&self, lane: usize) -> H {
        let made = (self.make)();
        // Made beforehand, so that the place is never found half initialized for longer than a move takes: a forked child
        // could wait for that in vain. Where another thread of the shared lane came first, this one is used once.
        if let Some(place) = self.by_lane.get(lane) {
            let _ = place.set(made.clone());
        }
        made
    }
}

/// The entries by key.
pub(super) struct Index<H>(Level<H>);

struct Level<H> {
    places: Box<[OnceLock<Arc<Entry<H>>>]>,
    /// The larger table that stands for this one since it was half full.
    next: OnceLock<Box<Self>>,
}

/// Places of the first table; a power of two.
const FIRST: usize = 1 << 10;

impl<H: Clone> Index<H> {
    pub(super) fn new() -> Self {
        Self(Level::new(FIRST))
    }

    /// The entry of a key. Where it was inserted by another thread just now it may be missing: look again under the lock.
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<&Entry<H>> {
        let level = self.last();
        // At least half of the places are empty, so this ends.
        for at in level.way(key) {
            match level.places[at].get() {
                Some(entry) if entry.key == *key => return Some(entry),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }

    /// Inserts an entry whose key is not in here. `len` is how many there are: only the lock's holder may call this.
    pub(super) fn insert(&self, entry: Entry<H>, len: usize) {
        let mut level = self.last();
        if (len + 1) * 2 > level.places.len() {
            let larger = Level::new(level.places.len() * 4);
            level.places.iter().filter_map(OnceLock::get).for_each(|entry| larger.put(Arc::clone(entry)));
            level = level.next.get_or_init(|| Box::new(larger));
        }
        level.put(Arc::new(entry));
    }

    #[inline]
    fn last(&self) -> &Level<H> {
        let mut level = &self.0;
        while let Some(next) = level.next.get() {
            level = next;
        }
        level
    }
}

impl<H> Level<H> {
    fn new(places: usize) -> Self {
        Self { places: (0..places).map(|_| OnceLock::new()).collect(), next: OnceLock::new() }
    }

    /// The places where a key may stand, in order.
    #[inline]
    fn way(&self, key: &Key) -> impl Iterator<Item = usize> + use<H> {
        let mask = self.places.len() - 1;
        // The hash was made without its last mixing; the best bits of the product are the upper ones.
        let first = (key.get_hash().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..=mask).map(move |step| (first + step) & mask)
    }

    fn put(&self, mut entry: Arc<Entry<H>>) {
        for at in self.way(&entry.key) {
            match self.places[at].set(entry) {
                Ok(()) => return,
                Err(back) => entry = back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Label;
    use super::*;

    #[test]
    fn every_key_is_found_again_while_the_table_grows() {
        let index = Index::new();
        let key = |n: usize| Key::from_parts(format!("name-{}", n % 7), vec![Label::new("n", n.to_string())]);
        for n in 0..5_000 {
            assert!(index.get(&key(n)).is_none());
            index.insert(Entry::new(&key(n), move || n), n);
            assert_eq!(index.get(&key(n)).map(Entry::handle), Some(n));
        }
        for n in 0..5_000 {
            assert_eq!(index.get(&key(n)).map(Entry::handle), Some(n));
        }
        assert_eq!(index.last().places.len(), 4 * 4 * FIRST);
    }

    #[test]
    fn readers_find_what_was_there_while_another_thread_inserts() {
        let index = Index::new();
        let key = |n: usize| Key::from_name(format!("name-{n}"));
        for n in 0..400 {
            index.insert(Entry::new(&key(n), move || n), n);
        }
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..50 {
                    assert!((0..400).all(|n| index.get(&key(n)).map(Entry::handle) == Some(n)));
                }
            });
            for n in 400..20_000 {
                index.insert(Entry::new(&key(n), move || n), n);
            }
            reader.join().expect("no panic");
        });
    }
}
