//! Gram matrices of a linear layer's inputs: G, the sum of x x^T over all tokens. An output whose weights are wrong by
//! e has the squared error e^T G e over these tokens.

use crate::nn::matrix::transposed;
use crate::ops::{Isa, PackedMatrix, matmul};
use rayon::prelude::*;

/// A Gram matrix: `[inputs][inputs]`.
pub struct Gram {
    inputs: usize,
    values: Vec<f32>,
}

/// Rows that one thread computes at a time.
const ROWS: usize = 64;

impl Gram {
    /// Creates that of no tokens.
    pub fn new(inputs: usize) -> Self {
        Self { inputs, values: vec![0.0; inputs * inputs] }
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the products of an input with all.
    pub fn row(&self, input: usize) -> &[f32] {
        &self.values[input * self.inputs..][..self.inputs]
    }

    /// Returns the sum of the squares of an input.
    pub fn square(&self, input: usize) -> f32 {
        self.values[input * (self.inputs + 1)]
    }

    /// Adds the inputs of tokens: `[T][inputs]`.
    pub fn add(&mut self, isa: Isa, x: &[f32]) {
        let (k, tokens) = (self.inputs, x.len() / self.inputs);
        let columns = transposed(x, k);
        let packed = PackedMatrix::pack_columns(tokens, k, |t| &x[t * k..][..k]);
        let sums = self.values.par_chunks_mut(ROWS * k).zip(columns.par_chunks(ROWS * tokens));
        sums.for_each(|(sums, columns)| {
            let mut products = vec![0.0; sums.len()];
            matmul(isa, columns, &packed, &mut products);
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        });
    }

    /// Returns that of the inputs divided by scales.
    pub fn of_divided(&self, scales: &[f32]) -> Self {
        let rows = self.values.chunks_exact(self.inputs).zip(scales);
        let values = rows.flat_map(|(row, s)| row.iter().zip(scales).map(move |(x, t)| x / s / t));
        Self { inputs: self.inputs, values: values.collect() }
    }

    /// Returns it with a share of the mean of its diagonal added to the diagonal, as if each input had noise of its own.
    pub fn with_noise(&self, share: f32) -> Self {
        let squares = (0..self.inputs).map(|input| f64::from(self.square(input)));
        let noise = share * (squares.sum::<f64>() / self.inputs as f64) as f32;
        let mut values = self.values.clone();
        values.iter_mut().step_by(self.inputs + 1).for_each(|x| *x += noise);
        Self { inputs: self.inputs, values }
    }

    /// Returns e G. e: `[rows][inputs]`
    pub fn product(&self, isa: Isa, e: &[f32]) -> Vec<f32> {
        let k = self.inputs;
        let packed = PackedMatrix::pack(k, k, |i| self.row(i), &[]); // G is symmetric
        let mut products = vec![0.0; e.len()];
        let rows = products.par_chunks_mut(ROWS * k).zip(e.par_chunks(ROWS * k));
        rows.for_each(|(products, e)| matmul(isa, e, &packed, products));
        products
    }

    /// Returns the squared errors of outputs whose weights are wrong by e, all together. e: `[rows][inputs]`
    pub fn error(&self, isa: Isa, e: &[f32]) -> f64 {
        let products = self.product(isa, e);
        e.iter().zip(products).map(|(e, product)| f64::from(*e) * f64::from(product)).sum()
    }
}
