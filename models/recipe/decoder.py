"""The default model's network: a decoder of Mistral's or Qwen3's shape as a function of a dictionary of weights.

Weights go by their names in Hugging Face's checkpoints, the configuration is the checkpoint's own config.json. Shapes:
B sequences of T tokens (T a multiple of the window W), d wide, H heads of E, one key/value head (Shazeer,
arXiv:1911.02150), attention within a sliding window (Beltagy et al., arXiv:2004.05150), rotary positions (Su et al.,
arXiv:2104.09864), gated feed-forward (Shazeer, arXiv:2002.05202).
"""
import math

import torch
import torch.nn.functional as F

EMBEDDING = "model.embed_tokens.weight"  # the head too
BLOCKS = 2  # of queries in a window: fewer are simpler, more compute less that is masked
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def configuration(*, vocabulary, width, layers, heads, hidden, window, qk_norm=False, head_dim=64):
    """config.json of a model that transformers opens: a Mistral, or with `qk_norm` a Qwen3."""
    family = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    if qk_norm:
        family = {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "use_sliding_window": True,
            "max_window_layers": 0,
            "layer_types": ["sliding_attention"] * layers,
            "attention_bias": False,
        }
    return family | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": window,
        "tie_word_embeddings": True,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float16",
        "use_cache": True,
    }


def initial_weights(config, seed):
    """Random weights, `{name: float32}`."""
    random = torch.Generator().manual_seed(seed)
    width, hidden, layers = (config[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    queries, keys = config["num_attention_heads"] * config["head_dim"], config["head_dim"]

    def matrix(outputs, inputs, gain=1.0):
        return torch.randn(outputs, inputs, generator=random) * (0.7 * gain / math.sqrt(inputs))

    weights = {EMBEDDING: torch.randn(config["vocab_size"], width, generator=random) * 0.02}
    for i in range(layers):
        at = f"model.layers.{i}."
        into_residual = 1 / math.sqrt(2 * layers)
        weights[at + "input_layernorm.weight"] = torch.ones(width)
        weights[at + "self_attn.q_proj.weight"] = matrix(queries, width)
        weights[at + "self_attn.k_proj.weight"] = matrix(keys, width)
        if config["model_type"] == "qwen3":
            weights[at + "self_attn.q_norm.weight"] = torch.ones(keys)
            weights[at + "self_attn.k_norm.weight"] = torch.ones(keys)
        weights[at + "self_attn.v_proj.weight"] = matrix(keys, width)
        weights[at + "self_attn.o_proj.weight"] = matrix(width, queries, into_residual)
        weights[at + "post_attention_layernorm.weight"] = torch.ones(width)
        weights[at + "mlp.gate_proj.weight"] = matrix(hidden, width)
        weights[at + "mlp.up_proj.weight"] = matrix(hidden, width)
        weights[at + "mlp.down_proj.weight"] = matrix(width, hidden, into_residual)
    weights["model.norm.weight"] = torch.ones(width)
    return weights


def is_block_matrix(name):
    """Whether `name` is a matrix of a block: what Muon trains."""
    return name.split(".")[-2] in MATRICES


class Decoder:
    """The network of `config` for sequences of up to `length` tokens, multiples of the window."""

    def __init__(self, config, length, device="cpu"):
        self.config, self.layers = config, config["num_hidden_layers"]
        self.qk_norm = config["model_type"] == "qwen3"
        self.heads, self.head_dim, self.window = (
            config[k] for k in ("num_attention_heads", "head_dim", "sliding_window")
        )
        if length % self.window:
            raise ValueError(f"{length} tokens are no multiple of the window of {self.window}")
        pairs = torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim
        angles = torch.arange(length, dtype=torch.float64)[:, None] * config["rope_theta"] ** -pairs
        self.cos, self.sin = (f(angles).float().to(device) for f in (torch.cos, torch.sin))
        self.block = self.window // BLOCKS
        self.bias = self._bias(length // self.block).to(device)

    def _bias(self, blocks):
        """What scores get, [blocks, 1, block, window + block]: a query sees the last `window` keys up to its own."""
        w, b = self.window, self.block
        query, key = torch.arange(b)[:, None] + w, torch.arange(w + b)
        seen = (key <= query) & (query - key < w)
        exists = torch.arange(blocks)[:, None] * b + key >= w  # nothing is before the sequence
        return torch.zeros(blocks, 1, b, w + b).masked_fill(~(seen & exists[:, None, None]), -torch.inf)

    def _norm(self, x, weight):
        x = x.float()
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return (x * scale * weight.float()).to(weight.dtype)

    def _rotate(self, x):
        """x: [B, T, heads, E]"""
        a, b = x.float().chunk(2, -1)
        cos, sin = (table[: x.shape[1], None] for table in (self.cos, self.sin))
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)

    def _attention(self, y, weight):
        """y: [B, T, d]"""
        b, t, _ = y.shape
        n, w, e = t // self.block, self.block, self.head_dim
        q = F.linear(y, weight("q_proj")).view(b, t, self.heads, e)
        k = F.linear(y, weight("k_proj")).view(b, t, 1, e)
        if self.qk_norm:
            q, k = self._norm(q, weight("q_norm")), self._norm(k, weight("k_norm"))
        q, k = self._rotate(q), self._rotate(k)
        v = F.linear(y, weight("v_proj")).view(b, t, 1, e)
        q = q.view(b * n, w, self.heads, e).transpose(1, 2).reshape(b * n, self.heads * w, e)

        def with_window(x):
            x = F.pad(x.view(b, n, w, e), (0, 0, 0, 0, BLOCKS, 0))
            return torch.cat([x[:, i : i + n] for i in range(BLOCKS + 1)], 2).flatten(0, 1)

        k, v = with_window(k), with_window(v)
        scores = torch.bmm(q, k.transpose(1, 2)).float().view(b, n, self.heads, w, -1) * e**-0.5
        p = torch.softmax(scores + self.bias[:n], -1).to(v.dtype).view(b * n, self.heads * w, -1)
        mixed = torch.bmm(p, v).view(b * n, self.heads, w, e).transpose(1, 2).reshape(b, t, self.heads * e)
        return F.linear(mixed, weight("o_proj"))

    def loss(self, weights, tokens, reduction="mean"):
        """Cross-entropy in nats of tokens[:, 1:]; tokens: [B, T + 1]."""
        x = F.embedding(tokens[:, :-1], weights[EMBEDDING]).float()
        for i in range(self.layers):
            at = f"model.layers.{i}."
            y = self._norm(x, weights[at + "input_layernorm.weight"])
            x = x + self._attention(y, lambda name: weights[f"{at}self_attn.{name}.weight"])
            y = self._norm(x, weights[at + "post_attention_layernorm.weight"])
            gate = F.silu(F.linear(y, weights[at + "mlp.gate_proj.weight"]))
            up = F.linear(y, weights[at + "mlp.up_proj.weight"])
            x = x + F.linear(gate * up, weights[at + "mlp.down_proj.weight"])
        logits = F.linear(self._norm(x, weights["model.norm.weight"]), weights[EMBEDDING])
        return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction=reduction)
