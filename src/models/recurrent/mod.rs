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
pub(super) use session::RecurrentLanes;

use super::Weights;
use super::linear::{Linear, QuantInputs};
use super::matrix::MatrixShape;
use crate::error::Result;
use crate::ops::Isa;
use std::sync::Arc;

/// A recurrent network; clones share its weights.
#[derive(Clone)]
pub struct Recurrent {
    isa: Isa,
    pub(super) config: RecurrentConfig,
    /// `[vocab_size][E]`
    embedding: Arc<Vec<f32>>,
    /// The first layer's gate inputs of every token, `[vocab_size][G]`, unless they would be too many or
    /// the layer learns.
    pub(super) table: Option<Arc<Vec<f32>>>,
    pub(super) layers: Arc<Vec<RecurrentLayer>>,
    pub(super) head: Arc<Linear>,
    /// Token ids of the head's rows.
    outputs: Vec<u32>,
}

/// A layer of cells.
pub(super) struct RecurrentLayer {
    /// From the layer below, or the embedding.
    pub input: Linear,
    /// From the layer's own last outputs.
    pub hidden: Linear,
}

impl RecurrentLayer {
    /// Returns the same layer in floats.
    pub fn to_floats(&self) -> Self {
        Self { input: self.input.to_floats(), hidden: self.hidden.to_floats() }
    }
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
            layers[0].input.apply(isa, &embedding, &mut table, &mut QuantInputs::default());
            Arc::new(table)
        });
        let (config, outputs) = (config.clone(), outputs.to_vec());
        let head = Arc::new(head(&config, weights, &outputs)?);
        let (embedding, layers) = (Arc::new(embedding), Arc::new(layers));
        Ok(Self { isa, config, embedding, table, layers, head, outputs })
    }

    /// Returns the instruction set that it runs on.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns its layers.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
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
