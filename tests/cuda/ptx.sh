#!/usr/bin/env bash
# The PTX of the CUDA kernels (docs/cuda.md): whether what is committed is what the sources make, and what ptxas makes of it for
# each architecture. --write commits what the sources make. Needs python3 with venv; nvcc comes from PyPI, in target/cuda.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=13.5.37 tools=target/cuda kernels=src/cuda/kernels
architectures='75 80 86 89 90 100 120'
if [ ! -e "$tools/ready" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet "nvidia-cuda-nvcc==$version" "nvidia-nvvm==$version" "nvidia-cuda-crt==$version" \
        nvidia-cuda-cccl nvidia-cuda-runtime
    touch "$tools/ready"
fi
nvcc=$(echo "$tools"/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
ptxas=${nvcc%nvcc}ptxas
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

"$nvcc" -ptx -arch=compute_75 --fmad=false --ftz=false --prec-div=true --prec-sqrt=true "$kernels/kernels.cu" -o "$work/made.ptx"
# The oldest version that has sm_75; no comments.
sed -e 's/^\.version .*/.version 6.3/' -e 's#[ \t]*//.*##' -e '/^[ \t]*$/d' "$work/made.ptx" >"$work/kernels.ptx"
if [ "${1-}" = --write ]; then
    cp "$work/kernels.ptx" "$kernels/kernels.ptx"
elif ! cmp "$work/kernels.ptx" "$kernels/kernels.ptx"; then
    echo "ptx.sh: $kernels/kernels.ptx is not what the sources make: tests/cuda/ptx.sh --write" >&2
    exit 1
fi

for architecture in $architectures; do
    "$ptxas" -v -arch="sm_$architecture" "$kernels/kernels.ptx" -o "$work/cubin" 2>"$work/$architecture"
done
python3 - "$work" $architectures <<'END'
import re, sys

folder, architectures = sys.argv[1], sys.argv[2:]
table = {}
for architecture in architectures:
    kernel = None
    for line in open(f"{folder}/{architecture}"):
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = found[1]
        if found := re.search(r"(\d+) bytes spill stores", line):
            spilled = int(found[1])
        if found := re.search(r"Used (\d+) registers", line):
            table.setdefault(kernel, []).append(found[1] + (f" ({spilled})" if spilled else ""))
print("| kernel | " + " | ".join("sm_" + a for a in architectures) + " |")
print("| --- |" + " ---: |" * len(architectures))
for kernel, registers in sorted(table.items()):
    print(f"| {kernel} | " + " | ".join(registers) + " |")
END
