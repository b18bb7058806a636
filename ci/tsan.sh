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
# With the standard library built for it: the slow path of std's locks stands there, and where it is not seen, each
# contended lock is reported as a race. Not compile_fail, which starts the compiler and has no threads; nor hostile files, which
# one thread reads: they are for ci/fuzz.sh.
sanitized thread -Zbuild-std \
    -p tachograph-layout -p tachograph -p tachograph-exporter -p tachograph-tests --no-default-features --lib \
    --test archive --test groups --test histograms --test open --test other_kinds --test registration \
    --test starting --test starting_over --test threads \
    --test reading --test threads_under_readers --test histogram_threads -- --skip hostile
echo "tsan: no race"
