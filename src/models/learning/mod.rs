//! Learning while coding: both sides move the network's weights along the gradient of what was just
//! coded, so that nothing need be sent (`docs/numerics.md`, section 23).
//!
//! Krause et al., "Dynamic Evaluation of Neural Sequence Models" (2018); Bellard, "Lossless Data
//! Compression with Neural Networks" (2019), learns from nothing.

mod gradients;
mod learner;
mod low_rank;
mod matrix;
mod network;
mod recurrent;
mod transformer;

pub use learner::{Learner, LearningSession};

/// Part of the network that learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LearningKind {
    /// The output head.
    Head,
    /// Low-rank adapters beside a transformer's layers, which stay as they are, and the output head.
    Adapter,
    /// All matrices but the embedding.
    All,
}

/// How a network learns; stands in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Learning {
    /// Part that learns.
    pub kind: LearningKind,
    /// Tokens of all lanes from one step to the next, log2: within [`Learning::TOKENS_LOG2`].
    pub tokens_log2: u8,
    /// Learning rate in millionths: within [`Learning::RATE`].
    pub rate: u32,
}

impl Learning {
    /// Tokens that there can be between steps, log2.
    pub const TOKENS_LOG2: std::ops::RangeInclusive<u8> = 4..=12;

    /// Rates that there can be, in millionths.
    pub const RATE: std::ops::RangeInclusive<u32> = 1..=1_000_000;

    /// Returns the defaults of a kind, as measured (`docs/learning.md`).
    pub fn of(kind: LearningKind) -> Self {
        match kind {
            LearningKind::Head | LearningKind::Adapter => Self { kind, tokens_log2: 9, rate: 500 },
            LearningKind::All => Self { kind, tokens_log2: 9, rate: 300 },
        }
    }

    /// Returns whether both numbers are within their ranges.
    pub fn is_possible(&self) -> bool {
        Self::TOKENS_LOG2.contains(&self.tokens_log2) && Self::RATE.contains(&self.rate)
    }

    /// Returns the tokens of each of `lanes` lanes from one step to the next: a power of two.
    pub fn interval(&self, lanes: usize) -> usize {
        ((1 << self.tokens_log2) / lanes.next_power_of_two()).max(1)
    }
}
