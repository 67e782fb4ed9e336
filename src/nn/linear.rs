//! Linear layers: y = x w^T + b, and what low-rank adapters add.

use super::low_rank::{LowRankLayer, LowRankScratch};
use super::matrix::{accumulate, accumulate_rows, product_with, transposed};
use super::parameter::{Gradients, Parameter};
use crate::ops::{Isa, PackedMatrix, matmul};

/// A linear layer, packed for both passes.
pub struct LinearLayer {
    /// Indices of its weights `[outputs][inputs]` and biases among the parameters.
    weight: usize,
    bias: Option<usize>,
    /// Row of the weights that each output has, where they are not all, in order.
    rows: Option<Vec<u32>>,
    forward: PackedMatrix,
    backward: PackedMatrix,
    adapters: Vec<LowRankLayer>,
}

impl LinearLayer {
    /// Packs the layer of these parameters.
    pub fn new(parameters: &[Parameter], weight: usize, bias: Option<usize>) -> Self {
        Self::with_rows(parameters, weight, bias, None)
    }

    /// Packs the layer whose outputs are those rows of the weights, without biases.
    pub fn of_rows(parameters: &[Parameter], weight: usize, rows: Vec<u32>) -> Self {
        Self::with_rows(parameters, weight, None, Some(rows))
    }

    /// Packs the layer whose outputs are those rows of the weights, with their biases.
    pub fn of_biased_rows(
        parameters: &[Parameter],
        weight: usize,
        bias: usize,
        rows: Vec<u32>,
    ) -> Self {
        Self::with_rows(parameters, weight, Some(bias), Some(rows))
    }

    fn with_rows(
        parameters: &[Parameter],
        weight: usize,
        bias: Option<usize>,
        rows: Option<Vec<u32>>,
    ) -> Self {
        let [forward, backward] = packed(parameters, weight, bias, rows.as_deref());
        Self { weight, bias, rows, forward, backward, adapters: Vec::new() }
    }

    /// Puts an adapter beside the layer.
    pub fn adapt(&mut self, adapter: LowRankLayer) {
        self.adapters.push(adapter);
    }

    /// Packs the parameters' values anew, unless they are frozen.
    pub fn pack(&mut self, parameters: &[Parameter]) {
        if !self.is_frozen(parameters) {
            let rows = self.rows.as_deref();
            [self.forward, self.backward] = packed(parameters, self.weight, self.bias, rows);
        }
        self.adapters.iter_mut().for_each(|adapter| adapter.pack(parameters));
    }

    /// Lets go of the weights' values if they are frozen.
    pub fn release_frozen(&self, parameters: &mut [Parameter]) {
        if self.is_frozen(parameters) {
            parameters[self.weight].values = Vec::new();
        }
    }

    fn is_frozen(&self, parameters: &[Parameter]) -> bool {
        parameters[self.weight].is_frozen && self.bias.is_none_or(|bias| parameters[bias].is_frozen)
    }

    /// Computes y. x: `[rows][inputs]`, y: `[rows][outputs]`, overwritten.
    pub fn forward_into(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        matmul(isa, x, &self.forward, y);
        let mut scratch = LowRankScratch::default();
        self.adapters.iter().for_each(|adapter| adapter.add(isa, x, y, &mut scratch));
    }

    /// Computes the output. x: `[rows][inputs]`; returns `[rows][outputs]`.
    pub fn forward(&self, isa: Isa, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / self.forward.inputs() * self.forward.outputs()];
        self.forward_into(isa, x, &mut y);
        y
    }

    /// Computes the gradient of x, `[rows][inputs]`, from that of y, `[rows][outputs]`, adapters aside.
    pub fn backward_into(&self, isa: Isa, dy: &[f32], dx: &mut [f32]) {
        matmul(isa, dy, &self.backward, dx);
    }

    /// Returns the gradient of x, `[rows][inputs]`, from that of y, `[rows][outputs]`, and adds those of
    /// the parameters.
    pub fn backward(&self, isa: Isa, x: &[f32], dy: &[f32], gradients: &mut Gradients) -> Vec<f32> {
        self.learn(isa, x, dy, gradients);
        let mut dx = vec![0.0; x.len()];
        self.backward_into(isa, dy, &mut dx);
        for adapter in &self.adapters {
            adapter.backward(isa, x, dy, &mut dx, gradients);
        }
        dx
    }

    /// Adds the gradients of the parameters that are not frozen, from inputs and gradients of
    /// outputs.
    pub fn learn(&self, isa: Isa, x: &[f32], dy: &[f32], gradients: &mut Gradients) {
        let (inputs, outputs) = (self.forward.inputs(), self.forward.outputs());
        if !gradients[self.weight].is_empty() {
            let dw = product_with(isa, &transposed(dy, outputs), x, dy.len() / outputs);
            let sum = &mut gradients[self.weight];
            match &self.rows {
                None => accumulate(sum, &dw),
                Some(rows) => {
                    for (&row, dw) in rows.iter().zip(dw.chunks_exact(inputs)) {
                        accumulate(&mut sum[row as usize * inputs..][..inputs], dw);
                    }
                }
            }
        }
        if let Some(bias) = self.bias.filter(|&bias| !gradients[bias].is_empty()) {
            let sum = &mut gradients[bias];
            match &self.rows {
                None => accumulate_rows(sum, dy),
                Some(rows) => {
                    for dy in dy.chunks_exact(outputs) {
                        rows.iter().zip(dy).for_each(|(&row, dy)| sum[row as usize] += dy);
                    }
                }
            }
        }
    }
}

/// Packs weights for the forward and the backward pass.
fn packed(
    parameters: &[Parameter],
    weight: usize,
    bias: Option<usize>,
    rows: Option<&[u32]>,
) -> [PackedMatrix; 2] {
    let (values, inputs) = (&parameters[weight].values, parameters[weight].shape[1]);
    let biases = bias.map_or(&[][..], |bias| &parameters[bias].values);
    let biases: Vec<f32> = match rows {
        Some(rows) if bias.is_some() => rows.iter().map(|&row| biases[row as usize]).collect(),
        _ => biases.to_vec(),
    };
    let outputs = rows.map_or(parameters[weight].shape[0], <[u32]>::len);
    let row = |i: usize| {
        let i = rows.map_or(i, |rows| rows[i] as usize);
        &values[i * inputs..][..inputs]
    };
    let forward = PackedMatrix::pack(inputs, outputs, row, &biases);
    [forward, PackedMatrix::pack_columns(outputs, inputs, row)]
}
