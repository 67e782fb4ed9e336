//! Trainable GRU and LSTM networks: an embedding, layers of cells, an output head, with PyTorch's
//! names (`models::Recurrent` is the same network for coding).

use super::network::{TokenShard, TrainableNetwork};
use crate::error::Result;
use crate::models::Cell;
use crate::nn::linear::LinearLayer;
use crate::nn::loss::cross_entropy;
use crate::nn::matrix::{accumulate, gathered};
use crate::nn::parameter::{Gradients, Parameter};
use crate::nn::random::Random;
use crate::nn::recurrence::{Recurrence, RecurrenceTrace, RecurrentState};
use crate::ops::Isa;
use serde_json::{Value, json};

/// Dimensions of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentShape {
    /// Kind of cell.
    pub cell: Cell,
    /// Tokens.
    pub vocab_size: usize,
    /// Width of the embedding.
    pub embedding_size: usize,
    /// Width of the state.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
}

/// A trainable recurrent network.
pub struct RecurrentNetwork {
    isa: Isa,
    shape: RecurrentShape,
    /// The embedding, four of each layer, the head and its bias.
    parameters: Vec<Parameter>,
    layers: Vec<RecurrentLayer>,
    head: LinearLayer,
}

/// A layer, packed.
struct RecurrentLayer {
    input: LinearLayer,
    recurrence: Recurrence,
}

const EMBEDDING: usize = 0;

impl RecurrentNetwork {
    /// Creates an untrained network.
    pub fn new(shape: RecurrentShape, isa: Isa, random: &mut Random) -> Self {
        let RecurrentShape { cell, vocab_size, embedding_size, hidden_size, layers } = shape;
        let gates = cell.gates() * hidden_size;
        let embedding = [vocab_size, embedding_size];
        let mut parameters =
            vec![Parameter::normal("embedding.weight".into(), &embedding, 1.0, random)];
        for layer in 0..layers {
            let name = |part: &str| format!("rnn.{part}_l{layer}");
            let inputs = if layer == 0 { embedding_size } else { hidden_size };
            let mut matrix =
                |part, inputs| Parameter::hidden(name(part), [gates, inputs], 1.0, random);
            let matrices = [matrix("weight_ih", inputs), matrix("weight_hh", hidden_size)];
            parameters.extend(matrices);
            let mut bias = Parameter::constant(name("bias_ih"), &[gates], 0.0);
            // The gate that keeps the state, an LSTM's forget and a GRU's update, starts open.
            bias.values[hidden_size..2 * hidden_size].fill(1.0);
            parameters.extend([bias, Parameter::constant(name("bias_hh"), &[gates], 0.0)]);
        }
        parameters.push(Parameter::constant("head.weight".into(), &[vocab_size, hidden_size], 0.0));
        parameters.push(Parameter::constant("head.bias".into(), &[vocab_size], 0.0));
        let (packed, head) = pack(shape, &parameters);
        Self { isa, shape, parameters, layers: packed, head }
    }

    /// Returns the embeddings of tokens: `[rows][E]`.
    fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let (table, e) = (&self.parameters[EMBEDDING].values, self.shape.embedding_size);
        gathered(table, e, tokens.iter().map(|&id| id as usize * e))
    }
}

fn pack(shape: RecurrentShape, parameters: &[Parameter]) -> (Vec<RecurrentLayer>, LinearLayer) {
    let layer = |layer: usize| {
        let first = 1 + 4 * layer;
        RecurrentLayer {
            input: LinearLayer::new(parameters, first, Some(first + 2)),
            recurrence: Recurrence {
                cell: shape.cell,
                width: shape.hidden_size,
                hidden: LinearLayer::new(parameters, first + 1, Some(first + 3)),
            },
        }
    };
    let head = 1 + 4 * shape.layers;
    ((0..shape.layers).map(layer).collect(), LinearLayer::new(parameters, head, Some(head + 1)))
}

impl TrainableNetwork for RecurrentNetwork {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        change(&mut self.parameters)?;
        (self.layers, self.head) = pack(self.shape, &self.parameters);
        Ok(())
    }

    fn states(&self, streams: usize) -> Vec<RecurrentState> {
        vec![RecurrentState::new(streams, self.shape.hidden_size); self.shape.layers]
    }

    fn run(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        let (isa, b, h) = (self.isa, shard.streams, self.shape.hidden_size);
        let embedded = self.embed(&shard.inputs);
        let mut traces: Vec<RecurrenceTrace> = Vec::new();
        for (layer, state) in self.layers.iter().zip(states) {
            let below = traces.last().map_or(&embedded[..], |trace| trace.outputs(b, h));
            let gates = layer.input.forward(isa, below);
            traces.push(layer.recurrence.forward(isa, gates, state));
        }
        let below = |layer: usize| match layer {
            0 => &embedded[..],
            _ => traces[layer - 1].outputs(b, h),
        };
        let top = below(traces.len());
        let mut logits = self.head.forward(isa, top);
        let nats = cross_entropy(isa, &mut logits, &shard.targets);
        let Some(gradients) = gradients else { return Ok(nats) };
        let mut grad = self.head.backward(isa, top, &logits, gradients);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let gates = layer.recurrence.backward(isa, &traces[i], b, &grad, gradients);
            grad = layer.input.backward(isa, below(i), &gates, gradients);
        }
        let e = self.shape.embedding_size;
        for (&id, grad) in shard.inputs.iter().zip(grad.chunks_exact(e)) {
            accumulate(&mut gradients[EMBEDDING][id as usize * e..][..e], grad);
        }
        Ok(nats)
    }

    fn config(&self) -> Value {
        let RecurrentShape { cell, vocab_size, embedding_size, hidden_size, layers } = self.shape;
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
        self.parameters.iter().map(tensor).collect()
    }
}
