//! Probabilities of the next byte in powers of two, as the coder of windows takes them.

/// Symbols of the coder: the bytes.
pub const N_SYMBOLS: usize = 256;

/// log2 of what the counts of a distribution sum to.
pub const PRECISION: u32 = 16;

/// Cumulative counts of the 256 bytes: byte b owns `cumulative[b]..cumulative[b + 1]`, never empty, of
/// `0..1 << precision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    cumulative: Box<[u32; N_SYMBOLS + 1]>,
    precision: u32,
}

impl Distribution {
    /// Rounds counts that the model gives.
    ///
    /// counts: `[257]`, cumulative, ascending from 0; precision: 8 to 16. Every byte gets 1, all together what
    /// their counts say of the rest, rounded down, and the first of the most probable ones what is left.
    pub fn rounded(counts: &[u32], precision: u32) -> Self {
        let total = u64::from(counts[N_SYMBOLS]);
        let whole = 1u64 << precision;
        let spare = whole - N_SYMBOLS as u64;
        let of = |byte: usize| u64::from(counts[byte + 1] - counts[byte]);
        let mut rounded: Vec<u64> = (0..N_SYMBOLS).map(|b| 1 + of(b) * spare / total).collect();
        let likeliest = (0..N_SYMBOLS).rev().max_by_key(|&byte| of(byte)).unwrap_or(0);
        rounded[likeliest] += whole - rounded.iter().sum::<u64>();
        let mut cumulative = Box::new([0; N_SYMBOLS + 1]);
        for (byte, count) in rounded.into_iter().enumerate() {
            cumulative[byte + 1] = cumulative[byte] + count as u32;
        }
        Self { cumulative, precision }
    }

    /// None yet.
    pub fn empty() -> Self {
        Self { cumulative: Box::new([0; N_SYMBOLS + 1]), precision: 0 }
    }

    /// Where the part of byte `byte` begins in an interval of `range` units, in units; of 256, where the last ends.
    pub fn bound(&self, range: u64, byte: usize) -> u64 {
        (range * u64::from(self.cumulative[byte])) >> self.precision
    }

    /// The byte whose part of an interval of `range` units has the unit `at`.
    pub fn byte_at(&self, range: u64, at: u64) -> u8 {
        let (mut low, mut high) = (0, N_SYMBOLS);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.bound(range, middle) <= at { low = middle } else { high = middle }
        }
        low as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rounded_to_a_power_of_two_and_none_is_lost() {
        let peaked: Vec<u32> = (0..=256).map(|i| if i > 7 { (1 << 30) + i } else { i }).collect();
        let even: Vec<u32> = (0..=256).map(|i| i << 22).collect();
        for precision in [8, 12, 16] {
            for counts in [&peaked, &even] {
                let rounded = Distribution::rounded(counts, precision);
                assert!(rounded.cumulative.is_sorted_by(|a, b| a < b));
                assert_eq!(rounded.cumulative[256], 1 << precision);
            }
            let share = Distribution::rounded(&peaked, precision);
            let count = share.cumulative[8] - share.cumulative[7];
            assert_eq!(count, (1 << precision) - 255, "of the likeliest");
        }
    }

    #[test]
    fn bytes_are_found_in_their_parts() {
        let counts: Vec<u32> = (0..=256u32).map(|i| i * i).collect();
        let counts = Distribution::rounded(&counts, 16);
        for range in [1u64 << 32, (1 << 31) + 1] {
            for byte in 0..256 {
                let (from, to) = (counts.bound(range, byte), counts.bound(range, byte + 1));
                assert!(from < to, "{byte}");
                assert_eq!(usize::from(counts.byte_at(range, from)), byte);
                assert_eq!(usize::from(counts.byte_at(range, to - 1)), byte);
            }
        }
    }
}
