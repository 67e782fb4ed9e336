//! A checkpoint whose linear layers are kept as integers: what `llmzip models quantize` writes.
//!
//! `NAME.weight` becomes I8 of the same shape, with F32 `NAME.weight_scale`, `[outputs]`, beside
//! it; all other floats stay as they are. The integers are those that `docs/numerics.md`, section
//! 16, makes of the floats, so that the network is the same, bit for bit, as if it were quantized
//! while loading.

use super::checkpoint_files::CONFIG;
use super::json::parse;
use super::matrix::MatrixShape;
use super::weights::StoredTensor;
use super::{Architecture, Family, ModelFolder, QUANT_METHOD, Quantization, Weights, invalid};
use crate::error::{Error, Result};
use crate::ops::quantize_weights;
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Ends of the names of embeddings: linear layers only where the output head is tied to them.
const EMBEDDINGS: [&str; 3] = ["embed_in.weight", "embed_tokens.weight", "wte.weight"];

/// The end of the name of learned positions, which are no linear layer.
const POSITIONS: &str = "wpe.weight";

/// Bytes collected before they are written.
const BUFFER_LEN: usize = 1 << 16;

impl ModelFolder {
    /// Writes this model with its linear layers in `quantization` into the empty folder `folder`;
    /// `progress` is a callback with the bytes of weights just written.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is quantized already,
    /// too wide for integers, or makes no sense; [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn quantize(
        &self,
        quantization: Quantization,
        folder: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        if self.gguf().is_some() {
            return Err(invalid(
                "a GGUF file is quantized already, or has no layout to write it in",
            ));
        }
        let architecture = self.architecture()?;
        if architecture.quantization().is_some() {
            return Err(invalid("the model is quantized already"));
        }
        let architecture = architecture.quantized(quantization)?;
        write(&folder.join("config.json"), &quantized_json(&self.config_json()?, quantization)?)?;
        for path in self.tokenizer_paths() {
            let to = folder.join(path.file_name().unwrap_or_default());
            let bytes = fs::read(&path);
            let bytes = bytes.map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
            write(&to, &bytes)?;
        }
        let weights = self.weights(blake3::Hasher::new())?;
        let architecture = architecture.with_weights(&weights);
        write_weights(&architecture, &weights, &folder.join("model.safetensors"), progress)
    }
}

/// `config.json` with what says that the model is quantized.
fn quantized_json(json: &[u8], quantization: Quantization) -> Result<Vec<u8>> {
    let mut config: Map<String, Value> = parse(CONFIG, json)?;
    let activation_bits = quantization.activations.bits();
    let value = json!({ "quant_method": QUANT_METHOD, "activation_bits": activation_bits });
    config.insert("quantization_config".to_owned(), value);
    serde_json::to_vec_pretty(&config).map_err(|e| invalid(format!("{CONFIG}: {e}")))
}

/// A tensor of the new checkpoint.
struct Planned {
    name: String,
    tensor: StoredTensor,
    /// Of linear layers.
    linear: Option<MatrixShape>,
}

impl Planned {
    /// The entries of the file's header, each with the bytes it describes.
    fn entries(&self) -> Vec<(String, Dtype, Vec<usize>, usize)> {
        let StoredTensor { dtype, shape } = &self.tensor;
        let n: usize = shape.iter().product();
        let Some(MatrixShape { outputs, .. }) = self.linear else {
            let len = n * dtype.bitsize() / 8;
            return vec![(self.name.clone(), *dtype, shape.clone(), len)];
        };
        let scale = format!("{}_scale", self.name);
        vec![
            (self.name.clone(), Dtype::I8, shape.clone(), n),
            (scale, Dtype::F32, vec![outputs], 4 * outputs),
        ]
    }
}

/// Lists the tensors of the new checkpoint, in order of name. Buffers that are not floats are left
/// out.
fn plan(architecture: &Architecture, weights: &Weights<'_>) -> Vec<Planned> {
    let tensors = weights.tensors().into_iter().map(|(name, tensor)| {
        let linear = linear_shape(architecture, &name, &tensor.shape);
        Planned { name, tensor, linear }
    });
    tensors.collect()
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
            Some(shape) => quantized(architecture, weights, &planned.name, shape)?,
            None => weights.stored(&planned.name, &planned.tensor)?,
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
fn quantized(
    architecture: &Architecture,
    weights: &Weights<'_>,
    name: &str,
    shape: MatrixShape,
) -> Result<Vec<u8>> {
    let matrix = weights.matrix(name, shape, architecture.quantization())?;
    let MatrixShape { inputs, outputs, is_transposed } = shape;
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

/// Writes a new file, with the mode of any.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = |mut file: File| file.write_all(bytes).and_then(|()| file.sync_all());
    let written = File::create_new(path).and_then(write);
    written.map_err(|e| Error::io(format!("writing {}", path.display()), e))
}
