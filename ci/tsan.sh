#!/usr/bin/env bash
# The tests of layout, writer and the library that reads regions under ThreadSanitizer: a race on anything that is no
# atomic. Some minutes; not part of ci/test.sh. What is reported and no race is listed in ci/tsan.suppressions, each with
# its proof.
set -euo pipefail
source "$(dirname "$0")/env.sh"
source ci/sanitized.sh

# The tests fork, and a forked child of a process with threads must go on. A SIGBUS that the guard passes on must end the
# process as it would without the sanitizer, whose own handler would exit instead.
export TSAN_OPTIONS="suppressions=$root/ci/tsan.suppressions die_after_fork=0 handle_sigbus=0 ${TSAN_OPTIONS:-}"
planted thread "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" "planted::planted" <<'PROGRAM'
//! Two threads that run at the same time write one word that is no atomic.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static mut WORD: u64 = 0;
static HERE: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
fn planted(value: u64) {
    HERE.fetch_add(1, Relaxed);
    while HERE.load(Relaxed) < 2 {
        std::thread::yield_now();
    }
    for _ in 0..1000 {
        // Nothing orders the two.
        unsafe { (&raw mut WORD).write_volatile(value) };
    }
}

fn main() {
    for thread in [1, 2].map(|value| std::thread::spawn(move || planted(value))) {
        thread.join().expect("it ends");
    }
}
PROGRAM
# With the standard library built for it: the slow path of std's locks stands there, and where it is not seen, each
# contended lock is reported as a race. Not compile_fail, which starts the compiler and has no threads; nor hostile and
# lying files, which one thread reads a hundred thousand times: they are for ci/asan.sh and ci/fuzz.sh.
has_std_sources || {
    echo "tsan: the sources of the standard library are missing; install them with: rustup component add rust-src --toolchain nightly" >&2
    exit 1
}
sanitized thread -Zsanitizer=thread -Zbuild-std \
    -p tachograph-layout -p tachograph -p tachograph-exporter -p tachograph-tests --no-default-features --lib \
    --test archive --test groups --test histograms --test open --test other_kinds --test registration \
    --test starting --test starting_over --test threads \
    --test reading --test threads_under_readers --test histogram_threads -- --skip hostile --skip lying
echo "tsan: no race"
