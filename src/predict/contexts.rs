//! Contexts of the next byte, and the state of a lane from which they are computed.

use super::fields::FieldFinder;
use super::hash::mix;
use super::history::History;

/// Number of contexts; smaller tiers use the first ones.
const MAX_CONTEXTS: usize = 18;

/// Number of last bytes in each of the first contexts.
const ORDERS: [u32; N_ORDERS] = [1, 2, 3, 4, 6];

/// Number of these.
pub const N_ORDERS: usize = 5;

/// Predictions of the next byte by other models.
pub struct Surroundings {
    /// Byte that a match predicts, with the length of the match; 0 = no match.
    pub expected: u32,
    /// The two bytes that followed the last byte before.
    pub followers: u32,
}

/// Context state of one lane.
#[derive(Clone)]
pub struct LaneContext {
    /// The last eight bytes, newest lowest.
    pub last: u64,
    /// Bits of the current byte after a leading 1.
    pub partial: u32,
    /// Hash of the letters of the current word, 0 between words.
    pub word: u32,
    /// Hash of the previous word.
    previous_word: u32,
    /// Start of the current line and of the previous one.
    line_starts: [u32; 2],
    /// The first three bytes of the current line.
    line_head: u32,
    /// Hash of the bytes of the current token so far, and how many.
    pub token: u32,
    pub token_len: u32,
    /// Hash of the previous token.
    pub previous_token: u32,
    /// Hash of the one before that.
    pub second_last_token: u32,
    /// Classes of the last ten bytes, three bits each, newest lowest.
    shape: u32,
    pub fields: FieldFinder,
    record: RecordFinder,
}

impl LaneContext {
    pub fn new(start: u32) -> Self {
        LaneContext {
            last: 0,
            partial: 1,
            word: 0,
            previous_word: 0,
            line_starts: [start; 2],
            line_head: 0,
            token: 0,
            token_len: 0,
            previous_token: 0,
            second_last_token: 0,
            shape: 0,
            fields: FieldFinder::new(start),
            record: RecordFinder::new(),
        }
    }

    /// Returns the same state in a text that starts `distance` later.
    pub fn moved(&self, distance: u32) -> Self {
        let line_starts = self.line_starts.map(|start| start + distance);
        LaneContext {
            line_starts,
            record: self.record.moved(distance),
            fields: self.fields.moved(distance),
            ..self.clone()
        }
    }

    /// Moves past `byte`, which `history` already ends with.
    pub fn advance(&mut self, byte: u8, end: u32) {
        self.last = self.last << 8 | byte as u64;
        self.partial = 1;
        self.token = mix(self.token, byte as u32 + 1);
        self.token_len += 1;
        self.advance_word(byte);
        if byte == b'\n' {
            self.line_starts = [end, self.line_starts[0]];
            self.line_head = 0;
        } else if end - self.line_starts[0] <= 3 {
            self.line_head = self.line_head << 8 | byte as u32;
        }
        self.shape = self.shape << 3 | class(byte);
        self.fields.advance(byte, end);
        self.record.advance(byte, end);
    }

    fn advance_word(&mut self, byte: u8) {
        if byte.is_ascii_alphabetic() || byte >= 128 {
            self.word = mix(self.word, byte.to_ascii_lowercase() as u32 + 1);
        } else if self.word != 0 {
            (self.previous_word, self.word) = (self.word, 0);
        }
    }

    /// Returns the classes of the last `n` bytes, at most ten, three bits each.
    #[inline(always)]
    pub fn shape(&self, n: u32) -> u32 {
        self.shape & ((1 << (3 * n)) - 1)
    }

    /// Ends a token with the last byte.
    pub fn close_token(&mut self) {
        self.second_last_token = self.previous_token;
        self.previous_token = self.token;
        (self.token, self.token_len) = (0, 0);
    }

    /// Returns the hashes of the first `N` contexts of the next byte.
    pub fn contexts<const N: usize>(
        &self,
        lane: usize,
        history: &History,
        around: Surroundings,
    ) -> [u32; N] {
        let last = |n: u32| self.last as u32 & (u32::MAX >> (32 - 8 * n));
        let orders = self.orders();
        let column = history.end(lane) - self.line_starts[0];
        let [above, above2, period, phase] = self.vertical(lane, history, column);
        let FieldFinder { index, prefix, .. } = self.fields;
        let [field_above, field_above2] = self.fields.above(history, history.end(lane));
        let others: [[u32; 3]; MAX_CONTEXTS - N_ORDERS] = [
            [self.word, last(1), 0],
            [around.expected, last(1), 0],
            [above, phase, period],
            [last(3) >> 8, 0, 0],
            [around.followers, last(1), 0],
            [above | above2 << 8, phase, last(1)],
            [self.word, self.previous_word, last(1)],
            [self.token, self.previous_token, 0],
            [self.line_head, column.min(255), 0],
            [self.shape(10), 0, 0],
            [self.shape(5), last(1), 0],
            [index, prefix, 0],
            [field_above | field_above2 << 8, last(1), index],
        ];
        std::array::from_fn(|i| match orders.get(i) {
            Some(&hash) => hash,
            None => others[i - N_ORDERS].into_iter().fold(i as u32 + 1, mix),
        })
    }

    /// Returns the hashes of the first contexts, those of only the last bytes.
    pub fn orders(&self) -> [u32; N_ORDERS] {
        let parts = ORDERS.map(|n| self.last & (u64::MAX >> (64 - 8 * n)));
        std::array::from_fn(|i| mix(mix(i as u32 + 1, parts[i] as u32), (parts[i] >> 32) as u32))
    }

    /// Returns the vertical context: in binary records the bytes one and two records back, the
    /// record's length and the place in it; in text the byte above in the line before, the line's
    /// first two, 0 and the column.
    fn vertical(&self, lane: usize, history: &History, column: u32) -> [u32; 4] {
        match self.record.length {
            0 => {
                let at = self.line_starts[1] + column;
                let above = if at < self.line_starts[0] { history.at(at) as u32 } else { 0 };
                [above, self.line_head & 0xFFFF, 0, column.min(255)]
            }
            n => [
                history.back(lane, n) as u32,
                history.back(lane, 2 * n) as u32,
                n,
                history.end(lane) % n,
            ],
        }
    }
}

/// Detector of fixed-length records in binary data: a byte that recurs at the same distance.
#[derive(Clone)]
struct RecordFinder {
    last_seen: Vec<u32>,
    distances: Vec<u32>,
    candidate: u32,
    votes: u32,
    /// 0 = none.
    length: u32,
    /// Bytes since the last vote for it.
    idle: u32,
}

impl RecordFinder {
    const VOTES_NEEDED: u32 = 12;
    /// Bytes without a vote after which a length is given up.
    const PATIENCE: u32 = 1 << 10;

    fn new() -> Self {
        RecordFinder {
            last_seen: vec![0; 256],
            distances: vec![0; 256],
            candidate: 0,
            votes: 0,
            length: 0,
            idle: 0,
        }
    }

    fn moved(&self, distance: u32) -> Self {
        let moved = |&seen: &u32| if seen == 0 { 0 } else { seen + distance };
        let last_seen = self.last_seen.iter().map(moved).collect();
        RecordFinder { last_seen, ..self.clone() }
    }

    fn advance(&mut self, byte: u8, end: u32) {
        let i = byte as usize;
        let distance = end - self.last_seen[i];
        let again = distance == self.distances[i] && distance > 1;
        self.last_seen[i] = end;
        self.distances[i] = distance;
        self.idle += 1;
        if self.idle > Self::PATIENCE {
            self.length = 0;
        }
        if !again {
            return;
        }
        if distance == self.candidate {
            self.votes += 1;
            if distance == self.length {
                self.idle = 0;
            }
            if self.votes > Self::VOTES_NEEDED {
                self.length = distance;
                self.idle = 0;
                self.votes = Self::VOTES_NEEDED;
            }
        } else if self.votes > 0 {
            self.votes -= 1;
        } else {
            self.candidate = distance;
        }
    }
}

/// Returns the class of a byte, 0..=7: what matters of it for the shape of text.
fn class(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b' ' => 3,
        b'\n' => 4,
        0..32 => 5,
        128.. => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &[u8]) -> (LaneContext, History) {
        let mut history = History::new(1, text.len() as u32);
        let mut lane = LaneContext::new(history.end(0));
        for &byte in text {
            history.push(0, byte);
            lane.advance(byte, history.end(0));
        }
        (lane, history)
    }

    fn contexts(text: &[u8]) -> [u32; MAX_CONTEXTS] {
        let (lane, history) = after(text);
        lane.contexts(0, &history, Surroundings { expected: 0, followers: 0 })
    }

    #[test]
    fn orders_see_just_their_bytes() {
        let (a, b) = (contexts(b"1xyz...."), contexts(b"2xyw...."));
        assert_eq!(a[..4], b[..4]);
        assert_ne!(contexts(b"..abc")[2], contexts(b"..xbc")[2]);
        assert_eq!(contexts(b"..abc")[1], contexts(b"..xbc")[1]);
    }

    #[test]
    fn words_are_the_same_in_either_case() {
        assert_eq!(contexts(b"1 Word")[5], contexts(b"22 word")[5]);
    }

    #[test]
    fn records_are_found_by_their_period() {
        let table: Vec<u8> =
            (0..60u32).flat_map(|i| [200, (i * 37) as u8, (i * i * 11) as u8, 9, 9]).collect();
        assert_eq!(after(&table).0.record.length, 5);
        assert_eq!(after(b"no records in a short line of text").0.record.length, 0);
    }

    #[test]
    fn records_that_end_are_forgotten() {
        let mut text = [200, 1, 7, 9, 9].repeat(20);
        assert_eq!(after(&text).0.record.length, 5);
        text.extend((0..1100u32).map(|i| (i * i % 251) as u8));
        assert_eq!(after(&text).0.record.length, 0);
    }
}
