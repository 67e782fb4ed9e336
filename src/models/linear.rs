//! Linear layers, in the precision that the model runs in.

use super::Weights;
use super::matrix::{Matrix, MatrixShape, Precision};
use super::quantization::{QuantWeights, Quantization};
use crate::error::Result;
use crate::ops::{
    ActivationBits, GroupMatrix, GroupRow, GroupRows, GroupShape, Isa, PackedMatrix, QuantMatrix,
    QuantRows, matmul, matmul_int4, matmul_int8, quantize_weights,
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
    Int8(QuantMatrix, ActivationBits),
    /// Rule 26.
    Int4(GroupMatrix, ActivationBits),
}

/// Quantized inputs of layers; kept between calls, so that none allocates.
#[derive(Default)]
pub(super) struct QuantInputs {
    rows: QuantRows,
    groups: GroupRows,
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
        match quantization {
            Some(Quantization { weights: QuantWeights::Int8, activations }) => {
                Self::pack_int8(activations, inputs, n, source, bias)
            }
            Some(Quantization { weights: QuantWeights::Int4(_), activations }) => {
                match common_groups(inputs, n, &source) {
                    Some(shape) => Ok(Self::pack_int4(activations, shape, source, bias)),
                    None => Self::pack_floats(inputs, n, source, bias),
                }
            }
            None => Self::pack_floats(inputs, n, source, bias),
        }
    }

    fn pack_floats<'m>(
        inputs: usize,
        n: usize,
        source: impl Fn(usize) -> (&'m Matrix<'m>, usize),
        bias: &[f32],
    ) -> Result<Self> {
        let mut checked = Ok(());
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
        checked.map(|()| packed)
    }

    fn pack_int8<'m>(
        activations: ActivationBits,
        inputs: usize,
        n: usize,
        source: impl Fn(usize) -> (&'m Matrix<'m>, usize),
        bias: &[f32],
    ) -> Result<Self> {
        let mut checked = Ok(());
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
        checked.map(|()| Self::Int8(packed, activations))
    }

    /// `shape` is that of [`common_groups`].
    fn pack_int4<'m>(
        activations: ActivationBits,
        shape: GroupShape,
        source: impl Fn(usize) -> (&'m Matrix<'m>, usize),
        bias: &[f32],
    ) -> Self {
        let four = |i: usize| source(i).0.four_bits().expect("all have four bits");
        let has_offsets = matrices(shape.outputs, &source).any(|i| four(i).has_offsets());
        let order = four(0).order.clone();
        let fill = |i: usize, row: GroupRow<'_>| four(i).row(source(i).1, row);
        Self::Int4(GroupMatrix::pack_with(shape, has_offsets, order, fill, bias), activations)
    }

    /// x: `[rows][inputs]`, y: `[rows][outputs]`.
    pub fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32], quantized: &mut QuantInputs) {
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
            Self::Int4(w, _) => w.unpack_row(i, row),
        }
    }

    /// Returns output i's bias.
    pub fn bias(&self, i: usize) -> f32 {
        match self {
            Self::F32(w) => w.bias(i),
            Self::F16(w) => w.bias(i),
            Self::Bf16(w) => w.bias(i),
            Self::Int8(w, _) => w.bias(i),
            Self::Int4(w, _) => w.bias(i),
        }
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs(),
            Self::F16(w) => w.inputs(),
            Self::Bf16(w) => w.inputs(),
            Self::Int8(w, _) => w.inputs(),
            Self::Int4(w, _) => w.shape().inputs,
        }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs(),
            Self::F16(w) => w.outputs(),
            Self::Bf16(w) => w.outputs(),
            Self::Int8(w, _) => w.outputs(),
            Self::Int4(w, _) => w.shape().outputs,
        }
    }
}

/// The first of the `n` outputs of each matrix that follows another, as `source` has them.
fn matrices<'m>(
    n: usize,
    source: &impl Fn(usize) -> (&'m Matrix<'m>, usize),
) -> impl Iterator<Item = usize> {
    (0..n).filter(|&i| i == 0 || !std::ptr::eq(source(i).0, source(i - 1).0))
}

/// The dimensions of a layer of four bits, where all the matrices that its `n` outputs are of have
/// the same groups, of the same inputs.
fn common_groups<'m>(
    inputs: usize,
    n: usize,
    source: &impl Fn(usize) -> (&'m Matrix<'m>, usize),
) -> Option<GroupShape> {
    let first = source(0).0.four_bits()?;
    let is_alike = |i: usize| {
        let four = source(i).0.four_bits();
        four.is_some_and(|four| four.shape.group == first.shape.group && four.order == first.order)
    };
    let shape = GroupShape { inputs, outputs: n, group: first.shape.group };
    matrices(n, source).all(is_alike).then_some(shape)
}

/// Applies layers to the same x: `[rows][inputs]`, quantized once where layers agree in how. y:
/// `[rows][outputs]` of each.
pub(super) fn apply_each<const N: usize>(
    isa: Isa,
    x: &[f32],
    layers: [(&Linear, &mut [f32]); N],
    quantized: &mut QuantInputs,
) {
    let QuantInputs { rows, groups } = quantized;
    let mut are_rows = false;
    let mut are_groups = None;
    for (layer, y) in layers {
        match layer {
            Linear::F32(w) => matmul(isa, x, w, y),
            Linear::F16(w) => matmul(isa, x, w, y),
            Linear::Bf16(w) => matmul(isa, x, w, y),
            Linear::Int8(w, bits) => {
                if !are_rows {
                    rows.quantize(isa, *bits, x, w.inputs());
                    are_rows = true;
                }
                matmul_int8(isa, rows, w, y);
            }
            Linear::Int4(w, bits) => {
                let GroupShape { inputs, group, .. } = w.shape();
                let wanted = Some((group, w.order()));
                if are_groups != wanted {
                    groups.quantize(isa, *bits, x, (inputs, group), w.order());
                    are_groups = wanted;
                }
                matmul_int4(isa, groups, w, y);
            }
        }
    }
}
