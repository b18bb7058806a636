//! Hostile region files: whatever the bytes, the reader and all that renders from it return, within bounds.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tachograph_fuzz::packed::Case;
use tachograph_fuzz::reading::Workbench;
use tachograph_fuzz::mutate::{self, Random};

thread_local! {
    static BENCH: RefCell<Workbench> = RefCell::new(Workbench::new());
}

fuzz_target!(|input: &[u8]| {
    BENCH.with_borrow_mut(|bench| bench.read(&Case::unpack(input)));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    // Now and then libFuzzer's own changes, which know what the program compared the input with.
    if random.below(3) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut case = Case::unpack(&data[..size]);
    for _ in 0..=random.below(4) {
        mutate::mutate(&mut case, &mut random);
    }
    let packed = case.pack();
    if packed.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..packed.len()].copy_from_slice(&packed);
    packed.len()
});
