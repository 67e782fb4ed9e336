//! Transformers that learn, and their backward pass over what some lanes recorded: gradients of the
//! outputs of all linear layers.
//!
//! Legend: `R` rows, lane by lane; `C` width, `F` feed-forward size, `V` outputs.

use super::LearningKind;
use super::gradients::LayerGradients;
use super::low_rank::{RANK, input_of};
use super::matrix::product;
use crate::models::adapter::LayerAdapters;
use crate::models::blocks::{Layer, Positions};
use crate::models::linear::Linear;
use crate::models::recording::Stage;
use crate::models::session::TransformerLanes;
use crate::models::transformer::Transformer;
use crate::nn::attention::{AttentionLayer, PinnedRows};
use crate::nn::feed_forward::{Activation, silu_mul_backward};
use crate::nn::matrix::accumulate;
use crate::nn::self_attention::RotaryTables;
use crate::nn::shape::LayerPart;
use crate::ops::{Bf16, PackedMatrix, gelu_erf_backward, gelu_tanh_backward};
use std::sync::Arc;

impl Transformer {
    /// Returns the same network with a head in floats, and layers, too, where they learn.
    pub(super) fn learning(&self, kind: LearningKind) -> Self {
        let mut network = self.clone();
        network.head = Arc::new(self.head.to_floats());
        match kind {
            LearningKind::Head => (),
            LearningKind::Adapter => network.adapters = Arc::new(self.drawn_adapters()),
            LearningKind::All => {
                network.layers = Arc::new(network.layers.iter().map(Layer::to_floats).collect());
            }
        }
        network
    }

    /// Returns where the inputs of all layers' linear layers are recorded, in their order.
    pub(super) fn layer_inputs(&self) -> impl Iterator<Item = (usize, Stage)> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            layer.linears().map(move |(part, _)| (index, input_of(part)))
        })
    }

    /// Returns all layers' linear layers in their order, the head last.
    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let layers = self.layers.iter().flat_map(|layer| layer.linears().map(|(_, linear)| linear));
        layers.chain([&*self.head])
    }

    /// Returns the matrices that learn, which are the network's own.
    pub(super) fn learning_matrices(&mut self, kind: LearningKind) -> Vec<&mut PackedMatrix> {
        let head = Arc::get_mut(&mut self.head).expect("no one else has it").floats_mut();
        let mut matrices = Vec::new();
        match kind {
            LearningKind::Head => (),
            LearningKind::Adapter => {
                let layers = Arc::get_mut(&mut self.adapters).expect("no one else has them");
                let adapters = layers.iter_mut().flat_map(LayerAdapters::iter_mut);
                matrices.extend(adapters.flat_map(|(_, adapter)| adapter.matrices_mut()));
            }
            LearningKind::All => {
                let layers = Arc::get_mut(&mut self.layers).expect("no one else has them");
                let linears = layers.iter_mut().flat_map(Layer::linears_mut);
                matrices.extend(linears.map(Linear::floats_mut));
            }
        }
        matrices.push(head);
        matrices
    }

    /// Returns the numbers in the matrices that learn, and those that are kept of a row.
    pub(super) fn learning_sizes(&self, kind: LearningKind) -> (usize, usize) {
        let shape = self.shape();
        let (c, f, (q, kv)) = (shape.hidden_size, shape.intermediate_size, shape.qkv_widths());
        let (head, v) = (c * self.head.outputs(), self.head.outputs());
        let linears = self.layers.iter().flat_map(|layer| layer.linears());
        let sizes = linears.map(|(_, linear)| (linear.inputs(), linear.outputs()));
        let all_row = v + 3 * c + shape.layers * (8 * c + 8 * (q + kv) + 8 * f + kv);
        match kind {
            LearningKind::Head => (head, v + 2 * c + kv * shape.layers),
            // What learns is small beside the transposes of what does not, which are one copy of four.
            LearningKind::Adapter => {
                let matrices = sizes.map(|(k, n)| k * n / 4 + RANK * (k + n)).sum::<usize>();
                (head + matrices, all_row + shape.layers * 10 * RANK)
            }
            LearningKind::All => (head + sizes.map(|(k, n)| k * n).sum::<usize>(), all_row),
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
    /// Those computed so far, the last first.
    pub gradients: LayerGradients,
}

impl Backward<'_> {
    /// Returns the gradients of what learns, where it is layers: of the outputs of their linear layers, or of their
    /// adapters' matrices. The recording has gradients of logits in place of outputs.
    pub fn run(mut self) -> LayerGradients {
        let (isa, network) = (self.network.isa, self.network);
        let recording = self.lanes.recording();
        let mut d_normed =
            product(isa, recording.outputs(), &self.transposed[self.transposed.len() - 1]);
        let mut grad = vec![0.0; d_normed.len()];
        network.final_norm.backward(isa, recording.x(), &mut d_normed, &mut grad);
        let mut end = self.transposed.len() - 1;
        for (index, layer) in network.layers.iter().enumerate().rev() {
            let matrices = layer.linears().count();
            self.layer(index, layer, &self.transposed[end - matrices..end], &mut grad);
            end -= matrices;
        }
        self.gradients.outputs.reverse();
        self.gradients.hidden.reverse();
        self.gradients
    }

    /// Returns the gradient of a linear layer's inputs from that of its outputs, `[R][N]`, and keeps the latter
    /// where the layer learns, else what its adapters learn from.
    fn through(
        &mut self,
        (index, part): (usize, LayerPart),
        transposed: &PackedMatrix,
        dy: Vec<f32>,
    ) -> Vec<f32> {
        let network = self.network;
        let mut dx = product(network.isa, &dy, transposed);
        let Some(adapters) = network.adapters.get(index) else {
            self.gradients.outputs.push(dy);
            return dx;
        };
        let x = self.lanes.recording().of(index, input_of(part));
        for (_, adapter) in adapters.iter().filter(|(of, _)| *of == part) {
            let [hidden, d_hidden] = adapter.backward(network.isa, x, &dy, &mut dx);
            self.gradients.outputs.extend([dy.clone(), d_hidden]);
            self.gradients.hidden.push(hidden);
        }
        dx
    }

    /// Replaces grad, that of the layer's output, by that of its input; keeps what its linear layers or adapters
    /// learn from, the last first.
    fn layer(
        &mut self,
        index: usize,
        layer: &Layer,
        transposed: &[PackedMatrix],
        grad: &mut [f32],
    ) {
        let isa = self.network.isa;
        let (to_x, to_attended, of_mlp) = (&transposed[0], &transposed[1], &transposed[2..]);
        let d_out = grad.to_vec();
        let down = (index, LayerPart::Down);
        let mut d_up = self.through(down, &of_mlp[of_mlp.len() - 1], d_out.clone());
        let recording = self.lanes.recording();
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
        let up = (index, LayerPart::Up);
        let mut d_normed = self.through(up, &of_mlp[of_mlp.len() - 2], d_up);
        if let Some(d_gate) = d_gate {
            let of_gate = self.through((index, LayerPart::Gate), &of_mlp[0], d_gate);
            let of_up = std::mem::replace(&mut d_normed, of_gate);
            accumulate(&mut d_normed, &of_up);
        }
        let recording = self.lanes.recording();
        let is_parallel = self.network.shape.parallel_residual;
        let of_norm = if is_parallel { Stage::X } else { Stage::Middle };
        layer.mlp_norm.backward(isa, recording.of(index, of_norm), &mut d_normed, grad);
        let d_attention = if is_parallel { d_out } else { grad.to_vec() };
        let out = (index, LayerPart::AttentionOut);
        let d_attended = self.through(out, to_attended, d_attention);
        let d_qkv = self.attention(index, layer, &d_attended);
        let mut d_normed = self.through((index, LayerPart::Qkv), to_x, d_qkv);
        let recording = self.lanes.recording();
        layer.attention_norm.backward(isa, recording.of(index, Stage::X), &mut d_normed, grad);
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
