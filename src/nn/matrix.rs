//! Matrix products of slices, row by row.

use crate::ops::{Isa, PackedMatrix, matmul};

/// Returns a b^T. a: `[m][k]`, b: `[n][k]`; returns `[m][n]`.
pub fn product(isa: Isa, a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let n = b.len() / k;
    let packed = PackedMatrix::pack(k, n, |i| &b[i * k..][..k], &[]);
    let mut y = vec![0.0; a.len() / k * n];
    matmul(isa, a, &packed, &mut y);
    y
}

/// Returns a b. a: `[m][k]`, b: `[k][n]`; returns `[m][n]`.
pub fn product_with(isa: Isa, a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let n = b.len() / k;
    let mut y = vec![0.0; a.len() / k * n];
    matmul(isa, a, &PackedMatrix::pack_columns(k, n, |i| &b[i * n..][..n]), &mut y);
    y
}

/// Rows and columns of a block that is transposed at once: a cache line each.
const BLOCK: usize = 16;

/// Transposes x: `[rows][columns]`; returns `[columns][rows]`.
pub fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
    let rows = x.len() / columns;
    let mut y = vec![0.0; x.len()];
    for top in (0..rows).step_by(BLOCK) {
        let height = BLOCK.min(rows - top);
        for left in (0..columns).step_by(BLOCK) {
            let width = BLOCK.min(columns - left);
            let mut block = [[0.0; BLOCK]; BLOCK];
            for i in 0..height {
                let row = &x[(top + i) * columns + left..][..width];
                row.iter().zip(&mut block).for_each(|(&x, column)| column[i] = x);
            }
            for (column, block) in (left..).zip(&block[..width]) {
                y[column * rows + top..][..height].copy_from_slice(&block[..height]);
            }
        }
    }
    y
}

/// Collects `width` values of x from each of `places` on.
pub fn gathered(x: &[f32], width: usize, places: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut y = Vec::new();
    places.for_each(|place| y.extend_from_slice(&x[place..place + width]));
    y
}

/// Adds x to sum.
pub fn accumulate(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// Adds the column sums of x, `[rows][sum.len()]`, to sum.
pub fn accumulate_rows(sum: &mut [f32], x: &[f32]) {
    x.chunks_exact(sum.len()).for_each(|row| accumulate(sum, row));
}
