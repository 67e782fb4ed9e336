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
use std::ops::Range;

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
    let x = embed(table, &shard.inputs)?.reshape((t, b, c))?.transpose(0, 1)?.contiguous()?;
    let x = decoder.run(table, x, vectors, None)?;
    let x = x.transpose(0, 1)?.contiguous()?.reshape((t * b, c))?;
    let head = head(parameters, shape);
    match outputs {
        Some(outputs) => x.matmul(&embed(head, outputs)?.t()?),
        None => x.matmul(&head.t()?),
    }
}

/// Returns the output head's weights: `[V][C]`.
pub fn head<'a>(parameters: &'a [Tensor], shape: &DecoderShape) -> &'a Tensor {
    let positions = usize::from(matches!(shape.positions, PositionKind::Learned(_)));
    let norm = if shape.norm == NormKind::Layer { 2 } else { 1 };
    if shape.tied { &parameters[0] } else { &parameters[1 + positions + norm] }
}

/// Keys and values of what a sequence was fed, rounded to bfloat16 as where it is coded.
pub struct KeyValues {
    /// Position of the next token.
    position: usize,
    /// By layer, of those that the window still sees: `[1][G][past][D]`
    layers: Vec<Option<[Tensor; 2]>>,
}

impl KeyValues {
    /// Creates those of a sequence that was fed nothing.
    pub fn new(shape: &DecoderShape) -> Self {
        Self { position: 0, layers: vec![None; shape.layers] }
    }

    /// Returns how many positions are kept.
    fn past(&self) -> Result<usize> {
        self.layers.first().and_then(Option::as_ref).map_or(Ok(0), |[keys, _]| keys.dim(2))
    }
}

/// Computes the outputs of the last norm, `[T][C]`, of a sequence's next tokens.
pub fn continued(
    parameters: &[Tensor],
    shape: &DecoderShape,
    past: &mut KeyValues,
    tokens: &[u32],
) -> Result<Tensor> {
    let mut decoder = ShapedParameters { shape, left: parameters.iter() };
    let table = decoder.next();
    let x = embed(table, tokens)?.unsqueeze(0)?;
    decoder.run(table, x, None, Some(past))?.squeeze(0)
}

/// Keys that a row sees, and from where.
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

    /// Computes the outputs of the last norm, `[B][T][C]`, from embeddings.
    fn run(
        &mut self,
        table: &'a Tensor,
        mut x: Tensor,
        vectors: Option<&Tensor>,
        mut past: Option<&mut KeyValues>,
    ) -> Result<Tensor> {
        let (shape, (b, t, _)) = (self.shape, x.dims3()?);
        let (device, dtype) = (table.device(), table.dtype());
        let k = vectors.map_or(Ok(0), |vectors| vectors.dim(0))?;
        let (start, kept) = match &past {
            Some(past) => (past.position, past.past()?),
            None => (0, 0),
        };
        let rotary = match shape.positions {
            PositionKind::Rotary(rotary) => {
                Some(RotaryTables::new(rotary, k, start..start + t, device, dtype)?)
            }
            PositionKind::Learned(_) => {
                x = x.broadcast_add(&self.next().narrow(0, start, t)?)?;
                None
            }
        };
        if let Some(vectors) = vectors {
            x = Tensor::cat(&[vectors.broadcast_left(b)?, x], 1)?;
        }
        let mask = mask(shape, k, kept, k + t, device, dtype)?;
        let sight = Sight { rotary, vectors: k, mask };
        let final_norm = self.norm(shape.norm);
        if !shape.tied {
            self.next(); // the head
        }
        for i in 0..shape.layers {
            x = self.layer(&x, &sight, past.as_mut().map(|past| &mut past.layers[i]))?;
        }
        if let Some(past) = past {
            past.position += t;
        }
        final_norm.apply(&x.narrow(1, k, t)?)
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

    fn layer(
        &mut self,
        x: &Tensor,
        sight: &Sight,
        past: Option<&mut Option<[Tensor; 2]>>,
    ) -> Result<Tensor> {
        let shape = self.shape;
        let normed = self.norm(shape.norm).apply(x)?;
        let qkv = self.linear(&normed, shape.attention_bias)?;
        let qk_norms =
            shape.has_qk_norms.then(|| [self.norm(NormKind::Rms), self.norm(NormKind::Rms)]);
        let attended = attend(&qkv, shape.attention, qk_norms, sight, past)?;
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

/// Returns 0 where a query sees a key, else minus infinity: `[n][past + n]`; the first k of n are
/// steering vectors.
fn mask(
    shape: &DecoderShape,
    k: usize,
    past: usize,
    n: usize,
    device: &Device,
    dtype: DType,
) -> Result<Tensor> {
    let keys = past + n;
    let sees = |at: usize| {
        let (query, key) = (past + at / keys, at % keys);
        key <= query && (key < k || query - key < shape.attention.window)
    };
    let mask = (0..n * keys).map(|at| if sees(at) { 0.0 } else { f32::NEG_INFINITY });
    Tensor::from_iter(mask, device)?.reshape((n, keys))?.to_dtype(dtype)
}

/// Computes attention: `[B][T][H * D]`. qkv: `[B][T][(H + 2 * G) * D]`
fn attend(
    qkv: &Tensor,
    shape: AttentionShape,
    qk_norms: Option<[Norm<'_>; 2]>,
    sight: &Sight,
    past: Option<&mut Option<[Tensor; 2]>>,
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
    let mut keys = rotated(&part(heads, kv_heads, k_norm)?)?;
    let mut values = part(heads + kv_heads, kv_heads, None)?;
    if let Some(past) = past {
        (keys, values) = after(past, keys, values, shape.window)?;
    }
    let n = keys.dim(2)?;
    let keys = keys.reshape((b * kv_heads, n, d))?;
    let values = values.reshape((b * kv_heads, n, d))?;
    let scores = |queries: &Tensor, first: usize, n: usize| {
        grouped(queries)?.matmul(&keys.narrow(1, first, n)?.t()?)
    };
    // No query is rotated against a vector's key.
    let scores = match sight.vectors {
        0 => scores(&rotated(&queries)?, 0, n)?,
        k => {
            let of_vectors = scores(&queries, 0, k)?;
            Tensor::cat(&[of_vectors, scores(&rotated(&queries)?, k, n - k)?], D::Minus1)?
        }
    };
    let scores = (scores / (d as f64).sqrt())?;
    let scores = scores.reshape((b, heads, t, n))?.broadcast_add(&sight.mask)?;
    let p = log_softmax(&scores)?.exp()?.reshape((b * kv_heads, group * t, n))?;
    let out = p.matmul(&values)?.reshape((b, heads, t, d))?;
    out.transpose(1, 2)?.contiguous()?.reshape((b, t, heads * d))
}

/// Rounds keys and values to bfloat16, and puts those of the past before them, which becomes those that
/// the next token's window sees.
fn after(
    past: &mut Option<[Tensor; 2]>,
    keys: Tensor,
    values: Tensor,
    window: usize,
) -> Result<(Tensor, Tensor)> {
    let rounded = |x: &Tensor| x.to_dtype(DType::BF16)?.to_dtype(x.dtype());
    let (mut keys, mut values) = (rounded(&keys)?, rounded(&values)?);
    if let Some([before, values_before]) = past {
        keys = Tensor::cat(&[&*before, &keys], 2)?;
        values = Tensor::cat(&[&*values_before, &values], 2)?;
    }
    let n = keys.dim(2)?;
    let kept = n.min(window.saturating_sub(1).max(1));
    let last = |x: &Tensor| x.narrow(2, n - kept, kept)?.contiguous();
    *past = Some([last(&keys)?, last(&values)?]);
    Ok((keys, values))
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
        positions: Range<usize>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let RotaryConfig { dims, theta, scaling } = config;
        let (rotary, pairs, n) =
            (Rotary::new(dims, theta, scaling), dims / 2, vectors + positions.len());
        let (mut cos, mut sin) = (vec![1.0; n * pairs], vec![0.0; n * pairs]);
        let rows = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs)).skip(vectors);
        positions.zip(rows).for_each(|(at, (cos, sin))| rotary.at(at as u32, cos, sin));
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
