#!/usr/bin/env bash
# Runs the protocols that threads meet in under the model checker: every interleaving, and every reordering that the
# memory model allows. In a target folder of its own, since the flag changes what every crate is built of.
set -euo pipefail
source "$(dirname "$0")/env.sh"

export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=3
cargo test --quiet --release -p tachograph-layout -p tachograph --lib models
