//! Runs a model of a protocol in every interleaving, and sees to it that there was more than one.
//!
//! Called by the models of this crate and of the writer, which `ci/loom.sh` runs; in no other build. The checker explores
//! less than it seems to where the threads of a model meet in no word: a model that ran once proves no ordering.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `model` in every interleaving, and every reordering that the memory model allows.
///
/// # Panics
/// Where one of them panics, and where there was only one.
#[track_caller]
pub fn explore(model: impl Fn() + Send + Sync + 'static) {
    let interleavings = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&interleavings);
    loom::model(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let explored = interleavings.load(Ordering::Relaxed);
    assert!(explored > 1, "one interleaving shows nothing: let the threads of the model meet in a word");
}
