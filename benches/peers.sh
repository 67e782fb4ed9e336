#!/usr/bin/env bash
# One table of sizes and speeds: llmzip at some levels beside the compressors that are installed, round trips checked.
#
# Usage: peers.sh PROGRAM FILE...     Times are wall clock on whatever else the machine does; compare within one run only.
set -euo pipefail
program=$(realpath "$1") && shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

seconds() { # runs a command line, prints what it took
    local start end
    start=$(date +%s.%N) && bash -c "$1" && end=$(date +%s.%N) && echo "$end - $start" | bc
}

row() { # name, file, how to compress stdin to stdout, and back
    command -v "${3%% *}" >"$work/found" || { echo "skipped: no ${3%% *}" >&2; return; }
    local there back size plain
    there=$(seconds "$3 <'$2' >'$work/packed'")
    back=$(seconds "$4 <'$work/packed' >'$work/plain'")
    cmp "$work/plain" "$2"
    size=$(stat -c %s "$work/packed") plain=$(stat -c %s "$2")
    awk -v name="$1" -v s="$size" -v p="$plain" -v t="$there" -v b="$back" 'BEGIN {
        printf "| %s | %d | %.3f | %.1f | %.1f |\n", name, s, 8 * s / p, p / t / 1000, p / b / 1000 }'
}

for file in "$@"; do
    printf '\n%s, %d bytes\n\n' "$(basename "$file")" "$(stat -c %s "$file")"
    echo '| compressor | bytes | bits per byte | compress KB/s | decompress KB/s |'
    echo '| --- | ---: | ---: | ---: | ---: |'
    row 'gzip -9' "$file" 'gzip -9' 'gzip -d'
    row 'zstd --ultra -22' "$file" 'zstd -q --ultra -22' 'zstd -q -d'
    row 'xz -9e' "$file" 'xz -9e' 'xz -d'
    row 'brotli -q 11' "$file" 'brotli -q 11 -w 24' 'brotli -d'
    row 'bzip2 -9' "$file" 'bzip2 -9' 'bzip2 -d'
    for level in 1 3 4 6 9; do
        row "llmzip -$level --no-verify" "$file" "$program -q -$level --no-verify" "$program -q -d"
    done
done
