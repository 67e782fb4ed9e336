//! `adapter_config.json` of Hugging Face's PEFT.

use super::{Adapter, invalid};
use crate::error::Result;
use crate::models::json;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The file's name.
pub const CONFIG: &str = "adapter_config.json";

/// Keys that an adapter must have, or may have.
#[derive(Deserialize)]
pub struct AdapterConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Fields of kinds of adapters that are not run here, unless they are false, empty or null.
const REFUSED: [&str; 15] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
];

/// Starts that leave the model's own weights as they are; others change them.
const INITIALIZERS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

impl AdapterConfig {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// InvalidModel where it is of another kind of adapter, or makes no sense.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let config: Self = json::parse(CONFIG, text)?;
        match config.fault() {
            Some(fault) => Err(invalid(format!("{CONFIG}: {fault}"))),
            None => Ok(config),
        }
    }

    fn fault(&self) -> Option<String> {
        let Self { peft_type, r, lora_alpha, bias, init_lora_weights, rest, .. } = self;
        let most = Adapter::MAX_RANK;
        if peft_type != "LORA" {
            return Some(format!("peft_type is {}, expected LORA", peft_type.escape_debug()));
        }
        if let Some(field) = REFUSED.iter().find(|field| rest.get(**field).is_some_and(is_set)) {
            return Some(format!("{field} is set, which llmzip does not support"));
        }
        if let Some(bias) = bias.as_deref().filter(|bias| *bias != "none") {
            return Some(format!("bias is {}, expected none", bias.escape_debug()));
        }
        if let Value::String(start) = init_lora_weights
            && !INITIALIZERS.contains(&&start[..])
        {
            let start = start.escape_debug();
            return Some(format!(
                "init_lora_weights is {start}, which changes the model's own weights: not supported"
            ));
        }
        if !(1..=most).contains(r) {
            return Some(format!("r is {r}, expected 1 to {most}"));
        }
        let scale = self.adapter().scale();
        if !(scale.is_finite() && scale > 0.0) {
            return Some(format!("lora_alpha is {lora_alpha}, expected a positive number"));
        }
        None
    }

    /// Returns an adapter of these numbers, without modules.
    pub fn adapter(&self) -> Adapter {
        let Self { r, lora_alpha, use_rslora, .. } = *self;
        Adapter { rank: r, alpha: lora_alpha, is_rank_stabilized: use_rslora, modules: Vec::new() }
    }

    /// Returns the ends of modules' names in the list `target_modules`; none where it is a pattern.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.target_modules.as_array().into_iter().flatten().filter_map(Value::as_str)
    }
}

/// Whether a field has a value that asks for something.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// Returns the file for `adapter`, of the model `base`. `is_transposed`: the model stores its matrices so.
pub fn to_bytes(adapter: &Adapter, base: &str, is_transposed: bool) -> Vec<u8> {
    let kinds: std::collections::BTreeSet<&str> =
        adapter.modules.iter().map(|adapted| adapted.module.kind()).collect();
    let config = serde_json::json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": is_transposed,
        "inference_mode": true,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": adapter.rank,
        "target_modules": kinds,
        "task_type": "CAUSAL_LM",
        "use_rslora": adapter.is_rank_stabilized,
    });
    let mut text = serde_json::to_vec_pretty(&config).expect("names and numbers");
    text.push(b'\n');
    text
}
