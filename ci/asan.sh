#!/usr/bin/env bash
# The tests of layout, writer and the library that reads regions, its guard against SIGBUS included, under AddressSanitizer:
# an access outside of what is mapped or allocated, or after it was freed. Some minutes; not part of ci/test.sh.
# `ci/fuzz.sh` has hostile files read under it as well.
set -euo pipefail
source "$(dirname "$0")/env.sh"
source ci/sanitized.sh

# A SIGBUS that the guard passes on must end the process as it would without the sanitizer. Leaks are not looked for: what a
# region is made of lives as long as the process, by design, and a test that drops its handles leaves it behind.
export ASAN_OPTIONS="handle_sigbus=0 detect_leaks=0 ${ASAN_OPTIONS:-}"
planted address -Zsanitizer=address "AddressSanitizer: heap-buffer-overflow" <<'PROGRAM'
//! Reads beyond what is allocated.
#[test]
fn planted() {
    let words = vec![1_u64; 8];
    let beyond = std::hint::black_box(words.as_ptr().wrapping_add(8));
    std::hint::black_box(unsafe { beyond.read_volatile() });
}
PROGRAM
# Not compile_fail, which starts the compiler and reads no region.
sanitized address -Zsanitizer=address \
    -p tachograph-layout -p tachograph -p tachograph-exporter -p tachograph-tests --no-default-features --lib \
    --test hostile --test hostile_view \
    --test archive --test groups --test histograms --test open --test other_kinds --test registration \
    --test starting --test starting_over --test threads \
    --test reading --test fuzz_replay --test rendering --test threads_under_readers --test histogram_threads
echo "asan: nothing found"
