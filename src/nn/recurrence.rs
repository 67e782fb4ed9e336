//! Layers of recurrent cells, step by step, with truncated backpropagation through time (Williams
//! and Peng, 1990): the state that a pass starts with is taken as given.
//!
//! Legend: `T` steps, `B` streams, `H` width, `G` gates times `H`. Rows are `[T][B]`. The formulas
//! are those of `docs/numerics.md`, section 17, with x and y as there.

use super::linear::LinearLayer;
use super::parameter::Gradients;
use crate::ops::{Isa, gru_cell, lstm_cell, tanh};

/// The recurrent cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Gated recurrent unit (Cho et al., 2014).
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997).
    Lstm,
}

impl Cell {
    /// Gates, each as wide as the state.
    pub fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// Vectors of state of a layer: outputs, and an LSTM's cells.
    pub fn states(self) -> usize {
        match self {
            Self::Gru => 1,
            Self::Lstm => 2,
        }
    }

    /// Computes a step of one row. x, y: `[G]`, what the input and the last h make of the gates; x
    /// becomes the gates' values; h, c: `[H]`, overwritten; c is empty for a GRU.
    pub fn step(self, isa: Isa, x: &mut [f32], y: &[f32], h: &mut [f32], c: &mut [f32]) {
        match self {
            Self::Gru => gru_cell(isa, x, y, h),
            Self::Lstm => lstm_cell(isa, x, y, h, c),
        }
    }
}

/// Recurrent part of a layer: y = hidden(h), then the cell.
pub struct Recurrence {
    /// Kind of cell.
    pub cell: Cell,
    /// Width of its state.
    pub width: usize,
    /// Layer from the last outputs to the gates.
    pub hidden: LinearLayer,
}

/// Recurrent state of a layer between passes: `[B][H]` each.
#[derive(Debug, Clone, Default)]
pub struct RecurrentState {
    /// Last outputs.
    pub h: Vec<f32>,
    /// Cells of an LSTM; empty for a GRU.
    pub c: Vec<f32>,
}

impl RecurrentState {
    /// Creates the zero state.
    pub fn new(cell: Cell, streams: usize, width: usize) -> Self {
        let h = vec![0.0; streams * width];
        Self { c: if cell == Cell::Lstm { h.clone() } else { Vec::new() }, h }
    }
}

/// Activations of the forward pass that the backward pass needs.
pub struct RecurrenceTrace {
    /// h before each step, and after the last: `[T + 1][B][H]`
    h: Vec<f32>,
    /// c likewise, of an LSTM.
    c: Vec<f32>,
    /// Values of the gates: `[T][B][G]`
    gates: Vec<f32>,
    /// y of a GRU's gate *new*: `[T][B][H]`
    new_y: Vec<f32>,
}

impl RecurrenceTrace {
    /// Returns the outputs: `[T][B][H]`.
    pub fn outputs(&self, streams: usize, width: usize) -> &[f32] {
        &self.h[streams * width..]
    }
}

impl Recurrence {
    /// Runs from `state`, which becomes that after the last step. x: `[T][B][G]`
    pub fn forward(&self, isa: Isa, x: Vec<f32>, state: &mut RecurrentState) -> RecurrenceTrace {
        let (h, g) = (self.width, self.cell.gates() * self.width);
        let (b, t) = (state.h.len() / h, x.len() * h / g / state.h.len());
        let RecurrentState { h: first, c } = state.clone();
        let mut trace = RecurrenceTrace { h: first, c, gates: x, new_y: Vec::new() };
        let mut y = vec![0.0; b * g];
        for step in 0..t {
            self.hidden.forward_into(isa, &trace.h[step * b * h..], &mut y);
            if self.cell == Cell::Gru {
                y.chunks_exact(g).for_each(|y| trace.new_y.extend_from_slice(&y[2 * h..]));
            }
            trace.h.extend_from_within(step * b * h..);
            if self.cell == Cell::Lstm {
                trace.c.extend_from_within(step * b * h..);
            }
            let rows = trace.gates[step * b * g..][..b * g].chunks_exact_mut(g).zip(y.chunks(g));
            for ((x, y), at) in rows.zip(((step + 1) * b * h..).step_by(h)) {
                let c = trace.c.get_mut(at..at + h).unwrap_or_default();
                self.cell.step(isa, x, y, &mut trace.h[at..at + h], c);
            }
        }
        state.h.copy_from_slice(&trace.h[t * b * h..]);
        if self.cell == Cell::Lstm {
            state.c.copy_from_slice(&trace.c[t * b * h..]);
        }
        trace
    }

    /// Returns the gradient of x, from that of the outputs. dh: `[T][B][H]`; returns `[T][B][G]`.
    pub fn backward(
        &self,
        isa: Isa,
        trace: &RecurrenceTrace,
        streams: usize,
        dh: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let (b, h, g) = (streams, self.width, self.cell.gates() * self.width);
        let t = dh.len() / (b * h);
        let mut dx = vec![0.0; t * b * g];
        // The gradient of y, where it is not that of x.
        let mut dy = if self.cell == Cell::Gru { dx.clone() } else { Vec::new() };
        // Gradients of the state before the step at hand, and of that through y.
        let (mut last_h, mut last_c) = (vec![0.0; b * h], vec![0.0; b * h]);
        let mut through = vec![0.0; b * h];
        for step in (0..t).rev() {
            for row in 0..b {
                let (at, state) = (step * b + row, row * h..(row + 1) * h);
                let grad = &mut last_h[state.clone()];
                super::matrix::accumulate(grad, &dh[at * h..][..h]);
                let (gates, dx) = (&trace.gates[at * g..][..g], &mut dx[at * g..][..g]);
                match self.cell {
                    Cell::Gru => {
                        let (last, y) = (&trace.h[at * h..][..h], &trace.new_y[at * h..][..h]);
                        gru_backward(gates, last, y, grad, dx, &mut dy[at * g..][..g]);
                    }
                    Cell::Lstm => {
                        let c = (&trace.c[at * h..][..h], &trace.c[(at + b) * h..][..h]);
                        lstm_backward(isa, gates, c, grad, &mut last_c[state], dx);
                    }
                }
            }
            let dy = if self.cell == Cell::Gru { &dy } else { &dx };
            self.hidden.backward_into(isa, &dy[step * b * g..][..b * g], &mut through);
            super::matrix::accumulate(&mut last_h, &through);
        }
        let dy = if self.cell == Cell::Gru { &dy } else { &dx };
        self.hidden.learn(isa, &trace.h[..t * b * h], dy, gradients);
        dx
    }
}

/// Computes the gradients of a GRU step. grad: `[H]`, that of h after the step, becomes that of h
/// before it, except its part through y.
pub fn gru_backward(
    gates: &[f32],
    last: &[f32],
    new_y: &[f32],
    grad: &mut [f32],
    dx: &mut [f32],
    dy: &mut [f32],
) {
    let n = last.len();
    let (r, z, new) = (&gates[..n], &gates[n..2 * n], &gates[2 * n..3 * n]);
    for i in 0..n {
        let d_new = grad[i] * (1.0 - z[i]) * (1.0 - new[i] * new[i]);
        let d_z = grad[i] * (last[i] - new[i]) * z[i] * (1.0 - z[i]);
        let d_r = d_new * new_y[i] * r[i] * (1.0 - r[i]);
        (dx[i], dx[n + i], dx[2 * n + i]) = (d_r, d_z, d_new);
        (dy[i], dy[n + i], dy[2 * n + i]) = (d_r, d_z, d_new * r[i]);
        grad[i] *= z[i];
    }
}

/// Computes the gradients of an LSTM step. grad_h becomes zero, its part through y comes later;
/// grad_c: `[H]`, that of c after the step, becomes that before it. c: before and after the step.
pub fn lstm_backward(
    isa: Isa,
    gates: &[f32],
    (last, c): (&[f32], &[f32]),
    grad_h: &mut [f32],
    grad_c: &mut [f32],
    dx: &mut [f32],
) {
    let n = last.len();
    let (i, f) = (&gates[..n], &gates[n..2 * n]);
    let (g, o) = (&gates[2 * n..3 * n], &gates[3 * n..4 * n]);
    let out = &mut dx[3 * n..];
    out.copy_from_slice(c);
    tanh(isa, out);
    for k in 0..n {
        let shown = dx[3 * n + k];
        let d_c = grad_c[k] + grad_h[k] * o[k] * (1.0 - shown * shown);
        dx[3 * n + k] = grad_h[k] * shown * o[k] * (1.0 - o[k]);
        dx[k] = d_c * g[k] * i[k] * (1.0 - i[k]);
        dx[n + k] = d_c * last[k] * f[k] * (1.0 - f[k]);
        dx[2 * n + k] = d_c * i[k] * (1.0 - g[k] * g[k]);
        grad_c[k] = d_c * f[k];
        grad_h[k] = 0.0;
    }
}
