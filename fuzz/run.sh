#!/usr/bin/env bash
# fuzz/run.sh TARGET|all SECONDS [libFuzzer option]...
# Fuzzes a target, or all in turn, with libFuzzer on stable Rust. Kept cases and the corpus are run first; what fails is
# left in fuzz/artifacts/TARGET. Needs a C++ compiler, for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")"
targets=${1:?target or all} seconds=${2:?seconds}
shift 2
[ "$targets" = all ] && targets=$(cd fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')

if ! command -v c++ >/dev/null; then
    echo 'skipped: no C++ compiler for libFuzzer'
    exit 0
fi

# What `cargo fuzz build` passes, but for the sanitizer, which needs a nightly compiler.
host=$(rustc -vV | sed -n 's/^host: //p')
coverage='-Cpasses=sancov-module'
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=" -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTFLAGS="--cfg fuzzing $coverage" cargo build --release --locked --target "$host" --bins --examples
bin=target/$host/release
"$bin/examples/seeds"

# One thread: coverage is that of the input. A case is small, and must stay so in memory (MiB); one of 300 s hangs.
export RAYON_NUM_THREADS=1
for target in $targets; do
    printf '\n-- %s\n' "$target"
    mkdir -p "artifacts/$target"
    found=
    [ -d "found/$target" ] && found=found/$target
    max_len=4096
    [ "$target" = tokenizer ] && max_len=16384
    [ "$target" = gguf ] && max_len=524288 # a whole model
    "$bin/$target" "corpus/$target" $found -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" \
        -max_len=$max_len -timeout=300 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -verbosity=0 "$@"
done
