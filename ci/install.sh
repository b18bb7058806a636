#!/usr/bin/env bash
# Puts the tools that the checks need where ci/env.sh finds them, and starts no service: Debian's `prometheus` (promtool and
# the server, real readers of our output) is only unpacked below target/tools. jq, strace and valgrind are installed.
set -euo pipefail
source "$(dirname "$0")/env.sh"

need cargo "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
for component in clippy rustfmt; do
    need "cargo-${component/rustfmt/fmt}" "rustup component add $component"
done
need git "apt-get install git"
need objdump "apt-get install binutils"
if ! command -v jq >/dev/null || ! command -v strace >/dev/null || ! command -v valgrind >/dev/null; then
    need apt-get "a Debian or Ubuntu machine, or put jq, strace and valgrind on the PATH by hand"
    [ "$(id -u)" = 0 ] || {
        echo "install: jq, strace or valgrind is missing; as root run: apt-get install jq strace valgrind" >&2
        exit 1
    }
    apt-get install --yes --no-install-recommends jq strace valgrind || {
        apt-get update
        apt-get install --yes --no-install-recommends jq strace valgrind
    }
fi

if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    echo "install: promtool and prometheus are here: $(command -v prometheus)"
    exit 0
fi
need apt-get "a Debian or Ubuntu machine, or put promtool and prometheus on the PATH by hand"
need dpkg "a Debian or Ubuntu machine, or put promtool and prometheus on the PATH by hand"

download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
# As root, apt drops to a user of its own to download, who must be able to write here.
chmod 0777 "$download"
if ! (cd "$download" && apt-get download prometheus); then
    echo "install: apt knows no package prometheus yet; updating its lists" >&2
    apt-get update || {
        echo "install: apt-get update failed; as root run: apt-get update" >&2
        exit 1
    }
    (cd "$download" && apt-get download prometheus)
fi
mkdir -p target/tools
dpkg -x "$download"/prometheus_*.deb target/tools
target/tools/usr/bin/promtool --version 2>&1 | sed -n 1p
echo "install: unpacked prometheus below target/tools"
