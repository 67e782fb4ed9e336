//! Sixteen lanes in one AVX-512 register.

use super::avx2::Avx2;
use super::{Kernel, LANES, Simd};
use std::arch::x86_64::*;

/// Proof that this machine has AVX-512F, and what that builds on.
#[derive(Clone, Copy)]
pub struct Avx512(Avx2);

impl Avx512 {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avx512f")).map(Self)
    }

    /// The proof that it has AVX2.
    pub fn avx2(self) -> Avx2 {
        self.0
    }
}

/// Runs `kernel` compiled for AVX-512F.
///
/// # Safety
/// The machine has AVX-512F; an [`Avx512`] proves it.
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn run<K: Kernel>(s: Avx512, kernel: K) -> K::Output {
    kernel.run(s)
}

macro_rules! lanewise {
    ($($name:ident = $intrinsic:ident($($arg:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: __m512),+) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe { $intrinsic($($arg),+) }
        }
    )+};
}

impl Simd for Avx512 {
    type V = __m512;
    const ACCUMULATORS: usize = 24;

    lanewise! {
        add = _mm512_add_ps(a, b);
        sub = _mm512_sub_ps(a, b);
        mul = _mm512_mul_ps(a, b);
        div = _mm512_div_ps(a, b);
        fma = _mm512_fmadd_ps(a, b, c);
        // vmaxps returns its second operand unless the first is greater: the rule of `Simd::max`.
        max = _mm512_max_ps(a, b);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes read, unaligned.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the reference covers the 32 bytes read, unaligned.
        unsafe {
            let half = _mm256_loadu_si256(x.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the reference covers the 32 bytes read, unaligned.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes written, unaligned.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn select_less(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn exp2_of_magic(self, t: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe {
            let biased = _mm512_add_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn truncate(self, v: __m512, out: &mut [u32; LANES]) {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes written, unaligned.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_cvttps_epi32(v)) }
    }
}
