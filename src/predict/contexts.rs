//! The contexts under which the next byte is predicted, and what a lane must remember to know them.

use super::history::History;

/// How many contexts there are; smaller tiers use the first ones.
pub const MAX_CONTEXTS: usize = 16;

/// How many of the first contexts are plain orders: 1, 2, 3, 4, 6, 5.
pub const N_ORDERS: usize = 6;

/// One lane's place in its text.
#[derive(Clone)]
pub struct Lane {
    /// The last eight bytes, newest lowest.
    pub last: u64,
    /// Bits of the current byte after a leading 1.
    pub partial: u32,
    /// Hash of the letters of the current word, 0 between words.
    word: u32,
    /// Of the words before.
    previous_words: [u32; 2],
    /// Where the current line and the one before began.
    line_starts: [u32; 2],
    /// First bytes of the current line.
    line_head: u32,
    /// Hash of the bytes of the current token so far, and how many.
    pub token: u32,
    pub token_len: u32,
    /// Of the tokens before.
    pub previous_tokens: [u32; 2],
    record: RecordFinder,
}

impl Lane {
    pub fn new(start: u32) -> Self {
        Lane {
            last: 0,
            partial: 1,
            word: 0,
            previous_words: [0; 2],
            line_starts: [start; 2],
            line_head: 0,
            token: 0,
            token_len: 0,
            previous_tokens: [0; 2],
            record: RecordFinder::new(),
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
        self.record.advance(byte, end);
    }

    fn advance_word(&mut self, byte: u8) {
        if byte.is_ascii_alphabetic() || byte >= 128 {
            self.word = mix(self.word, byte.to_ascii_lowercase() as u32 + 1);
        } else if self.word != 0 {
            self.previous_words = [self.word, self.previous_words[0]];
            self.word = 0;
        }
    }

    /// A token ends with the last byte.
    pub fn close_token(&mut self) {
        self.previous_tokens = [self.token, self.previous_tokens[0]];
        (self.token, self.token_len) = (0, 0);
    }

    /// Hashes of all contexts of the next byte. `expected`: what a match expects and how sure it is. `after`: the bytes that
    /// followed the last byte before.
    pub fn contexts(&self, lane: usize, history: &History, expected: u32, after: u32) -> [u32; MAX_CONTEXTS] {
        let last = self.last;
        let c = |n: u32| (last & ((1u64 << (8 * n)) - 1)) as u32;
        let high = |n: u32| (last >> 32) as u32 & ((1u64 << (8 * (n - 4))) - 1) as u32;
        let column = history.end(lane) - self.line_starts[0];
        let above = self.above(lane, history, column);
        let record = self.record.length;
        let (in_record, phase) = match record {
            0 => (above, column.min(255)),
            n => (history.back(lane, n) as u32, history.end(lane) % n),
        };
        let in_record2 = if record > 0 { history.back(lane, 2 * record) as u32 } else { self.line_head & 0xFFFF };
        let parts: [[u32; 3]; MAX_CONTEXTS] = [
            [c(1), 0, 0],
            [c(2), 0, 0],
            [c(3), 0, 0],
            [c(4), 0, 0],
            [c(4), high(6), 0],
            [c(4), high(5), 0],
            [self.word, c(1), 0],
            [expected, c(1), 0],
            [self.word, self.previous_words[0], c(1)],
            [in_record, c(1), record],
            [in_record, phase, record],
            [c(3) >> 8, 0, 0],
            [after, c(1), 0],
            [self.token, self.previous_tokens[0], 1],
            [in_record | in_record2 << 8, phase, c(1)],
            [self.word, self.previous_words[0], self.previous_words[1] ^ c(1)],
        ];
        std::array::from_fn(|i| {
            let [a, b, c] = parts[i];
            mix(mix(mix(i as u32 + 1, a), b), c)
        })
    }

    fn above(&self, lane: usize, history: &History, column: u32) -> u32 {
        let at = self.line_starts[1] + column;
        let _ = lane;
        if at < self.line_starts[0] { history.at(at) as u32 } else { 0 }
    }
}

/// Finds the length of fixed records in binary data: a byte that keeps coming back at the same distance.
#[derive(Clone)]
struct RecordFinder {
    last_seen: Vec<u32>,
    distances: Vec<u32>,
    candidate: u32,
    votes: u32,
    /// 0 = none.
    length: u32,
}

impl RecordFinder {
    const VOTES_NEEDED: u32 = 12;

    fn new() -> Self {
        RecordFinder { last_seen: vec![0; 256], distances: vec![0; 256], candidate: 0, votes: 0, length: 0 }
    }

    fn advance(&mut self, byte: u8, end: u32) {
        let i = byte as usize;
        let distance = end - self.last_seen[i];
        let again = distance == self.distances[i] && distance > 1;
        self.last_seen[i] = end;
        self.distances[i] = distance;
        if !again {
            return;
        }
        if distance == self.candidate {
            self.votes += 1;
            if self.votes > Self::VOTES_NEEDED {
                self.length = distance;
                self.votes = Self::VOTES_NEEDED;
            }
        } else if self.votes > 0 {
            self.votes -= 1;
        } else {
            self.candidate = distance;
        }
    }
}

/// Folds `value` into `hash`.
#[inline]
pub fn mix(hash: u32, value: u32) -> u32 {
    let x = (hash.rotate_left(7) ^ value.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1);
    x ^ x >> 15
}
