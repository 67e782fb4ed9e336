//! Feed-forward layers: `down(act(up(x)))`, or with a gate `down(silu(gate(x)) * up(x))`.

use super::linear::LinearLayer;
use super::matrix::accumulate;
use super::parameter::Gradients;
use crate::ops::{
    Isa, gelu_erf, gelu_erf_backward, gelu_tanh, gelu_tanh_backward, sigmoid, silu_mul,
};

/// The activation of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x), of a gate (Shazeer, 2020).
    Silu,
    /// GELU by the error function (Hendrycks and Gimpel, 2016).
    GeluErf,
    /// GELU by tanh.
    GeluTanh,
}

/// A feed-forward layer.
pub struct FeedForward {
    /// Gate of [`Activation::Silu`].
    pub gate: Option<LinearLayer>,
    /// First linear layer.
    pub up: LinearLayer,
    /// Activation.
    pub activation: Activation,
    /// Last linear layer.
    pub down: LinearLayer,
}

/// Activations of the forward pass that the backward pass needs.
pub struct FeedForwardTrace {
    /// `[rows][C]`
    x: Vec<f32>,
    /// `[rows][F]`; empty where there is no gate.
    gate: Vec<f32>,
    /// `[rows][F]`
    up: Vec<f32>,
    /// `[rows][F]`
    activated: Vec<f32>,
}

impl FeedForwardTrace {
    /// Returns the inputs of the first and the last linear layers.
    pub fn linear_inputs(&self) -> [&[f32]; 2] {
        [&self.x, &self.activated]
    }
}

impl FeedForward {
    /// Returns its linear layers.
    pub fn linears(&mut self) -> impl Iterator<Item = &mut LinearLayer> {
        self.gate.iter_mut().chain([&mut self.up, &mut self.down])
    }

    /// Computes the output. x: `[rows][C]`; returns `[rows][C]`.
    pub fn forward(&self, isa: Isa, x: Vec<f32>) -> (Vec<f32>, FeedForwardTrace) {
        let gate = self.gate.as_ref().map_or(Vec::new(), |gate| gate.forward(isa, &x));
        let up = self.up.forward(isa, &x);
        let mut activated = if self.gate.is_some() { gate.clone() } else { up.clone() };
        match self.activation {
            Activation::Silu => silu_mul(isa, &mut activated, &up),
            Activation::GeluErf => gelu_erf(isa, &mut activated),
            Activation::GeluTanh => gelu_tanh(isa, &mut activated),
        }
        let out = self.down.forward(isa, &activated);
        (out, FeedForwardTrace { x, gate, up, activated })
    }

    /// Returns the gradient of x, from that of the output, and adds those of the parameters.
    pub fn backward(
        &self,
        isa: Isa,
        trace: &FeedForwardTrace,
        dy: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let FeedForwardTrace { x, gate, up, activated } = trace;
        let mut d_up = self.down.backward(isa, activated, dy, gradients);
        let Some(gate_layer) = &self.gate else {
            match self.activation {
                Activation::GeluTanh => gelu_tanh_backward(isa, &mut d_up, up),
                _ => gelu_erf_backward(isa, &mut d_up, up),
            }
            return self.up.backward(isa, x, &d_up, gradients);
        };
        let d_gate = silu_mul_backward(isa, gate, up, &mut d_up);
        let mut dx = gate_layer.backward(isa, x, &d_gate, gradients);
        accumulate(&mut dx, &self.up.backward(isa, x, &d_up, gradients));
        dx
    }
}

/// Returns the gradient of gate; `grad`, that of silu(gate) * up, becomes that of up.
pub fn silu_mul_backward(isa: Isa, gate: &[f32], up: &[f32], grad: &mut [f32]) -> Vec<f32> {
    let mut d_gate = gate.to_vec();
    sigmoid(isa, &mut d_gate);
    let values = d_gate.iter_mut().zip(grad).zip(gate.iter().zip(up));
    for ((d_gate, grad), (&g, &up)) in values {
        let (s, dy) = (*d_gate, *grad);
        *d_gate = dy * up * s * (1.0 + g * (1.0 - s));
        *grad = dy * g * s;
    }
    d_gate
}
