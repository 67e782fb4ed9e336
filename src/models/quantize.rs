//! A checkpoint whose linear layers are kept as integers: what `llmzip models quantize` writes.
//!
//! Of 8 bits, `NAME.weight` becomes I8 of the same shape, with F32 `NAME.weight_scale`, `[outputs]`, beside
//! it; all other floats stay as they are. The integers are those that `docs/numerics.md`, section
//! 16, makes of the floats, so that the network is the same, bit for bit, as if it were quantized
//! while loading.
//!
//! Of four bits, it becomes `NAME.weight_packed`, `NAME.weight_scale` and `NAME.weight_shape`, in the layout
//! *pack-quantized* of compressed-tensors, which transformers reads; embeddings and the output head stay floats.

use super::checkpoint_files::CONFIG;
use super::json::parse;
use super::matrix::{Matrix, MatrixShape};
use super::weights::StoredTensor;
use super::{
    Architecture, Config, Family, Int4Format, Int4Layout, ModelFolder, QUANT_METHOD, QuantWeights,
    Quantization, Weights, invalid,
};
use crate::error::{Error, Result};
use crate::ops::{ActivationBits, ScalePrecision, quantize_group4, quantize_weights};
use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Ends of the names of embeddings: linear layers only where the output head is tied to them.
const EMBEDDINGS: [&str; 3] = ["embed_in.weight", "embed_tokens.weight", "wte.weight"];

/// The end of the name of learned positions, which are no linear layer.
const POSITIONS: &str = "wpe.weight";

/// Ends of the names of output heads.
const HEADS: [&str; 2] = ["lm_head.weight", "embed_out.weight"];

/// Sizes of groups, the first that divides all layers first.
const GROUPS: [usize; 3] = [128, 64, 32];

/// Integers of four bits in a word.
const PER_WORD: usize = 8;

/// Bytes collected before they are written.
const BUFFER_LEN: usize = 1 << 16;

/// Weights of a checkpoint that were rounded to four bits by more than the nearest integers: by the
/// names of tensors, those of linear layers, and floats that changed beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoundedWeights {
    /// Linear layers.
    pub linears: HashMap<String, RoundedLinear>,
    /// Norms, as the checkpoint can have them.
    pub floats: HashMap<String, Vec<f32>>,
}

/// A linear layer rounded to four bits: a weight is (integer - 8) * scale.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoundedLinear {
    /// 0 to 15: `[outputs][inputs]`.
    pub integers: Vec<u8>,
    /// As the checkpoint can have them: `[outputs][groups]`.
    pub scales: Vec<f32>,
}

impl Quantization {
    /// Returns that of a checkpoint of four bits as [`ModelFolder::quantize`] writes it, of groups of
    /// `group` inputs.
    pub fn int4(group: usize, activations: ActivationBits) -> Self {
        let layout = Int4Layout::CompressedTensors;
        let format = Int4Format { layout, group: Some(group), has_zeros: false };
        Self { weights: QuantWeights::Int4(format), activations }
    }
}

impl Config {
    /// Returns the size of groups that divides all linear layers in four bits: 128, else 64, else 32.
    pub fn default_group(&self) -> Option<usize> {
        GROUPS.into_iter().find(|&group| self.has_groups_of(group))
    }

    /// Whether groups of so many inputs divide all linear layers.
    fn has_groups_of(&self, group: usize) -> bool {
        let inputs = [self.hidden_size, self.intermediate_size, self.heads * self.head_dim];
        inputs.iter().all(|inputs| inputs.is_multiple_of(group))
    }
}

/// Checks that `architecture` has a checkpoint of four bits, in groups of `group`.
fn check_four_bits(architecture: &Architecture, group: usize) -> Result<()> {
    let Architecture::Transformer(config) = architecture else {
        return Err(invalid("a recurrent network has no layout of four bits: 8 bits has"));
    };
    if config.family == Family::Gpt2 {
        let what = "GPT-2's transposed layers have no layout of four bits: 8 bits has";
        return Err(invalid(what));
    }
    if !GROUPS.contains(&group) || !config.has_groups_of(group) {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        return Err(invalid(format!(
            "linear layers of {c} and {f} inputs are not whole groups of {group}: four bits need groups of 32, 64 or 128, eight bits none"
        )));
    }
    Ok(())
}

impl ModelFolder {
    /// Checks that [`quantize`](Self::quantize) can write this model so, and returns the precision of each
    /// of its tensors of floats.
    ///
    /// # Errors
    /// Its own, but for those of writing.
    pub fn check_quantization(
        &self,
        quantization: Quantization,
    ) -> Result<HashMap<String, ScalePrecision>> {
        self.quantized_architecture(quantization)?;
        let tensors = self.weights(blake3::Hasher::new())?.tensors().into_iter();
        Ok(tensors.map(|(name, tensor)| (name, precision(tensor.dtype))).collect())
    }

    /// Writes this model with its linear layers in `quantization` into the empty folder `folder`: those of
    /// `rounded` as they are there, others rounded to the nearest. `progress` is a callback with the bytes of weights just written.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is quantized already,
    /// too wide for integers, has no layout of four bits, or makes no sense;
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn quantize(
        &self,
        quantization: Quantization,
        rounded: &RoundedWeights,
        folder: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let architecture = self.quantized_architecture(quantization)?;
        write(&folder.join("config.json"), &quantized_json(&self.config_json()?, quantization)?)?;
        for path in self.tokenizer_paths() {
            let to = folder.join(path.file_name().unwrap_or_default());
            let bytes = fs::read(&path);
            let bytes = bytes.map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
            write(&to, &bytes)?;
        }
        let weights = self.weights(blake3::Hasher::new())?;
        let architecture = architecture.with_weights(&weights);
        let path = folder.join("model.safetensors");
        write_weights(&architecture, &weights, rounded, &path, progress)
    }

    /// Returns the network in integers.
    fn quantized_architecture(&self, quantization: Quantization) -> Result<Architecture> {
        if self.gguf().is_some() {
            return Err(invalid(
                "a GGUF file is quantized already, or has no layout to write it in",
            ));
        }
        let architecture = self.architecture()?;
        if architecture.quantization().is_some() {
            return Err(invalid("the model is quantized already"));
        }
        if let QuantWeights::Int4(format) = quantization.weights {
            check_four_bits(&architecture, format.group.unwrap_or(0))?;
        }
        architecture.quantized(quantization)
    }
}

/// `config.json` with what says that the model is quantized.
fn quantized_json(json: &[u8], quantization: Quantization) -> Result<Vec<u8>> {
    let mut config: Map<String, Value> = parse(CONFIG, json)?;
    let activation_bits = quantization.activations.bits();
    config.remove("llmzip");
    let value = match quantization.weights {
        QuantWeights::Int8 => {
            json!({ "quant_method": QUANT_METHOD, "activation_bits": activation_bits })
        }
        QuantWeights::Int4(format) => {
            if quantization.activations == ActivationBits::Eight {
                config.insert("llmzip".to_owned(), json!({ "activation_bits": 8 }));
            }
            compressed_tensors(format)
        }
    };
    config.insert("quantization_config".to_owned(), value);
    serde_json::to_vec_pretty(&config).map_err(|e| invalid(format!("{CONFIG}: {e}")))
}

/// `quantization_config` as compressed-tensors has it.
fn compressed_tensors(format: Int4Format) -> Value {
    json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "kv_cache_scheme": null,
        "ignore": HEADS.map(|head| head.trim_end_matches(".weight")),
        "config_groups": { "group_0": {
            "targets": ["Linear"],
            "input_activations": null,
            "output_activations": null,
            "weights": {
                "num_bits": 4,
                "type": "int",
                "symmetric": true,
                "strategy": "group",
                "group_size": format.group,
                "dynamic": false,
            },
        } },
    })
}

/// A tensor of the new checkpoint.
struct Planned {
    name: String,
    tensor: StoredTensor,
    /// Of linear layers that become integers.
    linear: Option<(MatrixShape, QuantWeights)>,
}

impl Planned {
    /// The entries of the file's header, each with the bytes it describes.
    fn entries(&self) -> Vec<(String, Dtype, Vec<usize>, usize)> {
        let StoredTensor { dtype, shape } = &self.tensor;
        let entry = |part: &str, dtype: Dtype, shape: Vec<usize>| {
            let len = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (format!("{}{part}", self.name), dtype, shape, len)
        };
        match self.linear {
            None => vec![entry("", *dtype, shape.clone())],
            Some((MatrixShape { outputs, .. }, QuantWeights::Int8)) => vec![
                entry("", Dtype::I8, shape.clone()),
                entry("_scale", Dtype::F32, vec![outputs]),
            ],
            Some((MatrixShape { inputs, outputs, .. }, QuantWeights::Int4(format))) => vec![
                entry("_packed", Dtype::I32, vec![outputs, inputs.div_ceil(PER_WORD)]),
                entry("_scale", *dtype, vec![outputs, inputs / format.group.unwrap_or(inputs)]),
                entry("_shape", Dtype::I64, vec![2]),
            ],
        }
    }
}

/// Lists the tensors of the new checkpoint, in order of name. Buffers that are not floats are left
/// out.
fn plan(architecture: &Architecture, weights: &Weights<'_>) -> Vec<Planned> {
    let tensors = weights.tensors().into_iter().map(|(name, tensor)| {
        let weights = architecture.quantization().map(|q| q.weights);
        let is_kept = matches!(weights, Some(QuantWeights::Int4(_))) && is_table(&name);
        let shape = linear_shape(architecture, &name, &tensor.shape).filter(|_| !is_kept);
        let linear = shape.zip(weights);
        Planned { name, tensor, linear }
    });
    tensors.collect()
}

/// Whether a tensor is the embedding or the output head.
fn is_table(name: &str) -> bool {
    EMBEDDINGS.iter().chain(&HEADS).any(|end| name.ends_with(end))
}

/// The shape of the linear layer that the tensor is the weights of.
fn linear_shape(architecture: &Architecture, name: &str, shape: &[usize]) -> Option<MatrixShape> {
    let &[rows, columns] = shape else { return None };
    let Architecture::Transformer(config) = architecture else {
        return (name != "embedding.weight").then(|| MatrixShape::new(columns, rows));
    };
    let is_embedding = EMBEDDINGS.iter().any(|end| name.ends_with(end));
    if !name.ends_with(".weight") || name.ends_with(POSITIONS) || (is_embedding && !config.tied) {
        return None;
    }
    let is_head = is_embedding || name.ends_with("lm_head.weight");
    Some(match config.family == Family::Gpt2 && !is_head {
        true => MatrixShape { inputs: rows, outputs: columns, is_transposed: true },
        false => MatrixShape::new(columns, rows),
    })
}

/// Writes the header, and then the tensors one by one.
fn write_weights(
    architecture: &Architecture,
    weights: &Weights<'_>,
    rounded: &RoundedWeights,
    path: &Path,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let io = |e| Error::io(format!("writing {}", path.display()), e);
    let plan = plan(architecture, weights);
    let file = File::create_new(path).map_err(io)?;
    let mut out = BufWriter::with_capacity(BUFFER_LEN, file);
    let header = header(&plan);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(&header).map_err(io)?;
    for planned in &plan {
        let bytes = match planned.linear {
            Some((shape, QuantWeights::Int8)) => {
                quantized(weights.matrix(&planned.name, shape, None)?)?
            }
            Some((shape, QuantWeights::Int4(format))) => {
                let precision = precision(planned.tensor.dtype);
                match rounded.linears.get(&planned.name) {
                    Some(rounded) => packed(rounded, shape, precision),
                    None => {
                        let matrix = weights.matrix(&planned.name, shape, None)?;
                        let group = format.group.unwrap_or(shape.inputs);
                        packed(&nearest(&matrix, group, precision)?, shape, precision)
                    }
                }
            }
            None => match rounded.floats.get(&planned.name) {
                Some(floats) => stored(floats, precision(planned.tensor.dtype)),
                None => weights.stored(&planned.name, &planned.tensor)?,
            },
        };
        out.write_all(&bytes).map_err(io)?;
        progress(bytes.len() as u64);
    }
    let file = out.into_inner().map_err(|e| io(e.into_error()))?;
    file.sync_all().map_err(io)
}

/// The header of a safetensors file, padded with blanks so that tensors are aligned.
fn header(plan: &[Planned]) -> Vec<u8> {
    let mut entries = Map::new();
    let mut at = 0;
    for (name, dtype, shape, len) in plan.iter().flat_map(Planned::entries) {
        let offsets = [at, at + len];
        at += len;
        entries.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// The integers of a linear layer, in the tensor's own layout, and its scales.
fn quantized(matrix: Matrix<'_>) -> Result<Vec<u8>> {
    let MatrixShape { inputs, outputs, is_transposed } = matrix.shape;
    let mut bytes = vec![0; inputs * outputs + 4 * outputs];
    let (integers, scales) = bytes.split_at_mut(inputs * outputs);
    let (mut wide, mut row) = (vec![0.0; inputs], vec![0; inputs]);
    for (i, scale) in scales.chunks_exact_mut(4).enumerate() {
        matrix.output(i, &mut wide)?;
        scale.copy_from_slice(&quantize_weights(&wide, &mut row).to_le_bytes());
        let (first, step) = if is_transposed { (i, outputs) } else { (i * inputs, 1) };
        let places = integers[first..].iter_mut().step_by(step);
        places.zip(&row).for_each(|(place, &q)| *place = q as u8);
    }
    Ok(bytes)
}

/// A linear layer rounded to the nearest.
fn nearest(matrix: &Matrix<'_>, group: usize, precision: ScalePrecision) -> Result<RoundedLinear> {
    let MatrixShape { inputs, outputs, .. } = matrix.shape;
    let (mut integers, mut scales) = (vec![0; outputs * inputs], Vec::new());
    let mut wide = vec![0.0; inputs];
    for (i, integers) in integers.chunks_exact_mut(inputs).enumerate() {
        matrix.output(i, &mut wide)?;
        let groups = wide.chunks(group).zip(integers.chunks_mut(group));
        scales.extend(groups.map(|(w, integers)| quantize_group4(w, precision, integers)));
    }
    Ok(RoundedLinear { integers, scales })
}

/// A linear layer's words of integers, scales, and dimensions.
fn packed(rounded: &RoundedLinear, shape: MatrixShape, precision: ScalePrecision) -> Vec<u8> {
    let rows = rounded.integers.chunks(shape.inputs);
    let words = rows.flat_map(|row| row.chunks(PER_WORD)).flat_map(|eight| {
        let word = eight.iter().rev().fold(0, |word, &q| word << 4 | u32::from(q));
        word.to_le_bytes()
    });
    let dims = [shape.outputs, shape.inputs].into_iter().flat_map(|n| (n as u64).to_le_bytes());
    words.chain(stored(&rounded.scales, precision)).chain(dims).collect()
}

/// The bytes of numbers in the checkpoint.
fn stored(values: &[f32], precision: ScalePrecision) -> Vec<u8> {
    match precision {
        ScalePrecision::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ScalePrecision::F16 => {
            values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
        }
        ScalePrecision::Bf16 => {
            values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()
        }
    }
}

/// The precision of a type of floats.
fn precision(dtype: Dtype) -> ScalePrecision {
    match dtype {
        Dtype::F16 => ScalePrecision::F16,
        Dtype::BF16 => ScalePrecision::Bf16,
        _ => ScalePrecision::F32,
    }
}

/// Writes a new file, with the mode of any.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = |mut file: File| file.write_all(bytes).and_then(|()| file.sync_all());
    let written = File::create_new(path).and_then(write);
    written.map_err(|e| Error::io(format!("writing {}", path.display()), e))
}
