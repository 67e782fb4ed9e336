"""Shards of NUL-separated UTF-8 documents (plain or .xz) to a tokenizer and files of tokens.

    python prepare.py --shards 'train-*.docs.xz' --valid 'valid-*.docs' --out data [--tokenizer tokenizer.json]

Writes OUT/tokenizer.json (byte-level BPE of documents from all shards, or the one given), OUT/train-*.tokens and
OUT/valid-*.tokens (uint16, each document after token 0) and OUT/bytes.json (bytes of text in each). Documents in wiki
markup, which are few, stand once more in OUT/train-wikitext.tokens, so that train.py can give them a share of their own. One document in `--crlf` gets CR-LF line ends, as
files of other systems have them: a model that never saw a carriage return pays dearly for each.
"""
import argparse, glob, json, lzma, os, random, zlib
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FIRST_TOKEN = "<|endoftext|>"  # id 0: opens every document
SAMPLE_BYTES = 40_000_000  # of text for the tokenizer
EXCERPT = 8_000  # characters of a document, at most, in that sample
BATCH = 512  # documents tokenized at a time


def documents(path):
    opened = lzma.open if path.endswith(".xz") else open
    with opened(path, "rb") as file:
        return [d.decode("utf-8", "ignore") for d in file.read().split(b"\0") if d]


def with_some_crlf(docs, one_in):
    """Converts one document in `one_in`, chosen by its content."""
    for doc in docs:
        chosen = one_in and zlib.crc32(doc.encode()) % one_in == 0
        yield doc.replace("\r\n", "\n").replace("\n", "\r\n") if chosen else doc


def is_wikitext(doc):
    """Whether a document is in wiki markup: one link in 300 characters, or some and as much other markup."""
    links, others = doc.count("[["), doc.count("'''") + doc.count("{{")
    return links * 300 > len(doc) or (links > 3 and others * 500 > len(doc))


def train_tokenizer(docs, vocabulary, seed):
    """Byte-level BPE of excerpts of random documents."""
    chooser = random.Random(seed)
    sample, size = [], 0
    for doc in chooser.sample(docs, len(docs)):
        start = chooser.randrange(max(1, len(doc) - EXCERPT))
        sample.append(doc[start : start + EXCERPT])
        size += len(sample[-1])
        if size > SAMPLE_BYTES:
            break
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=[FIRST_TOKEN], show_progress=False
    )
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def write_tokens(tokenizer, docs, path):
    """Writes all documents, returns their bytes."""
    docs, size = list(docs), 0
    with open(path, "wb") as file:
        for i in range(0, len(docs), BATCH):
            for encoding, doc in zip(tokenizer.encode_batch(docs[i : i + BATCH]), docs[i : i + BATCH]):
                np.array([0, *encoding.ids], np.uint16).tofile(file)
                size += len(doc.encode())
    print(f"{path}: {size} bytes, {os.path.getsize(path) // 2} tokens", flush=True)
    return size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", required=True, help="files to learn from, a pattern")
    parser.add_argument("--valid", required=True, help="files to measure on, a pattern")
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--tokenizer", help="use this one")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--crlf", type=int, default=25, help="one document in so many gets CR-LF line ends; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    shards = sorted(glob.glob(args.shards))
    if args.tokenizer:
        tokenizer = Tokenizer.from_file(args.tokenizer)
    else:
        docs = [doc for path in shards for doc in documents(path)]
        tokenizer = train_tokenizer(docs, args.vocabulary, args.seed)
    tokenizer.save(str(args.out / "tokenizer.json"))
    sizes, wikitext = {}, []
    for path in shards + sorted(glob.glob(args.valid)):
        name = Path(path).name.split(".")[0]
        docs = documents(path)
        if path in shards:
            wikitext += filter(is_wikitext, docs)
            docs = with_some_crlf(docs, args.crlf)
        sizes[name] = write_tokens(tokenizer, docs, args.out / f"{name}.tokens")
    name = "train-wikitext"
    sizes[name] = write_tokens(tokenizer, wikitext, args.out / f"{name}.tokens")
    (args.out / "bytes.json").write_text(json.dumps(sizes, indent=1) + "\n")


if __name__ == "__main__":
    main()
