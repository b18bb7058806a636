#!/usr/bin/env bash
# The one command that a developer, a reviewer and CI run: every check of the tree, each of which is a script that can
# be run by itself. Goes on after a failure, so that one run shows all of them. `./ci/test.sh lint unit` runs only those.
set -euo pipefail
source "$(dirname "$0")/env.sh"

checks=("$@")
[ $# -gt 0 ] || checks=(install format boundaries lint docs unit loom hot_path quiet_writes bench_smoke e2e)

passed=() failed=()
for check in "${checks[@]}"; do
    [ -x "ci/$check.sh" ] || {
        echo "test: there is no check ci/$check.sh" >&2
        exit 2
    }
    printf '\n=== %s\n' "$check"
    started=$SECONDS
    if "ci/$check.sh"; then
        passed+=("$check ($((SECONDS - started)) s)")
    else
        failed+=("$check")
        # Without the tools nothing after it says anything about the tree.
        [ "$check" != install ] || break
    fi
done

printf '\npassed: %s\n' "${passed[*]:-none}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[*]}"
    exit 1
fi
echo "test: all ${#passed[@]} checks passed in $SECONDS s"
