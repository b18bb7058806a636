#!/usr/bin/env bash
# Everything that one process can test by itself: unit, property and documentation tests of every crate.
# What needs two processes, a crash or a real Prometheus is run by ci/e2e.sh.
set -euo pipefail
source "$(dirname "$0")/env.sh"

cargo test --workspace --exclude tachograph-tests --no-fail-fast
# Examples behind the feature that only the torture's victim turns on.
cargo test -p tachograph --features fail-points --doc fail_point
echo "unit: all tests passed"
