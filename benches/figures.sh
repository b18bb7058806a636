#!/usr/bin/env bash
# Everything that benches/RESULTS.md tells, measured again: the machine, every row in every mode, memory a series, the
# instructions of each hot path, and what a million writes allocate, ask of the system and fault in. Wants a quiet machine
# and some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --quiet -p tachograph-benches --bins
lscpu | grep -E 'Model name|^CPU\(s\)|L[123]' || true
uname -sr
rustc --version
uptime
target/release/tachograph-benches "$@"
target/release/memory
uptime
./ci/hot_path.sh
./ci/quiet_writes.sh
# Crowds of scrapers, over up to a million series.
cargo test --release -p tachograph-tests --test scrape_memory -- --ignored --exact long --nocapture
