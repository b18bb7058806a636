# Sourced by ci/asan.sh and ci/tsan.sh: runs tests under one of the compiler's sanitizers, which only a nightly compiler
# has. In a target folder for each, since the flag changes every crate.

# sanitized NAME CARGO-TEST-ARGUMENTS..; -Zbuild-std among them builds the standard library with the sanitizer too.
sanitized() {
    local name=$1 host sysroot
    shift
    need rustup "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    sysroot=$(rustc +nightly --print sysroot 2>/dev/null) || {
        echo "$name: the nightly compiler is missing; install it with: rustup toolchain install nightly --profile minimal" >&2
        exit 1
    }
    if [[ " $* " == *" -Zbuild-std "* && ! -d $sysroot/lib/rustlib/src/rust/library ]]; then
        echo "$name: the sources of the standard library are missing; install them with: rustup component add rust-src --toolchain nightly" >&2
        exit 1
    fi
    host=$(rustc -vV | sed -n 's/^host: //p')
    # The target is named, so that build scripts and derives are not sanitized. A report needs lines only. Optimised a
    # little: unoptimised, the compiler links some generic functions of std as they come, without the sanitizer.
    RUSTFLAGS="-Zsanitizer=$name" CARGO_TARGET_DIR="$root/target/$name" CARGO_INCREMENTAL=0 \
        CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo +nightly test --no-fail-fast --target "$host" "$@"
}
