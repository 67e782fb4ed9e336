//! Matrix products as a share of the fma peak that this machine shows in the same run, one thread.
//!
//! `cargo bench --bench kernels`

mod peak;

use llmzip::ops::{Isa, PackedMatrix, matmul};
use std::hint::black_box;

fn main() {
    let shapes = [(256, 384), (256, 1536), (768, 256), (256, 4096), (512, 512), (512, 2048)];
    let rows = [1, 2, 4, 8, 16, 25, 64, 256];
    for isa in Isa::available() {
        let scale = if isa.name() == "scalar" { 50 } else { 1 };
        let peak = peak::gflops(isa);
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
                let speed = peak::best((2 * m * k * n * repeat) as f64, 7, || {
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
