//! Sixteen lanes in four registers of aarch64's NEON, and its dot products of bytes, `sdot`.
//!
//! Every aarch64 has NEON, whose `fmla` is fused always. Instructions whose intrinsics are not stable, or are not
//! in the oldest Rust, are written out.

use super::{Int4, Int4Kernel, Int8, Int8Kernel, Integers, LANES, Simd};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// The instruction set. Every machine of this architecture has it: no proof is needed.
#[derive(Clone, Copy)]
pub struct Neon;

/// Four lanes each.
type V = [float32x4_t; 4];

macro_rules! lanewise {
    ($($name:ident = $intrinsic:ident($($arg:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: V),+) -> V {
            // SAFETY: every aarch64 has NEON.
            std::array::from_fn(|i| unsafe { $intrinsic($($arg[i]),+) })
        }
    )+};
}

/// `a * b + c`, rounded once.
#[inline(always)]
unsafe fn multiply_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    // SAFETY: every aarch64 has NEON.
    unsafe { vfmaq_f32(c, a, b) }
}

/// `if a > b { a } else { b }`
#[inline(always)]
unsafe fn greater(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: every aarch64 has NEON.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

/// 2^n from the bits of 1.5 * 2^23 + n, four lanes.
#[inline(always)]
unsafe fn exp2_of_magic(t: float32x4_t) -> float32x4_t {
    // SAFETY: every aarch64 has NEON.
    unsafe {
        let biased = vaddq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32(127));
        vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
    }
}

/// Four binary16 values, widened exactly.
#[inline(always)]
fn widen_f16(x: uint16x4_t) -> float32x4_t {
    let out;
    // SAFETY: every aarch64 has this instruction; it touches no memory and no flags.
    unsafe {
        asm!(
            "fcvtl {out:v}.4s, {x:v}.4h", x = in(vreg) x, out = lateout(vreg) out,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    out
}

impl Simd for Neon {
    type V = V;
    const ACCUMULATORS: usize = 6;

    lanewise! {
        add = vaddq_f32(a, b);
        sub = vsubq_f32(a, b);
        mul = vmulq_f32(a, b);
        div = vdivq_f32(a, b);
        fma = multiply_add(a, b, c);
        max = greater(a, b);
        exp2_of_magic = exp2_of_magic(t);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        // SAFETY: every aarch64 has NEON.
        [unsafe { vdupq_n_f32(x) }; 4]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        // SAFETY: the reference covers the 4 * 16 bytes read; values are aligned.
        std::array::from_fn(|i| unsafe { vld1q_f32(x.as_ptr().add(4 * i)) })
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> V {
        // SAFETY: the reference covers the 4 * 8 bytes read; values are aligned.
        std::array::from_fn(|i| unsafe {
            let wide = vmovl_u16(vld1_u16(x.as_ptr().add(4 * i)));
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide))
        })
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> V {
        // SAFETY: the reference covers the 4 * 8 bytes read; values are aligned.
        std::array::from_fn(|i| widen_f16(unsafe { vld1_u16(x.as_ptr().add(4 * i)) }))
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32; LANES]) {
        for i in 0..4 {
            // SAFETY: the reference covers the 4 * 16 bytes written; values are aligned.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * i), v[i]) }
        }
    }
    #[inline(always)]
    fn select_less(self, a: V, b: V, x: V, y: V) -> V {
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), x[i], y[i]) })
    }
    #[inline(always)]
    fn truncate(self, v: V, out: &mut [u32; LANES]) {
        for i in 0..4 {
            // SAFETY: the reference covers the 4 * 16 bytes written; values are aligned.
            unsafe { vst1q_u32(out.as_mut_ptr().add(4 * i), vcvtq_u32_f32(v[i])) }
        }
    }
}

/// Sixteen sums of 32 bits, each in two halves side by side.
type Halves = [int32x4_t; 8];

/// The bytes of four outputs in each register.
type Bytes = [int8x16_t; 4];

/// Sixteen sums, each with a second half of 0.
#[inline(always)]
fn halves(sums: [int32x4_t; 4]) -> Halves {
    // SAFETY: every aarch64 has NEON.
    std::array::from_fn(|i| unsafe {
        let zeros = vdupq_n_s32(0);
        match i % 2 {
            0 => vzip1q_s32(sums[i / 2], zeros),
            _ => vzip2q_s32(sums[i / 2], zeros),
        }
    })
}

/// The sums, their halves added up, as floats.
#[inline(always)]
fn whole(halves: Halves) -> V {
    // SAFETY: every aarch64 has NEON.
    std::array::from_fn(|i| unsafe { vcvtq_f32_s32(vpaddq_s32(halves[2 * i], halves[2 * i + 1])) })
}

/// Reads sixteen sums.
#[inline(always)]
fn load_sums(x: &[i32; LANES]) -> [int32x4_t; 4] {
    // SAFETY: the reference covers the 4 * 16 bytes read; values are aligned.
    std::array::from_fn(|i| unsafe { vld1q_s32(x.as_ptr().add(4 * i)) })
}

/// Reads four weights of each of sixteen outputs.
#[inline(always)]
fn load_bytes(w: &[i8; 4 * LANES]) -> Bytes {
    // SAFETY: the reference covers the 4 * 16 bytes read.
    std::array::from_fn(|i| unsafe { vld1q_s8(w.as_ptr().add(16 * i)) })
}

/// The low and the high halves of a line's bytes.
#[inline(always)]
fn halves_of_bytes(line: &[u8; 4 * LANES]) -> [Bytes; 2] {
    // SAFETY: the reference covers the 4 * 16 bytes read; every aarch64 has NEON.
    let bytes: [uint8x16_t; 4] =
        std::array::from_fn(|i| unsafe { vld1q_u8(line.as_ptr().add(16 * i)) });
    // SAFETY: every aarch64 has NEON.
    unsafe {
        [
            bytes.map(|bytes| vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)))),
            bytes.map(|bytes| vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes))),
        ]
    }
}

/// Four activations, again and again.
#[inline(always)]
fn splat_bytes(x: u32) -> int8x16_t {
    // SAFETY: every aarch64 has NEON.
    unsafe { vreinterpretq_s8_u32(vdupq_n_u32(x)) }
}

/// Four activations less 128.
#[inline(always)]
fn less_128(x: [u8; 4]) -> u32 {
    u32::from_le_bytes(x) ^ 0x8080_8080
}

/// Products of 8 by 8 bits, `smull`, and their sums in pairs, `sadalp`.
impl Int8 for Neon {
    type Floats = Self;
    type Sums = Halves;
    type Weights = Bytes;
    const ACCUMULATORS: usize = 2;
    const LESS_128: bool = true;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> Halves {
        halves(load_sums(x))
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> Bytes {
        load_bytes(w)
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: Bytes, acc: Halves) -> Halves {
        let x = splat_bytes(less_128(x));
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe {
            let products = match i % 2 {
                0 => vmull_s8(vget_low_s8(w[i / 2]), vget_low_s8(x)),
                _ => vmull_high_s8(w[i / 2], x),
            };
            vpadalq_s16(acc[i], products)
        })
    }
    #[inline(always)]
    fn to_floats(self, sums: Halves) -> V {
        whole(sums)
    }
}

/// Products of 8 by 8 bits, added up in 16, `smlal`.
impl Int4 for Neon {
    type Floats = Self;
    type Sums = Halves;
    type Partial = [int16x8_t; 8];
    type Weights = Bytes;
    const ACCUMULATORS: usize = 1;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Halves {
        // SAFETY: every aarch64 has NEON.
        halves([unsafe { vdupq_n_s32(x) }; 4])
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [Bytes; 2] {
        halves_of_bytes(line)
    }
    #[inline(always)]
    fn begin(self, _: Halves) -> [int16x8_t; 8] {
        // SAFETY: every aarch64 has NEON.
        [unsafe { vdupq_n_s16(0) }; 8]
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: Bytes, acc: [int16x8_t; 8]) -> [int16x8_t; 8] {
        let x = splat_bytes(u32::from_le_bytes(x.map(|x| x as u8)));
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe {
            match i % 2 {
                0 => vmlal_s8(acc[i], vget_low_s8(w[i / 2]), vget_low_s8(x)),
                _ => vmlal_high_s8(acc[i], w[i / 2], x),
            }
        })
    }
    #[inline(always)]
    fn end(self, partial: [int16x8_t; 8], sums: Halves) -> Halves {
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe { vpadalq_s16(sums[i], partial[i]) })
    }
    #[inline(always)]
    fn joined(self, upper: Halves, lower: Halves) -> Halves {
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe { vaddq_s32(vshlq_n_s32::<8>(upper[i]), lower[i]) })
    }
    #[inline(always)]
    fn to_floats(self, sums: Halves) -> V {
        whole(sums)
    }
}

impl Integers for Neon {
    type Sums = [int32x4_t; 2];

    #[inline(always)]
    fn zeros(self) -> [int32x4_t; 2] {
        // SAFETY: every aarch64 has NEON.
        [unsafe { vdupq_n_s32(0) }; 2]
    }
    #[inline(always)]
    fn add_products(self, sums: [int32x4_t; 2], x: &[i32; 8], w: &[i32; 8]) -> [int32x4_t; 2] {
        // SAFETY: the references cover the 2 * 16 bytes read of each; values are aligned.
        std::array::from_fn(|i| unsafe {
            let (x, w) = (vld1q_s32(x.as_ptr().add(4 * i)), vld1q_s32(w.as_ptr().add(4 * i)));
            vsraq_n_s32::<8>(sums[i], vmulq_s32(x, w))
        })
    }
    #[inline(always)]
    fn total(self, [low, high]: [int32x4_t; 2]) -> i32 {
        // SAFETY: every aarch64 has NEON.
        unsafe { vaddvq_s32(vaddq_s32(low, high)) }
    }
}

/// Proof that this machine has dot products of bytes, `sdot`.
#[derive(Clone, Copy)]
pub struct NeonDot(());

impl NeonDot {
    /// The proof, where there is one.
    pub fn new() -> Option<Self> {
        is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }
}

/// Runs `kernel` compiled for dot products.
///
/// # Safety
/// The machine has them; a [`NeonDot`] proves it.
#[target_feature(enable = "dotprod")]
pub unsafe fn run_dot<K: Int8Kernel>(d: NeonDot, kernel: K) {
    kernel.run(d);
}

/// Runs `kernel` compiled for dot products.
///
/// # Safety
/// The machine has them; a [`NeonDot`] proves it.
#[target_feature(enable = "dotprod")]
pub unsafe fn run_dot_int4<K: Int4Kernel>(d: NeonDot, kernel: K) {
    kernel.run(d);
}

/// `acc[l] + x[4 l] * w[4 l] + .. + x[4 l + 3] * w[4 l + 3]`
#[inline]
#[target_feature(enable = "dotprod")]
fn sdot(mut acc: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the function is compiled for this instruction, which touches no memory and no flags.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {x:v}.16b, {w:v}.16b",
            acc = inout(vreg) acc, x = in(vreg) x, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

impl NeonDot {
    #[inline(always)]
    fn dot16(self, x: u32, w: Bytes, acc: [int32x4_t; 4]) -> [int32x4_t; 4] {
        let x = splat_bytes(x);
        // SAFETY: `self` proves dot products.
        std::array::from_fn(|i| unsafe { sdot(acc[i], x, w[i]) })
    }
}

impl Int8 for NeonDot {
    type Floats = Neon;
    type Sums = [int32x4_t; 4];
    type Weights = Bytes;
    const ACCUMULATORS: usize = 6;
    const LESS_128: bool = true;

    #[inline(always)]
    fn floats(self) -> Neon {
        Neon
    }
    #[inline(always)]
    fn sums(self, x: &[i32; LANES]) -> [int32x4_t; 4] {
        load_sums(x)
    }
    #[inline(always)]
    fn weights(self, w: &[i8; 4 * LANES]) -> Bytes {
        load_bytes(w)
    }
    #[inline(always)]
    fn dot4(self, x: [u8; 4], w: Bytes, acc: [int32x4_t; 4]) -> [int32x4_t; 4] {
        self.dot16(less_128(x), w, acc)
    }
    #[inline(always)]
    fn to_floats(self, sums: [int32x4_t; 4]) -> V {
        // SAFETY: every aarch64 has NEON.
        sums.map(|sums| unsafe { vcvtq_f32_s32(sums) })
    }
}

impl Int4 for NeonDot {
    type Floats = Neon;
    type Sums = [int32x4_t; 4];
    type Partial = [int32x4_t; 4];
    type Weights = Bytes;
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn floats(self) -> Neon {
        Neon
    }
    #[inline(always)]
    fn splat(self, x: i32) -> [int32x4_t; 4] {
        // SAFETY: every aarch64 has NEON.
        [unsafe { vdupq_n_s32(x) }; 4]
    }
    #[inline(always)]
    fn weights(self, line: &[u8; 4 * LANES]) -> [Bytes; 2] {
        halves_of_bytes(line)
    }
    #[inline(always)]
    fn begin(self, sums: [int32x4_t; 4]) -> [int32x4_t; 4] {
        sums
    }
    #[inline(always)]
    fn dot4(self, x: [i8; 4], w: Bytes, acc: [int32x4_t; 4]) -> [int32x4_t; 4] {
        self.dot16(u32::from_le_bytes(x.map(|x| x as u8)), w, acc)
    }
    #[inline(always)]
    fn end(self, partial: [int32x4_t; 4], _: [int32x4_t; 4]) -> [int32x4_t; 4] {
        partial
    }
    #[inline(always)]
    fn joined(self, upper: [int32x4_t; 4], lower: [int32x4_t; 4]) -> [int32x4_t; 4] {
        // SAFETY: every aarch64 has NEON.
        std::array::from_fn(|i| unsafe { vaddq_s32(vshlq_n_s32::<8>(upper[i]), lower[i]) })
    }
    #[inline(always)]
    fn to_floats(self, sums: [int32x4_t; 4]) -> V {
        Int8::to_floats(self, sums)
    }
}
