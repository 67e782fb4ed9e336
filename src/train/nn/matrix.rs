//! Matrix products of slices, row by row.

use crate::ops::{Isa, PackedMatrix, matmul};

/// a b^T. a: `[m][k]`, b: `[n][k]`; returns `[m][n]`.
pub fn product(isa: Isa, a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let n = b.len() / k;
    let packed = PackedMatrix::pack(k, n, |i| &b[i * k..][..k], &[]);
    let mut y = vec![0.0; a.len() / k * n];
    matmul(isa, a, &packed, &mut y);
    y
}

/// a b. a: `[m][k]`, b: `[k][n]`; returns `[m][n]`.
pub fn product_with(isa: Isa, a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let n = b.len() / k;
    let mut y = vec![0.0; a.len() / k * n];
    matmul(isa, a, &pack_columns(b, k), &mut y);
    y
}

/// b^T, packed: outputs are the columns of b: `[k][n]`.
pub fn pack_columns(b: &[f32], k: usize) -> PackedMatrix {
    let n = b.len() / k;
    let columns = transposed(b, n);
    PackedMatrix::pack(k, n, |i| &columns[i * k..][..k], &[])
}

/// x^T. x: `[rows][columns]`; returns `[columns][rows]`.
pub fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
    const BLOCK: usize = 16;
    let rows = x.len() / columns;
    let mut y = vec![0.0; x.len()];
    for first in (0..rows).step_by(BLOCK) {
        for left in (0..columns).step_by(BLOCK) {
            for row in first..rows.min(first + BLOCK) {
                for column in left..columns.min(left + BLOCK) {
                    y[column * rows + row] = x[row * columns + column];
                }
            }
        }
    }
    y
}

/// sum += x
pub fn accumulate(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// sum += the columns' sums of x: `[rows][sum.len()]`.
pub fn accumulate_rows(sum: &mut [f32], x: &[f32]) {
    x.chunks_exact(sum.len()).for_each(|row| accumulate(sum, row));
}
