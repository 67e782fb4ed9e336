//! The configuration that a file's metadata stand for, in the keys of transformers.

use super::header::{Header, MetaValue, unexpected};
use super::names::ROPE_FREQUENCIES;
use crate::error::Result;
use crate::models::invalid;
use serde_json::{Map, Value, json};

/// The `quant_method` of linear layers that are blocks of four bits.
pub const QUANT_METHOD: &str = "gguf";

impl Header {
    /// Returns the architecture's name in files.
    ///
    /// # Errors
    /// `InvalidModel` where it is none that is loaded from such files.
    pub(super) fn architecture(&self) -> Result<&str> {
        match self.text("general.architecture")? {
            name @ ("llama" | "qwen2" | "qwen3") => Ok(name),
            other => Err(invalid(format!(
                "GGUF: general.architecture is '{}', expected llama, qwen2 or qwen3",
                other.escape_debug()
            ))),
        }
    }

    /// Returns `config.json`, as transformers would have it.
    ///
    /// # Errors
    /// `InvalidModel` where keys are missing, or say what llmzip does not compute.
    pub fn config(&self) -> Result<Vec<u8>> {
        let name = self.architecture()?;
        let key = |key: &str| format!("{name}.{key}");
        let required = |of: &str| -> Result<u64> {
            let key = key(of);
            self.integer(&key)?.ok_or_else(|| unexpected(&key, "a number", None))
        };
        self.refuse_scaling(name)?;
        let mut config = Map::new();
        let mut set = |name: &str, value: Value| drop(config.insert(name.to_owned(), value));
        set("model_type", json!(name));
        set("vocab_size", json!(self.array(super::tokenizer::TOKENS)?.len()));
        set("hidden_size", json!(required("embedding_length")?));
        set("intermediate_size", json!(required("feed_forward_length")?));
        set("num_hidden_layers", json!(required("block_count")?));
        set("num_attention_heads", json!(required("attention.head_count")?));
        set("max_position_embeddings", json!(required("context_length")?));
        for (to, from) in [
            ("num_key_value_heads", "attention.head_count_kv"),
            ("head_dim", "attention.key_length"),
        ] {
            if let Some(n) = self.integer(&key(from))? {
                set(to, json!(n));
            }
        }
        let eps = key("attention.layer_norm_rms_epsilon");
        let eps = self.float(&eps)?.ok_or_else(|| unexpected(&eps, "a fraction", None))?;
        set("rms_norm_eps", json!(eps));
        if let Some(theta) = self.float(&key("rope.freq_base"))? {
            set("rope_theta", json!(theta));
        }
        set("tie_word_embeddings", json!(!self.tensors.iter().any(|t| t.name == "output.weight")));
        if let Some(id) = self.integer("tokenizer.ggml.bos_token_id")? {
            set("bos_token_id", json!(id));
        }
        if !self.four_bits().is_empty() {
            set("quantization_config", json!({ "quant_method": QUANT_METHOD }));
        }
        Ok(Value::Object(config).to_string().into_bytes())
    }

    /// Refuses what changes how positions rotate, and heads of which a part rotates.
    fn refuse_scaling(&self, name: &str) -> Result<()> {
        let scaling = format!("{name}.rope.scaling.type");
        let is_scaled = match self.metadata.get(&scaling) {
            None => {
                let factor = self.float(&format!("{name}.rope.scaling.factor"))?;
                factor.is_some_and(|factor| factor != 0.0 && factor != 1.0)
            }
            Some(MetaValue::Text(kind)) => kind != "none",
            found => return Err(unexpected(&scaling, "text", found)),
        };
        if is_scaled || self.tensors.iter().any(|tensor| tensor.name == ROPE_FREQUENCIES) {
            return Err(invalid("GGUF: scaled rotary positions are not supported"));
        }
        for key in ["attention.sliding_window", "expert_count"] {
            let key = format!("{name}.{key}");
            if let Some(n) = self.integer(&key)?.filter(|&n| n > 0) {
                return Err(invalid(format!(
                    "GGUF: {key} is {n}, which is not supported in {name}"
                )));
            }
        }
        let heads = self.integer(&format!("{name}.attention.head_count"))?.unwrap_or(1).max(1);
        let width = self.integer(&format!("{name}.embedding_length"))?.unwrap_or(0);
        let head_dim =
            self.integer(&format!("{name}.attention.key_length"))?.unwrap_or(width / heads);
        let (rotating, values) = ("rope.dimension_count", "attention.value_length");
        for key in [rotating, values].map(|key| format!("{name}.{key}")) {
            if let Some(n) = self.integer(&key)?.filter(|&n| n != head_dim) {
                return Err(invalid(format!(
                    "GGUF: {key} is {n}, expected {head_dim}, as of all heads"
                )));
            }
        }
        Ok(())
    }
}
