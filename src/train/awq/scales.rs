//! Scales of inputs: those with large values get finer steps (Lin et al., "AWQ", 2023).

use super::descent::{Grid, Rounded};
use super::gram::Gram;
use crate::ops::{Isa, ScalePrecision};

/// Powers of the inputs' magnitudes that are tried: 0, 1 / STEPS, .. below 1.
const STEPS: usize = 20;

/// Outputs that are looked at, at most, of each matrix.
const OUTPUTS: usize = 256;

/// Least magnitude of an input, in parts of the root mean square of all.
const LEAST: f32 = 1e-4;

/// Returns the scales that outputs change least with where weights are multiplied by them, rounded to the nearest, and
/// divided: a power of the inputs' root mean squares, such that the greatest is 1 / the least. All are 1 where that
/// is best. weights: matrices that share the inputs, `[outputs][inputs]`
pub fn best(isa: Isa, weights: &[&[f32]], gram: &Gram, group: usize) -> Vec<f32> {
    let k = gram.inputs();
    let sampled = weights.iter().flat_map(|weights| {
        let step = (weights.len() / k).div_ceil(OUTPUTS);
        weights.chunks_exact(k).step_by(step).flatten()
    });
    let sampled: Vec<f32> = sampled.copied().collect();
    let magnitudes = magnitudes(gram);
    let grid = Grid { group, precision: ScalePrecision::F32 };
    let candidates = (0..STEPS).map(|step| {
        let scales = normalised(&magnitudes, step as f32 / STEPS as f32);
        let scaled: Vec<f32> = sampled
            .chunks_exact(k)
            .flat_map(|row| row.iter().zip(&scales))
            .map(|(w, s)| w * s)
            .collect();
        let mut errors = Rounded::nearest(&scaled, k, grid).errors(&scaled);
        for row in errors.chunks_exact_mut(k) {
            row.iter_mut().zip(&scales).for_each(|(e, s)| *e /= s);
        }
        (gram.error(isa, &errors), scales)
    });
    let best = candidates.min_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map_or(vec![1.0; k], |(_, scales)| scales)
}

/// Root mean squares of the inputs, in parts of that of all.
fn magnitudes(gram: &Gram) -> Vec<f32> {
    let squares: Vec<f64> = (0..gram.inputs()).map(|i| f64::from(gram.square(i))).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    let of = |square: f64| if mean > 0.0 { (square / mean).sqrt() as f32 } else { 1.0 };
    squares.into_iter().map(|square| of(square).max(LEAST)).collect()
}

/// A power of magnitudes, the greatest times the least of which is 1.
fn normalised(magnitudes: &[f32], power: f32) -> Vec<f32> {
    let scales: Vec<f32> = magnitudes.iter().map(|x| x.powf(power)).collect();
    let greatest = scales.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let least = scales.iter().copied().fold(f32::MAX, f32::min);
    let root = (greatest * least).sqrt();
    scales.into_iter().map(|s| s / root).collect()
}
