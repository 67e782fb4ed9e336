//! Reproducible random numbers: SplitMix64 (Steele, Lea and Flood, 2014).

/// A seeded generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Creates the generator seeded by several numbers.
    pub fn new(seed: &[u64]) -> Self {
        let mut random = Self::from_state(0);
        for &part in seed {
            random.0 = random.bits() ^ part;
        }
        random
    }

    /// Creates the generator in `state`.
    pub fn from_state(state: u64) -> Self {
        Self(state)
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`, which must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Returns a roughly normal number with mean 0 and deviation 1: a sum of twelve uniform ones.
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || (self.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..12).map(|_| uniform()).sum()
    }
}
