"""Range coder, decisions, tokens and lanes, by docs/numerics.md, sections 9 to 15 and 18."""

import bisect
import json
from dataclasses import dataclass, field


class Damage(Exception):
    """The archive is not what an encoder writes."""


@dataclass
class Prefix:
    """Section 18: a text before every chunk's; ranks of its tokens, and its decisions as (question, P, outcome)."""

    text: bytes = b""
    tokens: list = field(default_factory=list)
    decisions: list = field(default_factory=list)


class RangeDecoder:
    """Section 11."""

    def __init__(self, data):
        self.data, self.taken = data, 0
        self.code, self.range = 0, 0xFFFFFFFF
        for _ in range(4):
            self.take_byte()

    def take_byte(self):
        byte = self.data[self.taken] if self.taken < len(self.data) else 0
        self.code = (self.code << 8 | byte) & 0xFFFFFFFF
        self.taken += 1

    def decode(self, p):
        """A decision that is true with probability p / 2^16."""
        bound = self.range * p >> 16
        true = self.code < bound
        if true:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 24:
            self.range <<= 8
            self.take_byte()
        return int(true)

    def expect_end(self):
        if self.taken < len(self.data):
            raise Damage("coded bytes go on after all plain bytes")


def stand_ins():
    """GPT-2's characters for bytes: section 15."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


class Vocabulary:
    """The codable tokens in the order of their bytes: sections 9 and 15. Of a byte-level BPE that has a
    token for each byte, and whose added tokens are all special."""

    def __init__(self, tokenizer_json, vocab_size):
        tokenizer, byte_of = json.loads(tokenizer_json), stand_ins()
        added = {token["content"] for token in tokenizer["added_tokens"]}
        if not all(token["special"] for token in tokenizer["added_tokens"]):
            raise Damage("a tokenizer with added tokens that are codable")
        tokens = {}
        for text, id_ in tokenizer["model"]["vocab"].items():
            if text and id_ < vocab_size and text not in added and all(c in byte_of for c in text):
                spelled = bytes(byte_of[c] for c in text)
                tokens[spelled] = min(id_, tokens.get(spelled, id_))
        if not all(bytes([byte]) in tokens for byte in range(256)):
            raise Damage("a tokenizer without a token for each byte")
        self.bytes = sorted(tokens)
        self.ids = [tokens[spelled] for spelled in self.bytes]


def decode_token(vocabulary, cumulative, room, settle):
    """The rank of a lane's next token: section 10.

    cumulative: one more than the tokens; settle(question, P(true) of 2^16, or 0 or 65536 where it
    is certain) gives the outcome.
    """
    low, high, spelled = 0, len(vocabulary.bytes), b""

    def probability(start, end):
        part, whole = cumulative[end] - cumulative[start], cumulative[high] - cumulative[low]
        return 65536 * (part > 0) if part in (0, whole) else min(max((part << 16) // whole, 1), 65535)

    while True:
        if spelled and vocabulary.bytes[low] == spelled:
            certain = len(spelled) == room
            if settle("end", 65536 if certain else probability(low, low + 1)):
                return low
            low += 1
        if len(spelled) == room:
            raise Damage("a token goes past the end of its lane")
        byte = 0
        for bit in reversed(range(8)):
            upper = spelled + bytes([byte | 1 << bit])
            middle = bisect.bisect_left(vocabulary.bytes, upper, low, high)
            if settle("bit", probability(middle, high)):
                low, byte = middle, byte | 1 << bit
            else:
                high = middle
        spelled += bytes([byte])


def decode_lanes(coded, plain_len, n_lanes, vocabulary, opening, network, adaptive, trace=None):
    """A chunk of method model (adaptive is None) or mixed: section 12. opening: ids before each lane; trace: a prefix
    that gets the tokens and decisions."""
    coder = RangeDecoder(coded)
    bounds = [plain_len * i // n_lanes for i in range(n_lanes + 1)]
    rooms = [end - start for start, end in zip(bounds, bounds[1:])]
    texts, last = [b""] * n_lanes, opening[-1:] * n_lanes
    for token in opening[:-1]:
        network.step(range(n_lanes), [token] * n_lanes)

    def settle(lane, question, p):
        outcome = settle_one(lane, question, p)
        if trace is not None:
            trace.decisions.append((question, p, outcome))
        return outcome

    def settle_one(lane, question, p):
        """Section 13: one decision, and what the adaptive model is told of it."""
        if p in (0, 65536):
            outcome = int(p > 0)
            if adaptive and question == "bit":
                adaptive.pass_bit(lane, outcome)
            elif adaptive and outcome:
                adaptive.end_token(lane)
            return outcome
        if not adaptive:
            return coder.decode(p)
        predict, learn = {
            "bit": (adaptive.predict_bit, adaptive.learn_bit),
            "end": (adaptive.predict_end, adaptive.learn_end),
        }[question]
        outcome = coder.decode(predict(lane, p))
        learn(lane, outcome)
        return outcome

    step, learner = 0, network.learner
    while any(rooms):
        active = [lane for lane in range(n_lanes) if rooms[lane]]
        if learner:
            learner.learn_if_due(step)
        rows = network.step(active, [last[lane] for lane in active])
        step += 1
        for i, (lane, cumulative) in enumerate(zip(active, rows)):
            rank = decode_token(vocabulary, cumulative, rooms[lane], lambda *about: settle(lane, *about))
            texts[lane] += vocabulary.bytes[rank]
            rooms[lane] -= len(vocabulary.bytes[rank])
            last[lane] = vocabulary.ids[rank]
            if learner:
                learner.record(i, lane, rank)
            if trace is not None:
                trace.tokens.append(rank)
    coder.expect_end()
    return b"".join(texts)


def decode_bytes(coded, plain_len, adaptive, prefix):
    """A chunk of method adaptive, without its byte of parameters."""
    coder, plain = RangeDecoder(coded), bytearray()
    for byte in prefix:
        for shift in reversed(range(8)):
            adaptive.predict_bit(0)
            adaptive.learn_bit(0, byte >> shift & 1)
    for _ in range(plain_len):
        byte = 0
        for _ in range(8):
            bit = coder.decode(adaptive.predict_bit(0))
            adaptive.learn_bit(0, bit)
            byte = byte << 1 | bit
        plain.append(byte)
    coder.expect_end()
    return bytes(plain)
