//! Recurrent networks: an embedding, layers of GRU or LSTM cells, an output head. Their state is
//! all that they know of the past, so texts may be of any length.
//!
//! Tensors have PyTorch's names and order of gates: `embedding` is an `nn.Embedding`, `rnn` an
//! `nn.GRU` or `nn.LSTM`, `head` an `nn.Linear`. `docs/numerics.md`, section 17, has the order of
//! operations.
//!
//! Legend: `R` rows, `E` embedding size, `H` hidden size, `G` gates times `H`, `V` outputs.

mod config;
mod session;
mod trainable;

pub use crate::nn::recurrence::Cell;
pub use config::RecurrentConfig;

use super::Weights;
use super::linear::Linear;
use super::matrix::MatrixShape;
use crate::error::Result;
use crate::ops::{Isa, QuantRows};

/// A recurrent network.
pub struct Recurrent {
    isa: Isa,
    config: RecurrentConfig,
    /// `[vocab_size][E]`
    embedding: Vec<f32>,
    /// The first layer's gate inputs of every token, `[vocab_size][G]`, unless they would be too many.
    table: Option<Vec<f32>>,
    layers: Vec<RecurrentLayer>,
    head: Linear,
    /// Token ids of the head's rows.
    outputs: Vec<u32>,
}

/// A layer of cells.
struct RecurrentLayer {
    /// From the layer below, or the embedding.
    input: Linear,
    /// From the layer's own last outputs.
    hidden: Linear,
}

impl Recurrent {
    /// Loads the network, with the output head's rows in the order of `outputs`: token ids.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a tensor is missing,
    /// misshapen or not finite; [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read.
    pub fn load(
        config: &RecurrentConfig,
        weights: &Weights<'_>,
        outputs: &[u32],
        isa: Isa,
    ) -> Result<Self> {
        let gates = |from: &str, layer: usize, inputs: usize| {
            let name = |part: &str| format!("rnn.{part}_{from}_l{layer}");
            let shape = MatrixShape::new(inputs, config.gates());
            Linear::load(weights, config.quantization, &name("weight"), Some(&name("bias")), shape)
        };
        let layer = |layer: usize| -> Result<RecurrentLayer> {
            let input = gates("ih", layer, config.inputs(layer))?;
            Ok(RecurrentLayer { input, hidden: gates("hh", layer, config.hidden_size)? })
        };
        let embedding = [config.vocab_size, config.embedding_size];
        let embedding = weights.tensor("embedding.weight", &embedding)?;
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<_>>>()?;
        let table = config.is_tabulated().then(|| {
            let mut table = vec![0.0; config.vocab_size * config.gates()];
            layers[0].input.apply(isa, &embedding, &mut table, &mut QuantRows::default());
            table
        });
        let (config, outputs) = (config.clone(), outputs.to_vec());
        let head = head(&config, weights, &outputs)?;
        Ok(Self { isa, config, embedding, table, layers, head, outputs })
    }
}

/// The output head, its rows in the order of `outputs`.
fn head(config: &RecurrentConfig, weights: &Weights<'_>, outputs: &[u32]) -> Result<Linear> {
    let shape = MatrixShape::new(config.hidden_size, config.vocab_size);
    let matrix = weights.matrix("head.weight", shape, config.quantization)?;
    let bias = weights.tensor("head.bias", &[config.vocab_size])?;
    let bias: Vec<f32> = outputs.iter().map(|&id| bias[id as usize]).collect();
    let source = |i: usize| (&matrix, outputs[i] as usize);
    Linear::pack(config.quantization, config.hidden_size, outputs.len(), source, &bias)
}
