//! `config.json` of the Llama family (Llama, OpenLLaMA, Mistral), in the keys of Hugging Face's
//! transformers.

use super::invalid;
use crate::error::Result;
use serde::Deserialize;

/// A model's configuration. Every number is within the caps of [`Config::parse`].
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    model_type: String,
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    /// Added to the mean square in RMS norms.
    pub rms_norm_eps: f64,
    #[serde(default = "default_rope_theta")]
    rope_theta: f64,
    /// Whether the output head is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default = "default_activation")]
    hidden_act: String,
    bos_token_id: Option<u32>,
    #[serde(default)]
    rope_scaling: serde_json::Value,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

fn default_rope_theta() -> f64 {
    10_000.0
}

fn default_activation() -> String {
    "silu".to_owned()
}

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is not JSON, of another
    /// family, or a number is out of bounds.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let config: Self =
            serde_json::from_slice(json).map_err(|e| invalid(format!("config.json: {e}")))?;
        config.check().map_err(|what| invalid(format!("config.json: {what}")))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !["llama", "mistral"].contains(&self.model_type.as_str()) {
            return Err(format!("model_type is {:?}, expected llama or mistral", self.model_type));
        }
        if self.hidden_act != "silu" || self.attention_bias || self.mlp_bias {
            return Err("only SiLU and layers without biases are supported".to_owned());
        }
        if !self.rope_scaling.is_null() {
            return Err("rope_scaling is not supported".to_owned());
        }
        let bounded = [
            ("vocab_size", self.vocab_size, 1 << 20),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("num_hidden_layers", self.num_hidden_layers, 512),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_key_value_heads", self.kv_heads(), 1 << 10),
            ("head_dim", self.head_dim(), 1 << 10),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
            ("sliding_window", self.window(), 1 << 24),
        ];
        for (name, value, most) in bounded {
            if !(1..=most).contains(&value) {
                return Err(format!("{name} is {value}, expected 1 to {most}"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return Err(format!(
                "{} heads cannot share {} key/value heads equally",
                self.num_attention_heads,
                self.kv_heads()
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!("head_dim is {}, expected an even number", self.head_dim()));
        }
        let positive = self.rms_norm_eps > 0.0 && self.rope_theta > 1.0;
        if !(positive && self.rms_norm_eps < 1.0 && self.rope_theta.is_finite()) {
            return Err("rms_norm_eps or rope_theta is out of range".to_owned());
        }
        if self.first_token() as usize >= self.vocab_size {
            return Err(format!("bos_token_id is {}, past the vocabulary", self.first_token()));
        }
        Ok(())
    }

    /// Key/value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Dimensions of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Positions that a token sees, itself included. Past the positions that a model was trained
    /// on, the window slides.
    pub fn window(&self) -> usize {
        self.sliding_window.unwrap_or(usize::MAX).min(self.max_position_embeddings)
    }

    /// Base of the rotary frequencies.
    pub fn rope_theta(&self) -> f64 {
        self.rope_theta
    }

    /// The token that opens every lane: the model's beginning of sequence, else token 0.
    pub fn first_token(&self) -> u32 {
        self.bos_token_id.unwrap_or(0)
    }
}
