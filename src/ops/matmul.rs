//! Rule 1: matrix products, one fma chain per output, ascending in k.
//!
//! Vectors run across outputs, tiles across rows, never across k: blocking, vector width, batch and threads cannot
//! change a bit. Weights are packed once into panels of sixteen outputs, `[N/16][K][16]`; the rows of a call are packed
//! into tiles `[K][R]`, so that the inner loop reads two streams in order (Goto and van de Geijn, "Anatomy of
//! high-performance matrix multiplication", 2008).

use super::arch::{Isa, Kernel, LANES, Simd};

/// Weights of a linear layer, packed for [`matmul`]. Invariant: `panels.len() == bias.len() * k`.
pub struct PackedMatrix {
    /// Inputs.
    k: usize,
    /// Outputs, before rounding up to whole panels.
    n: usize,
    panels: Vec<[f32; LANES]>,
    bias: Vec<[f32; LANES]>,
}

impl PackedMatrix {
    /// Packs `n` rows of `k` weights. `row(i)` is output i's weights: [k]; bias: [n] or empty for none.
    pub fn pack<'a>(k: usize, n: usize, row: impl Fn(usize) -> &'a [f32], bias: &[f32]) -> Self {
        debug_assert!(bias.is_empty() || bias.len() == n);
        let count = n.div_ceil(LANES);
        let mut panels = vec![[0.0; LANES]; count * k];
        for i in 0..n {
            let panel = &mut panels[i / LANES * k..][..k];
            for (column, &w) in panel.iter_mut().zip(row(i)) {
                column[i % LANES] = w;
            }
        }
        let mut padded = vec![[0.0; LANES]; count];
        padded.as_flattened_mut()[..bias.len()].copy_from_slice(bias);
        Self { k, n, panels, bias: padded }
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

/// Room for packed rows, kept between calls.
#[derive(Default)]
pub struct MatmulScratch {
    tiles: Vec<f32>,
}

/// y = x w^T + bias. x: [rows][K], y: [rows][N].
pub fn matmul(isa: Isa, x: &[f32], w: &PackedMatrix, y: &mut [f32], scratch: &mut MatmulScratch) {
    assert_eq!(x.len() / w.k, y.len() / w.n, "as many rows in as out");
    isa.run(Matmul { x, w, y, tiles: &mut scratch.tiles });
}

struct Matmul<'a> {
    x: &'a [f32],
    w: &'a PackedMatrix,
    y: &'a mut [f32],
    tiles: &'a mut Vec<f32>,
}

/// Most rows of a tile.
const MAX_ROWS: usize = 12;

/// Rows of the largest tile for this instruction set: all its accumulators in two columns of vectors, or in one.
const fn largest_tile(accumulators: usize) -> usize {
    if accumulators >= 2 * MAX_ROWS { MAX_ROWS } else { accumulators }
}

impl Kernel for Matmul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, y, tiles } = self;
        let rows = x.len() / w.k;
        let n_tiles = rows.div_ceil(largest_tile(S::ACCUMULATORS));
        let spans = move || (0..n_tiles).map(move |t| t * rows / n_tiles..(t + 1) * rows / n_tiles);
        tiles.resize(x.len(), 0.0);
        for span in spans() {
            let range = span.start * w.k..span.end * w.k;
            pack_tile(&x[range.clone()], span.len(), &mut tiles[range]);
        }
        let most = panels_at_once(S::ACCUMULATORS, rows.div_ceil(n_tiles.max(1)).max(1));
        let mut panel = 0;
        while panel < w.bias.len() {
            let together = most.min(w.bias.len() - panel);
            for span in spans() {
                let tile = &tiles[span.start * w.k..span.end * w.k];
                let y = &mut y[span.start * w.n..span.end * w.n];
                tile_by_rows(s, tile, span.len(), w, panel, together, y);
            }
            panel += together;
        }
    }
}

/// Panels that `rows` rows can take together within the accumulators.
const fn panels_at_once(accumulators: usize, rows: usize) -> usize {
    let panels = accumulators / rows;
    if panels >= 8 {
        8
    } else if panels >= 4 {
        4
    } else if panels >= 2 {
        2
    } else {
        1
    }
}

/// [R][K] -> [K][R].
fn pack_tile(x: &[f32], rows: usize, tile: &mut [f32]) {
    let k = x.len() / rows;
    for (r, x) in x.chunks_exact(k).enumerate() {
        for (column, &x) in tile.chunks_exact_mut(rows).zip(x) {
            column[r] = x;
        }
    }
}

/// Picks the kernel for a tile's number of rows, and covers `together` panels with it.
#[inline(always)]
fn tile_by_rows<S: Simd>(
    s: S,
    tile: &[f32],
    rows: usize,
    w: &PackedMatrix,
    panel: usize,
    together: usize,
    y: &mut [f32],
) {
    macro_rules! by_rows {
        ($($r:literal)+) => {
            match rows {
                $($r => by_panels::<S, $r>(s, tile.as_chunks().0, w, panel, together, y),)+
                _ => unreachable!("tiles have 1 to {MAX_ROWS} rows"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// Covers panels `panel..panel + together` in as few passes as the accumulators allow.
#[inline(always)]
fn by_panels<S: Simd, const R: usize>(
    s: S,
    tile: &[[f32; R]],
    w: &PackedMatrix,
    mut panel: usize,
    together: usize,
    y: &mut [f32],
) {
    let end = panel + together;
    while panel < end {
        let left = end - panel;
        panel += match panels_at_once(S::ACCUMULATORS, R) {
            8 if left >= 8 => micro_kernel::<S, R, 8>(s, tile, w, panel, y),
            8 | 4 if left >= 4 => micro_kernel::<S, R, 4>(s, tile, w, panel, y),
            8 | 4 | 2 if left >= 2 => micro_kernel::<S, R, 2>(s, tile, w, panel, y),
            _ => micro_kernel::<S, R, 1>(s, tile, w, panel, y),
        };
    }
}

/// R rows times C panels, all of k; returns C.
#[inline(always)]
fn micro_kernel<S: Simd, const R: usize, const C: usize>(
    s: S,
    tile: &[[f32; R]],
    w: &PackedMatrix,
    panel: usize,
    y: &mut [f32],
) -> usize {
    let k = tile.len();
    let mut panels: [&[[f32; LANES]]; C] = [&[]; C];
    let mut acc = [[s.splat(0.0); C]; R];
    for c in 0..C {
        panels[c] = &w.panels[(panel + c) * k..][..k];
        let bias = s.load(&w.bias[panel + c]);
        for acc in &mut acc {
            acc[c] = bias;
        }
    }
    for i in 0..k {
        let mut column = [s.splat(0.0); C];
        for c in 0..C {
            column[c] = s.load(&panels[c][i]);
        }
        for r in 0..R {
            let x = s.splat(tile[i][r]);
            for c in 0..C {
                acc[r][c] = s.fma(x, column[c], acc[r][c]);
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            store(s, acc[r][c], &mut y[r * w.n..(r + 1) * w.n], (panel + c) * LANES);
        }
    }
    C
}

/// Writes a vector at `at`, cut off at the row's end.
#[inline(always)]
fn store<S: Simd>(s: S, v: S::V, row: &mut [f32], at: usize) {
    match row[at..].first_chunk_mut() {
        Some(full) => s.store(v, full),
        None => {
            let mut block = [0.0; LANES];
            s.store(v, &mut block);
            let tail = &mut row[at..];
            tail.copy_from_slice(&block[..tail.len()]);
        }
    }
}
