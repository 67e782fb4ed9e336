//! Muon for the matrices of hidden layers, Adam for all else.
//!
//! Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the weight
//! decay of Liu et al., "Muon is Scalable for LLM Training" (2025); Kingma and Ba, "Adam: A Method
//! for Stochastic Optimization" (2015), without. `docs/numerics.md`, section 20, has the order of
//! operations.

use crate::error::Result;
use crate::nn::matrix::{accumulate, product, product_with, transposed};
use crate::nn::parameter::{Gradients, Parameter};
use crate::ops::Isa;
use rayon::prelude::*;

/// Hyperparameters of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimiserOptions {
    /// Learning rate of Adam.
    pub adam_rate: f32,
    /// Learning rate of Muon.
    pub muon_rate: f32,
    /// Maximum norm of all gradients together.
    pub clip: f32,
}

/// Moments of one parameter.
#[derive(Debug, Clone)]
pub struct Moments {
    /// First moment of Adam, or momentum of Muon.
    pub first: Vec<f32>,
    /// Second moment of Adam; empty for Muon.
    pub second: Vec<f32>,
}

/// Function from a matrix, row by row, and its columns to approximately the nearest orthogonal
/// matrix.
pub type Orthogonal = Box<dyn Fn(Vec<f32>, usize) -> Result<Vec<f32>> + Send + Sync>;

/// Optimiser with its moments.
pub struct Optimiser {
    orthogonal: Orthogonal,
    options: OptimiserOptions,
    /// In the order of parameters.
    pub moments: Vec<Moments>,
    /// Steps so far.
    pub steps: u64,
}

const BETAS: (f32, f32) = (0.9, 0.98);
const EPS: f32 = 1e-8;
const MOMENTUM: f32 = 0.95;

/// Weight decay of a step of Muon, as a share of the rate: each step adds a matrix of the same
/// norm, and without decay nothing bounds the sum.
const DECAY: f32 = 0.1;

impl Optimiser {
    /// Creates an optimiser before its first step.
    pub fn new(
        orthogonal: Orthogonal,
        options: OptimiserOptions,
        parameters: &[Parameter],
    ) -> Self {
        let moments = |p: &Parameter| Moments {
            first: vec![0.0; p.values.len()],
            second: vec![0.0; if p.is_hidden { 0 } else { p.values.len() }],
        };
        Self { orthogonal, options, moments: parameters.iter().map(moments).collect(), steps: 0 }
    }

    /// Moves parameters along their gradients, at `share` of the rates.
    ///
    /// # Errors
    /// Errors of the [`Orthogonal`].
    pub fn step(
        &mut self,
        parameters: &mut [Parameter],
        gradients: &mut Gradients,
        share: f32,
    ) -> Result<()> {
        let Self { orthogonal, options, moments, steps } = self;
        *steps += 1;
        clip(gradients, options.clip);
        let all = parameters.par_iter_mut().zip(gradients).zip(moments);
        all.try_for_each(|((parameter, gradient), moments)| match parameter.is_hidden {
            true => {
                let rate = share * options.muon_rate;
                muon(orthogonal, parameter, gradient, &mut moments.first, rate)
            }
            false => {
                adam(parameter, gradient, moments, share * options.adam_rate, *steps);
                Ok(())
            }
        })
    }
}

/// Adds the gradients of a batch's other shards to those of the first, in order, and multiplies by
/// `scale`. All are of parameters in the same order.
pub fn reduce(first: &mut Gradients, others: &[&Gradients], scale: f32) {
    first.par_iter_mut().enumerate().for_each(|(i, sum)| {
        others.iter().for_each(|other| accumulate(sum, &other[i]));
        sum.iter_mut().for_each(|g| *g *= scale);
    });
}

/// Clips gradients to a total norm of `most`.
fn clip(gradients: &mut Gradients, most: f32) {
    let squares = |g: &Vec<f32>| g.iter().map(|&g| f64::from(g)).fold(0.0, |sum, g| sum + g * g);
    let norm = gradients.iter().map(squares).fold(0.0, |sum: f64, part| sum + part).sqrt() as f32;
    if norm > most {
        let factor = most / norm;
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
    }
}

/// Takes a step of Adam, the `steps`-th.
fn adam(parameter: &mut Parameter, gradient: &[f32], moments: &mut Moments, rate: f32, steps: u64) {
    let (b1, b2) = BETAS;
    let (c1, c2) = (1.0 - power(b1, steps), 1.0 - power(b2, steps));
    let moments = moments.first.iter_mut().zip(&mut moments.second);
    for ((value, g), (m, v)) in parameter.values.iter_mut().zip(gradient).zip(moments) {
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        *value -= rate * (*m / c1) / ((*v / c2).sqrt() + EPS);
    }
}

/// Computes x^n by squares, from the lowest bit of n on; std's `powi` has no fixed precision.
fn power(x: f32, n: u64) -> f32 {
    let (mut square, mut product, mut left) = (x, 1.0, n);
    while left > 0 {
        if left & 1 == 1 {
            product *= square;
        }
        square *= square;
        left >>= 1;
    }
    product
}

/// Takes a step of Muon: momentum, then approximately the nearest orthogonal matrix.
fn muon(
    orthogonal: &Orthogonal,
    parameter: &mut Parameter,
    gradient: &[f32],
    momentum: &mut [f32],
    rate: f32,
) -> Result<()> {
    for (m, g) in momentum.iter_mut().zip(gradient) {
        *m = MOMENTUM * *m + g;
    }
    let nesterov = gradient.iter().zip(&*momentum).map(|(g, m)| g + MOMENTUM * m);
    let (rows, columns) = (parameter.shape[0], parameter.shape[1]);
    let direction = orthogonal(nesterov.collect(), columns)?;
    let (kept, rate) = (1.0 - DECAY * rate, rate * (rows as f32 / columns as f32).max(1.0).sqrt());
    let values = parameter.values.iter_mut().zip(direction);
    values.for_each(|(value, d)| *value = kept * *value - rate * d);
    Ok(())
}

/// Coefficients a, b and c of the iterations of [`orthogonal`], `a x + (b A + c A A) x` with A = `x
/// x^T`.
pub const NEWTON_SCHULZ: (f32, f32, f32) = (3.4445, -4.7750, 2.0315);

/// Number of iterations.
pub const ITERATIONS: usize = 5;

/// Computes Newton-Schulz iterations towards the nearest matrix with singular values of 1.
pub fn orthogonal(isa: Isa, x: Vec<f32>, columns: usize) -> Vec<f32> {
    let rows = x.len() / columns;
    if rows > columns {
        return transposed(&orthogonal(isa, transposed(&x, columns), rows), rows);
    }
    let norm = x.iter().fold(0.0f32, |sum, x| sum + x * x).sqrt() + 1e-7;
    let mut x: Vec<f32> = x.into_iter().map(|x| x / norm).collect();
    let (first, second, third) = NEWTON_SCHULZ;
    for _ in 0..ITERATIONS {
        let a = product(isa, &x, &x, columns);
        let mut b = product(isa, &a, &a, rows);
        b.iter_mut().zip(&a).for_each(|(b, a)| *b = third * *b + second * a);
        let mut next = product_with(isa, &b, &x, rows);
        next.iter_mut().zip(&x).for_each(|(next, x)| *next += first * x);
        x = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::Random;

    #[test]
    fn steps_the_same_way_stay_within_a_bound() {
        let mut parameter = Parameter::constant("".into(), &[2, 2], 0.0);
        let (rate, gradient) = (1.0, [1.0, 0.0, 0.0, 1.0]);
        let mut momentum = [0.0; 4];
        let kernels: Orthogonal = Box::new(|x, columns| Ok(orthogonal(Isa::detect(), x, columns)));
        for _ in 0..1000 {
            muon(&kernels, &mut parameter, &gradient, &mut momentum, rate).unwrap();
        }
        let [a, b, c, d] = parameter.values[..] else { unreachable!() };
        assert!(a == d && b == 0.0 && c == 0.0, "{a} {b} {c} {d}");
        assert!((0.6 / DECAY..1.4 / DECAY).contains(&-a), "{a}");
    }

    #[test]
    fn singular_values_become_nearly_one() {
        let mut random = Random::new(&[1]);
        for (rows, columns) in [(12, 30), (30, 12), (16, 16)] {
            let x: Vec<f32> = (0..rows * columns).map(|_| random.normal()).collect();
            let y = orthogonal(Isa::detect(), x, columns);
            let (y, n) =
                if rows > columns { (transposed(&y, columns), columns) } else { (y, rows) };
            let gram = product(Isa::detect(), &y, &y, y.len() / n);
            for (i, row) in gram.chunks(n).enumerate() {
                for (j, value) in row.iter().enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!(
                        (value - expected).abs() < 0.6,
                        "{rows} x {columns}: [{i}][{j}] {value}"
                    );
                }
            }
        }
    }
}
