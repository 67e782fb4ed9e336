//! Rules 3 and 19: layer norm (Ba, Kiros and Hinton, 2016) and RMS norm (Zhang and Sennrich, 2019),
//! and their backward passes.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::{load_at, map_in_place, padded, store_at, striped, zip_in_place};
use super::sum::{dot16_lanes, sum16_lanes};

/// RMS norm of every row. x, out: `[rows][C]`; gain: `[C]`.
pub fn rms_norm(isa: Isa, x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    struct RmsNorm<'a>(&'a [f32], &'a [f32], f32, &'a mut [f32]);
    impl Kernel for RmsNorm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(x, gain, eps, out) = self;
            let c = gain.len();
            for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
                let squares = striped!(s, x, |acc, x| s.fma(x, x, acc));
                let r = s.splat(1.0 / (squares / c as f32 + eps).sqrt());
                out.copy_from_slice(x);
                zip_in_place!(s, out, gain, |x, g| s.mul(s.mul(x, r), g));
            }
        }
    }
    isa.run(RmsNorm(x, gain, eps, out));
}

/// Layer norm of every row. x, out: `[rows][C]`; gain, bias: `[C]`.
pub fn layer_norm(isa: Isa, x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    struct LayerNorm<'a>(&'a [f32], &'a [f32], &'a [f32], f32, &'a mut [f32]);
    impl Kernel for LayerNorm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(x, gain, bias, eps, out) = self;
            let c = gain.len();
            for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
                let mean = s.splat(sum16_lanes(s, x) / c as f32);
                out.copy_from_slice(x);
                map_in_place!(s, out, |x| s.sub(x, mean));
                let squares = striped!(s, out, |acc, d| s.fma(d, d, acc));
                let r = s.splat(1.0 / (squares / c as f32 + eps).sqrt());
                scale_and_shift(s, out, r, gain, bias);
            }
        }
    }
    isa.run(LayerNorm(x, gain, bias, eps, out));
}

/// d[i] := fma(d[i] * r, gain[i], bias[i]), sixteen at a time.
#[inline(always)]
fn scale_and_shift<S: Simd>(s: S, d: &mut [f32], r: S::V, gain: &[f32], bias: &[f32]) {
    let blocks = gain.chunks(LANES).zip(bias.chunks(LANES));
    for (d, (gain, bias)) in d.chunks_mut(LANES).zip(blocks) {
        let scaled = s.mul(s.load(&padded(d, 0.0)), r);
        let y = s.fma(scaled, s.load(&padded(gain, 0.0)), s.load(&padded(bias, 0.0)));
        let mut block = [0.0; LANES];
        s.store(y, &mut block);
        d.copy_from_slice(&block[..d.len()]);
    }
}

/// Backward pass of [`rms_norm`]: adds to dx the gradient of x, from that of the output, dy, which
/// is overwritten. x, dy, dx: `[rows][C]`; gain: `[C]`; d_gain: `[C]`, gets the gain's gradient
/// added, or empty.
pub fn rms_norm_backward(
    isa: Isa,
    x: &[f32],
    gain: &[f32],
    eps: f32,
    dy: &mut [f32],
    dx: &mut [f32],
    d_gain: &mut [f32],
) {
    struct Backward<'a> {
        x: &'a [f32],
        gain: &'a [f32],
        eps: f32,
        dy: &'a mut [f32],
        dx: &'a mut [f32],
        d_gain: &'a mut [f32],
    }
    impl Kernel for Backward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self { x, gain, eps, dy, dx, d_gain } = self;
            let c = gain.len();
            let rows = x.chunks_exact(c).zip(dy.chunks_exact_mut(c)).zip(dx.chunks_exact_mut(c));
            for ((x, dy), dx) in rows {
                let squares = striped!(s, x, |acc, x| s.fma(x, x, acc));
                let r = 1.0 / (squares / c as f32 + eps).sqrt();
                for at in (0..d_gain.len()).step_by(LANES) {
                    let grad = s.mul(s.mul(load_at(s, dy, at), load_at(s, x, at)), s.splat(r));
                    store_at(s, s.add(load_at(s, d_gain, at), grad), d_gain, at);
                }
                zip_in_place!(s, dy, gain, |dy, g| s.mul(dy, g));
                let along = dot16_lanes(s, dy, x);
                let pull = s.splat(-(along * r * r * r / c as f32));
                for at in (0..c).step_by(LANES) {
                    let straight = s.mul(load_at(s, dy, at), s.splat(r));
                    let grad = s.fma(load_at(s, x, at), pull, straight);
                    store_at(s, s.add(load_at(s, dx, at), grad), dx, at);
                }
            }
        }
    }
    isa.run(Backward { x, gain, eps, dy, dx, d_gain });
}

/// Gradients of a layer norm's parameters, `[C]` each, to be added to; or both empty.
pub struct LayerNormGradients<'a> {
    /// The gain's.
    pub gain: &'a mut [f32],
    /// The bias's.
    pub bias: &'a mut [f32],
}

/// Backward pass of [`layer_norm`]: adds to dx the gradient of x, from that of the output, dy, which
/// is overwritten. x, dy, dx: `[rows][C]`; gain: `[C]`.
pub fn layer_norm_backward(
    isa: Isa,
    x: &[f32],
    gain: &[f32],
    eps: f32,
    dy: &mut [f32],
    dx: &mut [f32],
    gradients: LayerNormGradients<'_>,
) {
    struct Backward<'a> {
        x: &'a [f32],
        gain: &'a [f32],
        eps: f32,
        dy: &'a mut [f32],
        dx: &'a mut [f32],
        gradients: LayerNormGradients<'a>,
        /// A row's input, normed: `[C]`.
        n: Vec<f32>,
    }
    impl Kernel for Backward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self { x, gain, eps, dy, dx, gradients, mut n } = self;
            let (c, n) = (gain.len(), &mut n[..]);
            let rows = x.chunks_exact(c).zip(dy.chunks_exact_mut(c)).zip(dx.chunks_exact_mut(c));
            for ((x, dy), dx) in rows {
                let mean = s.splat(sum16_lanes(s, x) / c as f32);
                n.copy_from_slice(x);
                map_in_place!(s, n, |x| s.sub(x, mean));
                let squares = striped!(s, n, |acc, d| s.fma(d, d, acc));
                let r = s.splat(1.0 / (squares / c as f32 + eps).sqrt());
                map_in_place!(s, n, |d| s.mul(d, r));
                for at in (0..gradients.gain.len()).step_by(LANES) {
                    let old = load_at(s, gradients.gain, at);
                    let grad = s.fma(load_at(s, dy, at), load_at(s, n, at), old);
                    store_at(s, grad, gradients.gain, at);
                }
                for at in (0..gradients.bias.len()).step_by(LANES) {
                    let grad = s.add(load_at(s, gradients.bias, at), load_at(s, dy, at));
                    store_at(s, grad, gradients.bias, at);
                }
                zip_in_place!(s, dy, gain, |dy, g| s.mul(dy, g));
                let mean = s.splat(sum16_lanes(s, dy) / c as f32);
                let along = s.splat(-(dot16_lanes(s, dy, n) / c as f32));
                for at in (0..c).step_by(LANES) {
                    let centred = s.sub(load_at(s, dy, at), mean);
                    let grad = s.mul(s.fma(load_at(s, n, at), along, centred), r);
                    store_at(s, s.add(load_at(s, dx, at), grad), dx, at);
                }
            }
        }
    }
    let n = vec![0.0; gain.len()];
    isa.run(Backward { x, gain, eps, dy, dx, gradients, n });
}
