#!/usr/bin/env bash
# Puts the tools that the checks need where ci/env.sh finds them, and starts no service. Real readers of our output (Debian's
# `prometheus`, with promtool, and `victoria-metrics`; PyPI's parsers) are only unpacked below target/tools. jq, strace and
# valgrind are installed.
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

# unpack PACKAGE PROGRAM..: puts a package of Debian below target/tools, where one of its programs is not here yet. No
# service is started.
unpack() {
    local package=$1 program download missing=()
    shift
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} = 0 ]; then
        echo "install: $* of $package: $(command -v "$1")"
        return
    fi
    need apt-get "a Debian or Ubuntu machine, or put $* on the PATH by hand"
    need dpkg "a Debian or Ubuntu machine, or put $* on the PATH by hand"
    download=$(mktemp -d)
    # As root, apt drops to a user of its own to download, who must be able to write here.
    chmod 0777 "$download"
    if ! (cd "$download" && apt-get download "$package"); then
        echo "install: apt knows no package $package yet; updating its lists" >&2
        apt-get update || {
            echo "install: apt-get update failed; as root run: apt-get update" >&2
            exit 1
        }
        (cd "$download" && apt-get download "$package")
    fi
    mkdir -p target/tools
    dpkg -x "$download/${package}"_*.deb target/tools
    rm -rf "$download"
    command -v "$1" >/dev/null || {
        echo "install: $package was unpacked and has no $1" >&2
        exit 1
    }
    echo "install: unpacked $package below target/tools"
}

unpack prometheus promtool prometheus
unpack victoria-metrics victoria-metrics

# PyPI's readers of the exposition formats: the strict OpenMetrics parser, and protoc with its runtime.
if [ -d target/tools/python/prometheus_client ] && [ -d target/tools/python/grpc_tools ]; then
    echo "install: prometheus-client and grpcio-tools are here: target/tools/python"
else
    need python3 "apt-get install python3 python3-pip"
    python3 -m pip --version >/dev/null || {
        echo "install: pip is missing; install it with: apt-get install python3-pip" >&2
        exit 1
    }
    rm -rf target/tools/python
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target target/tools/python \
        prometheus-client==0.26.0 grpcio-tools==1.85.1
    echo "install: put prometheus-client and grpcio-tools below target/tools/python"
fi
