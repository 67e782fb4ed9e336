//! Sixteen lanes in four registers of WebAssembly's simd128.
//!
//! It has no fused multiply-add: relaxed-simd's may round once or twice, as the machine likes. Here one is
//! made of operations on `f64` ([`Simd128::fma`]).

use super::portable::Portable;
use super::{Int8, Integers, LANES, Simd};
use std::arch::wasm32::*;

/// The instruction set. A module is compiled for it as a whole, or not at all: no proof is needed.
#[derive(Clone, Copy)]
pub struct Simd128;

/// Four lanes each.
type V = [v128; 4];

macro_rules! lanewise {
    ($($name:ident = $intrinsic:ident($($arg:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: V),+) -> V {
            std::array::from_fn(|i| $intrinsic($($arg[i]),+))
        }
    )+};
}

/// Reads four values from `at` on.
#[inline(always)]
fn load4<T>(x: &[T; LANES], at: usize) -> v128 {
    debug_assert!(size_of::<T>() == 4 && at + 4 <= LANES);
    // SAFETY: the reference covers these 16 bytes; no alignment is needed.
    unsafe { v128_load(x.as_ptr().add(at).cast()) }
}

/// Writes four values from `at` on.
#[inline(always)]
fn store4<T>(v: v128, x: &mut [T; LANES], at: usize) {
    debug_assert!(size_of::<T>() == 4 && at + 4 <= LANES);
    // SAFETY: the reference covers these 16 bytes; no alignment is needed.
    unsafe { v128_store(x.as_mut_ptr().add(at).cast(), v) }
}

/// `if a > b { a } else { b }`. Not `f32x4_pmax(b, a)`, which should be the same and, compiled by Rust 1.95 and run by
/// Node 20, gave a where a is NaN (2026-11-30).
#[inline(always)]
fn greater(a: v128, b: v128) -> v128 {
    v128_bitselect(a, b, f32x4_gt(a, b))
}

/// Lanes 0 and 1, and 2 and 3, as `f64`: exact.
#[inline(always)]
fn promote(v: v128) -> [v128; 2] {
    [f64x2_promote_low_f32x4(v), f64x2_promote_low_f32x4(i32x4_shuffle::<2, 3, 2, 3>(v, v))]
}

/// Four `f64` rounded to `f32`.
#[inline(always)]
fn demote([low, high]: [v128; 2]) -> v128 {
    i32x4_shuffle::<0, 1, 4, 5>(f32x4_demote_f64x2_zero(low), f32x4_demote_f64x2_zero(high))
}

/// `a * b + c` of two `f64` that are exact `f32`, rounded to odd: by [`soft_fma`](crate::ops::fma::soft_fma)'s
/// method, whose steps on the bits are comparisons here.
#[inline(always)]
fn fma_to_odd(a: v128, b: v128, c: v128) -> v128 {
    let product = f64x2_mul(a, b);
    let sum = f64x2_add(product, c);
    let from_c = f64x2_sub(sum, product);
    let error = f64x2_add(f64x2_sub(product, f64x2_sub(sum, from_c)), f64x2_sub(c, from_c));
    // Of the error's sign against the sum's; it neither overflows nor vanishes. NaN where the sum is not finite.
    let away = f64x2_mul(error, sum);
    let is_less = f64x2_lt(away, f64x2_splat(0.0));
    let is_more = f64x2_gt(away, f64x2_splat(0.0));
    let inexact = v128_and(v128_or(is_less, is_more), i64x2_splat(1));
    v128_or(i64x2_add(sum, is_less), inexact)
}

/// [`Simd128::fma`] where a lane is in doubt.
#[cold]
#[inline(never)]
fn fma_by_rounding_to_odd(a: &V, b: &V, c: &V) -> V {
    std::array::from_fn(|i| {
        let (a, b, c) = (promote(a[i]), promote(b[i]), promote(c[i]));
        demote([fma_to_odd(a[0], b[0], c[0]), fma_to_odd(a[1], b[1], c[1])])
    })
}

impl Simd for Simd128 {
    type V = V;
    const ACCUMULATORS: usize = 6;

    lanewise! {
        add = f32x4_add(a, b);
        sub = f32x4_sub(a, b);
        mul = f32x4_mul(a, b);
        div = f32x4_div(a, b);
        max = greater(a, b);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [f32x4_splat(x); 4]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        std::array::from_fn(|i| load4(x, 4 * i))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> V {
        // SAFETY: the reference covers the 2 * 16 bytes read; no alignment is needed.
        let halves = unsafe { [v128_load(x.as_ptr().cast()), v128_load(x.as_ptr().add(8).cast())] };
        std::array::from_fn(|i| {
            let half = halves[i / 2];
            let wide = if i % 2 == 0 {
                u32x4_extend_low_u16x8(half)
            } else {
                u32x4_extend_high_u16x8(half)
            };
            i32x4_shl(wide, 16)
        })
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> V {
        self.load(&Portable.load_f16(x))
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32; LANES]) {
        for i in 0..4 {
            store4(v[i], out, 4 * i);
        }
    }
    /// The product of two `f32` is exact in `f64`. The sum is rounded to `f64`, then to `f32`, which differs
    /// from one rounding only where the first arrives at a point halfway between two neighbouring `f32`. Then
    /// its last 29 bits are 1 and zeros; where the result is subnormal, more zeros, so that all results
    /// up to 2^-126 are in doubt but 0 (a sum that becomes 0 by a tie is exact: it has few bits). If a lane is, which is
    /// rare, all are done again by rounding to odd.
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        let mut halfway = i32x4_splat(0); // a sign where a lane is
        let mut smallest = i32x4_splat(-1); // twice the bits of a result, less 1
        let mut out = [f32x4_splat(0.0); 4];
        for i in 0..4 {
            let (a, b, c) = (promote(a[i]), promote(b[i]), promote(c[i]));
            let low = f64x2_add(f64x2_mul(a[0], b[0]), c[0]);
            let high = f64x2_add(f64x2_mul(a[1], b[1]), c[1]);
            // Of 2^31 alone the magnitude has a sign.
            let last_bits = i32x4_shl(i32x4_shuffle::<0, 2, 4, 6>(low, high), 3);
            halfway = v128_or(halfway, i32x4_abs(last_bits));
            out[i] = demote([low, high]);
            let bits = i32x4_add(out[i], out[i]);
            smallest = u32x4_min(smallest, i32x4_add(bits, i32x4_splat(-1)));
        }
        let subnormal = i32x4_add(u32x4_shr(smallest, 24), i32x4_splat(-1));
        match i32x4_bitmask(v128_or(halfway, subnormal)) {
            0 => out,
            _ => fma_by_rounding_to_odd(&a, &b, &c),
        }
    }
    #[inline(always)]
    fn select_less(self, a: V, b: V, x: V, y: V) -> V {
        std::array::from_fn(|i| v128_bitselect(x[i], y[i], f32x4_lt(a[i], b[i])))
    }
    #[inline(always)]
    fn exp2_of_magic(self, t: V) -> V {
        t.map(|t| i32x4_shl(i32x4_add(t, i32x4_splat(127)), 23))
    }
    #[inline(always)]
    fn truncate(self, v: V, out: &mut [u32; LANES]) {
        for i in 0..4 {
            store4(i32x4_trunc_sat_f32x4(v[i]), out, 4 * i);
        }
    }
}

/// Weights of 16 bits: those of even and those of odd inputs.
#[derive(Clone, Copy)]
pub struct Wide {
    even: V,
    odd: V,
}

/// Products of 16 by 16 bits, summed in pairs: `i32x4.dot_i16x8_s`.
impl Int8 for Simd128 {
    type Floats = Self;
    type Sums = V;
    type Weights = Wide;
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> V {
        std::array::from_fn(|i| load4(x, 4 * i))
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> Wide {
        // SAFETY: the reference covers the 4 * 16 bytes read; no alignment is needed.
        let bytes: V = std::array::from_fn(|i| unsafe { v128_load(w.as_ptr().add(16 * i).cast()) });
        let even = bytes.map(|bytes| i16x8_shr(i16x8_shl(bytes, 8), 8));
        Wide { even, odd: bytes.map(|bytes| i16x8_shr(bytes, 8)) }
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: Wide, acc: V) -> V {
        let x = i32x4_splat(i32::from_le_bytes(x));
        let (even, odd) = (v128_and(x, i16x8_splat(0xff)), u16x8_shr(x, 8));
        std::array::from_fn(|i| {
            let acc = i32x4_add(acc[i], i32x4_dot_i16x8(even, w.even[i]));
            i32x4_add(acc, i32x4_dot_i16x8(odd, w.odd[i]))
        })
    }
    #[inline(always)]
    fn to_floats(self, sums: V) -> V {
        sums.map(|sums| f32x4_convert_i32x4(sums))
    }
}

impl Integers for Simd128 {
    type Sums = [v128; 2];

    #[inline(always)]
    fn zeros(self) -> [v128; 2] {
        [i32x4_splat(0); 2]
    }
    #[inline(always)]
    fn add_products(self, sums: [v128; 2], x: &[i32; 8], w: &[i32; 8]) -> [v128; 2] {
        let four = |x: &[i32; 8], at| i32x4(x[at], x[at + 1], x[at + 2], x[at + 3]);
        std::array::from_fn(|i| {
            let products = i32x4_mul(four(x, 4 * i), four(w, 4 * i));
            i32x4_add(sums[i], i32x4_shr(products, 8))
        })
    }
    #[inline(always)]
    fn total(self, [low, high]: [v128; 2]) -> i32 {
        let four = i32x4_add(low, high);
        let two = i32x4_add(four, i32x4_shuffle::<2, 3, 2, 3>(four, four));
        i32x4_extract_lane::<0>(two).wrapping_add(i32x4_extract_lane::<1>(two))
    }
}
