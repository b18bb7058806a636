#!/usr/bin/env bash
# One look for all sources, so that a diff shows what changed and nothing else.
# Mend with: cargo fmt --all
set -euo pipefail
source "$(dirname "$0")/env.sh"
need cargo-fmt "rustup component add rustfmt"

cargo fmt --all --check
echo "format: every source is formatted"
