//! Rules 16 and 26: rows and groups of numbers as small integers and a scale.
//!
//! The greatest magnitude of a row becomes the greatest integer, everything between is rounded to
//! the nearest, ties to even (symmetric quantization; Jacob et al., "Quantization and Training of
//! Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018). What is coded with one
//! machine's integers is decoded with another's, so every rounding here is written down in
//! `docs/numerics.md`.
//!
//! The loops are plain Rust that LLVM vectorises for the instruction set of [`Isa::run`].

use super::arch::{Isa, Kernel, Simd};
use half::{bf16, f16};

/// Weights, and activations of 8 bits, are -127..=127.
pub const WEIGHT_LIMIT: f32 = 127.0;

/// Rows whose greatest magnitude is below 2^-100 count as zeros: no reciprocal overflows.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);

/// 1.5 * 2^23: a sum with it is an integer, in the low bits of its representation.
const MAGIC: f32 = 12_582_912.0;

/// A byte in which 0 stands for -128, as the dot products take activations.
const SIGN: u8 = 0x80;

/// How many bits a quantized activation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationBits {
    /// -127..=127
    Eight,
    /// -32767..=32767
    Sixteen,
}

impl ActivationBits {
    /// As a number.
    pub fn bits(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// The greatest integer.
    fn limit(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Sixteen => 32_767.0,
        }
    }

    /// The greatest integer beside weights of four bits: its upper and lower part are signed bytes.
    fn limit_beside_int4(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Sixteen => 32_639.0, // 127 * 256 + 127
        }
    }
}

/// Quantized rows of activations; kept between calls, so that none allocates.
#[derive(Default)]
pub struct QuantRows {
    /// `[rows][planes][K / 4]`, rounded up. One plane is the integers plus 128. Two are the
    /// integers' upper bytes plus 128, and their lower bytes.
    pub(super) words: Vec<[u8; 4]>,
    /// `[rows]`
    pub(super) scales: Vec<f32>,
    pub(super) inputs: usize,
    pub(super) planes: usize,
}

impl QuantRows {
    /// Becomes the rows of x: `[rows][inputs]`.
    pub fn quantize(&mut self, isa: Isa, bits: ActivationBits, x: &[f32], inputs: usize) {
        let rows = x.len() / inputs;
        self.inputs = inputs;
        self.planes = bits.bits() as usize / 8;
        self.words.resize(rows * self.planes * inputs.div_ceil(4), [0; 4]);
        self.scales.resize(rows, 0.0);
        isa.run(Quantize { bits, x, rows: self });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }
}

struct Quantize<'a> {
    bits: ActivationBits,
    x: &'a [f32],
    rows: &'a mut QuantRows,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { bits, x, rows } = self;
        let plane = 4 * rows.inputs.div_ceil(4);
        let codes = rows.words.as_flattened_mut().chunks_exact_mut(plane * rows.planes);
        for ((x, codes), scale) in x.chunks_exact(rows.inputs).zip(codes).zip(&mut rows.scales) {
            let (factor, row_scale) = factors(greatest(x), bits.limit());
            *scale = row_scale;
            let (upper, lower) = codes.split_at_mut(plane);
            match bits {
                _ if factor == 0.0 => {
                    upper.fill(SIGN);
                    lower.fill(0);
                }
                ActivationBits::Eight => bytes(x, factor, upper),
                ActivationBits::Sixteen => byte_pairs(x, factor, upper, lower),
            }
        }
    }
}

/// Quantized rows of activations for layers of four-bit weights; kept between calls, so that none
/// allocates.
#[derive(Default)]
pub struct GroupRows {
    /// `[rows][planes][K / 8]`, rounded up. One plane is the integers. Two are their upper bytes
    /// and what remains, from -128 to 127.
    pub(super) words: Vec<[[i8; 4]; 2]>,
    /// Sums of each group's integers: `[rows][groups]`.
    pub(super) sums: Vec<i32>,
    /// `[rows]`
    pub(super) scales: Vec<f32>,
    pub(super) inputs: usize,
    pub(super) group: usize,
    pub(super) planes: usize,
    /// A row in the weights' order.
    ordered: Vec<f32>,
}

impl GroupRows {
    /// Becomes the rows of x: `[rows][inputs]`, in groups of `group` inputs, a multiple of 8, the
    /// last of which may be shorter. Input k is element `order[k]` of a row; `order` is empty where
    /// it is k.
    pub fn quantize(
        &mut self,
        isa: Isa,
        bits: ActivationBits,
        x: &[f32],
        (inputs, group): (usize, usize),
        order: &[u32],
    ) {
        assert!(group > 0 && group.is_multiple_of(8), "groups of {group} inputs");
        let rows = x.len() / inputs;
        (self.inputs, self.group) = (inputs, group);
        self.planes = bits.bits() as usize / 8;
        self.words.resize(rows * self.planes * inputs.div_ceil(8), [[0; 4]; 2]);
        self.sums.resize(rows * inputs.div_ceil(group), 0);
        self.scales.resize(rows, 0.0);
        isa.run(QuantizeGroups { bits, x, order, rows: self });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }
}

struct QuantizeGroups<'a> {
    bits: ActivationBits,
    x: &'a [f32],
    order: &'a [u32],
    rows: &'a mut GroupRows,
}

impl Kernel for QuantizeGroups<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { bits, x, order, rows } = self;
        let GroupRows { words, sums, scales, inputs, group, planes, ordered } = rows;
        let plane = 8 * inputs.div_ceil(8);
        let codes = words.as_flattened_mut().as_flattened_mut().chunks_exact_mut(plane * *planes);
        let sums = sums.chunks_exact_mut(inputs.div_ceil(*group));
        for (((x, codes), sums), scale) in x.chunks_exact(*inputs).zip(codes).zip(sums).zip(scales)
        {
            let x = match order {
                [] => x,
                order => {
                    ordered.clear();
                    ordered.extend(order.iter().map(|&k| x[k as usize]));
                    &ordered[..]
                }
            };
            let (factor, row_scale) = factors(greatest(x), bits.limit_beside_int4());
            *scale = row_scale;
            if factor == 0.0 {
                codes.fill(0);
                sums.fill(0);
                continue;
            }
            let (upper, lower) = codes.split_at_mut(plane);
            let groups = x.chunks(*group).zip(upper.chunks_mut(*group)).zip(sums);
            match bits {
                ActivationBits::Eight => groups.for_each(|((x, out), sum)| {
                    *sum = signed_bytes(x, factor, out);
                }),
                ActivationBits::Sixteen => {
                    groups.zip(lower.chunks_mut(*group)).for_each(|(((x, upper), sum), lower)| {
                        *sum = signed_pairs(x, factor, upper, lower);
                    });
                }
            }
        }
    }
}

/// Quantizes output weights: row, out: `[K]`; returns the scale.
pub fn quantize_weights(row: &[f32], out: &mut [i8]) -> f32 {
    let (factor, scale) = factors(greatest(row), WEIGHT_LIMIT);
    for (out, &x) in out.iter_mut().zip(row) {
        *out = if factor == 0.0 { 0 } else { integer_bits(x, factor) as i8 };
    }
    scale
}

/// The precision in which the scale of a group of four-bit weights is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalePrecision {
    /// binary32
    F32,
    /// binary16
    F16,
    /// bfloat16
    Bf16,
}

impl ScalePrecision {
    /// Rounds a scale to the nearest that can be stored, ties to even.
    pub fn round(self, scale: f32) -> f32 {
        match self {
            Self::F32 => scale,
            Self::F16 => f16::from_f32(scale).to_f32(),
            Self::Bf16 => bf16::from_f32(scale).to_f32(),
        }
    }
}

/// Rule 26: quantizes a group of weights symmetrically to four bits, by rounding to the nearest.
/// The scale is max |w| / 7.5 as `precision` stores it, an integer w / scale, ties to even, clamped
/// to -8..=7; a group whose scale is 0 is all zeros. Writes integers plus 8 to out, as many as
/// there are weights, and returns the scale. Weights must be finite.
pub fn quantize_group4(weights: &[f32], precision: ScalePrecision, out: &mut [u8]) -> f32 {
    let scale = precision.round(greatest(weights) / 7.5);
    for (out, &w) in out.iter_mut().zip(weights) {
        let q = if scale == 0.0 { 0.0 } else { (w / scale).round_ties_even().clamp(-8.0, 7.0) };
        *out = (q + 8.0) as u8;
    }
    scale
}

/// The greatest |x|; of numbers that are not finite, one of those.
#[inline(always)]
fn greatest(x: &[f32]) -> f32 {
    let mut greatest = 0;
    for x in x {
        greatest = greatest.max(x.to_bits() & 0x7fff_ffff);
    }
    f32::from_bits(greatest)
}

/// The factor that quantizes a row with this greatest magnitude, and the scale that dequantizes it.
/// The factor is 0 where all integers shall be 0: in rows of zeros, and in non-finite rows, whose
/// scale is infinite so that no product with them is finite.
#[inline(always)]
fn factors(greatest: f32, limit: f32) -> (f32, f32) {
    if greatest < SMALLEST {
        (0.0, 0.0)
    } else if greatest < f32::INFINITY {
        (limit / greatest, greatest / limit)
    } else {
        (0.0, f32::INFINITY)
    }
}

/// The integer nearest to x * factor, ties to even: in the low 16 bits.
#[inline(always)]
fn integer_bits(x: f32, factor: f32) -> u32 {
    (x * factor + MAGIC).to_bits()
}

#[inline(always)]
fn bytes(x: &[f32], factor: f32, out: &mut [u8]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = integer_bits(x, factor) as u8 ^ SIGN;
    }
}

#[inline(always)]
fn byte_pairs(x: &[f32], factor: f32, upper: &mut [u8], lower: &mut [u8]) {
    for ((upper, lower), &x) in upper.iter_mut().zip(lower).zip(x) {
        let bits = integer_bits(x, factor);
        *upper = (bits >> 8) as u8 ^ SIGN;
        *lower = bits as u8;
    }
}

/// Writes integers and returns their sum.
#[inline(always)]
fn signed_bytes(x: &[f32], factor: f32, out: &mut [i8]) -> i32 {
    let mut sum = 0;
    for (out, &x) in out.iter_mut().zip(x) {
        *out = integer_bits(x, factor) as i8;
        sum += i32::from(*out);
    }
    sum
}

/// Writes integers as 256 * upper + lower and returns their sum.
#[inline(always)]
fn signed_pairs(x: &[f32], factor: f32, upper: &mut [i8], lower: &mut [i8]) -> i32 {
    let mut sum = 0;
    for ((upper, lower), &x) in upper.iter_mut().zip(lower).zip(x) {
        let q = i32::from(integer_bits(x, factor) as i16);
        *upper = ((q + 128) >> 8) as i8;
        *lower = q as i8;
        sum += q;
    }
    sum
}
