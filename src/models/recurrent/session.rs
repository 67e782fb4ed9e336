//! The forward pass of a [`Recurrent`] network, for some lanes, by `docs/numerics.md`, section 17.
//!
//! Layer by layer over all rows of a call. The gate inputs from a layer's inputs are one product;
//! those from its own last outputs are one for each step: of all lanes, a row each.

use super::{Recurrent, RecurrentLayer};
use crate::models::{Network, Row, Session, Transformer};
use crate::nn::recurrence::RecurrentState;
use crate::ops::QuantRows;
use crate::profile::{Part, enter};

impl Network for Recurrent {
    fn outputs(&self) -> usize {
        self.head.outputs()
    }

    fn window(&self) -> usize {
        usize::MAX
    }

    fn as_transformer(&self) -> Option<&Transformer> {
        None
    }

    fn as_recurrent(&self) -> Option<&Recurrent> {
        Some(self)
    }

    fn session(&self, lanes: usize, _steps: usize, _window: usize) -> Box<dyn Session + '_> {
        Box::new(RecurrentSession::new(self, lanes))
    }
}

/// Lanes of a [`Recurrent`] network, with their state.
pub struct RecurrentSession<'a> {
    network: &'a Recurrent,
    lanes: usize,
    /// One for each layer.
    states: Vec<RecurrentState>,
    work: GateWorkspace,
}

/// Buffers of a forward pass, kept between calls so that a step allocates nothing.
#[derive(Default)]
struct GateWorkspace {
    /// The rows of a call by step: rows of one step are of different lanes.
    steps: Vec<Vec<usize>>,
    /// By lane: its rows so far.
    taken: Vec<usize>,
    /// A layer's inputs, then its outputs: `[R][E or H]`
    x: Vec<f32>,
    /// Gate inputs from x: `[R][G]`
    gates: Vec<f32>,
    /// Last outputs of a step's lanes: `[rows of the step][H]`
    last: Vec<f32>,
    /// Gate inputs from the last outputs: `[rows of the step][G]`
    last_gates: Vec<f32>,
    /// Quantized inputs of an int8 layer.
    quantized: QuantRows,
}

impl<'a> RecurrentSession<'a> {
    /// Starts `lanes` lanes with zero state.
    pub(super) fn new(network: &'a Recurrent, lanes: usize) -> Self {
        let state = RecurrentState::new(network.config.cell, lanes, network.config.hidden_size);
        let states = vec![state; network.layers.len()];
        Self { network, lanes, states, work: GateWorkspace::default() }
    }
}

impl Session for RecurrentSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        let _model = enter(Part::Model);
        let Self { network, lanes, states, work } = self;
        work.arrange(rows, *lanes);
        for (i, (layer, state)) in network.layers.iter().zip(states).enumerate() {
            match &network.table {
                Some(table) if i == 0 => work.look_up(network, table, rows),
                _ => work.project(network, layer, (i == 0).then_some(rows)),
            }
            work.run(network, layer, state, rows);
        }
        if !logits.is_empty() {
            let _head = enter(Part::Head);
            network.head.apply(network.isa, &work.x, logits, &mut work.quantized);
        }
    }

    fn steer(&mut self, _vectors: &[f32]) {
        panic!("a recurrent network takes no steering vectors");
    }

    fn copy_lane(&mut self, from: usize, to: usize, _fed: usize) {
        let width = self.network.config.hidden_size;
        for values in self.states.iter_mut().flat_map(|state| [&mut state.h, &mut state.c]) {
            if !values.is_empty() {
                values.copy_within(from * width..(from + 1) * width, to * width);
            }
        }
    }
}

impl GateWorkspace {
    /// Spreads rows over steps.
    fn arrange(&mut self, rows: &[Row], lanes: usize) {
        self.steps.iter_mut().for_each(Vec::clear);
        self.taken.clear();
        self.taken.resize(lanes, 0);
        for (index, row) in rows.iter().enumerate() {
            let step = &mut self.taken[row.lane as usize];
            if *step == self.steps.len() {
                self.steps.push(Vec::new());
            }
            self.steps[*step].push(index);
            *step += 1;
        }
    }

    /// gates := the first layer's gate inputs of the rows' tokens.
    fn look_up(&mut self, network: &Recurrent, table: &[f32], rows: &[Row]) {
        let g = network.config.gates();
        self.gates.resize(rows.len() * g, 0.0);
        for (gates, row) in self.gates.chunks_exact_mut(g).zip(rows) {
            gates.copy_from_slice(&table[row.token as usize * g..][..g]);
        }
    }

    /// gates := a layer's gate inputs from x, which in the first layer are the embeddings of rows.
    fn project(&mut self, network: &Recurrent, layer: &RecurrentLayer, first: Option<&[Row]>) {
        if let Some(rows) = first {
            let e = network.config.embedding_size;
            self.x.clear();
            let embedding = |row: &Row| &network.embedding[row.token as usize * e..][..e];
            rows.iter().for_each(|row| self.x.extend_from_slice(embedding(row)));
            self.gates.resize(rows.len() * network.config.gates(), 0.0);
        }
        layer.input.apply(network.isa, &self.x, &mut self.gates, &mut self.quantized);
    }

    /// x := a layer's outputs, step by step.
    fn run(
        &mut self,
        network: &Recurrent,
        layer: &RecurrentLayer,
        state: &mut RecurrentState,
        rows: &[Row],
    ) {
        let _state = enter(Part::State);
        let (isa, h, g) = (network.isa, network.config.hidden_size, network.config.gates());
        self.x.resize(rows.len() * h, 0.0);
        for step in self.steps.iter().take_while(|step| !step.is_empty()) {
            self.last.resize(step.len() * h, 0.0);
            self.last_gates.resize(step.len() * g, 0.0);
            for (last, &row) in self.last.chunks_exact_mut(h).zip(step) {
                last.copy_from_slice(&state.h[rows[row].lane as usize * h..][..h]);
            }
            layer.hidden.apply(isa, &self.last, &mut self.last_gates, &mut self.quantized);
            for (last_gates, &row) in self.last_gates.chunks_exact(g).zip(step) {
                let at = rows[row].lane as usize * h;
                let (out, c) = (&mut state.h[at..at + h], state.c.get_mut(at..at + h));
                let gates = &mut self.gates[row * g..][..g];
                network.config.cell.step(isa, gates, last_gates, out, c.unwrap_or_default());
                self.x[row * h..][..h].copy_from_slice(out);
            }
        }
    }
}
