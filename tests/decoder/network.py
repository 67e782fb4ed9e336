"""The language model in order v1: docs/numerics.md, sections 2 to 9, 15, 21, 24 and 26. Slow, but every bit is right.

Vectors run over lanes, outputs and heads, never along a chain. Legend: L lanes, C hidden size,
H heads, G key/value heads, D dimensions of a head, V codable tokens.
"""

import copy
import json
import math

import numpy as np

from linear import F32, AdaptedLinear, FloatLinear, Int4Linear, Int8Linear, fma, quantise, unpack

np.seterr(over="ignore", under="ignore")


def bits(*values):
    """binary32 numbers from their bits."""
    return [np.uint32(v).view(F32) for v in values]


def tree(a):
    """Section 2. a: [.., 16] -> [..]."""
    b = a[..., :8] + a[..., 8:]
    c = b[..., :4] + b[..., 4:]
    return (c[..., 0] + c[..., 2]) + (c[..., 1] + c[..., 3])


def sum16(x, squares=False):
    """Section 2, along the last axis. x: [.., N] -> [..]."""
    lanes = np.zeros((*x.shape[:-1], 16), F32)
    for start in range(0, x.shape[-1], 16):
        part = x[..., start:start + 16]
        n = part.shape[-1]
        lanes[..., :n] = fma(part, part, lanes[..., :n]) if squares else lanes[..., :n] + part
    return tree(lanes)


def root_of_squares(x, eps):
    """r of section 3. x: [L, C] -> [L]."""
    return F32(1) / np.sqrt(sum16(x, squares=True) / F32(x.shape[-1]) + eps)


def rms_norm(x, gain, eps):
    """Section 3. x: [L, C]; gain: [C]."""
    return (x * root_of_squares(x, eps)[:, None]) * gain


LOG2_E, MAGIC, LN2_HIGH, LN2_LOW = bits(0x3FB8AA3B, 0x4B400000, 0xBF317200, 0xB5BFBE8E)
EXP = bits(0x3AB60B61, 0x3C088888, 0x3D2AAAAB, 0x3E2AAAAB, 0x3F000000, 0x3F800000, 0x3F800000)


def exp(x):
    """Section 4."""
    small, x = x < F32(-87), np.clip(x, F32(-87), F32(88))
    t = fma(x, LOG2_E, MAGIC)
    n = t - MAGIC
    r = fma(n, LN2_LOW, fma(n, LN2_HIGH, x))
    p = np.full_like(x, EXP[0])
    for c in EXP[1:]:
        p = fma(p, r, c)
    power = ((t.view(np.uint32) + np.uint32(127)) << np.uint32(23)).view(F32)
    return np.where(small, F32(0), p * power)


def silu(x):
    """Section 5."""
    return x / (F32(1) + exp(-x))


def rotate(x, cos, sin):
    """Section 6. x: [L, heads, D]; cos, sin: [D / 2]."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def bfloat16(x):
    """Section 7: rounded and widened again."""
    pattern = x.view(np.uint32)
    rounded = pattern + np.uint32(0x7FFF) + ((pattern >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(F32)


def softmax_parts(s):
    """Sections 7 and 9: exp(s - the greatest), and their sum16. s: [.., N]."""
    e = exp(s - s.max(axis=-1, keepdims=True))
    return e, sum16(e)


def counts(logits):
    """Section 9: cumulative. logits: [L, V] -> lists of V + 1."""
    e, total = softmax_parts(logits)
    each = (e * (F32(2 ** 30) / total)[:, None]).astype(np.int64) + 1
    return [[0, *np.cumsum(row).tolist()] for row in each]


def read_safetensors(data):
    """Name -> binary32 array: a header's length in 64 bits, the header in JSON, the tensors."""
    length = int.from_bytes(data[:8], "little")
    body, tensors = data[8 + length:], {}
    for name, about in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            start, end = about["data_offsets"]
            kind = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "I8": "i1", "I32": "<u4", "I64": "<i8"}[about["dtype"]]
            values = np.frombuffer(body[start:end], kind)
            if about["dtype"] == "BF16":
                values = (values.astype(np.uint32) << np.uint32(16)).view(F32)
            kept = about["dtype"] in ("I32", "I64")
            tensors[name] = (values if kept else values.astype(F32)).reshape(about["shape"])
    return tensors


class Network:
    """Sections 8 and 15, for lanes that step together from position 0."""

    def __init__(self, config, weights, outputs):
        """outputs: the ids of the codable tokens in their order."""
        self.config, tensors = config, read_safetensors(weights)
        self.codable = outputs
        quantization = config.get("quantization_config")
        is_int4 = quantization and quantization["quant_method"] == "compressed-tensors"

        def integers(name):
            """Section 16: those of the file, or of its floats, with their scales."""
            weight, scale = tensors[f"{name}.weight"], tensors.get(f"{name}.weight_scale")
            return quantise(weight, 127) if scale is None else (weight, scale)

        def four_bits(names):
            """Section 26, in the layout of compressed-tensors, strategy group."""
            weights, = (group["weights"] for group in quantization["config_groups"].values())
            group, q, s, m = weights["group_size"], [], [], []
            for name in names:
                scale = tensors[f"{name}.weight_scale"]
                n, k = (int(x) for x in tensors[f"{name}.weight_shape"])
                q.append(unpack(tensors[f"{name}.weight_packed"])[:, :k])
                zero = tensors.get(f"{name}.weight_zero_point")
                z = F32(8) if zero is None else unpack(zero.T).T[:n].astype(F32)
                s.append(scale)
                m.append((F32(8) - z) * scale)
            index = tensors.get(f"{names[0]}.weight_g_idx", np.arange(k) // group)
            s, m = np.concatenate(s), np.concatenate(m)
            bits = config.get("llmzip", {}).get("activation_bits", 16)
            order = np.argsort(index, kind="stable")
            return Int4Linear(np.concatenate(q), s, m if m.any() else None, group, order, bits)

        def linear(*names, rows=slice(None)):
            """Layers with the same input as one."""
            if is_int4:
                if all(f"{name}.weight_packed" in tensors for name in names):
                    return four_bits(names)
            elif quantization:
                q, scale = (np.concatenate(parts)[rows] for parts in zip(*map(integers, names)))
                return Int8Linear(q, scale, quantization["activation_bits"])
            return FloatLinear(np.concatenate([tensors[f"{name}.weight"] for name in names])[rows])

        embedding = "model.embed_tokens"
        self.tied = tied = config.get("tie_word_embeddings", False) and "lm_head.weight" not in tensors
        self.head = linear(embedding if tied else "lm_head", rows=outputs)
        self.embedding = linear(embedding).floats() if tied and quantization else tensors[f"{embedding}.weight"]
        self.norm = tensors["model.norm.weight"]
        self.layers = []
        for i in range(config["num_hidden_layers"]):
            layer = f"model.layers.{i}"
            attention = [f"{layer}.self_attn.{part}_proj" for part in "qkvo"]
            self.layers.append({
                "norm1": tensors[f"{layer}.input_layernorm.weight"],
                "qkv": linear(*attention[:3]),
                "out": linear(attention[3]),
                "norm2": tensors[f"{layer}.post_attention_layernorm.weight"],
                "gate_up": linear(f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj"),
                "down": linear(f"{layer}.mlp.down_proj"),
            })
        self.eps = F32(config["rms_norm_eps"])
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.scale = F32(1 / math.sqrt(self.head_dim))
        # Section 15: a window, or as many positions as a lane has before it starts afresh.
        most, slides = config["max_position_embeddings"], config["model_type"] == "mistral"
        window = config.get("sliding_window") if slides else None
        self.window = min(window or most, most)
        self.most_positions = None if window else most
        theta, d = config.get("rope_theta", 10000.0), self.head_dim
        self.frequencies = [float(F32(1 / theta ** (2 * i / d))) for i in range(d // 2)]

    def copy(self):
        """The same network, of which layers can be replaced."""
        network = copy.copy(self)
        network.layers = [dict(layer) for layer in self.layers]
        return network

    def adapt(self, config, weights):
        """Section 24: the adapter in these files of PEFT's beside the layers."""
        tensors, r = read_safetensors(weights), config["r"]
        divisor = math.sqrt(r) if config.get("use_rslora") else r
        scale = F32(config["lora_alpha"] / divisor)
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        inner = self.config["intermediate_size"]
        places = {
            "qkv": [("self_attn.q_proj", 0), ("self_attn.k_proj", q), ("self_attn.v_proj", q + kv)],
            "out": [("self_attn.o_proj", 0)],
            "gate_up": [("mlp.gate_proj", 0), ("mlp.up_proj", inner)],
            "down": [("mlp.down_proj", 0)],
        }
        used = 0
        for i, layer in enumerate(self.layers):
            for linear, modules in places.items():
                parts = []
                for module, first in modules:
                    name = f"base_model.model.model.layers.{i}.{module}.lora_"
                    if f"{name}A.weight" in tensors:
                        parts.append((first, tensors[f"{name}A.weight"], tensors[f"{name}B.weight"]))
                if parts:
                    layer[linear] = AdaptedLinear(layer[linear], scale, parts)
                    used += 2 * len(parts)
        assert used == len(tensors), "an adapter for another network"

    def steer(self, vectors):
        """Section 21: keys and values of the vectors, by layer. vectors: [K, C]."""
        self.pinned = None
        pinned = [([], []) for _ in self.layers]
        for vector in vectors:
            self.run(vector[None], [[cache] for cache in pinned], None)
        self.pinned = [[np.array(part) for part in cache] for cache in pinned] if len(vectors) else None

    def start(self, n_lanes):
        """A new chunk. Keys and values of what the window sees: by layer, lane and position."""
        self.position = 0
        self.caches = [[([], []) for _ in range(n_lanes)] for _ in self.layers]

    def step(self, lanes, tokens):
        """Cumulative counts of each lane's next token, after `tokens`."""
        angles = [self.position * f for f in self.frequencies]
        rotation = [[F32(f(a)) for a in angles] for f in (math.cos, math.sin)]
        x = self.run(self.embedding[tokens], [[cache[lane] for lane in lanes] for cache in self.caches], rotation)
        self.position += 1
        normed = rms_norm(x, self.norm, self.eps)
        logits = self.head(normed)
        self.rows.append((x, normed, logits))
        return counts(logits)

    def run(self, x, caches, rotation):
        """All layers, with what a learner may want of each row. caches: by layer and row; rotation: cosines and sines
        of the rows' position, or None."""
        self.rows = []
        for i, (layer, cache) in enumerate(zip(self.layers, caches)):
            kept = {"x": x, "rotation": [rotation] * len(x)}
            x = x + self.attend(layer, cache, x, rotation, self.pinned and self.pinned[i], kept)
            normed = rms_norm(x, layer["norm2"], self.eps)
            gate, up = np.split(layer["gate_up"](normed), 2, axis=1)
            self.rows.append({**kept, "middle": x, "normed": normed, "gate": gate, "up": up})
            x = x + layer["down"](silu(gate) * up)
        return x

    def attend(self, layer, caches, x, rotation, pinned, kept):
        """Section 7, with the projections before and after it. pinned: keys and values of section 21."""
        normed = rms_norm(x, layer["norm1"], self.eps)
        qkv = layer["qkv"](normed).reshape(len(x), -1, self.head_dim)
        q, k, v = np.split(qkv, [self.heads, self.heads + self.kv_heads], axis=1)
        unrotated = q
        if rotation:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        for (keys, values), lane_k, lane_v in zip(caches, bfloat16(k), bfloat16(v)):
            keys.append(lane_k)
            values.append(lane_v)
            if rotation:
                del keys[:-self.window], values[:-self.window]
        shared = self.heads // self.kv_heads
        keys, values = (np.array([cache[i] for cache in caches]).repeat(shared, axis=2) for i in (0, 1))
        s = self.scores(q, keys)
        if pinned:
            pinned_keys, pinned_values = (np.stack([part] * len(x)).repeat(shared, axis=2) for part in pinned)
            s = np.concatenate([s, self.scores(unrotated, pinned_keys)], axis=1)
            values = np.concatenate([values, pinned_values], axis=1)
        p, total = softmax_parts(np.moveaxis(s * self.scale, 1, 2))
        o = np.zeros_like(q)
        for j in range(values.shape[1]):
            o = fma(p[:, :, j, None], values[:, j], o)
        o = (o * (F32(1) / total)[..., None]).reshape(len(x), -1)
        kept |= {"attention_normed": normed, "q": q, "attended": o}
        kept["seen"] = [(list(lane_keys), list(lane_values)) for lane_keys, lane_values in caches]
        return layer["out"](o)

    def scores(self, q, keys):
        """Chains over dimensions. q: [L, H, D]; keys: [L, N, H, D] -> [L, N, H]."""
        s = np.zeros(keys.shape[:3], F32)
        for d in range(self.head_dim):
            s = fma(q[:, None, :, d], keys[..., d], s)
        return s


def embedding_table(network, first_token):
    """Section 21: where they are the head's, tokens that are not codable have the first token's."""
    embedding = network.embedding
    if network.tied:
        embedding = np.broadcast_to(embedding[first_token], embedding.shape).copy()
        embedding[network.codable] = network.embedding[network.codable]
    return embedding


def random_steering(network, first_token, count, seed):
    """Section 21: vectors of a seed, [K, C]."""
    embedding = embedding_table(network, first_token)
    squares = np.square(embedding.astype(np.float64)).ravel()
    # cumsum adds one after the other, sum does not.
    scale = F32(np.sqrt(np.cumsum(squares)[-1] / squares.size))
    mask, numbers = (1 << 64) - 1, []
    for _ in range(count * embedding.shape[1]):
        n = F32(0)
        for _ in range(12):
            seed = seed + 0x9E3779B97F4A7C15 & mask
            z = seed
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
            z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
            z ^= z >> 31
            n += F32(z >> 40) / F32(1 << 24) - F32(0.5)
        numbers.append(scale * n)
    return np.array(numbers, F32).reshape(count, -1)


class Lanes:
    """The lanes of a chunk, which step together and start afresh where the network's positions end:
    section 14."""

    def __init__(self, network, n_lanes, context, steering, learner):
        """context: positions and overlap, or None; steering: vectors of section 21; learner: that of the network of
        section 23, or None."""
        self.network, self.n_lanes, self.context = network, n_lanes, context
        self.learner = learner
        self.inputs = [[] for _ in range(n_lanes)]
        network.steer(steering)
        network.start(n_lanes)

    def step(self, lanes, tokens):
        """As Network.step."""
        if self.context and self.network.position == self.context[0]:
            self.start_afresh(lanes, self.context[1])
        for lane, token in zip(lanes, tokens):
            self.inputs[lane].append(token)
        return self.network.step(lanes, tokens)

    def start_afresh(self, lanes, overlap):
        self.network.start(self.n_lanes)
        for back in range(overlap, 0, -1):
            self.network.step(lanes, [self.inputs[lane][-back] for lane in lanes])
