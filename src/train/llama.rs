//! Trainable Mistral-style decoder: RMS norms, rotary positions, a sliding window, grouped query
//! heads, SwiGLU, the output head tied to the embedding (`models::Transformer` is the same network
//! for coding).
//!
//! Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023).

use super::network::{TokenShard, TrainableNetwork};
use super::nn::attention::AttentionLayer;
use super::nn::linear::LinearLayer;
use super::nn::loss::cross_entropy;
use super::nn::matrix::accumulate;
use super::nn::parameter::{Gradients, Parameter};
use super::nn::recurrence::RecurrentState;
use super::nn::{norm, swiglu};
use super::random::Random;
use crate::error::Result;
use crate::ops::Isa;
use serde_json::{Value, json};

/// Dimensions of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LlamaShape {
    /// Tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads, all of which share one key and value head.
    pub heads: usize,
    /// Positions that a query sees.
    pub window: usize,
}

/// Base of the rotary frequencies.
pub(super) const THETA: f64 = 10_000.0;

/// Number of positions in configurations: nominal, because the window slides.
const POSITIONS: usize = 131_072;

/// Indices of parameters: embedding, last norm, then those of each layer.
const EMBEDDING: usize = 0;
const LAST_NORM: usize = 1;
const FIRST_LAYER: usize = 2;

/// A layer's parameters, in order.
const PARTS: [&str; 7] = [
    "input_layernorm",
    "self_attn.qkv_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// A trainable decoder.
pub struct LlamaNetwork {
    isa: Isa,
    shape: LlamaShape,
    attention: AttentionLayer,
    parameters: Vec<Parameter>,
    layers: Vec<LlamaLayer>,
    head: LinearLayer,
}

/// A layer, packed.
struct LlamaLayer {
    qkv: LinearLayer,
    out: LinearLayer,
    gate: LinearLayer,
    up: LinearLayer,
    down: LinearLayer,
}

/// Activations of a layer's forward pass that its backward pass needs: rows of one sequence each.
struct LlamaTrace {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
    middle_normed: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    activated: Vec<f32>,
}

impl LlamaNetwork {
    /// Creates an untrained network.
    pub fn new(shape: LlamaShape, isa: Isa, random: &mut Random) -> Self {
        let LlamaShape { vocab_size, hidden_size: c, intermediate_size: f, layers, heads, window } =
            shape;
        let head_dim = c / heads;
        let attention = AttentionLayer { heads, kv_heads: 1, head_dim, window, theta: THETA };
        let embedding = "model.embed_tokens.weight".to_owned();
        let mut parameters = vec![
            Parameter::normal(embedding, &[vocab_size, c], 0.02, random),
            Parameter::constant("model.norm.weight".into(), &[c], 1.0),
        ];
        let to_stream = 0.7 / (2.0 * layers as f32).sqrt();
        for layer in 0..layers {
            for part in PARTS {
                let name = format!("model.layers.{layer}.{part}.weight");
                let (shape, gain) = match part {
                    "self_attn.qkv_proj" => ([attention.qkv_width(), c], 0.7),
                    "self_attn.o_proj" => ([c, c], to_stream),
                    "mlp.down_proj" => ([c, f], to_stream),
                    "mlp.gate_proj" | "mlp.up_proj" => ([f, c], 0.7),
                    _ => {
                        parameters.push(Parameter::constant(name, &[c], 1.0));
                        continue;
                    }
                };
                parameters.push(Parameter::hidden(name, shape, gain, random));
            }
        }
        let packed = pack(shape, &parameters);
        let head = LinearLayer::new(&parameters, EMBEDDING, None);
        Self { isa, shape, attention, parameters, layers: packed, head }
    }

    fn gain(&self, place: usize) -> &[f32] {
        &self.parameters[place].values
    }

    /// Returns the embeddings of tokens: `[rows][C]`.
    fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let (table, c) = (&self.parameters[EMBEDDING].values, self.shape.hidden_size);
        tokens.iter().flat_map(|&id| &table[id as usize * c..][..c]).copied().collect()
    }

    /// Replaces x by the output of the layer `index`.
    fn forward(&self, index: usize, x: &mut Vec<f32>) -> LlamaTrace {
        let (isa, layer, first) = (self.isa, &self.layers[index], place(index));
        let normed = norm::forward(isa, x, self.gain(first));
        let mut qkv = layer.qkv.forward(isa, &normed);
        self.attention.rotate(&mut qkv, false);
        let attended = self.attention.forward(isa, &qkv);
        let mut middle = layer.out.forward(isa, &attended);
        accumulate(&mut middle, x);
        let middle_normed = norm::forward(isa, &middle, self.gain(first + 3));
        let gate = layer.gate.forward(isa, &middle_normed);
        let up = layer.up.forward(isa, &middle_normed);
        let activated = swiglu::forward(isa, &gate, &up);
        let mut out = layer.down.forward(isa, &activated);
        accumulate(&mut out, &middle);
        let x = std::mem::replace(x, out);
        LlamaTrace { x, normed, qkv, attended, middle, middle_normed, gate, up, activated }
    }

    /// Replaces grad, that of the output of the layer `index`, by that of its input.
    fn backward(&self, index: usize, t: &LlamaTrace, grad: &mut [f32], gradients: &mut Gradients) {
        let (isa, layer, first) = (self.isa, &self.layers[index], place(index));
        let d_activated = layer.down.backward(isa, &t.activated, grad, gradients);
        let (d_gate, d_up) = swiglu::backward(isa, &t.gate, &t.up, &d_activated);
        let mut d_normed = layer.gate.backward(isa, &t.middle_normed, &d_gate, gradients);
        accumulate(&mut d_normed, &layer.up.backward(isa, &t.middle_normed, &d_up, gradients));
        let gain = self.gain(first + 3);
        norm::backward(&t.middle, gain, &d_normed, grad, &mut gradients[first + 3]);
        let d_attended = layer.out.backward(isa, &t.attended, grad, gradients);
        let mut d_qkv = self.attention.backward(isa, &t.qkv, &d_attended);
        self.attention.rotate(&mut d_qkv, true);
        let d_normed = layer.qkv.backward(isa, &t.normed, &d_qkv, gradients);
        norm::backward(&t.x, self.gain(first), &d_normed, grad, &mut gradients[first]);
    }

    /// Returns the cost of one sequence.
    fn sequence(&self, ids: &[u32], targets: &[u32], gradients: Option<&mut Gradients>) -> f64 {
        let isa = self.isa;
        let mut x = self.embed(ids);
        let traces: Vec<LlamaTrace> =
            (0..self.layers.len()).map(|layer| self.forward(layer, &mut x)).collect();
        let normed = norm::forward(isa, &x, self.gain(LAST_NORM));
        let mut logits = self.head.forward(isa, &normed);
        let nats = cross_entropy(isa, &mut logits, targets);
        let Some(gradients) = gradients else { return nats };
        let d_normed = self.head.backward(isa, &normed, &logits, gradients);
        let mut grad = vec![0.0; x.len()];
        norm::backward(&x, self.gain(LAST_NORM), &d_normed, &mut grad, &mut gradients[LAST_NORM]);
        for (layer, trace) in traces.iter().enumerate().rev() {
            self.backward(layer, trace, &mut grad, gradients);
        }
        let c = self.shape.hidden_size;
        for (&id, grad) in ids.iter().zip(grad.chunks_exact(c)) {
            accumulate(&mut gradients[EMBEDDING][id as usize * c..][..c], grad);
        }
        nats
    }
}

/// Returns the index of a layer's first parameter.
fn place(layer: usize) -> usize {
    FIRST_LAYER + layer * PARTS.len()
}

fn pack(shape: LlamaShape, parameters: &[Parameter]) -> Vec<LlamaLayer> {
    let layer = |index: usize| {
        let linear = |part: usize| LinearLayer::new(parameters, place(index) + part, None);
        LlamaLayer {
            qkv: linear(1),
            out: linear(2),
            gate: linear(4),
            up: linear(5),
            down: linear(6),
        }
    };
    (0..shape.layers).map(layer).collect()
}

impl TrainableNetwork for LlamaNetwork {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        change(&mut self.parameters)?;
        self.layers = pack(self.shape, &self.parameters);
        self.head = LinearLayer::new(&self.parameters, EMBEDDING, None);
        Ok(())
    }

    fn states(&self, _streams: usize) -> Vec<RecurrentState> {
        Vec::new()
    }

    fn run(
        &self,
        shard: &TokenShard,
        _: &mut [RecurrentState],
        mut gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        let of = |x: &[u32], stream: usize| -> Vec<u32> {
            x.iter().skip(stream).step_by(shard.streams).copied().collect()
        };
        let cost = |stream| {
            let (ids, targets) = (of(&shard.inputs, stream), of(&shard.targets, stream));
            self.sequence(&ids, &targets, gradients.as_deref_mut())
        };
        Ok((0..shard.streams).map(cost).sum())
    }

    fn config(&self) -> Value {
        let shape = self.shape;
        json!({
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": 1,
            "head_dim": shape.hidden_size / shape.heads,
            "hidden_act": "silu",
            "max_position_embeddings": POSITIONS,
            "rms_norm_eps": 1e-5,
            "rope_theta": THETA,
            "sliding_window": shape.window,
            "tie_word_embeddings": true,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "float32",
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let c = self.shape.hidden_size;
        let (d, width) = (self.attention.head_dim, self.attention.qkv_width());
        let rows = [("q_proj", 0..c), ("k_proj", c..c + d), ("v_proj", c + d..width)];
        let tensors = |p: &Parameter| match p.name.contains("qkv_proj") {
            false => vec![(p.name.clone(), p.shape.clone(), p.values.clone())],
            true => Vec::from(rows.clone().map(|(part, rows)| {
                let values = p.values[rows.start * c..rows.end * c].to_vec();
                (p.name.replace("qkv_proj", part), vec![rows.len(), c], values)
            })),
        };
        self.parameters.iter().flat_map(tensors).collect()
    }
}
