#!/usr/bin/env bash
# Fuzzes the reader with hostile region files for SECONDS (an hour unless said), under AddressSanitizer. Ends with 1 on a
# finding, which stands in fuzz/artifacts/reader. The test command runs the same code over seeds, past findings and some
# hundred changed files on the stable compiler: exporter/tests/fuzz_replay.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need cargo-fuzz "cargo install cargo-fuzz"
need rustup "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
rustup toolchain list | grep -q '^nightly' || {
    echo "fuzz: the nightly compiler is missing; install it with: rustup toolchain install nightly --profile minimal" >&2
    exit 1
}

seconds=${1:-3600}
cargo run --quiet -p tachograph-exporter --no-default-features --example fuzz-seeds -- fuzz/corpus/reader
mkdir -p fuzz/artifacts/reader
before=$(find fuzz/artifacts/reader -type f | wc -l)
status=0
cargo +nightly fuzz run reader -- -max_total_time="$seconds" -max_len=400000 -timeout=20 -rss_limit_mb=4096 \
    -print_final_stats=1 || status=$?
after=$(find fuzz/artifacts/reader -type f | wc -l)
if [ "$status" != 0 ] || [ "$after" != "$before" ]; then
    echo "fuzz: findings in fuzz/artifacts/reader; mend, then keep the file in fuzz/regressions" >&2
    exit 1
fi
echo "fuzz: $seconds s without a finding"
