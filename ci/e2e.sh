#!/usr/bin/env bash
# What users do, with the real binaries: demo, crash, scrape by a real Prometheus, bad input, kill -9.
# Two tests at a time: they start processes and compare rates, and more at once only measures the machine.
set -euo pipefail
source "$(dirname "$0")/env.sh"
for tool in promtool prometheus; do
    need "$tool" "./ci/install.sh"
done

cargo build --workspace --bins
cargo test -p tachograph-tests --no-fail-fast -- --test-threads=2
echo "e2e: all tests passed"
