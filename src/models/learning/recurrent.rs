//! Recurrent networks that learn, and their backward pass over what some lanes recorded: truncated
//! backpropagation through time, in which the state before a lane's first row is a constant.
//!
//! Legend: `R` rows, lane by lane; `H` width of the state, `G` gates times `H`.

use super::LearningKind;
use super::matrix::product;
use crate::models::Recurrent;
use crate::models::linear::Linear;
use crate::models::recording::{Recording, Stage};
use crate::models::recurrent::RecurrentLayer;
use crate::nn::matrix::{accumulate, gathered};
use crate::nn::recurrence::{Cell, gru_backward, lstm_backward};
use crate::ops::PackedMatrix;
use std::sync::Arc;

impl Recurrent {
    /// Returns the same network with a head in floats, and layers, too, where they learn.
    pub(super) fn learning(&self, kind: LearningKind) -> Self {
        let mut network = self.clone();
        network.head = Arc::new(self.head.to_floats());
        if kind == LearningKind::All {
            let layers = network.layers.iter().map(RecurrentLayer::to_floats);
            network.layers = Arc::new(layers.collect());
            network.table = None;
        }
        network
    }

    /// Returns where the inputs of all layers' linear layers are recorded, in their order.
    pub(super) fn layer_inputs(&self) -> impl Iterator<Item = (usize, Stage)> {
        (0..self.layers.len()).flat_map(|index| [Stage::X, Stage::Last].map(|s| (index, s)))
    }

    /// Returns all layers' linear layers in their order, the head last.
    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let layers = self.layers.iter().flat_map(|layer| [&layer.input, &layer.hidden]);
        layers.chain([&*self.head])
    }

    /// Returns the matrices that learn, which are the network's own.
    pub(super) fn learning_matrices(&mut self, kind: LearningKind) -> Vec<&mut PackedMatrix> {
        let mut linears = Vec::new();
        if kind == LearningKind::All {
            let layers = Arc::get_mut(&mut self.layers).expect("no one else has them");
            linears
                .extend(layers.iter_mut().flat_map(|layer| [&mut layer.input, &mut layer.hidden]));
        }
        linears.push(Arc::get_mut(&mut self.head).expect("no one else has it"));
        linears.into_iter().map(Linear::floats_mut).collect()
    }

    /// Returns the numbers in the matrices that learn, and those that are kept of a row.
    pub(super) fn learning_sizes(&self, kind: LearningKind) -> (usize, usize) {
        let config = &self.config;
        let (h, g, v) = (config.hidden_size, config.gates(), self.head.outputs());
        match kind {
            LearningKind::Head => (h * v, h + v),
            LearningKind::All | LearningKind::Adapter => {
                let layers = 0..config.layers;
                let of_layer = |layer| g * (config.inputs(layer) + h);
                let kept = |layer| config.inputs(layer) + 4 * h + 3 * g;
                let matrices: usize = layers.clone().map(of_layer).sum();
                (matrices + h * v, h + v + layers.map(kept).sum::<usize>())
            }
        }
    }
}

/// Returns the gradients of the outputs of the linear layers of all layers, in their order: `[R][G]`
/// each. The recording has gradients of logits in place of outputs.
pub fn backward(
    network: &Recurrent,
    transposed: &[PackedMatrix],
    recording: &Recording,
) -> Vec<Vec<f32>> {
    let isa = network.isa();
    let (head, layers) = transposed.split_last().expect("the head learns");
    let mut grad = product(isa, recording.outputs(), head);
    let mut gradients = Vec::with_capacity(layers.len());
    for (index, matrices) in layers.chunks_exact(2).enumerate().rev() {
        let [dx, dy] = through_time(network, index, &matrices[1], recording, &grad);
        if index > 0 {
            grad = product(isa, &dx, &matrices[0]);
        }
        gradients.extend([dy, dx]);
    }
    gradients.reverse();
    gradients
}

/// Returns the gradients of both linear layers' outputs, `[R][G]`, of a layer from that of its outputs,
/// `[R][H]`, over all lanes step by step from the last.
fn through_time(
    network: &Recurrent,
    layer: usize,
    to_last: &PackedMatrix,
    recording: &Recording,
    grad: &[f32],
) -> [Vec<f32>; 2] {
    let (isa, cell, h) = (network.isa(), network.config.cell, network.config.hidden_size);
    let g = network.config.gates();
    let row = |stage: Stage, row: usize, width: usize| {
        &recording.of(layer, stage)[row * width..][..width]
    };
    let kept = recording.kept();
    let firsts: Vec<usize> =
        kept.iter().scan(0, |end, rows| Some(std::mem::replace(end, *end + rows))).collect();
    let rows = grad.len() / h;
    let mut dx = vec![0.0; rows * g];
    let mut dy = if cell == Cell::Gru { dx.clone() } else { Vec::new() };
    // By lane: gradients of the state after the step at hand, then before it.
    let (mut d_h, mut d_c) = (vec![0.0; kept.len() * h], vec![0.0; kept.len() * h]);
    for step in (0..kept.iter().copied().max().unwrap_or(0)).rev() {
        let lanes: Vec<usize> = (0..kept.len()).filter(|&lane| kept[lane] > step).collect();
        for &lane in &lanes {
            let (at, state) = (firsts[lane] + step, lane * h..(lane + 1) * h);
            let d_h = &mut d_h[state.clone()];
            accumulate(d_h, &grad[at * h..][..h]);
            let gates = row(Stage::Gates, at, g);
            let dx = &mut dx[at * g..][..g];
            match cell {
                Cell::Gru => {
                    let dy = &mut dy[at * g..][..g];
                    gru_backward(
                        gates,
                        row(Stage::Last, at, h),
                        row(Stage::NewY, at, h),
                        d_h,
                        dx,
                        dy,
                    );
                }
                Cell::Lstm => {
                    let c = (row(Stage::LastC, at, h), row(Stage::C, at, h));
                    lstm_backward(isa, gates, c, d_h, &mut d_c[state], dx);
                }
            }
        }
        let of_last = if cell == Cell::Gru { &dy } else { &dx };
        let of_step = gathered(of_last, g, lanes.iter().map(|&lane| (firsts[lane] + step) * g));
        let through = product(isa, &of_step, to_last);
        for (&lane, through) in lanes.iter().zip(through.chunks_exact(h)) {
            accumulate(&mut d_h[lane * h..][..h], through);
        }
    }
    if dy.is_empty() {
        dy.clone_from(&dx);
    }
    [dx, dy]
}
