//! The tensors of GPT-NeoX, the family of Pythia: layer norm with biases, rotary positions on a
//! part of each head, attention and feed-forward layers side by side.
//!
//! Black et al., "GPT-NeoX-20B" (2022); Biderman et al., "Pythia" (2023). Parts are those of
//! Hugging Face's transformers.

use super::Weights;
use super::blocks::{BlockParts, Layer, Mlp, Positions, Tables, load_layers, norm};
use super::config::Config;
use super::linear::Linear;
use super::matrix::MatrixShape;
use crate::error::Result;

/// The output head's name in checkpoints from before transformers 5, Pythia's among them.
const OLD_HEAD: &str = "embed_out.weight";

/// The names of embedding and output head.
pub(super) fn tables(weights: &Weights<'_>) -> Tables {
    let head = if weights.has(OLD_HEAD) { OLD_HEAD } else { "lm_head.weight" };
    Tables { embedding: "gpt_neox.embed_in.weight".to_owned(), head }
}

/// Loads everything but embedding and output head.
pub(super) fn load(config: &Config, weights: &Weights<'_>) -> Result<BlockParts> {
    Ok(BlockParts {
        positions: Positions::rotary(config),
        layers: load_layers(config, |i| layer(config, weights, i))?,
        final_norm: norm(config, weights, "gpt_neox.final_layer_norm", config.hidden_size)?,
    })
}

fn layer(config: &Config, weights: &Weights<'_>, index: usize) -> Result<Layer> {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("gpt_neox.layers.{index}.{part}");
    let linear = |part: &str, bias: bool, inputs, outputs| {
        let bias = bias.then(|| name(&format!("{part}.bias")));
        let weight = name(&format!("{part}.weight"));
        let shape = MatrixShape::new(inputs, outputs);
        Linear::load(weights, config.quantization, &weight, bias.as_deref(), shape)
    };
    // In the order of the names, as files have them: see `load_layers`.
    Ok(Layer {
        attention_out: linear(
            "attention.dense",
            config.attention_out_bias,
            config.heads * config.head_dim,
            c,
        )?,
        qkv: qkv(config, weights, &name("attention.query_key_value"))?,
        qk_norms: None,
        attention_norm: norm(config, weights, &name("input_layernorm"), c)?,
        mlp_norm: norm(config, weights, &name("post_attention_layernorm"), c)?,
        mlp: Mlp {
            down: linear("mlp.dense_4h_to_h", config.mlp_bias, f, c)?,
            gate: None,
            up: linear("mlp.dense_h_to_4h", config.mlp_bias, c, f)?,
            activation: config.activation,
        },
    })
}

/// Returns the checkpoint's row that output i of queries, keys and values has: there they stand by head,
/// `[heads][query, key, value][D]`, here by kind.
pub(super) fn stored_row(heads: usize, d: usize, i: usize) -> usize {
    let (kind, head, dim) = (i / (heads * d), i / d % heads, i % d);
    (head * 3 + kind) * d + dim
}

fn qkv(config: &Config, weights: &Weights<'_>, part: &str) -> Result<Linear> {
    let (c, d, heads) = (config.hidden_size, config.head_dim, config.heads);
    let n = 3 * heads * d;
    let theirs = |i: usize| stored_row(heads, d, i);
    let w =
        weights.matrix(&format!("{part}.weight"), MatrixShape::new(c, n), config.quantization)?;
    let bias = match config.qkv_bias {
        true => weights.tensor(&format!("{part}.bias"), &[n])?,
        false => vec![0.0; n],
    };
    let bias: Vec<f32> = (0..n).map(|i| bias[theirs(i)]).collect();
    Linear::pack(config.quantization, c, n, |i| (&w, theirs(i)), &bias)
}
