//! Linear layers in integers, as `quantization_config` of `config.json` says: llmzip's own int8, and
//! the layouts of four-bit checkpoints that others write (`docs/numerics.md`, sections 16 and 26).
//!
//! Which layers are quantized is told by their tensors; so `ignore`, `targets` and
//! `modules_to_not_convert` need not be understood, and none can be misunderstood.

use super::gguf;
use crate::ops::{ActivationBits, MAX_GROUP};
use serde_json::Value;

/// Linear layers in integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// How weights are stored.
    pub weights: QuantWeights,
    /// Of what the layers take.
    pub activations: ActivationBits,
}

/// How the weights of a model in integers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantWeights {
    /// 8 bits, a scale for each output; floats become such when they are loaded.
    Int8,
    /// 4 bits, a scale for each group of inputs; layers of floats remain floats.
    Int4(Int4Format),
}

/// How four-bit weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int4Format {
    /// Names and order of the tensors.
    pub layout: Int4Layout,
    /// Inputs that share a scale; `None`: all of an output.
    pub group: Option<usize>,
    /// Whether groups have zero points of their own.
    pub has_zeros: bool,
}

impl Int4Format {
    /// Returns the bytes of memory that `n` weights take.
    pub fn memory(&self, n: u64) -> u64 {
        let numbers = if self.has_zeros { 2 } else { 1 };
        n / 2 + 4 * numbers * n / self.group.unwrap_or(GROUP_OF_CHANNEL) as u64
    }
}

/// Inputs of a group where all inputs of an output share a scale.
pub(super) const GROUP_OF_CHANNEL: usize = 128;

/// Names and order of the tensors of four-bit weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int4Layout {
    /// compressed-tensors' *pack-quantized*: `weight_packed`, `weight_scale`, `weight_zero_point`.
    CompressedTensors,
    /// AutoAWQ's *gemm*: `qweight`, `qzeros`, `scales`, packed along outputs.
    Awq,
    /// GPTQ's: the same names, packed along inputs.
    Gptq {
        /// Whether zero points are stored less one, as in all but `gptq_v2`.
        is_less_one: bool,
    },
    /// Blocks of a GGUF file.
    Gguf,
}

/// The `quant_method` of int8 in `config.json`.
pub const QUANT_METHOD: &str = "llmzip-int8";

/// Parses `quantization_config` and `llmzip`, the key beside it that says `activation_bits` where
/// the former is not ours.
pub(super) fn quantization_of(
    json: &Value,
    own: &Value,
) -> std::result::Result<Option<Quantization>, String> {
    if json.is_null() {
        return Ok(None);
    }
    let method = &json["quant_method"];
    let format = match method.as_str() {
        Some(QUANT_METHOD) => {
            let activations = activations_of(&json["activation_bits"])?;
            return Ok(Some(Quantization { weights: QuantWeights::Int8, activations }));
        }
        Some("compressed-tensors") => compressed_tensors(json)?,
        Some("awq") => awq(json)?,
        Some("gptq") => gptq(json)?,
        Some(gguf::QUANT_METHOD) => {
            Int4Format { layout: Int4Layout::Gguf, group: Some(gguf::GROUP), has_zeros: true }
        }
        _ => {
            return Err(format!(
                "quantized by {method}, expected {QUANT_METHOD:?}, \"compressed-tensors\", \"awq\", \"gptq\" or not at all"
            ));
        }
    };
    if let Some(group) = format.group
        && !((8..=MAX_GROUP).contains(&group) && group.is_multiple_of(8))
    {
        return Err(format!(
            "groups of {group} inputs, expected a multiple of 8 up to {MAX_GROUP}"
        ));
    }
    let activations = match &own["activation_bits"] {
        Value::Null => ActivationBits::Sixteen,
        bits => activations_of(bits)?,
    };
    Ok(Some(Quantization { weights: QuantWeights::Int4(format), activations }))
}

fn activations_of(bits: &Value) -> std::result::Result<ActivationBits, String> {
    match bits.as_u64() {
        Some(8) => Ok(ActivationBits::Eight),
        Some(16) => Ok(ActivationBits::Sixteen),
        _ => Err(format!("activation_bits is {bits}, expected 8 or 16")),
    }
}

/// Checks that `json[key]` is one of `expected`.
fn expect(
    json: &Value,
    key: &str,
    expected: &[Value],
    format: &str,
) -> std::result::Result<(), String> {
    let found = &json[key];
    if expected.contains(found) {
        return Ok(());
    }
    let expected: Vec<String> = expected.iter().map(Value::to_string).collect();
    Err(format!("{key} of {format} is {found}, expected {}", expected.join(" or ")))
}

/// The inputs that share a scale: `json[key]`, all where it is -1.
fn group_of(json: &Value, key: &str) -> std::result::Result<Option<usize>, String> {
    let size = &json[key];
    match (size.as_i64(), size.as_u64()) {
        (Some(-1), _) => Ok(None),
        (_, Some(group)) => Ok(Some(group as usize)),
        _ => Err(format!("{key} is {size}, expected a number of inputs or -1")),
    }
}

fn compressed_tensors(json: &Value) -> std::result::Result<Int4Format, String> {
    const NAME: &str = "compressed-tensors";
    let none = |json: &Value| match json {
        Value::Object(keys) => keys.is_empty(),
        other => other.is_null(),
    };
    expect(json, "format", &["pack-quantized".into()], NAME)?;
    expect(json, "kv_cache_scheme", &[Value::Null], NAME)?;
    if !none(&json["sparsity_config"]) {
        expect(&json["sparsity_config"], "format", &["dense".into()], "sparsity_config")?;
    }
    if !none(&json["transform_config"]) {
        return Err(format!("{NAME} with a transform_config is not supported"));
    }
    let groups = json["config_groups"].as_object();
    let mut formats = groups.into_iter().flat_map(|groups| groups.values()).map(of_config_group);
    let first = formats.next().ok_or("config_groups is empty or missing")??;
    for format in formats {
        if format? != first {
            return Err("config_groups differ: mixed formats are not supported".to_owned());
        }
    }
    Ok(first)
}

fn of_config_group(group: &Value) -> std::result::Result<Int4Format, String> {
    const NAME: &str = "compressed-tensors' weights";
    let weights = &group["weights"];
    expect(weights, "num_bits", &[4.into()], NAME)?;
    expect(weights, "type", &["int".into(), Value::Null], NAME)?;
    expect(weights, "strategy", &["group".into(), "channel".into()], NAME)?;
    for key in ["input_activations", "output_activations"] {
        expect(group, key, &[Value::Null], "compressed-tensors")?;
    }
    let format = &group["format"];
    if !format.is_null() {
        expect(group, "format", &["pack-quantized".into()], "compressed-tensors")?;
    }
    let group = match weights["strategy"].as_str() {
        Some("group") => group_of(weights, "group_size")?,
        _ => None,
    };
    let has_zeros = weights["symmetric"] == false;
    Ok(Int4Format { layout: Int4Layout::CompressedTensors, group, has_zeros })
}

fn awq(json: &Value) -> std::result::Result<Int4Format, String> {
    let version = json["version"].as_str().unwrap_or("gemm");
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(format!("version of awq is {version:?}, expected \"gemm\""));
    }
    expect(json, "bits", &[4.into()], "awq")?;
    expect(json, "zero_point", &[true.into(), Value::Null], "awq")?;
    let group = group_of(json, "group_size")?;
    Ok(Int4Format { layout: Int4Layout::Awq, group, has_zeros: true })
}

fn gptq(json: &Value) -> std::result::Result<Int4Format, String> {
    expect(json, "bits", &[4.into()], "gptq")?;
    let formats = ["gptq".into(), "gptq_v2".into(), Value::Null];
    expect(json, "checkpoint_format", &formats, "gptq")?;
    expect(json, "pack_dtype", &["int32".into(), Value::Null], "gptq")?;
    if json["is_marlin_format"] == true {
        return Err("gptq in marlin's layout is not supported".to_owned());
    }
    let is_mixed = json["dynamic"].as_object().is_some_and(|rules| !rules.is_empty());
    if is_mixed {
        return Err("gptq with dynamic rules for layers is not supported: mixed formats".to_owned());
    }
    let is_less_one = json["checkpoint_format"] != "gptq_v2";
    let group = group_of(json, "group_size")?;
    Ok(Int4Format { layout: Int4Layout::Gptq { is_less_one }, group, has_zeros: true })
}
