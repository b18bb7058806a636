#!/usr/bin/env bash
# The API documentation builds without a warning: no broken link, nothing public without a word about it. And whoever
# meets a metric of the exporter's own finds in docs/OPERATIONS.md what it means. Examples are run by ci/unit.sh.
set -euo pipefail
source "$(dirname "$0")/env.sh"

RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" cargo doc --workspace --no-deps

metrics=$(grep -ohE '"tacho_[a-z_]+"' exporter/src/*_metrics.rs exporter/src/serve/*_metrics.rs | tr -d '"' | grep -vx 'tacho_region' | sort -u)
[ "$(wc -l <<<"$metrics")" -gt 20 ] || { echo "docs: few metrics found in exporter/src/*_metrics.rs" >&2 && exit 1; }
for metric in $metrics; do
    grep -qF "\`$metric\`" docs/OPERATIONS.md || { echo "docs: $metric is not explained in docs/OPERATIONS.md" >&2 && exit 1; }
done
echo "docs: built without a warning"
