//! Trainable GRU and LSTM networks (`models::Recurrent` is the same network for coding).

use super::network::{TokenShard, TrainableNetwork};
use crate::error::Result;
use crate::models::Cell;
use crate::nn::parameter::{Gradients, Parameter};
use crate::nn::random::Random;
use crate::nn::recurrence::RecurrentState;
use crate::nn::recurrent::{RecurrentNetwork, RecurrentPart, RecurrentShape, RecurrentTensor};
use crate::ops::Isa;
use serde_json::{Value, json};

/// Creates an untrained network.
pub fn untrained(shape: RecurrentShape, isa: Isa, random: &mut Random) -> RecurrentNetwork {
    let outputs: Vec<u32> = (0..shape.vocab_size as u32).collect();
    RecurrentNetwork::new(isa, shape, &outputs, &mut |tensor: &RecurrentTensor| {
        let name = tensor.to_string();
        if tensor.is_hidden() {
            return Parameter::hidden(name, tensor.matrix, 1.0, random);
        }
        if tensor.part == RecurrentPart::Embedding {
            return Parameter::normal(name, tensor.shape(), 1.0, random);
        }
        let mut zeros = Parameter::constant(name, tensor.shape(), 0.0);
        if matches!(tensor.part, RecurrentPart::Input(_)) {
            // The gate that keeps the state, an LSTM's forget and a GRU's update, starts open.
            zeros.values[shape.hidden_size..2 * shape.hidden_size].fill(1.0);
        }
        zeros
    })
}

impl TrainableNetwork for RecurrentNetwork {
    fn parameters(&self) -> &[Parameter] {
        self.parameters()
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        self.update(change)
    }

    fn states(&self, streams: usize) -> Vec<RecurrentState> {
        self.states(streams)
    }

    fn run(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        Ok(self.token_cost(&shard.inputs, &shard.targets, states, gradients))
    }

    fn config(&self) -> Value {
        let RecurrentShape { cell, vocab_size, embedding_size, hidden_size, layers } =
            *self.shape();
        json!({
            "model_type": match cell { Cell::Gru => "gru", Cell::Lstm => "lstm" },
            "vocab_size": vocab_size,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "num_hidden_layers": layers,
            "bos_token_id": 0,
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let tensor = |p: &Parameter| (p.name.clone(), p.shape.clone(), p.values.clone());
        self.parameters().iter().map(tensor).collect()
    }
}
