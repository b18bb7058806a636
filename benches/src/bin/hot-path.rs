//! What `ci/hot_path.sh` disassembles: a held counter raised in a user's crate, in a default release build.

use tachograph::{Counter, Region};

/// The symbol that is looked at.
#[inline(never)]
fn hot_path_in_the_executable(counter: Counter) {
    counter.inc();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let region = Region::private("hot-path")?;
    let counter = region.counter("bench_total", "Raised twice")?;
    for raise in [hot_path_in_the_executable, tachograph_benches::hot_path_in_a_library] {
        std::hint::black_box(raise as fn(Counter))(counter);
    }
    assert_eq!(counter.get(), 2);
    Ok(())
}
