//! Sixteen lanes in plain Rust, for LLVM to vectorise.

use super::{Int4, Int8, Integers, LANES, Simd};
use crate::ops::fma::fma;
use half::f16;

/// The path that every machine has.
#[derive(Clone, Copy)]
pub struct Portable;

type V = [f32; LANES];

#[inline(always)]
fn each(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        out[l] = f(a[l], b[l]);
    }
    out
}

impl Simd for Portable {
    type V = V;
    const ACCUMULATORS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        *x
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> V {
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = f32::from_bits(u32::from(x[l]) << 16);
        }
        out
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> V {
        x.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32; LANES]) {
        *out = v;
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = fma(a[l], b[l], c[l]);
        }
        out
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn select_less(self, a: V, b: V, x: V, y: V) -> V {
        let mut out = y;
        for l in 0..LANES {
            if a[l] < b[l] {
                out[l] = x[l];
            }
        }
        out
    }
    #[inline(always)]
    fn exp2_of_magic(self, t: V) -> V {
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = f32::from_bits(t[l].to_bits().wrapping_add(127) << 23);
        }
        out
    }
    #[inline(always)]
    fn truncate(self, v: V, out: &mut [u32; LANES]) {
        for l in 0..LANES {
            out[l] = v[l] as u32;
        }
    }
}

impl Int8 for Portable {
    type Floats = Self;
    type Sums = [i32; LANES];
    type Weights = [i8; 4 * LANES];
    const ACCUMULATORS: usize = 2;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> [i32; LANES] {
        *x
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> [i8; 4 * LANES] {
        *w
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: [i8; 4 * LANES], mut acc: [i32; LANES]) -> [i32; LANES] {
        for l in 0..LANES {
            let product = |i: usize| i32::from(x[i]) * i32::from(w[4 * l + i]);
            let sum = (product(0) + product(1)) + (product(2) + product(3));
            acc[l] = acc[l].wrapping_add(sum);
        }
        acc
    }
    #[inline(always)]
    fn to_floats(self, sums: [i32; LANES]) -> V {
        sums.map(|sum| sum as f32)
    }
}

impl Int4 for Portable {
    type Floats = Self;
    type Sums = [i32; LANES];
    type Partial = [i32; LANES];
    type Weights = [u8; 4 * LANES];
    const ACCUMULATORS: usize = 2;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: i32) -> [i32; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [[u8; 4 * LANES]; 2] {
        [line.map(|byte| byte & 15), line.map(|byte| byte >> 4)]
    }
    #[inline(always)]
    fn begin(self, sums: [i32; LANES]) -> [i32; LANES] {
        sums
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: [u8; 4 * LANES], mut acc: [i32; LANES]) -> [i32; LANES] {
        for l in 0..LANES {
            let product = |i: usize| i32::from(x[i]) * i32::from(w[4 * l + i]);
            let sum = (product(0) + product(1)) + (product(2) + product(3));
            acc[l] = acc[l].wrapping_add(sum);
        }
        acc
    }
    #[inline(always)]
    fn end(self, partial: [i32; LANES], _: [i32; LANES]) -> [i32; LANES] {
        partial
    }
    #[inline(always)]
    fn joined(self, upper: [i32; LANES], mut lower: [i32; LANES]) -> [i32; LANES] {
        for l in 0..LANES {
            lower[l] = lower[l].wrapping_add(upper[l] << 8);
        }
        lower
    }
    #[inline(always)]
    fn to_floats(self, sums: [i32; LANES]) -> V {
        sums.map(|sum| sum as f32)
    }
}

impl Integers for Portable {
    type Sums = [i32; 8];

    #[inline(always)]
    fn zeros(self) -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    fn add_products(self, mut sums: [i32; 8], x: &[i32; 8], w: &[i32; 8]) -> [i32; 8] {
        for l in 0..8 {
            sums[l] = sums[l].wrapping_add(x[l].wrapping_mul(w[l]) >> 8);
        }
        sums
    }
    #[inline(always)]
    fn total(self, sums: [i32; 8]) -> i32 {
        sums.into_iter().fold(0, i32::wrapping_add)
    }
}
