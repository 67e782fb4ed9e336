"""Numbers of the adaptive model: docs/adaptive-model.md, sections 1 and 3 to 5."""

import functools

U32 = 0xFFFFFFFF
MAX = 2839


def rotl(x, n):
    return (x << n | x >> (32 - n)) & U32


def mix(h, v):
    x = (rotl(h, 7) ^ (v * 0x85EBCA6B & U32)) * 0x9E3779B1 & U32
    return x ^ x >> 15


def fold(seed, *values):
    return functools.reduce(mix, values, seed)


def near(context, partial):
    return (mix(0, context) + partial) & U32


def clamp(x, low, high):
    return min(max(x, low), high)


def pow2(n):
    return 1 << max(n - 1, 0).bit_length()


# Section 3: log-odds.

def squash_table():
    table, e = [], 1 << 40
    for _ in range(MAX + 1):
        table.append(min(65535, ((e << 16) + (e + (1 << 40)) // 2) // (e + (1 << 40))))
        e = (e * 1103814994613 + (1 << 39)) >> 40
    return table


SQUASH = squash_table()


def squash(x):
    x = clamp(x, -MAX, MAX)
    return SQUASH[x] if x >= 0 else 65536 - SQUASH[-x]


def least_table():
    """least(p) by p."""
    table, x = [], -MAX
    for p in range(65537):
        while x < MAX and squash(x) < p:
            x += 1
        table.append(x)
    return table


LEAST = least_table()


def stretch12(i):
    return LEAST[16 * i + 8]


def stretch(p):
    if p <= 4096:
        return LEAST[p]
    return -LEAST[65536 - p] if p >= 61440 else stretch12(p >> 4)


class Counter:
    """Section 4."""

    __slots__ = ("p", "n")

    def __init__(self, p16, n=0):
        self.p, self.n = p16 << 6, n

    def probability(self):
        return self.p >> 6

    def log_odds(self):
        return stretch12(self.p >> 10)

    def learn(self, bit, limit):
        target = (1 << 22) - 1 if bit else 0
        self.p += ((target - self.p) * (131072 // (2 * self.n + 3))) >> 16
        self.n = min(self.n + 1, limit)


# Section 5: bit histories.

MOST = [41, 30, 16, 11, 8, 6]
FORGET = [0, 1, 2, 2, 3, 3, 4, 4, 4] + [5] * 6 + [6] * 10 + [7] * 17


def after(history, bit):
    total, *c, recent = history
    other = 1 - bit
    c[bit] += 1
    c[other] = FORGET[c[other]]
    c[other] = min(c[other], MOST[min(c[bit], 5)])
    c[bit] = min(c[bit], MOST[min(c[other], 5)])
    exact = total < 3 and sum(c) <= 3
    return (sum(c), *c, recent * 2 + bit if exact else bit)


def states():
    """All histories in order, and the numbers of those that follow each."""
    found = open_ = {(0, 0, 0, 0)}
    while open_:
        open_ = {after(history, bit) for history in open_ for bit in (0, 1)} - found
        found = found | open_
    histories = sorted(found)
    number = {history: i for i, history in enumerate(histories)}
    return histories, [[number[after(h, bit)] for bit in (0, 1)] for h in histories]


HISTORIES, NEXT = states()


def history_map():
    estimate = lambda zeros, ones: 65536 * (10 * ones + 4) // (10 * zeros + 10 * ones + 8)
    return [Counter(estimate(zeros, ones), 30) for _, zeros, ones, _ in HISTORIES]
