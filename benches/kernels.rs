//! Matrix products as a share of the fma peak that this machine shows in the same run, one thread.
//!
//! `cargo bench --bench kernels`

use llmzip::ops::arch::{Kernel, Simd};
use llmzip::ops::{Isa, PackedMatrix, matmul};
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
fn gflops(flops: f64, tries: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..tries {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    flops / best / 1e9
}

fn main() {
    let shapes = [(256, 384), (256, 1536), (768, 256), (256, 4096), (512, 512), (512, 2048)];
    let rows = [1, 2, 4, 8, 16, 25, 64, 256];
    for isa in Isa::available() {
        let scale = if isa.name() == "scalar" { 50 } else { 1 };
        let peak_flops = (ROUNDS * 24 * 32) as f64;
        let peak = gflops(peak_flops, if scale == 1 { 20 } else { 1 }, || {
            black_box(isa.run(Peak));
        });
        println!("{isa:?}: peak {peak:.1} GFLOP/s; share of it by K x N and rows");
        print!("{:>12}", "");
        rows.iter().for_each(|r| print!("{r:>7}"));
        println!();
        for (k, n) in shapes {
            print!("{:>12}", format!("{k} x {n}"));
            let w = vec![0.01; k * n];
            let w = PackedMatrix::pack(k, n, |i| &w[i * k..][..k], &[]);
            for m in rows {
                let (x, mut y) = (vec![0.5; m * k], vec![0.0; m * n]);
                let repeat = (100_000_000 / (m * k * n) / scale).max(1);
                let speed = gflops((2 * m * k * n * repeat) as f64, 7, || {
                    for _ in 0..repeat {
                        matmul(isa, &x, &w, &mut y);
                    }
                    black_box(&y);
                });
                print!("{:>6.0}%", 100.0 * speed / peak);
            }
            println!();
        }
        if scale > 1 {
            println!(
                "(the portable path emulates fma in software where the build target has none)"
            );
        }
    }
}
