//! candle's products beside those of `ops`, on the shapes of the default model: speed, and whether a
//! row's bits depend on how many rows are multiplied at once (docs/dependencies.md).
//!
//! `RAYON_NUM_THREADS=1 cargo bench --bench candle`; candle takes as many threads as that says.

mod peak;

use candle_core::{Device, Tensor};
use llmzip::ops::{Isa, PackedMatrix, matmul};
use std::hint::black_box;

/// Inner dimension and outputs: queries, keys and values; the feed-forward block's two; the logits.
const SHAPES: [(usize, usize); 4] = [(256, 384), (256, 1536), (768, 256), (256, 4096)];
const ROWS: [usize; 6] = [1, 2, 8, 25, 64, 256];

/// Weights or activations: any numbers of few bits, the same in every run.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

fn tensor(numbers: &[f32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(numbers, shape, &Device::Cpu).expect("a tensor")
}

fn product(x: &Tensor, w: &Tensor) -> Vec<f32> {
    let y = x.matmul(w).and_then(|y| y.flatten_all()).and_then(|y| y.to_vec1());
    y.expect("a product")
}

fn main() {
    let isa = Isa::detect();
    let (threads, peak) = (candle_core::utils::get_num_threads(), peak::gflops(isa));
    println!("{isa:?}, peak {peak:.0} GFLOP/s a thread; candle has {threads} threads, ops one");
    println!("GFLOP/s; outputs of row 0 that have other bits than where it is multiplied alone;");
    println!("CRC-32 of all outputs, to compare runs");
    println!(
        "{:>10} {:>5} {:>6} {:>6} {:>10} {:>13} {:>9} {:>9}",
        "K x N", "rows", "ops", "candle", "ops differ", "candle differ", "ops CRC", "candle"
    );
    SHAPES.into_iter().for_each(|(k, n)| compare(isa, k, n));
}

/// Prints a line for each number of rows of a product with a matrix of `k` by `n`.
fn compare(isa: Isa, k: usize, n: usize) {
    let w = numbers(n * k, 1); // a row for each output
    let packed = PackedMatrix::pack(k, n, |i| &w[i * k..][..k], &[]);
    let transposed = tensor(&w, (n, k)).t().and_then(|w| w.contiguous()).expect("a matrix");
    let x = numbers(ROWS[ROWS.len() - 1] * k, 2);
    let ours = |rows: usize| {
        let mut y = vec![0.0; rows * n];
        matmul(isa, &x[..rows * k], &packed, &mut y);
        y
    };
    let candles = |rows: usize| product(&tensor(&x[..rows * k], (rows, k)), &transposed);
    for rows in ROWS {
        let n_flops = (2 * rows * k * n) as f64;
        let repeat = (50_000_000 / (rows * k * n)).max(1);
        let x = tensor(&x[..rows * k], (rows, k));
        let mut y = vec![0.0; rows * n];
        let (own_x, scale) = (numbers(rows * k, 2), n_flops * repeat as f64);
        let own = peak::best(scale, 7, || {
            (0..repeat).for_each(|_| matmul(isa, &own_x, &packed, &mut y));
            black_box(&y);
        });
        let candle = peak::best(scale, 7, || {
            (0..repeat).for_each(|_| drop(black_box(x.matmul(&transposed).expect("a product"))));
        });
        let differ = |a: &[f32], b: &[f32]| {
            a[..n].iter().zip(&b[..n]).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
        };
        let (own_y, candle_y) = (ours(rows), candles(rows));
        let crc = |y: &[f32]| {
            crc32fast::hash(&y.iter().flat_map(|y| y.to_bits().to_le_bytes()).collect::<Vec<u8>>())
        };
        println!(
            "{:>10} {rows:>5} {own:>6.1} {candle:>6.1} {:>10} {:>13} {:>9x} {:>9x}",
            format!("{k} x {n}"),
            format!("{} of {n}", differ(&ours(1), &own_y)),
            format!("{} of {n}", differ(&candles(1), &candle_y)),
            crc(&own_y),
            crc(&candle_y),
        );
    }
}
