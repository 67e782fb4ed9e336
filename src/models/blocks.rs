//! The parts of a decoder-only transformer that a family's loader makes: `gpt_neox.rs`, `gpt2.rs`
//! and `llama.rs` fill them, `transformer.rs` puts them together.
//!
//! Legend: `R` rows, `C` hidden size, `F` feed-forward size, `D` head dimensions.

use super::Weights;
use super::config::{Config, Family};
use super::linear::Linear;
use crate::error::Result;
use crate::nn::feed_forward::Activation;
use crate::nn::shape::{LayerPart, RotaryConfig};
use crate::ops::{
    Isa, LayerNormGradients, Rotary, gelu_erf, gelu_tanh, layer_norm, layer_norm_backward,
    rms_norm, rms_norm_backward, silu_mul,
};

/// Names of the two largest tensors.
pub(super) struct Tables {
    pub embedding: String,
    /// The output head, where it is not the embedding.
    pub head: &'static str,
}

/// The parts that a family's loader makes: all but embedding and head.
pub(super) struct BlockParts {
    pub positions: Positions,
    pub layers: Vec<Layer>,
    pub final_norm: Norm,
}

/// Where a token stands.
#[derive(Clone)]
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

impl Layer {
    /// Returns the same layer in floats.
    pub fn to_floats(&self) -> Self {
        let Self { attention_norm, qkv, qk_norms, attention_out, mlp_norm, mlp } = self;
        Self {
            attention_norm: attention_norm.clone(),
            qkv: qkv.to_floats(),
            qk_norms: qk_norms.clone(),
            attention_out: attention_out.to_floats(),
            mlp_norm: mlp_norm.clone(),
            mlp: Mlp {
                gate: mlp.gate.as_ref().map(Linear::to_floats),
                up: mlp.up.to_floats(),
                activation: mlp.activation,
                down: mlp.down.to_floats(),
            },
        }
    }

    /// Returns its linear layers, in the order of their computation.
    pub fn linears(&self) -> impl Iterator<Item = (LayerPart, &Linear)> {
        let Self { qkv, attention_out, mlp: Mlp { gate, up, down, .. }, .. } = self;
        let attention = [(LayerPart::Qkv, qkv), (LayerPart::AttentionOut, attention_out)];
        let gate = gate.as_ref().map(|gate| (LayerPart::Gate, gate));
        attention.into_iter().chain(gate).chain([(LayerPart::Up, up), (LayerPart::Down, down)])
    }

    /// Returns its linear layers, in the order of their computation.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        let Self { qkv, attention_out, mlp: Mlp { gate, up, down, .. }, .. } = self;
        [qkv, attention_out].into_iter().chain(gate).chain([up, down])
    }
}

/// A norm over the last dimension.
#[derive(Clone)]
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

    /// Adds to dx the gradient of x from dy, which is overwritten. All: `[rows][dimensions]`.
    pub fn backward(&self, isa: Isa, x: &[f32], dy: &mut [f32], dx: &mut [f32]) {
        match self {
            Self::Rms { gain, eps } => rms_norm_backward(isa, x, gain, *eps, dy, dx, &mut []),
            Self::Layer { gain, eps, .. } => {
                let none = LayerNormGradients { gain: &mut [], bias: &mut [] };
                layer_norm_backward(isa, x, gain, *eps, dy, dx, none);
            }
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
        Family::Llama | Family::Qwen2 | Family::Qwen3 => Ok(Norm::Rms { gain, eps }),
    }
}
