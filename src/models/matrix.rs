//! A tensor's values in the precision in which they are stored, and the weights of a linear layer.

use super::four_bits::FourBits;
use super::invalid;
use crate::error::Result;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;

/// Dimensions of a linear layer's weights, and how they are stored.
#[derive(Clone, Copy)]
pub(super) struct MatrixShape {
    pub inputs: usize,
    pub outputs: usize,
    /// `[inputs][outputs]` rather than `[outputs][inputs]`.
    pub is_transposed: bool,
}

impl MatrixShape {
    /// `[outputs][inputs]`
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, is_transposed: false }
    }

    /// The dimensions of the tensor.
    pub fn dims(self) -> [usize; 2] {
        match self.is_transposed {
            false => [self.outputs, self.inputs],
            true => [self.inputs, self.outputs],
        }
    }
}

/// Weights of a linear layer in the precision in which they are stored.
pub(super) struct Matrix<'a> {
    /// The tensor's name, for errors.
    pub name: String,
    pub shape: MatrixShape,
    pub stored: StoredMatrix<'a>,
}

/// How weights are stored.
pub(super) enum StoredMatrix<'a> {
    Floats(Values<'a>),
    /// Integers of 8 bits, of the tensor's shape, and the scale of each output.
    Bytes {
        integers: Cow<'a, [u8]>,
        scales: Vec<f32>,
    },
    FourBits(FourBits<'a>),
}

/// The precision of a weight's float.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    F32,
    F16,
    Bf16,
}

impl<'a> Matrix<'a> {
    /// Returns the least precision that loses nothing of its weights as floats.
    pub fn precision(&self) -> Precision {
        match &self.stored {
            StoredMatrix::Floats(Values::F16(_)) => Precision::F16,
            StoredMatrix::Floats(Values::Bf16(_)) => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Returns its weights of four bits, where it has such.
    pub fn four_bits(&self) -> Option<&FourBits<'a>> {
        match &self.stored {
            StoredMatrix::FourBits(four) => Some(four),
            _ => None,
        }
    }

    /// Writes output i's weights: widened exactly, integers times their scale. out: `[inputs]`.
    ///
    /// # Errors
    /// `InvalidModel` where one is non-finite.
    pub fn output(&self, i: usize, out: &mut [f32]) -> Result<()> {
        let MatrixShape { inputs, outputs, is_transposed } = self.shape;
        match &self.stored {
            StoredMatrix::Floats(values) if is_transposed => {
                for (k, out) in out.iter_mut().enumerate() {
                    values.widen(k * outputs + i, std::slice::from_mut(out));
                }
            }
            StoredMatrix::Floats(values) => values.widen(i * inputs, out),
            StoredMatrix::Bytes { integers, scales } => {
                let integers = self.output_bytes(integers, i);
                out.iter_mut().zip(integers).for_each(|(w, q)| *w = f32::from(q) * scales[i]);
            }
            StoredMatrix::FourBits(four) => four.widen(i, out),
        }
        check_finite(&self.name, out)
    }

    /// Writes output i's weights as integers of 8 bits and returns their scale; `None` where they are
    /// not stored as such. out: `[inputs]`.
    ///
    /// # Errors
    /// `InvalidModel` where an integer times the scale is non-finite.
    pub fn output_integers(&self, i: usize, out: &mut [i8]) -> Result<Option<f32>> {
        let StoredMatrix::Bytes { integers, scales } = &self.stored else { return Ok(None) };
        out.iter_mut().zip(self.output_bytes(integers, i)).for_each(|(out, q)| *out = q);
        let largest = out.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0);
        check_finite(&self.name, &[f32::from(largest) * scales[i]])?;
        Ok(Some(scales[i]))
    }

    /// Output i of integers of 8 bits.
    fn output_bytes<'b>(&self, integers: &'b [u8], i: usize) -> impl Iterator<Item = i8> + use<'b> {
        let MatrixShape { inputs, outputs, is_transposed } = self.shape;
        let (first, step) = if is_transposed { (i, outputs) } else { (i * inputs, 1) };
        integers[first..].iter().step_by(step).map(|&byte| byte as i8)
    }
}

/// Refuses non-finite values of the tensor `name`.
///
/// # Errors
/// `InvalidModel`.
pub(super) fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(invalid(format!("tensor {name} holds the non-finite value {x}"))),
        None => Ok(()),
    }
}

/// Values, little-endian where they are bytes.
pub(super) enum Values<'a> {
    F32(Cow<'a, [u8]>),
    F16(Cow<'a, [u8]>),
    Bf16(Cow<'a, [u8]>),
    I8(Cow<'a, [u8]>),
}

impl Values<'_> {
    /// Returns the same, in memory of its own.
    pub fn into_owned(self) -> Values<'static> {
        let owned = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        match self {
            Self::F32(bytes) => Values::F32(owned(bytes)),
            Self::F16(bytes) => Values::F16(owned(bytes)),
            Self::Bf16(bytes) => Values::Bf16(owned(bytes)),
            Self::I8(bytes) => Values::I8(owned(bytes)),
        }
    }

    /// Widens those from `first` on.
    pub fn widen(&self, first: usize, out: &mut [f32]) {
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
