# Sourced by every check: the root of the tree, and the tools that ci/install.sh put below target/tools.
# So that a check runs the same from any directory, on a developer's machine and in CI.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# Behind the machine's own: a tool that it has already is as good.
export PATH="$PATH:$root/target/tools/usr/bin"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

# need TOOL INSTALL-LINE: ends the check where a tool is missing, with the line that installs it.
need() {
    command -v "$1" >/dev/null || {
        echo "$(basename "$0"): \`$1\` is missing; install it with: $2" >&2
        exit 1
    }
}

# The files that belong to the tree: tracked, and new ones that git does not ignore. As found on disk.
tree_files() {
    git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while IFS= read -r file; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
}
