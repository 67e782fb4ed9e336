//! Dot products of bytes in one instruction, `vpdpbusd`: AVX-512 VNNI and AVX-VNNI.

use super::avx2::{Avx2, Sums as PairSums};
use super::avx512::Avx512;
use super::{Int8, Int8Kernel, LANES};
use std::arch::x86_64::*;

/// Proof that this machine has AVX-512 VNNI.
#[derive(Clone, Copy)]
pub struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }
}

/// Runs `kernel` compiled for AVX-512 VNNI.
///
/// # Safety
/// The machine has AVX-512 VNNI; an [`Avx512Vnni`] proves it.
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
pub unsafe fn run_avx512_vnni<K: Int8Kernel>(d: Avx512Vnni, kernel: K) {
    kernel.run(d);
}

impl Int8 for Avx512Vnni {
    type Floats = Avx512;
    type Sums = __m512i;
    type Weights = __m512i;
    const ACCUMULATORS: usize = 24;

    #[inline(always)]
    fn floats(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> __m512i {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes read, unaligned.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> __m512i {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes read, unaligned.
        unsafe { _mm512_loadu_si512(w.as_ptr().cast()) }
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: __m512i, acc: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(acc, _mm512_set1_epi32(i32::from_le_bytes(x)), w) }
    }
    #[inline(always)]
    fn to_floats(self, sums: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

/// Proof that this machine has AVX-VNNI.
#[derive(Clone, Copy)]
pub struct AvxVnni(Avx2);

impl AvxVnni {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }
}

/// Runs `kernel` compiled for AVX-VNNI.
///
/// # Safety
/// The machine has AVX-VNNI; an [`AvxVnni`] proves it.
#[target_feature(enable = "avxvnni,avx2,fma")]
pub unsafe fn run_avx_vnni<K: Int8Kernel>(d: AvxVnni, kernel: K) {
    kernel.run(d);
}

impl Int8 for AvxVnni {
    type Floats = Avx2;
    type Sums = PairSums;
    type Weights = PairSums;
    const ACCUMULATORS: usize = 6;

    #[inline(always)]
    fn floats(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> PairSums {
        self.0.sums(x)
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> PairSums {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe {
            let low = _mm256_loadu_si256(w.as_ptr().cast());
            PairSums(low, _mm256_loadu_si256(w.as_ptr().add(32).cast()))
        }
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: PairSums, acc: PairSums) -> PairSums {
        // SAFETY: `self` proves AVX-VNNI.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x));
            let low = _mm256_dpbusd_avx_epi32(acc.0, x, w.0);
            PairSums(low, _mm256_dpbusd_avx_epi32(acc.1, x, w.1))
        }
    }
    #[inline(always)]
    fn to_floats(self, sums: PairSums) -> super::avx2::Pair {
        self.0.to_floats(sums)
    }
}
