//! Linear layers that can have an adapter: their names in checkpoints of each family, and their places in
//! the network.

use crate::models::config::{Config, Family};
use crate::models::gpt_neox;
use crate::nn::shape::LayerPart;

/// A linear layer of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptableModule {
    /// Name in the checkpoint, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Layer that it is in.
    pub layer: usize,
    /// Linear layer of the network that it is, or is a part of.
    pub part: LayerPart,
    /// That one's output that is its first.
    pub first: usize,
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Dimensions of a head, where its outputs stand by head, `[heads][query, key, value][D]`.
    head_dim: Option<usize>,
}

/// Outputs of a module among those of a linear layer of the network.
enum Columns {
    All,
    ByHead,
    Query,
    Key,
    Value,
}

/// Name of a module within a layer, and what it is.
type Row = (&'static str, LayerPart, Columns);

const GPT_NEOX: [Row; 4] = [
    ("attention.query_key_value", LayerPart::Qkv, Columns::ByHead),
    ("attention.dense", LayerPart::AttentionOut, Columns::All),
    ("mlp.dense_h_to_4h", LayerPart::Up, Columns::All),
    ("mlp.dense_4h_to_h", LayerPart::Down, Columns::All),
];

const GPT2: [Row; 4] = [
    ("attn.c_attn", LayerPart::Qkv, Columns::All),
    ("attn.c_proj", LayerPart::AttentionOut, Columns::All),
    ("mlp.c_fc", LayerPart::Up, Columns::All),
    ("mlp.c_proj", LayerPart::Down, Columns::All),
];

const LLAMA: [Row; 7] = [
    ("self_attn.q_proj", LayerPart::Qkv, Columns::Query),
    ("self_attn.k_proj", LayerPart::Qkv, Columns::Key),
    ("self_attn.v_proj", LayerPart::Qkv, Columns::Value),
    ("self_attn.o_proj", LayerPart::AttentionOut, Columns::All),
    ("mlp.gate_proj", LayerPart::Gate, Columns::All),
    ("mlp.up_proj", LayerPart::Up, Columns::All),
    ("mlp.down_proj", LayerPart::Down, Columns::All),
];

/// Returns all modules of a network, layer by layer.
pub fn modules(config: &Config) -> Vec<AdaptableModule> {
    let layers = layers_name(config.family);
    let rows = match config.family {
        Family::GptNeox => &GPT_NEOX[..],
        Family::Gpt2 => &GPT2[..],
        Family::Llama | Family::Qwen2 | Family::Qwen3 => &LLAMA[..],
    };
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let module = |layer: usize, (name, part, columns): &Row| {
        let (inputs, outputs) = match part {
            LayerPart::Qkv => (c, q + 2 * kv),
            LayerPart::AttentionOut => (q, c),
            LayerPart::Down => (f, c),
            _ => (c, f),
        };
        let (first, outputs) = match columns {
            Columns::All | Columns::ByHead => (0, outputs),
            Columns::Query => (0, q),
            Columns::Key => (q, kv),
            Columns::Value => (q + kv, kv),
        };
        AdaptableModule {
            name: format!("{layers}.{layer}.{name}"),
            layer,
            part: *part,
            first,
            inputs,
            outputs,
            head_dim: matches!(columns, Columns::ByHead).then_some(config.head_dim),
        }
    };
    (0..config.layers).flat_map(|layer| rows.iter().map(move |row| module(layer, row))).collect()
}

/// The name that all layers' names begin with.
fn layers_name(family: Family) -> &'static str {
    match family {
        Family::GptNeox => "gpt_neox.layers",
        Family::Gpt2 => "transformer.h",
        Family::Llama | Family::Qwen2 | Family::Qwen3 => "model.layers",
    }
}

impl Config {
    /// Returns the names in the checkpoint of a layer's norms, before attention and before the feed-forward
    /// layer, such as `model.layers.0.input_layernorm`.
    pub fn norm_modules(&self, layer: usize) -> [String; 2] {
        let names = match self.family {
            Family::Gpt2 => ["ln_1", "ln_2"],
            _ => ["input_layernorm", "post_attention_layernorm"],
        };
        names.map(|name| format!("{}.{layer}.{name}", layers_name(self.family)))
    }
}

impl AdaptableModule {
    /// Returns the last part of its name, by which `target_modules` names it.
    pub fn kind(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Returns whether a checkpoint's module `name` is this one. GPT-2's may lack a prefix.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix("transformer.") == Some(name)
    }

    /// Returns the row of a checkpoint's matrix that output i has.
    pub fn stored_row(&self, i: usize) -> usize {
        self.head_dim.map_or(i, |d| gpt_neox::stored_row(self.outputs / (3 * d), d, i))
    }
}
