"""The adaptive model: docs/adaptive-model.md, sections 2 and 10 to 15."""

import copy

import numpy as np

from arithmetic import MAX, NEXT, Counter, clamp, fold, history_map, mix, near, pow2, squash, stretch
from text import Lane, MatchModel, Table, Text

ONE = 1 << 16


class WeightSet:
    """Section 10: one set of rows of weights, or the last layer."""

    def __init__(self, n_rows, initial, rates):
        self.weights = np.tile(np.array(initial, np.int64), (n_rows, 1))
        self.seen, self.rates = [0] * n_rows, rates

    def answer(self, inputs, row):
        self.inputs, self.row = inputs, row
        self.out = clamp(int(((self.weights[row] * inputs) >> 8).sum()) >> 8, -MAX, MAX)
        return self.out

    def learn(self, bit):
        first, last, half = self.rates
        rate = last + (first - last) * half // (half + self.seen[self.row])
        step = (((bit << 16) - squash(self.out)) * rate) >> 10
        weights = self.weights[self.row]
        weights += (self.inputs * step + (1 << 13)) >> 14
        np.clip(weights, -10 * ONE, 10 * ONE, out=weights)
        self.seen[self.row] = min(self.seen[self.row] + 1, 65536)


class Mixer:
    """Section 10."""

    def __init__(self, initial, rows, last_rows, rates):
        self.sets = [WeightSet(n, initial, rates[0]) for n in rows]
        self.last = WeightSet(last_rows, [ONE // len(rows)] * len(rows), rates[1]) if len(rows) > 1 else None

    def answer(self, inputs, rows, last_row):
        inputs = np.array(inputs, np.int64)
        answers = [s.answer(inputs, row) for s, row in zip(self.sets, rows)]
        return self.last.answer(np.array(answers, np.int64), last_row) if self.last else answers[0]

    def learn(self, bit):
        for weight_set in self.sets + ([self.last] if self.last else []):
            weight_set.learn(bit)


class CorrectionMap:
    """Section 14; rows that nobody has used yet are not kept."""

    def __init__(self, n):
        self.n, self.rows = n, {}

    def correct(self, x, context):
        context %= self.n
        if context not in self.rows:
            self.rows[context] = [Counter(squash(256 * j - 3072), 4) for j in range(25)]
        j, w = divmod(clamp(x, -MAX, MAX) + 3072, 256)
        low, high = self.rows[context][j:j + 2]
        self.used = high if w > 128 else low
        return max(1, (low.probability() * (256 - w) + high.probability() * w) // 256)

    def learn(self, bit):
        self.used.learn(bit, 255)


TIERS = {1: (6, (6,), 1, 11), 2: (9, (6,), 3, 14), 3: (14, (12, 5), 5, 16), 4: (18, (12, 5), 8, 16)}
LAST_RATES = (300, 40, 200)
END_RATES = (2000, 120, 600), (200, 40, 200)


class AdaptiveModel:
    """All state of a chunk, and the calls of section 2."""

    def __init__(self, tier, table_log2, lm, n_lanes, lane_len):
        self.n_contexts, leasts, self.n_sets, apm_log2 = TIERS[tier]
        chunk_len = n_lanes * lane_len
        log2 = lambda n: pow2(n).bit_length() - 1
        self.lm, self.text = lm, Text(n_lanes, lane_len)
        self.lanes = [Lane(start) for start in self.text.ends]
        self.table = Table(max(7, min(log2(chunk_len * self.n_contexts * 16), table_log2)) - 6)
        self.maps = [history_map() for _ in range(self.n_contexts)]
        self.order0 = [Counter(32768) for _ in range(256)]
        self.followers = [0] * 256
        self.matches = [MatchModel(m, clamp(log2(chunk_len), 8, 20), n_lanes) for m in leasts]
        initial = [22937, 9830, 9830] if lm else []
        initial += [9830 if lm else 13107, 0] * len(leasts) + [0, 0]
        initial += [4587 if lm else min(16384, 188743 // self.n_contexts), 0] * self.n_contexts
        rows = [128, 256, 256, 512, 256, 256, 1024, 257][:self.n_sets]
        self.mixer = Mixer(initial, rows, 256, ((1500, 80, 40 * self.n_contexts), LAST_RATES))
        n = clamp(pow2(chunk_len // 2), 256, 1 << apm_log2)
        self.a, self.b = CorrectionMap(1024), CorrectionMap(n)
        self.u, self.v = CorrectionMap(n), CorrectionMap(n)
        self.advantage = 0
        self.end_counters, self.n_end_counters = {}, clamp(pow2(2 * chunk_len), 1 << 10, 1 << 22)
        self.end_mixer = Mixer([45875] + [5242, 0] * 12, [16, 24, 256, 512, 104], 16, END_RATES)
        self.end_maps = CorrectionMap(4096), CorrectionMap(1024), CorrectionMap(16384)

    def read_prefix(self, prefix):
        """Section 15: lane 0 learns the prefix, the others become what it is then."""
        for question, p, outcome in prefix.decisions:
            if p in (0, 65536):
                if question == "bit":
                    self.pass_bit(0, outcome)
                elif outcome:
                    self.end_token(0)
            elif question == "bit":
                self.predict_bit(0, p)
                self.learn_bit(0, outcome)
            else:
                self.predict_end(0, p)
                self.learn_end(0, outcome)
        n, text = len(prefix.text), self.text
        for i in range(1, len(self.lanes)):
            distance = i * text.lane_len
            for kept in text.bytes, text.ended:
                kept[distance + 1:distance + 1 + n] = kept[1:1 + n]
            text.ends[i] += n
            self.lanes[i] = copy.deepcopy(self.lanes[0])
            self.lanes[i].move(distance)
            for match in self.matches:
                for kept in match.at, match.length, match.misses:
                    kept[i] = kept[0]

    def expected(self, i):
        """Where the byte lies that the first match of lane i expects, or None."""
        return next((m.at[i] for m in self.matches if m.length[i]), None)

    def load(self, i):
        """Sections 7 and 8: the slots, before the first bit of a half byte."""
        lane = self.lanes[i]
        if lane.partial == 1:
            at, expected = self.expected(i), 0
            self.x = None if at is None else self.text.bytes[at]
            if at is not None:
                expected = self.x + 1 | max(m.bucket(i) for m in self.matches) << 9
            hashes = lane.contexts(i, self.text, expected, self.followers)[:self.n_contexts]
            self.begins = int(self.lm and lane.token_len == 0)
            self.hashes = [h ^ 128 * self.begins for h in hashes]
            self.slots = [self.table.find(h) for h in self.hashes]
        elif 16 <= lane.partial < 32:
            self.slots = [self.table.find(self.table.second_half(h, lane.partial)) for h in self.hashes]
        n_bits = (lane.partial.bit_length() - 1) & 3
        self.node = 1 << n_bits | lane.partial & (1 << n_bits) - 1

    def predict_bit(self, i, p=None):
        """Section 11."""
        self.load(i)
        lane, partial = self.lanes[i], self.lanes[i].partial
        last1, inputs, odds = lane.last(1), [], 0
        if self.lm:
            odds = stretch(p)
            a = self.a.correct(odds, partial | min(lane.token_len, 3) << 8)
            b = self.b.correct(odds, near(last1, partial))
            inputs += [odds, stretch(a), stretch(b)]
        for match in self.matches:
            inputs += match.predict(i, self.text, partial)
        inputs += [256, self.order0[partial].log_odds()]
        known = 0
        for k, (history, (_, slot)) in enumerate(zip(self.maps, self.slots)):
            state = slot[self.node]
            counter = history[state]
            inputs += [counter.log_odds(), (counter.probability() - 32768) >> 5] if state else [0, 0]
            known += k < 5 and state != 0
        speaking = next((m.bucket(i) for m in self.matches if m.said), 0)
        place = 8 * min(lane.token_len, 3) + partial.bit_length() - 1
        certainty = min(7, abs(odds) // 200)
        field = 8 * lane.field + partial.bit_length() - 1
        expected = 0 if self.x is None else self.x + 1
        rows = [8 * speaking + certainty, partial, 32 * known + place, last1 + 256 * self.begins,
                lane.last(2) >> 8, field, lane.shape(3) + 512 * self.begins, expected]
        x = self.mixer.answer(inputs, rows[:self.n_sets], partial)
        u = self.u.correct(x, near(last1, partial))
        v = self.v.correct(x, near(lane.last(2) | expected << 16, partial))
        self.plain = squash(x)
        self.corrected = clamp((2 * self.plain + u + v + 2) // 4, 1, 65535)
        return self.corrected if self.advantage >= 0 else self.plain

    def learn_bit(self, i, bit):
        """Section 12."""
        for history, (_, slot) in zip(self.maps, self.slots):
            history[slot[self.node]].learn(bit, 255)
        self.order0[self.lanes[i].partial].learn(bit, 255)
        for part in [*self.matches, self.mixer, self.u, self.v] + ([self.a, self.b] if self.lm else []):
            part.learn(bit)
        loss = lambda p: ((bit << 16) - p) ** 2 >> 20
        self.advantage += loss(self.plain) - loss(self.corrected) - (self.advantage >> 13)
        self.record(i, bit)

    def pass_bit(self, i, bit):
        """Section 12."""
        self.load(i)
        self.record(i, bit)

    def record(self, i, bit):
        for _, slot in self.slots:
            slot[self.node] = NEXT[slot[self.node]][bit]
        if self.node >= 8:
            for where, slot in self.slots:
                self.table.put(where, slot)
        lane = self.lanes[i]
        lane.partial = lane.partial << 1 | bit
        if lane.partial >= 256:
            self.advance(i, lane.partial & 255)

    def advance(self, i, c):
        """Section 6: a whole byte."""
        lane, text = self.lanes[i], self.text
        text.bytes[text.ends[i]] = c
        text.ends[i] += 1
        lane.advance(c, text.ends[i])
        for match in self.matches:
            match.advance(i, text)
        before = lane.last(2) >> 8
        self.followers[before] = (self.followers[before] << 8 | c) & 0xFFFF

    def predict_end(self, i, p):
        """Section 13."""
        lane, at = self.lanes[i], self.expected(i)
        length = min(lane.token_len, 15)
        ended = 0 if at is None else self.text.ended[at - 1]
        code = 0 if at is None else 1 + 2 * self.text.bytes[at] + ended
        hashes = [
            fold(1, lane.token, 0),
            fold(2, lane.token, lane.token1),
            fold(3, lane.token, code),
            fold(4, lane.last(4), 0),
            fold(5, lane.last(4), lane.last(6) >> 32),
            fold(6, lane.last(2), length),
            fold(7, lane.last(3), length),
            fold(8, lane.word, length),
            fold(9, lane.shape(5), length),
            fold(10, lane.last(4), lane.last(8) >> 32),
            fold(11, mix(lane.token, lane.token1), lane.token2),
            fold(12, mix(lane.token, lane.field), lane.prefix),
        ]
        self.used = [
            self.end_counters.setdefault(h % self.n_end_counters, Counter(32768)) for h in hashes
        ]
        odds = stretch(p)
        inputs = [odds]
        for c in self.used:
            inputs += [c.log_odds(), (c.probability() - 32768) >> 6] if c.n else [0, 0]
        class_ = 0 if at is None else 1 + ended
        known = sum(c.n > 0 for c in self.used)
        rows = [length, 3 * min(7, abs(odds) // 192) + class_, lane.last(1), lane.shape(3), 8 * known + min(length, 7)]
        x = self.end_mixer.answer(inputs, rows, length)
        contexts = lane.token, code, mix(length, lane.last(2))
        corrected = sum(m.correct(x, context) for m, context in zip(self.end_maps, contexts))
        return clamp((squash(x) + corrected + 2) // 4, 1, 65535)

    def learn_end(self, i, ended):
        """Section 13."""
        for counter in self.used:
            counter.learn(ended, 255)
        for part in [self.end_mixer, *self.end_maps]:
            part.learn(ended)
        if ended:
            self.end_token(i)

    def end_token(self, i):
        """Section 6."""
        self.text.ended[self.text.ends[i] - 1] = 1
        self.lanes[i].end_token()
