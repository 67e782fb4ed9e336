//! Dimensions and kinds of the layers of a decoder: what families of transformers differ in.

use super::feed_forward::Activation;
use crate::ops::{AttentionShape, RotaryScaling};
use std::fmt;

/// Dimensions and kinds of the layers of a decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoderShape {
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Layers.
    pub layers: usize,
    /// Heads, and the positions that a query sees.
    pub attention: AttentionShape,
    /// Kind of positions.
    pub positions: PositionKind,
    /// Kind of norm of the residual stream.
    pub norm: NormKind,
    /// Constant added to the variance or mean square in norms.
    pub norm_eps: f32,
    /// Whether RMS norms are over every head's queries and keys, before they rotate.
    pub has_qk_norms: bool,
    /// Activation of the feed-forward layers; with [`Activation::Silu`] they have a gate.
    pub activation: Activation,
    /// Whether attention and feed-forward layers read the same input.
    pub parallel_residual: bool,
    /// Whether attention's linear layers have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

/// Kind of positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PositionKind {
    /// Queries and keys are rotated.
    Rotary(RotaryConfig),
    /// A vector is added to the embedding, for each of so many positions.
    Learned(usize),
}

/// Rotary positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotaryConfig {
    /// Dimensions of a head that rotate, the first; even.
    pub dims: usize,
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are scaled.
    pub scaling: RotaryScaling,
}

/// Kind of norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// RMS norm: a gain.
    Rms,
    /// Layer norm: a gain and a bias.
    Layer,
}

/// Part of a decoder that has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderPart {
    /// Vectors of tokens: `[vocab_size][C]`.
    Embedding,
    /// Vectors of learned positions: `[positions][C]`.
    Positions,
    /// The norm after the last layer.
    FinalNorm,
    /// The output head, where it is not the embedding: `[vocab_size][C]`.
    Head,
    /// A part of that layer.
    Layer(usize, LayerPart),
}

/// Part of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerPart {
    /// The norm before attention.
    AttentionNorm,
    /// Queries, keys and values of a row, one after the other.
    Qkv,
    /// The norm of every head's queries.
    QueryNorm,
    /// The norm of every head's keys.
    KeyNorm,
    /// From the heads' outputs to the residual stream.
    AttentionOut,
    /// The norm before the feed-forward layer.
    MlpNorm,
    /// The feed-forward layer's gate.
    Gate,
    /// Its first linear layer beside the gate.
    Up,
    /// Its last linear layer.
    Down,
}

/// A parameter of a decoder: one tensor of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderTensor {
    /// Part that it belongs to.
    pub part: DecoderPart,
    /// Whether it is the part's bias; else its weights or gain.
    pub is_bias: bool,
    /// Dimensions: of matrices `[outputs][inputs]`.
    pub shape: Vec<usize>,
}

impl DecoderTensor {
    /// Returns whether it is the matrix of a hidden layer: not an embedding or a head.
    pub fn is_hidden(&self) -> bool {
        self.shape.len() == 2 && matches!(self.part, DecoderPart::Layer(..))
    }
}

impl fmt::Display for DecoderTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            DecoderPart::Layer(index, part) => write!(f, "layers.{index}.{part:?}")?,
            part => write!(f, "{part:?}")?,
        }
        f.write_str(if self.is_bias { ".bias" } else { ".weight" })
    }
}

impl DecoderShape {
    /// Returns the width of queries, and that of keys or values, in a row.
    pub fn qkv_widths(&self) -> (usize, usize) {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.attention;
        (heads * head_dim, kv_heads * head_dim)
    }

    /// Returns the dimensions of a part's weights or gain.
    pub(super) fn part_shape(&self, part: DecoderPart) -> Vec<usize> {
        use {DecoderPart as Part, LayerPart as In};
        let (c, f) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = self.qkv_widths();
        match part {
            Part::Embedding | Part::Head => vec![self.vocab_size, c],
            Part::Positions => match self.positions {
                PositionKind::Learned(positions) => vec![positions, c],
                PositionKind::Rotary(_) => Vec::new(),
            },
            Part::FinalNorm | Part::Layer(_, In::AttentionNorm | In::MlpNorm) => vec![c],
            Part::Layer(_, In::QueryNorm | In::KeyNorm) => vec![self.attention.head_dim],
            Part::Layer(_, In::Qkv) => vec![q + 2 * kv, c],
            Part::Layer(_, In::AttentionOut) => vec![c, q],
            Part::Layer(_, In::Gate | In::Up) => vec![f, c],
            Part::Layer(_, In::Down) => vec![c, f],
        }
    }
}
