//! Transformers that learn, and their backward pass over what some lanes recorded: gradients of the
//! outputs of all linear layers.
//!
//! Legend: `R` rows, lane by lane; `C` width, `F` feed-forward size, `V` outputs.

use super::LearningKind;
use super::matrix::product;
use crate::models::blocks::{Layer, Positions};
use crate::models::linear::Linear;
use crate::models::recording::Stage;
use crate::models::session::TransformerLanes;
use crate::models::transformer::Transformer;
use crate::nn::attention::{AttentionLayer, PinnedRows};
use crate::nn::feed_forward::{Activation, silu_mul_backward};
use crate::nn::matrix::accumulate;
use crate::nn::self_attention::RotaryTables;
use crate::ops::{Bf16, PackedMatrix, gelu_erf_backward, gelu_tanh_backward};
use std::sync::Arc;

impl Transformer {
    /// Returns the same network with a head in floats, and layers, too, where they learn.
    pub(super) fn learning(&self, kind: LearningKind) -> Self {
        let mut network = self.clone();
        network.head = Arc::new(self.head.to_floats());
        if kind == LearningKind::All {
            network.layers = Arc::new(network.layers.iter().map(Layer::to_floats).collect());
        }
        network
    }

    /// Returns where the inputs of all layers' linear layers are recorded, in their order.
    pub(super) fn layer_inputs(&self) -> impl Iterator<Item = (usize, Stage)> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            let gate = layer.mlp.gate.as_ref().map(|_| Stage::MlpNormed);
            let mlp = gate.into_iter().chain([Stage::MlpNormed, Stage::Activated]);
            [Stage::Normed, Stage::Attended].into_iter().chain(mlp).map(move |s| (index, s))
        })
    }

    /// Returns the linear layers that learn, which are the network's own.
    pub(super) fn learning_linears(&mut self, kind: LearningKind) -> Vec<&mut Linear> {
        let mut linears = Vec::new();
        if kind == LearningKind::All {
            let layers = Arc::get_mut(&mut self.layers).expect("no one else has them");
            linears.extend(layers.iter_mut().flat_map(Layer::linears_mut));
        }
        linears.push(Arc::get_mut(&mut self.head).expect("no one else has it"));
        linears
    }

    /// Returns the numbers in the matrices that learn, and those that are kept of a row.
    pub(super) fn learning_sizes(&self, kind: LearningKind) -> (usize, usize) {
        let shape = self.shape();
        let (c, f, (q, kv)) = (shape.hidden_size, shape.intermediate_size, shape.qkv_widths());
        let (head, v) = (c * self.head.outputs(), self.head.outputs());
        let gate = self.layers.first().map_or(0, |layer| layer.linears() - 4);
        let of_layer = (q + 2 * kv) * c + q * c + (2 + gate) * f * c;
        match kind {
            LearningKind::Head => (head, v + 2 * c + kv * shape.layers),
            LearningKind::All => {
                let row = v + 3 * c + shape.layers * (8 * c + 8 * (q + kv) + 8 * f + kv);
                (head + shape.layers * of_layer, row)
            }
        }
    }
}

/// A backward pass over the recording of some lanes.
pub struct Backward<'a> {
    /// The network.
    pub network: &'a Transformer,
    /// Its linear layers transposed, layer by layer, then the head.
    pub transposed: &'a [PackedMatrix],
    /// The lanes, with a closed recording.
    pub lanes: &'a mut TransformerLanes<Bf16>,
}

impl Backward<'_> {
    /// Returns the gradients of the outputs of the linear layers of all layers, in their order:
    /// `[R][N]` each. The recording has gradients of logits in place of outputs.
    pub fn run(mut self) -> Vec<Vec<f32>> {
        let (isa, network) = (self.network.isa, self.network);
        let recording = self.lanes.recording();
        let mut d_normed =
            product(isa, recording.outputs(), &self.transposed[self.transposed.len() - 1]);
        let mut grad = vec![0.0; d_normed.len()];
        network.final_norm.backward(isa, recording.x(), &mut d_normed, &mut grad);
        let mut gradients = Vec::with_capacity(self.transposed.len());
        let mut end = self.transposed.len() - 1;
        for (index, layer) in network.layers.iter().enumerate().rev() {
            let matrices = layer.linears();
            let mut of_layer =
                self.layer(index, layer, &self.transposed[end - matrices..end], &mut grad);
            end -= matrices;
            of_layer.reverse();
            gradients.extend(of_layer);
        }
        gradients.reverse();
        gradients
    }

    /// Replaces grad, that of the layer's output, by that of its input; returns the gradients of the
    /// outputs of its linear layers.
    fn layer(
        &mut self,
        index: usize,
        layer: &Layer,
        transposed: &[PackedMatrix],
        grad: &mut [f32],
    ) -> Vec<Vec<f32>> {
        let isa = self.network.isa;
        let (to_x, to_attended, of_mlp) = (&transposed[0], &transposed[1], &transposed[2..]);
        let d_out = grad.to_vec();
        let recording = self.lanes.recording();
        let mut d_up = product(isa, grad, &of_mlp[of_mlp.len() - 1]);
        let gate = recording.of(index, Stage::Gate);
        let mut d_gate = None;
        match layer.mlp.activation {
            Activation::Silu => {
                let up = recording.of(index, Stage::Up);
                d_gate = Some(silu_mul_backward(isa, gate, up, &mut d_up));
            }
            Activation::GeluErf => gelu_erf_backward(isa, &mut d_up, gate),
            Activation::GeluTanh => gelu_tanh_backward(isa, &mut d_up, gate),
        }
        let mut d_normed = product(isa, &d_up, &of_mlp[of_mlp.len() - 2]);
        if let Some(d_gate) = &d_gate {
            let of_up = std::mem::replace(&mut d_normed, product(isa, d_gate, &of_mlp[0]));
            accumulate(&mut d_normed, &of_up);
        }
        let is_parallel = self.network.shape.parallel_residual;
        let of_norm = if is_parallel { Stage::X } else { Stage::Middle };
        layer.mlp_norm.backward(isa, recording.of(index, of_norm), &mut d_normed, grad);
        let d_attention = if is_parallel { d_out.clone() } else { grad.to_vec() };
        let d_attended = product(isa, &d_attention, to_attended);
        let d_qkv = self.attention(index, layer, &d_attended);
        let mut d_normed = product(isa, &d_qkv, to_x);
        let recording = self.lanes.recording();
        layer.attention_norm.backward(isa, recording.of(index, Stage::X), &mut d_normed, grad);
        let of_attention = [d_qkv, d_attention].into_iter();
        of_attention.chain(d_gate).chain([d_up, d_out]).collect()
    }

    /// Returns the gradient of queries, keys and values, before their norms and rotation, from that of
    /// the heads' outputs. Keys and values of rows that are not recorded are constants.
    fn attention(&mut self, index: usize, layer: &Layer, d_attended: &[f32]) -> Vec<f32> {
        let (isa, shape) = (self.network.isa, self.lanes.attention_shape());
        let heads = AttentionLayer { shape };
        let (width, out_width) = (heads.qkv_width(), heads.out_width());
        let mut d_qkv = Vec::with_capacity(d_attended.len() / out_width * width);
        let recording = self.lanes.recording();
        let (kept, ends) = (recording.kept().to_vec(), recording.ends().to_vec());
        let mut row = 0;
        for (lane, (&rows, &end)) in kept.iter().zip(&ends).enumerate() {
            if rows == 0 {
                continue;
            }
            let end = end as usize;
            let [mut qkv, pinned] = self.lanes.seen(index, lane, rows, end);
            let past = qkv.len() / width - rows;
            let recording = self.lanes.recording();
            let recorded = &recording.of(index, Stage::Qkv)[row * width..][..rows * width];
            for (to, from) in
                qkv[past * width..].chunks_exact_mut(width).zip(recorded.chunks_exact(width))
            {
                to[..out_width].copy_from_slice(&from[..out_width]);
            }
            let span = row * out_width..(row + rows) * out_width;
            let of_vectors = (!pinned.is_empty()).then(|| PinnedRows {
                qkv: &pinned,
                queries: &recording.of(index, Stage::Unrotated)[span.clone()],
            });
            let d = heads.backward(isa, &qkv, of_vectors, past, &d_attended[span]);
            let mut d_rows = d.qkv[past * width..].to_vec();
            if let Positions::Rotary(rotary) = &self.network.positions {
                let first = (end - rows) as u32;
                let heads = shape.heads + shape.kv_heads;
                RotaryTables::from(rotary, first, rows).rotate(
                    &mut d_rows,
                    width,
                    heads,
                    shape.head_dim,
                    true,
                );
            }
            let queries = d.pinned_queries.chunks_exact(out_width);
            for (d_row, d_queries) in d_rows.chunks_exact_mut(width).zip(queries) {
                accumulate(d_row, d_queries);
            }
            d_qkv.extend(d_rows);
            row += rows;
        }
        self.qk_norms(index, layer, &mut d_qkv, width);
        d_qkv
    }

    /// Replaces gradients of queries and keys by those before their norms, where there are any.
    fn qk_norms(&mut self, index: usize, layer: &Layer, d_qkv: &mut [f32], width: usize) {
        let Some(norms) = &layer.qk_norms else { return };
        let (isa, (q, kv)) = (self.network.isa, self.network.shape.qkv_widths());
        let raw = self.lanes.recording().of(index, Stage::Raw).chunks_exact(width);
        for (d_row, raw) in d_qkv.chunks_exact_mut(width).zip(raw) {
            for (columns, norm) in [0..q, q..q + kv].into_iter().zip(norms) {
                let mut dy = d_row[columns.clone()].to_vec();
                let dx = &mut d_row[columns.clone()];
                dx.fill(0.0);
                norm.backward(isa, &raw[columns], &mut dy, dx);
            }
        }
    }
}
