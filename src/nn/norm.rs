//! RMS norm (Zhang and Sennrich, 2019) and layer norm (Ba, Kiros and Hinton, 2016).

use super::parameter::{Gradients, Parameter};
use crate::ops::{
    Isa, LayerNormGradients, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward,
};

/// A norm over the last dimension: layer norm where there is a bias, else RMS norm.
pub struct NormLayer {
    /// Index of the gain, `[C]`, among the parameters.
    pub gain: usize,
    /// Index of the bias, `[C]`.
    pub bias: Option<usize>,
    /// Constant added to the variance or mean square.
    pub eps: f32,
}

impl NormLayer {
    /// Computes y. x: `[rows][C]`, y: `[rows][C]`, overwritten.
    pub fn forward_into(&self, isa: Isa, parameters: &[Parameter], x: &[f32], y: &mut [f32]) {
        let gain = &parameters[self.gain].values;
        match self.bias {
            None => rms_norm(isa, x, gain, self.eps, y),
            Some(bias) => layer_norm(isa, x, gain, &parameters[bias].values, self.eps, y),
        }
    }

    /// Computes the output. x: `[rows][C]`; returns `[rows][C]`.
    pub fn forward(&self, isa: Isa, parameters: &[Parameter], x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        self.forward_into(isa, parameters, x, &mut y);
        y
    }

    /// Adds to `dx` the gradient of x from `dy`, that of y, which is overwritten, and adds those of
    /// the parameters that are not frozen.
    pub fn backward(
        &self,
        isa: Isa,
        parameters: &[Parameter],
        x: &[f32],
        dy: &mut [f32],
        dx: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let (gain, eps) = (&parameters[self.gain].values, self.eps);
        match self.bias {
            None => rms_norm_backward(isa, x, gain, eps, dy, dx, &mut gradients[self.gain]),
            Some(bias) => {
                let [gain_sum, bias_sum] = gradients
                    .get_disjoint_mut([self.gain, bias])
                    .expect("gain and bias are two parameters");
                let sums = LayerNormGradients { gain: gain_sum, bias: bias_sum };
                layer_norm_backward(isa, x, gain, eps, dy, dx, sums);
            }
        }
    }
}
