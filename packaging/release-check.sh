#!/usr/bin/env bash
# Everything that must hold before a version is tagged (docs/releasing.md). Names all that is missing, then fails.
#
# Usage: release-check.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?version, as in Cargo.toml}
most=10485760 # bytes of a packed crate
missing=0

must() { # must WHAT COMMAND...: WHAT is said where COMMAND fails
    local what=$1 && shift
    if "$@" >/dev/null 2>&1; then echo "ok: $what"; else echo "MISSING: $what" && missing=$((missing + 1)); fi
}
packed() {
    cargo package --locked --no-verify --quiet
    local size
    size=$(stat -c %s "target/package/llmzip-$version.crate")
    echo "packed: $size bytes" >&3
    [ "$size" -le "$most" ]
}
exec 3>&1

must "Cargo.toml has version $version" grep -qx "version = \"$version\"" Cargo.toml
must "python/Cargo.toml has version $version" grep -qx "version = \"$version\"" python/Cargo.toml
must "Cargo.toml has repository = \"...\": set it to the address that the repository is published at" grep -q '^repository = "https://' Cargo.toml
must "CHANGELOG.md has a section '## $version - DATE'" grep -qE "^## ${version//./\\.} - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md
must "README.md no longer says that no release has been made" bash -c '! grep -q "no release has been made" README.md'
must "docs/format.md names a first release for the format, $version or an older one" grep -qE '^\| +[0-9]+ \| +[0-9]+ \| [0-9]+\.[0-9]+\.[0-9]+ ' docs/format.md
must "fuzz/Cargo.lock is up to date" cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml
must "no uncommitted changes" bash -c '[ -z "$(git status --porcelain)" ]'
must "no tag v$version yet" bash -c "! git rev-parse -q --verify refs/tags/v$version"
must "licences, bans and sources of dependencies (cargo deny)" cargo deny --locked check licenses bans sources
must "cargo package has at most $most bytes" packed
[ "$missing" = 0 ] || { echo "$missing missing: no release yet"; exit 1; }
echo "run .ci/run on this commit, then go on with docs/releasing.md"
