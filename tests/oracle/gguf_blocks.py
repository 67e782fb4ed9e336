"""Hashes of dequantised GGUF blocks, by the package gguf: those in src/models/gguf/blocks.rs.

    pip install gguf numpy blake3
    python gguf_blocks.py
"""

import numpy as np
from blake3 import blake3
from gguf import GGMLQuantizationType as Type
from gguf import dequantize

MASK = (1 << 64) - 1
# Bytes of a block, and where its binary16 numbers are.
BLOCKS = {
    Type.Q4_0: (18, [0]), Type.Q4_1: (20, [0, 2]), Type.Q5_0: (22, [0]), Type.Q5_1: (24, [0, 2]), Type.Q8_0: (34, [0]),
    Type.Q4_K: (144, [0, 2]), Type.Q5_K: (176, [0, 2]), Type.Q6_K: (210, [208]),
}


def random_bytes(n):
    """The highest byte of each number of SplitMix64."""
    state, out = 0, bytearray()
    for _ in range(n):
        state = state + 0x9E3779B97F4A7C15 & MASK
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        out.append((z ^ z >> 31) >> 56)
    return out


for kind, (size, halves) in BLOCKS.items():
    data = random_bytes(64 * size)
    for block in range(0, len(data), size):
        for at in halves:  # exponents of about 2^-6
            data[block + at + 1] = data[block + at + 1] & 0x87 | 0x20
    values = dequantize(np.frombuffer(bytes(data), np.uint8).reshape(1, -1), kind)
    print(kind.name, blake3(values.astype("<f2").tobytes()).hexdigest()[:16])
