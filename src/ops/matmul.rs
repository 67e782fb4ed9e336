//! Rule 1: matrix products, one fma chain per output, ascending in k.
//!
//! Vectors run across outputs, tiles across rows, never across k: blocking, vector width, batch and
//! threads cannot change a bit. Weights are packed once into panels of sixteen outputs,
//! `[N/16][K][16]`, so that the inner loop reads them in order (Goto and van de Geijn, "Anatomy of
//! high-performance matrix multiplication", 2008); rows are read in place. Weights may be kept as
//! halves, which are widened, exactly, in registers.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::lanewise::store_at;
use half::{bf16, f16};
use std::ops::Range;

/// Sixteen values on a cache line of their own: an aligned vector is one load, not two.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub struct Line(pub [f32; LANES]);

/// The bits of sixteen halves, aligned as one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(32))]
pub struct HalfLine([u16; LANES]);

/// A weight in the precision in which it is kept.
pub trait Weight: Clone + 'static {
    /// Sixteen of them.
    type Line: Copy + Send + Sync + 'static;
    /// One as it is kept: its bits, where it is a half.
    type Kept: Copy + Default;
    /// Sixteen zeros.
    const ZEROS: Self::Line;
    /// Most rows of a tile.
    const MAX_ROWS: usize;

    /// Puts `w` where lane `lane` is; rounded to the nearest, unless it is one of this precision.
    fn put(line: &mut Self::Line, lane: usize, w: f32);
    /// Returns the weight of lane `lane`, widened exactly.
    fn get(line: &Self::Line, lane: usize) -> f32;
    /// Reads all, widened exactly.
    fn load<S: Simd>(s: S, line: &Self::Line) -> S::V;
    /// Returns all as they are kept.
    fn kept(line: &Self::Line) -> &[Self::Kept; LANES];
}

impl Weight for f32 {
    type Line = Line;
    type Kept = f32;
    const ZEROS: Line = Line([0.0; LANES]);
    const MAX_ROWS: usize = 12;

    #[inline(always)]
    fn put(line: &mut Line, lane: usize, w: f32) {
        line.0[lane] = w;
    }
    #[inline(always)]
    fn get(line: &Line, lane: usize) -> f32 {
        line.0[lane]
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, line: &Line) -> S::V {
        s.load(&line.0)
    }
    fn kept(line: &Line) -> &[f32; LANES] {
        &line.0
    }
}

/// Halves, by the operation that widens sixteen of them.
macro_rules! half_weight {
    ($type:ty, $load:ident) => {
        impl Weight for $type {
            type Line = HalfLine;
            type Kept = u16;
            const ZEROS: HalfLine = HalfLine([0; LANES]);
            const MAX_ROWS: usize = 6; // more gain little, and take the compiler long

            #[inline(always)]
            fn put(line: &mut HalfLine, lane: usize, w: f32) {
                line.0[lane] = <$type>::from_f32(w).to_bits();
            }
            #[inline(always)]
            fn get(line: &HalfLine, lane: usize) -> f32 {
                <$type>::from_bits(line.0[lane]).to_f32()
            }
            #[inline(always)]
            fn load<S: Simd>(s: S, line: &HalfLine) -> S::V {
                s.$load(&line.0)
            }
            fn kept(line: &HalfLine) -> &[u16; LANES] {
                &line.0
            }
        }
    };
}

half_weight!(bf16, load_bf16);
half_weight!(f16, load_f16);

/// Weights of a linear layer, kept as `W` and packed for [`matmul`].
/// Invariant: `panels.len() == bias.len() * k`.
#[derive(Clone)]
pub struct PackedMatrix<W: Weight = f32> {
    /// Inputs.
    k: usize,
    /// Outputs, before rounding up to whole panels.
    n: usize,
    panels: Vec<W::Line>,
    bias: Vec<Line>,
}

impl<W: Weight> PackedMatrix<W> {
    /// Packs `n` rows of `k` weights. `fill(i, out)` writes output i's weights to out: `[k]`; bias:
    /// `[n]` or empty for none.
    pub fn pack_with(
        k: usize,
        n: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
        bias: &[f32],
    ) -> Self {
        debug_assert!(bias.is_empty() || bias.len() == n);
        let count = n.div_ceil(LANES);
        let mut panels = vec![W::ZEROS; count * k];
        let mut row = vec![0.0; k];
        for i in 0..n {
            fill(i, &mut row);
            let panel = &mut panels[i / LANES * k..][..k];
            for (column, &w) in panel.iter_mut().zip(&row) {
                W::put(column, i % LANES, w);
            }
        }
        let mut padded = vec![Line([0.0; LANES]); count];
        for (line, bias) in padded.iter_mut().zip(bias.chunks(LANES)) {
            line.0[..bias.len()].copy_from_slice(bias);
        }
        Self { k, n, panels, bias: padded }
    }

    /// Writes output i's weights to `row`: `[k]`.
    pub fn unpack_row(&self, i: usize, row: &mut [f32]) {
        let panel = &self.panels[i / LANES * self.k..][..self.k];
        for (w, column) in row.iter_mut().zip(panel) {
            *w = W::get(column, i % LANES);
        }
    }

    /// Returns output i's bias.
    pub fn bias(&self, i: usize) -> f32 {
        self.bias[i / LANES].0[i % LANES]
    }

    /// Returns the weights as they are kept: `[K][N]`.
    pub fn columns(&self) -> Vec<W::Kept> {
        let mut columns = vec![W::Kept::default(); self.k * self.n];
        for (panel, lines) in self.panels.chunks_exact(self.k.max(1)).enumerate() {
            for (column, line) in columns.chunks_exact_mut(self.n).zip(lines) {
                let outputs = &mut column[panel * LANES..];
                outputs.iter_mut().zip(W::kept(line)).for_each(|(to, w)| *to = *w);
            }
        }
        columns
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.n
    }
}

impl PackedMatrix {
    /// Packs `n` rows of `k` weights. `row(i)` is output i's weights: `[k]`; bias: `[n]` or empty
    /// for none.
    pub fn pack<'a>(k: usize, n: usize, row: impl Fn(usize) -> &'a [f32], bias: &[f32]) -> Self {
        Self::pack_with(k, n, |i, out| out.copy_from_slice(row(i)), bias)
    }

    /// Packs the transpose: `row(i)` is the weights from input i to all outputs, `[n]`. No bias.
    pub fn pack_columns<'a>(k: usize, n: usize, row: impl Fn(usize) -> &'a [f32]) -> Self {
        let count = n.div_ceil(LANES);
        let mut panels = vec![Line([0.0; LANES]); count * k];
        for input in 0..k {
            for (panel, weights) in row(input).chunks(LANES).enumerate() {
                panels[panel * k + input].0[..weights.len()].copy_from_slice(weights);
            }
        }
        Self { k, n, panels, bias: vec![Line([0.0; LANES]); count] }
    }

    /// Returns the weights of sixteen outputs after the other, `[N/16][K]`; those past the last output
    /// are zeros.
    pub fn lines_mut(&mut self) -> &mut [Line] {
        &mut self.panels
    }

    /// Packs the transpose, without a bias: from outputs to inputs.
    pub fn transposed(&self) -> Self {
        let (k, n) = (self.n, self.k);
        let count = n.div_ceil(LANES);
        let mut panels = vec![Line([0.0; LANES]); count * k];
        for (first, panel) in (0..).step_by(LANES).zip(self.panels.chunks_exact(self.k)) {
            for (block, lines) in panel.chunks(LANES).enumerate() {
                let rows = &mut panels[block * k + first..][..LANES.min(k - first)];
                for (j, row) in rows.iter_mut().enumerate() {
                    row.0.iter_mut().zip(lines).for_each(|(w, line)| *w = line.0[j]);
                }
            }
        }
        Self { k, n, panels, bias: vec![Line([0.0; LANES]); count] }
    }
}

/// y = x w^T + bias. x: `[rows][K]`, y: `[rows][N]`.
pub fn matmul<W: Weight>(isa: Isa, x: &[f32], w: &PackedMatrix<W>, y: &mut [f32]) {
    assert_eq!(x.len() / w.k, y.len() / w.n, "as many rows in as out");
    if x.is_empty() {
        return;
    }
    isa.run(Matmul { x, w, y });
}

struct Matmul<'a, W: Weight> {
    x: &'a [f32],
    w: &'a PackedMatrix<W>,
    y: &'a mut [f32],
}

/// Most rows of a tile, by the vectors of accumulators that stay in registers.
const fn max_rows<S: Simd, W: Weight>() -> usize {
    if S::ACCUMULATORS >= 24 { W::MAX_ROWS } else { 6 }
}

impl<W: Weight> Kernel for Matmul<'_, W> {
    type Output = ();

    /// Panels in the outer loop: a group of panels stays in the cache while all tiles of rows pass
    /// over it.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, y } = self;
        let rows = x.len() / w.k;
        let tiles = rows.div_ceil(max_rows::<S, W>());
        let mut panel = 0;
        while panel < w.bias.len() {
            let together = panels_at_once(S::ACCUMULATORS, rows.div_ceil(tiles));
            let group = panel..w.bias.len().min(panel + together);
            for tile in 0..tiles {
                let span = tile * rows / tiles..(tile + 1) * rows / tiles;
                let x = &x[span.start * w.k..span.end * w.k];
                let y = &mut y[span.start * w.n..span.end * w.n];
                by_rows(s, x, w, group.clone(), y);
            }
            panel = group.end;
        }
    }
}

/// Panels that `rows` rows can take together within the accumulators.
const fn panels_at_once(accumulators: usize, rows: usize) -> usize {
    match accumulators / rows {
        0 | 1 => 1,
        most if most < 8 => most,
        _ => 8,
    }
}

/// Picks the kernel for a tile's number of rows.
#[inline(always)]
fn by_rows<S: Simd, W: Weight>(
    s: S,
    x: &[f32],
    w: &PackedMatrix<W>,
    panels: Range<usize>,
    y: &mut [f32],
) {
    macro_rules! pick {
        ($($r:literal)+) => {
            match x.len() / w.k {
                $($r if const { $r <= max_rows::<S, W>() } => by_panels::<S, W, $r>(s, x, w, panels, y),)+
                _ => unreachable!("tiles have 1 to 12 rows"),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// Covers `panels` in as few passes as the accumulators allow.
#[inline(always)]
fn by_panels<S: Simd, W: Weight, const R: usize>(
    s: S,
    x: &[f32],
    w: &PackedMatrix<W>,
    mut panels: Range<usize>,
    y: &mut [f32],
) {
    let most = panels_at_once(S::ACCUMULATORS, R);
    while !panels.is_empty() {
        panels.start += match most.min(panels.len()) {
            8 if const { panels_at_once(S::ACCUMULATORS, R) >= 8 } => {
                micro_kernel::<S, W, R, 8>(s, x, w, panels.start, y)
            }
            6.. if const { panels_at_once(S::ACCUMULATORS, R) >= 6 } => {
                micro_kernel::<S, W, R, 6>(s, x, w, panels.start, y)
            }
            4.. if const { panels_at_once(S::ACCUMULATORS, R) >= 4 } => {
                micro_kernel::<S, W, R, 4>(s, x, w, panels.start, y)
            }
            3.. if const { panels_at_once(S::ACCUMULATORS, R) >= 3 } => {
                micro_kernel::<S, W, R, 3>(s, x, w, panels.start, y)
            }
            2.. if const { panels_at_once(S::ACCUMULATORS, R) >= 2 } => {
                micro_kernel::<S, W, R, 2>(s, x, w, panels.start, y)
            }
            _ => micro_kernel::<S, W, R, 1>(s, x, w, panels.start, y),
        };
    }
}

/// R rows times C panels, all of k; returns C.
#[inline(always)]
fn micro_kernel<S: Simd, W: Weight, const R: usize, const C: usize>(
    s: S,
    x: &[f32],
    w: &PackedMatrix<W>,
    panel: usize,
    y: &mut [f32],
) -> usize {
    let (k, n) = (w.k, w.n);
    let mut rows: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        rows[r] = &x[r * k..][..k];
    }
    let mut panels: [&[W::Line]; C] = [&[]; C];
    let mut acc = [[s.splat(0.0); C]; R];
    for c in 0..C {
        panels[c] = &w.panels[(panel + c) * k..][..k];
        let bias = s.load(&w.bias[panel + c].0);
        for acc in &mut acc {
            acc[c] = bias;
        }
    }
    for i in 0..k {
        let mut column = [s.splat(0.0); C];
        for c in 0..C {
            column[c] = W::load(s, &panels[c][i]);
        }
        for r in 0..R {
            let x = s.splat(rows[r][i]);
            for c in 0..C {
                acc[r][c] = s.fma(x, column[c], acc[r][c]);
            }
        }
    }
    for (y, acc) in y.chunks_exact_mut(n).zip(acc) {
        for (panel, acc) in (panel..).zip(acc) {
            store_at(s, acc, y, panel * LANES);
        }
    }
    C
}
