//! Causal attention over a sliding window.
//!
//! Queries are taken in blocks with all keys that a block sees; the softmax is recomputed in the
//! backward pass (Dao et al., "FlashAttention", 2022). Heads that share keys make one product.
//!
//! Legend: `T` positions of one sequence, `D` dimensions of a head, `Q` rows of a block: its
//! queries of all heads that share keys, `K` keys that it sees.

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

/// One block of one key/value head.
struct AttentionBlock {
    /// Positions of its first query and its first key, and of the end of both.
    first: usize,
    first_key: usize,
    end: usize,
    /// `[Q][D]`
    queries: Vec<f32>,
    /// `[K][D]`
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Softmax output: `[Q][K]`
    p: Vec<f32>,
}

impl AttentionLayer {
    /// Returns the width of a row of queries, keys and values.
    pub fn qkv_width(&self) -> usize {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        (heads + 2 * kv_heads) * head_dim
    }

    /// Computes attention. qkv: `[T][qkv]`, rotated; returns `[T][heads * D]`.
    pub fn forward(&self, isa: Isa, qkv: &[f32]) -> Vec<f32> {
        let t = qkv.len() / self.qkv_width();
        let mut out = vec![0.0; t * self.shape.heads * self.shape.head_dim];
        for (kv_head, first) in self.blocks(t) {
            let block = self.block(isa, qkv, kv_head, first);
            let o = product_with(isa, &block.p, &block.values, block.end - block.first_key);
            self.scatter(&o, &mut out, self.shape.heads * self.shape.head_dim, kv_head, &block);
        }
        out
    }

    /// Returns the gradient of qkv, rotated, from that of the output of
    /// [`AttentionLayer::forward`].
    pub fn backward(&self, isa: Isa, qkv: &[f32], d_out: &[f32]) -> Vec<f32> {
        let AttentionShape { heads, kv_heads, head_dim: d, scale, .. } = self.shape;
        let width = self.qkv_width();
        let mut d_qkv = vec![0.0; qkv.len()];
        for (kv_head, first) in self.blocks(qkv.len() / width) {
            let block = self.block(isa, qkv, kv_head, first);
            let (q, k) = (block.queries.len() / d, block.end - block.first_key);
            let d_o = self.gather(d_out, heads * d, kv_head, first, block.end);
            let d_values = product_with(isa, &transposed(&block.p, k), &d_o, q);
            let mut d_s = product(isa, &d_o, &block.values, d);
            softmax_backward(isa, k, &block.p, scale, &mut d_s);
            let d_queries = product_with(isa, &d_s, &block.keys, k);
            let d_keys = product_with(isa, &transposed(&d_s, k), &block.queries, q);
            self.scatter(&d_queries, &mut d_qkv, width, kv_head, &block);
            for (part, d_part) in [(0, &d_keys), (1, &d_values)] {
                let column = (heads + part * kv_heads + kv_head) * d;
                for (i, row) in d_part.chunks_exact(d).enumerate() {
                    let at = (block.first_key + i) * width + column;
                    accumulate(&mut d_qkv[at..][..d], row);
                }
            }
        }
        d_qkv
    }

    /// Iterates over all blocks: key/value head and first query.
    fn blocks(&self, t: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.shape.kv_heads)
            .flat_map(move |kv_head| (0..t).step_by(BLOCK).map(move |first| (kv_head, first)))
    }

    fn block(&self, isa: Isa, qkv: &[f32], kv_head: usize, first: usize) -> AttentionBlock {
        let AttentionShape { heads, kv_heads, head_dim: d, window, scale } = self.shape;
        let width = self.qkv_width();
        let end = (qkv.len() / width).min(first + BLOCK);
        let first_key = (first + 1).saturating_sub(window);
        let part = |part: usize| -> Vec<f32> {
            let column = (heads + part * kv_heads + kv_head) * d;
            gathered(qkv, d, (first_key..end).map(|row| row * width + column))
        };
        let (keys, values) = (part(0), part(1));
        let queries = self.gather(qkv, width, kv_head, first, end);
        let (n, k) = (end - first, end - first_key);
        let mut p = product(isa, &queries, &keys, d);
        for (i, row) in p.chunks_exact_mut(k).enumerate() {
            let position = first + i % n;
            let seen = (position + 1).saturating_sub(window).max(first_key) - first_key
                ..position + 1 - first_key;
            let row_seen = &mut row[seen.clone()];
            row_seen.iter_mut().for_each(|s| *s *= scale);
            softmax(isa, row_seen);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
        }
        AttentionBlock { first, first_key, end, queries, keys, values, p }
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

    /// Writes rows in the order of [`AttentionLayer::gather`] back into `out`: `[T][width]`.
    fn scatter(
        &self,
        x: &[f32],
        out: &mut [f32],
        width: usize,
        kv_head: usize,
        block: &AttentionBlock,
    ) {
        let (group, d) = (self.shape.heads / self.shape.kv_heads, self.shape.head_dim);
        let n = block.end - block.first;
        for (i, row) in x.chunks_exact(d).enumerate() {
            let (head, position) = (kv_head * group + i / n, block.first + i % n);
            out[position * width + head * d..][..d].copy_from_slice(row);
        }
    }
}
