//! Header of a file: metadata and the directory of tensors.

use super::blocks::BlockType;
use crate::error::Result;
use crate::models::invalid;
use std::collections::HashMap;

/// Longest header that is read into memory, in bytes.
const MAX_LEN: u64 = 1 << 28;

/// Bytes that are read of a file at first; headers with a vocabulary are some megabytes.
const FIRST: u64 = 1 << 20;

/// Most elements of all arrays: vocabularies have at most 2^20 tokens.
const MAX_ELEMENTS: u64 = 1 << 22;

/// Most tensors, and most dimensions of one.
const MAX_TENSORS: u64 = 1 << 16;
const MAX_DIMENSIONS: u32 = 4;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum MetaValue {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Vec<MetaValue>),
}

/// A tensor in the directory.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    pub name: String,
    /// Dimensions, outermost first: the reverse of the file's.
    pub shape: Vec<usize>,
    pub kind: BlockType,
    /// Where it begins in the file.
    pub start: u64,
    /// Its bytes.
    pub len: u64,
}

/// Metadata and directory, which stand before the tensors' data.
pub struct Header {
    pub(super) metadata: HashMap<String, MetaValue>,
    pub(super) tensors: Vec<TensorInfo>,
}

impl Header {
    /// Reads the header of a file of `len` bytes, of which `read` gives some.
    ///
    /// # Errors
    /// `InvalidModel` where it is malformed; those of `read`.
    pub fn read(len: u64, mut read: impl FnMut(u64, u64) -> Result<Vec<u8>>) -> Result<Self> {
        let mut part = FIRST.min(len);
        loop {
            let bytes = read(0, part)?;
            let mut reader = Reader { bytes: &bytes, at: 0, elements: MAX_ELEMENTS };
            match reader.header(len) {
                Ok(header) => return Ok(header),
                Err(Failure::Ended) if part < len.min(MAX_LEN) => {
                    part = (2 * part).min(len.min(MAX_LEN))
                }
                Err(Failure::Ended) => {
                    return Err(invalid(format!("GGUF: the header goes on after {part} bytes")));
                }
                Err(Failure::Malformed(what)) => return Err(invalid(format!("GGUF: {what}"))),
            }
        }
    }

    /// Returns the text of a key.
    ///
    /// # Errors
    /// `InvalidModel` where it is missing or no text.
    pub(super) fn text(&self, key: &str) -> Result<&str> {
        match self.metadata.get(key) {
            Some(MetaValue::Text(text)) => Ok(text),
            found => Err(unexpected(key, "text", found)),
        }
    }

    /// Returns the number of a key, which may be missing.
    ///
    /// # Errors
    /// `InvalidModel` where it is none that is not negative.
    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(&MetaValue::Integer(n)) if u64::try_from(n).is_ok() => Ok(Some(n as u64)),
            found => Err(unexpected(key, "a number that is not negative", found)),
        }
    }

    /// Returns the fraction of a key, which may be missing.
    ///
    /// # Errors
    /// `InvalidModel` where it is none.
    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(&MetaValue::Float(x)) if x.is_finite() => Ok(Some(x)),
            found => Err(unexpected(key, "a finite fraction", found)),
        }
    }

    /// Returns the elements of a key's array; none where it is missing.
    ///
    /// # Errors
    /// `InvalidModel` where it is no array.
    pub(super) fn array(&self, key: &str) -> Result<&[MetaValue]> {
        match self.metadata.get(key) {
            None => Ok(&[]),
            Some(MetaValue::Array(values)) => Ok(values),
            found => Err(unexpected(key, "an array", found)),
        }
    }
}

/// The error of a key's value.
pub fn unexpected(key: &str, expected: &str, found: Option<&MetaValue>) -> crate::Error {
    let found = match found {
        None => "it is missing".to_owned(),
        Some(MetaValue::Array(values)) => format!("got an array of {}", values.len()),
        Some(value) => format!("got {value:?}"),
    };
    invalid(format!("GGUF: {}: expected {expected}, {found}", key.escape_debug()))
}

/// Why a header could not be read.
enum Failure {
    /// More bytes are needed.
    Ended,
    Malformed(String),
}

type Parsed<T> = std::result::Result<T, Failure>;

fn malformed<T>(what: impl Into<String>) -> Parsed<T> {
    Err(Failure::Malformed(what.into()))
}

/// Fields of a header in their order, little-endian.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Elements that arrays may still have.
    elements: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: u64) -> Parsed<&'a [u8]> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        let Some(bytes) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            let is_possible = n <= MAX_LEN;
            return if is_possible {
                Err(Failure::Ended)
            } else {
                malformed(format!("a field of {n} bytes"))
            };
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        Ok(self.take(N as u64)?.try_into().expect("as many as were asked for"))
    }

    fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Parsed<String> {
        let len = self.u64()?;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => malformed(format!("a text at byte {}: {e}", self.at - bytes.len())),
        }
    }

    fn value(&mut self, kind: u32, is_nested: bool) -> Parsed<MetaValue> {
        let integer = |n: i128| Ok(MetaValue::Integer(n));
        match kind {
            0 => integer(u8::from_le_bytes(self.array()?).into()),
            1 => integer(i8::from_le_bytes(self.array()?).into()),
            2 => integer(u16::from_le_bytes(self.array()?).into()),
            3 => integer(i16::from_le_bytes(self.array()?).into()),
            4 => integer(self.u32()?.into()),
            5 => integer(i32::from_le_bytes(self.array()?).into()),
            6 => Ok(MetaValue::Float(f32::from_le_bytes(self.array()?).into())),
            7 => Ok(MetaValue::Bool(self.array::<1>()? != [0])),
            8 => self.text().map(MetaValue::Text),
            9 if !is_nested => {
                let (kind, n) = (self.u32()?, self.u64()?);
                let Some(left) = self.elements.checked_sub(n) else {
                    return malformed(format!("arrays of more than {MAX_ELEMENTS} elements"));
                };
                self.elements = left;
                (0..n).map(|_| self.value(kind, true)).collect::<Parsed<_>>().map(MetaValue::Array)
            }
            10 => integer(self.u64()?.into()),
            11 => integer(i64::from_le_bytes(self.array()?).into()),
            12 => Ok(MetaValue::Float(f64::from_le_bytes(self.array()?))),
            _ => malformed(format!("a value of type {kind} at byte {}", self.at)),
        }
    }

    /// The header of a file of `len` bytes.
    fn header(&mut self, len: u64) -> Parsed<Header> {
        if self.take(4)? != b"GGUF" {
            return malformed("it does not begin with GGUF");
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return malformed(format!("version {version}, expected 2 or 3, little-endian"));
        }
        let (n_tensors, n_keys) = (self.u64()?, self.u64()?);
        if n_tensors > MAX_TENSORS || n_keys > MAX_TENSORS {
            return malformed(format!(
                "{n_tensors} tensors and {n_keys} keys, expected at most {MAX_TENSORS}"
            ));
        }
        let mut metadata = HashMap::new();
        for _ in 0..n_keys {
            let (key, kind) = (self.text()?, self.u32()?);
            let value = self.value(kind, false)?;
            if metadata.insert(key.clone(), value).is_some() {
                return malformed(format!("the key {} stands twice", key.escape_debug()));
            }
        }
        let tensors = (0..n_tensors).map(|_| self.tensor()).collect::<Parsed<Vec<_>>>()?;
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(&MetaValue::Integer(n)) if (1..=1 << 20).contains(&n) => n as u64,
            Some(_) => return malformed("general.alignment is no number up to 2^20"),
        };
        let data = (self.at as u64).next_multiple_of(alignment);
        let mut header = Header { metadata, tensors };
        for tensor in &mut header.tensors {
            let end = tensor.start.checked_add(data).and_then(|start| {
                tensor.start = start;
                start.checked_add(tensor.len)
            });
            if end.is_none_or(|end| end > len) {
                let name = tensor.name.escape_debug();
                return malformed(format!("tensor {name} goes past the end of the file"));
            }
        }
        Ok(header)
    }

    fn tensor(&mut self) -> Parsed<TensorInfo> {
        let name = self.text()?;
        let failed = |what: String| malformed(format!("tensor {}: {what}", name.escape_debug()));
        let n = self.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&n) {
            return failed(format!("{n} dimensions, expected 1 to {MAX_DIMENSIONS}"));
        }
        let dims = (0..n).map(|_| self.u64()).collect::<Parsed<Vec<u64>>>()?;
        let (number, start) = (self.u32()?, self.u64()?);
        let Some(kind) = BlockType::of(number) else {
            return failed(format!("type {number}, expected one of {}", BlockType::names()));
        };
        let count = dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
        let (values, size) = kind.block();
        let Some(count) =
            count.filter(|&count| count < 1 << 40 && dims[0].is_multiple_of(values as u64))
        else {
            return failed(format!("dimensions {dims:?}, rows are of blocks of {values}"));
        };
        let shape = dims.iter().rev().map(|&dim| dim as usize).collect();
        Ok(TensorInfo { name, shape, kind, start, len: count / values as u64 * size as u64 })
    }
}
