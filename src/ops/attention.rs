//! Rule 7: attention of one query row over its lane's window of cached keys and values.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::exp::softmax_parts;
use super::kv_cache::{KvCache, KvElement};
use super::lanewise::map_in_place;

/// The shape of attention: `heads` query heads share `kv_heads` key/value heads in equal groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Positions that a query sees, its own included.
    pub window: usize,
    /// Factor on the scores.
    pub scale: f32,
}

/// Room for scores, kept between calls.
#[derive(Default)]
pub struct AttentionScratch {
    /// [heads of a group][positions from the first block on]
    scores: Vec<f32>,
}

/// Query heads worked on together: each key and value is loaded once for all of them.
const GROUP: usize = 4;

/// One row: q, out: `[heads][head_dim]`, at `position` of `lane`, whose key and value are already
/// stored.
pub fn attention<E: KvElement>(
    isa: Isa,
    shape: &AttentionShape,
    cache: &KvCache<E>,
    (lane, position): (usize, usize),
    q: &[f32],
    out: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    isa.run(Attention { shape, cache, lane, position, q, out, scratch });
}

struct Attention<'a, E> {
    shape: &'a AttentionShape,
    cache: &'a KvCache<E>,
    lane: usize,
    position: usize,
    q: &'a [f32],
    out: &'a mut [f32],
    scratch: &'a mut AttentionScratch,
}

impl<E: KvElement> Kernel for Attention<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AttentionShape { heads, kv_heads, head_dim, window, scale } = *self.shape;
        let first = (self.position + 1).saturating_sub(window);
        let seen = Seen { cache: self.cache, lane: self.lane, head: 0, first, last: self.position };
        let stride = (seen.last / LANES - first / LANES + 1) * LANES;
        self.scratch.scores.resize(GROUP * stride, 0.0);
        let group = heads / kv_heads;
        let rows = self.q.chunks(group * head_dim).zip(self.out.chunks_mut(group * head_dim));
        for (head, (q, out)) in rows.enumerate() {
            let seen = Seen { head, ..seen };
            let scores = &mut self.scratch.scores;
            let parts = q.chunks(GROUP * head_dim).zip(out.chunks_mut(GROUP * head_dim));
            for (q, out) in parts {
                match q.len() / head_dim {
                    4 => heads_together::<S, E, 4>(s, &seen, scale, q, out, scores, stride),
                    3 => heads_together::<S, E, 3>(s, &seen, scale, q, out, scores, stride),
                    2 => heads_together::<S, E, 2>(s, &seen, scale, q, out, scores, stride),
                    _ => heads_together::<S, E, 1>(s, &seen, scale, q, out, scores, stride),
                }
            }
        }
    }
}

/// The part of one key/value head that a query attends to: positions `first..=last`.
#[derive(Clone, Copy)]
struct Seen<'a, E> {
    cache: &'a KvCache<E>,
    lane: usize,
    head: usize,
    first: usize,
    last: usize,
}

/// Scores, softmax and values of `G` query heads. q, out: [G][D]; scores: [G][stride].
#[inline(always)]
fn heads_together<S: Simd, E: KvElement, const G: usize>(
    s: S,
    seen: &Seen<'_, E>,
    scale: f32,
    q: &[f32],
    out: &mut [f32],
    scores: &mut [f32],
    stride: usize,
) {
    score_blocks::<S, E, G>(s, seen, q, scores, stride);
    let skip = seen.first % LANES;
    let count = seen.last + 1 - seen.first;
    let mut normalisers = [0.0; G];
    for (scores, r) in scores.chunks_exact_mut(stride).zip(&mut normalisers) {
        let scores = &mut scores[skip..skip + count];
        map_in_place!(s, scores, |x| s.mul(x, s.splat(scale)));
        *r = 1.0 / softmax_parts(s, scores);
    }
    let probabilities: [&[f32]; G] =
        std::array::from_fn(|g| &scores[g * stride + skip..g * stride + skip + count]);
    weigh_values(s, seen, &probabilities, &normalisers, out);
}

/// scores[g][j] := chain over d of fma(q[g][d], k[j][d]), for whole blocks of sixteen positions,
/// two at a time.
#[inline(always)]
fn score_blocks<S: Simd, E: KvElement, const G: usize>(
    s: S,
    seen: &Seen<'_, E>,
    q: &[f32],
    scores: &mut [f32],
    stride: usize,
) {
    let d = q.len() / G;
    let q: [&[f32]; G] = std::array::from_fn(|g| &q[g * d..][..d]);
    let base = seen.first / LANES * LANES;
    let mut at = 0;
    while at < stride {
        let second = if at + LANES < stride { at + LANES } else { at };
        let block = |at| &seen.cache.key_block(seen.lane, seen.head, base + at)[..d];
        let (a, b) = (block(at), block(second));
        let mut acc = [[s.splat(0.0); 2]; G];
        for i in 0..d {
            let (ka, kb) = (E::load(s, &a[i]), E::load(s, &b[i]));
            for g in 0..G {
                let x = s.splat(q[g][i]);
                acc[g][0] = s.fma(x, ka, acc[g][0]);
                acc[g][1] = s.fma(x, kb, acc[g][1]);
            }
        }
        for (scores, acc) in scores.chunks_exact_mut(stride).zip(acc) {
            s.store(acc[0], block_mut(scores, at));
            s.store(acc[1], block_mut(scores, second));
        }
        at += 2 * LANES;
    }
}

#[inline(always)]
fn block_mut(x: &mut [f32], at: usize) -> &mut [f32; LANES] {
    x[at..].first_chunk_mut().expect("scores are whole blocks")
}

/// out[g][i] := (chain over j of fma(p[g][j], v[j][i])) * r[g], four vectors of dimensions at a
/// time.
#[inline(always)]
fn weigh_values<S: Simd, E: KvElement, const G: usize>(
    s: S,
    seen: &Seen<'_, E>,
    p: &[&[f32]; G],
    r: &[f32; G],
    out: &mut [f32],
) {
    let vectors = seen.cache.value_vectors();
    let mut from = 0;
    while from < vectors {
        let n = match vectors - from {
            n if S::ACCUMULATORS >= 16 && n >= 4 => weigh::<S, E, G, 4>(s, seen, p, r, from, out),
            _ => weigh::<S, E, G, 1>(s, seen, p, r, from, out),
        };
        from += n;
    }
}

/// Dimensions `16 * from..16 * (from + N)` of [`weigh_values`]; returns N.
#[inline(always)]
fn weigh<S: Simd, E: KvElement, const G: usize, const N: usize>(
    s: S,
    seen: &Seen<'_, E>,
    p: &[&[f32]; G],
    r: &[f32; G],
    from: usize,
    out: &mut [f32],
) -> usize {
    let values = seen.cache.values(seen.lane, seen.head);
    let (vectors, ring) = (seen.cache.value_vectors(), seen.cache.positions());
    let count = p[0].len();
    let slot = seen.first % ring;
    let before_wrap = count.min(ring - slot);
    let mut acc = [[s.splat(0.0); N]; G];
    for (js, slot) in [(0..before_wrap, slot), (before_wrap..count, 0)] {
        let rows = values[slot * vectors..].chunks_exact(vectors);
        for (j, row) in js.zip(rows) {
            let row = &row[from..from + N];
            for g in 0..G {
                let x = s.splat(p[g][j]);
                for n in 0..N {
                    acc[g][n] = s.fma(x, E::load(s, &row[n]), acc[g][n]);
                }
            }
        }
    }
    let d = out.len() / G;
    for ((out, acc), &r) in out.chunks_exact_mut(d).zip(acc).zip(r) {
        for (out, acc) in out.chunks_mut(LANES).skip(from).zip(acc) {
            let mut block = [0.0; LANES];
            s.store(s.mul(acc, s.splat(r)), &mut block);
            out.copy_from_slice(&block[..out.len()]);
        }
    }
    N
}
