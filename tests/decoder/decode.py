#!/usr/bin/env python3
"""Decodes a .llmz archive: a second reader, written from docs/format.md, docs/numerics.md and
docs/adaptive-model.md, to show that they suffice. It is for small archives: the language model takes
some fifth of a second for a token in floats, less in int8.

    python3 decode.py [--model FOLDER] < ARCHIVE > CONTENT

Needs numpy; with the package blake3 it also checks the BLAKE3 of contents and models.
"""

import argparse
import json
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from adaptive import AdaptiveModel
from network import Lanes, Network
from tokens import Damage, Vocabulary, decode_bytes, decode_lanes

try:
    from blake3 import blake3
except ImportError:
    blake3 = None

MAGIC, TAIL_MAGIC, END_TAG = b"\x9c\x4c\x0d\x0a", b"\x0a\x0d\x4c\x9c", 0x3F
STORED, MODEL, MIXED, ADAPTIVE = range(4)
MOST = 1 << 26
MODELS = Path(__file__).parents[2] / "models"
INT8 = {"quant_method": "llmzip-int8", "activation_bits": 8}
DEFAULT_0 = "512bddface84c700168ef41a4f9a66f1bffc1b6ffb83c1f6d23d37cc2c509c9b"
DEFAULT = "88a6cc52c3618c14afed182ece6097dbb8d7bdec04b67b8aaf036b80a52ad7a3"
BUILTIN = {1: ("default-0", DEFAULT_0, None), 2: ("default-0", DEFAULT_0, INT8), 3: ("default", DEFAULT, None)}


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def check(condition, what):
    if not condition:
        raise Damage(what)


def check_blake3(expected, what, *parts):
    if blake3 is None:
        print(f"BLAKE3 of {what} not checked: no package blake3", file=sys.stderr)
        return
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    check(hasher.digest() == expected, f"BLAKE3 of {what}")


class Reader:
    """Fields of a file in order: section 1 of the format."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        check(len(self.data) - self.at >= n, "truncated")
        self.at += n
        return self.data[self.at - n:self.at]

    def byte(self):
        return self.take(1)[0]

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                check((byte or i == 0) and value < 1 << 64, "varint is not canonical")
                return value
        raise Damage("varint goes on")

    def crc32(self, start, what):
        expected = zlib.crc32(self.data[start:self.at])
        check(self.u32() == expected, f"CRC-32 of {what}")

    def lengths(self, method, least, most):
        """plain_len and the payload's length."""
        plain_len = self.varint()
        check(least <= plain_len <= most, "plain_len is out of range")
        if method == STORED:
            return plain_len, plain_len
        coded_len = self.varint()
        check(1 <= coded_len < plain_len, "coded_len is out of range")
        return plain_len, coded_len


@dataclass
class Parameters:
    """Section 5: what a stream is coded with. The model is a code, or the digest where it is 0."""

    model: int | bytes
    context: tuple | None = None
    prefix: tuple = ()
    table_log2: int = 26


class Model:
    """The files of section 15 of the numerics; their digest is section 3 of the format."""

    def __init__(self, folder, digest, quantization=None):
        """quantization: in place of what the configuration says of it."""
        names = "config.json", "model.safetensors", "tokenizer.json"
        config, weights, tokenizer = files = [(folder / name).read_bytes() for name in names]
        parts = [part for file in files for part in (len(file).to_bytes(8, "little"), file)]
        check_blake3(digest, "the model", *parts)
        config = json.loads(config)
        if quantization:
            config["quantization_config"] = quantization
        self.vocabulary = Vocabulary(tokenizer, config["vocab_size"])
        self.network = Network(config, weights, self.vocabulary.ids)
        self.first_token = config.get("bos_token_id") or 0


class Decoder:
    """The streams of an archive; `model` gives the language model by code or digest."""

    def __init__(self, data, model):
        self.reader, self.model = Reader(data), model

    def archive(self):
        plain = self.stream()
        while self.reader.at < len(self.reader.data):
            plain += self.stream()
        return plain

    def stream(self):
        """Section 3."""
        start = self.reader.at
        check(self.reader.take(4) == MAGIC, "magic")
        version, code = self.reader.byte(), self.reader.byte()
        check(version == 0x11, f"unsupported version {version:#x}")
        check(code & 0x7F in (0, *BUILTIN), f"unknown model {code & 0x7F}")
        return self.single(start, code & 0x7F) if code & 0x80 else self.long(start, code)

    def single(self, start, code):
        """Section 4."""
        reader = self.reader
        check(code > 0, "a model without a code in single form")
        tag = reader.byte()
        plain_len, payload_len = reader.lengths(tag >> 6, 0, MOST)
        check(reader.byte() == crc8(reader.data[start:reader.at - 1]), "CRC-8 of the header")
        header, content_crc, payload = reader.data[start:reader.at], reader.u32(), reader.take(payload_len)
        plain = self.payload(tag, payload, plain_len, Parameters(code))
        parts = header + plain + (b"" if tag >> 6 == STORED else payload)
        check(zlib.crc32(parts) == content_crc, "CRC-32 of the content")
        return plain

    def long(self, start, code):
        """Sections 5, 7 and 8."""
        reader = self.reader
        model = code or reader.take(32)
        if code == 0:
            reader.take(reader.varint())
        flags, chunk_size = reader.byte(), reader.varint()
        reader.crc32(start, "the header")
        check(flags < 0x80, "unsupported flags")
        check(1 <= chunk_size <= MOST, "chunk_size is out of range")
        parameters = self.parameters(flags, model)
        chunks = []
        while reader.data[reader.at:reader.at + 1] != bytes([END_TAG]):
            chunks.append(self.chunk(chunk_size, parameters))
        index = reader.at
        reader.take(1)
        check(reader.varint() == len(chunks), "the index has another number of chunks")
        for tag, frame_len, plain in chunks:
            entry = reader.byte(), reader.varint(), reader.varint()
            check(entry == (tag, frame_len, len(plain)), "the index disagrees with a chunk")
        reader.crc32(index, "the index")
        footer, content = reader.at, b"".join(plain for _, _, plain in chunks)
        check_blake3(reader.take(32), "the content", content)
        check(reader.u32() == footer - index, "index_len")
        reader.crc32(footer, "the footer")
        check(reader.take(4) == TAIL_MAGIC, "tail magic")
        return content

    def parameters(self, flags, model):
        """Section 5."""
        reader, start, parameters = self.reader, self.reader.at, Parameters(model)
        if flags & 0x10:
            length, overlap = parameters.context = reader.varint(), reader.varint()
            check(length <= 1 << 24 and overlap <= 3 * length // 4, "the context is out of range")
        if flags & 0x20:
            n = reader.varint()
            check(1 <= n <= 4096, "the prefix's length is out of range")
            parameters.prefix = [reader.varint() for _ in range(n)]
        if flags & 0x40:
            parameters.table_log2 = reader.byte()
            check(10 <= parameters.table_log2 <= 26, "the table's size is out of range")
        if flags & 0x70:
            reader.crc32(start, "the parameters")
        return parameters

    def chunk(self, chunk_size, parameters):
        """Section 6."""
        reader, start = self.reader, self.reader.at
        tag = reader.byte()
        plain_len, payload_len = reader.lengths(tag >> 6, 1, chunk_size)
        plain_crc, payload_crc = reader.u32(), reader.u32()
        reader.crc32(start, "a chunk's header")
        payload = reader.take(payload_len)
        check(zlib.crc32(payload) == payload_crc, "CRC-32 of a payload")
        plain = self.payload(tag, payload, plain_len, parameters)
        check(zlib.crc32(plain) == plain_crc, "CRC-32 of a chunk's plain bytes")
        return tag, reader.at - start, plain

    def payload(self, tag, payload, plain_len, parameters):
        method, n_lanes = tag >> 6, (tag & 0x3F) + 1
        if method in (STORED, ADAPTIVE):
            check(n_lanes == 1, "lanes where there can be none")
        if method == STORED:
            return payload
        if method == ADAPTIVE:
            tier, table_log2 = (payload[0] & 3) + 1, payload[0] >> 2
            check(tier <= 3 and 10 <= table_log2 <= 26, "parameters of the adaptive model")
            return decode_bytes(payload[1:], plain_len, AdaptiveModel(tier, table_log2, False, 1, plain_len))
        lane_len, table_log2 = -(-plain_len // n_lanes), parameters.table_log2
        adaptive = AdaptiveModel(3, table_log2, True, n_lanes, lane_len) if method == MIXED else None
        model = self.model(parameters.model)
        most, context = model.network.most_positions, parameters.context
        check((context is None) == (most is None), "the context is not one for the model")
        check(context is None or context[0] <= most, "the context is longer than the model's")
        ids = model.vocabulary.ids
        check(all(rank < len(ids) for rank in parameters.prefix), "the prefix is past the vocabulary")
        opening = [model.first_token, *(ids[rank] for rank in parameters.prefix)]
        lanes = Lanes(model.network, n_lanes, context)
        return decode_lanes(payload, plain_len, n_lanes, model.vocabulary, opening, lanes, adaptive)


def main():
    parser = argparse.ArgumentParser(description="Decodes an archive: decode.py < ARCHIVE > CONTENT")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="for archives that name a digest")
    arguments = parser.parse_args()
    loaded = {}

    def model(name):
        if name not in loaded:
            loaded[name] = load(name)
        return loaded[name]

    def load(name):
        if isinstance(name, int):
            folder, digest, quantization = BUILTIN[name]
            return Model(MODELS / folder, bytes.fromhex(digest), quantization)
        check(arguments.model, f"needs the model {name.hex()}: --model")
        return Model(arguments.model, name)

    try:
        sys.stdout.buffer.write(Decoder(sys.stdin.buffer.read(), model).archive())
    except Damage as what:
        sys.exit(f"damaged or unsupported: {what}")


if __name__ == "__main__":
    main()
