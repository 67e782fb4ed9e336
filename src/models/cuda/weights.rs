//! Weights of a transformer on a device.

use crate::cuda::{Buffer, Product, Stream, Table, Weights};
use crate::error::{Error, ErrorKind, Result};
use crate::models::blocks::{Layer, Norm, Positions};
use crate::models::linear::Linear;
use crate::models::matrix::Values;
use crate::models::transformer::{Embedding, NO_ROW, Transformer};
use crate::nn::feed_forward::Activation;

/// A norm on a device.
pub enum DeviceNorm {
    Rms { gain: Buffer<f32>, eps: f32 },
    Layer { gain: Buffer<f32>, bias: Buffer<f32>, eps: f32 },
}

/// A layer on a device.
pub struct DeviceLayer {
    pub attention_norm: DeviceNorm,
    pub qkv: Product,
    pub qk_norms: Option<[DeviceNorm; 2]>,
    pub attention_out: Product,
    pub mlp_norm: DeviceNorm,
    pub gate: Option<Product>,
    pub up: Product,
    pub activation: Activation,
    pub down: Product,
}

/// Vectors of tokens on a device.
enum DeviceEmbedding {
    F32(Buffer<f32>),
    F16(Buffer<u16>),
    Bf16(Buffer<u16>),
    /// The output head's rows, by token.
    Tied(Vec<u32>),
}

/// All weights on a device.
pub struct DeviceWeights {
    embedding: DeviceEmbedding,
    /// The vector of the first token of a lane, where the table has none: `[C]`.
    pub first_token: Buffer<f32>,
    /// Vectors of positions, where they are learned: `[positions][C]`.
    pub positions: Option<Buffer<f32>>,
    pub layers: Vec<DeviceLayer>,
    pub final_norm: DeviceNorm,
    pub head: Product,
}

impl DeviceWeights {
    /// Copies all weights of `network`, one matrix after the other.
    ///
    /// # Errors
    /// Device; InvalidArgument for weights of four bits.
    pub fn upload(network: &Transformer, stream: &Stream) -> Result<Self> {
        let width = network.shape.hidden_size;
        let mut first_token = vec![0.0; width];
        let embedding = match &*network.embedding {
            Embedding::Table(Values::F16(bytes)) => {
                DeviceEmbedding::F16(stream.upload(&halves(bytes))?)
            }
            Embedding::Table(Values::Bf16(bytes)) => {
                DeviceEmbedding::Bf16(stream.upload(&halves(bytes))?)
            }
            Embedding::Table(table) => {
                let mut wide = vec![0.0; network.shape.vocab_size * width];
                table.widen(0, &mut wide);
                DeviceEmbedding::F32(stream.upload(&wide)?)
            }
            Embedding::Tied { rows, first_token: vector, .. } => {
                first_token.copy_from_slice(vector);
                DeviceEmbedding::Tied(rows.clone())
            }
        };
        let positions = match &network.positions {
            Positions::Learned(table) => Some(stream.upload(table)?),
            Positions::Rotary(_) => None,
        };
        let layers = network.layers.iter().map(|layer| DeviceLayer::upload(layer, stream));
        Ok(Self {
            embedding,
            first_token: stream.upload(&first_token)?,
            positions,
            layers: layers.collect::<Result<_>>()?,
            final_norm: norm(&network.final_norm, stream)?,
            head: linear(&network.head, stream)?,
        })
    }

    /// Returns the table's row of `token`; -1 where it has none.
    pub fn entry(&self, token: u32) -> i32 {
        match &self.embedding {
            DeviceEmbedding::Tied(rows) => match rows[token as usize] {
                NO_ROW => -1,
                row => row as i32,
            },
            _ => token as i32,
        }
    }

    /// Returns the table of vectors of tokens.
    pub fn table(&self) -> Table<'_> {
        let Product { k: width, n, .. } = self.head;
        let (rows, columns) = ([width, 1], [1, n]);
        match (&self.embedding, &self.head.weights) {
            (DeviceEmbedding::F32(table), _) => Table::F32(table, rows),
            (DeviceEmbedding::F16(table), _) => Table::F16(table, rows),
            (DeviceEmbedding::Bf16(table), _) => Table::Bf16(table, rows),
            (DeviceEmbedding::Tied(_), Weights::F32(head)) => Table::F32(head, columns),
            (DeviceEmbedding::Tied(_), Weights::F16(head)) => Table::F16(head, columns),
            (DeviceEmbedding::Tied(_), Weights::Bf16(head)) => Table::Bf16(head, columns),
            (DeviceEmbedding::Tied(_), Weights::Int8 { .. }) => Table::Int8(&self.head),
        }
    }
}

/// Bits of halves that are little-endian bytes.
fn halves(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect()
}

impl DeviceLayer {
    fn upload(layer: &Layer, stream: &Stream) -> Result<Self> {
        let linear = |layer| linear(layer, stream);
        let qk_norms = layer.qk_norms.as_ref();
        let qk_norms = qk_norms.map(|[q, k]| Ok([norm(q, stream)?, norm(k, stream)?]));
        Ok(Self {
            attention_norm: norm(&layer.attention_norm, stream)?,
            qkv: linear(&layer.qkv)?,
            qk_norms: qk_norms.transpose()?,
            attention_out: linear(&layer.attention_out)?,
            mlp_norm: norm(&layer.mlp_norm, stream)?,
            gate: layer.mlp.gate.as_ref().map(linear).transpose()?,
            up: linear(&layer.mlp.up)?,
            activation: layer.mlp.activation,
            down: linear(&layer.mlp.down)?,
        })
    }
}

fn norm(norm: &Norm, stream: &Stream) -> Result<DeviceNorm> {
    Ok(match norm {
        Norm::Rms { gain, eps } => DeviceNorm::Rms { gain: stream.upload(gain)?, eps: *eps },
        Norm::Layer { gain, bias, eps } => {
            DeviceNorm::Layer { gain: stream.upload(gain)?, bias: stream.upload(bias)?, eps: *eps }
        }
    })
}

fn linear(layer: &Linear, stream: &Stream) -> Result<Product> {
    let (k, n) = (layer.inputs(), layer.outputs());
    let weights = match layer {
        Linear::F32(w) => Weights::F32(stream.upload(&w.columns())?),
        Linear::F16(w) => Weights::F16(stream.upload(&w.columns())?),
        Linear::Bf16(w) => Weights::Bf16(stream.upload(&w.columns())?),
        Linear::Int4(..) => {
            let message = "a model with weights of four bits runs on the processor alone";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Linear::Int8(w, activations) => {
            let (scales, sums): (Vec<f32>, Vec<i32>) = (0..n).map(|i| w.scale_and_sum(i)).unzip();
            Weights::Int8 {
                words: stream.upload(&w.words())?,
                scales: stream.upload(&scales)?,
                sums: stream.upload(&sums)?,
                planes: activations.bits() as usize / 8,
            }
        }
    };
    let bias: Vec<f32> = (0..n).map(|i| layer.bias(i)).collect();
    Ok(Product { k, n, weights, bias: stream.upload(&bias)? })
}
