//! Mistral-style decoder.
//!
//! Legend: `T` positions, `B` sequences, `C` width, `H` query heads, `D` dimensions of a head.

use super::functions::{embed, log_softmax};
use crate::ops::{Rotary, RotaryScaling};
use crate::train::llama::{LlamaShape, THETA};
use crate::train::network::TokenShard;
use crate::train::nn::norm::EPS;
use candle_core::{D, Device, Result, Tensor};

/// Computes the logits of all rows: `[T * B][V]`.
pub fn logits(parameters: &[Tensor], shape: LlamaShape, shard: &TokenShard) -> Result<Tensor> {
    let [table, last_norm, layers @ ..] = parameters else { unreachable!("it has an embedding") };
    let (b, c) = (shard.streams, shape.hidden_size);
    let t = shard.inputs.len() / b;
    let positions = RotaryTables::new(shape, t, table.device())?;
    let mut x = embed(table, &shard.inputs)?.reshape((t, b, c))?.transpose(0, 1)?.contiguous()?;
    for weights in layers.chunks_exact(7) {
        let [norm, qkv, out, middle_norm, gate, up, down] = weights else { unreachable!() };
        let attended = positions.attend(&linear(&rms_norm(&x, norm)?, qkv)?, shape)?;
        x = (x + linear(&attended, out)?)?;
        let normed = rms_norm(&x, middle_norm)?;
        let activated = (linear(&normed, gate)?.silu()? * linear(&normed, up)?)?;
        x = (x + linear(&activated, down)?)?;
    }
    let x = rms_norm(&x, last_norm)?.transpose(0, 1)?.contiguous()?;
    x.reshape((t * b, c))?.matmul(&table.t()?)
}

/// Applies a linear layer. x: `[B][T][inputs]`, weight: `[outputs][inputs]`
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (b, t, inputs) = x.dims3()?;
    x.reshape((b * t, inputs))?.matmul(&weight.t()?)?.reshape((b, t, ()))
}

fn rms_norm(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_square + f64::from(EPS))?.sqrt()?)?.broadcast_mul(gain)
}

/// Rotations and mask of positions.
struct RotaryTables {
    /// Rotations: `[T][D / 2]`
    cos: Tensor,
    sin: Tensor,
    /// 0 where a query sees a key, else minus infinity: `[T][T]`
    mask: Tensor,
}

impl RotaryTables {
    fn new(shape: LlamaShape, t: usize, device: &Device) -> Result<Self> {
        let head_dim = shape.hidden_size / shape.heads;
        let (rotary, pairs) = (Rotary::new(head_dim, THETA, RotaryScaling::None), head_dim / 2);
        let (mut cos, mut sin) = (vec![0.0; t * pairs], vec![0.0; t * pairs]);
        let rows = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs));
        rows.enumerate().for_each(|(position, (cos, sin))| rotary.at(position as u32, cos, sin));
        let sees = |at: usize| {
            let (query, key) = (at / t, at % t);
            key <= query && query < key + shape.window
        };
        let mask = (0..t * t).map(|at| if sees(at) { 0.0 } else { f32::NEG_INFINITY });
        Ok(Self {
            cos: Tensor::from_vec(cos, (t, pairs), device)?,
            sin: Tensor::from_vec(sin, (t, pairs), device)?,
            mask: Tensor::from_iter(mask, device)?.reshape((t, t))?,
        })
    }

    /// Computes attention: `[B][T][C]`. qkv: `[B][T][(H + 2) * D]`
    fn attend(&self, qkv: &Tensor, shape: LlamaShape) -> Result<Tensor> {
        let (b, t, width) = qkv.dims3()?;
        let (heads, d) = (shape.heads, width / (shape.heads + 2));
        let part = |first: usize, n: usize| -> Result<Tensor> {
            qkv.narrow(2, first * d, n * d)?.reshape((b, t, n, d))?.transpose(1, 2)?.contiguous()
        };
        let queries = self.rotate(&part(0, heads)?)?.reshape((b, heads * t, d))?;
        let keys = self.rotate(&part(heads, 1)?)?.reshape((b, t, d))?;
        let values = part(heads + 1, 1)?.reshape((b, t, d))?;
        let scores = (queries.matmul(&keys.t()?)? / (d as f64).sqrt())?;
        let scores = scores.reshape((b, heads, t, t))?.broadcast_add(&self.mask)?;
        let p = log_softmax(&scores)?.exp()?.reshape((b, heads * t, t))?;
        let out = p.matmul(&values)?.reshape((b, heads, t, d))?;
        out.transpose(1, 2)?.contiguous()?.reshape((b, t, heads * d))
    }

    /// Rotates queries or keys by their positions. x: `[B][heads][T][D]`
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let halves = x.chunk(2, D::Minus1)?;
        let (a, b) = (&halves[0], &halves[1]);
        let first = (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?;
        let second = (b.broadcast_mul(&self.cos)? + a.broadcast_mul(&self.sin)?)?;
        Tensor::cat(&[first, second], D::Minus1)
    }
}
