//! What learns.

use crate::train::random::Random;

/// A tensor that learns.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in `model.safetensors`.
    pub name: String,
    /// Its dimensions: of matrices `[outputs][inputs]`.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
    /// Whether it is the matrix of a hidden layer, which Muon is for: not an embedding or a head.
    pub is_hidden: bool,
}

impl Parameter {
    /// Normal values of this deviation.
    pub fn normal(name: String, shape: &[usize], deviation: f32, random: &mut Random) -> Self {
        let n = shape.iter().product();
        let values = (0..n).map(|_| deviation * random.normal()).collect();
        Self { name, shape: shape.to_vec(), values, is_hidden: false }
    }

    /// The matrix of a hidden layer, `[outputs][inputs]`, whose outputs have about `gain` times the
    /// deviation of its inputs.
    pub fn hidden(name: String, shape: [usize; 2], gain: f32, random: &mut Random) -> Self {
        let deviation = gain / (shape[1] as f32).sqrt();
        Self { is_hidden: true, ..Self::normal(name, &shape, deviation, random) }
    }

    /// All of one value.
    pub fn constant(name: String, shape: &[usize], value: f32) -> Self {
        let values = vec![value; shape.iter().product()];
        Self { name, shape: shape.to_vec(), values, is_hidden: false }
    }
}

/// Gradients, in the order of parameters.
pub type Gradients = Vec<Vec<f32>>;

/// Gradients of nothing yet.
pub fn zeros(parameters: &[Parameter]) -> Gradients {
    parameters.iter().map(|p| vec![0.0; p.values.len()]).collect()
}
