//! Linear layers: y = x w^T + b.

use super::matrix::{accumulate, accumulate_rows, product_with, transposed};
use super::parameter::{Gradients, Parameter};
use crate::ops::{Isa, PackedMatrix, matmul};

/// A linear layer, packed for both passes.
pub struct LinearLayer {
    /// Indices of its weights `[outputs][inputs]` and biases among the parameters.
    weight: usize,
    bias: Option<usize>,
    forward: PackedMatrix,
    backward: PackedMatrix,
}

impl LinearLayer {
    /// Packs the layer of these parameters.
    pub fn new(parameters: &[Parameter], weight: usize, bias: Option<usize>) -> Self {
        let (values, inputs) = (&parameters[weight].values, parameters[weight].shape[1]);
        let biases = bias.map_or(&[][..], |bias| &parameters[bias].values);
        let outputs = values.len() / inputs;
        let row = |i: usize| &values[i * inputs..][..inputs];
        Self {
            weight,
            bias,
            forward: PackedMatrix::pack(inputs, outputs, row, biases),
            backward: PackedMatrix::pack_columns(outputs, inputs, values),
        }
    }

    /// Computes y. x: `[rows][inputs]`, y: `[rows][outputs]`, overwritten.
    pub fn forward_into(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        matmul(isa, x, &self.forward, y);
    }

    /// Computes the output. x: `[rows][inputs]`; returns `[rows][outputs]`.
    pub fn forward(&self, isa: Isa, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / self.forward.inputs() * self.forward.outputs()];
        self.forward_into(isa, x, &mut y);
        y
    }

    /// Computes the gradient of x, `[rows][inputs]`, from that of y, `[rows][outputs]`.
    pub fn backward_into(&self, isa: Isa, dy: &[f32], dx: &mut [f32]) {
        matmul(isa, dy, &self.backward, dx);
    }

    /// Computes the same as [`LinearLayer::backward_into`], and adds the gradients of the
    /// parameters.
    pub fn backward(&self, isa: Isa, x: &[f32], dy: &[f32], gradients: &mut Gradients) -> Vec<f32> {
        self.learn(isa, x, dy, gradients);
        let mut dx = vec![0.0; x.len()];
        self.backward_into(isa, dy, &mut dx);
        dx
    }

    /// Adds the gradients of the parameters, from inputs and gradients of outputs.
    pub fn learn(&self, isa: Isa, x: &[f32], dy: &[f32], gradients: &mut Gradients) {
        let outputs = self.forward.outputs();
        let rows = dy.len() / outputs;
        let dw = product_with(isa, &transposed(dy, outputs), x, rows);
        accumulate(&mut gradients[self.weight], &dw);
        if let Some(bias) = self.bias {
            accumulate_rows(&mut gradients[bias], dy);
        }
    }
}
