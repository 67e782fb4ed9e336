//! Networks that can learn, of either kind, and their lanes.

use super::LearningKind;
use super::gradients::{LayerGradients, LinearInput};
use crate::models::linear::Linear;
use crate::models::recording::Recording;
use crate::models::recurrent::RecurrentLanes;
use crate::models::session::TransformerLanes;
use crate::models::{Network, Recurrent, Row, Transformer};
use crate::ops::{Bf16, Isa, PackedMatrix};
use rayon::prelude::*;

/// A network, what learns of which is its own and in floats.
pub enum LearningNetwork {
    Transformer(Transformer),
    Recurrent(Recurrent),
}

/// Lanes of a [`LearningNetwork`].
pub enum LearningLanes {
    Transformer(TransformerLanes<Bf16>),
    Recurrent(RecurrentLanes),
}

/// A network of either kind.
enum Kind<'a> {
    Transformer(&'a Transformer),
    Recurrent(&'a Recurrent),
}

fn kind(network: &dyn Network) -> Kind<'_> {
    match (network.as_transformer(), network.as_recurrent()) {
        (Some(network), _) => Kind::Transformer(network),
        (_, Some(network)) => Kind::Recurrent(network),
        _ => unreachable!("a network is a transformer or recurrent"),
    }
}

impl LearningNetwork {
    /// Creates one with the weights of `network`.
    pub fn new(network: &dyn Network, learns: LearningKind) -> Self {
        match kind(network) {
            Kind::Transformer(network) => Self::Transformer(network.learning(learns)),
            Kind::Recurrent(network) => Self::Recurrent(network.learning(learns)),
        }
    }

    /// Returns the numbers in the matrices of `network` that would learn, and those kept of a row; about.
    pub fn sizes(network: &dyn Network, learns: LearningKind) -> (u64, u64) {
        let (matrices, row) = match kind(network) {
            Kind::Transformer(network) => network.learning_sizes(learns),
            Kind::Recurrent(network) => network.learning_sizes(learns),
        };
        (matrices as u64, row as u64)
    }

    /// Returns the instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        match self {
            Self::Transformer(network) => network.isa,
            Self::Recurrent(network) => network.isa(),
        }
    }

    /// Returns its layers.
    pub fn layers(&self) -> usize {
        match self {
            Self::Transformer(network) => network.layers.len(),
            Self::Recurrent(network) => network.layers(),
        }
    }

    /// Returns where the inputs of all matrices that learn are, in their order.
    pub fn inputs(&self, learns: LearningKind) -> Vec<LinearInput> {
        let mut inputs = match learns {
            LearningKind::Head => Vec::new(),
            LearningKind::Adapter => self.transformer().adapter_inputs().collect(),
            LearningKind::All => self.layer_inputs(),
        };
        inputs.push(LinearInput::Head);
        inputs
    }

    fn transformer(&self) -> &Transformer {
        match self {
            Self::Transformer(network) => network,
            Self::Recurrent(_) => unreachable!("{NO_ADAPTERS}"),
        }
    }

    /// Returns where the inputs of all layers' matrices are recorded, in their order.
    fn layer_inputs(&self) -> Vec<LinearInput> {
        let input = |(index, stage)| LinearInput::Layer(index, stage);
        match self {
            Self::Transformer(network) => network.layer_inputs().map(input).collect(),
            Self::Recurrent(network) => network.layer_inputs().map(input).collect(),
        }
    }

    /// Returns what learns: matrix by matrix, layer by layer, the head last.
    pub fn matrices_mut(&mut self, learns: LearningKind) -> Vec<&mut PackedMatrix> {
        match self {
            Self::Transformer(network) => network.learning_matrices(learns),
            Self::Recurrent(network) => network.learning_matrices(learns),
        }
    }

    /// Returns the transposes of all matrices that the backward pass goes through, layer by layer, the head
    /// last: none where no layer learns.
    pub fn transposed(&self, learns: LearningKind) -> Vec<PackedMatrix> {
        if learns == LearningKind::Head {
            return Vec::new();
        }
        let linears: Vec<&Linear> = match self {
            Self::Transformer(network) => network.linears().collect(),
            Self::Recurrent(network) => network.linears().collect(),
        };
        linears.into_par_iter().map(|linear| linear.to_floats().floats_mut().transposed()).collect()
    }

    /// Starts `lanes` lanes, as [`Network::session`] does.
    pub fn lanes(&self, lanes: usize, steps: usize, window: usize) -> LearningLanes {
        match self {
            Self::Transformer(network) => {
                let lanes = TransformerLanes::new(network, lanes, steps, window);
                LearningLanes::Transformer(lanes)
            }
            Self::Recurrent(network) => {
                LearningLanes::Recurrent(RecurrentLanes::new(network, lanes))
            }
        }
    }

    /// Computes the gradients of the outputs of all layers' matrices. The lanes have a closed recording with
    /// gradients of logits in place of outputs. transposed: [`Self::transposed`].
    pub fn backward(
        &self,
        transposed: &[PackedMatrix],
        lanes: &mut LearningLanes,
    ) -> LayerGradients {
        match (self, lanes) {
            (Self::Transformer(network), LearningLanes::Transformer(lanes)) => {
                super::transformer::Backward {
                    network,
                    transposed,
                    lanes,
                    gradients: LayerGradients::default(),
                }
                .run()
            }
            (Self::Recurrent(network), LearningLanes::Recurrent(lanes)) => {
                let outputs = super::recurrent::backward(network, transposed, lanes.recording());
                LayerGradients { outputs, hidden: Vec::new() }
            }
            _ => unreachable!("{OWN}"),
        }
    }
}

const NO_ADAPTERS: &str = "a recurrent network has no adapters";

const OWN: &str = "lanes run on the network that they are of";

impl LearningLanes {
    /// [`Session::forward`](crate::models::Session::forward)
    pub fn forward(&mut self, network: &LearningNetwork, rows: &[Row], logits: &mut [f32]) {
        match (self, network) {
            (Self::Transformer(lanes), LearningNetwork::Transformer(network)) => {
                lanes.forward(network, rows, logits);
            }
            (Self::Recurrent(lanes), LearningNetwork::Recurrent(network)) => {
                lanes.forward(network, rows, logits);
            }
            _ => unreachable!("{OWN}"),
        }
    }

    /// [`Session::steer`](crate::models::Session::steer)
    pub fn steer(&mut self, network: &LearningNetwork, vectors: &[f32]) {
        match (self, network) {
            (Self::Transformer(lanes), LearningNetwork::Transformer(network)) => {
                lanes.steer(network, vectors);
            }
            _ => unreachable!("a recurrent network takes no steering vectors"),
        }
    }

    /// [`Session::copy_lane`](crate::models::Session::copy_lane)
    pub fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        match self {
            Self::Transformer(lanes) => lanes.copy_lane(from, to, fed),
            Self::Recurrent(lanes) => lanes.copy_lane(from, to),
        }
    }

    /// Returns what is kept of rows with a prediction.
    pub fn recording(&mut self) -> &mut Recording {
        match self {
            Self::Transformer(lanes) => lanes.recording(),
            Self::Recurrent(lanes) => lanes.recording(),
        }
    }
}
