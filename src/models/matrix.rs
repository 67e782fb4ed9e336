//! A tensor's values in the precision in which they are stored, and the weights of a linear layer.

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
    pub values: Values<'a>,
    pub shape: MatrixShape,
    /// Of integers: `[outputs]`.
    pub scales: Option<Vec<f32>>,
}

/// The precision of a weight's float.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    F32,
    F16,
    Bf16,
}

impl Matrix<'_> {
    /// Returns the least precision that loses nothing of its weights as floats.
    pub fn precision(&self) -> Precision {
        match &self.values {
            Values::F16(_) => Precision::F16,
            Values::Bf16(_) => Precision::Bf16,
            Values::F32(_) | Values::I8(_) => Precision::F32,
        }
    }

    /// Writes output i's weights: widened exactly, integers times their scale. out: `[inputs]`.
    ///
    /// # Errors
    /// `InvalidModel` where one is non-finite.
    pub fn output(&self, i: usize, out: &mut [f32]) -> Result<()> {
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
        check_finite(&self.name, out)
    }

    /// Writes output i's weights as integers and returns their scale; `None` where they are stored
    /// as floats. out: `[inputs]`.
    ///
    /// # Errors
    /// `InvalidModel` where an integer times the scale is non-finite.
    pub fn output_integers(&self, i: usize, out: &mut [i8]) -> Result<Option<f32>> {
        let (Values::I8(bytes), Some(scales)) = (&self.values, &self.scales) else {
            return Ok(None);
        };
        let MatrixShape { inputs, outputs, is_transposed } = self.shape;
        let (first, step) = if is_transposed { (i, outputs) } else { (i * inputs, 1) };
        let integers = bytes[first..].iter().step_by(step);
        out.iter_mut().zip(integers).for_each(|(out, &byte)| *out = byte as i8);
        let largest = out.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0);
        check_finite(&self.name, &[f32::from(largest) * scales[i]])?;
        Ok(Some(scales[i]))
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
