//! Decoder-only transformers with forward and backward passes: one network for all families, which
//! differ by their [`DecoderShape`] (`docs/numerics.md`, section 8).
//!
//! A pass is of one sequence; steering vectors may stand before its tokens' embeddings. Gradients are
//! had of the inputs always, and of those parameters that are not frozen.
//!
//! Legend: `T` rows of one sequence, `C` width, `V` outputs.

use super::attention::AttentionLayer;
use super::feed_forward::{Activation, FeedForward, FeedForwardTrace};
use super::linear::LinearLayer;
use super::loss::cross_entropy;
use super::low_rank::LowRankLayer;
use super::matrix::{accumulate, gathered};
use super::norm::NormLayer;
use super::parameter::{Gradients, Parameter};
use super::self_attention::{RotaryTables, SelfAttention, SelfAttentionTrace};
use super::shape::{
    DecoderPart, DecoderShape, DecoderTensor, LayerPart, NormKind, PositionKind, RotaryConfig,
};
use crate::error::Result;
use crate::ops::{Isa, Rotary};

/// A decoder.
pub struct Decoder {
    isa: Isa,
    shape: DecoderShape,
    parameters: Vec<Parameter>,
    embedding: usize,
    positions: PositionLayer,
    layers: Vec<DecoderLayer>,
    final_norm: NormLayer,
    head: LinearLayer,
}

/// Where an input stands.
enum PositionLayer {
    Rotary(Rotary),
    /// Index of the parameter.
    Learned(usize),
}

/// A layer.
struct DecoderLayer {
    attention_norm: NormLayer,
    attention: SelfAttention,
    mlp_norm: NormLayer,
    mlp: FeedForward,
}

/// A low-rank adapter beside a linear layer of a decoder.
pub struct AdapterParameters {
    /// Layer that has the linear layer.
    pub layer: usize,
    /// The linear layer.
    pub part: LayerPart,
    /// The linear layer's output to which the adapter's first is added.
    pub first: usize,
    /// Factor of A's outputs.
    pub scale: f32,
    /// A, `[rank][inputs]`, and B, `[outputs][rank]`.
    pub matrices: [Parameter; 2],
}

/// Activations of a forward pass that the backward pass needs.
pub struct DecoderTrace {
    /// Steering vectors.
    vectors: usize,
    rotary: Option<RotaryTables>,
    layers: Vec<LayerTrace>,
    /// Output of the last layer: `[T][C]`.
    x: Vec<f32>,
    /// Its norm: `[T][C]`.
    normed: Vec<f32>,
}

struct LayerTrace {
    /// Inputs of the norms: `[T][C]`; the second is empty where it is the first.
    x: Vec<f32>,
    middle: Vec<f32>,
    attention: SelfAttentionTrace,
    mlp: FeedForwardTrace,
}

/// Collects parameters while the layers that need them are made.
struct Builder<'a> {
    shape: DecoderShape,
    make: &'a mut dyn FnMut(&DecoderTensor) -> Parameter,
    parameters: Vec<Parameter>,
}

impl Builder<'_> {
    /// Makes a part's parameters; returns the indices of its weights and its bias.
    fn part(&mut self, part: DecoderPart, has_bias: bool) -> (usize, Option<usize>) {
        let shape = self.shape.part_shape(part);
        let bias = vec![shape[0]];
        let mut add = |is_bias, shape| {
            self.parameters.push((self.make)(&DecoderTensor { part, is_bias, shape }));
            self.parameters.len() - 1
        };
        (add(false, shape), has_bias.then(|| add(true, bias)))
    }

    fn linear(&mut self, part: DecoderPart, has_bias: bool) -> LinearLayer {
        let (weight, bias) = self.part(part, has_bias);
        LinearLayer::new(&self.parameters, weight, bias)
    }

    fn norm(&mut self, part: DecoderPart, kind: NormKind) -> NormLayer {
        let (gain, bias) = self.part(part, kind == NormKind::Layer);
        NormLayer { gain, bias, eps: self.shape.norm_eps }
    }

    fn layer(&mut self, index: usize) -> DecoderLayer {
        let shape = self.shape;
        let part = |part| DecoderPart::Layer(index, part);
        let attention_norm = self.norm(part(LayerPart::AttentionNorm), shape.norm);
        let attention = SelfAttention {
            qkv: self.linear(part(LayerPart::Qkv), shape.attention_bias),
            qk_norms: shape.has_qk_norms.then(|| {
                [LayerPart::QueryNorm, LayerPart::KeyNorm]
                    .map(|norm| self.norm(part(norm), NormKind::Rms))
            }),
            heads: AttentionLayer { shape: shape.attention },
            out: self.linear(part(LayerPart::AttentionOut), shape.attention_bias),
        };
        let mlp_norm = self.norm(part(LayerPart::MlpNorm), shape.norm);
        let has_gate = shape.activation == Activation::Silu;
        let mlp = FeedForward {
            gate: has_gate.then(|| self.linear(part(LayerPart::Gate), shape.mlp_bias)),
            up: self.linear(part(LayerPart::Up), shape.mlp_bias),
            activation: shape.activation,
            down: self.linear(part(LayerPart::Down), shape.mlp_bias),
        };
        DecoderLayer { attention_norm, attention, mlp_norm, mlp }
    }
}

impl Decoder {
    /// Creates a decoder whose parameters `make` gives, one after the other; its logits are those of
    /// the tokens `outputs`, in their order.
    pub fn new(
        isa: Isa,
        shape: DecoderShape,
        outputs: &[u32],
        make: &mut dyn FnMut(&DecoderTensor) -> Parameter,
    ) -> Self {
        let mut builder = Builder { shape, make, parameters: Vec::new() };
        let (embedding, _) = builder.part(DecoderPart::Embedding, false);
        let positions = match shape.positions {
            PositionKind::Rotary(RotaryConfig { dims, theta, scaling }) => {
                PositionLayer::Rotary(Rotary::new(dims, theta, scaling))
            }
            PositionKind::Learned(_) => {
                PositionLayer::Learned(builder.part(DecoderPart::Positions, false).0)
            }
        };
        let final_norm = builder.norm(DecoderPart::FinalNorm, shape.norm);
        let head = match shape.tied {
            true => embedding,
            false => builder.part(DecoderPart::Head, false).0,
        };
        let head = LinearLayer::of_rows(&builder.parameters, head, outputs.to_vec());
        let layers = (0..shape.layers).map(|index| builder.layer(index)).collect();
        let parameters = builder.parameters;
        let mut decoder =
            Self { isa, shape, parameters, embedding, positions, layers, final_norm, head };
        decoder.release_frozen();
        decoder
    }

    /// Lets go of the values of frozen linear layers, which are packed.
    fn release_frozen(&mut self) {
        let Self { parameters, layers, .. } = self;
        for linear in layers.iter_mut().flat_map(DecoderLayer::linears) {
            linear.release_frozen(parameters);
        }
    }

    /// Puts an adapter beside a linear layer; its matrices follow the other parameters.
    ///
    /// # Panics
    /// Where the part is no linear layer of the decoder.
    pub fn adapt(&mut self, adapter: AdapterParameters) {
        let AdapterParameters { layer, part, first, scale, matrices } = adapter;
        let a = self.parameters.len();
        self.parameters.extend(matrices);
        let low_rank = LowRankLayer::new(&self.parameters, [a, a + 1], first, scale);
        self.layers[layer].linear(part).adapt(low_rank);
    }

    /// Returns its dimensions.
    pub fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Lets `change` modify the values of parameters that are not frozen.
    ///
    /// # Errors
    /// Errors of `change`.
    pub fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        change(&mut self.parameters)?;
        let Self { parameters, layers, head, .. } = self;
        let linears = layers.iter_mut().flat_map(DecoderLayer::linears);
        linears.chain([head]).for_each(|linear| linear.pack(parameters));
        Ok(())
    }

    /// Lets `change` modify the values of the parameters of one layer, none of which is frozen.
    pub fn update_layer(&mut self, index: usize, change: &mut dyn FnMut(&mut [Parameter])) {
        change(&mut self.parameters);
        let Self { parameters, layers, .. } = self;
        layers[index].linears().for_each(|linear| linear.pack(parameters));
    }

    /// Returns the output of one layer for its input, `[T][C]`, of a sequence from position 0 on without
    /// steering vectors; `look` is given the input of each linear layer, `[T][inputs]`, by the first part that has it.
    pub fn run_layer(
        &self,
        index: usize,
        x: Vec<f32>,
        look: &mut dyn FnMut(LayerPart, &[f32]),
    ) -> Vec<f32> {
        let rotary = match &self.positions {
            PositionLayer::Rotary(rotary) => {
                Some(RotaryTables::new(rotary, x.len() / self.shape.hidden_size))
            }
            PositionLayer::Learned(_) => None,
        };
        let (out, trace) = self.forward_layer(&self.layers[index], x, 0, rotary.as_ref());
        let [of_qkv, of_out] = trace.attention.linear_inputs();
        look(LayerPart::Qkv, of_qkv);
        look(LayerPart::AttentionOut, of_out);
        let [of_up, of_down] = trace.mlp.linear_inputs();
        look(LayerPart::Up, of_up);
        look(LayerPart::Down, of_down);
        out
    }

    /// Returns the embeddings of tokens: `[T][C]`.
    pub fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let (table, c) = (&self.parameters[self.embedding].values, self.shape.hidden_size);
        gathered(table, c, tokens.iter().map(|&id| id as usize * c))
    }

    /// Adds gradients of tokens' embeddings, `[T][C]`, to that of the embedding.
    pub fn embed_backward(&self, tokens: &[u32], d_inputs: &[f32], gradients: &mut Gradients) {
        let (gradient, c) = (&mut gradients[self.embedding], self.shape.hidden_size);
        if gradient.is_empty() {
            return;
        }
        for (&id, d_input) in tokens.iter().zip(d_inputs.chunks_exact(c)) {
            accumulate(&mut gradient[id as usize * c..][..c], d_input);
        }
    }

    /// Runs all layers over the inputs of one sequence: `[T][C]`. The first are steering `vectors`;
    /// the others have the positions from 0 on.
    pub fn forward(&self, inputs: Vec<f32>, vectors: usize) -> DecoderTrace {
        let mut x = inputs;
        let positions = x.len() / self.shape.hidden_size - vectors;
        let rotary = match &self.positions {
            PositionLayer::Rotary(rotary) => Some(RotaryTables::new(rotary, positions)),
            PositionLayer::Learned(table) => {
                let of_tokens = &mut x[vectors * self.shape.hidden_size..];
                accumulate(of_tokens, &self.parameters[*table].values);
                None
            }
        };
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (out, trace) = self.forward_layer(layer, x, vectors, rotary.as_ref());
            layers.push(trace);
            x = out;
        }
        let normed = self.final_norm.forward(self.isa, &self.parameters, &x);
        DecoderTrace { vectors, rotary, layers, x, normed }
    }

    /// Returns the logits after the inputs from `first` on: `[T - first][V]`.
    pub fn logits(&self, trace: &DecoderTrace, first: usize) -> Vec<f32> {
        self.head.forward(self.isa, &trace.normed[first * self.shape.hidden_size..])
    }

    /// Returns the gradient of the inputs, `[T][C]`, from that of [`Decoder::logits`], and adds
    /// those of the parameters, except the inputs' part of the embedding's.
    pub fn backward(
        &self,
        trace: &DecoderTrace,
        first: usize,
        d_logits: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let DecoderTrace { layers, x, normed, .. } = trace;
        let (isa, from) = (self.isa, first * self.shape.hidden_size);
        let mut d_normed = self.head.backward(isa, &normed[from..], d_logits, gradients);
        let mut grad = vec![0.0; x.len()];
        let d_x = &mut grad[from..];
        self.final_norm.backward(isa, &self.parameters, &x[from..], &mut d_normed, d_x, gradients);
        for (layer, of_layer) in self.layers.iter().zip(layers).rev() {
            self.backward_layer(layer, of_layer, trace, &mut grad, gradients);
        }
        if let PositionLayer::Learned(table) = self.positions {
            accumulate(&mut gradients[table], &grad[trace.vectors * self.shape.hidden_size..]);
        }
        grad
    }

    /// Returns the cost in nats of the targets, which follow the last inputs, and the gradient of the
    /// inputs, the first of them steering `vectors`; adds those of the parameters, except the inputs'
    /// part of the embedding's.
    pub fn cost(
        &self,
        inputs: Vec<f32>,
        vectors: usize,
        targets: &[u32],
        gradients: Option<&mut Gradients>,
    ) -> (f64, Vec<f32>) {
        let first = inputs.len() / self.shape.hidden_size - targets.len();
        let trace = self.forward(inputs, vectors);
        let mut logits = self.logits(&trace, first);
        let nats = cross_entropy(self.isa, &mut logits, targets);
        let backward = |gradients| self.backward(&trace, first, &logits, gradients);
        (nats, gradients.map_or(Vec::new(), backward))
    }

    /// Returns the cost in nats of the targets that follow tokens, and adds the gradients of the
    /// parameters.
    pub fn token_cost(
        &self,
        tokens: &[u32],
        targets: &[u32],
        mut gradients: Option<&mut Gradients>,
    ) -> f64 {
        let (nats, grad) = self.cost(self.embed(tokens), 0, targets, gradients.as_deref_mut());
        if let Some(gradients) = gradients {
            self.embed_backward(tokens, &grad, gradients);
        }
        nats
    }

    fn forward_layer(
        &self,
        layer: &DecoderLayer,
        x: Vec<f32>,
        vectors: usize,
        rotary: Option<&RotaryTables>,
    ) -> (Vec<f32>, LayerTrace) {
        let (isa, parameters) = (self.isa, &self.parameters);
        let normed = layer.attention_norm.forward(isa, parameters, &x);
        let (mut middle, attention) =
            layer.attention.forward(isa, parameters, normed, vectors, rotary);
        accumulate(&mut middle, &x);
        let is_parallel = self.shape.parallel_residual;
        let of_mlp = if is_parallel { &x } else { &middle };
        let normed = layer.mlp_norm.forward(isa, parameters, of_mlp);
        let (mut out, mlp) = layer.mlp.forward(isa, normed);
        accumulate(&mut out, &middle);
        let middle = if is_parallel { Vec::new() } else { middle };
        (out, LayerTrace { x, middle, attention, mlp })
    }

    /// Replaces grad, that of the layer's output, by that of its input.
    fn backward_layer(
        &self,
        layer: &DecoderLayer,
        trace: &LayerTrace,
        DecoderTrace { vectors, rotary, .. }: &DecoderTrace,
        grad: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let (isa, parameters) = (self.isa, &self.parameters);
        let LayerTrace { x, middle, attention, mlp } = trace;
        let is_parallel = self.shape.parallel_residual;
        let of_mlp = if is_parallel { x } else { middle };
        let d_out = is_parallel.then(|| grad.to_vec());
        let mut d_normed = layer.mlp.backward(isa, mlp, grad, gradients);
        layer.mlp_norm.backward(isa, parameters, of_mlp, &mut d_normed, grad, gradients);
        let d_attention = d_out.as_deref().unwrap_or(grad);
        let at = (*vectors, rotary.as_ref());
        let mut d_normed =
            layer.attention.backward(isa, parameters, attention, d_attention, at, gradients);
        layer.attention_norm.backward(isa, parameters, x, &mut d_normed, grad, gradients);
    }
}

impl DecoderLayer {
    fn linears(&mut self) -> impl Iterator<Item = &mut LinearLayer> {
        self.attention.linears().chain(self.mlp.linears())
    }

    fn linear(&mut self, part: LayerPart) -> &mut LinearLayer {
        let linear = match part {
            LayerPart::Qkv => Some(&mut self.attention.qkv),
            LayerPart::AttentionOut => Some(&mut self.attention.out),
            LayerPart::Gate => self.mlp.gate.as_mut(),
            LayerPart::Up => Some(&mut self.mlp.up),
            LayerPart::Down => Some(&mut self.mlp.down),
            _ => None,
        };
        linear.unwrap_or_else(|| panic!("{part:?} is no linear layer"))
    }
}
