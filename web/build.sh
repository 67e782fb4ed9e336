#!/usr/bin/env bash
# Builds the page: a folder to be served as it is, target/web. Needs Rust's wasm32-unknown-unknown target.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked
mkdir -p ../target/web
cp page/* ../target/web/
cp ../target/web-build/wasm32-unknown-unknown/release/llmzip_web.wasm ../target/web/llmzip.wasm
printf 'target/web/llmzip.wasm: %d bytes, %d by gzip -9\n' "$(wc -c <../target/web/llmzip.wasm)" "$(gzip -9c ../target/web/llmzip.wasm | wc -c)"
