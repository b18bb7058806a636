# Sourced by ci/asan.sh and ci/tsan.sh: runs tests under one of the compiler's sanitizers, which only a nightly compiler
# has. In a target folder for each, since the flag changes every crate.

need rustup "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
nightly=$(rustc +nightly --print sysroot 2>/dev/null) || {
    echo "$(basename "$0"): the nightly compiler is missing; install it with: rustup toolchain install nightly --profile minimal" >&2
    exit 1
}

# Whether the sources of the standard library are there, to be built with the sanitizer too.
has_std_sources() {
    [ -d "$nightly/lib/rustlib/src/rust/library" ]
}

# planted NAME FLAGS REPORT: the test on stdin has a fault that the sanitizer must report, in these words, and end the
# program for. So a run that found nothing did look, in tests.
planted() {
    local name=$1 flags=$2 report=$3 folder="$root/target/$1/planted"
    mkdir -p "$folder"
    cat >"$folder/planted.rs"
    # shellcheck disable=SC2086 # flags are words
    rustc +nightly --test --edition 2024 -g -O $flags -o "$folder/planted" "$folder/planted.rs"
    if LD_LIBRARY_PATH=$(echo "$nightly"/lib/rustlib/*/lib) "$folder/planted" >"$folder/output" 2>&1 || ! grep -qF "$report" "$folder/output"; then
        echo "$name: the planted fault was not reported ($report), so nothing that follows would prove anything; see $folder/output" >&2
        exit 1
    fi
    echo "$name: the planted fault is reported ($report)"
}

# sanitized NAME FLAGS CARGO-TEST-ARGUMENTS..
sanitized() {
    local name=$1 flags=$2 host
    shift 2
    host=$(rustc -vV | sed -n 's/^host: //p')
    # The target is named, so that build scripts and derives are not sanitized. A report needs lines only. Optimised a
    # little: unoptimised, the compiler links some generic functions of std as they come, without the sanitizer.
    RUSTFLAGS="$flags" CARGO_TARGET_DIR="$root/target/$name" CARGO_INCREMENTAL=0 \
        CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo +nightly test --no-fail-fast --target "$host" "$@"
}
