#!/usr/bin/env bash
# Builds the module and the page in target/web, and tests them: kernels, archives, pictures, and the page in headless Chromium. Needs
# Rust's wasm32-unknown-unknown target and Node 20; without Chromium the page itself is skipped, loudly. LLMZIP is the program to
# compare with [default: target/release/llmzip].
#
# Usage: check.sh [FILE]     FILE: a text for which the module's speed is measured beside the program's, and for the page
set -euo pipefail
cd "$(dirname "$0")/.."
file=${1:+$(realpath "$1")}
export LLMZIP=${LLMZIP:-$PWD/target/release/llmzip}
[ -x "$LLMZIP" ] || { echo "FAILED: no program at $LLMZIP: cargo build --release"; exit 1; }

web/build.sh
(cd web && cargo test --release --locked --test kernels)
node --test web/tests/module.test.mjs
[ -z "$file" ] || node web/tests/speed.mjs "$file"
if command -v "${CHROMIUM:-chromium}" >/dev/null; then
    PAGE_TEXT=${file:-} node --test web/tests/page.test.mjs
else
    printf 'skipped: the page: no Chromium (CHROMIUM names one)\n\n'
fi
