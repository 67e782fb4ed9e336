//! Tensors of safetensors files and of PyTorch pickles, read one by one and widened to `f32`, and
//! quantized ones of safetensors files.
//!
//! A file is read once and never held whole for longer than the network needs to take its tensors
//! out of it, so loading takes little more memory than the network itself: see `read_once.rs`.

use super::four_bits::FourBits;
use super::matrix::{Matrix, MatrixShape, StoredMatrix, Values, check_finite};
use super::quantization::{QuantWeights, Quantization};
use super::read_once::ReadOnce;
use super::{gguf, invalid, pickle};
use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

/// Longest header of a safetensors file: that of the format.
const MAX_HEADER: u64 = 100_000_000;

/// A model's tensors. Each of a file's can be asked for once, each of a slice's as often as wanted.
pub struct Weights<'a> {
    tensors: HashMap<String, Entry>,
    data: Data<'a>,
}

/// A tensor, as its file describes it.
struct Entry {
    file: usize,
    /// `None`: a type that only pickles have.
    dtype: Option<Dtype>,
    shape: Vec<usize>,
    place: TensorPlace,
}

/// The bytes of a tensor in its file.
enum TensorPlace {
    Bytes(Range<u64>),
    Pickled(pickle::Tensor),
    Gguf(gguf::TensorName),
}

/// Where tensors come from.
enum Data<'a> {
    Memory(&'a [u8]),
    Files(Box<RefCell<Pending>>),
}

/// Files whose tensors are taken out one by one.
struct Pending {
    files: ReadOnce,
    /// The file and place of each tensor that is not taken.
    left: HashMap<String, (usize, Range<u64>)>,
}

impl<'a> Weights<'a> {
    /// Finds the tensors in `file`, a whole safetensors file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where its header is malformed.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let read = |start: u64, len: u64| {
            let bytes = file.get(start as usize..(start + len) as usize);
            bytes.map(<[u8]>::to_vec).ok_or_else(|| invalid("the file is too short"))
        };
        let tensors = safetensors_entries(0, file.len() as u64, read)?;
        Ok(Self { tensors: tensors.into_iter().collect(), data: Data::Memory(file) })
    }

    /// Opens files of tensors: safetensors, or pickles where a name ends in `.bin`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if one is malformed or a tensor
    /// is in two.
    pub fn open(paths: &[impl AsRef<Path>]) -> Result<Weights<'static>> {
        Weights::open_hashed(paths, blake3::Hasher::new())
    }

    /// Opens files of tensors, all bytes of which go through `hasher` until [`Weights::finish`].
    ///
    /// # Errors
    /// Those of [`Weights::open`].
    pub(super) fn open_hashed(
        paths: &[impl AsRef<Path>],
        hasher: blake3::Hasher,
    ) -> Result<Weights<'static>> {
        let mut files = ReadOnce::open(paths, hasher)?;
        let mut tensors = HashMap::new();
        for index in 0..paths.len() {
            let (path, len) = (files.path(index).to_owned(), files.len(index));
            let read = |start, len| files.peek(index, start, len);
            let entries = match path.extension().is_some_and(|e| e == "bin") {
                true => pickle_entries(index, len, read),
                false => safetensors_entries(index, len, read),
            };
            for (name, entry) in entries.map_err(|e| e.at(path.display()))? {
                if let Some(twice) = tensors.insert(name.clone(), entry)
                    && twice.file != index
                {
                    return Err(invalid(format!("tensor {name} is in two files")));
                }
            }
        }
        Ok(Weights::of_files(tensors, files))
    }

    /// Opens a GGUF file, all bytes of which are hashed until [`Weights::finish`]; returns its header, too.
    ///
    /// # Errors
    /// Those of [`Weights::open`].
    pub(super) fn open_gguf(path: &Path) -> Result<(gguf::Header, Weights<'static>)> {
        let mut files = ReadOnce::open(&[path], blake3::Hasher::new())?;
        let header = gguf::Header::read(files.len(0), |start, len| files.peek(0, start, len))?;
        let mut tensors = HashMap::new();
        for tensor in gguf::tensors(&header)? {
            let dtype = match tensor.kind {
                gguf::BlockType::F32 => Dtype::F32,
                gguf::BlockType::Bf16 => Dtype::BF16,
                _ => Dtype::F16,
            };
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            let place = TensorPlace::Gguf(tensor);
            let entry = Entry { file: 0, dtype: Some(dtype), shape, place };
            if tensors.insert(name.clone(), entry).is_some() {
                return Err(invalid(format!("tensor {name} stands twice")));
            }
        }
        Ok((header, Weights::of_files(tensors, files)))
    }

    fn of_files(tensors: HashMap<String, Entry>, files: ReadOnce) -> Weights<'static> {
        let place =
            |(name, entry): (&String, &Entry)| Some((name.clone(), (entry.file, entry.bytes()?.1)));
        let left = tensors.iter().filter_map(place).collect();
        Weights { tensors, data: Data::Files(Box::new(RefCell::new(Pending { files, left }))) }
    }

    /// Reads and hashes what no tensor was taken from; returns the hasher, which has all files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub(super) fn finish(self) -> Result<blake3::Hasher> {
        match self.data {
            Data::Memory(file) => Ok(hashed(blake3::Hasher::new(), file)),
            Data::Files(pending) => pending.into_inner().files.finish(),
        }
    }

    /// Gives up tensors that nobody will ask for, so that they are not held.
    pub(super) fn ignore(&self, is_unused: impl Fn(&str) -> bool) {
        if let Data::Files(pending) = &self.data {
            pending.borrow_mut().left.retain(|name, _| !is_unused(name));
        }
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads the tensor `name`, which must be finite and have `shape`.
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

    /// Reads the tensor `name` as it is stored, of which all rows must be finite. shape: rows, columns.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn table(&self, name: &str, shape: [usize; 2]) -> Result<Values<'static>> {
        let table = self.values(name, &shape, &FLOATS)?.into_owned();
        let mut row = vec![0.0; shape[1]];
        for first in (0..shape[0]).map(|i| i * shape[1]) {
            table.widen(first, &mut row);
            check_finite(name, &row)?;
        }
        Ok(table)
    }

    /// Returns the bytes of a float of its matrices, the longest: 4 or 2.
    pub(super) fn float_len(&self) -> usize {
        let is_matrix =
            |name: &str, entry: &Entry| entry.shape.len() > 1 && name.ends_with(".weight");
        let matrices = self.tensors.iter().filter(|(name, entry)| is_matrix(name, entry));
        let matrices = matrices.map(|(_, entry)| entry);
        let halves = |entry: &Entry| matches!(entry.dtype, Some(Dtype::F16 | Dtype::BF16));
        let floats = |entry: &&Entry| halves(entry) || entry.dtype == Some(Dtype::F32);
        if matrices.filter(floats).all(halves) { 2 } else { 4 }
    }

    /// Reads the weights `name` of a linear layer as they are stored: floats, or where the model is
    /// quantized also integers: of 8 bits, with the scale of each output in `{name}_scale`, or of four
    /// ([`FourBits`]). Values are checked when they are widened.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn matrix(
        &self,
        name: &str,
        shape: MatrixShape,
        quantization: Option<Quantization>,
    ) -> Result<Matrix<'_>> {
        let stored = self.stored_matrix(name, shape, quantization.map(|q| q.weights))?;
        Ok(Matrix { name: name.to_owned(), shape, stored })
    }

    fn stored_matrix(
        &self,
        name: &str,
        shape: MatrixShape,
        kind: Option<QuantWeights>,
    ) -> Result<StoredMatrix<'_>> {
        if let Some(QuantWeights::Int4(format)) = kind
            && let Some(module) = name.strip_suffix(".weight")
            && let Some(four) = FourBits::read(self, module, (shape.inputs, shape.outputs), format)?
        {
            return Ok(StoredMatrix::FourBits(four));
        }
        let is_int8 = kind == Some(QuantWeights::Int8);
        let types = if is_int8 { &FLOATS_OR_INTEGERS[..] } else { &FLOATS };
        let values = self.values(name, &shape.dims(), types)?;
        Ok(match values {
            Values::I8(bytes) => StoredMatrix::Bytes {
                integers: bytes,
                scales: self.tensor(&format!("{name}_scale"), &[shape.outputs])?,
            },
            floats => StoredMatrix::Floats(floats),
        })
    }

    /// Returns the names of all tensors, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Lists all tensors of floats, by name.
    pub(super) fn tensors(&self) -> BTreeMap<String, StoredTensor> {
        let tensors = self.tensors.iter().filter_map(|(name, entry)| {
            let dtype = entry.dtype.filter(|dtype| FLOATS.contains(dtype))?;
            Some((name.clone(), StoredTensor { dtype, shape: entry.shape.clone() }))
        });
        tensors.collect()
    }

    /// Reads the bytes of the tensor `name`, which is as `tensor` says.
    ///
    /// # Errors
    /// As [`Weights::tensor`], but that it need not be finite.
    pub(super) fn stored(&self, name: &str, tensor: &StoredTensor) -> Result<Vec<u8>> {
        Ok(self.typed(name, &tensor.shape, &[tensor.dtype])?.1.into_owned())
    }

    /// Reads the integers of the tensor `name`, of `shape` and type `dtype`, little-endian.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn integers(
        &self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
    ) -> Result<Cow<'_, [u8]>> {
        Ok(self.typed(name, shape, &[dtype])?.1)
    }

    /// Reads the values of the tensor `name`, of `shape` and one of `types`.
    fn values(&self, name: &str, shape: &[usize], types: &[Dtype]) -> Result<Values<'_>> {
        Ok(match self.typed(name, shape, types)? {
            (Dtype::F32, bytes) => Values::F32(bytes),
            (Dtype::F16, bytes) => Values::F16(bytes),
            (Dtype::BF16, bytes) => Values::Bf16(bytes),
            (_, bytes) => Values::I8(bytes),
        })
    }

    /// Reads the tensor `name`, of `shape` and one of `types`: which, and its bytes.
    fn typed(
        &self,
        name: &str,
        shape: &[usize],
        types: &[Dtype],
    ) -> Result<(Dtype, Cow<'_, [u8]>)> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(invalid(format!("tensor {name} is missing")));
        };
        let found = &entry.shape;
        if found != shape {
            return Err(invalid(format!("tensor {name}: shape {found:?}, expected {shape:?}")));
        }
        let Some(dtype) = entry.dtype.filter(|dtype| types.contains(dtype)) else {
            return Err(unexpected(name, entry.dtype, types));
        };
        Ok((dtype, self.bytes(name, entry)?))
    }

    /// Reads the weights `name`, `[outputs][inputs]`, where a GGUF file has them in four bits.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(super) fn gguf_groups(
        &self,
        name: &str,
        shape: [usize; 2],
    ) -> Result<Option<gguf::FourBitGroups>> {
        let Some(tensor) = self.tensors.get(name).and_then(Entry::four_bits) else {
            return Ok(None);
        };
        let Data::Files(pending) = &self.data else { return Ok(None) };
        let found = &tensor.shape;
        if found[..] != shape {
            return Err(invalid(format!("tensor {name}: shape {found:?}, expected {shape:?}")));
        }
        Ok(Some(tensor.groups(pending.borrow_mut().take(name)?)))
    }

    /// Returns how many of a GGUF file's weights are in four bits.
    pub(super) fn gguf_four_bits(&self) -> u64 {
        let four = self.tensors.values().filter_map(Entry::four_bits);
        four.map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum()
    }

    fn bytes(&self, name: &str, entry: &Entry) -> Result<Cow<'_, [u8]>> {
        let outside = || invalid(format!("tensor {name}: it is not within its storage"));
        let (size, range) = entry.bytes().ok_or_else(outside)?;
        let bytes = match &self.data {
            Data::Memory(file) => {
                return Ok(Cow::Borrowed(&file[range.start as usize..range.end as usize]));
            }
            Data::Files(pending) => pending.borrow_mut().take(name)?,
        };
        Ok(Cow::Owned(match &entry.place {
            TensorPlace::Bytes(_) => bytes,
            TensorPlace::Pickled(tensor) => tensor.elements(bytes, size),
            TensorPlace::Gguf(tensor) => tensor.elements(bytes),
        }))
    }
}

impl Entry {
    /// The tensor of a GGUF file, where it is in four bits.
    fn four_bits(&self) -> Option<&gguf::TensorName> {
        match &self.place {
            TensorPlace::Gguf(tensor) if tensor.is_four_bits => Some(tensor),
            _ => None,
        }
    }

    /// The size of an element, and the bytes of the file that the tensor is in, if they are known.
    fn bytes(&self) -> Option<(usize, Range<u64>)> {
        let size = self.dtype?.bitsize() / 8;
        match &self.place {
            TensorPlace::Bytes(range) => Some((size, range.clone())),
            TensorPlace::Pickled(tensor) => Some((size, tensor.span(size)?)),
            TensorPlace::Gguf(tensor) => Some((size, tensor.range.clone())),
        }
    }
}

impl Pending {
    fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        let Some((index, range)) = self.left.remove(name) else {
            return Err(invalid(format!("tensor {name} was taken already")));
        };
        let Self { files, left } = self;
        let is_needed = |of: usize, at: Range<u64>| {
            let overlaps = |range: &Range<u64>| range.start < at.end && at.start < range.end;
            left.values().any(|(index, range)| *index == of && overlaps(range))
        };
        files.take(index, range, is_needed)
    }
}

/// A tensor's type and shape, as its file gives them.
pub(super) struct StoredTensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// Types of a tensor's values.
const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

/// Types of the weights of a quantized model's linear layers.
const FLOATS_OR_INTEGERS: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I8];

fn unexpected(name: &str, found: Option<Dtype>, types: &[Dtype]) -> Error {
    let expected = match types {
        [Dtype::I32] => "i32",
        types if types.contains(&Dtype::I8) => "f32, f16, bf16 or i8",
        _ => "f32, f16 or bf16",
    };
    let found = found.map_or("another".to_owned(), |found| found.to_string());
    invalid(format!("tensor {name}: type {found}, expected {expected}"))
}

/// The tensors of file `index`, a pickle of `len` bytes, of which `read` gives some.
fn pickle_entries(
    index: usize,
    len: u64,
    read: impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<Vec<(String, Entry)>> {
    let entry = |tensor: pickle::Tensor| Entry {
        file: index,
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        place: TensorPlace::Pickled(tensor),
    };
    let tensors = pickle::tensors(len, read)?.into_iter();
    Ok(tensors.map(|(name, tensor)| (name, entry(tensor))).collect())
}

/// The tensors of file `index`, a safetensors file of `len` bytes, of which `read` gives some.
fn safetensors_entries(
    index: usize,
    len: u64,
    read: impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<Vec<(String, Entry)>> {
    let (header, start) = read_header(len, read).map_err(|e| e.at("safetensors"))?;
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (from, to) = info.data_offsets;
        let place = TensorPlace::Bytes(start + from as u64..start + to as u64);
        (name, Entry { file: index, dtype: Some(info.dtype), shape: info.shape.clone(), place })
    };
    Ok(header.tensors().into_iter().map(entry).collect())
}

/// The header of a safetensors file of `len` bytes, and where its data begins.
fn read_header(
    len: u64,
    mut read: impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<(Metadata, u64)> {
    let size = read(0, 8)?.try_into().expect("8 bytes were asked for");
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER.min(len.saturating_sub(8)) {
        return Err(invalid(format!("a header of {size} bytes in a file of {len}")));
    }
    let header = serde_json::from_slice(&read(8, size)?);
    let header: Metadata = header.map_err(|e| invalid(e.to_string()))?;
    let (start, expected) = (8 + size, header.data_len() as u64);
    match start.checked_add(expected) == Some(len) {
        true => Ok((header, start)),
        false => Err(invalid(format!("{} bytes of tensors, expected {expected}", len - start))),
    }
}

/// `hasher` after a file's length, 64 bits, little-endian, and its bytes.
pub(super) fn hashed(mut hasher: blake3::Hasher, file: &[u8]) -> blake3::Hasher {
    hasher.update(&(file.len() as u64).to_le_bytes()).update(file);
    hasher
}
