"""A head that learns while it codes: docs/numerics.md, section 23, kind head. K inputs, N outputs."""

import numpy as np

from linear import F32, FloatLinear, fma
from network import softmax_parts

DECAY, EPS = F32(0.9999), F32(1e-8)
ONE = F32(1)


class Matrix:
    """A matrix that learns: its gradient and the step."""

    def __init__(self, linear):
        self.linear, self.second = linear, np.zeros_like(linear.w)

    def gradient(self, x, dy):
        """A chain over the rows; [K, N], as FloatLinear has the weights."""
        acc = np.zeros_like(self.second)
        for x, dy in zip(x, dy):
            acc = fma(x[:, None], dy, acc)
        return acc

    def step(self, gradient, rate, decayed):
        self.second = DECAY * self.second + ((ONE - DECAY) * gradient) * gradient
        root = np.sqrt(self.second / (ONE - decayed)) + EPS
        self.linear.w = self.linear.w - (rate * gradient) / root


class Learner:
    """Matrices that learn, and what was recorded since their last step: by lane, rows of which the last two parts are
    the head's input and the gradient of its logits."""

    def __init__(self, linears, tokens_log2, rate, n_lanes):
        """rate: in millionths."""
        self.matrices = [Matrix(linear) for linear in linears]
        self.decayed, self.rate = ONE, F32(rate) / F32(1e6)
        self.interval = max(1, (1 << tokens_log2) >> (n_lanes - 1).bit_length())
        self.rows, self.is_frozen = [[] for _ in range(n_lanes)], False

    def keep(self, lane, rank, logits, *parts):
        """A row of `lane` that the token `rank` came after; the last part is the head's input. logits: [N]."""
        e, total = softmax_parts(logits[None])
        gradient = (e * (ONE / total)[:, None])[0]
        gradient[rank] -= ONE
        self.rows[lane].append((*parts, gradient))

    def head_pair(self):
        """Inputs of the head and gradients of its outputs, rows lane by lane."""
        rows = [row for lane in self.rows for row in lane]
        return tuple(np.array([row[i] for row in rows]) for i in (-2, -1))

    def learn_if_due(self, step):
        if step == 0 or step % self.interval:
            return
        pairs = self.pairs()
        for lane in self.rows:
            lane.clear()
        gradients = [matrix.gradient(*pair) for matrix, pair in zip(self.matrices, pairs)]
        self.is_frozen |= not all(np.isfinite(gradient).all() for gradient in gradients)
        if self.is_frozen:
            return
        self.decayed *= DECAY
        for matrix, gradient in zip(self.matrices, gradients):
            matrix.step(gradient, self.rate, self.decayed)


class HeadLearner(Learner):
    """The head of a chunk's network, in floats."""

    def __init__(self, network, *parameters):
        self.network, self.head = network.copy(), FloatLinear(network.head.floats())
        self.network.head = self.head
        super().__init__([self.head], *parameters)

    def record(self, i, lane, rank):
        """Row i of the network's last call, of `lane`, which the token `rank` came after."""
        *_, (_, x, logits) = self.network.rows
        self.keep(lane, rank, logits[i], x[i])

    def pairs(self):
        """Inputs and gradients of the outputs of all matrices, rows lane by lane."""
        return [self.head_pair()]
