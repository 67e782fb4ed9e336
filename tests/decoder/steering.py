"""Carried steering vectors: docs/format.md, section 4, and docs/numerics.md, section 22."""

import math

import numpy as np

from adaptive import Counter
from linear import F32
from network import embedding_table
from tokens import Damage, RangeDecoder

GAUSS, EMPIRICAL, LLOYD_MAX = range(3)
STEPS, EVEN = 16, 32768


def tails(deviation):
    """The P of integers that are normally distributed."""
    root = deviation * math.sqrt(2)
    beyond = [math.erfc((i + 0.5) / root) for i in range(STEPS)]
    ratios = [beyond[0], *(b / a if a else math.nan for a, b in zip(beyond, beyond[1:]))]
    return [1 if math.isnan(p) else int(min(max(65536 * p, 1), 65535)) for p in ratios]


class Integers:
    """Section 22 of the numerics."""

    def __init__(self, coder, deviation):
        """deviation: of normal integers, or None where their frequencies are learned."""
        self.coder, self.fixed = coder, deviation and tails(deviation)
        self.zero, self.more = [Counter(EVEN) for _ in range(3)], [Counter(EVEN) for _ in range(STEPS)]

    def is_more(self, size, context):
        if self.fixed:
            return self.coder.decode(self.fixed[size])
        counter = self.more[size] if size else self.zero[context]
        bit = self.coder.decode(max(counter.probability(), 1))
        counter.learn(bit, 255)
        return bit

    def vector(self, width):
        found = []
        for _ in range(width):
            size, context = 0, sum(integer != 0 for integer in found[-2:])
            while size < STEPS and self.is_more(size, context):
                size += 1
            negative = size and self.coder.decode(EVEN)
            found.append(-self.whole(size) if negative else self.whole(size))
        return found

    def whole(self, size):
        """The magnitude, with the rest of one that is STEPS or larger."""
        if size < STEPS:
            return size
        bits, rest = 0, 1
        while bits < 14 and self.coder.decode(EVEN):
            bits += 1
        for _ in range(bits):
            rest = 2 * rest + self.coder.decode(EVEN)
        return min(size + rest - 1, 32767)


def carried_steering(reader, network, first_token):
    """Vectors, [K, C], of their code."""
    def numbers(n):
        return (np.frombuffer(reader.take(2 * n), "<u2").astype(np.uint32) << np.uint32(16)).view(F32)

    quantizer, deviation, levels = reader.byte(), None, None
    if quantizer == GAUSS:
        step, deviation = numbers(2)
    elif quantizer == EMPIRICAL:
        step, = numbers(1)
    elif quantizer == LLOYD_MAX:
        levels = numbers(reader.byte())
    else:
        raise Damage("the quantizer of steering vectors")
    table, width = embedding_table(network, first_token), network.embedding.shape[1]
    starts = [reader.varint() for _ in range(reader.byte())]
    integers = Integers(RangeDecoder(reader.data[reader.at:]), deviation and float(deviation))
    vectors = []
    for start in starts:
        q = np.array(integers.vector(width))
        if levels is not None and not all(0 <= i < len(levels) for i in q + len(levels) // 2):
            raise Damage("a level of steering vectors")
        offset = levels[q + len(levels) // 2] if levels is not None else step * q.astype(F32)
        vectors.append((table[start - 1] if start else np.zeros(width, F32)) + offset)
    return np.array(vectors, F32)
