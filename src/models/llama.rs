//! The Llama family: RMS norm, rotary positions, grouped query heads, SwiGLU, and Mistral's sliding
//! window.
//!
//! Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023). Tensor names are those of
//! Hugging Face's transformers. Legend: `R` rows, `C` hidden size, `F` feed-forward size, `D` head
//! dimensions, `V` outputs.

use super::{Config, Network, Row, Session, Weights};
use crate::error::Result;
use crate::ops::{
    AttentionScratch, AttentionShape, Bf16, Isa, KvCache, KvElement, PackedMatrix, Rotary,
    add_assign, attention, matmul, rms_norm, rotate, silu_mul,
};

/// A network of the Llama family.
pub struct Llama {
    isa: Isa,
    width: usize,
    eps: f32,
    shape: AttentionShape,
    rotary: Rotary,
    /// [vocab_size][C]
    embedding: Vec<f32>,
    layers: Vec<Layer>,
    final_norm: Vec<f32>,
    head: PackedMatrix,
}

struct Layer {
    attention_norm: Vec<f32>,
    /// Queries, keys and values of a row, one after the other.
    qkv: PackedMatrix,
    attention_out: PackedMatrix,
    mlp_norm: Vec<f32>,
    gate: PackedMatrix,
    up: PackedMatrix,
    down: PackedMatrix,
}

impl Llama {
    /// Loads the network, with the output head's rows in the order of `outputs`: token ids.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a tensor is missing,
    /// misshapen or not finite.
    pub fn load(config: &Config, weights: &Weights<'_>, outputs: &[u32], isa: Isa) -> Result<Self> {
        let (width, head_dim) = (config.hidden_size, config.head_dim());
        let embedding = weights.tensor("model.embed_tokens.weight", &[config.vocab_size, width])?;
        let untied = match config.tie_word_embeddings {
            true => None,
            false => Some(weights.tensor("lm_head.weight", &[config.vocab_size, width])?),
        };
        let head = untied.as_ref().unwrap_or(&embedding);
        let head_row = |i: usize| &head[outputs[i] as usize * width..][..width];
        let layers = (0..config.num_hidden_layers).map(|i| Layer::load(config, weights, i));
        Ok(Self {
            isa,
            width,
            eps: config.rms_norm_eps as f32,
            shape: AttentionShape {
                heads: config.num_attention_heads,
                kv_heads: config.kv_heads(),
                head_dim,
                window: config.window(),
                scale: (1.0 / (head_dim as f64).sqrt()) as f32,
            },
            rotary: Rotary::new(head_dim, config.rope_theta()),
            head: PackedMatrix::pack(width, outputs.len(), head_row, &[]),
            layers: layers.collect::<Result<_>>()?,
            final_norm: weights.tensor("model.norm.weight", &[width])?,
            embedding,
        })
    }

    /// [`Network::session`] with keys and values kept as `E`; archives need [`Bf16`].
    pub fn session_with<E: KvElement>(&self, lanes: usize, steps: usize) -> LlamaSession<'_, E> {
        let AttentionShape { kv_heads, head_dim, window, .. } = self.shape;
        let cache = || KvCache::new(lanes, kv_heads, head_dim, window, steps - 1);
        LlamaSession {
            llama: self,
            caches: self.layers.iter().map(|_| cache()).collect(),
            work: Workspace::default(),
        }
    }

    /// Numbers of queries, and of keys or values, in a row.
    fn qkv_widths(&self) -> (usize, usize) {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        (heads * head_dim, kv_heads * head_dim)
    }
}

impl Layer {
    fn load(config: &Config, weights: &Weights<'_>, index: usize) -> Result<Self> {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim();
        let kv = config.kv_heads() * config.head_dim();
        let tensor = |name: &str, shape: &[usize]| {
            weights.tensor(&format!("model.layers.{index}.{name}.weight"), shape)
        };
        let linear = |name: &str, inputs: usize, outputs: usize| -> Result<PackedMatrix> {
            let w = tensor(name, &[outputs, inputs])?;
            Ok(PackedMatrix::pack(inputs, outputs, |i| &w[i * inputs..][..inputs], &[]))
        };
        let mut qkv = tensor("self_attn.q_proj", &[q, c])?;
        qkv.extend(tensor("self_attn.k_proj", &[kv, c])?);
        qkv.extend(tensor("self_attn.v_proj", &[kv, c])?);
        Ok(Self {
            attention_norm: tensor("input_layernorm", &[c])?,
            qkv: PackedMatrix::pack(c, q + 2 * kv, |i| &qkv[i * c..][..c], &[]),
            attention_out: linear("self_attn.o_proj", q, c)?,
            mlp_norm: tensor("post_attention_layernorm", &[c])?,
            gate: linear("mlp.gate_proj", c, f)?,
            up: linear("mlp.up_proj", c, f)?,
            down: linear("mlp.down_proj", f, c)?,
        })
    }
}

impl Network for Llama {
    fn outputs(&self) -> usize {
        self.head.outputs()
    }

    fn session(&self, lanes: usize, steps: usize) -> Box<dyn Session + '_> {
        Box::new(self.session_with::<Bf16>(lanes, steps))
    }
}

/// Some lanes of a [`Llama`], with their keys and values.
pub struct LlamaSession<'a, E> {
    llama: &'a Llama,
    /// One per layer.
    caches: Vec<KvCache<E>>,
    work: Workspace,
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
    /// [R][heads * D]
    attended: Vec<f32>,
    /// What a block adds to the residual stream: [R][C]
    added: Vec<f32>,
    /// [R][F]
    gate: Vec<f32>,
    /// [R][F]
    up: Vec<f32>,
    /// Rotations of the positions of a call, from its lowest on: [positions][D / 2]
    cos: Vec<f32>,
    sin: Vec<f32>,
    scores: AttentionScratch,
}

impl<E: KvElement> Session for LlamaSession<'_, E> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        let Self { llama, caches, work } = self;
        work.resize(llama, rows.len());
        let first = work.rotations(&llama.rotary, rows);
        for (x, row) in work.x.chunks_exact_mut(llama.width).zip(rows) {
            let at = row.token as usize * llama.width;
            x.copy_from_slice(&llama.embedding[at..at + llama.width]);
        }
        for (layer, cache) in llama.layers.iter().zip(caches) {
            work.attend(llama, layer, cache, rows, first);
            work.feed_forward(llama, layer);
        }
        rms_norm(llama.isa, &work.x, &llama.final_norm, llama.eps, &mut work.normed);
        matmul(llama.isa, &work.normed, &llama.head, logits);
    }
}

impl Workspace {
    fn resize(&mut self, llama: &Llama, rows: usize) {
        let (q, kv) = llama.qkv_widths();
        let f = llama.layers.first().map_or(0, |layer| layer.gate.outputs());
        for stream in [&mut self.x, &mut self.normed, &mut self.added] {
            stream.resize(rows * llama.width, 0.0);
        }
        self.qkv.resize(rows * (q + 2 * kv), 0.0);
        self.attended.resize(rows * q, 0.0);
        self.gate.resize(rows * f, 0.0);
        self.up.resize(rows * f, 0.0);
    }

    /// Computes the rotations of all positions in `rows`; returns the lowest.
    fn rotations(&mut self, rotary: &Rotary, rows: &[Row]) -> u32 {
        let positions = rows.iter().map(|row| row.position);
        let (first, last) = (positions.clone().min().unwrap_or(0), positions.max().unwrap_or(0));
        let pairs = rotary.pairs();
        let count = (last - first) as usize + 1;
        self.cos.resize(count * pairs, 0.0);
        self.sin.resize(count * pairs, 0.0);
        let tables = self.cos.chunks_exact_mut(pairs).zip(self.sin.chunks_exact_mut(pairs));
        for (position, (cos, sin)) in (first..).zip(tables) {
            rotary.at(position, cos, sin);
        }
        first
    }

    /// x += out(attention(norm(x))). All keys and values are stored before any row attends: a row
    /// sees those up to its own position only, and the ring has room for the call's newer ones.
    fn attend<E: KvElement>(
        &mut self,
        llama: &Llama,
        layer: &Layer,
        cache: &mut KvCache<E>,
        rows: &[Row],
        first: u32,
    ) {
        let (isa, d, pairs) = (llama.isa, llama.shape.head_dim, llama.rotary.pairs());
        let (q, kv) = llama.qkv_widths();
        let width = q + 2 * kv;
        rms_norm(isa, &self.x, &layer.attention_norm, llama.eps, &mut self.normed);
        matmul(isa, &self.normed, &layer.qkv, &mut self.qkv);
        for (qkv, row) in self.qkv.chunks_exact_mut(width).zip(rows) {
            let at = (row.position - first) as usize * pairs;
            let (cos, sin) = (&self.cos[at..at + pairs], &self.sin[at..at + pairs]);
            rotate(&mut qkv[..q + kv], d, cos, sin);
            let (k, v) = qkv[q..].split_at(kv);
            cache.store(row.lane as usize, row.position as usize, k, v);
        }
        let outs = self.attended.chunks_exact_mut(q);
        for ((qkv, out), row) in self.qkv.chunks_exact(width).zip(outs).zip(rows) {
            let at = (row.lane as usize, row.position as usize);
            attention(isa, &llama.shape, cache, at, &qkv[..q], out, &mut self.scores);
        }
        matmul(isa, &self.attended, &layer.attention_out, &mut self.added);
        add_assign(isa, &mut self.x, &self.added);
    }

    /// x += down(silu(gate(norm(x))) * up(norm(x)))
    fn feed_forward(&mut self, llama: &Llama, layer: &Layer) {
        let isa = llama.isa;
        rms_norm(isa, &self.x, &layer.mlp_norm, llama.eps, &mut self.normed);
        matmul(isa, &self.normed, &layer.gate, &mut self.gate);
        matmul(isa, &self.normed, &layer.up, &mut self.up);
        silu_mul(isa, &mut self.gate, &self.up);
        matmul(isa, &self.gate, &layer.down, &mut self.added);
        add_assign(isa, &mut self.x, &self.added);
    }
}
