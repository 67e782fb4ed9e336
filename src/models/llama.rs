//! The tensors of Llama, OpenLLaMA, Mistral and Qwen3: RMS norm, rotary positions, grouped query heads,
//! SwiGLU; Qwen3 also norms every head's queries and keys.
//!
//! Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023); Qwen Team, "Qwen3 Technical
//! Report" (2025). Parts are those of Hugging Face's transformers.

use super::Weights;
use super::config::{Config, Family};
use super::linear::Linear;
use super::transformer::{Layer, Mlp, Norm, Parts, Positions, Tables, norm};
use super::weights::Shape;
use crate::error::Result;

/// Where embedding and output head are.
pub(super) fn tables() -> Tables {
    Tables { embedding: "model.embed_tokens.weight".to_owned(), head: "lm_head.weight" }
}

/// All else.
pub(super) fn load(config: &Config, weights: &Weights<'_>) -> Result<Parts> {
    let layers = (0..config.layers).map(|i| layer(config, weights, i));
    Ok(Parts {
        positions: Positions::rotary(config),
        final_norm: norm(config, weights, "model.norm", config.hidden_size)?,
        layers: layers.collect::<Result<_>>()?,
    })
}

fn layer(config: &Config, weights: &Weights<'_>, index: usize) -> Result<Layer> {
    let (c, f, d) = (config.hidden_size, config.intermediate_size, config.head_dim);
    let q = config.heads * d;
    let name = |part: &str| format!("model.layers.{index}.{part}");
    let linear = |part: &str, bias: bool, inputs, outputs| {
        let bias = bias.then(|| name(&format!("{part}.bias")));
        let weight = name(&format!("{part}.weight"));
        let shape = Shape::new(inputs, outputs);
        weights.linear(config.quantization, &weight, bias.as_deref(), shape)
    };
    let norm = |part: &str, dims| norm(config, weights, &name(part), dims);
    let qk_norms = || -> Result<[Norm; 2]> {
        Ok([norm("self_attn.q_norm", d)?, norm("self_attn.k_norm", d)?])
    };
    Ok(Layer {
        attention_norm: norm("input_layernorm", c)?,
        qkv: qkv(config, weights, &name("self_attn"))?,
        qk_norms: if config.family == Family::Qwen3 { Some(qk_norms()?) } else { None },
        attention_out: linear("self_attn.o_proj", config.attention_bias, q, c)?,
        mlp_norm: norm("post_attention_layernorm", c)?,
        mlp: Mlp {
            gate: Some(linear("mlp.gate_proj", config.mlp_bias, c, f)?),
            up: linear("mlp.up_proj", config.mlp_bias, c, f)?,
            activation: config.activation,
            down: linear("mlp.down_proj", config.mlp_bias, f, c)?,
        },
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
        matrices.push(weights.matrix(&name, Shape::new(c, outputs), config.quantization)?);
        if config.attention_bias {
            bias.extend(weights.tensor(&format!("{attention}.{part}.bias"), &[outputs])?);
        }
    }
    let source = |i: usize| match i {
        _ if i < q => (&matrices[0], i),
        _ if i < q + kv => (&matrices[1], i - q),
        _ => (&matrices[2], i - q - kv),
    };
    Ok(Linear::pack(config.quantization, c, q + 2 * kv, source, &bias))
}
