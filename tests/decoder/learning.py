"""A head that learns while it codes: docs/numerics.md, section 23, kind head. K inputs, N outputs."""

import numpy as np

from linear import F32, FloatLinear, fma
from network import softmax_parts

DECAY, EPS = F32(0.9999), F32(1e-8)


class HeadLearner:
    """The head of a chunk's network, in floats, and what was recorded since its last step."""

    def __init__(self, w, tokens_log2, rate, n_lanes):
        """w: [N, K]; rate: in millionths."""
        self.linear = FloatLinear(w)
        self.second = np.zeros_like(self.linear.w)
        self.decayed, self.rate = F32(1), F32(rate) / F32(1e6)
        self.interval = max(1, (1 << tokens_log2) >> (n_lanes - 1).bit_length())
        self.rows, self.is_frozen = [[] for _ in range(n_lanes)], False

    def __call__(self, x):
        """Logits. x: [L, K] -> [L, N]."""
        logits = self.linear(x)
        self.last = x, logits
        return logits

    def record(self, i, lane, rank):
        """Row i of the last call, of `lane`, which the token `rank` came after."""
        x, logits = (part[i:i + 1] for part in self.last)
        e, total = softmax_parts(logits)
        gradient = (e * (F32(1) / total)[:, None])[0]
        gradient[rank] -= F32(1)
        self.rows[lane].append((x[0], gradient))

    def learn_if_due(self, step):
        if step == 0 or step % self.interval:
            return
        gradient = np.zeros_like(self.second)  # [K, N], as FloatLinear has the weights
        for x, dy in [row for rows in self.rows for row in rows]:
            gradient = fma(x[:, None], dy, gradient)
        for rows in self.rows:
            rows.clear()
        self.is_frozen |= not np.isfinite(gradient).all()
        if self.is_frozen:
            return
        self.decayed *= DECAY
        self.second = DECAY * self.second + ((F32(1) - DECAY) * gradient) * gradient
        root = np.sqrt(self.second / (F32(1) - self.decayed)) + EPS
        self.linear.w = self.linear.w - (self.rate * gradient) / root
