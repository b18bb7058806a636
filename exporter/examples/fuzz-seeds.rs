//! Writes the fuzz target's seeds, packed: `cargo run -p tachograph-exporter --example fuzz-seeds -- DIRECTORY`.
//!
//! Called by `ci/fuzz.sh`. The test `fuzz_replay` reads the same seeds without writing them anywhere.

use std::error::Error;
use std::path::Path;

#[allow(dead_code, reason = "each user of the builder needs another part of it")]
#[path = "../tests/reading/builder.rs"]
mod builder;
#[allow(dead_code, unreachable_pub, reason = "only packs; the fuzz crate uses it, too")]
#[path = "../../fuzz/src/packed.rs"]
mod packed;
#[path = "../tests/fuzz_replay/seeds.rs"]
mod seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: fuzz-seeds DIRECTORY")?;
    std::fs::create_dir_all(&folder)?;
    for (name, case) in seeds::all() {
        std::fs::write(Path::new(&folder).join(name), case.pack())?;
    }
    Ok(())
}
