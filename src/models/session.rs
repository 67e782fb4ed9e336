//! The forward pass of a [`Transformer`], for some lanes, by `docs/numerics.md`, section 8.

use super::blocks::{Layer, Positions};
use super::linear::{QuantInputs, apply_each};
use super::recording::{Recording, Stage};
use super::transformer::Transformer;
use super::{Network, Row, Session};
use crate::nn::low_rank::LowRankScratch;
use crate::nn::shape::LayerPart;
use crate::ops::{
    AttentionScratch, AttentionShape, Bf16, KvCache, KvElement, Pinned, QueryRow, Rotary,
    add_assign, attention, rotate,
};
use crate::profile::{Part, enter};
use std::ops::Range;

impl Transformer {
    /// [`Network::session`] with keys and values kept as `E`; archives need [`Bf16`].
    pub fn session_with<E: KvElement>(
        &self,
        lanes: usize,
        steps: usize,
        window: usize,
    ) -> TransformerSession<'_, E> {
        TransformerSession::new(self, lanes, steps, window)
    }
}

impl Network for Transformer {
    fn outputs(&self) -> usize {
        self.head.outputs()
    }

    fn window(&self) -> usize {
        self.shape.attention.window
    }

    fn as_transformer(&self) -> Option<&Transformer> {
        Some(self)
    }

    fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session + '_> {
        Box::new(self.session_with::<Bf16>(lanes, steps, window))
    }
}

/// Lanes of a [`Transformer`] whose weights stay as they are.
pub struct TransformerSession<'a, E> {
    network: &'a Transformer,
    lanes: TransformerLanes<E>,
}

/// Keys and values of the lanes of a [`Transformer`].
pub(super) struct TransformerLanes<E> {
    /// The network's, with the session's window.
    shape: AttentionShape,
    /// One per layer.
    caches: Vec<KvCache<E>>,
    /// Those of the steering vectors, one per layer; none without vectors.
    pinned: Vec<KvCache<E>>,
    /// Steering vectors.
    vectors: usize,
    work: Workspace,
}

/// Where a layer keeps keys and values, and which it sees beside them.
struct Seen<'a, E> {
    shape: &'a AttentionShape,
    cache: &'a mut KvCache<E>,
    /// Keys and values of so many steering vectors.
    pinned: Option<(&'a KvCache<E>, usize)>,
}

/// Buffers of a forward pass, kept between calls so that a step allocates nothing.
#[derive(Default)]
struct Workspace {
    /// The residual stream: [R][C]
    x: Vec<f32>,
    /// Its norm: [R][C]
    normed: Vec<f32>,
    /// [R][queries, keys, values]
    qkv: Vec<f32>,
    /// Norms of a row's queries and keys: [heads * D]
    qk: Vec<f32>,
    /// Queries before they rotate, where there are steering vectors: [R][heads * D]
    unrotated: Vec<f32>,
    /// [R][heads * D]
    attended: Vec<f32>,
    /// A block's output, added to the residual stream: [R][C]
    added: Vec<f32>,
    /// [R][F]
    gate: Vec<f32>,
    /// [R][F]
    up: Vec<f32>,
    /// Rotations of the positions of a call, from its lowest on: [positions][pairs]
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Pairs of dimensions that rotate.
    pairs: usize,
    scores: AttentionScratch,
    /// Quantized inputs of layers in integers.
    quantized: QuantInputs,
    low_rank: LowRankScratch,
    /// Results of rows with a prediction; nothing unless the network learns.
    recording: Recording,
}

impl<'a, E: KvElement> TransformerSession<'a, E> {
    /// `lanes` empty lanes that take up to `steps` rows each in one call and see at most `window`
    /// positions, own included.
    pub(super) fn new(network: &'a Transformer, lanes: usize, steps: usize, window: usize) -> Self {
        Self { network, lanes: TransformerLanes::new(network, lanes, steps, window) }
    }
}

impl<E: KvElement> Session for TransformerSession<'_, E> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        self.lanes.forward(self.network, rows, logits);
    }

    fn steer(&mut self, vectors: &[f32]) {
        self.lanes.steer(self.network, vectors);
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.lanes.copy_lane(from, to, fed);
    }
}

impl<E: KvElement> TransformerLanes<E> {
    /// `lanes` empty lanes, as [`Network::session`] has them.
    pub fn new(network: &Transformer, lanes: usize, steps: usize, window: usize) -> Self {
        let shape = AttentionShape {
            window: network.shape.attention.window.min(window),
            ..network.shape.attention
        };
        let cache = || KvCache::new(lanes, shape.kv_heads, shape.head_dim, shape.window, steps - 1);
        let caches = network.layers.iter().map(|_| cache()).collect();
        Self { shape, caches, pinned: Vec::new(), vectors: 0, work: Workspace::default() }
    }

    /// Returns what is kept of rows with a prediction.
    pub fn recording(&mut self) -> &mut Recording {
        &mut self.work.recording
    }

    /// [`Session::forward`] by the weights of `network`.
    pub fn forward(&mut self, network: &Transformer, rows: &[Row], logits: &mut [f32]) {
        let _model = enter(Part::Model);
        let Self { shape, caches, pinned, vectors, work } = self;
        work.recording.begin(if logits.is_empty() { &[] } else { rows });
        work.resize(network, rows.len());
        for (x, row) in work.x.chunks_exact_mut(network.shape.hidden_size).zip(rows) {
            network.embed(row.token, x);
        }
        let rotations = match &network.positions {
            Positions::Rotary(rotary) => Some(work.rotations(rotary, rows)),
            Positions::Learned(table) => {
                work.add_positions(network, table, rows);
                None
            }
        };
        let mut pinned = pinned.iter();
        for (index, cache) in caches.iter_mut().enumerate() {
            work.recording.enter(index);
            let pinned = pinned.next().map(|pinned| (pinned, *vectors));
            work.attend(network, index, Seen { shape, cache, pinned }, rows, rotations);
            work.feed_forward(network, index);
        }
        if !logits.is_empty() {
            network.final_norm.apply(network.isa, &work.x, &mut work.normed);
            work.recording.keep_last(&work.x, &work.normed);
            let _head = enter(Part::Head);
            network.head.apply(network.isa, &work.normed, logits, &mut work.quantized);
        }
    }

    /// [`Session::steer`] by the weights of `network`. The vectors are rows of a lane of their own that
    /// have no position: each sees those before it.
    pub fn steer(&mut self, network: &Transformer, vectors: &[f32]) {
        let Self { work, .. } = self;
        let count = vectors.len() / network.shape.hidden_size;
        let shape = AttentionShape { window: count, ..self.shape };
        let row = |position| Row { lane: 0, position, token: 0 };
        let rows: Vec<Row> = (0..count as u32).map(row).collect();
        work.recording.begin(&[]);
        work.resize(network, count);
        work.x.copy_from_slice(vectors);
        let cache = || KvCache::new(1, shape.kv_heads, shape.head_dim, count, 0);
        self.pinned = network.layers.iter().map(|_| cache()).collect();
        self.vectors = count;
        for (index, cache) in self.pinned.iter_mut().enumerate() {
            work.attend(network, index, Seen { shape: &shape, cache, pinned: None }, &rows, None);
            work.feed_forward(network, index);
        }
    }

    /// Returns the keys and values that the `rows` newest rows of a lane saw in a layer, up to `end`:
    /// rows of queries, which are zeros, keys and values; and those of steering vectors.
    pub fn seen(&self, layer: usize, lane: usize, rows: usize, end: usize) -> [Vec<f32>; 2] {
        let AttentionShape { heads, kv_heads, head_dim, window, .. } = self.shape;
        let (q, kv) = (heads * head_dim, kv_heads * head_dim);
        let read = |cache: &KvCache<E>, lane: usize, positions: Range<usize>| {
            let mut qkv = vec![0.0; positions.len() * (q + 2 * kv)];
            for (row, position) in qkv.chunks_exact_mut(q + 2 * kv).zip(positions) {
                let (k, v) = row[q..].split_at_mut(kv);
                cache.read(lane, position, k, v);
            }
            qkv
        };
        let first = (end - rows + 1).saturating_sub(window);
        let pinned = self.pinned.get(layer);
        let of_vectors = pinned.map_or(Vec::new(), |cache| read(cache, 0, 0..self.vectors));
        [read(&self.caches[layer], lane, first..end), of_vectors]
    }

    /// Returns the dimensions of attention, with the lanes' window.
    pub fn attention_shape(&self) -> AttentionShape {
        self.shape
    }

    /// [`Session::copy_lane`].
    pub fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.caches.iter_mut().for_each(|cache| cache.copy_lane(from, to, fed));
    }
}

impl Workspace {
    fn resize(&mut self, network: &Transformer, rows: usize) {
        let (q, kv) = network.shape.qkv_widths();
        let f = network.layers.first().map_or(0, |layer| layer.mlp.up.outputs());
        for stream in [&mut self.x, &mut self.normed, &mut self.added] {
            stream.resize(rows * network.shape.hidden_size, 0.0);
        }
        self.qkv.resize(rows * (q + 2 * kv), 0.0);
        self.qk.resize(q, 0.0);
        self.attended.resize(rows * q, 0.0);
        self.gate.resize(rows * f, 0.0);
        self.up.resize(rows * f, 0.0);
    }

    /// x += the vectors of the rows' positions.
    fn add_positions(&mut self, network: &Transformer, table: &[f32], rows: &[Row]) {
        let width = network.shape.hidden_size;
        for (x, row) in self.x.chunks_exact_mut(width).zip(rows) {
            add_assign(network.isa, x, &table[row.position as usize * width..][..width]);
        }
    }

    /// Computes the rotations of all positions in `rows`; returns the lowest.
    fn rotations(&mut self, rotary: &Rotary, rows: &[Row]) -> u32 {
        let positions = rows.iter().map(|row| row.position);
        let (first, last) = (positions.clone().min().unwrap_or(0), positions.max().unwrap_or(0));
        let pairs = rotary.pairs();
        self.pairs = pairs;
        let count = (last - first) as usize + 1;
        self.cos.resize(count * pairs, 0.0);
        self.sin.resize(count * pairs, 0.0);
        let tables = self.cos.chunks_exact_mut(pairs).zip(self.sin.chunks_exact_mut(pairs));
        for (position, (cos, sin)) in (first..).zip(tables) {
            rotary.at(position, cos, sin);
        }
        first
    }

    /// Attention over norm(x), added to x; where residuals are parallel, norm(x) for the
    /// feed-forward layer is taken before. Rows rotate where the rotations from their lowest position
    /// on are given.
    fn attend<E: KvElement>(
        &mut self,
        network: &Transformer,
        index: usize,
        seen: Seen<'_, E>,
        rows: &[Row],
        rotations: Option<u32>,
    ) {
        let (isa, layer) = (network.isa, &network.layers[index]);
        let Seen { shape, cache, pinned } = seen;
        layer.attention_norm.apply(isa, &self.x, &mut self.normed);
        layer.qkv.apply(isa, &self.normed, &mut self.qkv, &mut self.quantized);
        let qkv = (index, LayerPart::Qkv);
        network.adapt(qkv, &self.normed, &mut self.qkv, &mut self.low_rank);
        let kept = [(Stage::X, &self.x), (Stage::Normed, &self.normed), (Stage::Raw, &self.qkv)];
        kept.into_iter().for_each(|(stage, x)| self.recording.keep(stage, x));
        self.unrotated.clear();
        self.store(network, layer, cache, rows, rotations, pinned.is_some());
        let (q, kv) = network.shape.qkv_widths();
        let outs = self.attended.chunks_exact_mut(q);
        let attending = enter(Part::Attention);
        for (i, ((qkv, out), row)) in
            self.qkv.chunks_exact(q + 2 * kv).zip(outs).zip(rows).enumerate()
        {
            let pinned = pinned.map(|(cache, count)| Pinned {
                cache,
                count,
                q: &self.unrotated[i * q..][..q],
            });
            let (lane, position) = (row.lane as usize, row.position as usize);
            let row = QueryRow { lane, position, q: &qkv[..q], pinned };
            attention(isa, shape, cache, &row, out, &mut self.scores);
        }
        drop(attending);
        let kept = [
            (Stage::Qkv, &self.qkv),
            (Stage::Unrotated, &self.unrotated),
            (Stage::Attended, &self.attended),
        ];
        kept.into_iter().for_each(|(stage, x)| self.recording.keep(stage, x));
        layer.attention_out.apply(isa, &self.attended, &mut self.added, &mut self.quantized);
        let out = (index, LayerPart::AttentionOut);
        network.adapt(out, &self.attended, &mut self.added, &mut self.low_rank);
        if network.shape.parallel_residual {
            layer.mlp_norm.apply(isa, &self.x, &mut self.normed);
        }
        add_assign(isa, &mut self.x, &self.added);
        if !network.shape.parallel_residual {
            layer.mlp_norm.apply(isa, &self.x, &mut self.normed);
        }
    }

    /// Norms and rotates queries and keys, and stores keys and values: all of them before any row
    /// attends. A row sees those up to its own position only, and the ring has room for the call's
    /// newer ones.
    fn store<E: KvElement>(
        &mut self,
        network: &Transformer,
        layer: &Layer,
        cache: &mut KvCache<E>,
        rows: &[Row],
        rotations: Option<u32>,
        keep_unrotated: bool,
    ) {
        let (q, kv) = network.shape.qkv_widths();
        for (qkv, row) in self.qkv.chunks_exact_mut(q + 2 * kv).zip(rows) {
            if let Some([q_norm, k_norm]) = &layer.qk_norms {
                for (range, norm) in [(0..q, q_norm), (q..q + kv, k_norm)] {
                    let normed = &mut self.qk[..range.len()];
                    norm.apply(network.isa, &qkv[range.clone()], normed);
                    qkv[range].copy_from_slice(normed);
                }
            }
            if keep_unrotated {
                self.unrotated.extend_from_slice(&qkv[..q]);
            }
            if let Some(first) = rotations {
                let at = (row.position - first) as usize * self.pairs;
                let (cos, sin) = (&self.cos[at..][..self.pairs], &self.sin[at..][..self.pairs]);
                rotate(&mut qkv[..q + kv], network.shape.attention.head_dim, cos, sin);
            }
            let (k, v) = qkv[q..].split_at(kv);
            cache.store(row.lane as usize, row.position as usize, k, v);
        }
    }

    /// x += down(act(up(normed))), or with a gate.
    fn feed_forward(&mut self, network: &Transformer, index: usize) {
        let (isa, mlp) = (network.isa, &network.layers[index].mlp);
        match &mlp.gate {
            Some(gate) => {
                let layers = [(gate, &mut self.gate[..]), (&mlp.up, &mut self.up)];
                apply_each(isa, &self.normed, layers, &mut self.quantized);
                let Self { normed, gate, up, low_rank, .. } = self;
                network.adapt((index, LayerPart::Gate), normed, gate, low_rank);
                network.adapt((index, LayerPart::Up), normed, up, low_rank);
            }
            None => {
                mlp.up.apply(isa, &self.normed, &mut self.gate, &mut self.quantized);
                let up = (index, LayerPart::Up);
                network.adapt(up, &self.normed, &mut self.gate, &mut self.low_rank);
            }
        }
        let kept = [
            (Stage::Middle, &self.x),
            (Stage::MlpNormed, &self.normed),
            (Stage::Gate, &self.gate),
            (Stage::Up, &self.up),
        ];
        kept.into_iter().for_each(|(stage, x)| self.recording.keep(stage, x));
        mlp.activate(isa, &mut self.gate, &self.up);
        self.recording.keep(Stage::Activated, &self.gate);
        mlp.down.apply(isa, &self.gate, &mut self.added, &mut self.quantized);
        let down = (index, LayerPart::Down);
        network.adapt(down, &self.gate, &mut self.added, &mut self.low_rank);
        add_assign(isa, &mut self.x, &self.added);
    }
}
