//! Sixteen lanes in two AVX2 registers.

use super::{Kernel, LANES, Simd};
use std::arch::x86_64::*;

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Runs `kernel` compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has AVX2 and FMA; an [`Avx2`] proves it.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run<K: Kernel>(s: Avx2, kernel: K) -> K::Output {
    kernel.run(s)
}

/// Lanes 0..8 and 8..16.
#[derive(Clone, Copy)]
pub struct Pair(__m256, __m256);

macro_rules! lanewise {
    ($($name:ident = $intrinsic:ident($($arg:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Pair),+) -> Pair {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { Pair($intrinsic($($arg.0),+), $intrinsic($($arg.1),+)) }
        }
    )+};
}

/// 2^n from the bits of 1.5 * 2^23 + n, eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp2_of_magic(t: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

impl Simd for Avx2 {
    type V = Pair;
    const ACCUMULATORS: usize = 6;

    lanewise! {
        add = _mm256_add_ps(a, b);
        sub = _mm256_sub_ps(a, b);
        mul = _mm256_mul_ps(a, b);
        div = _mm256_div_ps(a, b);
        fma = _mm256_fmadd_ps(a, b, c);
        // vmaxps returns its second operand unless the first is greater: the rule of `Simd::max`.
        max = _mm256_max_ps(a, b);
        exp2_of_magic = exp2_of_magic(t);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let v = unsafe { _mm256_set1_ps(x) };
        Pair(v, v)
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe { Pair(_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 16 bytes read, unaligned.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().add(8).cast()));
            Pair(
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            )
        }
    }
    #[inline(always)]
    fn store(self, v: Pair, out: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes written, unaligned.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), v.0);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), v.1);
        }
    }
    #[inline(always)]
    fn select_less(self, a: Pair, b: Pair, x: Pair, y: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            Pair(
                _mm256_blendv_ps(y.0, x.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
                _mm256_blendv_ps(y.1, x.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)),
            )
        }
    }
    #[inline(always)]
    fn truncate(self, v: Pair, out: &mut [u32; LANES]) {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes written, unaligned.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_cvttps_epi32(v.0));
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), _mm256_cvttps_epi32(v.1));
        }
    }
}
