//! The tensors of GPT-2 and DistilGPT-2: layer norm with biases, learned positions, weights stored
//! transposed (`Conv1D`), the output head tied to the embedding.
//!
//! Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). Parts are those of
//! Hugging Face's transformers, with or without the prefix `transformer.`.

use super::Weights;
use super::blocks::{BlockParts, Layer, Mlp, Positions, Tables, load_layers, norm};
use super::config::Config;
use super::linear::Linear;
use super::matrix::MatrixShape;
use crate::error::Result;

/// The names of embedding and output head.
pub(super) fn tables(weights: &Weights<'_>) -> Tables {
    let prefix = prefix(weights);
    Tables { embedding: format!("{prefix}wte.weight"), head: "lm_head.weight" }
}

/// The prefix of all names.
fn prefix(weights: &Weights<'_>) -> &'static str {
    if weights.has("wte.weight") { "" } else { "transformer." }
}

/// Loads everything but embedding and output head.
pub(super) fn load(config: &Config, weights: &Weights<'_>) -> Result<BlockParts> {
    let prefix = prefix(weights);
    let (c, positions) = (config.hidden_size, [config.max_positions, config.hidden_size]);
    let layers = load_layers(config, |i| layer(config, weights, &format!("{prefix}h.{i}")))?;
    Ok(BlockParts {
        layers,
        final_norm: norm(config, weights, &format!("{prefix}ln_f"), c)?,
        positions: Positions::Learned(weights.tensor(&format!("{prefix}wpe.weight"), &positions)?),
    })
}

fn layer(config: &Config, weights: &Weights<'_>, block: &str) -> Result<Layer> {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let linear = |part: &str, inputs: usize, outputs: usize| -> Result<Linear> {
        let (weight, bias) = (format!("{block}.{part}.weight"), format!("{block}.{part}.bias"));
        let shape = MatrixShape { inputs, outputs, is_transposed: true };
        Linear::load(weights, config.quantization, &weight, Some(&bias), shape)
    };
    let norm = |part: &str| norm(config, weights, &format!("{block}.{part}"), c);
    Ok(Layer {
        attention_norm: norm("ln_1")?,
        qkv: linear("attn.c_attn", c, 3 * c)?,
        qk_norms: None,
        attention_out: linear("attn.c_proj", c, c)?,
        mlp_norm: norm("ln_2")?,
        mlp: Mlp {
            gate: None,
            up: linear("mlp.c_fc", c, f)?,
            activation: config.activation,
            down: linear("mlp.c_proj", f, c)?,
        },
    })
}
