//! Self-attention from the residual stream and back: projections, norms of queries and keys, rotary
//! positions, attention.
//!
//! Steering vectors, the first `N` rows, have no position: they do not rotate, and neither do queries
//! for them (`docs/numerics.md`, section 21).
//!
//! Legend: `T` rows of one sequence, `C` width, `D` dimensions of a head.

use super::attention::{AttentionLayer, PinnedRows};
use super::linear::LinearLayer;
use super::matrix::accumulate;
use super::norm::NormLayer;
use super::parameter::{Gradients, Parameter};
use crate::ops::{AttentionShape, Isa, Rotary, rotate};

/// A self-attention layer.
pub struct SelfAttention {
    /// Queries, keys and values of a row, one after the other.
    pub qkv: LinearLayer,
    /// RMS norms of every head's queries and keys, before they rotate.
    pub qk_norms: Option<[NormLayer; 2]>,
    /// Attention of heads.
    pub heads: AttentionLayer,
    /// From the heads' outputs.
    pub out: LinearLayer,
}

/// Activations of the forward pass that the backward pass needs.
pub struct SelfAttentionTrace {
    /// `[T][C]`
    x: Vec<f32>,
    /// Before the norms of queries and keys, where there are any: `[T][qkv]`.
    raw: Vec<f32>,
    /// Normed and rotated: `[T][qkv]`.
    qkv: Vec<f32>,
    /// Normed queries that see steering vectors: `[T - N][heads * D]`.
    unrotated: Vec<f32>,
    /// `[T][heads * D]`
    attended: Vec<f32>,
}

impl SelfAttentionTrace {
    /// Returns the inputs of the two linear layers.
    pub fn linear_inputs(&self) -> [&[f32]; 2] {
        [&self.x, &self.attended]
    }
}

/// Rotations of the first positions.
pub struct RotaryTables {
    /// `[positions][pairs]`
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Of the inverse rotations.
    minus_sin: Vec<f32>,
    pairs: usize,
}

impl RotaryTables {
    /// Computes the rotations of `positions` positions from 0 on.
    pub fn new(rotary: &Rotary, positions: usize) -> Self {
        Self::from(rotary, 0, positions)
    }

    /// Computes the rotations of `positions` positions from `first` on.
    pub fn from(rotary: &Rotary, first: u32, positions: usize) -> Self {
        let pairs = rotary.pairs();
        let (mut cos, mut sin) = (vec![0.0; positions * pairs], vec![0.0; positions * pairs]);
        let rows = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs));
        (first..).zip(rows).for_each(|(position, (cos, sin))| rotary.at(position, cos, sin));
        let minus_sin = sin.iter().map(|sin| -sin).collect();
        Self { cos, sin, minus_sin, pairs }
    }

    /// Rotates the first `heads` heads of rows by their positions, or back. x: `[T][width]`
    pub fn rotate(&self, x: &mut [f32], width: usize, heads: usize, head_dim: usize, back: bool) {
        let sin = if back { &self.minus_sin } else { &self.sin };
        let tables = self.cos.chunks_exact(self.pairs).zip(sin.chunks_exact(self.pairs));
        for (row, (cos, sin)) in x.chunks_exact_mut(width).zip(tables) {
            rotate(&mut row[..heads * head_dim], head_dim, cos, sin);
        }
    }
}

impl SelfAttention {
    /// Returns its linear layers.
    pub fn linears(&mut self) -> impl Iterator<Item = &mut LinearLayer> {
        [&mut self.qkv, &mut self.out].into_iter()
    }

    /// Computes the output. x: `[T][C]`, steering `vectors` first; returns `[T][C]`.
    pub fn forward(
        &self,
        isa: Isa,
        parameters: &[Parameter],
        x: Vec<f32>,
        vectors: usize,
        rotary: Option<&RotaryTables>,
    ) -> (Vec<f32>, SelfAttentionTrace) {
        let mut qkv = self.qkv.forward(isa, &x);
        let mut raw = Vec::new();
        if let Some(norms) = &self.qk_norms {
            raw.clone_from(&qkv);
            for (columns, norm) in self.columns().into_iter().zip(norms) {
                for (raw, out) in self.rows(&raw).zip(qkv.chunks_exact_mut(self.width())) {
                    let out = &mut out[columns.clone()];
                    norm.forward_into(isa, parameters, &raw[columns.clone()], out);
                }
            }
        }
        let unrotated = self.queries(&qkv, vectors);
        let of_vectors = vectors * self.width();
        self.rotate(&mut qkv[of_vectors..], rotary, false);
        let (of_vectors, of_tokens) = qkv.split_at(of_vectors);
        let pinned = pinned(of_vectors, &unrotated);
        let mut attended = self.among_vectors(vectors).forward(isa, of_vectors, None);
        attended.extend(self.heads.forward(isa, of_tokens, pinned));
        let out = self.out.forward(isa, &attended);
        (out, SelfAttentionTrace { x, raw, qkv, unrotated, attended })
    }

    /// Returns the gradient of x, from that of the output, and adds those of the parameters.
    pub fn backward(
        &self,
        isa: Isa,
        parameters: &[Parameter],
        trace: &SelfAttentionTrace,
        dy: &[f32],
        (vectors, rotary): (usize, Option<&RotaryTables>),
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let SelfAttentionTrace { x, raw, qkv, unrotated, attended } = trace;
        let d_attended = self.out.backward(isa, attended, dy, gradients);
        let (of_vectors, of_tokens) = qkv.split_at(vectors * self.width());
        let (d_vectors, d_tokens) = d_attended.split_at(vectors * self.heads.out_width());
        let d_tokens =
            self.heads.backward(isa, of_tokens, pinned(of_vectors, unrotated), 0, d_tokens);
        let d_vectors = self.among_vectors(vectors).backward(isa, of_vectors, None, 0, d_vectors);
        let mut d_qkv = d_vectors.qkv;
        accumulate(&mut d_qkv, &d_tokens.pinned_qkv);
        let mut d_rotated = d_tokens.qkv;
        self.rotate(&mut d_rotated, rotary, true);
        let queries = d_tokens.pinned_queries.chunks_exact(self.heads.out_width());
        for (row, d_queries) in d_rotated.chunks_exact_mut(self.width()).zip(queries) {
            accumulate(row, d_queries);
        }
        d_qkv.extend(d_rotated);
        if let Some(norms) = &self.qk_norms {
            for (columns, norm) in self.columns().into_iter().zip(norms) {
                for (raw, grad) in self.rows(raw).zip(d_qkv.chunks_exact_mut(self.width())) {
                    let mut dy = grad[columns.clone()].to_vec();
                    let dx = &mut grad[columns.clone()];
                    dx.fill(0.0);
                    norm.backward(isa, parameters, &raw[columns.clone()], &mut dy, dx, gradients);
                }
            }
        }
        self.qkv.backward(isa, x, &d_qkv, gradients)
    }

    fn width(&self) -> usize {
        self.heads.qkv_width()
    }

    /// Attention of steering vectors: each sees those before it.
    fn among_vectors(&self, vectors: usize) -> AttentionLayer {
        AttentionLayer { shape: AttentionShape { window: vectors, ..self.heads.shape } }
    }

    /// Returns the queries of the rows after the steering vectors, if there are any.
    fn queries(&self, qkv: &[f32], vectors: usize) -> Vec<f32> {
        let rows = qkv.chunks_exact(self.width()).skip(vectors).filter(|_| vectors > 0);
        rows.flat_map(|row| &row[..self.heads.out_width()]).copied().collect()
    }

    fn rows<'a>(&self, x: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        x.chunks_exact(self.width())
    }

    /// Returns where queries and keys stand in a row.
    fn columns(&self) -> [std::ops::Range<usize>; 2] {
        let shape = self.heads.shape;
        let q = shape.heads * shape.head_dim;
        [0..q, q..q + shape.kv_heads * shape.head_dim]
    }

    fn rotate(&self, qkv: &mut [f32], rotary: Option<&RotaryTables>, back: bool) {
        if let Some(tables) = rotary {
            let shape = self.heads.shape;
            let heads = shape.heads + shape.kv_heads;
            tables.rotate(qkv, self.width(), heads, shape.head_dim, back);
        }
    }
}

fn pinned<'a>(qkv: &'a [f32], queries: &'a [f32]) -> Option<PinnedRows<'a>> {
    (!qkv.is_empty()).then_some(PinnedRows { qkv, queries })
}
