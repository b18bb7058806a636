#!/usr/bin/env bash
# "May I put this in my hottest loop?": a write of any kind through a held handle, in a default release build, takes a
# bounded number of instructions besides the return, no call and no lock prefix. A refactoring that breaks that is seen
# here before any bench shows it.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need objdump "apt-get install binutils"

case $(uname -m) in
    x86_64) ;;
    *) echo "hot_path: reads x86-64 only; this is $(uname -m), where nothing was checked" && exit 0 ;;
esac

cargo build --release --quiet -p tachograph-benches --bin hot-path
binary=target/release/hot-path
"$binary"

listing=$(mktemp)
trap 'rm -f "$listing"' EXIT
objdump --disassemble --no-show-raw-insn --demangle "$binary" >"$listing"

# check SYMBOL MOST JUMPS: follows every way through the function. The hot path is each way that returns by itself; ways
# that leave through a call or a jump out of the function are the cold path, which stands behind conditional jumps: no way
# passes more than JUMPS of them.
check() {
    awk -v symbol="$1" -v most="$2" -v most_jumps="$3" '
        /^[0-9a-f]+ <.*>:$/ { inside = index($0, symbol) > 0; next }
        inside && match($0, /^ *[0-9a-f]+:\t/) {
            split($0, parts, /:\t/)
            address = parts[1]; gsub(/ /, "", address)
            text[++count] = parts[2]
            at[address] = count
        }
        # Walks from instruction `i`, having done `done` of them and passed `jumps` conditional jumps.
        function walk(i, done, jumps, trail,    words, op, target) {
            while (i <= count && ++steps < 10000) {
                split(text[i], words, /[ \t]+/)
                op = words[1]; target = words[2]
                trail = trail "\n    " text[i]
                if (op ~ /^ret/) { finish(done, jumps, trail); return }
                if (op ~ /^call/) return
                if (text[i] ~ /(^|[ \t])lock[ \t]/ || op ~ /^xchg/ && text[i] ~ /\(/) {
                    fail("a lock prefix on a way to the return:" trail)
                }
                done++
                if (op ~ /^jmp/) {
                    if (!(target in at)) return
                    i = at[target]
                } else if (op ~ /^j/) {
                    if (target in at) walk(at[target], done, jumps + 1, trail)
                    i++; jumps++
                } else i++
            }
        }
        function finish(done, jumps, trail) {
            ways++
            if (done > longest) longest = done
            if (done > most) fail(done " instructions where " most " are allowed:" trail)
            if (jumps > most_jumps) fail(jumps " conditional jumps where " most_jumps " are allowed:" trail)
        }
        function fail(why) { print "hot_path: " symbol ": " why; failed = 1 }
        END {
            if (count == 0) fail("not found in the binary")
            else {
                walk(1, 0, 0, "")
                if (ways == 0) fail("no way through it without a call")
            }
            if (failed) exit 1
            print "hot_path: " symbol ": " longest " instructions besides the return (at most " most "), no call, no lock"
        }' "$listing"
}

check hot_path_in_the_executable 6 1
# In a library crate the thread-local is addressed as for a shared object, and the linker relaxes that only in part:
# a register is saved and restored around it, and the address is computed in two steps.
check hot_path_in_a_library 9 1
check hot_path_of_a_closed_label 11 1
check hot_path_of_a_lease 6 1
check hot_path_of_an_up 6 1
check hot_path_of_a_down 6 1
check hot_path_of_a_gauge 2 0
# Beside the thread's lane: that it is a number, and two lookups that find nothing only where several edges share a key.
# No jump depends on the value otherwise.
check hot_path_of_own_bounds 34 4
check hot_path_of_an_exponential 35 4
check hot_path_of_a_duration 32 3
