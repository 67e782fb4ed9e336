//! Linear layers, in the precision that the model runs in.

use super::config::Quantization;
use super::weights::Matrix;
use crate::ops::{
    Isa, PackedMatrix, QuantMatrix, QuantRows, matmul, matmul_int8, quantise_weights,
};

/// y = x w^T + bias.
pub(super) enum Linear {
    /// Rule 1 of `docs/numerics.md`.
    F32(PackedMatrix),
    /// Rule 16.
    Int8(QuantMatrix, Quantization),
}

impl Linear {
    /// A layer of `n` outputs: output i has those weights that `source(i)` says, `(matrix, j)` for
    /// output j of that matrix. bias: `[n]` or empty for none.
    pub fn pack<'m>(
        quantization: Option<Quantization>,
        inputs: usize,
        n: usize,
        source: impl Fn(usize) -> (&'m Matrix<'m>, usize),
        bias: &[f32],
    ) -> Self {
        let Some(quantization) = quantization else {
            let fill = |i: usize, row: &mut [f32]| {
                let (matrix, j) = source(i);
                matrix.output(j, row);
            };
            return Self::F32(PackedMatrix::pack_with(inputs, n, fill, bias));
        };
        let mut wide = vec![0.0; inputs];
        let fill = |i: usize, row: &mut [i8]| {
            let (matrix, j) = source(i);
            matrix.output_integers(j, row).unwrap_or_else(|| {
                matrix.output(j, &mut wide);
                quantise_weights(&wide, row)
            })
        };
        Self::Int8(QuantMatrix::pack_with(inputs, n, fill, bias), quantization)
    }

    /// x: `[rows][inputs]`, y: `[rows][outputs]`.
    pub fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32], quantised: &mut QuantRows) {
        apply_each(isa, x, [(self, y)], quantised);
    }

    /// Writes output i's weights to `row`: `[inputs]`.
    pub fn unpack_row(&self, i: usize, row: &mut [f32]) {
        match self {
            Self::F32(w) => w.unpack_row(i, row),
            Self::Int8(w, _) => w.unpack_row(i, row),
        }
    }

    fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs(),
            Self::Int8(w, _) => w.inputs(),
        }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs(),
            Self::Int8(w, _) => w.outputs(),
        }
    }
}

/// Applies layers to the same x: `[rows][inputs]`, quantised once. y: `[rows][outputs]` of each.
pub(super) fn apply_each<const N: usize>(
    isa: Isa,
    x: &[f32],
    layers: [(&Linear, &mut [f32]); N],
    quantised: &mut QuantRows,
) {
    let mut is_quantised = false;
    for (layer, y) in layers {
        match layer {
            Linear::F32(w) => matmul(isa, x, w, y),
            Linear::Int8(w, Quantization { activations }) => {
                if !is_quantised {
                    quantised.quantise(isa, *activations, x, layer.inputs());
                    is_quantised = true;
                }
                matmul_int8(isa, quantised, w, y);
            }
        }
    }
}
