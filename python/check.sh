#!/usr/bin/env bash
# Builds the wheel with the features of `cargo test --workspace`, which so has built llmzip already, installs it where `python3` is,
# and runs its tests. Needs a virtual environment with maturin and pytest on PATH; tests whose packages are missing are
# skipped and named. Arguments are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=$(mktemp -d)
trap 'rm -r -- "$wheels"' EXIT
maturin build --quiet --release --features candle -m python/Cargo.toml -o "$wheels"
ls -l "$wheels"
python3 -m pip install --quiet --no-deps --force-reinstall "$wheels"/llmzip-*.whl
python3 -m mypy --version >/dev/null 2>&1 && python3 -m mypy --config-file python/pyproject.toml python/llmzip
python3 -m pytest -q -c python/pyproject.toml --rootdir python python/tests "$@"
