"""Weights in Hugging Face's layout: floats that transformers opens, or llmzip's integers (docs/numerics.md, section 16)."""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from decoder import EMBEDDING, is_block_matrix

HEAD_LEVELS = 63
QUANTIZATION = {"quant_method": "llmzip-int8", "activation_bits": 8}


def is_linear(name):
    return name == EMBEDDING or is_block_matrix(name)


def integers(weight, levels):
    """(whole numbers of at most `levels` in size, scale of each row) for a weight [outputs, inputs] of float32.

    Scales are numbers of float16, which take less room in a compressed file.
    """
    scale = (weight.abs().amax(1) / levels).clamp_min(1e-6).half().float()
    return torch.round(weight / scale[:, None]).clamp(-levels, levels), scale


def rounded(weight, levels):
    """The weight that `integers` stand for."""
    q, scale = integers(weight, levels)
    return q * scale[:, None]


def load(folder):
    """(config.json, weights as float32) of a folder of either kind."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("quantization_config", None)
    stored = load_file(folder / "model.safetensors")
    weights = {}
    for name, tensor in stored.items():
        if not name.endswith("_scale"):
            scale = stored.get(f"{name}_scale")
            weights[name] = tensor.float() if scale is None else tensor.float() * scale[:, None]
    return config, weights


def save(folder, config, weights, tokenizer, levels=None):
    """Writes a folder that llmzip takes: float16, or with `levels` (of each sign, at most 127) integers."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if levels:
        config = config | {"quantization_config": QUANTIZATION}
    stored = {}
    for name, weight in sorted(weights.items()):
        if levels and is_linear(name):
            q, scale = integers(weight, levels_of(name, levels))
            stored[name], stored[f"{name}_scale"] = q.to(torch.int8).contiguous(), scale.contiguous()
        else:
            stored[name] = weight.half().contiguous()
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")


def levels_of(name, levels):
    """The head has more: it is small, and its errors go straight to the probabilities."""
    return max(levels, HEAD_LEVELS) if name == EMBEDDING else levels
