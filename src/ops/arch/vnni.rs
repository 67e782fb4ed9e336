//! Dot products of bytes in one instruction, `vpdpbusd`: AVX-512 VNNI and AVX-VNNI.

use super::avx2::{Avx2, Sums as PairSums};
use super::avx512::Avx512;
use super::{Int4, Int4Kernel, Int8, Int8Kernel, LANES};
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

/// Runs `kernel` compiled for AVX-512 VNNI.
///
/// # Safety
/// The machine has AVX-512 VNNI; an [`Avx512Vnni`] proves it.
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
pub unsafe fn run_avx512_vnni_int4<K: Int4Kernel>(d: Avx512Vnni, kernel: K) {
    kernel.run(d);
}

impl Int4 for Avx512Vnni {
    type Floats = Avx512;
    type Sums = __m512i;
    type Partial = __m512i;
    type Weights = __m512i;
    const ACCUMULATORS: usize = 24;

    #[inline(always)]
    fn floats(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn splat(self, x: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [__m512i; 2] {
        // SAFETY: `self` proves AVX-512F; the reference covers the 64 bytes read, unaligned.
        unsafe {
            let halves = _mm512_loadu_si512(line.as_ptr().cast());
            let mask = _mm512_set1_epi32(0x0f0f_0f0f);
            let high = _mm512_and_si512(_mm512_srli_epi32::<4>(halves), mask);
            [_mm512_and_si512(halves, mask), high]
        }
    }
    #[inline(always)]
    fn begin(self, sums: __m512i) -> __m512i {
        sums
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: __m512i, acc: __m512i) -> __m512i {
        let x = i32::from_le_bytes(x.map(|x| x as u8));
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(x)) }
    }
    #[inline(always)]
    fn end(self, partial: __m512i, _: __m512i) -> __m512i {
        partial
    }
    #[inline(always)]
    fn joined(self, upper: __m512i, lower: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_epi32(_mm512_slli_epi32::<8>(upper), lower) }
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
        Int8::sums(self.0, x)
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
        Int8::to_floats(self.0, sums)
    }
}

/// Runs `kernel` compiled for AVX-VNNI.
///
/// # Safety
/// The machine has AVX-VNNI; an [`AvxVnni`] proves it.
#[target_feature(enable = "avxvnni,avx2,fma")]
pub unsafe fn run_avx_vnni_int4<K: Int4Kernel>(d: AvxVnni, kernel: K) {
    kernel.run(d);
}

impl Int4 for AvxVnni {
    type Floats = Avx2;
    type Sums = PairSums;
    type Partial = PairSums;
    type Weights = PairSums;
    const ACCUMULATORS: usize = 6;

    #[inline(always)]
    fn floats(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn splat(self, x: i32) -> PairSums {
        self.0.splat_sums(x)
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [PairSums; 2] {
        self.0.halves(line)
    }
    #[inline(always)]
    fn begin(self, sums: PairSums) -> PairSums {
        sums
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: PairSums, acc: PairSums) -> PairSums {
        let x = i32::from_le_bytes(x.map(|x| x as u8));
        // SAFETY: `self` proves AVX-VNNI.
        unsafe {
            let x = _mm256_set1_epi32(x);
            let low = _mm256_dpbusd_avx_epi32(acc.0, w.0, x);
            PairSums(low, _mm256_dpbusd_avx_epi32(acc.1, w.1, x))
        }
    }
    #[inline(always)]
    fn end(self, partial: PairSums, _: PairSums) -> PairSums {
        partial
    }
    #[inline(always)]
    fn joined(self, upper: PairSums, lower: PairSums) -> PairSums {
        Int4::joined(self.0, upper, lower)
    }
    #[inline(always)]
    fn to_floats(self, sums: PairSums) -> super::avx2::Pair {
        Int4::to_floats(self.0, sums)
    }
}
