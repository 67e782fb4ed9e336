//! A matrix that learns.

use crate::nn::adam::AdamStep;
use crate::ops::{Isa, Line, PackedMatrix, matmul};
use rayon::prelude::*;

/// Panels of sixteen outputs that are worked on together.
const PANELS: usize = 16;

/// Gradient of a linear layer's weights and moments of Adam, in the order in which the layer is packed:
/// `[N/16][K][16]`.
pub struct MatrixMoments {
    inputs: usize,
    first: Vec<Line>,
    second: Vec<Line>,
    gradient: Vec<Line>,
}

/// Inputs and gradients of outputs of a linear layer, row by row.
pub struct LinearRows<'a> {
    /// The inputs, transposed: `[K][rows]`.
    pub x: &'a [f32],
    /// Gradients of outputs: rows of `[N]`.
    pub dy: &'a [&'a [f32]],
}

impl MatrixMoments {
    /// Creates those of `matrix` before the first step.
    pub fn new(matrix: &PackedMatrix) -> Self {
        let zeros = vec![Line([0.0; 16]); matrix.inputs() * matrix.outputs().div_ceil(16)];
        Self {
            inputs: matrix.inputs(),
            first: zeros.clone(),
            second: zeros.clone(),
            gradient: zeros,
        }
    }

    /// Returns the inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Computes the gradient; returns whether all of it is finite.
    pub fn differentiate(&mut self, isa: Isa, inputs: usize, rows: &LinearRows<'_>) -> bool {
        let outputs = rows.dy.first().map_or(0, |dy| dy.len());
        let blocks = self.gradient.par_chunks_mut(PANELS * inputs).enumerate();
        let differentiate = |(block, gradient): (usize, &mut [Line])| {
            let from = block * PANELS * 16;
            let n = (outputs - from).min(PANELS * 16);
            let dy = |row: usize| &rows.dy[row][from..from + n];
            let packed = PackedMatrix::pack_columns(rows.dy.len(), n, dy);
            let mut product = vec![0.0; inputs * n];
            matmul(isa, rows.x, &packed, &mut product);
            for (k, row) in product.chunks_exact(n).enumerate() {
                for (panel, part) in row.chunks(16).enumerate() {
                    gradient[panel * inputs + k].0[..part.len()].copy_from_slice(part);
                }
            }
            product.iter().fold(0.0, |sum, g| sum + g * 0.0) == 0.0
        };
        blocks.map(differentiate).reduce(|| true, |a, b| a & b)
    }

    /// Moves the weights.
    pub fn step(&mut self, step: &AdamStep, matrix: &mut PackedMatrix) {
        let Self { first, second, gradient, .. } = self;
        let len = PANELS * matrix.inputs();
        let moments = first.par_chunks_mut(len).zip(second.par_chunks_mut(len));
        let weights = matrix.lines_mut().par_chunks_mut(len).zip(gradient.par_chunks(len));
        weights.zip(moments).for_each(|((weights, gradient), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
                step.apply(&mut w.0, &g.0, &mut m.0, &mut v.0);
            }
        });
    }
}
