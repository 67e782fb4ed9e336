//! A loaded transformer as a network whose gradients can be had (`crate::nn`).

use super::blocks::{Norm, Positions};
use super::config::{Config, Family};
use super::linear::Linear;
use super::transformer::Transformer;
use crate::nn::decoder::Decoder;
use crate::nn::parameter::Parameter;
use crate::nn::shape::{
    DecoderPart, DecoderShape, DecoderTensor, LayerPart, NormKind, PositionKind,
};
use crate::ops::AttentionShape;

impl Config {
    /// Returns the dimensions and kinds of the network's layers.
    pub fn decoder_shape(&self) -> DecoderShape {
        let is_gpt = matches!(self.family, Family::GptNeox | Family::Gpt2);
        let always_biased = self.family == Family::Gpt2;
        DecoderShape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.layers,
            attention: AttentionShape {
                heads: self.heads,
                kv_heads: self.kv_heads,
                head_dim: self.head_dim,
                window: self.window(),
                scale: (1.0 / (self.head_dim as f64).sqrt()) as f32,
            },
            positions: match self.family {
                Family::Gpt2 => PositionKind::Learned(self.max_positions),
                _ => PositionKind::Rotary(self.rotary),
            },
            norm: if is_gpt { NormKind::Layer } else { NormKind::Rms },
            norm_eps: self.norm_eps as f32,
            has_qk_norms: self.family == Family::Qwen3,
            activation: self.activation,
            parallel_residual: self.parallel_residual,
            attention_bias: self.qkv_bias || always_biased,
            mlp_bias: self.mlp_bias || always_biased,
            tied: self.tied,
        }
    }
}

impl Transformer {
    /// Returns the same network over [`crate::nn`], with integers times their scales as weights and
    /// no rounding of activations, keys and values; its outputs are those of this network. Gradients
    /// can be had of the inputs, and of the parameters that `trains` names; an adapter's are
    /// frozen.
    pub fn decoder(&self, trains: &dyn Fn(&DecoderTensor) -> bool) -> Decoder {
        let mut make = |tensor: &DecoderTensor| {
            let values = self.values(tensor);
            let parameter = Parameter::new(tensor.to_string(), &tensor.shape, values);
            Parameter { is_hidden: tensor.is_hidden(), is_frozen: !trains(tensor), ..parameter }
        };
        let mut decoder = Decoder::new(self.isa, self.shape, &self.outputs, &mut make);
        let adapters = self.adapters.iter().enumerate();
        let adapters = adapters.flat_map(|(layer, adapters)| adapters.parameters(layer));
        adapters.for_each(|adapter| decoder.adapt(adapter));
        decoder
    }

    fn values(&self, tensor: &DecoderTensor) -> Vec<f32> {
        let rows_of = |linear: &Linear| {
            let mut values = vec![0.0; tensor.shape.iter().product()];
            match tensor.is_bias {
                true => (0..).zip(&mut values).for_each(|(i, value)| *value = linear.bias(i)),
                false => {
                    let rows = values.chunks_exact_mut(tensor.shape[1]);
                    rows.enumerate().for_each(|(i, row)| linear.unpack_row(i, row));
                }
            }
            values
        };
        let norm = |norm: &Norm| match norm {
            Norm::Layer { bias, .. } if tensor.is_bias => bias.clone(),
            Norm::Rms { gain, .. } | Norm::Layer { gain, .. } => gain.clone(),
        };
        let (index, part) = match tensor.part {
            DecoderPart::Layer(index, part) => (index, part),
            DecoderPart::FinalNorm => return norm(&self.final_norm),
            DecoderPart::Embedding => return self.embeddings(),
            DecoderPart::Head => return self.head_by_token(),
            DecoderPart::Positions => match &self.positions {
                Positions::Learned(table) => return table.clone(),
                Positions::Rotary(_) => return Vec::new(),
            },
        };
        let layer = &self.layers[index];
        let qk_norm = |i: usize| layer.qk_norms.as_ref().map_or(Vec::new(), |n| norm(&n[i]));
        match part {
            LayerPart::AttentionNorm => norm(&layer.attention_norm),
            LayerPart::Qkv => rows_of(&layer.qkv),
            LayerPart::QueryNorm => qk_norm(0),
            LayerPart::KeyNorm => qk_norm(1),
            LayerPart::AttentionOut => rows_of(&layer.attention_out),
            LayerPart::MlpNorm => norm(&layer.mlp_norm),
            LayerPart::Gate => layer.mlp.gate.as_ref().map_or(Vec::new(), rows_of),
            LayerPart::Up => rows_of(&layer.mlp.up),
            LayerPart::Down => rows_of(&layer.mlp.down),
        }
    }

    /// Returns the embeddings of all tokens: `[vocab_size][C]`.
    fn embeddings(&self) -> Vec<f32> {
        let mut table = vec![0.0; self.shape.vocab_size * self.shape.hidden_size];
        let rows = table.chunks_exact_mut(self.shape.hidden_size);
        (0..).zip(rows).for_each(|(token, row)| self.embed(token, row));
        table
    }

    /// Returns the output head's rows by token: `[vocab_size][C]`, zeros where there is none.
    fn head_by_token(&self) -> Vec<f32> {
        let c = self.shape.hidden_size;
        let mut table = vec![0.0; self.shape.vocab_size * c];
        for (i, &token) in self.outputs.iter().enumerate() {
            self.head.unpack_row(i, &mut table[token as usize * c..][..c]);
        }
        table
    }
}
