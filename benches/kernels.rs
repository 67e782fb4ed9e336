//! Matrix products, one thread: f32 as a share of the fma peak that this machine shows in the same
//! run, and int8 (activations of 8 and of 16 bits, quantizing them included) as a multiple of f32's
//! speed.
//!
//! `cargo bench --bench kernels`

mod peak;

use llmzip::ops::{ActivationBits, Isa, PackedMatrix, QuantMatrix, QuantRows, matmul, matmul_int8};
use std::hint::black_box;

const SHAPES: [(usize, usize); 6] =
    [(256, 384), (256, 1536), (768, 256), (256, 4096), (512, 512), (512, 2048)];
const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 25, 64, 256];

fn main() {
    for isa in Isa::available() {
        let scale = if isa.name() == "scalar" { 50 } else { 1 };
        let peak = peak::gflops(isa);
        println!("{isa:?}: peak {peak:.1} GFLOP/s; f32's share of it by K x N and rows");
        let f32_speeds = SHAPES.map(|(k, n)| f32_speeds(isa, k, n, scale));
        print_table(&f32_speeds.map(|row| row.map(|speed| 100.0 * speed / peak)), "%");
        for (bits, name) in [(ActivationBits::Eight, "W8A8"), (ActivationBits::Sixteen, "W8A16")] {
            println!("{isa:?}: {name}, times f32's speed");
            let mut ratios = f32_speeds;
            for ((k, n), row) in SHAPES.into_iter().zip(&mut ratios) {
                let int8 = int8_speeds(isa, bits, k, n, scale);
                row.iter_mut().zip(int8).for_each(|(ratio, speed)| *ratio = speed / *ratio);
            }
            print_table(&ratios, "");
        }
        if scale > 1 {
            println!(
                "(the portable path emulates fma in software where the build target has none)"
            );
        }
    }
}

fn print_table(table: &[[f64; ROWS.len()]], unit: &str) {
    print!("{:>12}", "");
    ROWS.iter().for_each(|r| print!("{r:>7}"));
    println!();
    for ((k, n), row) in SHAPES.into_iter().zip(table) {
        print!("{:>12}", format!("{k} x {n}"));
        let digits = if unit.is_empty() { 1 } else { 0 };
        row.iter().for_each(|x| print!("{:>7}", format!("{x:.digits$}{unit}")));
        println!();
    }
}

/// GFLOP/s by rows.
fn f32_speeds(isa: Isa, k: usize, n: usize, scale: usize) -> [f64; ROWS.len()] {
    let w = vec![0.01; k * n];
    let w = PackedMatrix::pack(k, n, |i| &w[i * k..][..k], &[]);
    ROWS.map(|m| speed(m, k, n, scale, |x, y| matmul(isa, x, &w, y)))
}

/// Operations per second in units of 10^9, by rows.
fn int8_speeds(
    isa: Isa,
    bits: ActivationBits,
    k: usize,
    n: usize,
    scale: usize,
) -> [f64; ROWS.len()] {
    let fill = |i: usize, row: &mut [i8]| {
        row.fill(i as i8);
        0.01
    };
    let w = QuantMatrix::pack_with(k, n, fill, &[]);
    let mut rows = QuantRows::default();
    ROWS.map(|m| {
        speed(m, k, n, scale, |x, y| {
            rows.quantize(isa, bits, x, k);
            matmul_int8(isa, &rows, &w, y);
        })
    })
}

fn speed(
    m: usize,
    k: usize,
    n: usize,
    scale: usize,
    mut product: impl FnMut(&[f32], &mut [f32]),
) -> f64 {
    let repeat = (100_000_000 / (m * k * n) / scale).max(1);
    let (x, mut y) = (vec![0.5; m * k], vec![0.0; m * n]);
    peak::best((2 * m * k * n * repeat) as f64, 7, || {
        (0..repeat).for_each(|_| product(&x, &mut y));
        black_box(&y);
    })
}
