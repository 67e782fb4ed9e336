//! Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015).
//!
//! `docs/numerics.md`, section 20, has the order of operations.

/// Hyperparameters that stay the same in all steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Decay of both moments.
    pub betas: (f32, f32),
    /// Constant added to the root of the second moment.
    pub eps: f32,
}

/// A step, the same for all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    options: AdamOptions,
    /// Corrections of the moments' bias.
    corrections: (f32, f32),
    rate: f32,
}

impl AdamStep {
    /// Prepares the `n`-th step, counted from 1.
    pub fn new(options: AdamOptions, rate: f32, n: u64) -> Self {
        let (b1, b2) = options.betas;
        Self { options, corrections: (1.0 - power(b1, n), 1.0 - power(b2, n)), rate }
    }

    /// Moves values along their gradient. All slices have the same length; `first` and `second` are the
    /// moments.
    #[inline]
    pub fn apply(
        &self,
        values: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let Self { options: AdamOptions { betas: (b1, b2), eps }, corrections: (c1, c2), rate } =
            *self;
        let moments = first.iter_mut().zip(second);
        for ((value, g), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *value -= rate * (*m / c1) / ((*v / c2).sqrt() + eps);
        }
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
