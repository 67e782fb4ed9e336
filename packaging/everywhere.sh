#!/usr/bin/env bash
# What CI has no time for: Ray, the browser, other processors, releases and installs. Runs what can be run here, and says at the end
# what held, what failed and what could not be checked. Needs the network for pip and rustup.
#
# Usage: everywhere.sh [FILE]     FILE: a text for the page and for its speed, as web/check.sh takes it
# shellcheck disable=SC2317 # functions are called by name
set -uo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
venv=$PWD/target/venv-everywhere
file=${1:+$(realpath "$1")}
results=() failed=0

step() { # step NAME COMMAND...
    local name=$1 begun=$SECONDS code && shift
    printf '\n== %s\n' "$name"
    "$@" # not in the condition of an if, where -e would not hold
    code=$?
    if [ "$code" = 0 ]; then results+=("ok: $name ($((SECONDS - begun)) s)"); else results+=("FAILED: $name") && failed=1; fi
}
cannot() { results+=("NOT CHECKED: $*"); }

if python3 -m venv "$venv" && "$venv/bin/pip" install --quiet maturin pytest mypy numpy fsspec pandas numcodecs webdataset; then
    PATH=$venv/bin:$PATH step 'the wheel and its tests' python/check.sh --ignore python/tests/test_ray.py
    if "$venv/bin/pip" install --quiet 'ray[data]'; then
        step 'corpora on a local Ray cluster' "$venv/bin/python" -m pytest -q -c python/pyproject.toml --rootdir python python/tests/test_ray.py
    else
        cannot 'Ray: pip cannot install it'
    fi
    export PATH=$venv/bin:$PATH # maturin, for the wheel of the release
else
    cannot 'the wheel and Ray: their tools cannot be had'
fi
if command -v parallel >/dev/null; then
    recipe() (
        set -e
        work=$(mktemp -d)
        trap 'rm -r -- "${work:?}"' EXIT
        cd "$work"
        seq 20000 >in
        python3 -m llmzip.corpus plan out in --level 1 --part-size 20K
        set +o pipefail # check says by its exit code that parts are missing
        python3 -m llmzip.corpus check out | parallel -j 2 python3 -m llmzip.corpus run out
        python3 -m llmzip.corpus join out in.llmz
        llmzip -dc in.llmz | cmp - in
    )
    step 'the recipe for GNU parallel' recipe
else
    cannot 'the recipe for GNU parallel: it is not here'
fi
if command -v node >/dev/null && rustup target add wasm32-unknown-unknown; then
    page() { cargo build --release --locked && web/check.sh ${file:+"$file"}; }
    step 'the module and the page' page
else
    cannot 'the page: no Node, or no std for WebAssembly'
fi
if command -v qemu-aarch64 >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null && rustup target add aarch64-unknown-linux-gnu; then
    step 'kernels on an emulated aarch64, with dot products of bytes' tests/neon.sh max
    step 'kernels on an emulated aarch64 without' tests/neon.sh cortex-a53
else
    cannot 'aarch64: no qemu-user, cross compiler or std (Debian: qemu-user, gcc-aarch64-linux-gnu)'
fi
foreign() { cargo build --release --locked && tests/invariance.sh full target/release/llmzip; }
step 'archives on other processors' foreign
rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl || cannot 'musl: no std'
step 'files of a release' packaging/dist.sh "$version"
step 'installs of these files' packaging/install-check.sh "$version"

printf '\n'
printf '%s\n' "${results[@]}"
exit $failed
