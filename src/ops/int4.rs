//! Rule 26: matrix products of four-bit weights in groups with quantized activations.
//!
//! Sums within a group are sums of integers, exact in any order; groups are added up in floats,
//! first to last. Weights are packed into panels of sixteen outputs, `[N/16][K/8]` lines of 64
//! bytes ([`Int4`]), which are taken apart in registers.

use super::arch::{Int4, Int4Kernel, Isa, LANES, LINES_AT_ONCE, Simd};
use super::fma::fma;
use super::int8::MAX_INPUTS;
use super::lanewise::store_at;
use super::quant::GroupRows;
use std::ops::Range;

/// Inputs of a line.
const LINE: usize = 8;

/// Most inputs of a group: 2^13 products of 8 by 32,639 are below 2^31.
pub const MAX_GROUP: usize = 1 << 13;

/// Eight weights of each of sixteen outputs, on a cache line of their own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Int4Line([u8; 4 * LANES]);

/// A number of each of sixteen outputs.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct OfOutputs([f32; LANES]);

/// Dimensions of a linear layer of four-bit weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupShape {
    /// Inputs, at most [`MAX_INPUTS`].
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Inputs of a group, but the last, which may have fewer: a multiple of 8 up to [`MAX_GROUP`].
    pub group: usize,
}

impl GroupShape {
    /// Returns how many groups an output has.
    pub fn groups(self) -> usize {
        self.inputs.div_ceil(self.group)
    }

    fn lines(self) -> usize {
        self.inputs.div_ceil(LINE)
    }

    fn panels(self) -> usize {
        self.outputs.div_ceil(LANES)
    }
}

/// Four-bit weights of a linear layer, packed for [`matmul_int4`]: weight k of an output is
/// (q - 8) * scale + offset of its group, with q from 0 to 15.
///
/// Invariants: `lines.len() == panels * lines a panel`; `scales.len() == panels * groups`, and so
/// of `offsets` unless it is empty; `biases.len() == panels`; `order` is empty or a permutation of
/// the inputs.
pub struct GroupMatrix {
    shape: GroupShape,
    lines: Vec<Int4Line>,
    scales: Vec<OfOutputs>,
    /// Empty where all are 0.
    offsets: Vec<OfOutputs>,
    biases: Vec<OfOutputs>,
    /// The element of x that each input is; empty where it is its own.
    order: Vec<u32>,
}

/// An output's weights, before they are packed.
pub struct GroupRow<'a> {
    /// Of each input 0 to 15: `[inputs]`.
    pub integers: &'a mut [u8],
    /// `[groups]`
    pub scales: &'a mut [f32],
    /// `[groups]`, zeros at first; empty where no output has any.
    pub offsets: &'a mut [f32],
}

impl GroupMatrix {
    /// Packs the weights that `fill(i, row)` writes for output i; `has_offsets` says whether there
    /// are any. bias: `[N]` or empty for none. order: as [`GroupRows::quantize`] takes it.
    ///
    /// # Panics
    /// Where `shape` is not within its bounds or `order` is not a permutation.
    pub fn pack_with(
        shape: GroupShape,
        has_offsets: bool,
        order: Vec<u32>,
        mut fill: impl FnMut(usize, GroupRow<'_>),
        bias: &[f32],
    ) -> Self {
        let GroupShape { inputs, outputs, group } = shape;
        assert!(inputs <= MAX_INPUTS, "{inputs} inputs, expected at most {MAX_INPUTS}");
        assert!((1..=MAX_GROUP).contains(&group) && group.is_multiple_of(LINE), "group {group}");
        assert!(order.is_empty() || is_permutation(&order, inputs), "not an order of the inputs");
        debug_assert!(bias.is_empty() || bias.len() == outputs);
        let (panels, n_lines, groups) = (shape.panels(), shape.lines(), shape.groups());
        let none = OfOutputs([0.0; LANES]);
        let mut lines = vec![Int4Line([0; 4 * LANES]); panels * n_lines];
        let mut scales = vec![none; panels * groups];
        let mut offsets = vec![none; if has_offsets { panels * groups } else { 0 }];
        let mut biases = vec![none; panels];
        let mut integers = vec![0; inputs];
        let mut of_groups = [vec![0.0; groups], vec![0.0; if has_offsets { groups } else { 0 }]];
        for i in 0..outputs {
            let (panel, lane) = (i / LANES, i % LANES);
            let [row_scales, row_offsets] = &mut of_groups;
            row_offsets.fill(0.0);
            let row =
                GroupRow { integers: &mut integers, scales: row_scales, offsets: row_offsets };
            fill(i, row);
            for (line, eight) in lines[panel * n_lines..].iter_mut().zip(integers.chunks(LINE)) {
                for (k, &q) in eight.iter().enumerate() {
                    line.0[4 * lane + k % 4] |= (q & 15) << (k / 4 * 4);
                }
            }
            for (all, of_row) in [(&mut scales, row_scales), (&mut offsets, row_offsets)] {
                let places = all.iter_mut().skip(panel * groups);
                places.zip(of_row.iter()).for_each(|(place, &x)| place.0[lane] = x);
            }
            biases[panel].0[lane] = bias.get(i).copied().unwrap_or(0.0);
        }
        Self { shape, lines, scales, offsets, biases, order }
    }

    /// Writes output i's weights to `row`, each rounded once: `[inputs]`, in the order of x.
    pub fn unpack_row(&self, i: usize, row: &mut [f32]) {
        let (panel, lane) = (i / LANES, i % LANES);
        let (lines, scales, offsets) = self.panel(panel);
        for k in 0..self.shape.inputs {
            let byte = lines[k / LINE].0[4 * lane + k % 4];
            let q = if k % LINE < 4 { byte & 15 } else { byte >> 4 };
            let group = k / self.shape.group;
            let offset = offsets.get(group).map_or(0.0, |offsets| offsets.0[lane]);
            let w = four_bit_weight(q, scales[group].0[lane], offset);
            row[self.order.get(k).map_or(k, |&at| at as usize)] = w;
        }
    }

    /// Returns output i's bias.
    pub fn bias(&self, i: usize) -> f32 {
        self.biases[i / LANES].0[i % LANES]
    }

    /// Returns its dimensions.
    pub fn shape(&self) -> GroupShape {
        self.shape
    }

    /// Returns the element of x that each input is; empty where it is its own.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Lines, scales and offsets of sixteen outputs.
    #[inline(always)]
    fn panel(&self, i: usize) -> (&[Int4Line], &[OfOutputs], &[OfOutputs]) {
        let (lines, groups) = (self.shape.lines(), self.shape.groups());
        let offsets = if self.offsets.is_empty() { 0 } else { groups };
        (
            &self.lines[i * lines..][..lines],
            &self.scales[i * groups..][..groups],
            &self.offsets[i * offsets..][..offsets],
        )
    }
}

/// Returns the weight that q, from 0 to 15, stands for: (q - 8) * scale + offset, rounded once.
pub fn four_bit_weight(q: u8, scale: f32, offset: f32) -> f32 {
    fma(f32::from(q) - 8.0, scale, offset)
}

fn is_permutation(order: &[u32], n: usize) -> bool {
    let mut seen = vec![false; n];
    let mut is_new =
        |&k: &u32| seen.get_mut(k as usize).is_some_and(|seen| !std::mem::replace(seen, true));
    order.len() == n && order.iter().all(&mut is_new)
}

/// y = x w^T + bias. y: `[rows][N]`.
pub fn matmul_int4(isa: Isa, x: &GroupRows, w: &GroupMatrix, y: &mut [f32]) {
    assert_eq!((x.inputs, x.group), (w.shape.inputs, w.shape.group), "groups of both");
    assert_eq!(y.len(), x.len() * w.shape.outputs, "as many rows in as out");
    match x.planes {
        1 => isa.run_int4(MatmulInt4::<1> { x, w, y }),
        _ => isa.run_int4(MatmulInt4::<2> { x, w, y }),
    }
}

/// A product of activations of `P` planes.
struct MatmulInt4<'a, const P: usize> {
    x: &'a GroupRows,
    w: &'a GroupMatrix,
    y: &'a mut [f32],
}

/// Some rows of activations: words `[rows][P][K / 8]`, sums `[rows][groups]`, scales `[rows]`.
#[derive(Clone, Copy)]
struct Tile<'a> {
    words: &'a [[[i8; 4]; 2]],
    sums: &'a [i32],
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

/// Panels that `sums` sums of each can take together within the accumulators.
const fn panels_at_once(accumulators: usize, sums: usize) -> usize {
    match accumulators / sums {
        0 | 1 => 1,
        2 | 3 => 2,
        _ => 4,
    }
}

impl<const P: usize> Int4Kernel for MatmulInt4<'_, P> {
    /// Panels in the outer loop: a group of panels stays in the cache while all tiles of rows pass
    /// over it.
    #[inline(always)]
    fn run<D: Int4>(self, d: D) {
        let Self { x, w, y } = self;
        let (rows, stride, n) = (x.len(), P * w.shape.lines(), w.shape.outputs);
        let groups = w.shape.groups();
        let tiles = rows.div_ceil(max_rows(D::ACCUMULATORS, P));
        let mut panel = 0;
        while tiles > 0 && panel < w.shape.panels() {
            let together = panels_at_once(D::ACCUMULATORS, P * rows.div_ceil(tiles));
            let panels = panel..w.shape.panels().min(panel + together);
            for tile in 0..tiles {
                let span = tile * rows / tiles..(tile + 1) * rows / tiles;
                let y = &mut y[span.start * n..span.end * n];
                let x = Tile {
                    words: &x.words[span.start * stride..span.end * stride],
                    sums: &x.sums[span.start * groups..span.end * groups],
                    scales: &x.scales[span],
                };
                by_rows::<D, P>(d, x, w, panels.clone(), y);
            }
            panel = panels.end;
        }
    }
}

/// Picks the kernel for a tile's number of rows.
#[inline(always)]
fn by_rows<D: Int4, const P: usize>(
    d: D,
    x: Tile<'_>,
    w: &GroupMatrix,
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
fn by_panels<D: Int4, const P: usize, const R: usize>(
    d: D,
    x: Tile<'_>,
    w: &GroupMatrix,
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
fn micro_kernel<D: Int4, const P: usize, const R: usize, const C: usize>(
    d: D,
    x: Tile<'_>,
    w: &GroupMatrix,
    panel: usize,
    y: &mut [f32],
) -> usize {
    let s = d.floats();
    let (lines, groups) = (w.shape.lines(), w.shape.groups());
    let panels: [_; C] = std::array::from_fn(|c| w.panel(panel + c));
    let mut acc = [[s.splat(0.0); C]; R];
    for group in 0..groups {
        let start = group * (w.shape.group / LINE);
        let end = lines.min(start + w.shape.group / LINE);
        // The integers of weights are taken as q, from 0 to 15: 8 times the activations is less.
        let mut sums = [[[d.splat(0); P]; C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let rest = d.splat(-8 * x.sums[r * groups + group]);
            sums.iter_mut().for_each(|sums| sums[P - 1] = rest);
        }
        let mut first = start;
        while first < end {
            let last = end.min(first + LINES_AT_ONCE);
            products::<D, P, R, C>(d, x.words, &panels, lines, first..last, &mut sums);
            first = last;
        }
        for r in 0..R {
            let of_row = s.splat(x.sums[r * groups + group] as f32);
            for c in 0..C {
                let sum = match P {
                    1 => sums[r][c][0],
                    _ => d.joined(sums[r][c][0], sums[r][c][P - 1]),
                };
                let (_, scales, offsets) = panels[c];
                acc[r][c] = s.fma(d.to_floats(sum), s.load(&scales[group].0), acc[r][c]);
                if let Some(offsets) = offsets.get(group) {
                    acc[r][c] = s.fma(of_row, s.load(&offsets.0), acc[r][c]);
                }
            }
        }
    }
    for ((y, acc), &scale) in y.chunks_exact_mut(w.shape.outputs).zip(acc).zip(x.scales) {
        for (panel, acc) in (panel..).zip(acc) {
            let out = s.fma(acc, s.splat(scale), s.load(&w.biases[panel].0));
            store_at(s, out, &mut y[panel * LANES..], 0);
        }
    }
    C
}

/// Adds the products of at most [`LINES_AT_ONCE`] lines to `sums`.
#[inline(always)]
fn products<D: Int4, const P: usize, const R: usize, const C: usize>(
    d: D,
    words: &[[[i8; 4]; 2]],
    panels: &[(&[Int4Line], &[OfOutputs], &[OfOutputs]); C],
    lines: usize,
    range: Range<usize>,
    sums: &mut [[[D::Sums; P]; C]; R],
) {
    let mut x: [[&[[[i8; 4]; 2]]; P]; R] = [[&[]; P]; R];
    for (i, x) in x.as_flattened_mut().iter_mut().enumerate() {
        *x = &words[i * lines..][range.clone()];
    }
    let mut weights: [&[Int4Line]; C] = [&[]; C];
    for c in 0..C {
        weights[c] = &panels[c].0[range.clone()];
    }
    let mut partial = [[[d.begin(d.splat(0)); P]; C]; R];
    for r in 0..R {
        for c in 0..C {
            for p in 0..P {
                partial[r][c][p] = d.begin(sums[r][c][p]);
            }
        }
    }
    for i in 0..range.len() {
        for c in 0..C {
            let [low, high] = d.weights(&weights[c][i].0);
            for r in 0..R {
                for p in 0..P {
                    let [first, second] = x[r][p][i];
                    partial[r][c][p] = d.dot4(first, low, partial[r][c][p]);
                    partial[r][c][p] = d.dot4(second, high, partial[r][c][p]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            for p in 0..P {
                sums[r][c][p] = d.end(partial[r][c][p], sums[r][c][p]);
            }
        }
    }
}
