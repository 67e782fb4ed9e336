//! Match model: predicts that the byte which followed the last occurrence of the recent bytes
//! follows again.
//!
//! A table remembers, for a hash of the last few bytes, where they ended. A candidate is compared
//! byte by byte before it is believed, and followed for as long as it predicts right. How far a
//! match of some length and record is to be trusted is learned. The history is one buffer in which
//! every lane's slice has its place, so a lane can match what another has read; positions are plain
//! offsets, 0 stands for none.

use super::counters::{ASSUMED_COUNT, Counter};
use super::history::History;
use super::logistic::NAT;
use crate::ops::arch::prefer_large_pages;

/// Maximum length of a match; longer ones count as this.
const LENGTH_MAX: u32 = 65535;

/// Number of length buckets: see [`bucket`].
pub const BUCKETS: u32 = 16;

/// Match that one lane follows.
#[derive(Clone, Copy, Default)]
struct FollowedMatch {
    /// Position of the predicted byte; 0 = no match.
    at: u32,
    /// Number of matching bytes before it.
    length: u32,
    /// Bucket of the length.
    bucket: u32,
    /// Misses among the last predicted bytes: 1 where wrong, newest lowest.
    misses: u8,
}

impl FollowedMatch {
    /// Moves past `byte`, whether it was predicted or not.
    fn go_on(&mut self, history: &History, byte: u8) {
        let wrong = history.at(self.at) != byte;
        self.misses = self.misses << 1 | wrong as u8;
        self.at += 1;
        let ends = wrong || !history.is_written(self.at);
        self.length = if ends { 0 } else { (self.length + 1).min(LENGTH_MAX) };
    }
}

/// Model of matches of at least `min_length` bytes, for all lanes.
pub struct MatchModel {
    min_length: u32,
    /// Position after the last `min_length` bytes, by their hash.
    table: Vec<u32>,
    shift: u32,
    follows: Vec<FollowedMatch>,
    /// Predicted byte of the current lane after a leading 1, or 0.
    expected: u32,
    /// P(the expected bit is right) by length bucket and misses.
    trust: Vec<Counter>,
    /// The counter behind the last prediction, and the bit it expected.
    used: Option<(usize, bool)>,
}

impl MatchModel {
    /// Creates a model with a table of `2^table_log2` positions.
    pub fn new(min_length: u32, table_log2: u32, n_lanes: usize) -> Self {
        let trust = |i| Counter::with_count(initial_trust(i / 8, i % 8), ASSUMED_COUNT);
        let trust = (0..BUCKETS * 8).map(trust).collect();
        let mut table = vec![0; 1 << table_log2];
        prefer_large_pages(&mut table);
        MatchModel {
            min_length,
            table,
            shift: 32 - table_log2,
            follows: vec![FollowedMatch::default(); n_lanes],
            expected: 0,
            trust,
            used: None,
        }
    }

    /// Returns the predicted next byte of `lane`, and its position.
    pub fn expected(&self, lane: usize, history: &History) -> Option<(u8, u32)> {
        let FollowedMatch { at, length, .. } = self.follows[lane];
        (length > 0).then(|| (history.at(at), at))
    }

    /// Returns the length bucket of `lane`'s match: 0 = none.
    #[inline(always)]
    pub fn bucket(&self, lane: usize) -> u32 {
        self.follows[lane].bucket
    }

    /// Copies to every other lane the match that lane 0 follows.
    pub fn spread(&mut self) {
        let first = self.follows[0];
        self.follows.fill(first);
    }

    /// Follows the match past the byte just added to `history`, or looks for one.
    pub fn advance(&mut self, lane: usize, history: &History) {
        let end = history.end(lane);
        let mut follow = self.follows[lane];
        if follow.length > 0 {
            follow.go_on(history, history.at(end - 1));
        }
        if history.len(lane) >= self.min_length {
            let slot = history.hash_of_last(lane, self.min_length) >> self.shift;
            let entry = std::mem::replace(&mut self.table[slot as usize], end);
            if follow.length == 0 && entry != 0 && history.is_written(entry) {
                let length = history.agreement(lane, entry, 32.max(self.min_length));
                if length >= self.min_length {
                    (follow.at, follow.length) = (entry, length);
                }
            }
        }
        follow.bucket = bucket(follow.length);
        self.follows[lane] = follow;
    }

    /// Starts a byte of `lane`.
    pub fn begin_byte(&mut self, lane: usize, history: &History) {
        self.expected = self.expected(lane, history).map_or(0, |(byte, _)| byte as u32 | 256);
    }

    /// Returns inputs for the mixer: log-odds of the next bit of the byte that
    /// [began](Self::begin_byte) in `lane`, and the same scaled by certainty; 0 without a match.
    /// `partial`: its bits so far after a leading 1.
    #[inline(always)]
    pub fn predict(&mut self, lane: usize, partial: u32) -> [i32; 2] {
        self.used = None;
        let left = partial.leading_zeros() - 23;
        if self.expected >> left != partial {
            return [0, 0];
        }
        let bit = self.expected >> (left - 1) & 1 == 1;
        let follow = &self.follows[lane];
        let index = (follow.bucket * 8 + (follow.misses & 7) as u32) as usize;
        let counter = self.trust[index];
        self.used = Some((index, bit));
        let sign = if bit { 1 } else { -1 };
        [sign * counter.stretch(), (sign * (counter.p() as i32 - 32768) * NAT) >> 14]
    }

    /// Updates the model with the bit that was predicted.
    #[inline(always)]
    pub fn update(&mut self, bit: bool) {
        if let Some((index, expected)) = self.used {
            self.trust[index].update(bit == expected, 1023);
        }
    }

    /// Returns whether the last prediction expected a bit.
    #[inline(always)]
    pub fn expects(&self) -> bool {
        self.used.is_some()
    }
}

/// Returns the bucket of a length: 0 without a match, then finer for short lengths: 1..=15.
fn bucket(length: u32) -> u32 {
    match length {
        0 => 0,
        1..=8 => length.div_ceil(2),
        9..=16 => 5 + (length - 9) / 3,
        17..=32 => 8 + (length - 17) / 6,
        33..=64 => 11,
        65..=128 => 12,
        129..=512 => 13,
        513..=2048 => 14,
        _ => 15,
    }
}

/// Returns the initial P(right): higher the longer the match and the fewer the misses.
fn initial_trust(bucket: u32, misses: u32) -> u16 {
    let wrong = 65536 / (4 + 4 * bucket) * (1 + misses.count_ones());
    (65535 - wrong.min(32768)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(model: &mut MatchModel, history: &mut History, lane: usize, bytes: &[u8]) {
        for &byte in bytes {
            history.push(lane, byte);
            model.advance(lane, history);
        }
    }

    #[test]
    fn a_repeat_is_followed_and_dropped_when_wrong() {
        let (mut model, mut history) = (MatchModel::new(4, 8, 1), History::new(1, 100));
        read(&mut model, &mut history, 0, b"abcdefgh..abcd");
        assert_eq!(model.expected(0, &history), Some((b'e', 5)));
        assert_eq!(model.bucket(0), bucket(4));
        read(&mut model, &mut history, 0, b"e");
        assert_eq!(model.expected(0, &history), Some((b'f', 6)));
        read(&mut model, &mut history, 0, b"x");
        assert_eq!(model.expected(0, &history), None);
        model.begin_byte(0, &history);
        assert_eq!(model.predict(0, 1), [0, 0]);
    }

    #[test]
    fn a_lane_follows_another_only_as_far_as_that_has_read() {
        let (mut model, mut history) = (MatchModel::new(4, 8, 2), History::new(2, 100));
        read(&mut model, &mut history, 0, b"abcdef");
        read(&mut model, &mut history, 1, b"abcd");
        assert_eq!(model.expected(1, &history).map(|e| e.0), Some(b'e'));
        read(&mut model, &mut history, 1, b"ef");
        assert_eq!(model.expected(1, &history), None);
    }

    #[test]
    fn a_bit_that_the_expected_byte_rules_out_is_not_predicted() {
        let (mut model, mut history) = (MatchModel::new(4, 8, 1), History::new(1, 100));
        read(&mut model, &mut history, 0, b"abcdefgh..abcd");
        model.begin_byte(0, &history); // expects e, 0b0110_0101
        assert!(model.predict(0, 0b1_011)[0] < 0);
        assert!(model.expects());
        assert_eq!(model.predict(0, 0b1_010), [0, 0]);
        assert!(!model.expects());
    }
}
