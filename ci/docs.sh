#!/usr/bin/env bash
# The API documentation builds without a warning: no broken link, nothing public without a word about it.
# Its examples are run by ci/unit.sh.
set -euo pipefail
source "$(dirname "$0")/env.sh"

RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" cargo doc --workspace --no-deps
echo "docs: built without a warning"
