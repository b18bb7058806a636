#!/usr/bin/env bash
# What may know what: the edges between crates, the few files with unsafe code, both ends of every synchronisation, and
# no trace of the machine that a file was written on. Each was decided once; this notices when one is lost by accident.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need git "apt-get install git"

failed=0
fail() {
    printf 'boundaries: %s\n' "$*" >&2
    failed=1
}

# The exporter's library, without features, knows neither the writer nor the example, and brings no runtime along.
exporter=$(cargo tree -p tachograph-exporter --no-default-features --edges normal,build --prefix none --format '{p}')
for crate in tachograph meeting-controller tokio axum prometheus; do
    if grep -qE "^$crate v" <<<"$exporter"; then
        fail "tachograph-exporter --no-default-features depends on $crate: cargo tree -p tachograph-exporter --no-default-features -i $crate"
    fi
done
grep -qE '^tachograph-layout v' <<<"$exporter" || fail "cargo tree of tachograph-exporter was not understood"

# Who takes the collector into an application gets the registry's crate, and no server, runtime or command line.
collector=$(cargo tree -p tachograph-exporter --no-default-features --features collector --edges normal,build --prefix none \
    --format '{p}')
for crate in tachograph meeting-controller tokio axum hyper clap procfs; do
    if grep -qE "^$crate v" <<<"$collector"; then
        fail "tachograph-exporter's feature collector depends on $crate: cargo tree -p tachograph-exporter --no-default-features --features collector -i $crate"
    fi
done
grep -qE '^prometheus v' <<<"$collector" || fail "cargo tree of tachograph-exporter's feature collector was not understood"

# Fail points are the torture's alone: by default nothing in the workspace depends on them.
features=$(cargo tree --workspace --edges normal,build,dev --prefix none --format '{p} {f}' | grep -E '^fail v|^tachograph v.*fail-points' || true)
[ -z "$features" ] || fail "the writer is built with fail points: cargo tree --workspace -i fail"

# The layout stands on four crates.
layout=$(cargo tree -p tachograph-layout --depth 1 --edges normal,build --prefix none --format '{p}' | sed 1d |
    cut -d' ' -f1 | sort -u | tr '\n' ' ')
[ "$layout" = "bytemuck memmap2 rustix thiserror " ] ||
    fail "tachograph-layout depends on: $layout(allowed: bytemuck memmap2 rustix thiserror)"

# The derives know the writer by the names they write only.
ours=$(cargo tree -p tachograph-macros --edges normal,build --prefix none --format '{p}' | sed 1d |
    grep -E '^(tachograph[a-z-]*|meeting-controller) v' || true)
[ -z "$ours" ] || fail "tachograph-macros depends on: $ours"

# Who turns the layer for `tracing` on gets what a layer needs, and not what prints and filters logs.
layer=$(cargo tree -p tachograph --features tracing-layer --edges normal --prefix none --format '{p} {f}' |
    sed -nE 's/^tracing-subscriber v[^ ]* ([^ ]*).*/\1/p' | sort -u)
[ "$layer" = alloc,registry,sharded-slab,std,thread_local ] ||
    fail "tachograph's feature tracing-layer builds tracing-subscriber with: $layer (allowed: registry and what that needs)"

# Peers are compared with in benches only; only the exporter's server may use one of them, for its own metrics. What they
# show is compared with in tests: for that, and by that crate's tests alone, one of them may be used there too.
for peer in prometheus-client metriken measured metrics-exporter-prometheus; do
    users=$(grep -lE "^$peer\b" -- */Cargo.toml */*/Cargo.toml | grep -vE '^(benches|tests)/' || true)
    [ -z "$users" ] || fail "$peer is a dependency of $users; peers belong to benches only"
done
peers=$(cargo tree -p tachograph-tests --edges normal,build --prefix none --format '{p}' |
    grep -E '^(prometheus-client|metriken|measured|metrics-exporter-prometheus) v' || true)
[ -z "$peers" ] || fail "tachograph-tests depends on $peers beyond its tests"
peers=$(cargo tree -p tachograph-tests --edges dev --depth 1 --prefix none --format '{p}' |
    grep -E '^(prometheus-client|metriken|measured) v' || true)
[ -z "$peers" ] || fail "the tests depend on $peers; only metrics-exporter-prometheus is compared with there"

# Unsafe code stands in these files, and `allow(unsafe_code)` before the modules of these files.
unsafe_files='shm-layout/src/cells.rs shm-layout/src/map.rs writer/src/process.rs exporter/src/guard.rs tests/src/raw.rs'
unsafe_files+=" $(printf 'writer/src/process/%s.rs ' exit fatal frames thread)"
while IFS= read -r file; do
    case " $unsafe_files " in *" $file "*) continue ;; esac
    # Code, not comments; the word in a lint's name (unsafe_code, unsafe_op_in_unsafe_fn) is none.
    if rows=$(sed -E 's@//.*@@' "$file" | grep -nE '(^|[^a-z_])unsafe *(\{|\(|fn |impl[ <]|trait |extern |$)'); then
        fail "unsafe code in $file, line ${rows%%:*}; it may stand in: $unsafe_files"
    fi
    if rows=$(grep -nE -A1 '(allow|expect)\((.*, *)?unsafe_code' "$file"); then
        while IFS= read -r module; do
            [ -n "$module" ] || continue
            here="$(dirname "$file")/$module.rs"
            case " $unsafe_files " in *" $here "*) ;; *) fail "$file allows unsafe code in $here" ;; esac
        done < <(sed -nE 's/^[0-9]+[-:] *(pub(\([a-z]+\))? )?mod ([a-z_]+);.*/\3/p' <<<"$rows")
        allows=$(grep -cE '(allow|expect)\(' <<<"$rows")
        modules=$(grep -cE '^[0-9]+-.*mod [a-z_]+;' <<<"$rows" || true)
        [ "$allows" = "$modules" ] || fail "$file allows unsafe code for something that is not a module"
    fi
done < <(tree_files '*.rs')

# A synchronisation has two ends, and both say which it is; and a model.
ci/synchronisations.sh || failed=1

# Paths of some machine, or of a folder beside the tree, mean nothing to whoever clones it. The patterns are written so
# that they do not match themselves.
rows=$(tree_files | grep -vE '^Cargo\.lock$' | xargs grep -nIE '\.\./share[d]|/wor[k]/|/roo[t]/|/home/[a-z]|/tm[p]/bash_job' || true)
[ -z "$rows" ] || fail "paths of one machine: $(head -n 5 <<<"$rows")"

[ "$failed" = 0 ] || exit 1
echo "boundaries: edges, $(wc -w <<<"$unsafe_files") files with unsafe code, synchronisations, paths: as they should be"
