"""Linear layers: docs/numerics.md, sections 1, 16 and 26. L rows of input, K inputs, N outputs.

Vectors run over rows and outputs, never along a chain.
"""

import numpy as np

F32, F64 = np.float32, np.float64


def round_to_odd(p, c, s):
    """The sum of p and c in binary64, of which s is the nearest: of the two numbers of binary64
    around an inexact sum, the one whose last bit is 1."""
    t = s - p
    error = (p - (s - t)) + (c - t)
    pattern = s.view(np.int64)
    away = np.where((error > 0) == (s > 0), 1, -1)
    return np.where((error != 0) & (pattern & 1 == 0), pattern + away, pattern).view(F64)


def fma(a, b, c):
    """a * b + c in binary32, rounded once.

    In binary64 the product is exact, and the sum s is rounded a first time. The second time goes
    wrong only where s seems to lie halfway between two numbers of binary32: of normal ones, where
    its last 29 bits are 1 and zeros. If any might, all are rounded to odd the first time, which is
    right everywhere (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved
    algorithms using rounding to odd", 2008).
    """
    p = np.multiply(a, b, dtype=F64)
    s = p + c
    unsure = (s.view(np.int64) & 0x1FFFFFFF == 0x10000000) | (np.abs(s) < 2.0 ** -126)
    return (round_to_odd(p, c, s) if unsure.any() else s).astype(F32)


class FloatLinear:
    """Section 1. w: [N, K]."""

    def __init__(self, w):
        self.w = np.ascontiguousarray(w.T)

    def floats(self):
        """The weights: [N, K]."""
        return self.w.T

    def __call__(self, x, bias=F32(0)):
        """x: [L, K] -> [L, N]; bias: [N]."""
        acc = np.broadcast_to(bias, (x.shape[0], self.w.shape[1]))
        for k in range(self.w.shape[0]):
            acc = fma(x[:, k, None], self.w[k], acc)
        return acc


class AdaptedLinear:
    """Section 24: a linear layer with adapters beside it."""

    def __init__(self, linear, scale, parts):
        """parts: the first output of each adapter, its A and its B."""
        self.linear, self.scale = linear, scale
        self.parts = [(first, FloatLinear(a), FloatLinear(b)) for first, a, b in parts]

    def __call__(self, x):
        """x: [L, K] -> [L, N]."""
        y = self.linear(x)
        for first, a, b in self.parts:
            added = b(a(x) * self.scale)
            y[:, first:first + added.shape[1]] += added
        return y


def quantise(x, limit):
    """Section 16: integers, as binary32, and their scales. x: [L, K] -> [L, K], [L]."""
    greatest = (x.view(np.uint32) & np.uint32(0x7FFFFFFF)).max(axis=1).view(F32)
    finite = np.isfinite(greatest)
    live = finite & (greatest >= F32(2.0 ** -100))
    m = np.where(live, greatest, F32(1))
    q = np.rint(np.where(live[:, None], x, F32(0)) * (F32(limit) / m)[:, None])
    return q, np.where(live, m / F32(limit), np.where(finite, F32(0), F32(np.inf)))


class Int8Linear:
    """Section 16. Sums of integers below 2^31 are exact in binary64, whatever adds them."""

    def __init__(self, q, scale, activation_bits):
        """q: [N, K], integers; scale: [N]."""
        self.q, self.scale, self.bits = q, scale, activation_bits
        self.w = q.T.astype(F64)

    def floats(self):
        """The weights that the integers stand for: [N, K]."""
        return self.q * self.scale[:, None]

    def __call__(self, x):
        """x: [L, K] -> [L, N]."""
        q, scale = quantise(x, 127 if self.bits == 8 else 32767)
        if self.bits == 8:
            a = self.sums(q)
        else:
            upper = np.floor(q / 256)
            a = fma(self.sums(upper), F32(256), self.sums(q - 256 * upper))
        return fma(a, scale[:, None] * self.scale, F32(0))

    def sums(self, q):
        return (q.astype(F64) @ self.w).astype(F32)


class Int4Linear:
    """Section 26. Sums of a group are below 2^31 and exact in binary64, whatever adds them."""

    def __init__(self, q, s, m, group, order, activation_bits):
        """q: [N, K], 0 to 15, in the order of x; s: [N, K/G]; m: the same, or none; order: [K]."""
        self.q, self.s, self.m, self.group = q, s, m, group
        self.order, self.bits = order, activation_bits

    def floats(self):
        """The weights that the integers stand for: [N, K]."""
        at = np.empty(len(self.order), int)
        at[self.order] = np.arange(len(self.order)) // self.group
        s = self.s[:, at]
        m = np.zeros_like(s) if self.m is None else self.m[:, at]
        return fma(self.q.astype(F32) - F32(8), s, m)

    def __call__(self, x):
        """x: [L, K] -> [L, N]."""
        x, scale = quantise(x[:, self.order], 127 if self.bits == 8 else 32639)
        x, w = x.astype(F64), (self.q[:, self.order].T.astype(F64) - 8)
        acc = np.zeros((x.shape[0], w.shape[1]), F32)
        for g, first in enumerate(range(0, w.shape[0], self.group)):
            part = slice(first, first + self.group)
            acc = fma((x[:, part] @ w[part]).astype(F32), self.s[:, g], acc)
            if self.m is not None:
                acc = fma(x[:, part].sum(axis=1).astype(F32)[:, None], self.m[:, g], acc)
        return fma(acc, scale[:, None], F32(0))


def unpack(words):
    """Integers of four bits in words of 32: [.., W] -> [.., 8 W]."""
    parts = [words.view(np.uint32) >> np.uint32(4 * i) & np.uint32(15) for i in range(8)]
    return np.stack(parts, axis=-1).reshape(*words.shape[:-1], -1)
