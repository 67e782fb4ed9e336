//! Rules 4, 9 and 19: the exponential, softmax and its backward pass, and integer counts of a
//! distribution.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::{map_in_place, padded, striped, zip_in_place};
use super::sum::{dot16_lanes, sum16_lanes};

/// All lanes the value of `bits`.
#[inline(always)]
pub(super) fn constant<S: Simd>(s: S, bits: u32) -> S::V {
    s.splat(f32::from_bits(bits))
}

/// e^x by rule 4, sixteen lanes.
///
/// Cephes' reduction: n = round(x / ln 2) by the magic constant 1.5 * 2^23, r = x - n ln 2 in two
/// steps, a polynomial of degree 6 in r, and the exponent bits of 2^n.
#[inline(always)]
pub(super) fn exp_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let (low, high) = (s.splat(-87.0), s.splat(88.0));
    let clamped = s.select_less(high, x, high, s.max(x, low));
    let magic = constant(s, 0x4b40_0000);
    let t = s.fma(clamped, constant(s, 0x3fb8_aa3b), magic);
    let n = s.sub(t, magic);
    let r = s.fma(n, constant(s, 0xbf31_7200), clamped);
    let r = s.fma(n, constant(s, 0xb5bf_be8e), r);
    let mut p = constant(s, 0x3ab6_0b61);
    for c in [0x3c08_8888, 0x3d2a_aaab, 0x3e2a_aaab, 0x3f00_0000, 0x3f80_0000, 0x3f80_0000] {
        p = s.fma(p, r, constant(s, c));
    }
    s.select_less(x, low, s.splat(0.0), s.mul(p, s.exp2_of_magic(t)))
}

/// The largest of `x`, by compare and select; -inf if there is none.
#[inline(always)]
fn maximum<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut max = s.splat(f32::NEG_INFINITY);
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        max = s.max(max, s.load(block));
    }
    max = s.max(max, s.load(&padded(tail, f32::NEG_INFINITY)));
    let mut lanes = [0.0; LANES];
    s.store(max, &mut lanes);
    lanes.into_iter().fold(f32::NEG_INFINITY, |m, x| if m > x { m } else { x })
}

/// x[i] := e^(x[i] - max); returns their sum16.
#[inline(always)]
pub(super) fn softmax_parts<S: Simd>(s: S, x: &mut [f32]) -> f32 {
    let max = s.splat(maximum(s, x));
    map_in_place!(s, x, |x| exp_lanes(s, s.sub(x, max)));
    sum16_lanes(s, x)
}

/// `x[i] := e^x[i]`; relative error below 2.4e-7 on `[-87, 88]`, 0 below, e^88 above.
pub fn exp(isa: Isa, x: &mut [f32]) {
    struct Exp<'a>(&'a mut [f32]);
    impl Kernel for Exp<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            map_in_place!(s, self.0, |x| exp_lanes(s, x));
        }
    }
    isa.run(Exp(x));
}

/// `x[i] := e^x[i] / sum of e^x`: probabilities.
pub fn softmax(isa: Isa, x: &mut [f32]) {
    struct Softmax<'a>(&'a mut [f32]);
    impl Kernel for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let r = s.splat(1.0 / softmax_parts(s, self.0));
            map_in_place!(s, self.0, |x| s.mul(x, r));
        }
    }
    isa.run(Softmax(x));
}

/// Backward pass of `softmax(scale * x)` of rows: dp, the gradient of its output p, becomes that of
/// x. p, dp: `[rows][k]`.
pub fn softmax_backward(isa: Isa, k: usize, p: &[f32], scale: f32, dp: &mut [f32]) {
    struct Backward<'a>(usize, &'a [f32], f32, &'a mut [f32]);
    impl Kernel for Backward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(k, p, scale, dp) = self;
            let scale = s.splat(scale);
            for (p, dp) in p.chunks_exact(k).zip(dp.chunks_exact_mut(k)) {
                let along = s.splat(dot16_lanes(s, dp, p));
                zip_in_place!(s, dp, p, |d, p| s.mul(s.mul(s.sub(d, along), p), scale));
            }
        }
    }
    isa.run(Backward(k, p, scale, dp));
}

/// Integer counts of the distribution that `logits` give, each at least 1, summing to 2^30 within
/// one part in a thousand.
///
/// logits: `[V]`, overwritten; counts: `[V]`, V <= 2^21. Returns whether all logits were finite; if
/// not, `counts` mean nothing.
pub fn counts(isa: Isa, logits: &mut [f32], counts: &mut [u32]) -> bool {
    struct Counts<'a>(&'a mut [f32], &'a mut [u32]);
    impl Kernel for Counts<'_> {
        type Output = bool;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> bool {
            let Self(x, counts) = self;
            let finite = striped!(s, x, |acc, x| s.fma(x, s.splat(0.0), acc)) == 0.0;
            let scale = s.splat(1_073_741_824.0 / softmax_parts(s, x));
            let (blocks, tail) = x.as_chunks::<LANES>();
            let (out, out_tail) = counts.as_chunks_mut::<LANES>();
            for (block, out) in blocks.iter().zip(out) {
                s.truncate(s.mul(s.load(block), scale), out);
                out.iter_mut().for_each(|c| *c = c.wrapping_add(1)); // wraps only where not finite
            }
            let mut last = [0; LANES];
            s.truncate(s.mul(s.load(&padded(tail, 0.0)), scale), &mut last);
            out_tail.iter_mut().zip(last).for_each(|(c, l)| *c = l.wrapping_add(1));
            finite
        }
    }
    assert_eq!(logits.len(), counts.len(), "a count for each logit");
    isa.run(Counts(logits, counts))
}
