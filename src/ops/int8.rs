//! Rule 16: matrix products of 8-bit weights with quantized activations, in integers.
//!
//! Sums of integers are exact in any order: only the conversion at the end rounds. Weights are
//! packed into panels of sixteen outputs, `[N/16][K/4][16][4]`, so that one instruction multiplies
//! four weights of each output with four activations ([`Int8::dot4`]).

use super::arch::{Int8, Int8Kernel, Isa, LANES, Simd};
use super::lanewise::store_at;
use super::quant::QuantRows;
use std::ops::Range;

/// Most inputs: 2^16 products of 8 by 8 bits are below 2^31 in any case (255 * 128 * 2^16).
pub const MAX_INPUTS: usize = 1 << 16;

/// Four weights of each of sixteen outputs, on a cache line of their own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Int8Line([i8; 4 * LANES]);

/// Offsets, scales and biases of sixteen outputs.
#[derive(Clone, Copy)]
struct Outputs {
    /// -128 * the sum of the weights: what remains of activations that had 128 added.
    offset: [i32; LANES],
    scale: [f32; LANES],
    bias: [f32; LANES],
}

/// Quantized weights of a linear layer, packed for [`matmul_int8`].
/// Invariant: `panels.len() == outputs.len() * k.div_ceil(4)`.
pub struct QuantMatrix {
    /// Inputs, at most [`MAX_INPUTS`].
    k: usize,
    /// Outputs, before rounding up to whole panels.
    n: usize,
    panels: Vec<Int8Line>,
    outputs: Vec<Outputs>,
    /// The greatest magnitude of a weight.
    greatest: u8,
}

impl QuantMatrix {
    /// Packs `n` rows of `k` integers. `fill(i, out)` writes output i's integers to out: `[k]`, and
    /// returns their scale; bias: `[n]` or empty for none.
    ///
    /// # Panics
    /// Where `k` is above [`MAX_INPUTS`].
    pub fn pack_with(
        k: usize,
        n: usize,
        mut fill: impl FnMut(usize, &mut [i8]) -> f32,
        bias: &[f32],
    ) -> Self {
        assert!(k <= MAX_INPUTS, "{k} inputs, expected at most {MAX_INPUTS}");
        debug_assert!(bias.is_empty() || bias.len() == n);
        let (count, groups) = (n.div_ceil(LANES), k.div_ceil(4));
        let none = Outputs { offset: [0; LANES], scale: [0.0; LANES], bias: [0.0; LANES] };
        let mut panels = vec![Int8Line([0; 4 * LANES]); count * groups];
        let mut outputs = vec![none; count];
        let (mut row, mut greatest) = (vec![0; k], 0);
        for i in 0..n {
            let (panel, lane) = (i / LANES, i % LANES);
            let scale = fill(i, &mut row);
            greatest = row.iter().fold(greatest, |most: u8, w: &i8| most.max(w.unsigned_abs()));
            for (line, four) in panels[panel * groups..].iter_mut().zip(row.chunks(4)) {
                line.0[4 * lane..][..four.len()].copy_from_slice(four);
            }
            let output = &mut outputs[panel];
            output.offset[lane] = -128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
            output.scale[lane] = scale;
            output.bias[lane] = bias.get(i).copied().unwrap_or(0.0);
        }
        Self { k, n, panels, outputs, greatest }
    }

    /// Writes output i's weights, integer times scale, to `row`: `[k]`.
    pub fn unpack_row(&self, i: usize, row: &mut [f32]) {
        let (panel, lane) = (i / LANES, i % LANES);
        let scale = self.outputs[panel].scale[lane];
        for (four, line) in row.chunks_mut(4).zip(self.panel(panel)) {
            let integers = &line.0[4 * lane..];
            four.iter_mut().zip(integers).for_each(|(w, &q)| *w = f32::from(q) * scale);
        }
    }

    /// Returns the integers in words of four, `[ceil(K / 4)][N]`, with zeros after the last of K.
    pub fn words(&self) -> Vec<i8> {
        let groups = self.k.div_ceil(4);
        let mut words = vec![0; 4 * groups * self.n];
        for panel in 0..self.outputs.len() {
            for (row, line) in words.chunks_exact_mut(4 * self.n).zip(self.panel(panel)) {
                let outputs = &mut row[4 * panel * LANES..];
                outputs.iter_mut().zip(line.0).for_each(|(to, w)| *to = w);
            }
        }
        words
    }

    /// Returns the scale of output i's weights, and the sum of its integers.
    pub fn scale_and_sum(&self, i: usize) -> (f32, i32) {
        let Outputs { offset, scale, .. } = &self.outputs[i / LANES];
        (scale[i % LANES], offset[i % LANES] / -128)
    }

    /// Returns output i's bias.
    pub fn bias(&self, i: usize) -> f32 {
        self.outputs[i / LANES].bias[i % LANES]
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.n
    }

    fn panel(&self, i: usize) -> &[Int8Line] {
        let groups = self.k.div_ceil(4);
        &self.panels[i * groups..][..groups]
    }
}

/// y = x w^T + bias. y: `[rows][N]`.
pub fn matmul_int8(isa: Isa, x: &QuantRows, w: &QuantMatrix, y: &mut [f32]) {
    assert_eq!(x.inputs, w.k, "as many activations as inputs");
    assert_eq!(y.len(), x.len() * w.n, "as many rows in as out");
    match x.planes {
        1 => isa.run_int8(MatmulInt8::<1> { x, w, y }),
        _ => isa.run_int8(MatmulInt8::<2> { x, w, y }),
    }
}

/// A product of activations of `P` planes.
struct MatmulInt8<'a, const P: usize> {
    x: &'a QuantRows,
    w: &'a QuantMatrix,
    y: &'a mut [f32],
}

/// Some rows of activations: words `[rows][P][K / 4]`, scales `[rows]`.
#[derive(Clone, Copy)]
struct Tile<'a> {
    words: &'a [[u8; 4]],
    scales: &'a [f32],
}

/// Most rows of a tile of `planes` planes, by the sums that stay in registers.
const fn max_rows(accumulators: usize, planes: usize) -> usize {
    match accumulators / planes {
        0 | 1 => 1,
        most if most < 6 => most,
        _ => 6,
    }
}

impl<const P: usize> Int8Kernel for MatmulInt8<'_, P> {
    fn greatest(&self) -> u8 {
        self.w.greatest
    }

    /// Panels in the outer loop: a group of panels stays in the cache while all tiles of rows pass
    /// over it.
    #[inline(always)]
    fn run<D: Int8>(self, d: D) {
        let Self { x, w, y } = self;
        let (rows, stride) = (x.len(), P * w.k.div_ceil(4));
        let tiles = rows.div_ceil(max_rows(D::ACCUMULATORS, P));
        let mut panel = 0;
        while tiles > 0 && panel < w.outputs.len() {
            let together = panels_at_once(D::ACCUMULATORS, P * rows.div_ceil(tiles));
            let group = panel..w.outputs.len().min(panel + together);
            for tile in 0..tiles {
                let span = tile * rows / tiles..(tile + 1) * rows / tiles;
                let words = &x.words[span.start * stride..span.end * stride];
                let y = &mut y[span.start * w.n..span.end * w.n];
                let x = Tile { words, scales: &x.scales[span] };
                by_rows::<D, P>(d, x, w, group.clone(), y);
            }
            panel = group.end;
        }
    }
}

/// Panels that `sums` sums of each can take together within the accumulators.
const fn panels_at_once(accumulators: usize, sums: usize) -> usize {
    match accumulators / sums {
        0 | 1 => 1,
        2 | 3 => 2,
        _ => 4,
    }
}

/// Picks the kernel for a tile's number of rows.
#[inline(always)]
fn by_rows<D: Int8, const P: usize>(
    d: D,
    x: Tile<'_>,
    w: &QuantMatrix,
    panels: Range<usize>,
    y: &mut [f32],
) {
    macro_rules! pick {
        ($($r:literal)+) => {
            match x.scales.len() {
                $($r if const { $r <= max_rows(D::ACCUMULATORS, P) } => {
                    by_panels::<D, P, $r>(d, x, w, panels, y)
                })+
                _ => unreachable!("tiles have 1 to 6 rows"),
            }
        };
    }
    pick!(1 2 3 4 5 6);
}

/// Covers `panels` in as few passes as the accumulators allow.
#[inline(always)]
fn by_panels<D: Int8, const P: usize, const R: usize>(
    d: D,
    x: Tile<'_>,
    w: &QuantMatrix,
    mut panels: Range<usize>,
    y: &mut [f32],
) {
    let most = panels_at_once(D::ACCUMULATORS, P * R);
    while !panels.is_empty() {
        panels.start += match most.min(panels.len()) {
            4.. if const { panels_at_once(D::ACCUMULATORS, P * R) >= 4 } => {
                micro_kernel::<D, P, R, 4>(d, x, w, panels.start, y)
            }
            2.. if const { panels_at_once(D::ACCUMULATORS, P * R) >= 2 } => {
                micro_kernel::<D, P, R, 2>(d, x, w, panels.start, y)
            }
            _ => micro_kernel::<D, P, R, 1>(d, x, w, panels.start, y),
        };
    }
}

/// R rows times C panels, all of k; returns C.
#[inline(always)]
fn micro_kernel<D: Int8, const P: usize, const R: usize, const C: usize>(
    d: D,
    x: Tile<'_>,
    w: &QuantMatrix,
    panel: usize,
    y: &mut [f32],
) -> usize {
    let groups = w.k.div_ceil(4);
    let mut rows: [[&[[u8; 4]]; P]; R] = [[&[]; P]; R];
    for (i, row) in rows.as_flattened_mut().iter_mut().enumerate() {
        *row = &x.words[i * groups..][..groups];
    }
    let mut panels: [&[Int8Line]; C] = [&[]; C];
    let mut acc = [[[d.sums(&[0; LANES]); P]; C]; R];
    for c in 0..C {
        panels[c] = w.panel(panel + c);
        let starts = starts::<D, P>(d, &w.outputs[panel + c]);
        for acc in &mut acc {
            acc[c] = starts;
        }
    }
    for i in 0..groups {
        for c in 0..C {
            let weights = d.weights(&panels[c][i].0);
            for r in 0..R {
                for p in 0..P {
                    acc[r][c][p] = d.dot4(rows[r][p][i], weights, acc[r][c][p]);
                }
            }
        }
    }
    for ((y, acc), &scale) in y.chunks_exact_mut(w.n).zip(acc).zip(x.scales) {
        for (panel, acc) in (panel..).zip(acc) {
            finish::<D, P>(d, acc, scale, &w.outputs[panel], &mut y[panel * LANES..]);
        }
    }
    C
}

/// Sums before the first product. Activations of the first plane had 128 added, which the offset takes away; where the
/// products take it away from all planes, it is the others that lack it.
#[inline(always)]
fn starts<D: Int8, const P: usize>(d: D, outputs: &Outputs) -> [D::Sums; P] {
    let (first, others) = match D::LESS_128 {
        false => (outputs.offset, [0; LANES]),
        true => ([0; LANES], outputs.offset.map(|offset| -offset)),
    };
    let mut starts = [d.sums(&others); P];
    starts[0] = d.sums(&first);
    starts
}

/// Sums to outputs: y = fma(sum, row's scale * output's scale, bias), cut off at the row's end.
#[inline(always)]
fn finish<D: Int8, const P: usize>(
    d: D,
    acc: [D::Sums; P],
    scale: f32,
    outputs: &Outputs,
    y: &mut [f32],
) {
    let s = d.floats();
    let mut sum = d.to_floats(acc[0]);
    for lower in &acc[1..] {
        sum = s.fma(sum, s.splat(256.0), d.to_floats(*lower));
    }
    let scale = s.mul(s.splat(scale), s.load(&outputs.scale));
    let out = s.fma(sum, scale, s.load(&outputs.bias));
    store_at(s, out, y, 0);
}
