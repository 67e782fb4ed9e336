//! Adaptive probabilities: a learned P(bit = 1) for each value of a small context.
//!
//! Each probability carries a count of the bits it has seen. It moves towards each new bit by
//! 1/(count + 3/2), so the first bits are averaged and later ones fade at the rate of the count's
//! limit: fast at first, steady in the end.

use super::bit_history;
use super::logistic::stretch12;

const COUNT_BITS: u32 = 10;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// Bits that what is only assumed at first weighs as much as.
pub const ASSUMED_COUNT: u32 = 30;

/// `RECIPROCAL[n] = 65536 / (n + 1.5)`.
static RECIPROCAL: [u16; 1 << COUNT_BITS] = reciprocals();

/// Adaptive probability: P(1) in the high 22 bits and a count in the low 10.
#[derive(Clone, Copy)]
pub struct Counter(u32);

impl Counter {
    /// Creates a counter with probability `p` of 65536.
    pub fn new(p: u16) -> Self {
        Counter((p as u32) << 16)
    }

    /// Creates a counter with probability `p` of 65536 and the weight of `count` bits.
    pub fn with_count(p: u16, count: u32) -> Self {
        Counter((p as u32) << 16 | count)
    }

    /// Returns P(1) of 65536, may be 0.
    #[inline(always)]
    pub fn p(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Returns the log-odds of P(1), coarse at the ends.
    #[inline(always)]
    pub fn stretch(self) -> i32 {
        stretch12((self.0 >> 20) as u16)
    }

    /// Returns the number of bits it was updated with, up to the limit.
    #[inline(always)]
    pub fn count(self) -> u32 {
        self.0 & COUNT_MASK
    }

    /// Moves the probability towards `bit`; `limit` bounds the count (at most 1023) and with it how
    /// slow the probability becomes.
    #[inline(always)]
    pub fn update(&mut self, bit: bool, limit: u32) {
        let (p, n) = (self.0 >> COUNT_BITS, self.0 & COUNT_MASK);
        let target = if bit { (1 << 22) - 1 } else { 0 };
        let step = ((target - p as i32) as i64 * RECIPROCAL[n as usize] as i64) >> 16;
        let p = p.wrapping_add_signed(step as i32); // towards target: stays in 22 bits
        self.0 = p << COUNT_BITS | (n + u32::from(n < limit));
    }
}

/// Map from bit histories to [`Counter`]s.
pub struct HistoryMap([Counter; 256]);

impl HistoryMap {
    /// Creates the map with the probability that the counts of each history suggest.
    pub fn new() -> Self {
        HistoryMap(std::array::from_fn(|state| {
            Counter::with_count(estimate(bit_history::COUNTS[state]), ASSUMED_COUNT)
        }))
    }

    #[inline(always)]
    pub fn get(&self, state: u8) -> Counter {
        self.0[state as usize]
    }

    #[inline(always)]
    pub fn update(&mut self, state: u8, bit: bool, limit: u32) {
        self.0[state as usize].update(bit, limit);
    }
}

/// Estimates P(1) after these counts: (ones + 0.4) / (total + 0.8), of 65536.
fn estimate([zeros, ones]: [u8; 2]) -> u16 {
    let (zeros, ones) = (zeros as u32 * 10 + 4, ones as u32 * 10 + 4);
    (65536 * ones / (zeros + ones)) as u16
}

const fn reciprocals() -> [u16; 1 << COUNT_BITS] {
    let mut table = [0; 1 << COUNT_BITS];
    let mut n = 0;
    while n < table.len() {
        table[n] = (2 * 65536 / (2 * n + 3)) as u16;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_converge_to_the_share_of_ones() {
        let mut counter = Counter::new(32768);
        for i in 0..4000 {
            counter.update(i % 4 == 0, 1023);
        }
        assert!((counter.p() as i32 - 16384).abs() < 400, "{}", counter.p());
        assert_eq!(counter.count(), 1023);
    }

    #[test]
    fn the_first_bit_counts_most() {
        let mut counter = Counter::new(32768);
        counter.update(true, 255);
        assert!(counter.p() > 50000);
        counter.update(false, 255);
        assert!((24000..40000).contains(&counter.p()));
    }

    #[test]
    fn a_constant_bit_becomes_nearly_certain() {
        for bit in [false, true] {
            let mut counter = Counter::new(32768);
            (0..100_000).for_each(|_| counter.update(bit, 1023));
            assert!(if bit { counter.p() >= 65500 } else { counter.p() <= 35 }, "{}", counter.p());
        }
    }

    #[test]
    fn histories_start_at_their_counts() {
        let map = HistoryMap::new();
        assert_eq!(map.get(0).p(), 32768);
        assert!(map.get(bit_history::NEXT[0][1]).p() > 50000);
    }
}
