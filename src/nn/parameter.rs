//! Trainable parameters.

use super::random::Random;

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
    /// Whether no gradient is wanted; then values that are packed elsewhere may be empty.
    pub is_frozen: bool,
}

impl Parameter {
    /// Creates a parameter of these values, which is no matrix of a hidden layer.
    pub fn new(name: String, shape: &[usize], values: Vec<f32>) -> Self {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        Self { name, shape: shape.to_vec(), values, is_hidden: false, is_frozen: false }
    }

    /// Creates a parameter of normal values with this deviation.
    pub fn normal(name: String, shape: &[usize], deviation: f32, random: &mut Random) -> Self {
        let n = shape.iter().product();
        let values = (0..n).map(|_| deviation * random.normal()).collect();
        Self::new(name, shape, values)
    }

    /// Creates the matrix of a hidden layer, `[outputs][inputs]`, whose outputs have about `gain`
    /// times the deviation of its inputs.
    pub fn hidden(name: String, shape: [usize; 2], gain: f32, random: &mut Random) -> Self {
        let deviation = gain / (shape[1] as f32).sqrt();
        Self { is_hidden: true, ..Self::normal(name, &shape, deviation, random) }
    }

    /// Creates a parameter with all values equal.
    pub fn constant(name: String, shape: &[usize], value: f32) -> Self {
        Self::new(name, shape, vec![value; shape.iter().product()])
    }
}

/// Gradients, in the order of parameters; empty where none is wanted.
pub type Gradients = Vec<Vec<f32>>;

/// Returns zero gradients of the parameters that are not frozen.
pub fn zeros(parameters: &[Parameter]) -> Gradients {
    let len = |p: &Parameter| if p.is_frozen { 0 } else { p.values.len() };
    parameters.iter().map(|p| vec![0.0; len(p)]).collect()
}
