//! What `ci/hot_path.sh` disassembles besides the binary: a counter raised in a library crate of an application. And what two
//! programs of this crate measure alike ([`recorder`]).
//!
//! There the compiler does not know yet that it ends up in an executable, so finding the thread's lane takes more
//! instructions than in the executable's own crate: `ci/hot_path.sh` says how many.

use tachograph::Counter;

/// Raises a held counter by 1.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let counter = region.counter("bench_total", "Raised once")?;
/// tachograph_benches::hot_path_in_a_library(counter);
/// assert_eq!(counter.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline(never)]
pub fn hot_path_in_a_library(counter: Counter) {
    counter.inc();
}

/// The code of the page for those who come from a peer, both sides of it, compiled and run: here, since the peers are
/// dependencies of this crate only.
#[doc = include_str!("../../docs/MIGRATING.md")]
#[cfg(doctest)]
pub struct Migrating;

pub mod recorder;
