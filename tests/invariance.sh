#!/usr/bin/env bash
# Archives must not depend on instruction set, threads, chunks or lanes in flight, pipes or files, or how the program was
# built, and every processor must read the golden ones to the byte. What cannot be had here is skipped, loudly.
#
# Usage: invariance.sh share|full PROGRAM...     the first program's archives are those that all are compared with
set -euo pipefail
cd "$(dirname "$0")/.."
extent=$1 && shift
programs=("$@")
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
unset LLMZIP_THREADS LLMZIP_LEVEL LLMZIP_MEMLIMIT LLMZIP_ISA

skip() { echo "SKIPPED: $*"; skipped=$((skipped + 1)); }
fail() { echo "FAILED: $*"; exit 1; }
hash_of() { sha256sum | cut -d' ' -f1; }
skipped=0 compressed=0 decompressed=0

{ head -c 450 docs/format.md; head -c 250 models/default/model.safetensors; } >"$work/input"

# Chunks in flight are as many as threads; lanes in flight are what a thread has of a chunk's.
if [ "$extent" = full ]; then
    codings=('-6' '--lanes 7' '--chunk-size 150 --lanes 3' '-2 --chunk-size 100' '--no-mix --lanes 16' '-9')
    threads=(1 2 3 8)
else
    codings=('--chunk-size 150 --lanes 3' '--no-mix --lanes 16')
    threads=(1 3)
fi
isas=()
for isa in scalar neon avx2 avx512; do
    if LLMZIP_ISA=$isa "${programs[0]}" -qc1 "$work/input" >/dev/null 2>&1; then isas+=("$isa"); else skip "$isa: not on this machine"; fi
done
for program in "${programs[@]}"; do [ -x "$program" ] || fail "$program is not there"; done

for coding in "${codings[@]}"; do
    # shellcheck disable=SC2206
    options=($coding)
    "${programs[0]}" -qc "${options[@]}" "$work/input" >"$work/archive.llmz"
    expected=$(hash_of <"$work/archive.llmz")
    for program in "${programs[@]}"; do
        for isa in "${isas[@]}"; do
            for n in "${threads[@]}"; do
                at="$coding, $isa, $n threads, $program"
                by_file=$(LLMZIP_ISA=$isa "$program" -qc "-T$n" "${options[@]}" "$work/input" | hash_of)
                by_pipe=$(cat "$work/input" | LLMZIP_ISA=$isa "$program" -q "-T$n" "${options[@]}" | hash_of)
                [ "$by_file" = "$expected" ] || fail "$at, file: another archive"
                [ "$by_pipe" = "$expected" ] || fail "$at, pipe: another archive"
                LLMZIP_ISA=$isa "$program" -dqc "-T$n" "$work/archive.llmz" | cmp - "$work/input" || fail "$at: another content"
                compressed=$((compressed + 2)) decompressed=$((decompressed + 1))
            done
        done
    done
    echo "$coding: the same everywhere"
done
echo "$compressed archives in ${#codings[@]} codings were the same, $decompressed came back"

# Golden archives, and one made there, on processors that are not this one. Emulated floats are slow: of the float model's
# archives there is one, and none in a share.
floats=(good-1-{mixed,mixed-7-lanes,model-64-lanes,chunks,prefix-and-table,joined}.llmz)
goldens=()
for golden in tests/golden/good-*.llmz; do
    [[ " ${floats[*]} " = *" $(basename "$golden") "* ]] || goldens+=("$golden")
done
[ "$extent" = full ] || goldens=(tests/golden/good-1-{empty,stored,joined-forms,130-chunks,adaptive-1,mixed,prefix-and-table}.llmz)
head -c 120 docs/format.md >"$work/small"
foreign() { # NAME COMMAND...
    local name=$1 n=0 golden decode && shift
    for golden in "${goldens[@]}"; do
        case $golden in
            *-gru.llmz | *-lstm.llmz | *-llama.llmz) decode=(-dqc "$golden") ;; # drawn from seeds
            *) decode=(-dqc -m tests/golden/no-window --adapter tests/golden/adapter "$golden") ;;
        esac
        "$@" "${decode[@]}" | cmp - <("${programs[0]}" "${decode[@]}") || fail "$name: $golden decodes to something else"
        n=$((n + 1))
    done
    [ "$("$@" -qc --no-verify --chunk-size 60 "$work/small" | hash_of)" = \
        "$("${programs[0]}" -qc --chunk-size 60 "$work/small" | hash_of)" ] || fail "$name: another archive"
    echo "$name: $n golden archives decode to the byte, and an archive made there is the same"
}

# The two that are farthest apart in a share.
cpus=(Nehalem Haswell Skylake-Server max) && [ "$extent" = full ] || cpus=(Nehalem max)
if ! command -v qemu-x86_64 >/dev/null; then
    skip "other x86-64 processors: no qemu-x86_64 (Debian: qemu-user)"
elif [ "$(uname -m)" != x86_64 ]; then
    skip "other x86-64 processors: this machine is no x86-64"
else
    for cpu in "${cpus[@]}"; do foreign "$cpu" qemu-x86_64 -cpu "$cpu" "${programs[0]}" 2>"$work/warnings" || { cat "$work/warnings"; exit 1; }; done
fi

cross() { # ARCHITECTURE [ISA/PROCESSOR...]: of qemu's processors; without any, its default
    local arch=$1 target=$1-unknown-linux-gnu gcc=$1-linux-gnu-gcc way && shift
    local program=target/$target/release/llmzip run=("qemu-$arch" -L "/usr/$arch-linux-gnu")
    if ! command -v "qemu-$arch" >/dev/null; then
        skip "$arch: no qemu-$arch (Debian: qemu-user)"
    elif ! command -v "$gcc" >/dev/null; then
        skip "$arch: no linker (Debian: gcc-$arch-linux-gnu)"
    elif [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
        skip "$arch: no standard library for it (rustup target add $target)"
    else
        local linker=CARGO_TARGET_${target//-/_}_LINKER
        env "${linker^^}=$gcc" cargo build --release --locked --quiet --no-default-features --features cli --target "$target"
        [ $# != 0 ] || foreign "$arch" "${run[@]}" "$program"
        for way; do foreign "$arch, $way" env "LLMZIP_ISA=${way%/*}" "${run[@]}" -cpu "${way#*/}" "$program"; done
    fi
}
# Another build takes as long as this one did: not in a share.
if [ "$extent" = full ]; then
    cross aarch64 neon/max neon/cortex-a53 scalar/max # the second has no dot products of bytes
    cross s390x # big-endian
fi
[ $skipped = 0 ] || echo "$skipped parts were SKIPPED, see above"
