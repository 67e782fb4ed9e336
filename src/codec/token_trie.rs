//! A token as binary decisions, with the language model's probability of each.
//!
//! Tokens are sorted by their bytes, so the tokens that share a prefix are a range of ranks, and
//! its part of the cumulative counts is the model's probability of that prefix. A token is spelled
//! byte by byte: where the bytes so far are a token themselves and others go on, one decision says
//! whether the token ends; then eight decisions, most significant bit first, give the next byte.
//! Each is P(upper part) = count of the upper part / count of the range: the chain rule, so the
//! whole distribution is used and nothing is approximated but the 16 bits of each probability.
//! Decisions with one possible outcome are not coded.

use crate::models::Vocabulary;

/// Encoder or decoder of single bits: one definition of the order of decisions serves both.
pub trait BitCoder {
    /// Codes a decision that is true with probability `p1` / 2^16, 0 < p1 < 2^16. An encoder codes
    /// `bit` and returns it; a decoder ignores `bit` and returns what was coded.
    fn code(&mut self, bit: bool, p1: u16) -> bool;
}

/// The coder of what both sides know already: codes nothing.
pub struct Known;

impl BitCoder for Known {
    fn code(&mut self, bit: bool, _: u16) -> bool {
        bit
    }
}

/// Subject of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the token ends after the bytes so far.
    End,
    /// A bit of the token's next byte; true is 1.
    Bit,
}

/// One decision of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Subject.
    pub question: Question,
    /// P(true) * 2^16 by the language model, or 0 or 65536 where only one outcome is possible.
    pub p1: u32,
}

impl Decision {
    /// The outcome, if only one is possible.
    pub fn forced(self) -> Option<bool> {
        match self.p1 {
            0 => Some(false),
            65536 => Some(true),
            _ => None,
        }
    }
}

/// The vocabulary's trie over bytes.
pub struct TokenTrie<'a> {
    vocabulary: &'a Vocabulary,
    /// By byte value: the first rank whose first byte is at least it; the last entry is the number
    /// of tokens.
    by_first_byte: Vec<u32>,
}

impl<'a> TokenTrie<'a> {
    /// The trie of `vocabulary`.
    pub fn new(vocabulary: &'a Vocabulary) -> Self {
        let mut by_first_byte = vec![0; 257];
        for rank in 0..vocabulary.len() as u32 {
            by_first_byte[usize::from(vocabulary.bytes(rank)[0]) + 1] = rank + 1;
        }
        Self { vocabulary, by_first_byte }
    }

    /// The first rank of `low..high` whose byte at `depth` is at least `value`; all have such a
    /// byte.
    fn first_at_least(&self, low: u32, high: u32, depth: usize, value: u32) -> u32 {
        if depth == 0 {
            return self.by_first_byte[value as usize].clamp(low, high);
        }
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = low + (high - low) / 2;
            if u32::from(self.vocabulary.bytes(middle)[depth]) < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A walk from the root to one token: ask with [`question`](Self::question), answer with
/// [`answer`](Self::answer), until [`token`](Self::token) tells.
///
/// Invariant: the ranks `low..high` are not empty, share their first `depth` bytes, and, but for
/// one that ends there while `at_end` is true, their next byte agrees with the bits answered so
/// far.
pub struct Walk<'a> {
    trie: &'a TokenTrie<'a>,
    /// [V + 1]
    cumulative: &'a [u32],
    low: u32,
    high: u32,
    depth: usize,
    /// Bytes left in the lane, the token's own included: no token passes them.
    room: usize,
    /// Bits of the next byte answered so far, below a leading 1.
    partial: u32,
    /// While a bit is asked: the first rank whose next byte has that bit set.
    middle: u32,
    state: WalkState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WalkState {
    AskEnd,
    AskBit,
    Done,
    /// The lane ends inside every token that begins so: no encoder codes this.
    Impossible,
}

impl<'a> Walk<'a> {
    /// Begins a token in a lane with `room` (not 0) bytes left. cumulative: [V + 1].
    pub fn new(trie: &'a TokenTrie<'a>, cumulative: &'a [u32], room: usize) -> Self {
        debug_assert!(cumulative.len() == trie.vocabulary.len() + 1);
        Self::begin(trie, cumulative, room)
    }

    fn begin(trie: &'a TokenTrie<'a>, cumulative: &'a [u32], room: usize) -> Self {
        let high = trie.vocabulary.len() as u32;
        debug_assert!(room > 0);
        let state = WalkState::AskBit;
        let mut walk =
            Self { trie, cumulative, low: 0, high, depth: 0, room, partial: 1, middle: 0, state };
        walk.split();
        walk
    }

    /// The next decision; `None` at the walk's end.
    pub fn question(&self) -> Option<Decision> {
        match self.state {
            WalkState::AskEnd => {
                let certain = self.depth == self.room;
                let p1 = if certain { 65536 } else { self.p1(self.low, self.low + 1) };
                Some(Decision { question: Question::End, p1 })
            }
            WalkState::AskBit => {
                Some(Decision { question: Question::Bit, p1: self.p1(self.middle, self.high) })
            }
            WalkState::Done | WalkState::Impossible => None,
        }
    }

    /// Answers the last question.
    pub fn answer(&mut self, outcome: bool) {
        match (self.state, outcome) {
            (WalkState::AskEnd, true) => self.state = WalkState::Done,
            (WalkState::AskEnd, false) => {
                self.low += 1;
                self.state = WalkState::AskBit;
                self.split();
            }
            (WalkState::AskBit, _) => {
                *if outcome { &mut self.low } else { &mut self.high } = self.middle;
                self.partial = 2 * self.partial + u32::from(outcome);
                if self.partial >= 256 {
                    self.end_byte();
                }
                if self.state == WalkState::AskBit {
                    self.split();
                }
            }
            (WalkState::Done | WalkState::Impossible, _) => {
                debug_assert!(false, "no question was asked")
            }
        }
    }

    fn end_byte(&mut self) {
        self.partial = 1;
        self.depth += 1;
        let ends_here = self.trie.vocabulary.bytes(self.low).len() == self.depth;
        self.state = match ends_here {
            true => WalkState::AskEnd,
            false if self.depth == self.room => WalkState::Impossible,
            false => WalkState::AskBit,
        };
    }

    /// The rank of the token that the answers spelled, at the end of a possible walk.
    pub fn token(&self) -> Option<u32> {
        (self.state == WalkState::Done).then_some(self.low)
    }

    /// Appends the ranks whose cumulative counts the walk to the token `rank` reads.
    pub fn places(trie: &'a TokenTrie<'a>, room: usize, rank: u32, places: &mut Vec<u32>) {
        let mut walk = Self::begin(trie, &[], room);
        loop {
            match walk.state {
                WalkState::AskEnd => places.extend([walk.low, walk.low + 1, walk.high]),
                WalkState::AskBit => places.extend([walk.low, walk.middle, walk.high]),
                WalkState::Done | WalkState::Impossible => break,
            }
            walk.answer(walk.outcome_towards(rank));
        }
    }

    /// The answer to the question on the way to the token of `rank`.
    pub fn outcome_towards(&self, rank: u32) -> bool {
        match self.state {
            WalkState::AskEnd => rank == self.low,
            _ => rank >= self.middle,
        }
    }

    /// Finds where the range splits by the next bit.
    fn split(&mut self) {
        let bits_after = self.partial.leading_zeros() - 24;
        let value = ((2 * self.partial + 1) << bits_after) & 0xff;
        self.middle = self.trie.first_at_least(self.low, self.high, self.depth, value);
    }

    /// P(a rank of `from..to`, given one of `low..high`) * 2^16; 0 or 65536 only where nothing else
    /// is possible.
    fn p1(&self, from: u32, to: u32) -> u32 {
        let at = |rank: u32| self.cumulative[rank as usize];
        let (part, whole) = (at(to) - at(from), at(self.high) - at(self.low));
        if part == 0 || part == whole {
            return if part == 0 { 0 } else { 65536 };
        }
        ((u64::from(part) << 16) / u64::from(whole)).clamp(1, 65535) as u32
    }
}
