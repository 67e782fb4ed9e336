//! Reproducible random numbers for tests: SplitMix64 (Steele, Lea and Flood, 2014).

#![allow(dead_code, reason = "each test program uses some of it")]

/// A seeded generator.
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `n` values, roughly normal with mean 0 and deviation 1.
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        let mut uniform = || (self.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..n).map(|_| (0..12).map(|_| uniform()).sum()).collect()
    }
}
