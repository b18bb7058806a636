#!/usr/bin/env bash
# Every synchronisation between threads has a label, `SYNC(label)`, at both of its ends, and a model that names it,
# `MODELS(label)`: a test that ci/loom.sh runs under the model checker. Called by ci/boundaries.sh.
set -euo pipefail
source "$(dirname "$0")/env.sh"

# Those without a model, each with the reason. A new one belongs here only where the checker can't know what it is about.
unmodelled() {
    cat <<'LABELS'
opening      a lock around fork(2): what it orders is the kernel's doing; tests/tests/fork_starting.rs
turning      a lock over the turn of a window, which a forked child lets go; what is done under it has a model: watermark-window
recording    a lock in a signal handler, which orders only who records first; tests/tests/crash_slots.rs
guard-slot   between a thread and the handler of its own fault, by the kernel's signal and mmap; exporter/src/guard.rs
region-list  a list that only grows, by the one compare-exchange; its order with the lanes is attach, which has a model
ack-ceiling  the example's own bookkeeping for the crash tests, no part of a region; Tokio's Notify stands in it
ack-done     as ack-ceiling
LABELS
}

failed=0
fail() {
    printf 'synchronisations: %s\n' "$*" >&2
    failed=1
}

# The labels of `SYNC(label)` outside of models, as often as they stand there: a model's own words are no end.
ends() {
    while IFS= read -r file; do
        sed '/^#\[cfg(all(test, loom))\]/,$d' "$file"
    done < <(tree_files '*.rs') | grep -ohE 'SYNC\([a-z0-9-]+\)' | sed -E 's/^SYNC\((.*)\)$/\1/' | sort
}

synchronised=$(ends || true)
modelled=$(tree_files '*.rs' | xargs grep -ohE 'MODELS\([a-z0-9-]+\)' | sed -E 's/^MODELS\((.*)\)$/\1/' | sort -u || true)
excepted=$(unmodelled | cut -d' ' -f1 | sort)
[ -n "$synchronised" ] || fail "no SYNC(label) found at all"

while read -r count label; do
    [ "$count" -ge 2 ] || fail "SYNC($label) stands in one place only: label its other end"
    if ! grep -qxF "$label" <<<"$modelled"; then
        grep -qxF "$label" <<<"$excepted" ||
            fail "SYNC($label) has no model: write one over the generic word, and say MODELS($label) in its doc comment"
    elif grep -qxF "$label" <<<"$excepted"; then
        fail "$label has a model: take it off the list in $0"
    fi
done < <(uniq -c <<<"$synchronised")

for label in $modelled $excepted; do
    grep -qxF "$label" <<<"$synchronised" || fail "$label is modelled or excepted, and no SYNC($label) stands anywhere"
done

# A doc comment proves nothing: the word must stand before a test in a module that ci/loom.sh runs.
while IFS= read -r file; do
    awk -v file="$file" '
        /^#\[cfg\(all\(test, loom\)\)\]/ { models = 1 }
        /MODELS\([a-z0-9-]+\)/ { if (!models) { print file ":" NR ": MODELS outside a module of models"; bad = 1 } pending = NR }
        /^ *#\[test\]/ { pending = 0 }
        /^ *(pub(\([a-z]+\))? )?fn / { if (pending) { print file ":" pending ": MODELS before no test"; bad = 1 } pending = 0 }
        END { if (pending) { print file ":" pending ": MODELS before no test"; bad = 1 } exit bad }
    ' "$file" >&2 || failed=1
done < <(tree_files '*.rs' | xargs grep -lE 'MODELS\([a-z0-9-]+\)' || true)

# Nor does a model that the checker ran once: `explore` counts.
uncounted=$(tree_files '*.rs' | grep -vxF shm-layout/src/explore.rs | xargs grep -nF 'loom::model(' || true)
[ -z "$uncounted" ] || fail "a model is run by tachograph_layout::explore, which sees that there was more than one interleaving: $uncounted"

[ "$failed" = 0 ] || exit 1
echo "synchronisations: $(uniq <<<"$synchronised" | wc -l), each with both ends; $(wc -w <<<"$modelled") with a model, $(wc -w <<<"$excepted") excepted"
