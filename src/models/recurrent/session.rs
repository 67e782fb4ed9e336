//! The forward pass of a [`Recurrent`] network, for some lanes, by `docs/numerics.md`, section 17.
//!
//! Layer by layer over all rows of a call. The gate inputs from a layer's inputs are one product;
//! those from its own last outputs are one for each step: of all lanes, a row each.

use super::{Recurrent, RecurrentLayer};
use crate::models::linear::QuantInputs;
use crate::models::recording::{Recording, Stage};
use crate::models::{Network, Row, Session, Transformer};
use crate::nn::recurrence::{Cell, RecurrentState};
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

/// Lanes of a [`Recurrent`] network whose weights stay as they are.
pub struct RecurrentSession<'a> {
    network: &'a Recurrent,
    lanes: RecurrentLanes,
}

/// State of the lanes of a [`Recurrent`] network.
pub struct RecurrentLanes {
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
    /// Quantized inputs of layers in integers.
    quantized: QuantInputs,
    /// Results of rows with a prediction; nothing unless the network learns.
    recording: Recording,
    steps_kept: KeptSteps,
}

/// Results of the steps of a layer, where it learns: `[R][H]` each.
#[derive(Default)]
struct KeptSteps {
    last: Vec<f32>,
    new_y: Vec<f32>,
    last_c: Vec<f32>,
    c: Vec<f32>,
}

impl KeptSteps {
    fn resize(&mut self, cell: Cell, len: usize) {
        self.last.resize(len, 0.0);
        match cell {
            Cell::Gru => self.new_y.resize(len, 0.0),
            Cell::Lstm => {
                [&mut self.last_c, &mut self.c].into_iter().for_each(|c| c.resize(len, 0.0))
            }
        }
    }

    /// Keeps a row's state before its step, and what that makes of the gates.
    fn before(&mut self, row: usize, h: &[f32], c: &[f32], y: &[f32]) {
        let n = h.len();
        self.last[row * n..][..n].copy_from_slice(h);
        match c.is_empty() {
            true => self.new_y[row * n..][..n].copy_from_slice(&y[2 * n..]),
            false => self.last_c[row * n..][..n].copy_from_slice(c),
        }
    }

    /// Keeps a row's cells after its step.
    fn after(&mut self, row: usize, c: &[f32]) {
        if !c.is_empty() {
            self.c[row * c.len()..][..c.len()].copy_from_slice(c);
        }
    }
}

impl<'a> RecurrentSession<'a> {
    /// Starts `lanes` lanes with zero state.
    pub(super) fn new(network: &'a Recurrent, lanes: usize) -> Self {
        Self { network, lanes: RecurrentLanes::new(network, lanes) }
    }
}

impl Session for RecurrentSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        self.lanes.forward(self.network, rows, logits);
    }

    fn steer(&mut self, _vectors: &[f32]) {
        panic!("a recurrent network takes no steering vectors");
    }

    fn copy_lane(&mut self, from: usize, to: usize, _fed: usize) {
        self.lanes.copy_lane(from, to);
    }
}

impl RecurrentLanes {
    /// Starts `lanes` lanes with zero state.
    pub fn new(network: &Recurrent, lanes: usize) -> Self {
        let state = RecurrentState::new(network.config.cell, lanes, network.config.hidden_size);
        let states = vec![state; network.layers.len()];
        Self { lanes, states, work: GateWorkspace::default() }
    }

    /// Returns what is kept of rows with a prediction.
    pub fn recording(&mut self) -> &mut Recording {
        &mut self.work.recording
    }

    /// [`Session::forward`] by the weights of `network`.
    pub fn forward(&mut self, network: &Recurrent, rows: &[Row], logits: &mut [f32]) {
        let _model = enter(Part::Model);
        let Self { lanes, states, work } = self;
        work.arrange(rows, *lanes);
        work.recording.begin(if logits.is_empty() { &[] } else { rows });
        for (i, (layer, state)) in network.layers.iter().zip(states).enumerate() {
            work.recording.enter(i);
            match &network.table {
                Some(table) if i == 0 => work.look_up(network, table, rows),
                _ => work.project(network, layer, (i == 0).then_some(rows)),
            }
            work.run(network, layer, state, rows);
        }
        if !logits.is_empty() {
            work.recording.keep_last(&[], &work.x);
            let _head = enter(Part::Head);
            network.head.apply(network.isa, &work.x, logits, &mut work.quantized);
        }
    }

    /// [`Session::copy_lane`].
    pub fn copy_lane(&mut self, from: usize, to: usize) {
        for values in self.states.iter_mut().flat_map(|state| [&mut state.h, &mut state.c]) {
            let width = values.len() / self.lanes;
            values.copy_within(from * width..(from + 1) * width, to * width);
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
        self.recording.keep(Stage::X, &self.x);
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
        let cell = network.config.cell;
        self.x.resize(rows.len() * h, 0.0);
        let keeps = self.recording.keeps_layers();
        if keeps {
            self.steps_kept.resize(cell, rows.len() * h);
        }
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
                let c = c.unwrap_or_default();
                let gates = &mut self.gates[row * g..][..g];
                if keeps {
                    self.steps_kept.before(row, out, c, last_gates);
                }
                cell.step(isa, gates, last_gates, out, c);
                if keeps {
                    self.steps_kept.after(row, c);
                }
                self.x[row * h..][..h].copy_from_slice(out);
            }
        }
        if keeps {
            self.keep_steps();
        }
    }

    fn keep_steps(&mut self) {
        let KeptSteps { last, new_y, last_c, c } = &self.steps_kept;
        let kept = [
            (Stage::Last, last),
            (Stage::Gates, &self.gates),
            (Stage::NewY, new_y),
            (Stage::LastC, last_c),
            (Stage::C, c),
        ];
        kept.into_iter().for_each(|(stage, x)| self.recording.keep(stage, x));
    }
}
