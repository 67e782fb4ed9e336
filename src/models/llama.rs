//! The tensors of Llama, OpenLLaMA, Mistral, Qwen2 and Qwen3: RMS norm, rotary positions, grouped
//! query heads, SwiGLU; Qwen2 adds biases to queries, keys and values, Qwen3 norms every head's
//! queries and keys.
//!
//! Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023); Qwen Team, "Qwen2 Technical
//! Report" (2024) and "Qwen3 Technical Report" (2025). Parts are those of Hugging Face's transformers.

use super::Weights;
use super::blocks::{BlockParts, Layer, Mlp, Norm, Positions, Tables, load_layers, norm};
use super::config::{Config, Family};
use super::linear::Linear;
use super::matrix::MatrixShape;
use crate::error::Result;

/// The names of embedding and output head.
pub(super) fn tables() -> Tables {
    Tables { embedding: "model.embed_tokens.weight".to_owned(), head: "lm_head.weight" }
}

/// Loads everything but embedding and output head.
pub(super) fn load(config: &Config, weights: &Weights<'_>) -> Result<BlockParts> {
    Ok(BlockParts {
        positions: Positions::rotary(config),
        layers: load_layers(config, |i| layer(config, weights, i))?,
        final_norm: norm(config, weights, "model.norm", config.hidden_size)?,
    })
}

fn layer(config: &Config, weights: &Weights<'_>, index: usize) -> Result<Layer> {
    let (c, f, d) = (config.hidden_size, config.intermediate_size, config.head_dim);
    let q = config.heads * d;
    let name = |part: &str| format!("model.layers.{index}.{part}");
    let linear = |part: &str, bias: bool, inputs, outputs| {
        let bias = bias.then(|| name(&format!("{part}.bias")));
        let weight = name(&format!("{part}.weight"));
        let shape = MatrixShape::new(inputs, outputs);
        Linear::load(weights, config.quantization, &weight, bias.as_deref(), shape)
    };
    let norm = |part: &str, dims| norm(config, weights, &name(part), dims);
    let qk_norms = || -> Result<[Norm; 2]> {
        Ok([norm("self_attn.q_norm", d)?, norm("self_attn.k_norm", d)?])
    };
    // In the order of the names, as files have them: see `load_layers`.
    Ok(Layer {
        attention_norm: norm("input_layernorm", c)?,
        mlp: Mlp {
            down: linear("mlp.down_proj", config.mlp_bias, f, c)?,
            gate: Some(linear("mlp.gate_proj", config.mlp_bias, c, f)?),
            up: linear("mlp.up_proj", config.mlp_bias, c, f)?,
            activation: config.activation,
        },
        mlp_norm: norm("post_attention_layernorm", c)?,
        attention_out: linear("self_attn.o_proj", config.attention_out_bias, q, c)?,
        qkv: qkv(config, weights, &name("self_attn"))?,
        qk_norms: if config.family == Family::Qwen3 { Some(qk_norms()?) } else { None },
    })
}

/// The three projections as one.
fn qkv(config: &Config, weights: &Weights<'_>, attention: &str) -> Result<Linear> {
    let c = config.hidden_size;
    let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let parts = [("q_proj", q), ("k_proj", kv), ("v_proj", kv)];
    let mut matrices = Vec::new();
    let mut bias = Vec::new();
    for (part, outputs) in parts {
        let name = format!("{attention}.{part}.weight");
        matrices.push(weights.matrix(&name, MatrixShape::new(c, outputs), config.quantization)?);
        if config.qkv_bias {
            bias.extend(weights.tensor(&format!("{attention}.{part}.bias"), &[outputs])?);
        }
    }
    let source = |i: usize| match i {
        _ if i < q => (&matrices[0], i),
        _ if i < q + kv => (&matrices[1], i - q),
        _ => (&matrices[2], i - q - kv),
    };
    Linear::pack(config.quantization, c, q + 2 * kv, source, &bias)
}
