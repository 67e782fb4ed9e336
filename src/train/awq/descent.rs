//! Rounding of the weights of a linear layer to integers of four bits.

use super::gram::Gram;
use crate::ops::{Isa, ScalePrecision, four_bit_weight, quantize_group4};
use rayon::prelude::*;

/// The numbers that weights can become.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Inputs that share a scale.
    pub group: usize,
    /// How scales are stored.
    pub precision: ScalePrecision,
}

/// A rounded linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    /// Inputs.
    pub inputs: usize,
    /// Inputs that share a scale.
    pub group: usize,
    /// A weight is (integer - 8) * scale: `[outputs][inputs]`.
    pub integers: Vec<u8>,
    /// `[outputs][groups]`
    pub scales: Vec<f32>,
}

/// Greatest scales that are tried of a group: that of rounding to the nearest, and so many smaller ones.
const CLIPS: usize = 10;

/// Share of the greatest by which each is smaller than the one before.
const CLIP: f32 = 0.05;

/// Passes over all weights of an output.
const PASSES: usize = 6;

/// Noise of the inputs, in parts of their mean square, so that integers fit other texts as well.
const NOISE: f32 = 0.01;

impl Rounded {
    /// Rounds weights to the nearest. weights: `[outputs][inputs]`
    pub fn nearest(weights: &[f32], inputs: usize, grid: Grid) -> Self {
        let Grid { group, precision } = grid;
        let mut integers = vec![0; weights.len()];
        let rows = weights.chunks_exact(inputs).zip(integers.chunks_exact_mut(inputs));
        let groups = rows.flat_map(|(w, q)| w.chunks(group).zip(q.chunks_mut(group)));
        let scales = groups.map(|(w, q)| quantize_group4(w, precision, q)).collect();
        Self { inputs, group, integers, scales }
    }

    /// Rounds weights such that outputs change least for inputs of that Gram matrix: by coordinate descent, a
    /// weight after the other to the number that is best for the errors of all others, from a clipped start.
    pub fn for_inputs(isa: Isa, weights: &[f32], gram: &Gram, grid: Grid) -> Self {
        let inputs = gram.inputs();
        let gram = gram.with_noise(NOISE);
        let mut rounded = Self::nearest(weights, inputs, grid);
        let groups = inputs.div_ceil(grid.group);
        let Self { integers, scales, .. } = &mut rounded;
        let rows = integers.par_chunks_exact_mut(inputs).zip(scales.par_chunks_exact_mut(groups));
        rows.zip(weights.par_chunks_exact(inputs)).for_each(|((integers, scales), weights)| {
            clip(weights, &gram, grid, integers, scales);
        });
        let mut pulls = gram.product(isa, &rounded.errors(weights));
        let Self { integers, scales, .. } = &mut rounded;
        let rows = integers.par_chunks_exact_mut(inputs).zip(scales.par_chunks_exact(groups));
        rows.zip(pulls.par_chunks_exact_mut(inputs)).for_each(|((integers, scales), pulls)| {
            descend(&gram, grid.group, integers, scales, pulls);
        });
        rounded
    }

    /// Returns floats less what they were rounded to. weights: `[outputs][inputs]`
    pub fn errors(&self, weights: &[f32]) -> Vec<f32> {
        let mut errors = vec![0.0; weights.len()];
        self.widen(&mut errors);
        errors.iter_mut().zip(weights).for_each(|(e, w)| *e = w - *e);
        errors
    }

    /// Writes the weights as floats: `[outputs][inputs]`.
    pub fn widen(&self, out: &mut [f32]) {
        let groups = self.inputs.div_ceil(self.group);
        let rows = out.chunks_exact_mut(self.inputs).zip(self.integers.chunks_exact(self.inputs));
        for ((out, integers), scales) in rows.zip(self.scales.chunks_exact(groups)) {
            let groups = out.chunks_mut(self.group).zip(integers.chunks(self.group));
            for ((out, integers), &scale) in groups.zip(scales) {
                let values = integers.iter().map(|&q| four_bit_weight(q, scale, 0.0));
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
            }
        }
    }
}

/// Chooses each group's scale, by the error that the group makes by itself.
fn clip(weights: &[f32], gram: &Gram, grid: Grid, integers: &mut [u8], scales: &mut [f32]) {
    let Grid { group, precision } = grid;
    let groups = weights.chunks(group).zip(integers.chunks_mut(group)).zip(scales);
    for (index, ((weights, integers), scale)) in groups.enumerate() {
        let greatest = *scale;
        let tried = (0..CLIPS).map(|i| {
            let scale = precision.round(greatest * (1.0 - CLIP * i as f32));
            let errors: Vec<f32> = weights
                .iter()
                .map(|&w| w - four_bit_weight(integer(w, scale), scale, 0.0))
                .collect();
            (group_error(gram, index * group, &errors), scale)
        });
        let best = tried.min_by(|(a, _), (b, _)| a.total_cmp(b));
        *scale = best.map_or(greatest, |(_, scale)| scale);
        integers.iter_mut().zip(weights).for_each(|(q, &w)| *q = integer(w, *scale));
    }
}

/// The squared error of weights from `first` on that are wrong by e.
fn group_error(gram: &Gram, first: usize, e: &[f32]) -> f32 {
    let products = e.iter().enumerate().map(|(i, &of_row)| {
        let row = &gram.row(first + i)[first..][..e.len()];
        of_row * row.iter().zip(e).map(|(g, e)| g * e).sum::<f32>()
    });
    products.sum()
}

/// The integer nearest to w / scale.
fn integer(w: f32, scale: f32) -> u8 {
    if scale == 0.0 {
        return 8;
    }
    ((w / scale).round_ties_even().clamp(-8.0, 7.0) + 8.0) as u8
}

/// Moves the integers of an output, first to last, until none moves any more. pulls: the errors of the weights times
/// the Gram matrix, `[inputs]`
fn descend(gram: &Gram, group: usize, integers: &mut [u8], scales: &[f32], pulls: &mut [f32]) {
    for _ in 0..PASSES {
        let mut has_moved = false;
        for (i, q) in integers.iter_mut().enumerate() {
            let (scale, square) = (scales[i / group], gram.square(i));
            if scale == 0.0 || square <= 0.0 {
                continue;
            }
            let now = four_bit_weight(*q, scale, 0.0);
            let moved = integer(now + pulls[i] / square, scale);
            if moved != *q {
                let step = four_bit_weight(moved, scale, 0.0) - now;
                pulls.iter_mut().zip(gram.row(i)).for_each(|(pull, g)| *pull -= step * g);
                (*q, has_moved) = (moved, true);
            }
        }
        if !has_moved {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::Random;

    /// Weights and inputs of which some are sums of others.
    fn layer(inputs: usize, outputs: usize) -> (Vec<f32>, Gram) {
        let mut random = Random::new(&[7]);
        let mut x: Vec<f32> = (0..400 * inputs).map(|_| random.normal()).collect();
        for row in x.chunks_exact_mut(inputs) {
            (1..inputs).for_each(|i| row[i] = 0.8 * row[i - 1] + 0.3 * row[i]);
            row[3] *= 20.0;
        }
        let mut gram = Gram::new(inputs);
        gram.add(Isa::detect(), &x);
        ((0..inputs * outputs).map(|_| random.normal()).collect(), gram)
    }

    #[test]
    fn outputs_change_less_than_by_rounding_to_the_nearest() {
        let (weights, gram) = layer(96, 40);
        let isa = Isa::detect();
        let grid = Grid { group: 32, precision: ScalePrecision::Bf16 };
        let error = |rounded: &Rounded| gram.error(isa, &rounded.errors(&weights));
        let nearest = error(&Rounded::nearest(&weights, 96, grid));
        let rounded = Rounded::for_inputs(isa, &weights, &gram, grid);
        assert!(error(&rounded) < 0.3 * nearest, "{} of {nearest}", error(&rounded));
        assert!(rounded.integers.iter().all(|&q| q < 16));
        assert!(rounded.scales.iter().all(|&s| ScalePrecision::Bf16.round(s) == s));
    }

    #[test]
    fn inputs_that_have_nothing_in_common_leave_each_weight_at_the_nearest() {
        let (weights, _) = layer(64, 8);
        let mut gram = Gram::new(64);
        let units: Vec<f32> = (0..64 * 64).map(|i| if i % 65 == 0 { 1.0 } else { 0.0 }).collect();
        gram.add(Isa::detect(), &units);
        let grid = Grid { group: 32, precision: ScalePrecision::F32 };
        let rounded = Rounded::for_inputs(Isa::detect(), &weights, &gram, grid);
        for (i, (&q, &w)) in rounded.integers.iter().zip(&weights).enumerate() {
            assert_eq!(q, integer(w, rounded.scales[i / 32]));
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let (_, gram) = layer(32, 1);
        let grid = Grid { group: 32, precision: ScalePrecision::F16 };
        let rounded = Rounded::for_inputs(Isa::detect(), &[0.0; 32], &gram, grid);
        assert_eq!(rounded.errors(&[0.0; 32]), [0.0; 32]);
    }
}
