//! The gated activation of feed-forward layers: silu(gate) * up (Shazeer, 2020).

use crate::ops::{Isa, sigmoid, silu_mul};

/// Computes the activation. gate, up: `[n]`; returns silu(gate) * up.
pub fn forward(isa: Isa, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = gate.to_vec();
    silu_mul(isa, &mut y, up);
    y
}

/// Returns the gradients of gate and up, from that of y.
pub fn backward(isa: Isa, gate: &[f32], up: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut s = gate.to_vec();
    sigmoid(isa, &mut s);
    let one = |i: usize| {
        let (g, s) = (gate[i], s[i]);
        (dy[i] * up[i] * s * (1.0 + g * (1.0 - s)), dy[i] * g * s)
    };
    (0..dy.len()).map(one).unzip()
}
