#!/usr/bin/env bash
# "It is a store": a million writes of every kind after `enter_thread` allocate nothing (neither in Rust nor in the C
# heap), make no system call and fault no page in. A run with a million rounds has as many of each as one with none.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need strace "apt-get install strace"
need valgrind "apt-get install valgrind"

rounds=1000000
cargo build --release --quiet -p tachograph-benches --bin million-writes
binary=target/release/million-writes
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Counting page faults may cause one itself.
faults() {
    "$binary" "$1" | sed -nE 's/^faults ([0-9]+) .*/\1/p'
}
none=$(faults 0)
all=$(faults $rounds)
echo "quiet_writes: $none page faults without a write, $all with $rounds rounds of 18 writes"
[ -n "$none" ] && [ "$none" = "$all" ] || { echo "quiet_writes: writes fault pages in" >&2 && exit 1; }

# The writing thread alone: housekeeping sleeps in another.
calls() {
    strace -o "$scratch/calls" "$binary" "$1" >"$scratch/out"
    # What printing and the clean-up ask for does not depend on the rounds; the length of the printed line does not count.
    wc -l <"$scratch/calls"
}
none=$(calls 0)
all=$(calls $rounds)
echo "quiet_writes: $none system calls without a write, $all with $rounds rounds"
[ "$none" = "$all" ] || { echo "quiet_writes: writes make system calls" >&2 && exit 1; }

allocations() {
    valgrind --tool=memcheck --leak-check=no --undef-value-errors=no --log-file="$scratch/heap" "$binary" "$1" >"$scratch/out"
    sed -nE 's/.*total heap usage: ([0-9,]+) allocs.*/\1/p' "$scratch/heap" | tr -d ,
}
# A tenth of the rounds: each instruction is interpreted.
none=$(allocations 0)
all=$(allocations $((rounds / 10)))
echo "quiet_writes: $none heap blocks without a write, $all with $((rounds / 10)) rounds"
[ -n "$none" ] && [ "$none" = "$all" ] || { echo "quiet_writes: writes allocate" >&2 && exit 1; }
