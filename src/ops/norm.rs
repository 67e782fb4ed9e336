//! Rule 3: layer norm (Ba, Kiros and Hinton, 2016) and RMS norm (Zhang and Sennrich, 2019).

use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::{map_in_place, padded, striped, zip_in_place};
use super::sum::sum16_lanes;

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
