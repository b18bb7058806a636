//! The window of the watermarks: which of a series' two halves observations go to, and how it is turned.
//!
//! Housekeeping turns it, one thread at a time; whoever records loads it. Called by `housekeeping.rs` and
//! `watermark.rs`. Generic over the word, so that the model checker runs this very code (`ci/loom.sh`).

use std::sync::atomic::Ordering;

use tachograph_layout::Word;

/// The current window's number; its observations go to half `number & 1`.
#[inline]
pub(crate) fn current<W: Word>(window: &W) -> u64 {
    // SYNC(watermark-window): whoever sees the new number sees its cells cleared.
    window.load(Ordering::Acquire)
}

/// Turns to the window with this number, a later one: `clear` stores 0, Relaxed, to the cells of the halves that it and
/// those left out between make stale. The caller holds what turning is done under.
pub(crate) fn turn<W: Word>(window: &W, number: u64, clear: impl FnOnce(&[u64])) {
    // After a gap (a suspended machine) what the other half holds is older than the window before this one.
    let following = number == window.load(Ordering::Relaxed) + 1;
    clear(if following && number & 1 == 0 {
        &[0]
    } else if following {
        &[1]
    } else {
        &[0, 1]
    });
    // SYNC(watermark-window): after this store observations go to the cells cleared above.
    window.store(number, Ordering::Release);
}

/// Raises a cell that only the calling thread stores to, and housekeeping's zeros; says whether `bits` is larger than
/// what was there.
#[inline]
pub(crate) fn raise_own<W: Word>(cell: &W, bits: u64) -> bool {
    let larger = bits > cell.load(Ordering::Relaxed);
    if larger {
        cell.store(bits, Ordering::Relaxed);
    }
    larger
}

/// Run by `ci/loom.sh`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;
    use tachograph_layout::explore;

    use super::*;

    /// MODELS(watermark-window): a value recorded in the new window is neither measured by an old peak nor cleared.
    #[test]
    fn what_is_recorded_in_a_new_window_stands() {
        explore(|| {
            let window = Arc::new(AtomicU64::new(4));
            // Half 1 holds the peak of window 3, half 0 that of window 4.
            let halves = Arc::new([AtomicU64::new(40), AtomicU64::new(90)]);
            let (seen, raised) = (Arc::clone(&window), Arc::clone(&halves));
            // The recorder is the one that is spawned: the checker remembers the last access to a word only, and `turn` loads
            // it before it stores, so that a recorder that came first would never be made to come second.
            let recorder = thread::spawn(move || {
                let number = current(&*seen);
                raise_own(&raised[(number & 1) as usize], 50);
                number
            });
            turn(&*window, 5, |stale| stale.iter().for_each(|half| halves[*half as usize].store(0, Ordering::Relaxed)));
            let number = recorder.join().expect("no panic");
            let left = [0, 1].map(|half: usize| halves[half].load(Ordering::Relaxed));
            assert_eq!(left, if number == 5 { [40, 50] } else { [50, 0] });
        });
    }
}
