#!/usr/bin/env python3
"""Decodes a .llmz archive: a second reader, written from docs/format.md, docs/numerics.md and
docs/adaptive-model.md, to show that they suffice. It is for small archives: the language model takes
some fifth of a second for a token in floats, less in int8.

    python3 decode.py [--model FOLDER] [--adapter FOLDER] [--steering FILE] < ARCHIVE > CONTENT

Needs numpy; with the package blake3 it also checks the BLAKE3 of contents and models.
"""

import argparse
import json
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from adaptive import AdaptiveModel
from backward import AdapterLearner
from learning import HeadLearner
from network import Lanes, Network, random_steering, read_safetensors
from recurrent import AllLearner, Recurrent
from steering import carried_steering
from tokens import Damage, Prefix, Vocabulary, decode_bytes, decode_lanes

try:
    from blake3 import blake3
except ImportError:
    blake3 = None

MAGIC, TAIL_MAGIC, BLOCK, END_TAG = b"\x9c\x4c\x0d\x0a", b"\x0a\x0d\x4c\x9c", 0x01, 0x3F
STORED, MODEL, MIXED, ADAPTIVE, LEARNING = range(5)
HEAD, ALL, ADAPTER = range(3)
HEAD_LEARNS = HEAD, 9, 500  # how the head learns in a chunk of the method learning
MOST, MOST_BLOCK = 1 << 26, 1 << 20
MODELS = Path(__file__).parents[2] / "models"
DEFAULT = "88a6cc52c3618c14afed182ece6097dbb8d7bdec04b67b8aaf036b80a52ad7a3"
NO_MODEL, DEFAULT_CODE, BY_DIGEST = 0, 1, 63


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

    def tag(self):
        """Method and lanes, and whether it is a block: section 7."""
        tag = self.byte()
        if tag == BLOCK:
            check(self.data[self.at:self.at + 1] != bytes([BLOCK]), "a block in a block")
            return *self.tag()[:2], True
        method, lanes = self.method(tag)
        return method, lanes, False

    def method(self, tag):
        """Method and lanes of a tag that begins with a byte."""
        check(tag != END_TAG, "an end tag in place of a chunk's")
        if 1 <= tag < END_TAG:
            return tag + 2, self.byte() + 1
        method, lanes = tag >> 6, (tag & 0x3F) + 1
        check(lanes == 1 or method in (MODEL, MIXED), "lanes where there can be none")
        return method, lanes

    def lengths(self, method, is_block, least, most):
        """plain_len and the payload's length."""
        plain_len = self.varint()
        check(least <= plain_len <= most, "plain_len is out of range")
        if method == STORED and not is_block:
            return plain_len, plain_len
        coded_len = self.varint()
        check(1 <= coded_len < (MOST_BLOCK + 1 if is_block else plain_len), "coded_len is out of range")
        return plain_len, coded_len


@dataclass
class Setup:
    """Sections 3 and 4: what a stream is coded with. The model is a code, or a digest."""

    model: int | bytes
    label: bytes = b""
    adapter: bytes | None = None  # the digest of its files
    context: tuple | None = None
    table_log2: int = 26
    learning: tuple | None = None  # kind, log2 of the tokens between steps, millionths
    steering: tuple | bytes | None = None  # count and seed, the digest of a file, or the code of carried vectors
    prefix: Prefix = field(default_factory=Prefix)
    block_len: int | None = None


class Model:
    """The files of section 15 of the numerics; their digest is section 3 of the format."""

    def __init__(self, folder, digest, adapter):
        """adapter: the folder and the digest of one, or None."""
        names = "config.json", "model.safetensors", "tokenizer.json"
        config, weights, tokenizer = files = [(folder / name).read_bytes() for name in names]
        parts = [part for file in files for part in (len(file).to_bytes(8, "little"), file)]
        check_blake3(digest, "the model", *parts)
        config = json.loads(config)
        self.vocabulary = Vocabulary(tokenizer, config["vocab_size"])
        self.network = Network(config, weights, self.vocabulary.ids)
        if adapter:
            self.adapt(*adapter)
        self.first_token, self.digest = config.get("bos_token_id") or 0, digest


    def adapt(self, folder, digest):
        """Section 4 of the format, 24 of the numerics."""
        files = [(folder / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")]
        parts = [part for file in files for part in (len(file).to_bytes(8, "little"), file)]
        check_blake3(digest, "the adapter", *parts)
        self.network.adapt(json.loads(files[0]), files[1])


class SeededModel:
    """Section 25 of the numerics."""

    first_token = 0

    def __init__(self, label, digest):
        check_blake3(digest, "the model's name", label)
        _, kind, size, seed = label.decode().split(":")
        width, _, layers = size.partition("x")
        self.network = Recurrent(kind, int(width), int(layers or 1), int(seed))
        self.vocabulary, self.digest = ByteVocabulary(), digest


class ByteVocabulary:
    """The bytes."""

    bytes, ids = [bytes([byte]) for byte in range(256)], range(256)


class Decoder:
    """The streams of an archive; `model` gives the language model by code or digest, with an adapter by digest."""

    def __init__(self, data, model, steering):
        """steering: the bytes of a file of steering vectors, or None."""
        self.reader, self.model, self.steering = Reader(data), model, steering
        self.vectors = {}

    def archive(self):
        """Section 2."""
        plain = self.stream()
        while any(self.reader.data[self.reader.at:]):
            plain += self.stream()
        return plain

    def stream(self):
        """Section 3."""
        start, reader = self.reader.at, self.reader
        check(reader.take(4) == MAGIC, "magic")
        version, model = reader.byte(), reader.byte()
        check(version == 0x11, f"unsupported version {version:#x}")
        code = model & 0x3F
        check(code in (NO_MODEL, DEFAULT_CODE, BY_DIGEST), f"unknown model {code}")
        setup = Setup(code)
        if code == BY_DIGEST:
            setup.model = reader.take(32)
            setup.label = reader.take(reader.varint())
        extensions = self.extensions() if model & 0x40 else {}
        form = self.single if model & 0x80 else self.long
        return form(start, setup, extensions)

    def extensions(self):
        """Section 4: contents by id."""
        found, key = {}, 1
        while key & 1:
            key = self.reader.varint()
            check(key >> 1 > max(found, default=-1), "extensions are out of order")
            found[key >> 1] = self.reader.take(self.reader.varint())
        return found

    def apply(self, setup, extensions):
        """Section 4, once the header's checksum is right."""
        unknown = [id_ for id_ in extensions if id_ % 2 == 0 and id_ not in (2, 4, 6, 8, 10, 12, 14)]
        check(not unknown, f"unsupported extensions {unknown}")
        if 2 in extensions:
            content = Reader(extensions[2])
            length, overlap = setup.context = content.varint(), content.varint()
            check(1 <= length <= 1 << 24 and overlap <= 3 * length // 4, "the context is out of range")
        if 6 in extensions:
            setup.table_log2, = extensions[6]
            check(10 <= setup.table_log2 <= 26, "the table's size is out of range")
        if 8 in extensions:
            content = Reader(extensions[8])
            kind = content.byte()
            check(kind <= 2, "the kind of steering vectors")
            if kind == 2:
                crc, setup.steering = content.byte(), content.take(len(content.data) - 2)
                check(crc == crc8(setup.steering), "CRC-8 of the carried steering vectors")
            elif kind == 0:
                count, seed = setup.steering = content.byte(), content.varint()
                check(1 <= count <= 64, "the number of steering vectors")
            else:
                setup.steering = content.take(32),
                content.take(content.varint())
            check(content.at == len(content.data), "the steering extension goes on")
        if 12 in extensions:
            content = Reader(extensions[12])
            setup.adapter = content.take(32)
            content.take(content.varint())
            check(content.at == len(content.data), "the adapter extension goes on")
        if 4 in extensions:
            content = Reader(extensions[4])
            method, lanes, is_block = content.tag()
            check(lanes == 1 and method != STORED and not is_block, "the prefix's tag")
            plain_len = content.varint()
            check(1 <= plain_len <= 1 << 16, "the prefix's length")
            prefix, payload = Prefix(), content.data[content.at:]
            prefix.text = self.payload((method, 1), payload, plain_len, setup, prefix)
            check(len(prefix.tokens) <= 4096, "the prefix has too many tokens")
            setup.prefix = prefix
        if 10 in extensions:
            content = Reader(extensions[10])
            kind, tokens_log2, rate = content.byte(), content.byte(), content.varint()
            check(kind <= ADAPTER, "the kind of learning")
            check(4 <= tokens_log2 <= 12 and 1 <= rate <= 10 ** 6, "parameters of learning")
            check(content.at == len(content.data), "the learning extension goes on")
            setup.learning = kind, tokens_log2, rate
        setup.block_len = self.block_len(extensions)

    def block_len(self, extensions):
        """Section 4: the length of blocks, if there are any."""
        if 14 not in extensions:
            return None
        content = Reader(extensions[14])
        block_len = content.varint()
        check(content.at == len(content.data), "the block length extension goes on")
        check(512 <= block_len <= MOST_BLOCK and block_len % 512 == 0, "the length of blocks")
        return block_len

    def single(self, start, setup, extensions):
        """Section 5."""
        reader = self.reader
        *tag, is_block = reader.tag()
        plain_len, payload_len = reader.lengths(tag[0], is_block, 0, MOST)
        check(reader.byte() == crc8(reader.data[start:reader.at - 1]), "CRC-8 of the header")
        self.apply(setup, extensions)
        check(not is_block and setup.block_len is None, "the single form has no blocks")
        header, content_crc, payload = reader.data[start:reader.at], reader.u32(), reader.take(payload_len)
        plain = self.payload(tag, payload, plain_len, setup)
        parts = header + plain + (b"" if tag[0] == STORED else payload)
        check(zlib.crc32(parts) == content_crc, "CRC-32 of the content")
        return plain

    def long(self, start, setup, extensions):
        """Sections 6, 8 and 9."""
        reader = self.reader
        chunk_size = reader.varint()
        block_len = self.block_len(extensions)
        reader.crc32(start, "the header")
        if block_len is not None:
            check(not any(reader.take(-(reader.at - start) % block_len)), "the header's padding")
        check(1 <= chunk_size <= MOST, "chunk_size is out of range")
        self.apply(setup, extensions)
        chunks, content_len = [], 0
        while reader.data[reader.at:reader.at + 1] != bytes([END_TAG]):
            chunks.append(self.chunk(chunk_size, setup, content_len))
            content_len += len(chunks[-1][2])
        index = reader.at
        reader.take(1)
        check(reader.varint() == len(chunks), "the index has another number of chunks")
        for tag, frame_len, plain in chunks:
            entry = reader.tag(), reader.varint(), reader.varint()
            check(entry == (tag, frame_len, len(plain)), "the index disagrees with a chunk")
        reader.crc32(index, "the index")
        footer, content = reader.at, b"".join(plain for _, _, plain in chunks)
        check_blake3(reader.take(32), "the content", content)
        check(reader.u32() == footer - index, "index_len")
        reader.crc32(footer, "the footer")
        check(reader.take(4) == TAIL_MAGIC, "tail magic")
        return content

    def chunk(self, chunk_size, setup, content_len):
        """Section 7, after content_len plain bytes of the stream."""
        reader, start = self.reader, self.reader.at
        method, lanes, is_block = tag = reader.tag()
        plain_len, payload_len = reader.lengths(method, is_block, 1, chunk_size)
        if is_block:
            check(int.from_bytes(reader.take(8), "little") == content_len, "a block's start")
        plain_crc, payload_crc = reader.u32(), reader.u32()
        reader.crc32(start, "a chunk's header")
        payload = reader.take(payload_len)
        check(zlib.crc32(payload) == payload_crc, "CRC-32 of a payload")
        check((reader.at - start if is_block else None) == setup.block_len, "a block's length")
        if is_block:
            used = payload.rstrip(b"\0")
            check(len(used) <= plain_len <= payload_len if method == STORED else len(used) < plain_len, "a block's padding")
            payload = payload[:plain_len] if method == STORED else used
        plain = self.payload((method, lanes), payload, plain_len, setup)
        check(zlib.crc32(plain) == plain_crc, "CRC-32 of a chunk's plain bytes")
        return tag, reader.at - start, plain

    def payload(self, tag, payload, plain_len, setup, trace=None):
        """The plain bytes; trace: section 18 of the numerics."""
        (method, n_lanes), prefix = tag, setup.prefix
        check(method <= LEARNING, f"unsupported method {method}")
        if method == STORED:
            return payload
        if method == ADAPTIVE:
            tier, table_log2 = (payload[0] & 3) + 1, payload[0] >> 2
            check(10 <= table_log2 <= 26, "parameters of the adaptive model")
            adaptive = AdaptiveModel(tier, table_log2, False, 1, len(prefix.text) + plain_len)
            return decode_bytes(payload[1:], plain_len, adaptive, prefix.text)
        adaptive = None
        if method in (MIXED, LEARNING):
            lane_len = len(prefix.text) + -(-plain_len // n_lanes)
            adaptive = AdaptiveModel(4, setup.table_log2, True, n_lanes, lane_len)
            adaptive.read_prefix(prefix)
        check(setup.model != NO_MODEL, "a chunk runs a language model, and none is named")
        check(prefix.tokens or not prefix.text, "the prefix has no tokens")
        model = self.model(setup.model, setup.label, setup.adapter)
        most, context = model.network.most_positions, setup.context
        check((context is None) == (most is None), "the context is not one for the model")
        check(context is None or context[0] <= most, "the context is longer than the model's")
        opening = [model.first_token, *(model.vocabulary.ids[rank] for rank in prefix.tokens)]
        learner = self.learner(HEAD_LEARNS if method == LEARNING else setup.learning, model, n_lanes)
        network = learner.network if learner else model.network
        lanes = Lanes(network, n_lanes, context, self.steering_of(setup, model), learner)
        return decode_lanes(payload, plain_len, n_lanes, model.vocabulary, opening, lanes, adaptive, trace)


    def learner(self, learning, model, n_lanes):
        """Section 23; learning: as a stream's setup has it."""
        if not learning:
            return None
        kind, *parameters = learning
        is_drawn = isinstance(model, SeededModel)
        check(is_drawn == (kind == ALL), "unsupported: what of a model of files, or of one drawn from a seed, learns")
        learner = {HEAD: HeadLearner, ALL: AllLearner, ADAPTER: AdapterLearner}[kind]
        return learner(model.network, *parameters, n_lanes)

    def steering_of(self, setup, model):
        """Section 21: the vectors of a stream, [K, C]."""
        key = setup.model, setup.adapter, setup.steering
        if key not in self.vectors:
            self.vectors[key] = self.read_steering(setup.steering, model)
        return self.vectors[key]

    def read_steering(self, name, model):
        if name is None:
            return ()
        if isinstance(name, bytes):
            return carried_steering(Reader(name), model.network, model.first_token)
        if len(name) == 2:
            count, seed = name
            return random_steering(model.network, model.first_token, count, seed)
        check(self.steering, f"needs the steering vectors {name[0].hex()}: --steering")
        check_blake3(name[0], "the steering vectors", self.steering)
        header = json.loads(self.steering[8:8 + int.from_bytes(self.steering[:8], "little")])
        check(header["__metadata__"]["model"] == model.digest.hex(), "steering vectors for another model")
        return read_safetensors(self.steering)["steering"]


def main():
    parser = argparse.ArgumentParser(description="Decodes an archive: decode.py < ARCHIVE > CONTENT")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="for archives that name a digest")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="for archives that name its digest")
    parser.add_argument("--steering", type=Path, metavar="FILE", help="for archives that name its digest")
    arguments = parser.parse_args()
    steering = arguments.steering and arguments.steering.read_bytes()
    loaded = {}

    def model(*names):
        if names not in loaded:
            loaded[names] = load(*names)
        return loaded[names]

    def load(name, label, adapter):
        if label.startswith(b"seed:"):
            return SeededModel(label, name)
        if adapter:
            check(arguments.adapter, f"needs the adapter {adapter.hex()}: --adapter")
            adapter = arguments.adapter, adapter
        if isinstance(name, int):
            return Model(MODELS / "default", bytes.fromhex(DEFAULT), adapter)
        check(arguments.model, f"needs the model {name.hex()}: --model")
        return Model(arguments.model, name, adapter)

    try:
        sys.stdout.buffer.write(Decoder(sys.stdin.buffer.read(), model, steering).archive())
    except Damage as what:
        sys.exit(f"damaged or unsupported: {what}")


if __name__ == "__main__":
    main()
