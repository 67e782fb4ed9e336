//! A matrix that learns: gradient and RMSprop, in the order in which it is packed.
//!
//! Tieleman and Hinton, "RMSprop" (2012), with Adam's correction of the bias: Adam without a first moment, as
//! Bellard's NNCP has it.
//!
//! Legend: `R` rows, `K` inputs, `N` outputs.

use crate::nn::matrix::transposed;
use crate::ops::{Isa, Line, PackedMatrix, matmul};
use rayon::prelude::*;

/// Outputs that are worked on together.
const BLOCK: usize = 256;

/// Panels of sixteen outputs in a block.
const PANELS: usize = BLOCK / 16;

/// Gradient of a linear layer's weights and its second moments.
pub struct MatrixMoments {
    inputs: usize,
    outputs: usize,
    /// By block of outputs: `[K][outputs of the block]`.
    gradient: Vec<f32>,
    /// As the weights are packed: `[N/16][K][16]`.
    second: Vec<Line>,
}

/// Decay of the second moment.
const DECAY: f32 = 0.9999;

/// Constant added to its root.
const EPS: f32 = 1e-8;

/// A step, the same for all matrices.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    rate: f32,
    /// 1 - [`DECAY`]^n in the n-th step.
    correction: f32,
}

impl Step {
    /// Prepares the next step; decayed: [`DECAY`] to the power of the steps so far.
    pub fn next(rate: f32, decayed: &mut f32) -> Self {
        *decayed *= DECAY;
        Self { rate, correction: 1.0 - *decayed }
    }

    fn apply(&self, weights: &mut [f32], gradient: &[f32], second: &mut [f32]) {
        let Self { rate, correction } = *self;
        for ((w, g), v) in weights.iter_mut().zip(gradient).zip(second) {
            *v = DECAY * *v + (1.0 - DECAY) * g * g;
            *w -= rate * g / ((*v / correction).sqrt() + EPS);
        }
    }
}

impl MatrixMoments {
    /// Creates those of `matrix` before the first step.
    pub fn new(matrix: &PackedMatrix) -> Self {
        let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
        Self {
            inputs,
            outputs,
            gradient: vec![0.0; inputs * outputs],
            second: vec![Line([0.0; 16]); inputs * outputs.div_ceil(16)],
        }
    }

    /// Returns the inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the gradient, output by output: `[N][K]`.
    pub fn gradient(&self) -> Vec<f32> {
        let blocks = self.gradient.chunks(BLOCK * self.inputs);
        blocks.flat_map(|block| transposed(block, block.len() / self.inputs)).collect()
    }

    /// Computes the gradient; returns whether all of it is finite. x: the layer's inputs, transposed:
    /// `[K][R]`; dy: gradients of its outputs, row by row: `[N]`.
    pub fn differentiate(&mut self, isa: Isa, x: &[f32], dy: &[&[f32]]) -> bool {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let blocks = self.gradient.par_chunks_mut(BLOCK * inputs).enumerate();
        let is_finite = blocks.map(|(block, gradient)| {
            let columns = block * BLOCK..outputs.min((block + 1) * BLOCK);
            let row = |i: usize| &dy[i][columns.clone()];
            matmul(isa, x, &PackedMatrix::pack_columns(dy.len(), columns.len(), row), gradient);
            gradient.iter().fold(0.0, |sum, g| sum + g * 0.0) == 0.0
        });
        is_finite.reduce(|| true, |a, b| a & b)
    }

    /// Moves the weights.
    pub fn step(&mut self, step: &Step, matrix: &mut PackedMatrix) {
        let (inputs, lines) = (self.inputs, PANELS * self.inputs);
        let weights = matrix.lines_mut().par_chunks_mut(lines);
        let blocks = weights.zip(self.second.par_chunks_mut(lines));
        let gradient = self.gradient.par_chunks(BLOCK * inputs);
        blocks.zip(gradient).for_each(|((weights, second), gradient)| {
            let outputs = gradient.len() / inputs;
            let panels = weights.chunks_exact_mut(inputs).zip(second.chunks_exact_mut(inputs));
            for (panel, (weights, second)) in panels.enumerate() {
                let columns = 16 * panel..outputs.min(16 * panel + 16);
                let lines = weights.iter_mut().zip(second).zip(gradient.chunks_exact(outputs));
                for ((w, v), g) in lines {
                    step.apply(&mut w.0, &g[columns.clone()], &mut v.0);
                }
            }
        });
    }
}

/// Returns dy w. dy: `[R][N]`; returns `[R][K]`.
pub fn product(isa: Isa, dy: &[f32], transposed: &PackedMatrix) -> Vec<f32> {
    let mut dx = vec![0.0; dy.len() / transposed.inputs() * transposed.outputs()];
    matmul(isa, dy, transposed, &mut dx);
    dx
}
