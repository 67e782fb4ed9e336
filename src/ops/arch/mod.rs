//! Sixteen `f32` lanes on every instruction set, and the choice between them at run time.
//!
//! All kernels of [`ops`](crate::ops) are written once, over [`Simd`], and compiled for each
//! instruction set by [`Isa::run`]. A `Simd` operation is exactly one IEEE-754 operation per lane
//! (round to nearest even, subnormals kept), so a kernel gives the same bits on every path as long
//! as it never combines lanes; where it must ([`sum16`](crate::ops::sum16)), the order is written
//! down in `docs/numerics.md`.
//!
//! This folder holds all the `unsafe` of the arithmetic. A `Simd` value can only be made on a
//! machine that has its instructions: owning one is the proof that lets its methods be safe.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod portable;
#[cfg(target_feature = "simd128")]
mod simd128;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(any(
    all(target_arch = "arm", target_feature = "neon"),
    all(target_arch = "x86", not(target_feature = "sse2"))
))]
compile_error!(
    "this target's float arithmetic is not IEEE-754 binary32: archives would not decode"
);

use std::fmt;

/// Lanes of a [`Simd`] vector.
pub const LANES: usize = 16;

/// Sixteen `f32` lanes and the exact operations on them. Constants steer blocking only, never bits.
pub trait Simd: Copy + Send + Sync {
    /// The sixteen lanes.
    type V: Copy;
    /// Vectors of accumulators that stay in registers, beside the operands.
    const ACCUMULATORS: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads sixteen values.
    fn load(self, x: &[f32; LANES]) -> Self::V;
    /// Reads sixteen bfloat16 values, widened exactly.
    fn load_bf16(self, x: &[u16; LANES]) -> Self::V;
    /// Reads sixteen binary16 values, widened exactly.
    fn load_f16(self, x: &[u16; LANES]) -> Self::V;
    /// Writes sixteen values.
    fn store(self, v: Self::V, out: &mut [f32; LANES]);
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { x } else { y }`
    fn select_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// 2^n from the bits of 1.5 * 2^23 + n, for integers n in -126..=127.
    fn exp2_of_magic(self, t: Self::V) -> Self::V;
    /// Towards zero, of values in 0..2^31.
    fn truncate(self, v: Self::V, out: &mut [u32; LANES]);
}

/// A computation over any [`Simd`]: its arguments, and how to run it. `run` must be
/// `#[inline(always)]`, so that it is compiled with the instruction set of [`Isa::run`]'s caller
/// for that set.
pub trait Kernel {
    /// The result of the computation.
    type Output;
    /// Runs it.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Sums of products of bytes, sixteen at a time, beside the floats that they become. Sums wrap,
/// which no result shows: it is within 32 bits.
pub trait Int8: Copy + Send + Sync {
    /// The floats' instruction set.
    type Floats: Simd;
    /// Sixteen sums of 32 bits.
    type Sums: Copy;
    /// Four weights of each of sixteen outputs, ready to multiply with.
    type Weights: Copy;
    /// Vectors of sums that stay in registers, beside the operands.
    const ACCUMULATORS: usize;
    /// Whether [`Int8::dot4`] multiplies with activations less 128, as signed bytes.
    const LESS_128: bool = false;

    /// The floats' instruction set.
    fn floats(self) -> Self::Floats;
    /// Reads sixteen sums.
    fn sums(self, x: &[i32; LANES]) -> Self::Sums;
    /// Reads sixteen times four weights.
    fn weights(self, w: &[i8; 4 * LANES]) -> Self::Weights;
    /// `acc + x[0] * w[0] + .. + x[3] * w[3]` of each output's own four weights, with x less 128 where [`Int8::LESS_128`].
    fn dot4(self, x: [u8; 4], w: Self::Weights, acc: Self::Sums) -> Self::Sums;
    /// Rounded to the nearest, ties to even.
    fn to_floats(self, sums: Self::Sums) -> <Self::Floats as Simd>::V;
}

/// A computation over any [`Int8`]; `run` must be `#[inline(always)]`, as a [`Kernel`]'s.
pub trait Int8Kernel {
    /// The greatest magnitude of a weight: of small ones, sums of two products fit in 16 bits.
    fn greatest(&self) -> u8;
    /// Runs it.
    fn run<D: Int8>(self, d: D);
}

/// Sums of products of four-bit weights with signed bytes, sixteen at a time. A *line* is 64 bytes:
/// byte 4 l + i has in its low half weight i of output l, in its high half weight i + 4.
pub trait Int4: Copy + Send + Sync {
    /// The floats' instruction set.
    type Floats: Simd;
    /// Sixteen sums of 32 bits, which wrap.
    type Sums: Copy;
    /// The sums of up to [`LINES_AT_ONCE`] lines, which need not be as wide.
    type Partial: Copy;
    /// Four weights of each of sixteen outputs, 0..=15, ready to multiply with.
    type Weights: Copy;
    /// Vectors of sums that stay in registers, beside the operands.
    const ACCUMULATORS: usize;

    /// The floats' instruction set.
    fn floats(self) -> Self::Floats;
    /// All sums `x`.
    fn splat(self, x: i32) -> Self::Sums;
    /// Reads a line: the weights of its low halves, and those of its high ones.
    fn weights(self, line: &[u8; 4 * LANES]) -> [Self::Weights; 2];
    /// Starts partial sums that [`Int4::end`] adds to `sums`.
    fn begin(self, sums: Self::Sums) -> Self::Partial;
    /// `acc + x[0] * w[0] + .. + x[3] * w[3]` of each output's own four weights.
    fn dot4(self, x: [i8; 4], w: Self::Weights, acc: Self::Partial) -> Self::Partial;
    /// Returns `sums`, which [`Int4::begin`] had, with what was added since.
    fn end(self, partial: Self::Partial, sums: Self::Sums) -> Self::Sums;
    /// `256 * upper + lower`
    fn joined(self, upper: Self::Sums, lower: Self::Sums) -> Self::Sums;
    /// Rounded to the nearest, ties to even.
    fn to_floats(self, sums: Self::Sums) -> <Self::Floats as Simd>::V;
}

/// Lines whose products fit in sums of 16 bits, four a line and sum: 4 * 4 * 15 * 128 < 2^15.
pub const LINES_AT_ONCE: usize = 4;

/// A computation over any [`Int4`]; `run` must be `#[inline(always)]`, as a [`Kernel`]'s.
pub trait Int4Kernel {
    /// Runs it.
    fn run<D: Int4>(self, d: D);
}

/// Eight `i32` lanes, for kernels of a few vectors, which wider ones do not pay. The loops of such
/// a kernel are compiled for the instruction set as well; this trait has what compilers do badly.
pub trait Integers: Copy + Send + Sync {
    /// Eight sums, which wrap.
    type Sums: Copy;

    /// All 0.
    fn zeros(self) -> Self::Sums;
    /// `sums + ((x * w) >> 8)`, lane by lane.
    fn add_products(self, sums: Self::Sums, x: &[i32; 8], w: &[i32; 8]) -> Self::Sums;
    /// The sum of all lanes.
    fn total(self, sums: Self::Sums) -> i32;
}

/// A computation over any [`Integers`]; `run` must be `#[inline(always)]`, as a [`Kernel`]'s.
pub trait IntegerKernel {
    /// The result of the computation.
    type Output;
    /// Runs it.
    fn run<I: Integers>(self, i: I) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy)]
pub struct Isa(Path);

#[derive(Clone, Copy)]
enum Path {
    Portable(portable::Portable),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(neon::Neon, Option<neon::NeonDot>),
    #[cfg(target_feature = "simd128")]
    Simd128(simd128::Simd128),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2, Option<vnni::AvxVnni>),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512, Option<vnni::Avx512Vnni>),
}

impl Isa {
    /// The fastest path of this machine.
    pub fn detect() -> Self {
        *Self::available().last().expect("the portable path is always there")
    }

    /// Every path of this machine, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "not all architectures have more")]
        let mut paths = vec![Path::Portable(portable::Portable)];
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        paths.push(Path::Neon(neon::Neon, neon::NeonDot::new()));
        #[cfg(target_feature = "simd128")]
        paths.push(Path::Simd128(simd128::Simd128));
        #[cfg(target_arch = "x86_64")]
        {
            paths.extend(avx2::Avx2::new().map(|s| Path::Avx2(s, vnni::AvxVnni::new())));
            paths.extend(avx512::Avx512::new().map(|s| Path::Avx512(s, vnni::Avx512Vnni::new())));
        }
        paths.into_iter().map(Self).collect()
    }

    /// The path of that [`name`](Self::name), if this machine has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// `scalar`, `neon`, `simd128`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Portable(_) => "scalar",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(..) => "neon",
            #[cfg(target_feature = "simd128")]
            Path::Simd128(_) => "simd128",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(..) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(..) => "avx512",
        }
    }

    /// This path without instructions for dot products of bytes: what the same machine would do had
    /// it none.
    #[must_use]
    pub fn without_byte_products(self) -> Self {
        match self.0 {
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(s, _) => Self(Path::Neon(s, None)),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(s, _) => Self(Path::Avx2(s, None)),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(s, _) => Self(Path::Avx512(s, None)),
            _ => self,
        }
    }

    /// Runs `kernel` with this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Path::Portable(s) => kernel.run(s),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(s, _) => kernel.run(s),
            #[cfg(target_feature = "simd128")]
            Path::Simd128(s) => kernel.run(s),
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(s, _) => unsafe { avx2::run(s, kernel) },
            // SAFETY: an `Avx512` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(s, _) => unsafe { avx512::run(s, kernel) },
        }
    }

    /// Runs `kernel` with this instruction set; AVX-512 works in AVX2.
    #[inline]
    pub fn run_integers<K: IntegerKernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Path::Portable(i) => kernel.run(i),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(i, _) => kernel.run(i),
            #[cfg(target_feature = "simd128")]
            Path::Simd128(i) => kernel.run(i),
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(i, _) => unsafe { avx2::run_integers(i, kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(i, _) => unsafe { avx2::run_integers(i.avx2(), kernel) },
        }
    }

    /// Runs `kernel` with this instruction set. AVX-512 without VNNI works in AVX2.
    #[inline]
    pub fn run_int8<K: Int8Kernel>(self, kernel: K) {
        match self.0 {
            Path::Portable(d) => kernel.run(d),
            // SAFETY: a `NeonDot` exists only where its instructions do.
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(_, Some(d)) => unsafe { neon::run_dot(d, kernel) },
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(d, None) => kernel.run(d),
            #[cfg(target_feature = "simd128")]
            Path::Simd128(d) => kernel.run(d),
            // SAFETY: an `AvxVnni` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(_, Some(d)) => unsafe { vnni::run_avx_vnni(d, kernel) },
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(d, None) => unsafe { avx2::run_int8(d, kernel) },
            // SAFETY: an `Avx512Vnni` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(_, Some(d)) => unsafe { vnni::run_avx512_vnni(d, kernel) },
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(d, None) => unsafe { avx2::run_int8(d.avx2(), kernel) },
        }
    }

    /// Runs `kernel` with this instruction set. AVX-512 without VNNI works in AVX2, WebAssembly without vectors.
    #[inline]
    pub fn run_int4<K: Int4Kernel>(self, kernel: K) {
        match self.0 {
            Path::Portable(d) => kernel.run(d),
            // SAFETY: a `NeonDot` exists only where its instructions do.
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(_, Some(d)) => unsafe { neon::run_dot_int4(d, kernel) },
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon(d, None) => kernel.run(d),
            #[cfg(target_feature = "simd128")]
            Path::Simd128(_) => kernel.run(portable::Portable),
            // SAFETY: an `AvxVnni` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(_, Some(d)) => unsafe { vnni::run_avx_vnni_int4(d, kernel) },
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(d, None) => unsafe { avx2::run_int4(d, kernel) },
            // SAFETY: an `Avx512Vnni` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(_, Some(d)) => unsafe { vnni::run_avx512_vnni_int4(d, kernel) },
            // SAFETY: an `Avx2` exists only where its instructions do.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(d, None) => unsafe { avx2::run_int4(d.avx2(), kernel) },
        }
    }
}

/// Asks for the cache line in which `x` begins: a hint, it changes nothing.
#[inline(always)]
pub fn prefetch<T>(x: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86_64 has SSE; a prefetch touches nothing, and `x` is a valid reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast()) }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a prefetch touches nothing, and `x` is a valid reference.
    unsafe {
        let at = std::ptr::from_ref(x);
        std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
    let _ = x;
}

/// Asks for large pages for `memory`, before it is first written to: where accesses are scattered
/// over many megabytes, looking up small pages costs as much as the accesses. A hint, it changes
/// nothing.
pub fn prefer_large_pages<T>(memory: &mut [T]) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use rustix::mm::{Advice, madvise};
        let page = rustix::param::page_size();
        let bytes = memory.as_mut_ptr_range();
        let start = (bytes.start as usize).next_multiple_of(page);
        let len = (bytes.end as usize).saturating_sub(start) / page * page;
        if len > 0 {
            // SAFETY: these pages are all within `memory`, and this advice keeps their contents.
            let _ = unsafe { madvise(start as *mut _, len, Advice::LinuxHugepage) };
        }
    }
    #[cfg(any(not(target_os = "linux"), miri))]
    let _ = memory;
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
