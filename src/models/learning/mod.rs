//! Learning while coding: both sides move the network's weights along the gradient of what was just
//! coded, so that nothing need be sent (`docs/numerics.md`, section 23).
//!
//! Krause et al., "Dynamic Evaluation of Neural Sequence Models" (2018); Bellard, "Lossless Data
//! Compression with Neural Networks" (2019), learns from nothing.

mod backward;
mod learner;
mod matrix;
mod recording;

pub use learner::{Learner, LearningSession};
pub(super) use recording::{Recording, Stage};

/// What learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LearningKind {
    /// The output head.
    Head,
    /// All matrices but the embedding.
    All,
}

/// How a network learns; stands in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Learning {
    /// What learns.
    pub kind: LearningKind,
    /// Tokens of each lane between steps, log2: within [`Learning::INTERVAL_LOG2`].
    pub interval_log2: u8,
    /// Learning rate of Adam in millionths: within [`Learning::RATE`].
    pub rate: u32,
}

impl Learning {
    /// Intervals that there can be, log2 of tokens.
    pub const INTERVAL_LOG2: std::ops::RangeInclusive<u8> = 3..=8;

    /// Rates that there can be, in millionths.
    pub const RATE: std::ops::RangeInclusive<u32> = 1..=1_000_000;

    /// Returns the defaults of a kind, as measured (`docs/learning.md`).
    pub fn of(kind: LearningKind) -> Self {
        match kind {
            LearningKind::Head => Self { kind, interval_log2: 5, rate: 1000 },
            LearningKind::All => Self { kind, interval_log2: 5, rate: 500 },
        }
    }

    /// Returns whether interval and rate are within their ranges.
    pub fn is_possible(&self) -> bool {
        Self::INTERVAL_LOG2.contains(&self.interval_log2) && Self::RATE.contains(&self.rate)
    }

    /// Returns the tokens of each lane between steps.
    pub fn interval(&self) -> usize {
        1 << self.interval_log2
    }
}
