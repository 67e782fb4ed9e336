//! Rules 5, 8 and 19: activations, their slopes and residuals, elementwise.

use super::arch::{Isa, Kernel, Simd};
use super::exp::{constant, exp_lanes};
use super::lanewise::{map_in_place, zip_in_place};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: |$s:ident, $x:ident, $y:ident| $body:expr;)+) => {$(
        $(#[$doc])*
        pub fn $name(isa: Isa, x: &mut [f32], y: &[f32]) {
            struct Op<'a>(&'a mut [f32], &'a [f32]);
            impl Kernel for Op<'_> {
                type Output = ();
                #[inline(always)]
                fn run<S: Simd>(self, $s: S) {
                    zip_in_place!($s, self.0, self.1, |$x, $y| $body);
                }
            }
            isa.run(Op(x, y));
        }
    )+};
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $lanes:ident;)+) => {$(
        $(#[$doc])*
        pub fn $name(isa: Isa, x: &mut [f32]) {
            struct Op<'a>(&'a mut [f32]);
            impl Kernel for Op<'_> {
                type Output = ();
                #[inline(always)]
                fn run<S: Simd>(self, s: S) {
                    map_in_place!(s, self.0, |x| $lanes(s, x));
                }
            }
            isa.run(Op(x));
        }
    )+};
}

binary! {
    /// `x[i] := x[i] + y[i]`: a residual.
    add_assign: |s, x, y| s.add(x, y);
    /// `x[i] := silu(x[i]) * y[i]`: the gated activation of SwiGLU (Shazeer, 2020), x the gate.
    silu_mul: |s, x, y| s.mul(silu_lanes(s, x), y);
    /// `x[i] := x[i] * gelu'(y[i])`: the backward pass of [`gelu_erf`], x the gradient.
    gelu_erf_backward: |s, x, y| s.mul(x, gelu_erf_slope(s, y));
    /// `x[i] := x[i] * gelu'(y[i])`: the backward pass of [`gelu_tanh`], x the gradient.
    gelu_tanh_backward: |s, x, y| s.mul(x, gelu_tanh_slope(s, y));
}

unary! {
    /// `x[i] := gelu(x[i])` by the error function (Abramowitz and Stegun 7.1.26); absolute error
    /// below 5e-7.
    gelu_erf: gelu_erf_lanes;
    /// `x[i] := gelu(x[i])` by tanh, as GPT-2 has it.
    gelu_tanh: gelu_tanh_lanes;
    /// `x[i] := 1 / (1 + e^-x[i])`; absolute error below 3e-7.
    sigmoid: sigmoid_lanes;
    /// `x[i] := tanh(x[i])`; absolute error below 3e-7.
    tanh: tanh_lanes;
}

#[inline(always)]
fn negate<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, s.splat(-1.0))
}

#[inline(always)]
fn silu_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp_lanes(s, negate(s, x))))
}

#[inline(always)]
pub(super) fn sigmoid_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp_lanes(s, negate(s, x))))
}

#[inline(always)]
pub(super) fn tanh_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.sub(one, s.div(s.splat(2.0), s.add(exp_lanes(s, s.add(x, x)), one)))
}

/// erf(x / sqrt 2), and e^(-x * x / 2).
#[inline(always)]
fn erf_and_bell<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let z = s.mul(x, constant(s, 0x3f35_04f3));
    let u = s.select_less(z, zero, negate(s, z), z);
    let t = s.div(one, s.fma(constant(s, 0x3ea7_ba05), u, one));
    let mut p = constant(s, 0x3f87_dc22);
    for a in [0xbfba_00e3, 0x3fb5_f0e3, 0xbe91_a98f, 0x3e82_7906] {
        p = s.fma(p, t, constant(s, a));
    }
    let bell = exp_lanes(s, negate(s, s.mul(u, u)));
    let tail = s.sub(one, s.mul(s.mul(p, t), bell));
    (s.select_less(z, zero, negate(s, tail), tail), bell)
}

#[inline(always)]
fn gelu_erf_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let (erf, _) = erf_and_bell(s, x);
    s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.0), erf))
}

/// The derivative: the normal distribution's function, and x times its density.
#[inline(always)]
fn gelu_erf_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let (erf, bell) = erf_and_bell(s, x);
    let below = s.mul(s.splat(0.5), s.add(s.splat(1.0), erf));
    s.fma(s.mul(x, constant(s, 0x3ecc_422a)), bell, below)
}

#[inline(always)]
fn gelu_tanh_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.0), tanh_of_cubic(s, x)))
}

#[inline(always)]
fn tanh_of_cubic<S: Simd>(s: S, x: S::V) -> S::V {
    let cubic = s.fma(s.mul(s.mul(x, x), x), constant(s, 0x3d37_2713), x);
    tanh_lanes(s, s.mul(cubic, constant(s, 0x3f4c_422a)))
}

/// The derivative.
#[inline(always)]
fn gelu_tanh_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let (half, one) = (s.splat(0.5), s.splat(1.0));
    let t = tanh_of_cubic(s, x);
    let square = s.fma(s.mul(x, x), constant(s, 0x3e09_5d4f), one);
    let du = s.mul(square, constant(s, 0x3f4c_422a));
    let dt = s.sub(one, s.mul(t, t));
    s.fma(s.mul(s.mul(half, x), dt), du, s.mul(half, s.add(one, t)))
}
