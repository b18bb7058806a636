#!/usr/bin/env bash
# The compiler's and clippy's warnings are errors here, in tests, benches and examples too: a warning that stays is
# one that nobody reads. The lints themselves stand in Cargo.toml.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need cargo-clippy "rustup component add clippy"

cargo clippy --workspace --all-targets -- -D warnings
# What stands behind a feature that the workspace never has.
cargo clippy -p tachograph-tests --bins --features fail-points -- -D warnings
cargo clippy -p tachograph --features fail-points -- -D warnings
# What an application links that takes regions into its own registry: the workspace always has the server, too.
cargo clippy -p tachograph-exporter --lib --no-default-features --features collector -- -D warnings
echo "lint: no warnings"
