//! Rule 2: sums of many values in one fixed order.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::{load_at, striped};

/// The sum of `x`: sixteen striped sums, then a fixed tree.
pub fn sum16(isa: Isa, x: &[f32]) -> f32 {
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            sum16_lanes(s, self.0)
        }
    }
    isa.run(Sum(x))
}

#[inline(always)]
pub(super) fn sum16_lanes<S: Simd>(s: S, x: &[f32]) -> f32 {
    striped!(s, x, |acc, x| s.add(acc, x))
}

/// The sum of products of `x` and `y`: lane l takes fma(x, y, lane).
#[inline(always)]
pub(super) fn dot16_lanes<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    debug_assert_eq!(x.len(), y.len());
    let mut acc = s.splat(0.0);
    for at in (0..x.len()).step_by(LANES) {
        acc = s.fma(load_at(s, x, at), load_at(s, y, at), acc);
    }
    tree(s, acc)
}

/// The tree over the sixteen lane sums.
#[inline(always)]
pub(super) fn tree<S: Simd>(s: S, acc: S::V) -> f32 {
    let mut a = [0.0; LANES];
    s.store(acc, &mut a);
    let b: [f32; 4] = [
        (a[0] + a[8]) + (a[4] + a[12]),
        (a[1] + a[9]) + (a[5] + a[13]),
        (a[2] + a[10]) + (a[6] + a[14]),
        (a[3] + a[11]) + (a[7] + a[15]),
    ];
    (b[0] + b[2]) + (b[1] + b[3])
}
