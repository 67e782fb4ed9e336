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
    input: RecurrentInput,
    layers: Vec<RecurrentLayer>,
    head: Linear,
}

/// The first layer's gate inputs, by token.
enum RecurrentInput {
    /// Computed once for every token: `[vocab_size][G]`
    Table(Vec<f32>),
    /// Embeddings, `[vocab_size][E]`, and the gates' weights.
    Embedding(Vec<f32>, Linear),
}

/// A layer of cells.
struct RecurrentLayer {
    /// From the layer below; the first layer has a [`RecurrentInput`].
    input: Option<Linear>,
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
            let input = match layer {
                0 => None,
                _ => Some(gates("ih", layer, config.inputs(layer))?),
            };
            Ok(RecurrentLayer { input, hidden: gates("hh", layer, config.hidden_size)? })
        };
        let embedding = [config.vocab_size, config.embedding_size];
        let embedding = weights.tensor("embedding.weight", &embedding)?;
        let first = gates("ih", 0, config.embedding_size)?;
        Ok(Self {
            isa,
            config: config.clone(),
            input: match config.is_tabulated() {
                true => {
                    let mut table = vec![0.0; config.vocab_size * config.gates()];
                    first.apply(isa, &embedding, &mut table, &mut QuantRows::default());
                    RecurrentInput::Table(table)
                }
                false => RecurrentInput::Embedding(embedding, first),
            },
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            head: head(config, weights, outputs)?,
        })
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
