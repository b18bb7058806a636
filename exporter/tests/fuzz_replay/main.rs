//! What the fuzz target runs, run by the stable compiler: over its seeds, over every finding of the past, and over some
//! hundred changed files, the same at each run. `ci/fuzz.sh` goes on from there.

use std::path::Path;

use mutate::Random;
use packed::Case;
use reading::Workbench;

#[allow(dead_code, reason = "each user of the builder needs another part of it")]
#[path = "../reading/builder.rs"]
mod builder;
#[allow(unreachable_pub, reason = "the fuzz crate uses it, too")]
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;
#[allow(unreachable_pub, reason = "the fuzz crate uses it, too")]
#[path = "../../../fuzz/src/packed.rs"]
mod packed;
#[allow(unreachable_pub, reason = "the fuzz crate uses it, too")]
#[path = "../../../fuzz/src/reading.rs"]
mod reading;
mod seeds;

/// Changed files that are read. `TACHOGRAPH_FUZZ_CASES` makes it more.
const CASES: u64 = 200;

#[test]
fn every_seed_is_read_and_serves_its_series() {
    let mut bench = Workbench::new();
    for (name, case) in seeds::all() {
        let packed = case.pack();
        assert!(packed.len() < 300 << 10, "seed {name} has {} bytes", packed.len());
        let unpacked = Case::unpack(&packed);
        assert!(unpacked.bytes[4096..] == case.bytes[4096..], "seed {name} is the same unpacked");
        let outcome = bench.read(&unpacked);
        assert!(outcome.series.is_some_and(|series| series > 0), "seed {name}: {outcome:?}");
    }
}

#[test]
fn no_finding_of_the_past_comes_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    let mut bench = Workbench::new();
    let mut read = 0;
    for entry in std::fs::read_dir(&folder).expect("fuzz/regressions") {
        let path = entry.expect("an entry").path();
        bench.read(&Case::unpack(&std::fs::read(&path).expect("a finding")));
        read += 1;
    }
    assert!(read > 0, "{}: nothing there", folder.display());
}

#[test]
fn changed_files_are_read_within_bounds() {
    let cases = std::env::var("TACHOGRAPH_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let (seeds, mut bench) = (seeds::all(), Workbench::new());
    let mut served = 0;
    for seed in 0..cases {
        let mut random = Random::new(seed);
        let (name, case) = &seeds[random.below(seeds.len() as u64) as usize];
        let mut case = case.clone();
        let changes = 1 + random.below(12);
        for _ in 0..changes {
            mutate::mutate(&mut case, &mut random);
        }
        // As the fuzz target sees it, and as a finding would be kept.
        let packed = case.pack();
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.read(&Case::unpack(&packed))));
        match read {
            Ok(outcome) => served += u64::from(outcome.series.is_some_and(|series| series > 0)),
            Err(panic) => {
                let kept = std::env::temp_dir().join(format!("tachograph-finding-{seed}"));
                std::fs::write(&kept, &packed).expect("room for the finding");
                eprintln!("seed {name}, change {seed}: kept as {}; see fuzz/README.md", kept.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(served > cases / 2, "only {served} of {cases} changed files were still served: the changes are too coarse");
}
