//! Rule 17: the cells of recurrent networks, after their linear layers.

use super::activation::{sigmoid_lanes as sigmoid, tanh_lanes as tanh};
use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::{load_at as load, store_at as store};

/// A step of a gated recurrent unit (Cho et al., 2014), as PyTorch has it: gates reset, update,
/// new.
///
/// x, y: `[3][H]`, what the input and the last h make of the gates; x becomes the gates' values;
/// h: `[H]`, overwritten.
pub fn gru_cell(isa: Isa, x: &mut [f32], y: &[f32], h: &mut [f32]) {
    struct CellStep<'a>(&'a mut [f32], &'a [f32], &'a mut [f32]);
    impl Kernel for CellStep<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(x, y, h) = self;
            let n = h.len();
            let ((xr, rest), [yr, yz, yn]) = (x.split_at_mut(n), gates(y, n));
            let (xz, xn) = rest.split_at_mut(n);
            for at in (0..n).step_by(LANES) {
                let reset = sigmoid(s, s.add(load(s, xr, at), load(s, yr, at)));
                let update = sigmoid(s, s.add(load(s, xz, at), load(s, yz, at)));
                let new = tanh(s, s.fma(reset, load(s, yn, at), load(s, xn, at)));
                let last = load(s, h, at);
                store(s, s.fma(update, s.sub(last, new), new), h, at);
                store(s, reset, xr, at);
                store(s, update, xz, at);
                store(s, new, xn, at);
            }
        }
    }
    assert_eq!((x.len(), y.len()), (3 * h.len(), 3 * h.len()), "three gates");
    isa.run(CellStep(x, y, h));
}

/// A step of a long short-term memory (Hochreiter and Schmidhuber, 1997), as PyTorch has it: gates
/// input, forget, cell, output.
///
/// x, y: `[4][H]`, what the input and the last h make of the gates; x becomes the gates' values;
/// h, c: `[H]`, overwritten.
pub fn lstm_cell(isa: Isa, x: &mut [f32], y: &[f32], h: &mut [f32], c: &mut [f32]) {
    struct CellStep<'a>(&'a mut [f32], &'a [f32], &'a mut [f32], &'a mut [f32]);
    impl Kernel for CellStep<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(x, y, h, c) = self;
            let n = h.len();
            let ((left, right), [yi, yf, yg, yo]) = (x.split_at_mut(2 * n), gates(y, n));
            let ((xi, xf), (xg, xo)) = (left.split_at_mut(n), right.split_at_mut(n));
            for at in (0..n).step_by(LANES) {
                let input = sigmoid(s, s.add(load(s, xi, at), load(s, yi, at)));
                let forget = sigmoid(s, s.add(load(s, xf, at), load(s, yf, at)));
                let cell = tanh(s, s.add(load(s, xg, at), load(s, yg, at)));
                let output = sigmoid(s, s.add(load(s, xo, at), load(s, yo, at)));
                let memory = s.fma(forget, load(s, c, at), s.mul(input, cell));
                store(s, memory, c, at);
                store(s, s.mul(output, tanh(s, memory)), h, at);
                store(s, input, xi, at);
                store(s, forget, xf, at);
                store(s, cell, xg, at);
                store(s, output, xo, at);
            }
        }
    }
    assert_eq!((x.len(), y.len()), (4 * h.len(), 4 * h.len()), "four gates");
    assert_eq!(h.len(), c.len(), "as many cells as outputs");
    isa.run(CellStep(x, y, h, c));
}

/// The slices of `G` gates of `n` values each.
#[inline(always)]
fn gates<const G: usize>(x: &[f32], n: usize) -> [&[f32]; G] {
    std::array::from_fn(|gate| &x[gate * n..][..n])
}
