//! Rule 2: sums of many values in one fixed order.

use super::arch::{Isa, Kernel, LANES, Simd};

/// The sum of `x`: sixteen striped sums, then a fixed tree.
pub fn sum16(isa: Isa, x: &[f32]) -> f32 {
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            striped(s, self.0, |acc, x| s.add(acc, x))
        }
    }
    isa.run(Sum(x))
}

/// Sixteen striped accumulations by `step(acc, x)`, then the tree. A short tail is filled with +0, which must leave
/// an accumulator as it is (an accumulator that started at +0 is never -0).
#[inline(always)]
pub(super) fn striped<S: Simd>(s: S, x: &[f32], step: impl Fn(S::V, S::V) -> S::V) -> f32 {
    let mut acc = s.splat(0.0);
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        acc = step(acc, s.load(block));
    }
    if !tail.is_empty() {
        acc = step(acc, s.load(&padded(tail, 0.0)));
    }
    tree(s, acc)
}

/// The lanes of a partial vector, `fill` behind them.
#[inline(always)]
pub(super) fn padded(tail: &[f32], fill: f32) -> [f32; LANES] {
    let mut block = [fill; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

#[inline(always)]
fn tree<S: Simd>(s: S, acc: S::V) -> f32 {
    let mut a = [0.0; LANES];
    s.store(acc, &mut a);
    let pair = |i: usize| (a[i] + a[i + 8]) + (a[i + 4] + a[i + 12]);
    (pair(0) + pair(2)) + (pair(1) + pair(3))
}
