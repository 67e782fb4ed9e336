//! Kinds and dimensions of networks that can be trained.

use super::llama::{LlamaNetwork, LlamaShape};
use super::network::TrainableNetwork;
use super::recurrent;
use crate::nn::random::Random;
use crate::nn::recurrent::RecurrentShape;
use crate::ops::Isa;

/// Kind and dimensions of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkShape {
    /// A GRU or LSTM.
    Recurrent(RecurrentShape),
    /// A decoder.
    Llama(LlamaShape),
}

impl NetworkShape {
    /// Creates an untrained network on the CPU.
    pub fn network(self, isa: Isa, random: &mut Random) -> Box<dyn TrainableNetwork> {
        match self {
            Self::Recurrent(shape) => Box::new(recurrent::untrained(shape, isa, random)),
            Self::Llama(shape) => Box::new(LlamaNetwork::new(shape, isa, random)),
        }
    }
}
