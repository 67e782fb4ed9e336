//! Trainable parameters.

use crate::train::random::Random;

/// A trainable tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name in `model.safetensors`.
    pub name: String,
    /// Dimensions: of matrices `[outputs][inputs]`.
    pub shape: Vec<usize>,
    /// Values.
    pub values: Vec<f32>,
    /// Whether it is the matrix of a hidden layer, which Muon optimises: not an embedding or a
    /// head.
    pub is_hidden: bool,
}

impl Parameter {
    /// Creates a parameter of normal values with this deviation.
    pub fn normal(name: String, shape: &[usize], deviation: f32, random: &mut Random) -> Self {
        let n = shape.iter().product();
        let values = (0..n).map(|_| deviation * random.normal()).collect();
        Self { name, shape: shape.to_vec(), values, is_hidden: false }
    }

    /// Creates the matrix of a hidden layer, `[outputs][inputs]`, whose outputs have about `gain`
    /// times the deviation of its inputs.
    pub fn hidden(name: String, shape: [usize; 2], gain: f32, random: &mut Random) -> Self {
        let deviation = gain / (shape[1] as f32).sqrt();
        Self { is_hidden: true, ..Self::normal(name, &shape, deviation, random) }
    }

    /// Creates a parameter with all values equal.
    pub fn constant(name: String, shape: &[usize], value: f32) -> Self {
        let values = vec![value; shape.iter().product()];
        Self { name, shape: shape.to_vec(), values, is_hidden: false }
    }
}

/// Gradients, in the order of parameters.
pub type Gradients = Vec<Vec<f32>>;

/// Returns zero gradients.
pub fn zeros(parameters: &[Parameter]) -> Gradients {
    parameters.iter().map(|p| vec![0.0; p.values.len()]).collect()
}
