//! Linear layers, in the precision that the model runs in.

use super::Weights;
use super::config::Quantization;
use super::matrix::{Matrix, MatrixShape, Precision};
use crate::error::Result;
use crate::ops::{
    Isa, PackedMatrix, QuantMatrix, QuantRows, matmul, matmul_int8, quantize_weights,
};
use half::{bf16, f16};

/// y = x w^T + bias.
pub(super) enum Linear {
    /// Rule 1 of `docs/numerics.md`.
    F32(PackedMatrix),
    /// The same of weights that are kept as they are stored.
    F16(PackedMatrix<f16>),
    /// As above.
    Bf16(PackedMatrix<bf16>),
    /// Rule 16.
    Int8(QuantMatrix, Quantization),
}

impl Linear {
    /// Loads the layer with the weights `name` and a bias, if any: its name.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(
        weights: &Weights<'_>,
        quantization: Option<Quantization>,
        name: &str,
        bias: Option<&str>,
        shape: MatrixShape,
    ) -> Result<Self> {
        let w = weights.matrix(name, shape, quantization)?;
        let bias = bias.map_or(Ok(Vec::new()), |bias| weights.tensor(bias, &[shape.outputs]))?;
        Self::pack(quantization, shape.inputs, shape.outputs, |i| (&w, i), &bias)
    }

    /// Packs a layer of `n` outputs: output i has those weights that `source(i)` says, `(matrix,
    /// j)` for output j of that matrix. bias: `[n]` or empty for none.
    ///
    /// # Errors
    /// `InvalidModel` where a weight is non-finite.
    pub fn pack<'m>(
        quantization: Option<Quantization>,
        inputs: usize,
        n: usize,
        source: impl Fn(usize) -> (&'m Matrix<'m>, usize),
        bias: &[f32],
    ) -> Result<Self> {
        let mut checked = Ok(());
        let Some(quantization) = quantization else {
            let precision = |i: usize| source(i).0.precision();
            let all_are = |kind| (0..n).all(|i| precision(i) == kind);
            let fill = |i: usize, row: &mut [f32]| {
                let (matrix, j) = source(i);
                if let Err(error) = matrix.output(j, row) {
                    checked = Err(error);
                }
            };
            let packed = if all_are(Precision::F16) {
                Self::F16(PackedMatrix::pack_with(inputs, n, fill, bias))
            } else if all_are(Precision::Bf16) {
                Self::Bf16(PackedMatrix::pack_with(inputs, n, fill, bias))
            } else {
                Self::F32(PackedMatrix::pack_with(inputs, n, fill, bias))
            };
            return checked.map(|()| packed);
        };
        let mut wide = vec![0.0; inputs];
        let mut integers = |i: usize, row: &mut [i8]| -> Result<f32> {
            let (matrix, j) = source(i);
            if let Some(scale) = matrix.output_integers(j, row)? {
                return Ok(scale);
            }
            matrix.output(j, &mut wide)?;
            Ok(quantize_weights(&wide, row))
        };
        let fill = |i: usize, row: &mut [i8]| {
            integers(i, row).unwrap_or_else(|error| {
                checked = Err(error);
                0.0
            })
        };
        let packed = QuantMatrix::pack_with(inputs, n, fill, bias);
        checked.map(|()| Self::Int8(packed, quantization))
    }

    /// x: `[rows][inputs]`, y: `[rows][outputs]`.
    pub fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32], quantized: &mut QuantRows) {
        apply_each(isa, x, [(self, y)], quantized);
    }

    /// Returns the same layer in floats: halves widened, integers times their scales.
    pub fn to_floats(&self) -> Self {
        let bias: Vec<f32> = (0..self.outputs()).map(|i| self.bias(i)).collect();
        let fill = |i: usize, row: &mut [f32]| self.unpack_row(i, row);
        Self::F32(PackedMatrix::pack_with(self.inputs(), self.outputs(), fill, &bias))
    }

    /// Returns the matrix of floats.
    ///
    /// # Panics
    /// Where it is of anything else.
    pub fn floats_mut(&mut self) -> &mut PackedMatrix {
        match self {
            Self::F32(matrix) => matrix,
            _ => panic!("only a layer of floats learns"),
        }
    }

    /// Writes output i's weights to `row`: `[inputs]`.
    pub fn unpack_row(&self, i: usize, row: &mut [f32]) {
        match self {
            Self::F32(w) => w.unpack_row(i, row),
            Self::F16(w) => w.unpack_row(i, row),
            Self::Bf16(w) => w.unpack_row(i, row),
            Self::Int8(w, _) => w.unpack_row(i, row),
        }
    }

    /// Returns output i's bias.
    pub fn bias(&self, i: usize) -> f32 {
        match self {
            Self::F32(w) => w.bias(i),
            Self::F16(w) => w.bias(i),
            Self::Bf16(w) => w.bias(i),
            Self::Int8(w, _) => w.bias(i),
        }
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs(),
            Self::F16(w) => w.inputs(),
            Self::Bf16(w) => w.inputs(),
            Self::Int8(w, _) => w.inputs(),
        }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs(),
            Self::F16(w) => w.outputs(),
            Self::Bf16(w) => w.outputs(),
            Self::Int8(w, _) => w.outputs(),
        }
    }
}

/// Applies layers to the same x: `[rows][inputs]`, quantized once. y: `[rows][outputs]` of each.
pub(super) fn apply_each<const N: usize>(
    isa: Isa,
    x: &[f32],
    layers: [(&Linear, &mut [f32]); N],
    quantized: &mut QuantRows,
) {
    let mut is_quantized = false;
    for (layer, y) in layers {
        match layer {
            Linear::F32(w) => matmul(isa, x, w, y),
            Linear::F16(w) => matmul(isa, x, w, y),
            Linear::Bf16(w) => matmul(isa, x, w, y),
            Linear::Int8(w, Quantization { activations }) => {
                if !is_quantized {
                    quantized.quantize(isa, *activations, x, layer.inputs());
                    is_quantized = true;
                }
                matmul_int8(isa, quantized, w, y);
            }
        }
    }
}
