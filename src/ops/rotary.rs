//! Rule 6: rotary position embedding (Su et al., "RoFormer", 2021) in the half-split layout of
//! Hugging Face's models.

/// The rotation of each position: angle(p, i) = p * theta^(-2i/D), or as scaled.
///
/// Frequencies are rounded to `f32`, as checkpoints store them; angles, sines and cosines are
/// computed in `f64` by the `libm` crate (std's would call the platform's C library) and rounded to
/// `f32` once.
#[derive(Clone)]
pub struct Rotary {
    frequencies: Vec<f32>,
}

impl Rotary {
    /// For heads whose first `dims` dimensions (an even number) rotate, with base `theta`.
    pub fn new(dims: usize, theta: f64, scaling: RotaryScaling) -> Self {
        debug_assert!(dims.is_multiple_of(2));
        let frequency = |i: usize| 1.0 / libm::pow(theta, (2 * i) as f64 / dims as f64);
        let scaled = |i: usize| scaling.apply(frequency(i)) as f32;
        Self { frequencies: (0..dims / 2).map(scaled).collect() }
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

/// How a model was stretched to longer texts than it was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All frequencies are divided by this (Chen et al., "Extending Context Window of Large
    /// Language Models via Positional Interpolation", 2023).
    Linear(f64),
    /// Low frequencies are divided by `factor`, high ones stay, between them the two are
    /// interpolated (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths longer than `positions / low` are scaled.
        low: f64,
        /// Wavelengths shorter than `positions / high` stay.
        high: f64,
        /// Positions of the first training.
        positions: f64,
    },
}

impl RotaryScaling {
    /// The scaled frequency, in `f64`.
    fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear(factor) => frequency / factor,
            Self::Llama3 { factor, low, high, positions } => {
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < positions / high {
                    frequency
                } else if wavelength > positions / low {
                    frequency / factor
                } else {
                    let smooth = (positions / wavelength - low) / (high - low);
                    (1.0 - smooth) * (frequency / factor) + smooth * frequency
                }
            }
        }
    }
}

/// Rotates every head of one row in place. x: `[heads][D]`; cos, sin: `[pairs]`; dimensions from 2
/// * pairs on stay.
pub fn rotate(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    let pairs = cos.len();
    for head in x.chunks_exact_mut(head_dim) {
        let (a, b) = head[..2 * pairs].split_at_mut(pairs);
        for (((a, b), &c), &s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}
