"""Recurrent models drawn from a seed, and their learning: docs/numerics.md, sections 17, 19, 23 and 25.

L lanes or rows, E inputs, H width, G gates times H.
"""

import numpy as np

from learning import ONE, Learner
from linear import F32, FloatLinear, fma
from network import counts, exp
from tokens import Damage

MASK, GAMMA = (1 << 64) - 1, 0x9E3779B97F4A7C15
GATES = {"gru": 3, "lstm": 4}


class SplitMix64:
    """Section 21."""

    def __init__(self, state):
        self.state = state

    def bits(self):
        self.state = z = self.state + GAMMA & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return z ^ z >> 31

    def normal(self, deviation, *shape):
        """Section 25."""
        count = 12 * int(np.prod(shape))
        z = np.uint64(self.state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GAMMA)
        self.state = self.state + count * GAMMA & MASK
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        uniform = ((z ^ z >> np.uint64(31)) >> np.uint64(40)).astype(F32)
        uniform = (uniform / F32(1 << 24) - F32(0.5)).reshape(-1, 12)
        n = np.zeros(len(uniform), F32)
        for column in uniform.T:
            n = n + column
        return (F32(deviation) * n).reshape(shape)


def sigmoid(x):
    return ONE / (ONE + exp(-x))


def tanh(x):
    return ONE - F32(2) / (exp(x + x) + ONE)


class Recurrent:
    """Section 17, for lanes that step together; weights of section 25."""

    most_positions = None

    def __init__(self, kind, width, layers, seed):
        if kind not in GATES:
            raise Damage(f"unsupported: a model of the kind {kind}")
        random = SplitMix64(SplitMix64(0).bits() ^ seed)
        self.kind, self.width, gates = kind, width, GATES[kind] * width
        inputs = min(width, 128)
        self.embedding, self.linears = random.normal(1, 256, inputs), []
        for _ in range(layers):
            for k in (inputs, width):
                self.linears.append(FloatLinear(random.normal(ONE / np.sqrt(F32(k)), gates, k)))
            inputs = width
        self.bias = np.zeros(gates, F32)
        self.bias[width:2 * width] = 1
        self.head = FloatLinear(np.zeros((256, width), F32))

    def steer(self, vectors):
        if len(vectors):
            raise Damage("a recurrent model has no steering vectors")

    def start(self, n_lanes):
        states = 2, len(self.linears) // 2, n_lanes, self.width
        (self.h, self.c), self.position = np.zeros(states, F32), 0

    def step(self, lanes, tokens):
        """Cumulative counts of each lane's next token, after `tokens`."""
        lanes, x, self.rows = list(lanes), self.embedding[tokens], []
        for layer, (h, c) in enumerate(zip(self.h, self.c)):
            linear_ih, linear_hh = self.linears[2 * layer:2 * layer + 2]
            last, last_c = h[lanes], c[lanes]
            x_gates = linear_ih(x, self.bias)
            cell = self.gru if self.kind == "gru" else self.lstm
            h[lanes], c[lanes], gates, new_y = cell(x_gates, linear_hh(last), last, last_c)
            self.rows.append((x, last, gates, new_y, last_c, c[lanes]))
            x = h[lanes]
        self.position += 1
        logits = self.head(x)
        self.rows.append((x, logits))
        return counts(logits)

    def gru(self, x, y, h, c):
        (xr, xz, xn), (yr, yz, yn) = np.split(x, 3, axis=1), np.split(y, 3, axis=1)
        r, z = sigmoid(xr + yr), sigmoid(xz + yz)
        n = tanh(fma(r, yn, xn))
        return fma(z, h - n, n), c, np.concatenate([r, z, n], axis=1), yn

    def lstm(self, x, y, h, c):
        i, f, g, o = np.split(x + y, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = fma(f, c, i * g)
        return o * tanh(c), c, np.concatenate([i, f, g, o], axis=1), c


def back(linear, dy):
    """The gradient of a linear layer's inputs: section 19."""
    return FloatLinear(linear.floats().T)(dy)


class AllLearner(Learner):
    """All matrices of a recurrent network."""

    def __init__(self, network, *parameters):
        self.network = network
        super().__init__([*network.linears, network.head], *parameters)

    def record(self, i, lane, rank):
        """Row i of the network's last call, of `lane`, which the token `rank` came after."""
        *layers, (x, logits) = [[part[i] for part in parts] for parts in self.network.rows]
        self.keep(lane, rank, logits, layers, x)

    def pairs(self):
        """Inputs and gradients of the outputs of all matrices, rows lane by lane."""
        return [*self.layers(), self.head_pair()]

    def layers(self):
        """Inputs and gradients of the outputs of all layers' matrices, rows lane by lane."""
        linears, found = self.network.linears, []
        grads = [[back(self.network.head, dy[None])[0] for _, _, dy in lane] for lane in self.rows]
        for layer in reversed(range(len(linears) // 2)):
            linear_ih, linear_hh = linears[2 * layer:2 * layer + 2]
            pairs, below = [], []
            for lane, grad in zip(self.rows, grads):
                rows = [layers[layer] for layers, *_ in lane]
                steps = self.through_time(linear_hh, rows, grad)
                pairs.extend((row[0], dx, row[1], dy) for row, (dx, dy) in zip(rows, steps))
                below.append([back(linear_ih, dx[None])[0] for dx, _ in steps])
            x, dx, last, dy = (np.array(part) for part in zip(*pairs))
            found[:0] = (x, dx), (last, dy)
            grads = below
        return found

    def through_time(self, linear_hh, rows, grad):
        """Gradients of both matrices' outputs, step by step, of a lane."""
        width, found = self.network.width, []
        d_h, d_c = np.zeros(width, F32), np.zeros(width, F32)
        cell = gru_backward if self.network.kind == "gru" else lstm_backward
        for row, dy in zip(reversed(rows), reversed(grad)):
            d_h, d_c, dx, dy = cell(row, d_h + dy, d_c)
            d_h = d_h + back(linear_hh, dy[None])[0]
            found.append((dx, dy))
        return found[::-1]


def gru_backward(row, d_h, d_c):
    _, last, gates, new_y, *_ = row
    r, z, n = np.split(gates, 3)
    d_n = d_h * (ONE - z) * (ONE - n * n)
    d_z = d_h * (last - n) * z * (ONE - z)
    d_r = d_n * new_y * r * (ONE - r)
    return d_h * z, d_c, np.concatenate([d_r, d_z, d_n]), np.concatenate([d_r, d_z, d_n * r])


def lstm_backward(row, d_h, d_c):
    _, _, gates, _, last_c, c = row
    i, f, g, o = np.split(gates, 4)
    shown = tanh(c)
    d_c = d_c + d_h * o * (ONE - shown * shown)
    d_o = d_h * shown * o * (ONE - o)
    d_i, d_f = d_c * g * i * (ONE - i), d_c * last_c * f * (ONE - f)
    dx = np.concatenate([d_i, d_f, d_c * i * (ONE - g * g), d_o])
    return np.zeros_like(d_h), d_c * f, dx, dx
