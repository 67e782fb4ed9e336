//! Tensors of safetensors files and of PyTorch pickles, read one by one and widened to `f32`, and
//! quantised ones of safetensors files.
//!
//! A safetensors file is never held whole: each tensor is read when it is asked for, so loading takes
//! little more memory than the network itself.

use super::config::Quantization;
use super::invalid;
use super::linear::Linear;
use super::pickle::Pickle;
use crate::error::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Longest header of a safetensors file: that of the format.
const MAX_HEADER: u64 = 100_000_000;

/// A model's tensors.
pub struct Weights<'a> {
    sources: Vec<Source<'a>>,
    /// By tensor: its source.
    names: HashMap<String, usize>,
}

/// A file of tensors.
enum Source<'a> {
    Memory { data: &'a [u8], header: Metadata },
    File { file: File, start: u64, header: Metadata },
    Pickle(Pickle),
}

impl<'a> Weights<'a> {
    /// The tensors in `file`, a whole safetensors file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if its header makes no sense.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let (header, start) = read_header(&mut &file[..], file.len() as u64)
            .map_err(|e| invalid(format!("safetensors: {e}")))?;
        Self::from_sources(vec![Source::Memory { data: &file[start as usize..], header }])
    }

    /// The tensors in some files: safetensors, or pickles where a name ends in `.bin`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if one makes no sense or a tensor
    /// is in two.
    pub fn open(paths: &[impl AsRef<Path>]) -> Result<Weights<'static>> {
        let sources = paths.iter().map(|path| Source::open(path.as_ref()));
        Weights::from_sources(sources.collect::<Result<_>>()?)
    }

    fn from_sources(sources: Vec<Source<'a>>) -> Result<Self> {
        let mut names = HashMap::new();
        for (index, source) in sources.iter().enumerate() {
            for name in source.names() {
                if names.contains_key(&name) {
                    return Err(invalid(format!("tensor {name} is in two files")));
                }
                names.insert(name, index);
            }
        }
        Ok(Self { sources, names })
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The tensor `name`, which must be finite and have `shape`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) otherwise,
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be read.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let stored = self.values(name, shape, &FLOATS)?;
        let mut values = vec![0.0; shape.iter().product()]; // as many as the file has
        stored.widen(0, &mut values);
        check_finite(name, &values)?;
        Ok(values)
    }

    /// The layer with the weights `name` and a bias, if any: its name.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn linear(
        &self,
        quantization: Option<Quantization>,
        name: &str,
        bias: Option<&str>,
        shape: Shape,
    ) -> Result<Linear> {
        let w = self.matrix(name, shape, quantization)?;
        let bias = bias.map_or(Ok(Vec::new()), |bias| self.tensor(bias, &[shape.outputs]))?;
        let Shape { inputs, outputs, .. } = shape;
        Ok(Linear::pack(quantization, inputs, outputs, |i| (&w, i), &bias))
    }

    /// The weights `name` of a linear layer, as they are kept: floats, or where the model is
    /// quantised also integers, with the scale of each output in `{name}_scale`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn matrix(
        &self,
        name: &str,
        shape: Shape,
        quantization: Option<Quantization>,
    ) -> Result<Matrix<'_>> {
        let types = if quantization.is_some() { &FLOATS_OR_INTEGERS[..] } else { &FLOATS };
        let values = self.values(name, &shape.dims(), types)?;
        let scales = match values {
            Values::I8(_) => Some(self.tensor(&format!("{name}_scale"), &[shape.outputs])?),
            _ => None,
        };
        let matrix = Matrix { values, shape, scales };
        let mut row = vec![0.0; shape.inputs];
        for i in 0..shape.outputs {
            matrix.output(i, &mut row);
            check_finite(name, &row)?;
        }
        Ok(matrix)
    }

    /// All tensors of floats, by name.
    pub(super) fn tensors(&self) -> BTreeMap<String, StoredTensor> {
        let tensors = self.names.iter().filter_map(|(name, &source)| {
            let (dtype, shape) = self.sources[source].info(name);
            let dtype = dtype.filter(|dtype| FLOATS.contains(dtype))?;
            Some((name.clone(), StoredTensor { dtype, shape: shape.to_vec() }))
        });
        tensors.collect()
    }

    /// The bytes of the tensor `name`, which is as `tensor` says.
    ///
    /// # Errors
    /// As [`Weights::tensor`], but that it need not be finite.
    pub(super) fn stored(&self, name: &str, tensor: &StoredTensor) -> Result<Vec<u8>> {
        let (Values::F32(bytes) | Values::F16(bytes) | Values::Bf16(bytes) | Values::I8(bytes)) =
            self.values(name, &tensor.shape, &[tensor.dtype])?;
        Ok(bytes.into_owned())
    }

    /// The values of the tensor `name`, of `shape` and one of `types`.
    fn values(&self, name: &str, shape: &[usize], types: &[Dtype]) -> Result<Values<'_>> {
        match self.names.get(name) {
            Some(&source) => self.sources[source].values(name, shape, types),
            None => Err(invalid(format!("tensor {name} is missing"))),
        }
    }
}

/// What a file says of a tensor.
pub(super) struct StoredTensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// What a tensor's values can be.
const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

/// What the weights of a quantised model's linear layers can be.
const FLOATS_OR_INTEGERS: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I8];

fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(invalid(format!("tensor {name}: holds {x}"))),
        None => Ok(()),
    }
}

/// The weights of a linear layer, and how they are kept.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub inputs: usize,
    pub outputs: usize,
    /// `[inputs][outputs]` rather than `[outputs][inputs]`.
    pub is_transposed: bool,
}

impl Shape {
    /// `[outputs][inputs]`
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, is_transposed: false }
    }

    fn dims(self) -> [usize; 2] {
        match self.is_transposed {
            false => [self.outputs, self.inputs],
            true => [self.inputs, self.outputs],
        }
    }
}

/// The weights of a linear layer in the precision in which they are stored.
pub(super) struct Matrix<'a> {
    values: Values<'a>,
    shape: Shape,
    /// Of integers: `[outputs]`.
    scales: Option<Vec<f32>>,
}

impl Matrix<'_> {
    /// Output i's weights: widened exactly, integers times their scale. out: `[inputs]`.
    pub fn output(&self, i: usize, out: &mut [f32]) {
        if self.shape.is_transposed {
            for (k, out) in out.iter_mut().enumerate() {
                self.values.widen(k * self.shape.outputs + i, std::slice::from_mut(out));
            }
        } else {
            self.values.widen(i * self.shape.inputs, out);
        }
        if let Some(scales) = &self.scales {
            out.iter_mut().for_each(|w| *w *= scales[i]);
        }
    }

    /// Output i's weights as integers, where they are kept so; returns their scale. out: `[inputs]`.
    pub fn output_integers(&self, i: usize, out: &mut [i8]) -> Option<f32> {
        let (Values::I8(bytes), Some(scales)) = (&self.values, &self.scales) else { return None };
        let Shape { inputs, outputs, is_transposed } = self.shape;
        let (first, step) = if is_transposed { (i, outputs) } else { (i * inputs, 1) };
        let integers = bytes[first..].iter().step_by(step);
        out.iter_mut().zip(integers).for_each(|(out, &byte)| *out = byte as i8);
        Some(scales[i])
    }
}

/// Values, little-endian where they are bytes.
enum Values<'a> {
    F32(Cow<'a, [u8]>),
    F16(Cow<'a, [u8]>),
    Bf16(Cow<'a, [u8]>),
    I8(Cow<'a, [u8]>),
}

impl Values<'_> {
    /// Those from `first` on.
    fn widen(&self, first: usize, out: &mut [f32]) {
        match self {
            Self::I8(bytes) => {
                let integers = out.iter_mut().zip(&bytes[first..]);
                integers.for_each(|(x, &byte)| *x = f32::from(byte as i8));
            }
            Self::F32(bytes) => {
                let (words, _) = bytes[4 * first..].as_chunks();
                out.iter_mut().zip(words).for_each(|(x, &word)| *x = f32::from_le_bytes(word));
            }
            Self::Bf16(bytes) => {
                let (words, _) = bytes[2 * first..].as_chunks();
                let wide = |word| f32::from_bits(u32::from(u16::from_le_bytes(word)) << 16);
                out.iter_mut().zip(words).for_each(|(x, &word)| *x = wide(word));
            }
            Self::F16(bytes) => {
                let (words, _) = bytes[2 * first..].as_chunks();
                for (out, words) in out.chunks_mut(64).zip(words.chunks(64)) {
                    let mut halves = [f16::ZERO; 64];
                    let words = halves.iter_mut().zip(words);
                    words.for_each(|(half, &word)| *half = f16::from_le_bytes(word));
                    halves[..out.len()].convert_to_f32_slice(out);
                }
            }
        }
    }
}

impl Source<'_> {
    fn open(path: &Path) -> Result<Self> {
        let context = || path.display().to_string();
        let io = |e| Error::io(format!("reading {}", path.display()), e);
        if path.extension().is_some_and(|e| e == "bin") {
            let pickle = Pickle::open(File::open(path).map_err(io)?);
            return pickle.map(Self::Pickle).map_err(|what| invalid(what).at(context()));
        }
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let header = read_header(&mut file, len);
        let (header, start) =
            header.map_err(|e| invalid(format!("safetensors: {e}")).at(context()))?;
        Ok(Self::File { file, start, header })
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Memory { header, .. } | Self::File { header, .. } => header.offset_keys(),
            Self::Pickle(pickle) => pickle.names().cloned().collect(),
        }
    }

    /// The type and shape of a tensor of this source; `None`: a type that only pickles have.
    fn info(&self, name: &str) -> (Option<Dtype>, &[usize]) {
        let own = "sources are asked for their own tensors";
        match self {
            Self::Memory { header, .. } | Self::File { header, .. } => {
                let info = header.info(name).expect(own);
                (Some(info.dtype), &info.shape)
            }
            Self::Pickle(pickle) => {
                let tensor = pickle.tensor(name).expect(own);
                (tensor.dtype, &tensor.shape)
            }
        }
    }

    /// The values of a tensor of this source, of one of `types`.
    fn values(&self, name: &str, shape: &[usize], types: &[Dtype]) -> Result<Values<'_>> {
        let (dtype, found) = self.info(name);
        if found != shape {
            return Err(invalid(format!("tensor {name}: shape {found:?}, expected {shape:?}")));
        }
        let bytes = match dtype {
            Some(dtype) if types.contains(&dtype) => self.bytes(name, dtype.bitsize() / 8)?,
            found => return Err(unexpected(name, found, types)),
        };
        Ok(match dtype {
            Some(Dtype::F32) => Values::F32(bytes),
            Some(Dtype::F16) => Values::F16(bytes),
            Some(Dtype::BF16) => Values::Bf16(bytes),
            _ => Values::I8(bytes),
        })
    }

    /// The elements, of `size` bytes each, of a tensor of this source.
    fn bytes(&self, name: &str, size: usize) -> Result<Cow<'_, [u8]>> {
        let own = "the tensor's type was asked for";
        match self {
            Self::Memory { data, header } => {
                let (from, to) = header.info(name).expect(own).data_offsets;
                Ok(Cow::Borrowed(&data[from..to]))
            }
            Self::File { file, start, header } => {
                let (from, to) = header.info(name).expect(own).data_offsets;
                let mut bytes = vec![0; to - from];
                let mut file = file;
                let seek = file.seek(SeekFrom::Start(start + from as u64));
                let read = seek.and_then(|_| file.read_exact(&mut bytes));
                read.map_err(|e| Error::io(format!("reading tensor {name}"), e))?;
                Ok(Cow::Owned(bytes))
            }
            Self::Pickle(pickle) => {
                let elements = pickle.elements(pickle.tensor(name).expect(own), size);
                elements.map(Cow::Owned).map_err(|what| invalid(format!("tensor {name}: {what}")))
            }
        }
    }
}

fn unexpected(name: &str, found: Option<Dtype>, types: &[Dtype]) -> Error {
    let expected =
        if types.contains(&Dtype::I8) { "f32, f16, bf16 or i8" } else { "f32, f16 or bf16" };
    let found = found.map_or("another".to_owned(), |found| found.to_string());
    invalid(format!("tensor {name}: type {found}, expected {expected}"))
}

/// The header of a safetensors file of `len` bytes, and where its data begins.
fn read_header(file: &mut impl Read, len: u64) -> std::result::Result<(Metadata, u64), String> {
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|e| e.to_string())?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER.min(len.saturating_sub(8)) {
        return Err(format!("a header of {size} bytes in a file of {len}"));
    }
    let mut json = vec![0; size as usize];
    file.read_exact(&mut json).map_err(|e| e.to_string())?;
    let header: Metadata = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    let (start, expected) = (8 + size, header.data_len() as u64);
    match (8 + size).checked_add(expected) == Some(len) {
        true => Ok((header, start)),
        false => Err(format!("{} bytes of tensors, expected {expected}", len - start)),
    }
}
