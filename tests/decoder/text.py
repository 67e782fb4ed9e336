"""What the adaptive model keeps of a text: docs/adaptive-model.md, sections 6 to 9."""

from arithmetic import U32, Counter, fold, mix, rotl


class Text:
    """Section 6: H, B and the ends of lanes."""

    def __init__(self, n_lanes, lane_len):
        self.bytes = bytearray(n_lanes * lane_len + 1)
        self.ended = bytearray(n_lanes * lane_len + 1)
        self.lane_len, self.n_lanes, self.ends = lane_len, n_lanes, [i * lane_len + 1 for i in range(n_lanes)]

    def is_written(self, q):
        lane = (q - 1) // self.lane_len
        return lane < self.n_lanes and q < self.ends[lane]

    def length(self, lane):
        return self.ends[lane] - lane * self.lane_len - 1

    def back(self, lane, distance):
        return self.bytes[self.ends[lane] - distance] if distance <= self.length(lane) else 0


def shape_class(c):
    """Section 6: 0..=7."""
    if chr(c).isdigit() and c < 128:
        return 0
    if 97 <= c <= 122 or 65 <= c <= 90:
        return 1 if c >= 97 else 2
    if c in b" \n":
        return 3 if c == 32 else 4
    return 5 if c < 32 else 6 if c >= 128 else 7


class Lane:
    """Section 6: what a lane keeps."""

    def __init__(self, start):
        self.bytes, self.partial = 0, 1
        self.word = self.word1 = self.head = self.token = self.token_len = self.token1 = 0
        self.token2 = self.bits = self.field = self.prefix = 0
        self.starts, self.above = [start] + [0] * 31, [0] * 32
        self.line0 = self.line1 = start
        self.seen, self.gap = [0] * 256, [0] * 256
        self.candidate = self.votes = self.record = self.idle = 0

    def last(self, n):
        return self.bytes & ((1 << 8 * n) - 1)

    def advance(self, c, end):
        self.bytes = (self.bytes << 8 | c) & (1 << 64) - 1
        self.partial = 1
        self.token, self.token_len = mix(self.token, c + 1), self.token_len + 1
        lower = c + 32 if 65 <= c <= 90 else c
        if 97 <= lower <= 122 or c >= 128:
            self.word = mix(self.word, lower + 1)
        elif self.word:
            self.word1, self.word = self.word, 0
        if c == 10:
            self.line1, self.line0, self.head = self.line0, end, 0
        elif end - self.line0 <= 3:
            self.head = self.head << 8 | c
        self.bits = (self.bits << 3 | shape_class(c)) & (1 << 30) - 1
        self.find_field(c, end)
        self.find_record(c, end)

    def shape(self, n):
        return self.bits & ((1 << 3 * n) - 1)

    def find_field(self, c, end):
        """Section 6.2."""
        if c == 10:
            self.above, self.starts, self.field = self.starts, [0] * 32, 0
        elif c in b",;\t| ":
            self.field = min(self.field + 1, 31)
        else:
            self.prefix = mix(self.prefix, c + 1)
            return
        self.starts[self.field], self.prefix = end, 0

    def find_record(self, c, end):
        d = end - self.seen[c]
        again = d == self.gap[c] and d > 1
        self.seen[c], self.gap[c] = end, d
        self.idle += 1
        if self.idle > 1024:
            self.record = 0
        if again and d == self.candidate:
            self.votes += 1
            if d == self.record:
                self.idle = 0
            if self.votes > 12:
                self.record, self.votes, self.idle = d, 12, 0
        elif again and self.votes > 0:
            self.votes -= 1
        elif again:
            self.candidate = d

    def move(self, distance):
        """Section 15."""
        self.line0, self.line1 = self.line0 + distance, self.line1 + distance
        for kept in self.seen, self.starts, self.above:
            kept[:] = [position + distance if position else 0 for position in kept]

    def end_token(self):
        self.token2, self.token1, self.token, self.token_len = self.token1, self.token, 0, 0

    def contexts(self, i, text, expected, followers):
        """Section 7."""
        end, last1 = text.ends[i], self.last(1)
        column = end - self.line0
        if self.record == 0:
            q = self.line1 + column
            above, above2 = text.bytes[q] if q < self.line0 else 0, self.head & 0xFFFF
            period, phase = 0, min(column, 255)
        else:
            above, above2 = text.back(i, self.record), text.back(i, 2 * self.record)
            period, phase = self.record, end % self.record
        at = self.above[self.field] + end - self.starts[self.field]
        is_above = lambda q: self.above[self.field] and q < self.starts[0]
        cell, cell2 = (text.bytes[q] if is_above(q) else 0 for q in (at, at + 1))
        orders = [(k, self.last(n)) for k, n in enumerate((1, 2, 3, 4, 6))]
        return [mix(mix(k + 1, v & U32), v >> 32) for k, v in orders] + [
            fold(6, self.word, last1, 0),
            fold(7, expected, last1, 0),
            fold(8, above, phase, period),
            fold(9, self.last(3) >> 8, 0, 0),
            fold(10, followers[last1], last1, 0),
            fold(11, above | above2 << 8, phase, last1),
            fold(12, self.word, self.word1, last1),
            fold(13, self.token, self.token1, 0),
            fold(14, self.head, min(column, 255), 0),
            fold(15, self.shape(10), 0, 0),
            fold(16, self.shape(5), last1, 0),
            fold(17, self.field, self.prefix, 0),
            fold(18, cell | cell2 << 8, last1, self.field),
        ]


class Table:
    """Section 8; groups that nobody has written yet are not kept."""

    def __init__(self, g):
        self.g, self.groups = g, {}

    def second_half(self, h, partial):
        return h ^ (mix(h, partial >> 1) >> max(0, self.g - 6)) ^ (partial & 1)

    def find(self, h):
        """The place of the slot, and a copy of it."""
        index, check = h >> (32 - self.g), h & 255
        group = self.groups.setdefault(index, [bytes(16)] * 4)
        for place, slot in enumerate(group):
            if slot[0] == check and slot[1] != 0:
                return (index, place), bytearray(slot)
        place = min(range(4), key=lambda k: group[k][1])
        return (index, place), bytearray([check] + [0] * 15)

    def put(self, where, slot):
        index, place = where
        self.groups[index][place] = bytes(slot)


class MatchModel:
    """Section 9."""

    def __init__(self, least, t, n_lanes):
        self.least, self.t, self.table = least, t, {}
        self.at, self.length, self.misses = ([0] * n_lanes for _ in range(3))
        wrong = lambda b, e: min(32768, 65536 // (4 + 4 * b) * (1 + bin(e).count("1")))
        self.trust = [[Counter(65535 - wrong(b, e), 30) for e in range(8)] for b in range(16)]
        self.said = None

    def bucket(self, lane):
        n = self.length[lane]
        if n <= 8:
            return (n + 1) // 2
        if n <= 16:
            return 5 + (n - 9) // 3
        if n <= 32:
            return 8 + (n - 17) // 6
        return 11 + sum(n > bound for bound in (64, 128, 512, 2048))

    def advance(self, lane, text):
        end = text.ends[lane]
        if self.length[lane]:
            wrong = text.bytes[self.at[lane]] != text.bytes[end - 1]
            self.misses[lane] = (self.misses[lane] << 1 | wrong) & 255
            self.at[lane] += 1
            going_on = not wrong and text.is_written(self.at[lane])
            self.length[lane] = min(self.length[lane] + 1, 65535) if going_on else 0
        if text.length(lane) < self.least:
            return
        h = 0
        for byte in text.bytes[end - self.least:end]:
            h = rotl((h ^ byte ^ 0x5A) * 0x2F0B4C47 & U32, 11)
        entry = (h * 0x9E3779B1 & U32) >> (32 - self.t)
        e = self.table.get(entry, 0)
        if self.length[lane] == 0 and e and text.is_written(e):
            most, k = min(max(32, self.least), text.length(lane), e - 1), 0
            while k < most and text.bytes[e - 1 - k] == text.bytes[end - 1 - k]:
                k += 1
            if k >= self.least:
                self.at[lane], self.length[lane] = e, k
        self.table[entry] = end

    def predict(self, lane, text, partial):
        self.said = None
        n = partial.bit_length() - 1
        byte = text.bytes[self.at[lane]]
        if self.length[lane] == 0 or (byte | 256) >> (8 - n) != partial:
            return 0, 0
        bit = byte >> (7 - n) & 1
        counter, sign = self.trust[self.bucket(lane)][self.misses[lane] & 7], 1 if bit else -1
        self.said = counter, bit
        return sign * counter.log_odds(), (sign * (counter.probability() - 32768) * 256) >> 14

    def learn(self, bit):
        if self.said:
            self.said[0].learn(bit == self.said[1], 1023)
