"""Bits per byte of a model by itself: each file, or each document of a .docs file, one sequence after token 0.

    python evaluate.py MODEL FILE...

A file is read in one pass with the model's own window, in float32: what `llmzip --no-mix --lanes 1` codes but for the floor
of 2^-16 under each decision. A name may end in `:N` for the first N bytes.
"""
import argparse
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

import checkpoint
from decoder import Decoder

LENGTH = 4096  # tokens a pass; each sees the window before it


def texts(name):
    path, _, limit = name.partition(":")
    data = Path(path).read_bytes()[: int(limit) if limit else None]
    return [d for d in data.split(b"\0") if d] if path.endswith(".docs") else [data]


@torch.no_grad()
def bits(network, weights, window, tokens):
    """Cross-entropy of tokens[1:]. Passes overlap by a window a layer, so that none is cut short."""
    overlap = min(network.layers * window, LENGTH // 2)
    total, at = 0.0, 0
    while at < len(tokens) - 1:
        begin = max(0, at - overlap)
        piece = tokens[begin : begin + LENGTH + 1]
        padding = -(len(piece) - 1) % window
        padded = torch.tensor(piece + [0] * padding)[None]
        losses = network.loss(weights, padded, "none")[at - begin : len(piece) - 1]
        total += losses.double().sum().item()
        at = begin + len(piece) - 1
    return total / math.log(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    config, weights = checkpoint.load(args.model)
    network = Decoder(config, LENGTH)
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    for name in args.files:
        spent = size = 0
        for text in texts(name):
            ids = [0, *tokenizer.encode(text.decode("utf-8", "ignore")).ids]
            spent += bits(network, weights, config["sliding_window"], ids)
            size += len(text)
        print(f"{Path(name).name}\t{size}\t{spent / size:.4f}", flush=True)


if __name__ == "__main__":
    main()
