#!/usr/bin/env bash
# What the first machine with a GPU runs (docs/cuda.md): whether the GPU gives the processor's bits, and how fast. Writes one
# report, benches/runs/DATE-gpu.txt, whose first lines say what failed.
set -uo pipefail

usage() {
    cat >&2 <<'END'
usage: gpu.sh TEXT [MODEL]...

TEXT   a text of some megabytes, such as a beginning of enwik8
MODEL  folders of transformers beside the compiled-in model: each shape is timed

Environment: LLMZIP the program (target/release/llmzip), RUNS the folder of the report (benches/runs), LOGITS to compare (1e8),
GIGABYTES a second of the GPU's memory, for shares of it.
END
    exit 2
}

[ $# -ge 1 ] && [ -r "$1" ] || usage
here=$(cd "$(dirname "$0")" && pwd)
text=$(realpath "$1") && shift
models=(default "$@")
program=${LLMZIP-$here/../target/release/llmzip}
[ -n "${LLMZIP-}" ] || (cd "$here/.." && cargo build --release --locked) || exit 1
runs=${RUNS-$here/runs}
report=$runs/$(date -u +%F)-gpu.txt
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failures=()

# Runs a part, with its output in the report; notes where it fails.
part() {
    local name=$1 && shift
    printf '\n== %s\n' "$name" | tee -a "$work/report"
    "$@" >>"$work/report" 2>&1 || { failures+=("$name") && echo "   failed" | tee -a "$work/report"; }
}

machine() {
    "$program" --version
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.mem --format=csv
    grep -m1 'model name' /proc/cpuinfo && nproc
}

# Each side's archive is the other's, and each decodes the other's.
crossed() {
    local model=$1 bytes=$2
    head -c "$bytes" "$text" >"$work/text"
    "$program" -qfk --no-verify --no-mix -m "$model" "$work/text" -o "$work/cpu.llmz" &&
        "$program" -qfk --no-verify --no-mix --device cuda -m "$model" "$work/text" -o "$work/gpu.llmz" &&
        cmp "$work/cpu.llmz" "$work/gpu.llmz" &&
        "$program" -dc -m "$model" --device cuda "$work/cpu.llmz" | cmp - "$work/text" &&
        "$program" -dc -m "$model" "$work/gpu.llmz" | cmp - "$work/text" && echo "$bytes bytes: the same"
}

sanitized() {
    head -c 3000 "$text" >"$work/text"
    for tool in memcheck racecheck initcheck synccheck; do
        echo "$tool" && compute-sanitizer --tool "$tool" --error-exitcode 1 "$program" -qc --device cuda --no-mix "$work/text" >"$work/out" || return 1
    done
}

# Sizes, times and where they go, on one device.
bench() {
    local device=$1 bytes=$2 && shift 2
    head -c "$bytes" "$text" >"$work/text"
    "$program" bench --device "$device" "$@" "$work/text"
}

part machine machine
for model in "${models[@]}"; do
    part "logits and speed: $model" sh -c "cd '$here/..' && cargo bench --quiet --locked --bench cuda -- '$model' ${LOGITS-1e8} ${GIGABYTES-}"
done
# About 10^6 tokens of the default model's.
part 'archives of 4 MB, crossed' crossed default 4000000
for model in "$@"; do part "archives of 200 kB, crossed: $model" crossed "$model" 200000; done
if command -v compute-sanitizer >/dev/null; then part compute-sanitizer sanitized; else echo 'no compute-sanitizer' >>"$work/report"; fi
for device in cpu cuda; do
    part "bench, 1 MB, level 6, $device" bench "$device" 1000000
    part "bench, 1 MB, the language model alone, $device" bench "$device" 1000000 --no-mix
    # Networks that are drawn from a seed learn, on the processor: auto says so.
    for model in seed:llama:256:42 seed:gru:256:42 seed:lstm:256:42; do
        part "seeds, 50,000 bytes: $model, ${device/cuda/auto}" bench "${device/cuda/auto}" 50000 --no-mix -m "$model" -v
        part "seeds, 10,846 bytes: $model, ${device/cuda/auto}" bench "${device/cuda/auto}" 10846 --no-mix -m "$model" -v
    done
done
mkdir -p "$runs"
{
    echo "llmzip on a GPU, $(date -u +%F): ${#failures[@]} parts failed${failures[*]:+: }$(IFS=';' && echo "${failures[*]}")"
    cat "$work/report"
} >"$report"
echo "report: $report"
[ ${#failures[@]} = 0 ]
