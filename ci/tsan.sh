#!/usr/bin/env bash
# The tests of layout, writer and the library that reads regions under ThreadSanitizer: a race on anything that is no
# atomic. Some minutes; not part of ci/test.sh. What is reported and no race is listed in ci/tsan.suppressions, each with
# its proof.
set -euo pipefail
source "$(dirname "$0")/env.sh"
source ci/sanitized.sh

# Without std's sources: what the compiler and the linker need to tell the sanitizer of std's locks.
std_as_it_comes() {
    need gcc "apt install gcc"
    need nm "apt install binutils"
    local folder="$root/target/thread/std" library symbols name pattern symbol wrapped word defined=()
    mkdir -p "$folder"
    library=$(echo "$nightly"/lib/rustlib/"$(rustc -vV | sed -n 's/^host: //p')"/lib/libstd-*.so)
    symbols=$(nm -D --defined-only "$library" | awk '{ print $3 }')
    flags+=" -Cprefer-dynamic"
    wrapped="__tsan_atomic_thread_fence __tsan_atomic64_fetch_sub __tsan_atomic32_fetch_sub"
    while read -r name pattern; do
        symbol=$(grep -E "$pattern" <<<"$symbols") && [ "$(wc -l <<<"$symbol")" = 1 ] || {
            echo "tsan: not one function of std is like $pattern ($name of ci/tsan_std.c), in $library" >&2
            exit 1
        }
        defined+=("-D$name=$symbol")
        wrapped+=" $symbol"
    done <<'FUNCTIONS'
MUTEX 3sys4sync5mutex5futex.*5Mutex14lock_contended$
READ 3sys4sync6rwlock5futex.*6RwLock14read_contended$
WRITE 3sys4sync6rwlock5futex.*6RwLock15write_contended$
WAIT 3sys4sync7condvar5futex.*7Condvar4wait$
WAIT_TIMEOUT 3sys4sync7condvar5futex.*7Condvar12wait_timeout$
ONCE 3sys4sync4once5futex.*4Once4call$
BARRIER 3std4sync7barrier.*7Barrier4wait$
SCOPE_END 3std6thread6scoped.*9ScopeData29decrement_num_running_threads$
FUNCTIONS
    gcc -std=c11 -O1 -fPIC -Wall -Werror "${defined[@]}" -c -o "$folder/tsan_std.o" ci/tsan_std.c
    for word in $wrapped; do
        flags+=" -Clink-arg=-Wl,--wrap=$word"
    done
    flags+=" -Clink-arg=$folder/tsan_std.o"
    # What std does by itself, in code that the sanitizer did not see: its calls of memcpy and free alone would stand there.
    suppressions="$folder/suppressions"
    {
        cat ci/tsan.suppressions
        echo "called_from_lib:$(basename "$library")"
        # libtest comes compiled too, linked into each test: its channel of results, what it hands to the thread of a test, and
        # the end of a thread that returns nothing, whose code the tests share with it. Named by types of libtest and std
        # that no stack of a test or of its threads has.
        echo "race:^core::profiling::compiler_copy::<core::mem::maybe_uninit::MaybeUninit<test::event::CompletedTest>"
        echo "race:^<alloc::sync::Arc<std::sync::poison::mutex::Mutex<core::option::Option<test::run_test::{closure#0}>>> as core::ops::drop::Drop>::drop$"
        echo "race:^<alloc::sync::Arc<std::thread::scoped::ScopeData> as core::ops::drop::Drop>::drop$"
        # std's list of the threads' stacks, where a test has an allocator of its own, by which std's code frees.
        echo "race:^<alloc::collections::btree::*stack_overflow::thread_info::ThreadInfo"
    } >"$suppressions"
}

# Best with the standard library built for it too. Where its sources are missing, as std comes, in a library of its own:
# ci/tsan_std.c tells the sanitizer what std's compiled code orders.
flags="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
suppressions="$root/ci/tsan.suppressions"
build_std=()
if has_std_sources; then
    echo "tsan: with the standard library built for it"
    build_std=(-Zbuild-std)
else
    echo "tsan: with the standard library as it comes: what std's own compiled code reads and writes (all that is"
    echo "tsan: neither generic nor inlined: formatting, paths, files) is not looked at. For that too:"
    echo "tsan: rustup component add rust-src --toolchain nightly"
    std_as_it_comes
fi

# The tests fork, and a forked child of a process with threads must go on. A SIGBUS that the guard passes on must end the
# process as it would without the sanitizer, whose own handler would exit instead.
export TSAN_OPTIONS="suppressions=$suppressions die_after_fork=0 handle_sigbus=0 ${TSAN_OPTIONS:-}"
planted thread "$flags" "planted::planted" <<'PROGRAM'
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

#[test]
fn racing() {
    for thread in [1, 2].map(|value| std::thread::spawn(move || planted(value))) {
        thread.join().expect("it ends");
    }
}
PROGRAM
# Not compile_fail, which starts the compiler and has no threads; nor hostile and lying files, which one thread reads a
# hundred thousand times: they are for ci/asan.sh and ci/fuzz.sh.
sanitized thread "$flags" "${build_std[@]}" \
    -p tachograph-layout -p tachograph -p tachograph-exporter -p tachograph-tests --no-default-features --lib \
    --test archive --test groups --test histograms --test open --test other_kinds --test registration \
    --test starting --test starting_over --test threads \
    --test reading --test threads_under_readers --test histogram_threads -- --skip hostile --skip lying
echo "tsan: no race"
