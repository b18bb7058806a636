#!/usr/bin/env bash
# kill -9 at every fail point of the writer, and at any moment: the long form of tests/tests/fail_points.rs, and of
# tests/tests/lineage.rs for a line of regions that each continue the one before; they say what must hold after each. `./ci/torture.sh [KILLS [SEED]]`, by default 10000 kills and a seed of its own choice (printed, to
# repeat a run). Not part of ci/test.sh.
set -euo pipefail
source "$(dirname "$0")/env.sh"

kills=${1:-10000}
[[ $kills =~ ^[1-9][0-9]*$ ]] || {
    echo "usage: torture.sh [KILLS [SEED]]; KILLS is a number above 0, not \`$kills\`" >&2
    exit 2
}
export TACHOGRAPH_KILLS=$kills
[ $# -lt 2 ] || export TACHOGRAPH_SEED=$2

cargo test -p tachograph-tests --test fail_points --test lineage -- --ignored --exact long --nocapture
echo "torture: nothing lost, nothing half made"
