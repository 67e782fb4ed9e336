"""Low-rank adapters that learn beside a transformer's layers: docs/numerics.md, sections 19, 23 and 24.

R rows, lane by lane, C hidden size, F feed-forward size, H heads, D dimensions of a head, K keys.
"""

import numpy as np

from learning import ONE, Learner
from linear import F32, FloatLinear, fma
from network import exp, root_of_squares, rotate, softmax_parts, tree
from recurrent import SplitMix64, back

RANK, SCALE = 16, F32(16)


def dot16(x, y):
    """Section 19, along the last axis."""
    lanes = np.zeros((*x.shape[:-1], 16), F32)
    for start in range(0, x.shape[-1], 16):
        n = min(16, x.shape[-1] - start)
        part = slice(start, start + n)
        lanes[..., :n] = fma(x[..., part], y[..., part], lanes[..., :n])
    return tree(lanes)


def chain(a, b):
    """Products of matrices, one chain over k. a: [M, k], b: [k, N]."""
    return FloatLinear(b.T)(a)


def norm_backward(x, gain, eps, dy):
    """The gradient of an RMS norm's input. x, dy: [R, C]."""
    r, w = root_of_squares(x, eps)[:, None], dy * gain
    q = (((dot16(w, x)[:, None] * r) * r) * r) / F32(x.shape[1])
    return fma(x, -q, w * r)


class AdaptedLinear:
    """A linear layer with an adapter beside it that learns."""

    def __init__(self, linear, random, columns):
        """columns: of the outputs, as parts: of each an adapter."""
        self.linear, self.parts = linear, []
        outputs, inputs = linear.floats().shape
        for part in columns or [slice(0, outputs)]:
            a = FloatLinear(random.normal(F32(1 / np.sqrt(inputs)), RANK, inputs))
            b = FloatLinear(np.zeros((part.stop - part.start, RANK), F32))
            self.parts.append((part, a, b))

    def floats(self):
        return self.linear.floats()

    def matrices(self):
        return [matrix for _, *matrices in self.parts for matrix in matrices]

    def __call__(self, x):
        """x: [L, K] -> [L, N]."""
        y = self.linear(x)
        for part, a, b in self.parts:
            y[:, part] += b(a(x) * SCALE)
        return y

    def backward(self, x, dy):
        """The gradient of x by part, and inputs and gradients of the outputs of all matrices."""
        w, found, pairs = self.linear.floats(), [], []
        for part, a, b in self.parts:
            d = dy[:, part]
            dx, d_hidden = chain(d, w[part]), back(b, d) * SCALE
            found.append(dx + back(a, d_hidden))
            pairs += [(x, d_hidden), (a(x) * SCALE, d)]
        return found, pairs


class AdapterLearner(Learner):
    """Adapters beside the layers of a chunk's network, and its head."""

    def __init__(self, network, *parameters):
        self.network = network = network.copy()
        random, inner = SplitMix64(SplitMix64(0).bits()), network.config["intermediate_size"]
        gate_up = [slice(0, inner), slice(inner, 2 * inner)]
        self.linears = []
        for layer in network.layers:
            for name in ("qkv", "out", "gate_up", "down"):
                layer[name] = AdaptedLinear(layer[name], random, gate_up if name == "gate_up" else None)
                self.linears += layer[name].matrices()
        network.head = FloatLinear(network.head.floats())
        super().__init__([*self.linears, network.head], *parameters)

    def record(self, i, lane, rank):
        """Row i of the network's last call, of `lane`, which the token `rank` came after."""
        *layers, (x, normed, logits) = self.network.rows
        layers = [{name: part[i] for name, part in layer.items()} for layer in layers]
        self.keep(lane, rank, logits[i], layers, x[i], normed[i])

    def pairs(self):
        """Inputs and gradients of the outputs of all matrices, rows lane by lane."""
        network, rows = self.network, [row for lane in self.rows for row in lane]
        head = self.head_pair()
        x = np.array([row[1] for row in rows])
        grad, found = norm_backward(x, network.norm, network.eps, back(network.head, head[1])), []
        for i in reversed(range(len(network.layers))):
            lanes = [[layers[i] for layers, *_ in lane] for lane in self.rows]
            grad, pairs = self.layer(network.layers[i], [lane for lane in lanes if lane], grad)
            found[:0] = pairs
        return [*found, head]

    def layer(self, layer, lanes, grad):
        """From the gradient of a layer's output that of its input, and the pairs of its matrices."""
        eps, rows = self.network.eps, [row for lane in lanes for row in lane]
        x, q, attended, middle, normed, gate, up = (
            np.array([row[name] for row in rows])
            for name in ("x", "q", "attended", "middle", "normed", "gate", "up")
        )
        sigmoid = ONE / (ONE + exp(-gate))
        activated = gate / (ONE + exp(-gate)) * up
        (dy,), of_down = layer["down"].backward(activated, grad)
        d_gate = ((dy * up) * sigmoid) * (ONE + gate * (ONE - sigmoid))
        d_up = (dy * gate) * sigmoid
        parts, of_gate_up = layer["gate_up"].backward(normed, np.concatenate([d_gate, d_up], axis=1))
        grad = grad + norm_backward(middle, layer["norm2"], eps, parts[0] + parts[1])
        (d_attended,), of_out = layer["out"].backward(attended, grad)
        d_qkv, at = [], 0
        for lane in lanes:
            d_qkv += self.attention(lane, q[at:at + len(lane)], d_attended[at:at + len(lane)])
            at += len(lane)
        normed = np.array([row["attention_normed"] for row in rows])
        (dy,), of_qkv = layer["qkv"].backward(normed, np.array(d_qkv))
        grad = grad + norm_backward(x, layer["norm1"], eps, dy)
        return grad, [*of_qkv, *of_out, *of_gate_up, *of_down]

    def attention(self, lane, q, d_out):
        """Gradients of a lane's queries, keys and values before they rotate, row by row: at most 64 rows, no vectors.
        q: [R, H, D]; d_out: [R, H * D]."""
        network, n = self.network, len(lane)
        heads, kv_heads, d = network.heads, network.kv_heads, network.head_dim
        keys, values = (
            np.array([*lane[0]["seen"][part], *(row["seen"][part][-1] for row in lane[1:])]) for part in (0, 1)
        )
        past = len(keys) - n
        seen = [len(row["seen"][0]) for row in lane]
        d_q, d_k, d_v = np.zeros_like(q), *(np.zeros((n, kv_heads, d), F32) for _ in "kv")
        d_out, shared = d_out.reshape(n, heads, d), heads // kv_heads
        for kv in range(kv_heads):
            own = range(kv * shared, (kv + 1) * shared)
            queries = np.concatenate([q[:, head] for head in own])
            d_o = np.concatenate([d_out[:, head] for head in own])
            k, v = keys[:, kv], values[:, kv]
            s, p = chain(queries, k.T) * network.scale, np.zeros((len(queries), len(k)), F32)
            for i in range(len(queries)):
                end = past + i % n + 1
                sees = slice(end - seen[i % n], end)
                e, total = softmax_parts(s[i:i + 1, sees])
                p[i, sees] = (e * (ONE / total)[:, None])[0]
            d_p = chain(d_o, v.T)
            d_s = ((d_p - dot16(d_p, p)[:, None]) * p) * network.scale
            for head, part in zip(own, np.split(chain(d_s, k), shared)):
                d_q[:, head] = part
            d_k[:, kv] = chain(np.ascontiguousarray(d_s.T), queries)[past:]
            d_v[:, kv] = chain(np.ascontiguousarray(p.T), d_o)[past:]
        rows = []
        for row, d_q, d_k, d_v in zip(lane, d_q, d_k, d_v):
            cos, sin = row["rotation"]
            d_q, d_k = (rotate(part[None], cos, np.negative(sin))[0] for part in (d_q, d_k))
            rows.append(np.concatenate([d_q, d_k, d_v]).ravel())
        return rows
