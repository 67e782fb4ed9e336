//! Loops over slices, sixteen values at a time, with a short tail at the end.
//!
//! These are macros because a closure would not be compiled for the caller's instruction set, and
//! each vector operation in it would become a function call: measured, a forward pass took three
//! times as long.

use super::arch::{LANES, Simd};

/// The lanes of a partial vector, `fill` behind them.
#[inline(always)]
pub(super) fn padded(tail: &[f32], fill: f32) -> [f32; LANES] {
    let mut block = [fill; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// Sixteen values from `at` on, zeros past the end.
#[inline(always)]
pub(super) fn load_at<S: Simd>(s: S, x: &[f32], at: usize) -> S::V {
    match x[at..].first_chunk() {
        Some(full) => s.load(full),
        None => s.load(&padded(&x[at..], 0.0)),
    }
}

/// Writes sixteen values from `at` on, cut off at the end.
#[inline(always)]
pub(super) fn store_at<S: Simd>(s: S, v: S::V, x: &mut [f32], at: usize) {
    match x[at..].first_chunk_mut() {
        Some(full) => s.store(v, full),
        None => {
            let mut block = [0.0; LANES];
            s.store(v, &mut block);
            let tail = &mut x[at..];
            tail.copy_from_slice(&block[..tail.len()]);
        }
    }
}

/// `map_in_place!(s, x, |v| f)`: every value v of the slice x becomes f.
macro_rules! map_in_place {
    ($s:expr, $x:expr, |$v:ident| $f:expr) => {{
        let (blocks, tail) = $x.as_chunks_mut::<{ crate::ops::arch::LANES }>();
        for block in blocks {
            let $v = $s.load(block);
            $s.store($f, block);
        }
        if !tail.is_empty() {
            let mut block = crate::ops::lanewise::padded(tail, 0.0);
            let $v = $s.load(&block);
            $s.store($f, &mut block);
            tail.copy_from_slice(&block[..tail.len()]);
        }
    }};
}

/// `zip_in_place!(s, x, y, |v, w| f)`: every value v of x, with w of y, becomes f.
macro_rules! zip_in_place {
    ($s:expr, $x:expr, $y:expr, |$v:ident, $w:ident| $f:expr) => {{
        debug_assert_eq!($x.len(), $y.len());
        let (blocks, tail) = $x.as_chunks_mut::<{ crate::ops::arch::LANES }>();
        let (y_blocks, y_tail) = $y.as_chunks::<{ crate::ops::arch::LANES }>();
        for (block, y) in blocks.iter_mut().zip(y_blocks) {
            let ($v, $w) = ($s.load(block), $s.load(y));
            $s.store($f, block);
        }
        if !tail.is_empty() {
            let mut block = crate::ops::lanewise::padded(tail, 0.0);
            let $w = $s.load(&crate::ops::lanewise::padded(y_tail, 0.0));
            let $v = $s.load(&block);
            $s.store($f, &mut block);
            tail.copy_from_slice(&block[..tail.len()]);
        }
    }};
}

/// `striped!(s, x, |acc, v| f)`: rule 2's sixteen striped accumulations acc := f from +0, then its
/// tree. A short tail is filled with +0, which must leave an accumulator as it is (one that started
/// at +0 is never -0).
macro_rules! striped {
    ($s:expr, $x:expr, |$acc:ident, $v:ident| $f:expr) => {{
        let mut $acc = $s.splat(0.0);
        let (blocks, tail) = $x.as_chunks::<{ crate::ops::arch::LANES }>();
        for block in blocks {
            let $v = $s.load(block);
            $acc = $f;
        }
        if !tail.is_empty() {
            let $v = $s.load(&crate::ops::lanewise::padded(tail, 0.0));
            $acc = $f;
        }
        crate::ops::sum::tree($s, $acc)
    }};
}

pub(super) use {map_in_place, striped, zip_in_place};
