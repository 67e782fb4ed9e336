//! Trainable Mistral-style decoder: RMS norms, rotary positions, a sliding window, grouped query
//! heads, SwiGLU, the output head tied to the embedding (`models::Transformer` is the same network
//! for coding).
//!
//! Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023).

use super::network::{TokenShard, TrainableNetwork};
use crate::error::Result;
use crate::nn::decoder::Decoder;
use crate::nn::feed_forward::Activation;
use crate::nn::parameter::{Gradients, Parameter};
use crate::nn::random::Random;
use crate::nn::recurrence::RecurrentState;
use crate::nn::shape::{
    DecoderPart, DecoderShape, DecoderTensor, LayerPart, NormKind, PositionKind, RotaryConfig,
};
use crate::ops::{AttentionShape, Isa, RotaryScaling};
use serde_json::{Value, json};

/// Dimensions of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LlamaShape {
    /// Tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads, all of which share one key and value head.
    pub heads: usize,
    /// Positions that a query sees.
    pub window: usize,
}

/// Base of the rotary frequencies.
const THETA: f64 = 10_000.0;

/// Constant added to the mean square in norms.
const EPS: f32 = 1e-5;

/// Number of positions in configurations: nominal, because the window slides.
const POSITIONS: usize = 131_072;

/// A trainable decoder.
pub struct LlamaNetwork {
    shape: LlamaShape,
    decoder: Decoder,
}

impl LlamaShape {
    /// Returns the shape of the decoder.
    pub(super) fn decoder(self) -> DecoderShape {
        let Self { vocab_size, hidden_size, intermediate_size, layers, heads, window } = self;
        let head_dim = hidden_size / heads;
        let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        DecoderShape {
            vocab_size,
            hidden_size,
            intermediate_size,
            layers,
            attention: AttentionShape { heads, kv_heads: 1, head_dim, window, scale },
            positions: PositionKind::Rotary(RotaryConfig {
                dims: head_dim,
                theta: THETA,
                scaling: RotaryScaling::None,
            }),
            norm: NormKind::Rms,
            norm_eps: EPS,
            has_qk_norms: false,
            activation: Activation::Silu,
            parallel_residual: false,
            attention_bias: false,
            mlp_bias: false,
            tied: true,
        }
    }
}

impl LlamaNetwork {
    /// Creates an untrained network.
    pub fn new(shape: LlamaShape, isa: Isa, random: &mut Random) -> Self {
        let outputs: Vec<u32> = (0..shape.vocab_size as u32).collect();
        let to_stream = 0.7 / (2.0 * shape.layers as f32).sqrt();
        let mut make = |tensor: &DecoderTensor| {
            let (name, dims) = (name(tensor.part), &tensor.shape[..]);
            let gain = match tensor.part {
                DecoderPart::Embedding => return Parameter::normal(name, dims, 0.02, random),
                DecoderPart::Layer(_, LayerPart::AttentionOut | LayerPart::Down) => to_stream,
                _ => 0.7,
            };
            match *dims {
                [outputs, inputs] => Parameter::hidden(name, [outputs, inputs], gain, random),
                _ => Parameter::constant(name, dims, 1.0),
            }
        };
        Self { shape, decoder: Decoder::new(isa, shape.decoder(), &outputs, &mut make) }
    }
}

/// Returns the name of a part's weights in `model.safetensors`; queries, keys and values are one.
fn name(part: DecoderPart) -> String {
    let (index, part) = match part {
        DecoderPart::Layer(index, part) => (index, part),
        DecoderPart::FinalNorm => return "model.norm.weight".into(),
        _ => return "model.embed_tokens.weight".into(),
    };
    let part = match part {
        LayerPart::AttentionNorm => "input_layernorm",
        LayerPart::QueryNorm => "self_attn.q_norm",
        LayerPart::KeyNorm => "self_attn.k_norm",
        LayerPart::Qkv => "self_attn.qkv_proj",
        LayerPart::AttentionOut => "self_attn.o_proj",
        LayerPart::MlpNorm => "post_attention_layernorm",
        LayerPart::Gate => "mlp.gate_proj",
        LayerPart::Up => "mlp.up_proj",
        LayerPart::Down => "mlp.down_proj",
    };
    format!("model.layers.{index}.{part}.weight")
}

impl TrainableNetwork for LlamaNetwork {
    fn parameters(&self) -> &[Parameter] {
        self.decoder.parameters()
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        self.decoder.update(change)
    }

    fn states(&self, _streams: usize) -> Vec<RecurrentState> {
        Vec::new()
    }

    fn run(
        &self,
        shard: &TokenShard,
        _: &mut [RecurrentState],
        mut gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        let of = |x: &[u32], stream: usize| -> Vec<u32> {
            x.iter().skip(stream).step_by(shard.streams).copied().collect()
        };
        let cost = |stream| {
            let (ids, targets) = (of(&shard.inputs, stream), of(&shard.targets, stream));
            self.decoder.token_cost(&ids, &targets, gradients.as_deref_mut())
        };
        Ok((0..shard.streams).map(cost).sum())
    }

    fn config(&self) -> Value {
        let shape = self.shape;
        json!({
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": 1,
            "head_dim": shape.hidden_size / shape.heads,
            "hidden_act": "silu",
            "max_position_embeddings": POSITIONS,
            "rms_norm_eps": 1e-5,
            "rope_theta": THETA,
            "sliding_window": shape.window,
            "tie_word_embeddings": true,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "float32",
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let c = self.shape.hidden_size;
        let d = c / self.shape.heads;
        let rows = [("q_proj", 0..c), ("k_proj", c..c + d), ("v_proj", c + d..c + 2 * d)];
        let tensors = |p: &Parameter| match p.name.contains("qkv_proj") {
            false => vec![(p.name.clone(), p.shape.clone(), p.values.clone())],
            true => Vec::from(rows.clone().map(|(part, rows)| {
                let values = p.values[rows.start * c..rows.end * c].to_vec();
                (p.name.replace("qkv_proj", part), vec![rows.len(), c], values)
            })),
        };
        self.decoder.parameters().iter().flat_map(tensors).collect()
    }
}
