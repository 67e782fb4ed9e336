//! Reproducible random numbers for tests: those of `train`.

#[allow(dead_code, reason = "training uses the rest")]
#[path = "../../src/nn/random.rs"]
mod generator;

/// A seeded generator.
pub struct Random(generator::Random);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(generator::Random::from_state(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    /// `n` values, roughly normal with mean 0 and deviation 1.
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.0.normal()).collect()
    }
}
