//! Order v1 in plain safe Rust: the definition of the right bits, and the oracle of the kernels'
//! tests.
//!
//! Each function is the numbered rule of `docs/numerics.md`, one scalar operation after the other.
//! Nothing here is fast.

use super::fma::fma;

/// Rule 1: `y[n] = chain over k of fma(x[k], w[n][k], acc)`, starting from `bias[n]`.
///
/// x: `[K]`, w: `[N][K]` row-major, bias: `[N]`; returns `[N]`.
pub fn matmul_row(x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
    let chain =
        |(row, &b): (&[f32], &f32)| x.iter().zip(row).fold(b, |acc, (&x, &w)| fma(x, w, acc));
    w.chunks_exact(x.len()).zip(bias).map(chain).collect()
}

/// Rule 2's tree over sixteen lane sums.
fn tree(a: [f32; 16]) -> f32 {
    let b: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
    let c: [f32; 4] = std::array::from_fn(|i| b[i] + b[i + 4]);
    (c[0] + c[2]) + (c[1] + c[3])
}

/// Rule 2: sixteen striped sums from +0, then a fixed tree.
pub fn sum16(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, &x) in x.iter().enumerate() {
        lanes[i % 16] += x;
    }
    tree(lanes)
}

/// Rule 2 with squares: lane l takes `fma(x, x, lane)`.
pub fn sum16_squares(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, &x) in x.iter().enumerate() {
        lanes[i % 16] = fma(x, x, lanes[i % 16]);
    }
    tree(lanes)
}

/// Rule 3: layer norm of x: `[C]` with gain `g` and bias `b`.
pub fn layer_norm(x: &[f32], g: &[f32], b: &[f32], eps: f32) -> Vec<f32> {
    let n = x.len() as f32;
    let mean = sum16(x) / n;
    let centred: Vec<f32> = x.iter().map(|x| x - mean).collect();
    let r = 1.0 / (sum16_squares(&centred) / n + eps).sqrt();
    centred.iter().zip(g).zip(b).map(|((d, &g), &b)| fma(d * r, g, b)).collect()
}

/// Rule 3: RMS norm of x: `[C]` with gain `g`.
pub fn rms_norm(x: &[f32], g: &[f32], eps: f32) -> Vec<f32> {
    let r = 1.0 / (sum16_squares(x) / x.len() as f32 + eps).sqrt();
    x.iter().zip(g).map(|(x, g)| (x * r) * g).collect()
}

/// Rule 4: e^x, relative error below 2.4e-7 on [-87, 88]; 0 below, e^88 above; e^-87 of a NaN.
pub fn exp(x: f32) -> f32 {
    if x < -87.0 {
        return 0.0;
    }
    let x = if x > 88.0 { 88.0 } else { greater(x, -87.0) };
    let magic = f32::from_bits(0x4b40_0000);
    let t = fma(x, f32::from_bits(0x3fb8_aa3b), magic);
    let n = t - magic;
    let r = fma(n, f32::from_bits(0xbf31_7200), x);
    let r = fma(n, f32::from_bits(0xb5bf_be8e), r);
    let coefficients =
        [0x3c08_8888, 0x3d2a_aaab, 0x3e2a_aaab, 0x3f00_0000, 0x3f80_0000, 0x3f80_0000];
    let p =
        coefficients.iter().fold(f32::from_bits(0x3ab6_0b61), |p, &c| fma(p, r, f32::from_bits(c)));
    p * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

/// Rule 5: x / (1 + e^-x).
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Rule 5: erf(x / sqrt 2) by Abramowitz and Stegun 7.1.26, and e^(-x * x / 2).
fn erf_and_bell(x: f32) -> (f32, f32) {
    let z = x * f32::from_bits(0x3f35_04f3);
    let u = if z < 0.0 { -z } else { z };
    let t = 1.0 / fma(f32::from_bits(0x3ea7_ba05), u, 1.0);
    let a = [0xbfba_00e3, 0x3fb5_f0e3, 0xbe91_a98f, 0x3e82_7906];
    let p = a.iter().fold(f32::from_bits(0x3f87_dc22), |p, &a| fma(p, t, f32::from_bits(a)));
    let bell = exp(-(u * u));
    let tail = 1.0 - (p * t) * bell;
    (if z < 0.0 { -tail } else { tail }, bell)
}

/// Rule 5: GELU by the error function, Abramowitz and Stegun 7.1.26; absolute error below 5e-7.
pub fn gelu_erf(x: f32) -> f32 {
    (0.5 * x) * (1.0 + erf_and_bell(x).0)
}

/// Rule 19: the derivative of [`gelu_erf`].
pub fn gelu_erf_slope(x: f32) -> f32 {
    let (erf, bell) = erf_and_bell(x);
    fma(x * f32::from_bits(0x3ecc_422a), bell, 0.5 * (1.0 + erf))
}

/// Rule 5: the tanh of GELU by tanh.
fn tanh_of_cubic(x: f32) -> f32 {
    let cubic = fma((x * x) * x, f32::from_bits(0x3d37_2713), x);
    let u = cubic * f32::from_bits(0x3f4c_422a);
    1.0 - 2.0 / (exp(u + u) + 1.0)
}

/// Rule 5: GELU by tanh, as GPT-2 has it.
pub fn gelu_tanh(x: f32) -> f32 {
    (0.5 * x) * (1.0 + tanh_of_cubic(x))
}

/// Rule 19: the derivative of [`gelu_tanh`].
pub fn gelu_tanh_slope(x: f32) -> f32 {
    let t = tanh_of_cubic(x);
    let du = fma(x * x, f32::from_bits(0x3e09_5d4f), 1.0) * f32::from_bits(0x3f4c_422a);
    fma((0.5 * x) * (1.0 - t * t), du, 0.5 * (1.0 + t))
}

/// Rule 19: the sum of products, lane l takes `fma(x, y, lane)`.
pub fn dot16(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
        lanes[i % 16] = fma(x, y, lanes[i % 16]);
    }
    tree(lanes)
}

/// Rule 19: the gradients of x: `[C]` and of the gain, from that of [`rms_norm`]'s output.
pub fn rms_norm_backward(x: &[f32], g: &[f32], eps: f32, dy: &[f32]) -> [Vec<f32>; 2] {
    let c = x.len() as f32;
    let r = 1.0 / (sum16_squares(x) / c + eps).sqrt();
    let d_gain = dy.iter().zip(x).map(|(dy, x)| (dy * x) * r).collect();
    let w: Vec<f32> = dy.iter().zip(g).map(|(dy, g)| dy * g).collect();
    let pull = dot16(&w, x) * r * r * r / c;
    [w.iter().zip(x).map(|(w, &x)| fma(x, -pull, w * r)).collect(), d_gain]
}

/// Rule 19: the gradients of x: `[C]` and of the gain, from that of [`layer_norm`]'s output, which is
/// that of the bias.
pub fn layer_norm_backward(x: &[f32], g: &[f32], eps: f32, dy: &[f32]) -> [Vec<f32>; 2] {
    let c = x.len() as f32;
    let mean = sum16(x) / c;
    let centred: Vec<f32> = x.iter().map(|x| x - mean).collect();
    let r = 1.0 / (sum16_squares(&centred) / c + eps).sqrt();
    let n: Vec<f32> = centred.iter().map(|d| d * r).collect();
    let d_gain = dy.iter().zip(&n).map(|(dy, n)| fma(*dy, *n, 0.0)).collect();
    let w: Vec<f32> = dy.iter().zip(g).map(|(dy, g)| dy * g).collect();
    let (mean, along) = (sum16(&w) / c, dot16(&w, &n) / c);
    [w.iter().zip(&n).map(|(w, &n)| fma(n, -along, w - mean) * r).collect(), d_gain]
}

/// Rule 19: the gradient of x from dp, that of p = softmax(scale * x).
pub fn softmax_backward(p: &[f32], scale: f32, dp: &[f32]) -> Vec<f32> {
    let along = dot16(dp, p);
    dp.iter().zip(p).map(|(d, p)| ((d - along) * p) * scale).collect()
}

/// Rule 6: rotates the pairs `(x[i], x[i + D/2])` of one head x: `[D]` by cos, sin: `[D/2]`.
pub fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for i in 0..half {
        let (a, b) = (x[i], x[i + half]);
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

/// Rule 7: bfloat16 by round to nearest even on the bits, widened again.
pub fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    f32::from_bits(rounded & 0xffff_0000)
}

/// Compare and select.
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The greatest of x, in the order that shows where there are NaNs.
fn greatest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for at in 0..(x.len() / 16 + 1) * 16 {
        let x = x.get(at).copied().unwrap_or(f32::NEG_INFINITY);
        lanes[at % 16] = greater(lanes[at % 16], x);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, greater)
}

/// Rule 7: e^(s - max), their sum16, for scores `s`, in place; returns the sum.
pub fn softmax_parts(s: &mut [f32]) -> f32 {
    let max = greatest(s);
    s.iter_mut().for_each(|s| *s = exp(*s - max));
    sum16(s)
}

/// Rule 7: one head of one query over the keys and values that it sees, in order of position, and
/// after them those of steering vectors, for which it has another query.
///
/// qs: `[D]`; keys: `[T][D]`, each with its query; values: `[keys of both][D]`; returns `[D]`.
pub fn attention_head(qs: [&[f32]; 2], keys: [&[f32]; 2], values: &[f32], scale: f32) -> Vec<f32> {
    let d = qs[0].len();
    let score = |q: &[f32], k: &[f32]| q.iter().zip(k).fold(0.0, |acc, (&q, &k)| fma(q, k, acc));
    let scores = |(q, keys): (&'_ [f32], &'_ [f32])| -> Vec<f32> {
        keys.chunks_exact(d).map(|k| score(q, k) * scale).collect()
    };
    let mut p: Vec<f32> = qs.into_iter().zip(keys).flat_map(scores).collect();
    let r = 1.0 / softmax_parts(&mut p);
    let chain =
        |i: usize| p.iter().zip(values.chunks_exact(d)).fold(0.0, |acc, (&p, v)| fma(p, v[i], acc));
    (0..d).map(|i| chain(i) * r).collect()
}

/// Rule 9: integer counts of logits: `[V]`, each at least 1, summing to about 2^30.
pub fn counts(logits: &[f32]) -> Vec<u32> {
    let mut e = logits.to_vec();
    let scale = 1_073_741_824.0 / softmax_parts(&mut e);
    e.iter().map(|e| (e * scale) as u32 + 1).collect()
}

/// Rule 16: x: `[K]` as integers up to `limit` and their scale.
pub fn quantize(x: &[f32], limit: f32) -> (Vec<i32>, f32) {
    let greatest = x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
    let greatest = f32::from_bits(greatest);
    if !greatest.is_finite() {
        return (vec![0; x.len()], f32::INFINITY);
    }
    if greatest < 2f32.powi(-100) {
        return (vec![0; x.len()], 0.0);
    }
    let factor = limit / greatest;
    let integers = x.iter().map(|x| (x * factor).round_ties_even() as i32);
    (integers.collect(), greatest / limit)
}

/// Rule 16: activations of 8 bits. x: `[K]`, w: `[N][K]` with scales: `[N]`, bias: `[N]`.
pub fn matmul_w8a8_row(x: &[f32], w: &[i8], scales: &[f32], bias: &[f32]) -> Vec<f32> {
    let (q, scale) = quantize(x, 127.0);
    let sum = |w: &[i8]| dot(&q, w) as f32;
    finish(w.chunks_exact(x.len()).map(sum), scale, scales, bias)
}

/// Rule 16: activations of 16 bits, shapes as in [`matmul_w8a8_row`].
pub fn matmul_w8a16_row(x: &[f32], w: &[i8], scales: &[f32], bias: &[f32]) -> Vec<f32> {
    let (q, scale) = quantize(x, 32_767.0);
    let upper: Vec<i32> = q.iter().map(|q| q.div_euclid(256)).collect();
    let lower: Vec<i32> = q.iter().map(|q| q.rem_euclid(256)).collect();
    let sum = |w: &[i8]| fma(dot(&upper, w) as f32, 256.0, dot(&lower, w) as f32);
    finish(w.chunks_exact(x.len()).map(sum), scale, scales, bias)
}

/// The exact sum of products, which is within 32 bits.
fn dot(x: &[i32], w: &[i8]) -> i32 {
    let sum: i64 = x.iter().zip(w).map(|(&x, &w)| i64::from(x) * i64::from(w)).sum();
    i32::try_from(sum).expect("at most 2^16 products of bytes")
}

fn finish(sums: impl Iterator<Item = f32>, scale: f32, scales: &[f32], bias: &[f32]) -> Vec<f32> {
    let out = |((sum, s), b): ((f32, &f32), &f32)| fma(sum, scale * s, *b);
    sums.zip(scales).zip(bias).map(out).collect()
}

/// Four-bit weights in groups, as rule 26 has them.
pub struct Groups<'a> {
    /// 0 to 15: `[N][K]`.
    pub integers: &'a [u8],
    /// Inputs of a group.
    pub group: usize,
    /// `[N][groups]`
    pub scales: &'a [f32],
    /// `[N][groups]`, or empty for none.
    pub offsets: &'a [f32],
}

/// Rule 26: x: `[K]`, of `limit` 127 or 32,639 once quantized; bias: `[N]`; returns `[N]`.
pub fn matmul_int4_row(x: &[f32], limit: f32, w: &Groups<'_>, bias: &[f32]) -> Vec<f32> {
    let (q, scale) = quantize(x, limit);
    let groups = x.len().div_ceil(w.group);
    let output = |(n, (integers, bias)): (usize, (&[u8], &f32))| {
        let mut acc = 0.0;
        for (g, (q, integers)) in q.chunks(w.group).zip(integers.chunks(w.group)).enumerate() {
            let products = q.iter().zip(integers).map(|(&q, &w)| i64::from(q) * (i64::from(w) - 8));
            acc = fma(products.sum::<i64>() as f32, w.scales[n * groups + g], acc);
            if let Some(&offset) = w.offsets.get(n * groups + g) {
                acc = fma(q.iter().map(|&q| i64::from(q)).sum::<i64>() as f32, offset, acc);
            }
        }
        fma(acc, scale, *bias)
    };
    w.integers.chunks_exact(x.len()).zip(bias).enumerate().map(output).collect()
}

/// Rule 17: 1 / (1 + e^-x).
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Rule 17: tanh, by e^2x.
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(x + x) + 1.0)
}

/// Rule 17: the next h: `[H]` of a gated recurrent unit, and the values of its gates: `[3][H]`.
/// x, y: `[3][H]`.
pub fn gru_cell(x: &[f32], y: &[f32], h: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let n = h.len();
    let (mut gates, mut next) = (x.to_vec(), Vec::new());
    for i in 0..n {
        let reset = sigmoid(x[i] + y[i]);
        let update = sigmoid(x[n + i] + y[n + i]);
        let new = tanh(fma(reset, y[2 * n + i], x[2 * n + i]));
        next.push(fma(update, h[i] - new, new));
        (gates[i], gates[n + i], gates[2 * n + i]) = (reset, update, new);
    }
    (next, gates)
}

/// Rule 17: the next h and c: `[H]` of a long short-term memory, and the values of its gates: `[4][H]`.
/// x, y: `[4][H]`.
pub fn lstm_cell(x: &[f32], y: &[f32], c: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let n = c.len();
    let mut gates: Vec<f32> = x.iter().zip(y).map(|(x, y)| x + y).collect();
    for (gate, values) in gates.chunks_exact_mut(n).enumerate() {
        values.iter_mut().for_each(|x| *x = if gate == 2 { tanh(*x) } else { sigmoid(*x) });
    }
    let memory = |i: usize| fma(gates[n + i], c[i], gates[i] * gates[2 * n + i]);
    let memory: Vec<f32> = (0..n).map(memory).collect();
    let next = (0..n).map(|i| gates[3 * n + i] * tanh(memory[i])).collect();
    (next, memory, gates)
}
