#!/usr/bin/env bash
# Compresses, lists, tests and decompresses files with the built program, as a person would.
#
# Usage: roundtrip.sh PROGRAM [FILES...]     without FILES: generated ones, and ../shared/corpora where it is there
set -euo pipefail
program=$(realpath "$1") && shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
files=("$@")

if [ ${#files[@]} = 0 ]; then
    for i in $(seq 400); do echo "Line $i of a generated text; it says nothing, $((i * i)) times."; done >"$work/text"
    head -c 5000 /dev/urandom >"$work/random"
    : >"$work/empty"
    printf x >"$work/one-byte"
    files=("$work"/{text,random,empty,one-byte})
    corpora=../shared/corpora
    if [ -d "$corpora" ]; then
        for file in "$corpora"/*; do
            [ -f "$file" ] || continue
            # Long texts are cut: the point here is that files come back, and they take their time.
            head -c 500000 "$file" >"$work/$(basename "$file")"
            files+=("$work/$(basename "$file")")
        done
    else
        echo "skipped: $corpora is not here"
    fi
fi

passed=0
for file in "${files[@]}"; do
    "$program" compress --no-verify -o "$work/archive.llmz" "$file"
    "$program" list "$work/archive.llmz" >"$work/listing"
    "$program" decompress -q -c "$work/archive.llmz" | cmp - "$file"
    rm "$work/archive.llmz"
    passed=$((passed + 1))
done
"$program" compress -q -c "${files[0]}" | "$program" test -
echo "$passed files came back"
