#!/usr/bin/env bash
# The tests of the kernels on aarch64, emulated: NEON, and the portable path as it is compiled there. Needs qemu-user, Debian's
# gcc-aarch64-linux-gnu, and Rust's aarch64-unknown-linux-gnu target. They are built as web/ builds them, without candle, but for speed of building.
#
# Usage: neon.sh PROCESSOR     one of qemu's: max, or cortex-a53, which has no dot products of bytes
set -euo pipefail
cd "$(dirname "$0")/../web"
export CARGO_TARGET_DIR=$PWD/../target CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_PANIC=unwind CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu $1"
cargo test --release --locked --target aarch64-unknown-linux-gnu --test kernels
