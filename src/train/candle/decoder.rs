//! Decoders of all families, in float32 or float64 as their parameters are.
//!
//! Legend: `T` positions, `B` sequences, `C` width, `H` query heads, `G` key/value heads, `D` dimensions
//! of a head.

use super::functions::{embed, log_softmax};
use crate::nn::feed_forward::Activation;
use crate::nn::shape::{DecoderShape, NormKind, PositionKind, RotaryConfig};
use crate::ops::{AttentionShape, Rotary};
use crate::train::network::TokenShard;
use candle_core::{D, DType, Device, Result, Tensor};

/// Computes the logits of all rows, `[T * B][V]`, of the tokens `outputs`, or of all. vectors: `[K][C]`,
/// steering vectors before each sequence
pub fn logits(
    parameters: &[Tensor],
    shape: &DecoderShape,
    outputs: Option<&[u32]>,
    vectors: Option<&Tensor>,
    shard: &TokenShard,
) -> Result<Tensor> {
    let mut decoder = ShapedParameters { shape, left: parameters.iter() };
    let (b, c) = (shard.streams, shape.hidden_size);
    let t = shard.inputs.len() / b;
    let table = decoder.next();
    let (device, dtype) = (table.device(), table.dtype());
    let mut x = embed(table, &shard.inputs)?.reshape((t, b, c))?.transpose(0, 1)?.contiguous()?;
    let k = vectors.map_or(Ok(0), |vectors| vectors.dim(0))?;
    let rotary = match shape.positions {
        PositionKind::Rotary(rotary) => Some(RotaryTables::new(rotary, k, t, device, dtype)?),
        PositionKind::Learned(_) => {
            x = x.broadcast_add(&decoder.next().narrow(0, 0, t)?)?;
            None
        }
    };
    if let Some(vectors) = vectors {
        x = Tensor::cat(&[vectors.broadcast_left(b)?, x], 1)?;
    }
    let sight = Sight { rotary, vectors: k, mask: mask(shape, k, k + t, device, dtype)? };
    let final_norm = decoder.norm(shape.norm);
    let head = if shape.tied { table } else { decoder.next() };
    for _ in 0..shape.layers {
        x = decoder.layer(&x, &sight)?;
    }
    let x = x.narrow(1, k, t)?;
    let x = final_norm.apply(&x)?.transpose(0, 1)?.contiguous()?.reshape((t * b, c))?;
    match outputs {
        Some(outputs) => x.matmul(&embed(head, outputs)?.t()?),
        None => x.matmul(&head.t()?),
    }
}

/// What a row sees, and from where.
struct Sight {
    rotary: Option<RotaryTables>,
    /// Rows that are steering vectors, before those of tokens.
    vectors: usize,
    mask: Tensor,
}

/// The parameters of a decoder that were not used yet, in the order in which
/// [`Decoder`](crate::nn::decoder::Decoder) has them.
struct ShapedParameters<'a> {
    shape: &'a DecoderShape,
    left: std::slice::Iter<'a, Tensor>,
}

impl<'a> ShapedParameters<'a> {
    fn next(&mut self) -> &'a Tensor {
        self.left.next().expect("as many parameters as the shape has")
    }

    fn norm(&mut self, kind: NormKind) -> Norm<'a> {
        let gain = self.next();
        let bias = (kind == NormKind::Layer).then(|| self.next());
        Norm { gain, bias, eps: f64::from(self.shape.norm_eps) }
    }

    /// Applies the next linear layer. x: `[B][T][inputs]`, weights: `[outputs][inputs]`
    fn linear(&mut self, x: &Tensor, has_bias: bool) -> Result<Tensor> {
        let (b, t, inputs) = x.dims3()?;
        let y = x.reshape((b * t, inputs))?.matmul(&self.next().t()?)?.reshape((b, t, ()))?;
        if has_bias { y.broadcast_add(self.next()) } else { Ok(y) }
    }

    fn layer(&mut self, x: &Tensor, sight: &Sight) -> Result<Tensor> {
        let shape = self.shape;
        let normed = self.norm(shape.norm).apply(x)?;
        let qkv = self.linear(&normed, shape.attention_bias)?;
        let qk_norms =
            shape.has_qk_norms.then(|| [self.norm(NormKind::Rms), self.norm(NormKind::Rms)]);
        let attended = attend(&qkv, shape.attention, qk_norms, sight)?;
        let middle = (x + self.linear(&attended, shape.attention_bias)?)?;
        let of_mlp = if shape.parallel_residual { x } else { &middle };
        let normed = self.norm(shape.norm).apply(of_mlp)?;
        let activated = match shape.activation {
            Activation::Silu => {
                let gate = self.linear(&normed, shape.mlp_bias)?.silu()?;
                (gate * self.linear(&normed, shape.mlp_bias)?)?
            }
            Activation::GeluErf => self.linear(&normed, shape.mlp_bias)?.gelu_erf()?,
            Activation::GeluTanh => self.linear(&normed, shape.mlp_bias)?.gelu()?,
        };
        middle + self.linear(&activated, shape.mlp_bias)?
    }
}

struct Norm<'a> {
    gain: &'a Tensor,
    bias: Option<&'a Tensor>,
    eps: f64,
}

impl Norm<'_> {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let centred = match self.bias {
            Some(_) => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            None => x.clone(),
        };
        let mean_square = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let y = centred.broadcast_div(&(mean_square + self.eps)?.sqrt()?)?;
        let y = y.broadcast_mul(self.gain)?;
        self.bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))
    }
}

/// Returns 0 where a query sees a key, else minus infinity: `[n][n]`; the first k are steering vectors.
fn mask(shape: &DecoderShape, k: usize, n: usize, device: &Device, dtype: DType) -> Result<Tensor> {
    let sees = |at: usize| {
        let (query, key) = (at / n, at % n);
        key <= query && (key < k || query - key < shape.attention.window)
    };
    let mask = (0..n * n).map(|at| if sees(at) { 0.0 } else { f32::NEG_INFINITY });
    Tensor::from_iter(mask, device)?.reshape((n, n))?.to_dtype(dtype)
}

/// Computes attention: `[B][T][H * D]`. qkv: `[B][T][(H + 2 * G) * D]`
fn attend(
    qkv: &Tensor,
    shape: AttentionShape,
    qk_norms: Option<[Norm<'_>; 2]>,
    sight: &Sight,
) -> Result<Tensor> {
    let (b, t, _) = qkv.dims3()?;
    let AttentionShape { heads, kv_heads, head_dim: d, .. } = shape;
    let part = |first: usize, n: usize, norm: Option<&Norm<'_>>| -> Result<Tensor> {
        let x = qkv.narrow(2, first * d, n * d)?.reshape((b, t, n, d))?;
        let x = norm.map_or(Ok(x.clone()), |norm| norm.apply(&x))?;
        x.transpose(1, 2)?.contiguous()
    };
    let rotated = |x: &Tensor| match &sight.rotary {
        Some(rotary) => rotary.rotate(x),
        None => Ok(x.clone()),
    };
    let [q_norm, k_norm] = [0, 1].map(|i| qk_norms.as_ref().map(|norms| &norms[i]));
    let group = heads / kv_heads;
    let queries = part(0, heads, q_norm)?;
    let grouped = |x: &Tensor| x.reshape((b * kv_heads, group * t, d));
    let keys = rotated(&part(heads, kv_heads, k_norm)?)?.reshape((b * kv_heads, t, d))?;
    let values = part(heads + kv_heads, kv_heads, None)?.reshape((b * kv_heads, t, d))?;
    let scores = |queries: &Tensor, first: usize, n: usize| {
        grouped(queries)?.matmul(&keys.narrow(1, first, n)?.t()?)
    };
    // No query is rotated against a vector's key.
    let scores = match sight.vectors {
        0 => scores(&rotated(&queries)?, 0, t)?,
        k => {
            let of_vectors = scores(&queries, 0, k)?;
            Tensor::cat(&[of_vectors, scores(&rotated(&queries)?, k, t - k)?], D::Minus1)?
        }
    };
    let scores = (scores / (d as f64).sqrt())?;
    let scores = scores.reshape((b, heads, t, t))?.broadcast_add(&sight.mask)?;
    let p = log_softmax(&scores)?.exp()?.reshape((b * kv_heads, group * t, t))?;
    let out = p.matmul(&values)?.reshape((b, heads, t, d))?;
    out.transpose(1, 2)?.contiguous()?.reshape((b, t, heads * d))
}

/// Rotations of rows: `[T][pairs]`; those of steering vectors turn nothing.
struct RotaryTables {
    cos: Tensor,
    sin: Tensor,
    pairs: usize,
}

impl RotaryTables {
    fn new(
        config: RotaryConfig,
        vectors: usize,
        t: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let RotaryConfig { dims, theta, scaling } = config;
        let (rotary, pairs, n) = (Rotary::new(dims, theta, scaling), dims / 2, vectors + t);
        let (mut cos, mut sin) = (vec![1.0; n * pairs], vec![0.0; n * pairs]);
        let rows = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs)).skip(vectors);
        rows.enumerate().for_each(|(position, (cos, sin))| rotary.at(position as u32, cos, sin));
        let table = |x| Tensor::from_vec(x, (n, pairs), device)?.to_dtype(dtype);
        Ok(Self { cos: table(cos)?, sin: table(sin)?, pairs })
    }

    /// Rotates queries or keys by their positions. x: `[B][heads][T][D]`
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let part = |first: usize, n: usize| x.narrow(D::Minus1, first, n)?.contiguous();
        let (pairs, d) = (self.pairs, x.dim(D::Minus1)?);
        let (a, b) = (part(0, pairs)?, part(pairs, pairs)?);
        let first = (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?;
        let second = (b.broadcast_mul(&self.cos)? + a.broadcast_mul(&self.sin)?)?;
        match d - 2 * pairs {
            0 => Tensor::cat(&[first, second], D::Minus1),
            rest => Tensor::cat(&[first, second, part(2 * pairs, rest)?], D::Minus1),
        }
    }
}
