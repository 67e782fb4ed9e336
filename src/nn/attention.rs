//! Causal attention over a sliding window.
//!
//! Queries are taken in blocks with all keys that a block sees; the softmax is recomputed in the
//! backward pass (Dao et al., "FlashAttention", 2022). Heads that share keys make one product.
//! Keys of steering vectors, which all queries see, stand after those of the window.
//!
//! Legend: `T` positions of one sequence, `D` dimensions of a head, `Q` rows of a block: its
//! queries of all heads that share keys, `K` keys of the window, `N` of steering vectors.

use super::matrix::{accumulate, gathered, product, product_with, transposed};
use crate::ops::{AttentionShape, Isa, softmax, softmax_backward};

/// Queries of a block.
const BLOCK: usize = 64;

/// Attention of all heads of a layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionLayer {
    /// Dimensions.
    pub shape: AttentionShape,
}

/// Steering vectors that a sequence sees.
#[derive(Debug, Clone, Copy)]
pub struct PinnedRows<'a> {
    /// Their queries, keys and values: `[N][qkv]`.
    pub qkv: &'a [f32],
    /// The sequence's queries for them, not rotated: `[T][heads * D]`.
    pub queries: &'a [f32],
}

/// Gradients of attention.
pub struct AttentionGradients {
    /// Of the sequence's queries, keys and values: `[T][qkv]`.
    pub qkv: Vec<f32>,
    /// Of those of [`PinnedRows`]: `[N][qkv]`.
    pub pinned_qkv: Vec<f32>,
    /// Of its queries: `[T][heads * D]`.
    pub pinned_queries: Vec<f32>,
}

/// One block of one key/value head.
struct AttentionBlock {
    kv_head: usize,
    /// Positions of its first query and its first key, and of the end of both.
    first: usize,
    first_key: usize,
    end: usize,
    /// `[Q][D]`, for keys of the window and those of steering vectors.
    queries: [Vec<f32>; 2],
    /// `[K][D]` and `[N][D]`
    keys: [Vec<f32>; 2],
    /// `[K + N][D]`
    values: Vec<f32>,
    /// Softmax output: `[Q][K + N]`
    p: Vec<f32>,
}

impl AttentionLayer {
    /// Returns the width of a row of queries, keys and values.
    pub fn qkv_width(&self) -> usize {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        (heads + 2 * kv_heads) * head_dim
    }

    /// Computes attention. qkv: `[T][qkv]`, rotated; returns `[T][heads * D]`.
    pub fn forward(&self, isa: Isa, qkv: &[f32], pinned: Option<PinnedRows<'_>>) -> Vec<f32> {
        let t = qkv.len() / self.qkv_width();
        let mut out = vec![0.0; t * self.out_width()];
        for (kv_head, first) in self.blocks(0, t) {
            let block = self.block(isa, qkv, pinned, kv_head, (0, first));
            let o = product_with(isa, &block.p, &block.values, block.seen(self.shape.head_dim));
            self.scatter(&o, &mut out, self.out_width(), &block, 0);
        }
        out
    }

    /// Returns the gradients of the inputs of [`AttentionLayer::forward`] from that of its output.
    ///
    /// The first `past` rows are constants: neither they nor what they are seen by before them have a
    /// gradient, and their queries are not read. d_out: `[T - past][heads * D]`, as `pinned.queries` and
    /// their gradient.
    pub fn backward(
        &self,
        isa: Isa,
        qkv: &[f32],
        pinned: Option<PinnedRows<'_>>,
        past: usize,
        d_out: &[f32],
    ) -> AttentionGradients {
        let AttentionShape { head_dim: d, scale, .. } = self.shape;
        let width = self.qkv_width();
        let zeros = |x: Option<&[f32]>| vec![0.0; x.map_or(0, <[f32]>::len)];
        let mut gradients = AttentionGradients {
            qkv: zeros(Some(qkv)),
            pinned_qkv: zeros(pinned.map(|pinned| pinned.qkv)),
            pinned_queries: zeros(pinned.map(|pinned| pinned.queries)),
        };
        for (kv_head, first) in self.blocks(past, qkv.len() / width) {
            let block = self.block(isa, qkv, pinned, kv_head, (past, first));
            let (q, k) = (block.queries[0].len() / d, block.end - block.first_key);
            let seen = block.seen(d);
            let d_o = self.gather(d_out, self.out_width(), kv_head, first - past, block.end - past);
            let d_values = product_with(isa, &transposed(&block.p, seen), &d_o, q);
            let mut d_s = product(isa, &d_o, &block.values, d);
            softmax_backward(isa, seen, &block.p, scale, &mut d_s);
            let (d_s, pinned_d_s) = split_columns(d_s, seen, k);
            let (d_values, pinned_d_values) = d_values.split_at(k * d);
            let d_queries = product_with(isa, &d_s, &block.keys[0], k);
            let d_keys = product_with(isa, &transposed(&d_s, k), &block.queries[0], q);
            self.scatter(&d_queries, &mut gradients.qkv, width, &block, 0);
            self.add_kv(
                &mut gradients.qkv[block.first_key * width..],
                kv_head,
                [&d_keys, d_values],
            );
            if seen > k {
                let n = seen - k;
                let d_queries = product_with(isa, &pinned_d_s, &block.keys[1], n);
                let d_keys = product_with(isa, &transposed(&pinned_d_s, n), &block.queries[1], q);
                self.scatter(
                    &d_queries,
                    &mut gradients.pinned_queries,
                    self.out_width(),
                    &block,
                    past,
                );
                self.add_kv(&mut gradients.pinned_qkv, kv_head, [&d_keys, pinned_d_values]);
            }
        }
        gradients
    }

    /// Adds gradients of keys and values of one head, `[rows][D]`, to those of rows: `[..][qkv]`.
    fn add_kv(&self, d_qkv: &mut [f32], kv_head: usize, d_kv: [&[f32]; 2]) {
        let AttentionShape { heads, kv_heads, head_dim: d, .. } = self.shape;
        for (part, d_part) in d_kv.into_iter().enumerate() {
            let column = (heads + part * kv_heads + kv_head) * d;
            for (row, d_row) in d_qkv.chunks_exact_mut(self.qkv_width()).zip(d_part.chunks_exact(d))
            {
                accumulate(&mut row[column..][..d], d_row);
            }
        }
    }

    /// Returns the width of a row of outputs.
    pub fn out_width(&self) -> usize {
        self.shape.heads * self.shape.head_dim
    }

    /// Iterates over all blocks of queries from `past` on: key/value head and first query.
    fn blocks(&self, past: usize, t: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.shape.kv_heads)
            .flat_map(move |kv_head| (past..t).step_by(BLOCK).map(move |first| (kv_head, first)))
    }

    fn block(
        &self,
        isa: Isa,
        qkv: &[f32],
        pinned: Option<PinnedRows<'_>>,
        kv_head: usize,
        (past, first): (usize, usize),
    ) -> AttentionBlock {
        let AttentionShape { heads, kv_heads, head_dim: d, window, scale } = self.shape;
        let width = self.qkv_width();
        let end = (qkv.len() / width).min(first + BLOCK);
        let first_key = (first + 1).saturating_sub(window);
        let part = |qkv: &[f32], part: usize, rows: std::ops::Range<usize>| -> Vec<f32> {
            let column = (heads + part * kv_heads + kv_head) * d;
            gathered(qkv, d, rows.map(|row| row * width + column))
        };
        let [mut keys, mut values] = [0, 1].map(|i| [part(qkv, i, first_key..end), Vec::new()]);
        let mut queries = [self.gather(qkv, width, kv_head, first, end), Vec::new()];
        let (n, k) = (end - first, end - first_key);
        let mut p = product(isa, &queries[0], &keys[0], d);
        if let Some(pinned) = pinned {
            let vectors = 0..pinned.qkv.len() / width;
            keys[1] = part(pinned.qkv, 0, vectors.clone());
            values[1] = part(pinned.qkv, 1, vectors);
            queries[1] =
                self.gather(pinned.queries, self.out_width(), kv_head, first - past, end - past);
            p = join_columns(&p, k, &product(isa, &queries[1], &keys[1], d));
        }
        let values = values.concat();
        let seen = values.len() / d;
        for (i, row) in p.chunks_exact_mut(seen).enumerate() {
            let position = first + i % n;
            let from = (position + 1).saturating_sub(window).max(first_key) - first_key;
            let to = position + 1 - first_key;
            // What the window hides is put aside: the softmax is over what is seen, in order.
            row[to..].rotate_left(k - to);
            let row_seen = &mut row[from..to + seen - k];
            row_seen.iter_mut().for_each(|s| *s *= scale);
            softmax(isa, row_seen);
            row[..from].fill(0.0);
            row[to + seen - k..].fill(0.0);
            row[to..].rotate_right(k - to);
        }
        AttentionBlock { kv_head, first, first_key, end, queries, keys, values, p }
    }

    /// Collects rows `first..end` of the heads that share `kv_head`, head by head. x: `[T][width]`
    fn gather(
        &self,
        x: &[f32],
        width: usize,
        kv_head: usize,
        first: usize,
        end: usize,
    ) -> Vec<f32> {
        let (group, d) = (self.shape.heads / self.shape.kv_heads, self.shape.head_dim);
        let heads = kv_head * group..(kv_head + 1) * group;
        let rows = heads.flat_map(|head| (first..end).map(move |row| row * width + head * d));
        gathered(x, d, rows)
    }

    /// Writes rows in the order of [`AttentionLayer::gather`] back into `out`, which lacks the rows before
    /// `past`: `[T - past][width]`.
    fn scatter(
        &self,
        x: &[f32],
        out: &mut [f32],
        width: usize,
        block: &AttentionBlock,
        past: usize,
    ) {
        let (group, d) = (self.shape.heads / self.shape.kv_heads, self.shape.head_dim);
        let n = block.end - block.first;
        for (i, row) in x.chunks_exact(d).enumerate() {
            let (head, position) = (block.kv_head * group + i / n, block.first - past + i % n);
            out[position * width + head * d..][..d].copy_from_slice(row);
        }
    }
}

impl AttentionBlock {
    /// Keys that it has: `K + N`.
    fn seen(&self, head_dim: usize) -> usize {
        self.values.len() / head_dim
    }
}

/// Joins rows. a: `[rows][k]`, b: `[rows][..]`.
fn join_columns(a: &[f32], k: usize, b: &[f32]) -> Vec<f32> {
    let rows = a.len() / k;
    let n = b.len() / rows;
    a.chunks_exact(k).zip(b.chunks_exact(n)).flat_map(|(a, b)| [a, b].concat()).collect()
}

/// Splits rows, `[rows][width]`, after their first `k` columns.
fn split_columns(x: Vec<f32>, width: usize, k: usize) -> (Vec<f32>, Vec<f32>) {
    if k == width {
        return (x, Vec::new());
    }
    let rows = || x.chunks_exact(width);
    (
        rows().flat_map(|row| &row[..k]).copied().collect(),
        rows().flat_map(|row| &row[k..]).copied().collect(),
    )
}
