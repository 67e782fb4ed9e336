//! Training options.

use super::device::Device;
use super::llama::LlamaShape;
use super::optimiser::OptimiserOptions;
use super::shape::NetworkShape;
use crate::models::Cell;
use crate::nn::recurrent::RecurrentShape;
use crate::ops::Isa;

/// Network architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// Gated recurrent units.
    Gru,
    /// Long short-term memory.
    Lstm,
    /// Mistral-style decoder.
    Llama,
}

/// Size of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A network for some hundred kilobytes of text, or a first try.
    Tiny,
    /// A network for minutes.
    Small,
    /// A network for an hour.
    Medium,
    /// A network for a night, and many cores.
    Large,
}

/// Training budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Number of steps: the result depends on nothing else.
    Steps(u64),
    /// Number of minutes: the result depends on the machine.
    Minutes(f64),
}

/// Training options.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions {
    /// Network architecture.
    pub arch: Arch,
    /// Network size.
    pub size: Size,
    /// Vocabulary size: 256 for bytes, more for a byte-level BPE.
    pub vocab_size: usize,
    /// Training budget.
    pub budget: Budget,
    /// RNG seed.
    pub seed: u64,
    /// Whether some texts are given CR-LF line endings.
    pub crlf: bool,
    /// Whether to resume from the folder's checkpoint.
    pub resume: bool,
    /// Seconds between checkpoints.
    pub checkpoint_s: f64,
    /// Evaluations on held-out data in the run, at least 1: the last at its end.
    pub measures: u32,
    /// Device to train on.
    pub device: Device,
    /// The instruction set of the CPU.
    pub isa: Isa,
}

/// Dimensions of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Streams of text.
    pub streams: usize,
    /// Streams per shard, each processed by one thread.
    pub shard: usize,
    /// Tokens per stream and step.
    pub window: usize,
    /// Steps until all streams restart elsewhere with zero states.
    pub episode: u64,
}

impl Arch {
    /// Returns its name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gru => "gru",
            Self::Lstm => "lstm",
            Self::Llama => "llama",
        }
    }

    /// Returns the default vocabulary size.
    pub fn default_vocab_size(self) -> usize {
        match self {
            Self::Gru | Self::Lstm => 256,
            Self::Llama => 2048,
        }
    }
}

impl Size {
    /// Returns its name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

impl TrainOptions {
    /// Returns the network's shape.
    pub(super) fn shape(&self) -> NetworkShape {
        match self.arch {
            Arch::Gru => NetworkShape::Recurrent(self.recurrent(Cell::Gru)),
            Arch::Lstm => NetworkShape::Recurrent(self.recurrent(Cell::Lstm)),
            Arch::Llama => NetworkShape::Llama(self.llama()),
        }
    }

    fn recurrent(&self, cell: Cell) -> RecurrentShape {
        let (embedding_size, hidden_size, layers) = match self.size {
            Size::Tiny => (32, 192, 1),
            Size::Small => (64, 512, 1),
            Size::Medium => (96, 768, 1),
            Size::Large => (128, 1024, 2),
        };
        RecurrentShape { cell, vocab_size: self.vocab_size, embedding_size, hidden_size, layers }
    }

    fn llama(&self) -> LlamaShape {
        let (hidden_size, intermediate_size, layers, window) = match self.size {
            Size::Tiny => (128, 384, 4, 128),
            Size::Small => (192, 576, 5, 256),
            Size::Medium => (256, 768, 6, 256),
            Size::Large => (384, 1024, 8, 256),
        };
        let vocab_size = self.vocab_size;
        LlamaShape {
            vocab_size,
            hidden_size,
            intermediate_size,
            layers,
            heads: hidden_size / 64,
            window,
        }
    }

    /// Returns the fewest bytes to learn from: a run of some steps may be a trial.
    pub(super) fn least_bytes(&self) -> usize {
        match self.budget {
            Budget::Steps(_) => 1,
            Budget::Minutes(_) => 10_000,
        }
    }

    pub(super) fn batch(&self) -> BatchShape {
        match self.arch {
            Arch::Gru | Arch::Lstm => {
                BatchShape { streams: 32, shard: 16, window: 128, episode: 32 }
            }
            Arch::Llama => BatchShape { streams: 8, shard: 1, window: 512, episode: 1 },
        }
    }

    pub(super) fn optimiser(&self) -> OptimiserOptions {
        match self.arch {
            // At twice this rate a GRU of size small learns until step 400 and then forgets it all.
            Arch::Gru => OptimiserOptions { adam_rate: 8e-3, muon_rate: 0.02, clip: 1.0 },
            Arch::Lstm => OptimiserOptions { adam_rate: 8e-3, muon_rate: 0.04, clip: 1.0 },
            Arch::Llama => OptimiserOptions { adam_rate: 4e-3, muon_rate: 0.02, clip: 1.0 },
        }
    }
}
