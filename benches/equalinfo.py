#!/usr/bin/env python3
"""Learnability of compressed text: docs/equal-info.md. Trains a second model, M2, on a text as bytes, as tokens of a
byte pair encoding, as equal-information windows of several lengths, as whole streams of the coder and as gzip's.

    python3 benches/equalinfo.py --text TRAIN --held-out TEXT --m1 FOLDER --steps N [--seeds 1 2 3] > rows.csv

M1 is a model of bytes (`llmzip train --arch gru TRAIN -o FOLDER`). The same bytes are scored for all rows. Each row is
trained twice for each seed: with --steps steps (equal tokens), and with as many as make it see as many bytes of text as the bytes' row does
(equal bytes). A row's course over the steps is in curve.csv of its model's folder, in --work. Needs numpy; the row bpe-4096 needs the package
tokenizers and is left out without it.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

BITS = [16, 32, 64, 128]
REPORT = re.compile(r"([\d,]+) parameters, ([\d,]+) steps, ([\d.]+) bits per byte.*learnability (-?[\d.]+) %")


def save(path, tokens, plain_len, vocab_size):
    """Tokens as `llmzip train --tokens` reads them."""
    np.save(path, np.asarray(tokens, dtype=np.uint8 if vocab_size <= 256 else np.uint16))
    about = {"plain_len": plain_len, "n_tokens": len(tokens), "vocab_size": vocab_size}
    Path(f"{path}.json").write_text(json.dumps(about))


def gzip_tokens(text, segment):
    """Deflate streams of segments, which decode alone, as M1's do."""
    pieces = [text[at:at + segment] for at in range(0, len(text), segment)]
    return np.frombuffer(b"".join(zlib.compress(piece, 9, wbits=-15) for piece in pieces), dtype=np.uint8)


def bpe(train, size):
    """A byte-level BPE of `size` tokens; None without the package."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        return None
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(train.decode("utf-8", "replace").splitlines(keepends=True), trainer)
    return lambda text: tokenizer.encode(text.decode("utf-8", "replace")).ids


class Bench:
    def __init__(self, arguments):
        self.arguments, self.work = arguments, Path(arguments.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.texts = {"train": Path(arguments.text).read_bytes(), "held-out": Path(arguments.held_out).read_bytes()}

    def run(self, *arguments):
        done = subprocess.run([self.arguments.llmzip, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def rows(self):
        """Name and a function that writes the tokens of a text to a path."""
        yield "bytes", lambda text, path: save(path, np.frombuffer(text, dtype=np.uint8), len(text), 256)
        encode = bpe(self.texts["train"], 4096)
        if encode:
            yield "bpe-4096", lambda text, path: save(path, encode(text), len(text), 4096)
        yield "gzip", lambda text, path: save(path, gzip_tokens(text, 10240), len(text), 256)
        yield "whole", lambda text, path: self.encode(text, path, "--whole", "--token-bits", 8)
        yield "w12-t12", lambda text, path: self.encode(text, path, "--bits", 12, "--token-bits", 12)
        for bits in BITS:
            yield f"w{bits}-t8", lambda text, path, bits=bits: self.encode(text, path, "--bits", bits, "--token-bits", 8)

    def encode(self, text, path, *how):
        plain = path.with_suffix(".txt")
        plain.write_bytes(text)
        self.run("equalinfo", "encode", "-f", "-m", self.arguments.m1, *how, plain, "-o", path)

    def train(self, paths, steps, seed, folder):
        said = self.run("train", "--tokens", paths["train"], "--held-out", paths["held-out"], "--arch", "llama",
                        "--size", self.arguments.size, "--steps", steps, "--seed", seed, "-o", folder)
        parameters, _, held_out, learnability = REPORT.search(said).groups()
        return int(parameters.replace(",", "")), float(held_out), float(learnability)

    def bench(self):
        out = csv.writer(sys.stdout)
        out.writerow(["row", "budget", "seed", "steps", "parameters", "bytes_per_token", "uniform_bpb", "bits_per_byte",
                      "learnability_percent"])
        for name, write in self.rows():
            if self.arguments.rows and name not in self.arguments.rows:
                continue
            paths = {part: self.work / f"{name}-{part}.npy" for part in self.texts}
            for part, text in self.texts.items():
                write(text, paths[part])
            about = json.loads(Path(f"{paths['held-out']}.json").read_text())
            per_token = about["plain_len"] / about["n_tokens"]
            bits = np.log2(about["vocab_size"]) if "vocab_size" in about else about["token_bits"]
            for budget, steps in [("tokens", self.arguments.steps), ("bytes", round(self.arguments.steps / per_token))]:
                for seed in self.arguments.seeds:
                    folder = self.work / f"{name}-{budget}-{seed}"
                    parameters, held_out, learnability = self.train(paths, max(steps, 1), seed, folder)
                    out.writerow([name, budget, seed, steps, parameters, f"{per_token:.3f}", f"{bits / per_token:.3f}",
                                  f"{held_out:.4f}", f"{learnability:.2f}"])
                    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llmzip", default="target/release/llmzip")
    parser.add_argument("--text", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--m1", required=True)
    parser.add_argument("--size", default="medium", help="of M2")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--work", default="equalinfo-work")
    Bench(parser.parse_args()).bench()


main()
