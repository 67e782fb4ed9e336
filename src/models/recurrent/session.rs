//! The forward pass of a [`Recurrent`] network, for some lanes, by `docs/numerics.md`, section 17.
//!
//! Layer by layer over all rows of a call. The gate inputs from a layer's inputs are one product;
//! those from its own last outputs are one for each step: of all lanes, a row each.

use super::{Cell, Recurrent, RecurrentInput, RecurrentLayer};
use crate::models::{Network, Row, Session, Transformer};
use crate::ops::{QuantRows, gru_cell, lstm_cell};
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

    fn session(&self, lanes: usize, _steps: usize, _window: usize) -> Box<dyn Session + '_> {
        Box::new(RecurrentSession::new(self, lanes))
    }
}

/// Lanes of a [`Recurrent`] network, with their state.
pub struct RecurrentSession<'a> {
    network: &'a Recurrent,
    lanes: usize,
    /// One for each layer.
    states: Vec<LaneState>,
    work: GateWorkspace,
}

/// State of a layer.
#[derive(Clone)]
struct LaneState {
    /// Last outputs: `[lanes][H]`
    h: Vec<f32>,
    /// Cells of an LSTM: `[lanes][H]`
    c: Vec<f32>,
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
        let zeros = vec![0.0; lanes * network.config.hidden_size];
        let c = if network.config.cell == Cell::Lstm { zeros.clone() } else { Vec::new() };
        let states = vec![LaneState { h: zeros, c }; network.layers.len()];
        Self { network, lanes, states, work: GateWorkspace::default() }
    }
}

impl Session for RecurrentSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        let _model = enter(Part::Model);
        let Self { network, lanes, states, work } = self;
        work.arrange(rows, *lanes);
        work.embed(network, rows);
        for (layer, state) in network.layers.iter().zip(states) {
            work.project(network, layer);
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
    fn embed(&mut self, network: &Recurrent, rows: &[Row]) {
        let g = network.config.gates();
        self.gates.resize(rows.len() * g, 0.0);
        match &network.input {
            RecurrentInput::Table(table) => {
                for (gates, row) in self.gates.chunks_exact_mut(g).zip(rows) {
                    gates.copy_from_slice(&table[row.token as usize * g..][..g]);
                }
            }
            RecurrentInput::Embedding(table, linear) => {
                let e = network.config.embedding_size;
                self.x.resize(rows.len() * e, 0.0);
                for (x, row) in self.x.chunks_exact_mut(e).zip(rows) {
                    x.copy_from_slice(&table[row.token as usize * e..][..e]);
                }
                linear.apply(network.isa, &self.x, &mut self.gates, &mut self.quantized);
            }
        }
        self.x.resize(rows.len() * network.config.hidden_size, 0.0);
    }

    /// gates := a layer's gate inputs from x, except for the first layer.
    fn project(&mut self, network: &Recurrent, layer: &RecurrentLayer) {
        if let Some(linear) = &layer.input {
            linear.apply(network.isa, &self.x, &mut self.gates, &mut self.quantized);
        }
    }

    /// x := a layer's outputs, step by step.
    fn run(
        &mut self,
        network: &Recurrent,
        layer: &RecurrentLayer,
        state: &mut LaneState,
        rows: &[Row],
    ) {
        let _state = enter(Part::State);
        let (isa, h, g) = (network.isa, network.config.hidden_size, network.config.gates());
        for step in self.steps.iter().take_while(|step| !step.is_empty()) {
            self.last.resize(step.len() * h, 0.0);
            self.last_gates.resize(step.len() * g, 0.0);
            for (last, &row) in self.last.chunks_exact_mut(h).zip(step) {
                last.copy_from_slice(&state.h[rows[row].lane as usize * h..][..h]);
            }
            layer.hidden.apply(isa, &self.last, &mut self.last_gates, &mut self.quantized);
            for (last_gates, &row) in self.last_gates.chunks_exact(g).zip(step) {
                let gates = &self.gates[row * g..][..g];
                let at = rows[row].lane as usize * h;
                let out = &mut state.h[at..][..h];
                match network.config.cell {
                    Cell::Gru => gru_cell(isa, gates, last_gates, out),
                    Cell::Lstm => lstm_cell(isa, gates, last_gates, out, &mut state.c[at..][..h]),
                }
                self.x[row * h..][..h].copy_from_slice(out);
            }
        }
    }
}
