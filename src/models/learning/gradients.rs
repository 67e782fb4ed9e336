//! Inputs of the matrices that learn, and gradients of their outputs.

use crate::models::recording::{Recording, Stage};

/// Where the inputs of a linear layer are recorded.
#[derive(Clone, Copy)]
pub enum LinearInput {
    Layer(usize, Stage),
    /// Outputs of an adapter's A, times its scale.
    Hidden(usize),
    Head,
}

/// Gradients of the outputs of all matrices of layers, in their order, `[R][N]` each, and the inputs of
/// those that are not recorded.
#[derive(Default)]
pub struct LayerGradients {
    pub outputs: Vec<Vec<f32>>,
    pub hidden: Vec<Vec<f32>>,
}

impl LinearInput {
    /// Returns them: `[R][K]`.
    pub fn of<'a>(self, recording: &'a Recording, gradients: &'a LayerGradients) -> &'a [f32] {
        match self {
            Self::Hidden(index) => &gradients.hidden[index],
            Self::Layer(index, stage) => recording.of(index, stage),
            Self::Head => recording.normed(),
        }
    }
}
