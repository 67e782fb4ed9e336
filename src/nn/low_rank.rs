//! Low-rank adapters beside linear layers: y += B (scale * (A x)).
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021). `docs/numerics.md`,
//! section 24, has the order of the sums.
//!
//! Legend: `R` rows, `K` inputs, `N` outputs of the adapter, which may be a part of the layer's.

use super::matrix::{accumulate, product_with, transposed};
use super::parameter::{Gradients, Parameter};
use crate::ops::{Isa, PackedMatrix, matmul};

/// An adapter, packed for the forward pass.
pub struct LowRank {
    /// The layer's output to which the adapter's first is added.
    first: usize,
    scale: f32,
    a: PackedMatrix,
    b: PackedMatrix,
}

/// Buffers of a forward pass.
#[derive(Default)]
pub struct LowRankScratch {
    /// `[R][rank]`
    hidden: Vec<f32>,
    /// `[R][N]`
    added: Vec<f32>,
}

impl LowRank {
    /// Packs A, `[rank][K]`, and B, `[N][rank]`, whose first output is the layer's output `first`.
    pub fn pack(rank: usize, first: usize, scale: f32, a: &[f32], b: &[f32]) -> Self {
        let (inputs, outputs) = (a.len() / rank, b.len() / rank);
        let a = PackedMatrix::pack(inputs, rank, |i| &a[i * inputs..][..inputs], &[]);
        let b = PackedMatrix::pack(rank, outputs, |i| &b[i * rank..][..rank], &[]);
        Self { first, scale, a, b }
    }

    /// Adds the adapter's outputs to the layer's. x: `[R][K]`, y: `[R][outputs of the layer]`
    pub fn add(&self, isa: Isa, x: &[f32], y: &mut [f32], scratch: &mut LowRankScratch) {
        let rows = x.len() / self.a.inputs();
        let LowRankScratch { hidden, added } = scratch;
        self.hidden(isa, x, hidden);
        added.resize(rows * self.b.outputs(), 0.0);
        matmul(isa, hidden, &self.b, added);
        let width = y.len() / rows.max(1);
        for (y, added) in y.chunks_exact_mut(width.max(1)).zip(added.chunks_exact(self.outputs())) {
            accumulate(&mut y[self.first..], added);
        }
    }

    /// Computes scale * (A x): `[R][rank]`.
    fn hidden(&self, isa: Isa, x: &[f32], hidden: &mut Vec<f32>) {
        hidden.resize(x.len() / self.a.inputs() * self.a.outputs(), 0.0);
        matmul(isa, x, &self.a, hidden);
        hidden.iter_mut().for_each(|h| *h *= self.scale);
    }

    /// Adds to dx, `[R][K]`, the gradient of x from dy, that of the layer's outputs; returns scale * (A x) and
    /// the gradient of A x: `[R][rank]` each.
    pub fn backward(&self, isa: Isa, x: &[f32], dy: &[f32], dx: &mut [f32]) -> [Vec<f32>; 2] {
        let dy = self.own_columns(dy, x.len() / self.a.inputs());
        let mut hidden = Vec::new();
        self.hidden(isa, x, &mut hidden);
        let d_hidden = self.d_hidden(isa, &dy, &self.b.transposed());
        self.add_dx(isa, &d_hidden, &self.a.transposed(), dx);
        [hidden, d_hidden]
    }

    /// Returns A and B.
    pub fn matrices_mut(&mut self) -> [&mut PackedMatrix; 2] {
        [&mut self.a, &mut self.b]
    }

    /// Returns the adapter's part of `rows` rows of the layer's outputs: `[R][N]`.
    fn own_columns(&self, dy: &[f32], rows: usize) -> Vec<f32> {
        let width = (dy.len() / rows.max(1)).max(1);
        let own = self.first..self.first + self.outputs();
        dy.chunks_exact(width).flat_map(|dy| &dy[own.clone()]).copied().collect()
    }

    /// Returns the gradient of A x, `[R][rank]`, from that of the adapter's outputs, `[R][N]`.
    fn d_hidden(&self, isa: Isa, dy: &[f32], b_transposed: &PackedMatrix) -> Vec<f32> {
        let mut d = vec![0.0; dy.len() / self.outputs() * self.a.outputs()];
        matmul(isa, dy, b_transposed, &mut d);
        d.iter_mut().for_each(|d| *d *= self.scale);
        d
    }

    /// Adds the gradient of x from that of A x.
    fn add_dx(&self, isa: Isa, d_hidden: &[f32], a_transposed: &PackedMatrix, dx: &mut [f32]) {
        let mut added = vec![0.0; dx.len()];
        matmul(isa, d_hidden, a_transposed, &mut added);
        accumulate(dx, &added);
    }

    /// Returns rank, first output and scale.
    pub fn dims(&self) -> (usize, usize, f32) {
        (self.a.outputs(), self.first, self.scale)
    }

    /// Returns A, `[rank][K]`, and B, `[N][rank]`.
    pub fn values(&self) -> [Vec<f32>; 2] {
        [&self.a, &self.b].map(|matrix| {
            let mut values = vec![0.0; matrix.inputs() * matrix.outputs()];
            let rows = values.chunks_exact_mut(matrix.inputs()).enumerate();
            rows.for_each(|(i, row)| matrix.unpack_row(i, row));
            values
        })
    }

    fn outputs(&self) -> usize {
        self.b.outputs()
    }
}

/// An adapter whose gradients can be had.
pub struct LowRankLayer {
    /// Indices of A and B among the parameters.
    a: usize,
    b: usize,
    forward: LowRank,
    /// From the gradient of the hidden row to that of x.
    a_backward: PackedMatrix,
    /// From the gradient of the outputs to that of the hidden row.
    b_backward: PackedMatrix,
}

impl LowRankLayer {
    /// Packs the adapter of these parameters: A, `[rank][K]`, and B, `[N][rank]`.
    pub fn new(parameters: &[Parameter], [a, b]: [usize; 2], first: usize, scale: f32) -> Self {
        let (of_a, of_b) = (&parameters[a], &parameters[b]);
        let (rank, inputs, outputs) = (of_a.shape[0], of_a.shape[1], of_b.shape[0]);
        let row_of_a = |i: usize| &of_a.values[i * inputs..][..inputs];
        let row_of_b = |i: usize| &of_b.values[i * rank..][..rank];
        Self {
            a,
            b,
            forward: LowRank::pack(rank, first, scale, &of_a.values, &of_b.values),
            a_backward: PackedMatrix::pack_columns(rank, inputs, row_of_a),
            b_backward: PackedMatrix::pack_columns(outputs, rank, row_of_b),
        }
    }

    /// Packs the parameters' values anew, unless they are frozen.
    pub fn pack(&mut self, parameters: &[Parameter]) {
        if !parameters[self.a].is_frozen || !parameters[self.b].is_frozen {
            let LowRank { first, scale, .. } = self.forward;
            *self = Self::new(parameters, [self.a, self.b], first, scale);
        }
    }

    /// [`LowRank::add`].
    pub fn add(&self, isa: Isa, x: &[f32], y: &mut [f32], scratch: &mut LowRankScratch) {
        self.forward.add(isa, x, y, scratch);
    }

    /// Adds to dx, `[R][K]`, the gradient of x from `dy`, that of the layer's outputs, and adds those of
    /// A and B where they are not frozen.
    pub fn backward(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let a = &self.forward.a;
        let (rows, rank, outputs) = (x.len() / a.inputs(), a.outputs(), self.forward.outputs());
        let dy = self.forward.own_columns(dy, rows);
        if !gradients[self.b].is_empty() {
            let mut hidden = Vec::new();
            self.forward.hidden(isa, x, &mut hidden);
            let db = product_with(isa, &transposed(&dy, outputs), &hidden, rows);
            accumulate(&mut gradients[self.b], &db);
        }
        let d_hidden = self.forward.d_hidden(isa, &dy, &self.b_backward);
        if !gradients[self.a].is_empty() {
            let da = product_with(isa, &transposed(&d_hidden, rank), x, rows);
            accumulate(&mut gradients[self.a], &da);
        }
        self.forward.add_dx(isa, &d_hidden, &self.a_backward, dx);
    }
}
