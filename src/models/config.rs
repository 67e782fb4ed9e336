//! `config.json` in the keys of Hugging Face's transformers: the classic ones, and those that its
//! version 5 writes (`rope_parameters`).

use super::checkpoint_files::CONFIG;
use super::quantization::{Quantization, quantization_of};
use super::{invalid, json};
use crate::error::Result;
use crate::nn::feed_forward::Activation;
use crate::nn::shape::RotaryConfig;
use crate::ops::{MAX_INPUTS, RotaryScaling};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The families of networks that llmzip runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// GPT-NeoX: Pythia (Biderman et al., 2023).
    GptNeox,
    /// GPT-2 and DistilGPT-2 (Radford et al., 2019).
    Gpt2,
    /// Llama, OpenLLaMA, and Mistral with its sliding window.
    Llama,
    /// Qwen2 and Qwen2.5: a Llama whose queries, keys and values have biases.
    Qwen2,
    /// Qwen3: a Llama whose queries and keys are normed.
    Qwen3,
}

impl Family {
    /// Reads `model_type`.
    fn of(model_type: &Value) -> std::result::Result<Self, String> {
        match model_type.as_str() {
            Some("gpt_neox") => Ok(Self::GptNeox),
            Some("gpt2") => Ok(Self::Gpt2),
            Some("llama" | "mistral") => Ok(Self::Llama),
            Some("qwen2") => Ok(Self::Qwen2),
            Some("qwen3") => Ok(Self::Qwen3),
            _ => {
                let known = "gpt_neox, gpt2, llama, mistral, qwen2, qwen3, gru or lstm";
                Err(format!("model_type is {model_type}, expected {known}"))
            }
        }
    }
}

/// A model's configuration. Every number is within the caps of [`Config::parse`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The family of networks.
    pub family: Family,
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Positions that the model was trained on.
    pub max_positions: usize,
    /// Positions that a token sees, itself included, where the model was trained so.
    pub sliding_window: Option<usize>,
    /// Added to the variance or mean square in norms.
    pub norm_eps: f64,
    /// The activation of the feed-forward layers.
    pub activation: Activation,
    /// Rotary positions; GPT-2 has none.
    pub rotary: RotaryConfig,
    /// Whether attention and feed-forward layers read the same input (GPT-NeoX).
    pub parallel_residual: bool,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether attention's output has a bias.
    pub attention_out_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// The token that opens every lane: the model's beginning of sequence, else token 0.
    pub first_token: u32,
    /// Whether the linear layers run in integers.
    pub quantization: Option<Quantization>,
    /// Bytes of a weight that is kept as a float: 4, or 2 where the files have halves
    /// ([`Config::with_weights`]).
    pub float_len: usize,
    /// Weights of a GGUF file's linear layers that are in four bits; in other files all are, where
    /// any is.
    pub gguf_four_bits: u64,
}

/// Keys, each with others for the same: GPT-2's own, and those of other norms.
const SPELLINGS: [(&str, &[&str]); 7] = [
    ("hidden_size", &["n_embd"]),
    ("intermediate_size", &["n_inner"]),
    ("num_hidden_layers", &["n_layer"]),
    ("num_attention_heads", &["n_head"]),
    ("max_position_embeddings", &["n_positions"]),
    ("rms_norm_eps", &["layer_norm_eps", "layer_norm_epsilon"]),
    ("hidden_act", &["activation_function"]),
];

/// Puts all under the first of their [`SPELLINGS`]; a file may have several that agree.
fn unify_spellings(config: &mut Map<String, Value>) -> std::result::Result<(), String> {
    for (name, others) in SPELLINGS {
        for other in others {
            let Some(value) = config.remove(*other).filter(|value| !value.is_null()) else {
                continue;
            };
            match config.get(name).filter(|value| !value.is_null()) {
                Some(first) if *first != value => {
                    return Err(format!("{name} is {first}, but {other} is {value}"));
                }
                Some(_) => (),
                None => drop(config.insert(name.to_owned(), value)),
            }
        }
    }
    Ok(())
}

/// The keys that count, in the first of their [`SPELLINGS`].
#[derive(Deserialize)]
struct Keys {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    rope_theta: Option<f64>,
    rotary_emb_base: Option<f64>,
    rotary_pct: Option<f64>,
    #[serde(default)]
    rope_scaling: Value,
    #[serde(default)]
    rope_parameters: Value,
    use_parallel_residual: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    #[serde(default)]
    bos_token_id: Value,
    #[serde(default)]
    quantization_config: Value,
    /// llmzip's own: of what others quantized.
    #[serde(default)]
    llmzip: Value,
}

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is not JSON, of another
    /// family, or a number is out of bounds.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let failed = |what: String| invalid(format!("{CONFIG}: {what}"));
        let mut keys: Map<String, Value> = json::parse(CONFIG, text)?;
        let family = Family::of(keys.get("model_type").unwrap_or(&Value::Null)).map_err(failed)?;
        unify_spellings(&mut keys).map_err(failed)?;
        let keys = Keys::deserialize(Value::Object(keys)).map_err(|e| failed(e.to_string()))?;
        let config = keys.resolve(family).map_err(failed)?;
        config.check().map_err(failed)?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let bounded = [
            ("vocab_size", self.vocab_size, 1 << 20),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("num_hidden_layers", self.layers, 512),
            ("num_attention_heads", self.heads, 1 << 10),
            ("num_key_value_heads", self.kv_heads, 1 << 10),
            ("head_dim", self.head_dim, 1 << 10),
            ("max_position_embeddings", self.max_positions, 1 << 24),
            ("sliding_window", self.sliding_window.unwrap_or(1), 1 << 24),
        ];
        check_bounds(&bounded)?;
        check_first_token(self.first_token, self.vocab_size)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let (heads, kv_heads) = (self.heads, self.kv_heads);
            return Err(format!(
                "num_attention_heads ({heads}) is no multiple of num_key_value_heads ({kv_heads})"
            ));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(format!(
                "the norms' epsilon is {}, expected between 0 and 1",
                self.norm_eps
            ));
        }
        let gpt = matches!(self.family, Family::GptNeox | Family::Gpt2);
        if gpt && (self.heads * self.head_dim != self.hidden_size || self.kv_heads != self.heads) {
            return Err(format!(
                "num_attention_heads * head_dim ({}) != hidden_size ({}), or key/value heads are shared",
                self.heads * self.head_dim,
                self.hidden_size
            ));
        }
        let RotaryConfig { dims, theta, .. } = self.rotary;
        if !dims.is_multiple_of(2) || !(2..=self.head_dim).contains(&dims) {
            let most = self.head_dim;
            return Err(format!("{dims} dimensions rotate, expected an even number up to {most}"));
        }
        if !(theta > 1.0 && theta.is_finite()) {
            return Err(format!("rope_theta is {theta}, expected a finite number above 1"));
        }
        self.check_quantization()
    }

    /// Sums of integers are exact up to a number of inputs.
    fn check_quantization(&self) -> std::result::Result<(), String> {
        let inputs = [self.hidden_size, self.intermediate_size, self.heads * self.head_dim];
        match inputs.into_iter().find(|&inputs| inputs > MAX_INPUTS) {
            Some(inputs) if self.quantization.is_some() => Err(format!(
                "a linear layer of {inputs} inputs, expected at most {MAX_INPUTS} in integers"
            )),
            _ => Ok(()),
        }
    }

    /// The same with linear layers in `quantization`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where they are too wide for it.
    pub fn quantized(self, quantization: Quantization) -> Result<Self> {
        let config = Self { quantization: Some(quantization), ..self };
        config.check_quantization().map_err(|what| invalid(format!("config.json: {what}")))?;
        Ok(config)
    }

    /// Whether the feed-forward layers have a gate.
    pub fn has_gate(&self) -> bool {
        self.activation == Activation::Silu
    }

    /// Positions that a token sees at most, itself included.
    pub fn window(&self) -> usize {
        self.sliding_window.unwrap_or(usize::MAX).min(self.max_positions)
    }
}

/// A layer with a sliding window, in `layer_types`.
const SLIDING: &str = "sliding_attention";

/// The `max_window_layers` that Qwen2 and Qwen3 have where its configuration does not say.
const MAX_WINDOW_LAYERS: usize = 28;

impl Keys {
    fn resolve(&self, family: Family) -> std::result::Result<Config, String> {
        if self.scale_attn_weights == Some(false)
            || self.scale_attn_by_inverse_layer_idx == Some(true)
        {
            return Err(
                "scale_attn_weights = false and scale_attn_by_inverse_layer_idx are not supported"
                    .to_owned(),
            );
        }
        let (gpt, gpt2) =
            (matches!(family, Family::GptNeox | Family::Gpt2), family == Family::Gpt2);
        let intermediate =
            self.intermediate_size.or(gpt2.then_some(4 * self.hidden_size.min(1 << 16)));
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1));
        Ok(Config {
            family,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: intermediate.ok_or("intermediate_size is missing")?,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            max_positions: self.max_position_embeddings,
            sliding_window: self.window(family)?,
            norm_eps: self.rms_norm_eps,
            activation: self.activation(gpt)?,
            rotary: self.rotary(family, head_dim)?,
            parallel_residual: family == Family::GptNeox
                && self.use_parallel_residual != Some(false),
            qkv_bias: family == Family::Qwen2 || self.attention_bias.unwrap_or(gpt),
            attention_out_bias: family != Family::Qwen2 && self.attention_bias.unwrap_or(gpt),
            mlp_bias: self.mlp_bias.unwrap_or(gpt),
            tied: self.tie_word_embeddings.unwrap_or(gpt2),
            first_token: first_token_of(&self.bos_token_id)?,
            quantization: quantization_of(&self.quantization_config, &self.llmzip)?,
            float_len: 4,
            gguf_four_bits: 0,
        })
    }

    /// Only Mistral slides by its key alone; Qwen2 and Qwen3 have the key and say whether it counts, and
    /// for which layers.
    fn window(&self, family: Family) -> std::result::Result<Option<usize>, String> {
        let counts = match family {
            Family::Llama => self.model_type == "mistral",
            Family::Qwen2 | Family::Qwen3 => self.use_sliding_window == Some(true),
            Family::GptNeox | Family::Gpt2 => false,
        };
        let types = self.layer_types.as_deref().unwrap_or_default();
        let is_known = |layer: &&String| ["full_attention", SLIDING].contains(&layer.as_str());
        if let Some(layer) = types.iter().find(|layer| !is_known(layer)) {
            return Err(format!("layer_types has {layer:?}, expected full_attention or {SLIDING}"));
        }
        let Some(window) = self.sliding_window.filter(|_| counts) else { return Ok(None) };
        let layers = self.num_hidden_layers;
        let sliding = match (&self.layer_types, family) {
            (Some(types), _) => types.iter().filter(|layer| *layer == SLIDING).count(),
            (None, Family::Qwen2 | Family::Qwen3) => {
                layers.saturating_sub(self.max_window_layers.unwrap_or(MAX_WINDOW_LAYERS))
            }
            (None, _) => layers,
        };
        match sliding {
            0 => Ok(None),
            _ if sliding == layers => Ok(Some(window)),
            _ => Err(format!(
                "{sliding} of {layers} layers have a sliding window, expected all or none"
            )),
        }
    }

    fn activation(&self, gpt: bool) -> std::result::Result<Activation, String> {
        let found = self.hidden_act.as_deref().unwrap_or(if gpt { "gelu" } else { "silu" });
        match (found, gpt) {
            ("gelu", true) => Ok(Activation::GeluErf),
            ("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast", true) => Ok(Activation::GeluTanh),
            ("silu", false) => Ok(Activation::Silu),
            _ => Err(format!("activation {found:?} is not supported in {}", self.model_type)),
        }
    }

    /// Rotary positions, from whichever keys there are.
    fn rotary(&self, family: Family, head_dim: usize) -> std::result::Result<RotaryConfig, String> {
        let new = |key: &str| self.rope_parameters[key].as_f64();
        let theta = new("rope_theta").or(self.rope_theta).or(self.rotary_emb_base);
        let share = match family {
            Family::GptNeox => new("partial_rotary_factor").or(self.rotary_pct).unwrap_or(0.25),
            _ => 1.0,
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("rotary_pct is {share}, expected 0 to 1"));
        }
        let scaling = match &self.rope_parameters {
            Value::Null => &self.rope_scaling,
            parameters => parameters,
        };
        Ok(RotaryConfig {
            dims: (head_dim as f64 * share) as usize,
            theta: theta.unwrap_or(10_000.0),
            scaling: scaling_of(scaling)?,
        })
    }
}

/// Checks that each of some numbers, each with its key, is from 1 to what follows it.
pub(super) fn check_bounds(numbers: &[(&str, usize, usize)]) -> std::result::Result<(), String> {
    for (key, value, most) in numbers {
        if !(1..=*most).contains(value) {
            return Err(format!("{key} is {value}, expected 1 to {most}"));
        }
    }
    Ok(())
}

/// The token that `bos_token_id` names, once or several times; token 0 where it names none.
pub(super) fn first_token_of(bos: &Value) -> std::result::Result<u32, String> {
    let ids = bos.as_array().map_or(std::slice::from_ref(bos), Vec::as_slice);
    let first = ids.first().filter(|id| !id.is_null() && **id != -1);
    let Some(first) = first else { return Ok(0) };
    let id = first.as_u64().and_then(|id| u32::try_from(id).ok());
    id.filter(|_| ids.iter().all(|id| id == first))
        .ok_or_else(|| format!("bos_token_id is {bos}, expected one token"))
}

/// Checks that the token that opens lanes has an embedding.
pub(super) fn check_first_token(token: u32, vocab_size: usize) -> std::result::Result<(), String> {
    if token as usize >= vocab_size {
        return Err(format!("bos_token_id is {token}, past the vocabulary of {vocab_size} tokens"));
    }
    Ok(())
}

/// Parses `rope_scaling` or `rope_parameters`.
fn scaling_of(json: &Value) -> std::result::Result<RotaryScaling, String> {
    if json.is_null() {
        return Ok(RotaryScaling::None);
    }
    let kind = json["rope_type"].as_str().or(json["type"].as_str()).unwrap_or("default");
    let number = |key: &str| match json[key].as_f64() {
        Some(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => {
            Err(format!("{key} of the rotary scaling is {}, expected a positive number", json[key]))
        }
    };
    match kind {
        "default" => Ok(RotaryScaling::None),
        "linear" => Ok(RotaryScaling::Linear(number("factor")?)),
        "llama3" => Ok(RotaryScaling::Llama3 {
            factor: number("factor")?,
            low: number("low_freq_factor")?,
            high: number("high_freq_factor")?,
            positions: number("original_max_position_embeddings")?,
        }),
        other => Err(format!("rotary scaling {other:?} is not supported: only linear and llama3")),
    }
}
