//! Rule 6: rotary position embedding (Su et al., "RoFormer", 2021) in the half-split layout of
//! Hugging Face's models.

/// The rotation of each position: angle(p, i) = p * theta^(-2i/D).
///
/// Frequencies are rounded to `f32`, as checkpoints store them; angles, sines and cosines are
/// computed in `f64` by the `libm` crate (std's would call the platform's C library) and rounded to
/// `f32` once.
pub struct Rotary {
    frequencies: Vec<f32>,
}

impl Rotary {
    /// For heads whose first `dims` dimensions (an even number) rotate, with base `theta`.
    pub fn new(dims: usize, theta: f64) -> Self {
        debug_assert!(dims.is_multiple_of(2));
        let frequency = |i: usize| (1.0 / libm::pow(theta, (2 * i) as f64 / dims as f64)) as f32;
        Self { frequencies: (0..dims / 2).map(frequency).collect() }
    }

    /// Pairs of dimensions that rotate.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Writes the rotation of `position`. cos, sin: `[pairs]`.
    pub fn at(&self, position: u32, cos: &mut [f32], sin: &mut [f32]) {
        for ((&f, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let angle = f64::from(position) * f64::from(f);
            *cos = libm::cos(angle) as f32;
            *sin = libm::sin(angle) as f32;
        }
    }
}

/// Rotates every head of one row in place. x: `[heads][D]`; cos, sin: `[pairs]`; dimensions from 2 *
/// pairs on stay.
pub fn rotate(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    let pairs = cos.len();
    for head in x.chunks_exact_mut(head_dim) {
        let (a, b) = head[..2 * pairs].split_at_mut(pairs);
        for (((a, b), &c), &s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}
