//! A binary range coder: 32-bit range, 16-bit probabilities, carry propagation (Martin, "Range
//! encoding", 1979; the carry is handled as in LZMA's `rc` by Igor Pavlov).
//!
//! The interval is `low..low + range`, with 2^24 <= range < 2^32 between decisions. A decision
//! splits it at `range * p / 2^16`, computed in 64 bits, so that no precision is lost to the
//! range's size.

use super::corrupt;
use super::token_trie::BitCoder;
use crate::error::Result;
use crate::profile::{Part, enter};

/// Bits of a probability.
pub const PROBABILITY_BITS: u32 = 16;

/// Below this the range is widened by a byte.
const SMALLEST_RANGE: u32 = 1 << 24;

/// Zeros past the end that a decoder looks ahead, and as many again that may decide.
const MOST_IMPLIED: usize = 4 + 8;

/// Where the interval splits: `1 <= bound < range`, for p in 1..=65535.
fn bound(range: u32, p1: u16) -> u32 {
    ((u64::from(range) * u64::from(p1)) >> PROBABILITY_BITS) as u32
}

/// A coder that attributes its time to [`Part::Coder`].
pub struct ProfiledCoder<'a, C>(pub &'a mut C);

impl<C: BitCoder> BitCoder for ProfiledCoder<'_, C> {
    fn code(&mut self, bit: bool, p1: u16) -> bool {
        let _coder = enter(Part::Coder);
        self.0.code(bit, p1)
    }
}

/// Bits to bytes.
pub struct RangeEncoder {
    /// The interval's start beyond the bytes written: bit 32 is a carry into them.
    low: u64,
    range: u32,
    /// Bytes that a carry may still change: one byte, then a run of 0xff; `None` before the first.
    pending: Option<u8>,
    pending_ff: usize,
    bytes: Vec<u8>,
}

impl Default for RangeEncoder {
    fn default() -> Self {
        Self { low: 0, range: u32::MAX, pending: None, pending_ff: 0, bytes: Vec::new() }
    }
}

impl RangeEncoder {
    /// Moves the top byte of `low` out.
    fn shift_low(&mut self) {
        let top = (self.low >> 24) as u8;
        let carry = self.low > u64::from(u32::MAX);
        if top == 0xff && !carry && self.pending.is_some() {
            self.pending_ff += 1;
        } else {
            if let Some(byte) = self.pending {
                self.bytes.push(byte.wrapping_add(u8::from(carry)));
                let run = if carry { 0x00 } else { 0xff };
                self.bytes.extend(std::iter::repeat_n(run, std::mem::take(&mut self.pending_ff)));
            }
            self.pending = Some(top);
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// Bytes that [`finish`](Self::finish) would return, or up to one more or fewer.
    pub fn coded_len(&self) -> usize {
        self.bytes.len() + self.pending_ff + usize::from(self.pending.is_some()) + 1
    }

    /// The shortest bytes that decode to what was encoded. The decoder reads zeros past their end,
    /// so trailing zeros are not among them.
    pub fn finish(mut self) -> Vec<u8> {
        let last = self.low + u64::from(self.range) - 1;
        let roundest = (0..=32).rev().map(|bits| last & !((1u64 << bits) - 1));
        self.low = roundest.into_iter().find(|&value| value >= self.low).expect("last itself is");
        for _ in 0..5 {
            self.shift_low();
        }
        let end = self.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        self.bytes.truncate(end);
        self.bytes
    }
}

impl BitCoder for RangeEncoder {
    fn code(&mut self, bit: bool, p1: u16) -> bool {
        let bound = bound(self.range, p1);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < SMALLEST_RANGE {
            self.range <<= 8;
            self.shift_low();
        }
        bit
    }
}

/// Bytes to bits.
pub struct RangeDecoder<'a> {
    /// The coded number minus the interval's start: below `range`, unless the bytes are damaged.
    code: u32,
    range: u32,
    bytes: &'a [u8],
    /// Bytes taken so far, zeros past the end included.
    taken: usize,
}

impl<'a> RangeDecoder<'a> {
    /// Begins to decode `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u32::MAX, bytes, taken: 0 };
        for _ in 0..4 {
            decoder.take_byte();
        }
        decoder
    }

    fn take_byte(&mut self) {
        let byte = self.bytes.get(self.taken).copied().unwrap_or(0);
        self.code = (self.code << 8) | u32::from(byte);
        self.taken += 1;
    }

    /// Whether all decisions from here on are true: the bytes are used up, and say no more.
    pub fn is_spent(&self) -> bool {
        self.code == 0 && self.taken >= self.bytes.len()
    }

    /// Checks that the bytes still decide. Where they ended long ago, the zeros that stand for the
    /// rest decide in their place: so cheap a code takes as long to decode as a long one, and an
    /// encoder meets it once in 2^64 chunks.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where they do not.
    pub fn expect_more(&self) -> Result<()> {
        if self.taken <= self.bytes.len() + MOST_IMPLIED || self.is_spent() {
            return Ok(());
        }
        Err(corrupt("coded bytes end long before the plain bytes"))
    }

    /// Checks that every byte was needed, as it is after what the encoder encoded: `plain_len`
    /// bytes, for people.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) otherwise.
    pub fn expect_end(&self, plain_len: usize) -> Result<()> {
        if self.taken >= self.bytes.len() {
            return Ok(());
        }
        Err(corrupt(format!("coded bytes go on after all {plain_len} plain bytes")))
    }
}

impl BitCoder for RangeDecoder<'_> {
    fn code(&mut self, _: bool, p1: u16) -> bool {
        let bound = bound(self.range, p1);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        while self.range < SMALLEST_RANGE {
            self.range <<= 8;
            self.take_byte();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random (bit, probability) pairs in which bits follow probabilities, extreme ones
    /// among them.
    fn decisions(n: usize, seed: u64) -> Vec<(bool, u16)> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let mut one = || {
            let p1 = match next() % 4 {
                0 => 1,
                1 => 65535,
                _ => (next() % 65535 + 1) as u16,
            };
            (next() % 65536 < u32::from(p1), p1)
        };
        (0..n).map(|_| one()).collect()
    }

    fn encode(decisions: &[(bool, u16)]) -> Vec<u8> {
        let mut encoder = RangeEncoder::default();
        for &(bit, p1) in decisions {
            encoder.code(bit, p1);
        }
        encoder.finish()
    }

    #[test]
    fn decodes_what_was_encoded_within_a_byte_of_the_entropy() {
        let (short, long) = if cfg!(miri) { (20, [500, 1000]) } else { (200, [10_000, 100_000]) };
        for n in (0..short).chain(long) {
            let decisions = decisions(n, n as u64);
            let bytes = encode(&decisions);
            let mut decoder = RangeDecoder::new(&bytes);
            for &(bit, p1) in &decisions {
                assert_eq!(decoder.code(false, p1), bit, "one of {n} decisions");
            }
            assert!(decoder.expect_end(n).is_ok());
            let cost = |&(bit, p1): &(bool, u16)| {
                let p = f64::from(p1) / 65536.0;
                -(if bit { p } else { 1.0 - p }).log2()
            };
            let entropy: f64 = decisions.iter().map(cost).sum();
            let bits = 8.0 * bytes.len() as f64;
            assert!(bits <= entropy * 1.0001 + 9.0, "{n} decisions: {bits} bits for {entropy}");
        }
    }

    /// A run of 0xff bytes followed by a carry: improbable zeros push `low` up under a nearly full
    /// interval.
    #[test]
    fn carries_run_through_pending_bytes() {
        for zeros in 1..60 {
            let mut decisions = vec![(false, 65535); zeros];
            decisions.extend([(true, 65535); 40]);
            decisions.extend(self::decisions(50, zeros as u64));
            let bytes = encode(&decisions);
            let mut decoder = RangeDecoder::new(&bytes);
            assert!(decisions.iter().all(|&(bit, p1)| decoder.code(false, p1) == bit));
        }
    }

    #[test]
    fn certain_decisions_cost_no_bytes() {
        assert!(encode(&[(true, 65535); 1000]).is_empty());
    }

    /// All that such a code can make a decoder do is bounded by its length.
    #[test]
    fn a_code_that_ended_decides_nothing() {
        let mut spent = RangeDecoder::new(&[]);
        assert!(spent.is_spent());
        assert!((1..=u16::MAX).all(|p1| spent.code(false, p1)), "all are true");
        assert!(spent.is_spent() && spent.expect_more().is_ok());

        let decisions = [vec![(false, 1 << 15)], vec![(true, 1 << 15); 200]].concat();
        let bytes = encode(&decisions);
        let mut decoder = RangeDecoder::new(&bytes);
        for &(bit, p1) in &decisions {
            assert_eq!(decoder.code(false, p1), bit);
            assert!(decoder.expect_more().is_ok());
        }
        assert!(decoder.is_spent(), "{bytes:?}");

        let mut decoder = RangeDecoder::new(&[0x55]);
        let n = (0..1000).take_while(|_| {
            decoder.code(false, 1 << 14);
            decoder.expect_more().is_ok()
        });
        assert!(n.count() < 300, "each decision costs at least 0.4 bits");
    }

    #[test]
    fn bytes_that_no_decision_needs_are_noticed() {
        let decisions = decisions(100, 1);
        let bytes = [encode(&decisions), vec![1; 5]].concat();
        let mut decoder = RangeDecoder::new(&bytes);
        decisions.iter().for_each(|&(_, p1)| _ = decoder.code(false, p1));
        assert!(decoder.expect_end(100).is_err());
    }
}
