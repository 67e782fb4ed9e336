"""A trained model as the beginning of a larger one: another vocabulary, more layers, normalised queries and keys.

    python grow.py MODEL --data data --layers 7 --qk-norm --out grown
    python train.py --data data --out run --from grown --minutes 60

A new token's vector is the mean of those that MODEL's tokenizer spells it with. A new layer adds nothing at first: its
matrices are random but for those into the residual stream, which are zero (as in Net2Net, Chen et al., arXiv:1511.05641).
Gains of normalised queries and keys are their mean size in MODEL, measured on the first tokens of data/train-*.tokens.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import checkpoint
from decoder import EMBEDDING, Decoder, configuration, initial_weights

SAMPLE = 8  # sequences
LENGTH = 1024


class Measured(Decoder):
    """Keeps the root mean square of queries and keys, layer by layer, in the order of computation."""

    sizes = ()

    def _rotate(self, x):
        self.sizes = (*self.sizes, x.square().mean().sqrt().item())
        return super()._rotate(x)


def embedding(old, new, vectors):
    """Vectors of `new`'s tokens, [vocabulary, width], from those of `old`'s."""
    rows = []
    for token in range(new.get_vocab_size()):
        piece = new.id_to_token(token)
        known = old.token_to_id(piece)
        # Text that is a part of a character has no spelling but its bytes, each a token of both alphabets.
        ids = [known] if known is not None else old.encode(new.decode([token])).ids
        if known is None and "\ufffd" in new.decode([token]):
            ids = [old.token_to_id(byte) for byte in piece]
        rows.append(vectors[ids].mean(0))
    return torch.stack(rows)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("data"), help="what prepare.py wrote")
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--qk-norm", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config, weights = checkpoint.load(args.model)
    old, new = (Tokenizer.from_file(str(at / "tokenizer.json")) for at in (Path(args.model), args.data))

    measured = Measured(config, LENGTH)
    text = np.fromfile(sorted(args.data.glob("train-*.tokens"))[0], np.uint16, SAMPLE * LENGTH)
    ids = old.encode(new.decode(text.tolist())).ids[: SAMPLE * LENGTH]
    ids = torch.tensor(ids[: len(ids) // LENGTH * LENGTH]).view(-1, LENGTH)
    measured.loss(weights, torch.nn.functional.pad(ids, (1, 0)))

    names = dict(width="hidden_size", heads="num_attention_heads", hidden="intermediate_size", window="sliding_window")
    size = {name: config[key] for name, key in names.items()}
    grown = configuration(vocabulary=new.get_vocab_size(), layers=args.layers, qk_norm=args.qk_norm, **size)
    result = initial_weights(grown, seed=1)
    for name, w in result.items():
        if name == EMBEDDING:
            w.copy_(embedding(old, new, weights[EMBEDDING]))
        elif name in weights:
            w.copy_(weights[name])
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            layer = int(name.split(".")[2])
            if layer < config["num_hidden_layers"]:
                w.fill_(measured.sizes[2 * layer + name.endswith("k_norm.weight")])
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            w.zero_()
    checkpoint.save(args.out, grown, result, args.data / "tokenizer.json")


if __name__ == "__main__":
    main()
