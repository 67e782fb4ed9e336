//! RMS norm (Zhang and Sennrich, 2019).

use crate::ops::{Isa, rms_norm};

/// Constant added to the mean square.
pub const EPS: f32 = 1e-5;

/// Computes y = x / rms(x) * gain. x: `[rows][C]`, gain: `[C]`; returns `[rows][C]`.
pub fn forward(isa: Isa, x: &[f32], gain: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    rms_norm(isa, x, gain, EPS, &mut y);
    y
}

/// Adds to `dx` the gradient of x and to `dgain` that of gain, from `dy`, that of y.
pub fn backward(x: &[f32], gain: &[f32], dy: &[f32], dx: &mut [f32], dgain: &mut [f32]) {
    let c = gain.len();
    let rows = x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c));
    for ((x, dy), dx) in rows {
        let mean_square = x.iter().map(|x| x * x).sum::<f32>() / c as f32;
        let r = 1.0 / (mean_square + EPS).sqrt();
        let along: f32 = x.iter().zip(dy).zip(gain).map(|((x, dy), g)| x * dy * g).sum();
        let pull = along * r * r * r / c as f32;
        for i in 0..c {
            dx[i] += r * gain[i] * dy[i] - pull * x[i];
            dgain[i] += dy[i] * x[i] * r;
        }
    }
}
