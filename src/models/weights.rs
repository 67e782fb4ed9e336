//! Tensors of safetensors files and of PyTorch pickles, read one by one and widened to `f32`.
//!
//! A safetensors file is never held whole: each tensor is read when it is asked for, so loading takes
//! little more memory than the network itself. Pickles go through candle's reader, which executes
//! nothing.

use super::invalid;
use crate::error::{Error, Result};
use crate::ops::PackedMatrix;
use candle_core::pickle::PthTensors;
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::borrow::Cow;
use std::collections::HashMap;
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
    Pickle(PthTensors),
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
        let tensor = self.matrix(name, shape)?;
        let mut values = vec![0.0; shape.iter().product()];
        tensor.values.widen(0, &mut values);
        Ok(values)
    }

    /// The weights `name`, `[outputs][inputs]`, of a linear layer, with their bias, if any: its name.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn linear(
        &self,
        name: &str,
        bias: Option<&str>,
        inputs: usize,
        outputs: usize,
    ) -> Result<PackedMatrix> {
        let w = self.matrix(name, &[outputs, inputs])?;
        let bias = bias.map_or(Ok(Vec::new()), |bias| self.tensor(bias, &[outputs]))?;
        Ok(PackedMatrix::pack_with(inputs, outputs, |i, row| w.row(i, row), &bias))
    }

    /// The tensor `name`, as it is kept, which must be finite and have `shape`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn matrix(&self, name: &str, shape: &[usize]) -> Result<Matrix<'_>> {
        let Some(&source) = self.names.get(name) else {
            return Err(invalid(format!("tensor {name} is missing")));
        };
        let values = self.sources[source].values(name, shape)?;
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let matrix = Matrix { values, columns };
        let mut row = vec![0.0; columns];
        for i in 0..shape.iter().product::<usize>() / columns {
            matrix.row(i, &mut row);
            if let Some(x) = row.iter().find(|x| !x.is_finite()) {
                return Err(invalid(format!("tensor {name}: holds {x}")));
            }
        }
        Ok(matrix)
    }
}

/// A tensor in the precision in which it is stored.
pub struct Matrix<'a> {
    values: Values<'a>,
    columns: usize,
}

impl Matrix<'_> {
    /// Row i, widened exactly. out: as long as the last dimension.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        self.values.widen(i * self.columns, out);
    }

    /// Column j of all rows.
    pub fn column(&self, j: usize, out: &mut [f32]) {
        for (i, out) in out.iter_mut().enumerate() {
            self.values.widen(i * self.columns + j, std::slice::from_mut(out));
        }
    }
}

/// Values, little-endian where they are bytes.
enum Values<'a> {
    F32(Cow<'a, [u8]>),
    F16(Cow<'a, [u8]>),
    Bf16(Cow<'a, [u8]>),
    Wide(Vec<f32>),
}

impl Values<'_> {
    /// Those from `first` on.
    fn widen(&self, first: usize, out: &mut [f32]) {
        match self {
            Self::Wide(values) => out.copy_from_slice(&values[first..first + out.len()]),
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
            let tensors = PthTensors::new(path, None);
            return tensors.map(Self::Pickle).map_err(|e| invalid(e.to_string()).at(context()));
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
            Self::Pickle(tensors) => tensors.tensor_infos().keys().cloned().collect(),
        }
    }

    /// The values of a tensor of this source.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Values<'_>> {
        let expect = |found: &[usize]| match found == shape {
            true => Ok(()),
            false => Err(invalid(format!("tensor {name}: shape {found:?}, expected {shape:?}"))),
        };
        let header = match self {
            Self::Memory { header, .. } | Self::File { header, .. } => header,
            Self::Pickle(tensors) => {
                expect(tensors.tensor_infos()[name].layout.dims())?;
                return unpickle(tensors, name).map(Values::Wide);
            }
        };
        let info = header.info(name).expect("sources are asked for their own tensors");
        expect(&info.shape)?;
        let wrap = match info.dtype {
            Dtype::F32 => Values::F32,
            Dtype::F16 => Values::F16,
            Dtype::BF16 => Values::Bf16,
            found => {
                return Err(invalid(format!(
                    "tensor {name}: type {found}, expected f32, f16 or bf16"
                )));
            }
        };
        let (from, to) = info.data_offsets;
        match self {
            Self::Memory { data, .. } => Ok(wrap(Cow::Borrowed(&data[from..to]))),
            Self::File { file, start, .. } => {
                let mut bytes = vec![0; to - from];
                let mut file = file;
                let seek = file.seek(SeekFrom::Start(start + from as u64));
                let read = seek.and_then(|_| file.read_exact(&mut bytes));
                read.map_err(|e| Error::io(format!("reading tensor {name}"), e))?;
                Ok(wrap(Cow::Owned(bytes)))
            }
            Self::Pickle(_) => unreachable!("answered above"),
        }
    }
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

fn unpickle(tensors: &PthTensors, name: &str) -> Result<Vec<f32>> {
    use candle_core::DType::{BF16, F16, F32};
    let failed = |e: candle_core::Error| invalid(format!("tensor {name}: {e}"));
    let dtype = tensors.tensor_infos()[name].dtype;
    if ![F32, F16, BF16].contains(&dtype) {
        let found = dtype.as_str();
        return Err(invalid(format!("tensor {name}: type {found}, expected f32, f16 or bf16")));
    }
    let tensor = tensors.get(name).map_err(failed)?;
    let tensor = tensor.ok_or_else(|| invalid(format!("tensor {name} is missing")))?;
    let flat = tensor.to_dtype(F32).and_then(|t| t.flatten_all()).map_err(failed)?;
    flat.to_vec1::<f32>().map_err(failed)
}
