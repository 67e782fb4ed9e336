//! GRU and LSTM networks with forward and backward passes: an embedding, layers of cells, an output
//! head (`docs/numerics.md`, sections 17 and 19). Tensors have PyTorch's names.
//!
//! A pass is of some streams that step together, from a state that is taken as given. Gradients are had
//! of those parameters that are not frozen.
//!
//! Legend: `T` steps, `B` streams, `E` width of the embedding, `H` of the state, `V` outputs. Rows are
//! `[T][B]`.

use super::linear::LinearLayer;
use super::loss::cross_entropy;
use super::matrix::{accumulate, gathered};
use super::parameter::{Gradients, Parameter};
use super::recurrence::{Cell, Recurrence, RecurrenceTrace, RecurrentState};
use crate::error::Result;
use crate::ops::Isa;
use std::fmt;

/// Dimensions of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentShape {
    /// Kind of cell.
    pub cell: Cell,
    /// Tokens.
    pub vocab_size: usize,
    /// Width of the embedding.
    pub embedding_size: usize,
    /// Width of the state.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
}

/// Part of a network that has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecurrentPart {
    /// Vectors of tokens.
    Embedding,
    /// From a layer's inputs to its gates.
    Input(usize),
    /// From a layer's last outputs to its gates.
    Hidden(usize),
    /// From the last layer's outputs to logits.
    Head,
}

/// A parameter of a network: one tensor of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentTensor {
    /// Part that it belongs to.
    pub part: RecurrentPart,
    /// Whether it is the part's bias; else its weights.
    pub is_bias: bool,
    /// Dimensions of the part's weights: `[outputs][inputs]`.
    pub matrix: [usize; 2],
}

impl RecurrentTensor {
    /// Returns its dimensions.
    pub fn shape(&self) -> &[usize] {
        if self.is_bias { &self.matrix[..1] } else { &self.matrix }
    }

    /// Returns whether it is the matrix of a hidden layer: not an embedding or a head.
    pub fn is_hidden(&self) -> bool {
        !self.is_bias && matches!(self.part, RecurrentPart::Input(_) | RecurrentPart::Hidden(_))
    }
}

impl fmt::Display for RecurrentTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_bias { "bias" } else { "weight" };
        match self.part {
            RecurrentPart::Embedding => write!(f, "embedding.{kind}"),
            RecurrentPart::Input(layer) => write!(f, "rnn.{kind}_ih_l{layer}"),
            RecurrentPart::Hidden(layer) => write!(f, "rnn.{kind}_hh_l{layer}"),
            RecurrentPart::Head => write!(f, "head.{kind}"),
        }
    }
}

impl RecurrentShape {
    fn matrix(&self, part: RecurrentPart) -> [usize; 2] {
        let (h, gates) = (self.hidden_size, self.cell.gates() * self.hidden_size);
        match part {
            RecurrentPart::Embedding => [self.vocab_size, self.embedding_size],
            RecurrentPart::Input(0) => [gates, self.embedding_size],
            RecurrentPart::Input(_) | RecurrentPart::Hidden(_) => [gates, h],
            RecurrentPart::Head => [self.vocab_size, h],
        }
    }
}

/// A recurrent network.
pub struct RecurrentNetwork {
    isa: Isa,
    shape: RecurrentShape,
    /// The embedding, four of each layer, the head and its bias.
    parameters: Vec<Parameter>,
    layers: Vec<RecurrentLayer>,
    head: LinearLayer,
}

/// A layer, packed.
struct RecurrentLayer {
    input: LinearLayer,
    recurrence: Recurrence,
}

impl RecurrentLayer {
    fn linears(&mut self) -> [&mut LinearLayer; 2] {
        [&mut self.input, &mut self.recurrence.hidden]
    }
}

/// Activations of a forward pass that the backward pass needs.
pub struct RecurrentTrace {
    /// B.
    streams: usize,
    /// Embeddings: `[T][B][E]`.
    embedded: Vec<f32>,
    layers: Vec<RecurrenceTrace>,
}

const EMBEDDING: usize = 0;

impl RecurrentNetwork {
    /// Creates a network whose parameters `make` gives, one after the other; its logits are those of
    /// the tokens `outputs`, in their order.
    pub fn new(
        isa: Isa,
        shape: RecurrentShape,
        outputs: &[u32],
        make: &mut dyn FnMut(&RecurrentTensor) -> Parameter,
    ) -> Self {
        let mut tensor =
            |part, is_bias| make(&RecurrentTensor { part, is_bias, matrix: shape.matrix(part) });
        let mut parameters = vec![tensor(RecurrentPart::Embedding, false)];
        for layer in 0..shape.layers {
            let parts = [RecurrentPart::Input(layer), RecurrentPart::Hidden(layer)];
            parameters.extend(parts.map(|part| tensor(part, false)));
            parameters.extend(parts.map(|part| tensor(part, true)));
        }
        parameters.extend([false, true].map(|is_bias| tensor(RecurrentPart::Head, is_bias)));
        let layer = |layer: usize| {
            let first = 1 + 4 * layer;
            let hidden = LinearLayer::new(&parameters, first + 1, Some(first + 3));
            RecurrentLayer {
                input: LinearLayer::new(&parameters, first, Some(first + 2)),
                recurrence: Recurrence { cell: shape.cell, width: shape.hidden_size, hidden },
            }
        };
        let mut layers: Vec<RecurrentLayer> = (0..shape.layers).map(layer).collect();
        let head = 1 + 4 * shape.layers;
        let head = LinearLayer::of_biased_rows(&parameters, head, head + 1, outputs.to_vec());
        for linear in layers.iter_mut().flat_map(RecurrentLayer::linears) {
            linear.release_frozen(&mut parameters);
        }
        Self { isa, shape, parameters, layers, head }
    }

    /// Returns its dimensions.
    pub fn shape(&self) -> &RecurrentShape {
        &self.shape
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Lets `change` modify the values of parameters that are not frozen.
    ///
    /// # Errors
    /// Errors of `change`.
    pub fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        change(&mut self.parameters)?;
        let Self { parameters, layers, head, .. } = self;
        let linears = layers.iter_mut().flat_map(RecurrentLayer::linears);
        linears.chain([head]).for_each(|linear| linear.pack(parameters));
        Ok(())
    }

    /// Returns the states of all layers where streams begin.
    pub fn states(&self, streams: usize) -> Vec<RecurrentState> {
        let RecurrentShape { cell, hidden_size, layers, .. } = self.shape;
        vec![RecurrentState::new(cell, streams, hidden_size); layers]
    }

    /// Runs over the tokens of all streams, `[T][B]`, from the states, which become those after them.
    pub fn forward(&self, tokens: &[u32], states: &mut [RecurrentState]) -> RecurrentTrace {
        let (table, e) = (&self.parameters[EMBEDDING].values, self.shape.embedding_size);
        let embedded = gathered(table, e, tokens.iter().map(|&id| id as usize * e));
        let streams = states[0].h.len() / self.shape.hidden_size;
        let mut trace = RecurrentTrace { streams, embedded, layers: Vec::new() };
        for (i, (layer, state)) in self.layers.iter().zip(states).enumerate() {
            let gates = layer.input.forward(self.isa, self.inputs(&trace, i));
            trace.layers.push(layer.recurrence.forward(self.isa, gates, state));
        }
        trace
    }

    /// Returns a layer's inputs; those of the layer after the last are the head's.
    fn inputs<'a>(&self, trace: &'a RecurrentTrace, layer: usize) -> &'a [f32] {
        match layer.checked_sub(1) {
            None => &trace.embedded,
            Some(below) => trace.layers[below].outputs(trace.streams, self.shape.hidden_size),
        }
    }

    /// Returns the logits of all rows: `[T][B][V]`.
    pub fn logits(&self, trace: &RecurrentTrace) -> Vec<f32> {
        self.head.forward(self.isa, self.inputs(trace, self.layers.len()))
    }

    /// Adds the gradients of the parameters, from those of the logits of a pass over `tokens`.
    pub fn backward(
        &self,
        tokens: &[u32],
        trace: &RecurrentTrace,
        d_logits: &[f32],
        gradients: &mut Gradients,
    ) {
        let (isa, top) = (self.isa, self.inputs(trace, self.layers.len()));
        let mut grad = self.head.backward(isa, top, d_logits, gradients);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let of_layer = &trace.layers[i];
            let gates = layer.recurrence.backward(isa, of_layer, trace.streams, &grad, gradients);
            grad = layer.input.backward(isa, self.inputs(trace, i), &gates, gradients);
        }
        let e = self.shape.embedding_size;
        if !gradients[EMBEDDING].is_empty() {
            for (&id, grad) in tokens.iter().zip(grad.chunks_exact(e)) {
                accumulate(&mut gradients[EMBEDDING][id as usize * e..][..e], grad);
            }
        }
    }

    /// Returns the cost in nats of the targets, places among the outputs, that follow tokens, and adds
    /// the gradients of the parameters. The states become those after the tokens.
    pub fn token_cost(
        &self,
        tokens: &[u32],
        targets: &[u32],
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> f64 {
        let trace = self.forward(tokens, states);
        let mut logits = self.logits(&trace);
        let nats = cross_entropy(self.isa, &mut logits, targets);
        if let Some(gradients) = gradients {
            self.backward(tokens, &trace, &logits, gradients);
        }
        nats
    }
}
