//! Sixteen lanes in two AVX2 registers.

use super::{Int4, Int4Kernel, Int8, Int8Kernel, IntegerKernel, Integers, Kernel, LANES, Simd};
use std::arch::x86_64::*;

/// Proof that this machine has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has_all.then_some(Self(()))
    }
}

/// Runs `kernel` compiled for AVX2, FMA and F16C.
///
/// # Safety
/// The machine has AVX2, FMA and F16C; an [`Avx2`] proves it.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn run<K: Kernel>(s: Avx2, kernel: K) -> K::Output {
    kernel.run(s)
}

/// Runs `kernel` compiled for AVX2 and FMA, by the way that its weights allow.
///
/// # Safety
/// The machine has AVX2 and FMA; an [`Avx2`] proves it.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run_int8<K: Int8Kernel>(d: Avx2, kernel: K) {
    match kernel.greatest() {
        ..=Narrow::GREATEST => kernel.run(Narrow(d)),
        _ => kernel.run(d),
    }
}

/// Runs `kernel` compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has AVX2 and FMA; an [`Avx2`] proves it.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run_integers<K: IntegerKernel>(i: Avx2, kernel: K) -> K::Output {
    kernel.run(i)
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
    fn load_f16(self, x: &[u16; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2 and F16C; the reference covers the 2 * 16 bytes read, unaligned.
        unsafe {
            let low = _mm_loadu_si128(x.as_ptr().cast());
            let high = _mm_loadu_si128(x.as_ptr().add(8).cast());
            Pair(_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
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

/// Sums 0..8 and 8..16.
#[derive(Clone, Copy)]
pub struct Sums(pub __m256i, pub __m256i);

/// Weights of 16 bits: those of even and those of odd inputs, for each half of the outputs.
#[derive(Clone, Copy)]
pub struct Wide {
    even: Sums,
    odd: Sums,
}

/// Even and odd bytes of each half, as 16 bits with their signs.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(bytes: __m256i) -> [__m256i; 2] {
    let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
    [even, _mm256_srai_epi16::<8>(bytes)]
}

/// Products of 16 by 16 bits, `vpmaddwd`: unlike those of bytes, `vpmaddubsw`, they never saturate.
impl Int8 for Avx2 {
    type Floats = Self;
    type Sums = Sums;
    type Weights = Wide;
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> Sums {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe {
            let low = _mm256_loadu_si256(x.as_ptr().cast());
            Sums(low, _mm256_loadu_si256(x.as_ptr().add(8).cast()))
        }
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> Wide {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe {
            let low = widen(_mm256_loadu_si256(w.as_ptr().cast()));
            let high = widen(_mm256_loadu_si256(w.as_ptr().add(32).cast()));
            Wide { even: Sums(low[0], high[0]), odd: Sums(low[1], high[1]) }
        }
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: Wide, acc: Sums) -> Sums {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x));
            let even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
            let odd = _mm256_srli_epi16::<8>(x);
            let sum = |acc, w_even, w_odd| {
                let products = _mm256_madd_epi16(odd, w_odd);
                let acc = _mm256_add_epi32(acc, _mm256_madd_epi16(even, w_even));
                _mm256_add_epi32(acc, products)
            };
            Sums(sum(acc.0, w.even.0, w.odd.0), sum(acc.1, w.even.1, w.odd.1))
        }
    }
    #[inline(always)]
    fn to_floats(self, sums: Sums) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_cvtepi32_ps(sums.0), _mm256_cvtepi32_ps(sums.1)) }
    }
}

/// Products of bytes, `vpmaddubsw`, of weights so small that its sums of two do not saturate.
#[derive(Clone, Copy)]
pub struct Narrow(Avx2);

impl Narrow {
    /// The greatest magnitude of a weight: two products with 255 are below 2^15.
    const GREATEST: u8 = 64;
}

impl Int8 for Narrow {
    type Floats = Avx2;
    type Sums = Sums;
    type Weights = Sums;
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn floats(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> Sums {
        self.0.sums(x)
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> Sums {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe {
            let low = _mm256_loadu_si256(w.as_ptr().cast());
            Sums(low, _mm256_loadu_si256(w.as_ptr().add(32).cast()))
        }
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: Sums, acc: Sums) -> Sums {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let (x, ones) = (_mm256_set1_epi32(i32::from_le_bytes(x)), _mm256_set1_epi16(1));
            let low = _mm256_madd_epi16(_mm256_maddubs_epi16(x, w.0), ones);
            let high = _mm256_madd_epi16(_mm256_maddubs_epi16(x, w.1), ones);
            Sums(_mm256_add_epi32(acc.0, low), _mm256_add_epi32(acc.1, high))
        }
    }
    #[inline(always)]
    fn to_floats(self, sums: Sums) -> Pair {
        Int8::to_floats(self.0, sums)
    }
}

/// Runs `kernel` compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has AVX2 and FMA; an [`Avx2`] proves it.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run_int4<K: Int4Kernel>(d: Avx2, kernel: K) {
    kernel.run(d);
}

impl Avx2 {
    /// All sums `x`.
    #[inline(always)]
    pub fn splat_sums(self, x: i32) -> Sums {
        // SAFETY: `self` proves AVX2.
        let x = unsafe { _mm256_set1_epi32(x) };
        Sums(x, x)
    }

    /// The low and the high halves of a line's bytes.
    #[inline(always)]
    pub fn halves(self, line: &[u8; 4 * LANES]) -> [Sums; 2] {
        // SAFETY: `self` proves AVX2; the reference covers the 2 * 32 bytes read, unaligned.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let first = _mm256_loadu_si256(line.as_ptr().cast());
            let second = _mm256_loadu_si256(line.as_ptr().add(32).cast());
            let high = |bytes| _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
            [
                Sums(_mm256_and_si256(first, mask), _mm256_and_si256(second, mask)),
                Sums(high(first), high(second)),
            ]
        }
    }
}

/// Products of bytes, `vpmaddubsw`: of weights up to 15 none saturates, and partial sums are of 16 bits.
impl Int4 for Avx2 {
    type Floats = Self;
    type Sums = Sums;
    type Partial = Sums;
    type Weights = Sums;
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Sums {
        self.splat_sums(x)
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [Sums; 2] {
        self.halves(line)
    }
    #[inline(always)]
    fn begin(self, _: Sums) -> Sums {
        self.splat_sums(0)
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: Sums, acc: Sums) -> Sums {
        let x = i32::from_le_bytes(x.map(|x| x as u8));
        // SAFETY: `self` proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(x);
            let low = _mm256_add_epi16(acc.0, _mm256_maddubs_epi16(w.0, x));
            Sums(low, _mm256_add_epi16(acc.1, _mm256_maddubs_epi16(w.1, x)))
        }
    }
    #[inline(always)]
    fn end(self, partial: Sums, sums: Sums) -> Sums {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let low = _mm256_add_epi32(sums.0, _mm256_madd_epi16(partial.0, ones));
            Sums(low, _mm256_add_epi32(sums.1, _mm256_madd_epi16(partial.1, ones)))
        }
    }
    #[inline(always)]
    fn joined(self, upper: Sums, lower: Sums) -> Sums {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let low = _mm256_add_epi32(_mm256_slli_epi32::<8>(upper.0), lower.0);
            Sums(low, _mm256_add_epi32(_mm256_slli_epi32::<8>(upper.1), lower.1))
        }
    }
    #[inline(always)]
    fn to_floats(self, sums: Sums) -> Pair {
        Int8::to_floats(self, sums)
    }
}

impl Integers for Avx2 {
    type Sums = __m256i;

    #[inline(always)]
    fn zeros(self) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    fn add_products(self, sums: __m256i, x: &[i32; 8], w: &[i32; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2; the references cover the 32 bytes read of each, unaligned.
        unsafe {
            let x = _mm256_loadu_si256(x.as_ptr().cast());
            let products = _mm256_mullo_epi32(x, _mm256_loadu_si256(w.as_ptr().cast()));
            _mm256_add_epi32(sums, _mm256_srai_epi32::<8>(products))
        }
    }
    #[inline(always)]
    fn total(self, sums: __m256i) -> i32 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let high = _mm256_extracti128_si256::<1>(sums);
            let four = _mm_add_epi32(_mm256_castsi256_si128(sums), high);
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
        }
    }
}
