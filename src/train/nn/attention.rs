//! Causal attention over a sliding window, with rotary positions.
//!
//! Queries are taken in blocks with all keys that a block sees; the softmax is recomputed in the
//! backward pass (Dao et al., "FlashAttention", 2022). Heads that share keys make one product.
//!
//! Legend: `T` positions of one sequence, `D` dimensions of a head, `Q` rows of a block: its
//! queries of all heads that share keys, `K` keys that it sees.

use super::matrix::{accumulate, product, product_with, transposed};
use crate::ops::{Isa, Rotary, RotaryScaling, rotate, softmax};

/// Queries of a block.
const BLOCK: usize = 64;

/// Dimensions of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionLayer {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a head; even.
    pub head_dim: usize,
    /// Positions that a query sees, its own included.
    pub window: usize,
    /// Base of the rotary frequencies.
    pub theta: f64,
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
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Rotates queries and keys by their positions, or back. qkv: `[T][qkv]`
    pub fn rotate(&self, qkv: &mut [f32], back: bool) {
        let (rotary, pairs) =
            (Rotary::new(self.head_dim, self.theta, RotaryScaling::None), self.head_dim / 2);
        let (mut cos, mut sin) = (vec![0.0; pairs], vec![0.0; pairs]);
        let rotated = (self.heads + self.kv_heads) * self.head_dim;
        for (position, row) in (0..).zip(qkv.chunks_exact_mut(self.qkv_width())) {
            rotary.at(position, &mut cos, &mut sin);
            if back {
                sin.iter_mut().for_each(|sin| *sin = -*sin);
            }
            rotate(&mut row[..rotated], self.head_dim, &cos, &sin);
        }
    }

    /// Computes attention. qkv: `[T][qkv]`, rotated; returns `[T][heads * D]`.
    pub fn forward(&self, isa: Isa, qkv: &[f32]) -> Vec<f32> {
        let t = qkv.len() / self.qkv_width();
        let mut out = vec![0.0; t * self.heads * self.head_dim];
        for (kv_head, first) in self.blocks(t) {
            let block = self.block(isa, qkv, kv_head, first);
            let o = product_with(isa, &block.p, &block.values, block.end - block.first_key);
            self.scatter(&o, &mut out, self.heads * self.head_dim, kv_head, &block);
        }
        out
    }

    /// Returns the gradient of qkv, rotated, from that of the output of
    /// [`AttentionLayer::forward`].
    pub fn backward(&self, isa: Isa, qkv: &[f32], d_out: &[f32]) -> Vec<f32> {
        let (width, d) = (self.qkv_width(), self.head_dim);
        let scale = 1.0 / (d as f32).sqrt();
        let mut d_qkv = vec![0.0; qkv.len()];
        for (kv_head, first) in self.blocks(qkv.len() / width) {
            let block = self.block(isa, qkv, kv_head, first);
            let (q, k) = (block.queries.len() / d, block.end - block.first_key);
            let d_o = self.gather(d_out, self.heads * d, kv_head, first, block.end);
            let d_values = product_with(isa, &transposed(&block.p, k), &d_o, q);
            let mut d_s = product(isa, &d_o, &block.values, d);
            for (d_s, p) in d_s.chunks_exact_mut(k).zip(block.p.chunks_exact(k)) {
                let along: f32 = d_s.iter().zip(p).map(|(d, p)| d * p).sum();
                d_s.iter_mut().zip(p).for_each(|(d, p)| *d = (*d - along) * p * scale);
            }
            let d_queries = product_with(isa, &d_s, &block.keys, k);
            let d_keys = product_with(isa, &transposed(&d_s, k), &block.queries, q);
            self.scatter(&d_queries, &mut d_qkv, width, kv_head, &block);
            for (part, d_part) in [(0, &d_keys), (1, &d_values)] {
                let column = (self.heads + part * self.kv_heads + kv_head) * d;
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
        (0..self.kv_heads)
            .flat_map(move |kv_head| (0..t).step_by(BLOCK).map(move |first| (kv_head, first)))
    }

    fn block(&self, isa: Isa, qkv: &[f32], kv_head: usize, first: usize) -> AttentionBlock {
        let (width, d) = (self.qkv_width(), self.head_dim);
        let end = (qkv.len() / width).min(first + BLOCK);
        let first_key = (first + 1).saturating_sub(self.window);
        let part = |part: usize| -> Vec<f32> {
            let column = (self.heads + part * self.kv_heads + kv_head) * d;
            let rows = first_key..end;
            rows.flat_map(|row| &qkv[row * width + column..][..d]).copied().collect()
        };
        let (keys, values) = (part(0), part(1));
        let queries = self.gather(qkv, width, kv_head, first, end);
        let (n, k, scale) = (end - first, end - first_key, 1.0 / (d as f32).sqrt());
        let mut p = product(isa, &queries, &keys, d);
        for (i, row) in p.chunks_exact_mut(k).enumerate() {
            let position = first + i % n;
            let seen = (position + 1).saturating_sub(self.window).max(first_key) - first_key
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
        let (group, d) = (self.heads / self.kv_heads, self.head_dim);
        let heads = kv_head * group..(kv_head + 1) * group;
        let rows = heads.flat_map(|head| (first..end).map(move |row| row * width + head * d));
        rows.flat_map(|at| &x[at..][..d]).copied().collect()
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
        let (group, d) = (self.heads / self.kv_heads, self.head_dim);
        let n = block.end - block.first;
        for (i, row) in x.chunks_exact(d).enumerate() {
            let (head, position) = (kv_head * group + i / n, block.first + i % n);
            out[position * width + head * d..][..d].copy_from_slice(row);
        }
    }
}
