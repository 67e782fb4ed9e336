#!/usr/bin/env python3
"""Learnability of compressed text: docs/equal-info.md. Trains a second model, M2, on a text as bytes, as tokens of a
byte pair encoding, as equal-information windows of several lengths, as whole streams of the coder and as gzip's.

    python3 benches/equalinfo.py --text TRAIN --held-out TEXT --m1 FOLDER --steps N [--seeds 1 2 3] >> rows.csv
    python3 benches/equalinfo.py --summary rows.csv

M1 is a model of bytes (`llmzip train --arch gru TRAIN -o FOLDER`). The same bytes are scored for all rows. Each row is
trained for each seed with --steps steps (equal tokens), and for each of --seeds-bytes with as many as make it see as many bytes of text as
the bytes' row does (equal bytes). The course over the steps is in curve.csv of each model's folder, in --work; runs that are there are not
made again, and one that was broken off goes on. --summary prints the tables of docs/equal-info.md. Needs numpy; the row bpe-4096 needs the package tokenizers and is left out without it.
"""

import argparse
import csv
import itertools
import json
import re
import statistics
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

BITS = [32, 64, 128]
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
        yield "w12-t12", lambda text, path: self.by_dictionary(text, path, 12)
        yield "w16-t8", self.windows_of_16_bits
        for bits in BITS:
            yield f"w{bits}-t8", lambda text, path, bits=bits: self.encode(text, path, "--bits", bits, "--token-bits", 8)

    def encode(self, text, path, *how, by=None):
        plain = path.with_suffix(".txt")
        plain.write_bytes(text)
        by = by or ["-m", self.arguments.m1, "-T", self.arguments.threads]
        self.run("equalinfo", "encode", "-f", *by, *how, plain, "-o", path)

    def by_dictionary(self, text, path, bits):
        """Windows of one token, cut without M1: the same as with it."""
        dictionary = self.work / f"m1-{bits}.windows"
        if not dictionary.exists():
            self.run("equalinfo", "dictionary", "--bits", bits, "-m", self.arguments.m1, "-o", dictionary)
        self.encode(text, path, by=["--dictionary", dictionary])

    def windows_of_16_bits(self, text, path):
        """The bytes of windows of 16 bits, the first the most significant."""
        self.by_dictionary(text, path, 16)
        tokens = np.load(path)
        save(path, np.stack([tokens >> 8, tokens & 255], axis=1).reshape(-1), len(text), 256)

    def train(self, paths, steps, seed, folder):
        """Parameters, bits per byte and learnability of a run, from its folder where it was made before."""
        said = folder.with_suffix(".said")
        if not said.exists():
            goes_on = ["--resume"] if (folder / "checkpoint.safetensors").exists() else []
            output = self.run("train", "--tokens", paths["train"], "--held-out", paths["held-out"], "--arch", "llama",
                              "--size", self.arguments.size, "--steps", steps, "--seed", seed, "--measures", self.arguments.measures,
                              "-T", self.arguments.threads, "-o", folder, *goes_on)
            said.write_text(output)
        parameters, _, held_out, learnability = REPORT.search(said.read_text()).groups()
        return int(parameters.replace(",", "")), float(held_out), float(learnability)

    def bench(self):
        """Seed by seed, so that what is there when time is over has all rows."""
        out = csv.writer(sys.stdout)
        out.writerow(COLUMNS)
        rows = {}
        for name, write in self.rows():
            if self.arguments.rows and name not in self.arguments.rows:
                continue
            rows[name] = paths = {part: self.work / f"{name}-{part}.npy" for part in self.texts}
            for part, text in self.texts.items():
                if not Path(f"{paths[part]}.json").exists():
                    write(text, paths[part])
        runs = [("tokens", seed) for seed in self.arguments.seeds] + [("bytes", seed) for seed in self.arguments.seeds_bytes]
        for (budget, seed), (name, paths) in itertools.product(runs, rows.items()):
            about = json.loads(Path(f"{paths['held-out']}.json").read_text())
            per_token = about["plain_len"] / about["n_tokens"]
            bits = np.log2(about["vocab_size"]) if "vocab_size" in about else about["token_bits"]
            steps = self.arguments.steps if budget == "tokens" else max(round(self.arguments.steps / per_token), 1)
            folder = self.work / f"{name}-{budget}-{seed}"
            if budget == "bytes" and steps == self.arguments.steps:
                folder = self.work / f"{name}-tokens-{seed}"  # of bytes, the same run
            parameters, held_out, learnability = self.train(paths, steps, seed, folder)
            out.writerow([name, budget, seed, steps, parameters, f"{per_token:.3f}", f"{bits / per_token:.3f}",
                          f"{held_out:.4f}", f"{learnability:.2f}"])
            sys.stdout.flush()


COLUMNS = ["row", "budget", "seed", "steps", "parameters", "bytes_per_token", "uniform_bpb", "bits_per_byte", "learnability_percent"]


def summary(paths, work):
    """Prints mean and standard deviation over the seeds, of each row and budget; and the curves at equal tokens."""
    groups = {}
    for path in paths:
        for run in csv.DictReader(Path(path).read_text().splitlines()):
            if run["row"] != "row":
                groups.setdefault((run["budget"], run["row"]), {})[run["seed"]] = run
    print("| budget | tokens are | steps | parameters | bytes per token | uniform | bits per byte | learnability, % | seeds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (budget, name), runs in groups.items():
        first = next(iter(runs.values()))

        def over_seeds(column, digits):
            values = [float(run[column]) for run in runs.values()]
            spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
            return f"{statistics.mean(values):.{digits}f}{spread}"

        print(f"| {budget} | {name} | {first['steps']} | {int(first['parameters']):,} | {float(first['bytes_per_token']):.2f} | "
              f"{float(first['uniform_bpb']):.2f} | {over_seeds('bits_per_byte', 3)} | {over_seeds('learnability_percent', 2)} | {len(runs)} |")
    print()
    for (budget, name), runs in groups.items():
        if budget == "tokens":
            curves = [list(csv.DictReader((work / f"{name}-tokens-{seed}" / "curve.csv").open())) for seed in runs]
            points = [(steps[0]["steps"], statistics.mean(float(point["held_out"]) for point in steps)) for steps in zip(*curves)]
            print(f"| {name} | " + " | ".join(f"{steps}: {held_out:.3f}" for steps, held_out in points) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llmzip", default="target/release/llmzip")
    parser.add_argument("--text")
    parser.add_argument("--held-out")
    parser.add_argument("--m1")
    parser.add_argument("--size", default="small", help="of M2")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--measures", type=int, default=20, help="points of a curve")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds-bytes", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--work", default="equalinfo-work")
    parser.add_argument("--summary", nargs="+", metavar="ROWS.csv")
    arguments = parser.parse_args()
    if arguments.summary:
        return summary(arguments.summary, Path(arguments.work))
    if not (arguments.text and arguments.held_out and arguments.m1 and arguments.steps):
        parser.error("--text, --held-out, --m1 and --steps, or --summary")
    Bench(arguments).bench()


main()
