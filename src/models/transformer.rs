//! Decoder-only transformers: one network for all families, which differ in their norms, positions,
//! feed-forward layers and residuals. `gpt_neox.rs`, `gpt2.rs` and `llama.rs` (Qwen3's, too) say how each
//! family names and arranges its tensors; `docs/numerics.md`, section 8, the order of operations.
//!
//! Legend: `R` rows, `C` hidden size, `F` feed-forward size, `D` head dimensions, `V` outputs.

use super::config::{Activation, Config, Family, RotaryConfig};
use super::linear::Linear;
use super::session::TransformerSession;
use super::matrix::{Matrix, MatrixShape};
use super::{Network, Session, Weights, gpt_neox, gpt2, llama};
use crate::error::Result;
use crate::ops::{
    AttentionShape, Bf16, Isa, KvElement, Rotary, gelu_erf, gelu_tanh, layer_norm, rms_norm,
    silu_mul,
};

/// A network of one of the families.
pub struct Transformer {
    pub(super) isa: Isa,
    pub(super) width: usize,
    pub(super) shape: AttentionShape,
    pub(super) positions: Positions,
    pub(super) parallel_residual: bool,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Norm,
    embedding: Embedding,
    pub(super) head: Linear,
}

/// Where a token stands.
pub(super) enum Positions {
    /// Queries and keys are rotated.
    Rotary(Rotary),
    /// A vector is added to the embedding: [positions][C].
    Learned(Vec<f32>),
}

impl Positions {
    /// Rotary ones, as `config` has them.
    pub fn rotary(config: &Config) -> Self {
        let RotaryConfig { dims, theta, scaling } = config.rotary;
        Self::Rotary(Rotary::new(dims, theta, scaling))
    }
}

/// A block of the network.
pub(super) struct Layer {
    pub attention_norm: Norm,
    /// Queries, keys and values of a row, one after the other.
    pub qkv: Linear,
    /// RMS norms of every head's queries and keys, before they rotate.
    pub qk_norms: Option<[Norm; 2]>,
    pub attention_out: Linear,
    pub mlp_norm: Norm,
    pub mlp: Mlp,
}

/// A norm over the last dimension.
pub(super) enum Norm {
    Rms { gain: Vec<f32>, eps: f32 },
    Layer { gain: Vec<f32>, bias: Vec<f32>, eps: f32 },
}

impl Norm {
    /// x, out: `[rows][dimensions of the norm]`.
    pub fn apply(&self, isa: Isa, x: &[f32], out: &mut [f32]) {
        match self {
            Self::Rms { gain, eps } => rms_norm(isa, x, gain, *eps, out),
            Self::Layer { gain, bias, eps } => layer_norm(isa, x, gain, bias, *eps, out),
        }
    }
}

/// A feed-forward layer: `down(act(up(x)))`, or with a gate `down(silu(gate(x)) * up(x))`.
pub(super) struct Mlp {
    pub gate: Option<Linear>,
    pub up: Linear,
    pub activation: Activation,
    pub down: Linear,
}

impl Mlp {
    /// gate := what `down` takes. gate, up: `[R][F]`; up is read where there is a gate.
    pub fn activate(&self, isa: Isa, gate: &mut [f32], up: &[f32]) {
        match self.activation {
            Activation::Silu => silu_mul(isa, gate, up),
            Activation::GeluErf => gelu_erf(isa, gate),
            Activation::GeluTanh => gelu_tanh(isa, gate),
        }
    }
}

/// Tokens to vectors.
enum Embedding {
    /// [vocab_size][C]
    Table(Vec<f32>),
    /// The output head's rows, by token id; of tokens that it lacks, only the first token of a lane is
    /// ever fed.
    Tied { rows: Vec<u32>, first_token: Vec<f32> },
}

const NO_ROW: u32 = u32::MAX;

impl Embedding {
    fn tied(config: &Config, table: &Matrix<'_>, outputs: &[u32]) -> Result<Self> {
        let mut first_token = vec![0.0; config.hidden_size];
        let source = |_| (table, config.first_token as usize);
        let row = Linear::pack(config.quantization, config.hidden_size, 1, source, &[])?;
        row.unpack_row(0, &mut first_token);
        let mut rows = vec![NO_ROW; config.vocab_size];
        (0..).zip(outputs).for_each(|(row, &id)| rows[id as usize] = row);
        Ok(Self::Tied { rows, first_token })
    }
}

/// Ends of the names of tensors that old checkpoints have and no network needs: masks of attention
/// and the rotary positions' frequencies.
const BUFFERS: [&str; 4] =
    [".attn.bias", ".attention.bias", ".masked_bias", ".rotary_emb.inv_freq"];

/// Names of the two largest tensors.
pub(super) struct Tables {
    pub embedding: String,
    /// The output head, where it is not the embedding.
    pub head: &'static str,
}

/// What a family's loader makes of a checkpoint: all but embedding and head.
pub(super) struct Parts {
    pub positions: Positions,
    pub layers: Vec<Layer>,
    pub final_norm: Norm,
}

impl Transformer {
    /// Loads the network, with the output head's rows in the order of `outputs`: token ids.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a tensor is missing,
    /// misshapen or not finite; [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read.
    pub fn load(config: &Config, weights: &Weights<'_>, outputs: &[u32], isa: Isa) -> Result<Self> {
        let width = config.hidden_size;
        let tables = match config.family {
            Family::GptNeox => gpt_neox::tables(weights),
            Family::Gpt2 => gpt2::tables(weights),
            Family::Llama | Family::Qwen3 => llama::tables(),
        };
        weights.ignore(|name| {
            BUFFERS.iter().any(|end| name.ends_with(end)) || (config.tied && name == tables.head)
        });
        // The largest tensors first: each is in memory twice while it is packed.
        let (vocab_size, quantization) = (config.vocab_size, config.quantization);
        let name = if config.tied { &tables.embedding } else { tables.head };
        let matrix = weights.matrix(name, MatrixShape::new(width, vocab_size), quantization)?;
        let source = |i: usize| (&matrix, outputs[i] as usize);
        let head = Linear::pack(quantization, width, outputs.len(), source, &[])?;
        let tied = config.tied.then(|| Embedding::tied(config, &matrix, outputs)).transpose()?;
        drop(matrix);
        let embedding = match tied {
            Some(embedding) => embedding,
            None => Embedding::Table(weights.tensor(&tables.embedding, &[vocab_size, width])?),
        };
        let parts = match config.family {
            Family::GptNeox => gpt_neox::load(config, weights)?,
            Family::Gpt2 => gpt2::load(config, weights)?,
            Family::Llama | Family::Qwen3 => llama::load(config, weights)?,
        };
        Ok(Self {
            isa,
            width,
            shape: AttentionShape {
                heads: config.heads,
                kv_heads: config.kv_heads,
                head_dim: config.head_dim,
                window: config.window(),
                scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
            },
            positions: parts.positions,
            parallel_residual: config.parallel_residual,
            layers: parts.layers,
            final_norm: parts.final_norm,
            embedding,
            head,
        })
    }

    /// [`Network::session`] with keys and values kept as `E`; archives need [`Bf16`].
    pub fn session_with<E: KvElement>(
        &self,
        lanes: usize,
        steps: usize,
        window: usize,
    ) -> TransformerSession<'_, E> {
        TransformerSession::new(self, lanes, steps, window)
    }

    /// Numbers of queries, and of keys or values, in a row.
    pub(super) fn qkv_widths(&self) -> (usize, usize) {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        (heads * head_dim, kv_heads * head_dim)
    }

    /// Writes the embedding of `token`. out: `[C]`.
    pub(super) fn embed(&self, token: u32, out: &mut [f32]) {
        let token = token as usize;
        match &self.embedding {
            Embedding::Table(table) => {
                out.copy_from_slice(&table[token * self.width..][..self.width])
            }
            Embedding::Tied { rows, first_token } => match rows[token] {
                NO_ROW => out.copy_from_slice(first_token),
                row => self.head.unpack_row(row as usize, out),
            },
        }
    }
}

impl Network for Transformer {
    fn outputs(&self) -> usize {
        self.head.outputs()
    }

    fn window(&self) -> usize {
        self.shape.window
    }

    fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session + '_> {
        Box::new(self.session_with::<Bf16>(lanes, steps, window))
    }
}

/// Loads all layers, each by `load`: in the order of their names, in which safetensors files have
/// them, so that little is held that was read and is not wanted yet.
pub(super) fn load_layers(
    config: &Config,
    load: impl Fn(usize) -> Result<Layer>,
) -> Result<Vec<Layer>> {
    let mut order: Vec<usize> = (0..config.layers).collect();
    order.sort_by_key(usize::to_string);
    let layers = order.into_iter().map(|i| Ok((i, load(i)?)));
    let mut layers = layers.collect::<Result<Vec<_>>>()?;
    layers.sort_by_key(|&(i, _)| i);
    Ok(layers.into_iter().map(|(_, layer)| layer).collect())
}

/// The norm of the family's kind named `name`, over `dims` dimensions.
pub(super) fn norm(
    config: &Config,
    weights: &Weights<'_>,
    name: &str,
    dims: usize,
) -> Result<Norm> {
    let gain = weights.tensor(&format!("{name}.weight"), &[dims])?;
    let eps = config.norm_eps as f32;
    match config.family {
        Family::GptNeox | Family::Gpt2 => {
            let bias = weights.tensor(&format!("{name}.bias"), &[dims])?;
            Ok(Norm::Layer { gain, bias, eps })
        }
        Family::Llama | Family::Qwen3 => Ok(Norm::Rms { gain, eps }),
    }
}
