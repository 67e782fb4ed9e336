//! Decoder-only transformers: one network for all families, which differ in their norms, positions,
//! feed-forward layers and residuals. `gpt_neox.rs`, `gpt2.rs` and `llama.rs` (Qwen3's, too) say
//! how each family names and arranges its tensors; `docs/numerics.md`, section 8, the order of
//! operations.
//!
//! Legend: `R` rows, `C` hidden size, `F` feed-forward size, `D` head dimensions, `V` outputs.

use super::adapter::LayerAdapters;
use super::blocks::{Layer, Norm, Positions, Tables};
use super::config::{Config, Family};
use super::linear::Linear;
use super::matrix::{Matrix, MatrixShape, Values};
use super::{Weights, gpt_neox, gpt2, llama};
use crate::error::Result;
use crate::nn::low_rank::LowRankScratch;
use crate::nn::shape::{DecoderShape, LayerPart};
use crate::ops::Isa;
use std::sync::Arc;

/// A network of one of the families; clones share its weights.
#[derive(Clone)]
pub struct Transformer {
    pub(super) isa: Isa,
    pub(super) shape: DecoderShape,
    pub(super) positions: Positions,
    pub(super) layers: Arc<Vec<Layer>>,
    /// Adapters beside the layers; none where there is no adapter.
    pub(super) adapters: Arc<Vec<LayerAdapters>>,
    pub(super) final_norm: Norm,
    pub(super) embedding: Arc<Embedding>,
    pub(super) head: Arc<Linear>,
    /// Token ids of the head's rows.
    pub(super) outputs: Vec<u32>,
}

/// Tokens to vectors.
pub(super) enum Embedding {
    /// [vocab_size][C]
    Table(Values<'static>),
    /// The output head's rows, by token id; of tokens that it lacks, only the first token of a lane
    /// is ever fed.
    Tied { head: Arc<Linear>, rows: Vec<u32>, first_token: Vec<f32> },
}

/// Stands for tokens that the head lacks.
pub(super) const NO_ROW: u32 = u32::MAX;

impl Embedding {
    fn tied(
        config: &Config,
        table: &Matrix<'_>,
        head: &Arc<Linear>,
        outputs: &[u32],
    ) -> Result<Self> {
        let mut first_token = vec![0.0; config.hidden_size];
        let source = |_| (table, config.first_token as usize);
        let row = Linear::pack(config.quantization, config.hidden_size, 1, source, &[])?;
        row.unpack_row(0, &mut first_token);
        let mut rows = vec![NO_ROW; config.vocab_size];
        (0..).zip(outputs).for_each(|(row, &id)| rows[id as usize] = row);
        Ok(Self::Tied { head: Arc::clone(head), rows, first_token })
    }
}

/// Ends of the names of tensors that old checkpoints have and no network needs: masks of attention
/// and the rotary positions' frequencies.
const BUFFERS: [&str; 4] =
    [".attn.bias", ".attention.bias", ".masked_bias", ".rotary_emb.inv_freq"];

/// The names of embedding and output head.
fn tables(family: Family, weights: &Weights<'_>) -> Tables {
    match family {
        Family::GptNeox => gpt_neox::tables(weights),
        Family::Gpt2 => gpt2::tables(weights),
        Family::Llama | Family::Qwen2 | Family::Qwen3 => llama::tables(),
    }
}

impl Config {
    /// The same as its weights have it: an output head of their own counts, whatever
    /// `tie_word_embeddings` says, as in transformers 5; and so does their precision.
    #[must_use]
    pub fn with_weights(mut self, weights: &Weights<'_>) -> Self {
        self.tied &= !weights.has(tables(self.family, weights).head);
        self.float_len = weights.float_len();
        self.gguf_four_bits = weights.gguf_four_bits();
        self
    }
}

impl Transformer {
    /// Loads the network, with the output head's rows in the order of `outputs`: token ids.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a tensor is missing,
    /// misshapen or not finite; [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read.
    pub fn load(config: &Config, weights: &Weights<'_>, outputs: &[u32], isa: Isa) -> Result<Self> {
        let config = &config.clone().with_weights(weights);
        let width = config.hidden_size;
        let tables = tables(config.family, weights);
        weights.ignore(|name| BUFFERS.iter().any(|end| name.ends_with(end)));
        // The largest tensors first: each is in memory twice while it is packed.
        let (vocab_size, quantization) = (config.vocab_size, config.quantization);
        let name = if config.tied { &tables.embedding } else { tables.head };
        let matrix = weights.matrix(name, MatrixShape::new(width, vocab_size), quantization)?;
        let source = |i: usize| (&matrix, outputs[i] as usize);
        let head = Arc::new(Linear::pack(quantization, width, outputs.len(), source, &[])?);
        let tied =
            config.tied.then(|| Embedding::tied(config, &matrix, &head, outputs)).transpose()?;
        drop(matrix);
        let embedding = match tied {
            Some(embedding) => embedding,
            None => Embedding::Table(weights.table(&tables.embedding, [vocab_size, width])?),
        };
        let parts = match config.family {
            Family::GptNeox => gpt_neox::load(config, weights)?,
            Family::Gpt2 => gpt2::load(config, weights)?,
            Family::Llama | Family::Qwen2 | Family::Qwen3 => llama::load(config, weights)?,
        };
        Ok(Self {
            isa,
            shape: config.decoder_shape(),
            positions: parts.positions,
            layers: Arc::new(parts.layers),
            adapters: Arc::default(),
            final_norm: parts.final_norm,
            embedding: Arc::new(embedding),
            head,
            outputs: outputs.to_vec(),
        })
    }

    /// Returns its dimensions.
    pub fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    /// Adds what an adapter beside a linear layer adds to its outputs. x: `[R][inputs]`, y:
    /// `[R][outputs]`
    pub(super) fn adapt(
        &self,
        (layer, part): (usize, LayerPart),
        x: &[f32],
        y: &mut [f32],
        scratch: &mut LowRankScratch,
    ) {
        if let Some(adapters) = self.adapters.get(layer) {
            adapters.add(part, self.isa, x, y, scratch);
        }
    }

    /// Returns the root of the mean square of all embeddings' numbers.
    pub fn embedding_scale(&self) -> f32 {
        let (n, width) = (self.shape.vocab_size, self.shape.hidden_size);
        let mut row = vec![0.0; width];
        let mut sum = 0.0f64;
        for token in 0..n as u32 {
            self.embed(token, &mut row);
            row.iter().for_each(|&x| sum += f64::from(x) * f64::from(x));
        }
        (sum / (n * width) as f64).sqrt() as f32
    }

    /// Writes the embedding of `token`. out: `[C]`.
    pub fn embed(&self, token: u32, out: &mut [f32]) {
        let (token, width) = (token as usize, self.shape.hidden_size);
        match &*self.embedding {
            Embedding::Table(table) => table.widen(token * width, out),
            Embedding::Tied { head, rows, first_token } => match rows[token] {
                NO_ROW => out.copy_from_slice(first_token),
                row => head.unpack_row(row as usize, out),
            },
        }
    }
}
