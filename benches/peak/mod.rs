//! The fma peak of one thread of this machine, as a kernel on registers alone shows it.

use llmzip::ops::Isa;
use llmzip::ops::arch::{Kernel, Simd};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 200_000;

/// Independent fma chains in registers: nothing but the arithmetic.
struct Peak;

impl Kernel for Peak {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        if S::ACCUMULATORS >= 24 { chains::<S, 24>(s) } else { chains::<S, 6>(s) }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S) -> f32 {
    let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(1.0)));
    let mut acc = [s.splat(black_box(0.0)); N];
    for _ in 0..ROUNDS * 24 / N {
        for acc in &mut acc {
            *acc = s.fma(*acc, a, b);
        }
    }
    let mut out = [0.0; 16];
    for acc in &acc[1..] {
        s.store(*acc, &mut out);
        black_box(&out);
    }
    s.store(acc[0], &mut out);
    out[0]
}

/// Best GFLOP/s of several tries, for work of `flops` operations.
pub fn best(flops: f64, tries: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..tries {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    flops / best / 1e9
}

/// The peak of `isa` in GFLOP/s.
pub fn gflops(isa: Isa) -> f64 {
    let tries = if isa.name() == "scalar" { 1 } else { 20 };
    best((ROUNDS * 24 * 32) as f64, tries, || {
        black_box(isa.run(Peak));
    })
}
