#!/usr/bin/env bash
# Builds the program for each target whose standard library is installed, and writes checksums (docs/releasing.md).
#
# Usage: release-binaries.sh VERSION     result: target/release-VERSION/
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?version}
out=target/release-$version
targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-unknown-linux-gnu)
rm -rf "$out" && mkdir -p "$out"
for target in "${targets[@]}"; do
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        echo "SKIPPED: $target: rustup target add $target"
        continue
    fi
    # A C compiler for the target is needed too (ring): musl-gcc, aarch64-linux-musl-gcc.
    cargo build --release --locked --target "$target"
    name=llmzip-$version-$target
    mkdir "$out/$name"
    strip -o "$out/$name/llmzip" "target/$target/release/llmzip" 2>/dev/null \
        || cp "target/$target/release/llmzip" "$out/$name/llmzip"
    cp README.md CHANGELOG.md LICENSE-* packaging/llmzip.magic packaging/llmzip.xml "$out/$name"
    tar -C "$out" --owner=0 --group=0 --sort=name --mtime="@$(git log -1 --format=%ct)" -czf "$out/$name.tar.gz" "$name"
    if [ "$target" = "$(rustc -vV | sed -n 's/^host: //p')" ] || [[ $target == x86_64-*-musl && $(uname -m) == x86_64 ]]; then
        bash tests/roundtrip.sh "$out/$name/llmzip" # the binary that is shipped
    else
        echo "NOT RUN: $target: tests/invariance.sh runs foreign processors where qemu-user is installed"
    fi
    rm -r "${out:?}/$name"
done
(cd "$out" && sha256sum ./*.tar.gz >SHA256SUMS && cat SHA256SUMS)
