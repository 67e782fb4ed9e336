//! Rule 7: attention of one query row over its lane's window of cached keys and values, and over those
//! of steering vectors (section 21), which every query sees.

use super::arch::{Isa, Kernel, LANES, Simd};
use super::exp::softmax_parts;
use super::kv_cache::{KvCache, KvElement};
use super::lanewise::map_in_place;
use std::ops::Range;

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

/// A row that attends, its key and value already stored.
pub struct QueryRow<'a, E> {
    /// Lane and position.
    pub lane: usize,
    /// Position in it.
    pub position: usize,
    /// `[heads][head_dim]`
    pub q: &'a [f32],
    /// Keys and values that it sees beside the positions of its lane.
    pub pinned: Option<Pinned<'a, E>>,
}

/// Keys and values that every row sees, after those of its lane.
pub struct Pinned<'a, E> {
    /// Keys and values: positions `0..count` of lane 0.
    pub cache: &'a KvCache<E>,
    /// How many there are, one at least.
    pub count: usize,
    /// The row's query for them: `[heads][head_dim]`.
    pub q: &'a [f32],
}

/// One row; out: `[heads][head_dim]`.
pub fn attention<E: KvElement>(
    isa: Isa,
    shape: &AttentionShape,
    cache: &KvCache<E>,
    row: &QueryRow<'_, E>,
    out: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    isa.run(Attention { shape, cache, row, out, scratch });
}

struct Attention<'a, E> {
    shape: &'a AttentionShape,
    cache: &'a KvCache<E>,
    row: &'a QueryRow<'a, E>,
    out: &'a mut [f32],
    scratch: &'a mut AttentionScratch,
}

impl<E: KvElement> Kernel for Attention<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AttentionShape { heads, kv_heads, head_dim, window, scale } = *self.shape;
        let QueryRow { lane, position, q, pinned } = self.row;
        let first = (position + 1).saturating_sub(window);
        let count = position + 1 - first;
        let seen = KeyRange { cache: self.cache, lane: *lane, head: 0, first, count };
        let also_seen = pinned.as_ref().map(|Pinned { cache, count, .. }| KeyRange {
            cache,
            lane: 0,
            head: 0,
            first: 0,
            count: *count,
        });
        let stride = seen.block_positions() + also_seen.map_or(0, |seen| seen.block_positions());
        self.scratch.scores.resize(GROUP * stride, 0.0);
        let group = heads / kv_heads * head_dim;
        let pinned_q = pinned.as_ref().map_or(*q, |pinned| pinned.q);
        let rows = q.chunks(group).zip(pinned_q.chunks(group)).zip(self.out.chunks_mut(group));
        for (head, ((q, pinned_q), out)) in rows.enumerate() {
            let seen = KeyRange { head, ..seen };
            let also_seen = also_seen.map(|seen| KeyRange { head, ..seen });
            let scores = &mut self.scratch.scores;
            let part = GROUP * head_dim;
            let parts = q.chunks(part).zip(pinned_q.chunks(part)).zip(out.chunks_mut(part));
            for ((q, pinned_q), out) in parts {
                let heads = Heads { seen, also_seen, scale, q, pinned_q, stride };
                match q.len() / head_dim {
                    4 => heads.attend::<S, 4>(s, out, scores),
                    3 => heads.attend::<S, 3>(s, out, scores),
                    2 => heads.attend::<S, 2>(s, out, scores),
                    _ => heads.attend::<S, 1>(s, out, scores),
                }
            }
        }
    }
}

/// Positions `first..first + count` of one key/value head of a lane.
struct KeyRange<'a, E> {
    cache: &'a KvCache<E>,
    lane: usize,
    head: usize,
    first: usize,
    count: usize,
}

impl<E> Clone for KeyRange<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for KeyRange<'_, E> {}

impl<'a, E: KvElement> KeyRange<'a, E> {
    /// Positions of the blocks that hold the range.
    fn block_positions(&self) -> usize {
        ((self.first + self.count - 1) / LANES - self.first / LANES + 1) * LANES
    }

    /// Values of the range's positions, in two parts: before and after the ring's end.
    #[inline(always)]
    fn values(self) -> [&'a [[E; LANES]]; 2] {
        let values = self.cache.values(self.lane, self.head);
        let (vectors, ring) = (self.cache.value_vectors(), self.cache.positions());
        let slot = self.first % ring;
        let before_wrap = self.count.min(ring - slot);
        [
            &values[slot * vectors..][..before_wrap * vectors],
            &values[..(self.count - before_wrap) * vectors],
        ]
    }

    /// scores[g][to + j] := chain over d of fma(q[g][d], k[j][d]), for whole blocks of sixteen
    /// positions, up to four at a time.
    #[inline(always)]
    fn score<S: Simd, const G: usize>(
        &self,
        s: S,
        q: &[f32],
        scores: &mut [f32],
        stride: usize,
        to: usize,
    ) {
        let end = self.block_positions();
        let mut at = 0;
        while at < end {
            at += match (end - at) / LANES {
                4.. if G == 1 && stay_in_registers::<S>(4) => {
                    self.score_blocks::<S, G, 4>(s, q, scores, stride, (at, to))
                }
                2.. if stay_in_registers::<S>(2 * G) => {
                    self.score_blocks::<S, G, 2>(s, q, scores, stride, (at, to))
                }
                _ => self.score_blocks::<S, G, 1>(s, q, scores, stride, (at, to)),
            };
        }
    }

    /// [`score`](Self::score) of `N` blocks from `at` on; returns their positions.
    #[inline(always)]
    fn score_blocks<S: Simd, const G: usize, const N: usize>(
        &self,
        s: S,
        q: &[f32],
        scores: &mut [f32],
        stride: usize,
        (at, to): (usize, usize),
    ) -> usize {
        let d = q.len() / G;
        let mut queries: [&[f32]; G] = [&[]; G];
        for (g, query) in queries.iter_mut().enumerate() {
            *query = &q[g * d..][..d];
        }
        let base = self.first / LANES * LANES + at;
        let mut blocks: [&[[E; LANES]]; N] = [&[]; N];
        for (n, block) in blocks.iter_mut().enumerate() {
            *block = &self.cache.key_block(self.lane, self.head, base + n * LANES)[..d];
        }
        let mut acc = [[s.splat(0.0); N]; G];
        for i in 0..d {
            for n in 0..N {
                let keys = E::load(s, &blocks[n][i]);
                for g in 0..G {
                    acc[g][n] = s.fma(s.splat(queries[g][i]), keys, acc[g][n]);
                }
            }
        }
        for (scores, acc) in scores.chunks_exact_mut(stride).zip(acc) {
            for (n, acc) in acc.into_iter().enumerate() {
                s.store(acc, block_mut(scores, to + at + n * LANES));
            }
        }
        N * LANES
    }
}

/// Query heads that share a key/value head and are worked on together.
struct Heads<'a, E> {
    seen: KeyRange<'a, E>,
    also_seen: Option<KeyRange<'a, E>>,
    scale: f32,
    /// [G][D], and for the keys that are also seen.
    q: &'a [f32],
    pinned_q: &'a [f32],
    /// Scores kept for a head.
    stride: usize,
}

impl<E: KvElement> Heads<'_, E> {
    /// Scores, softmax and values of `G` query heads. out: [G][D]; scores: [G][stride].
    #[inline(always)]
    fn attend<S: Simd, const G: usize>(&self, s: S, out: &mut [f32], scores: &mut [f32]) {
        let Self { seen, also_seen, scale, q, pinned_q, stride } = *self;
        seen.score::<S, G>(s, q, scores, stride, 0);
        let skip = seen.first % LANES;
        let mut count = seen.count;
        if let Some(also_seen) = also_seen {
            also_seen.score::<S, G>(s, pinned_q, scores, stride, skip + count);
            count += also_seen.count;
        }
        let mut normalisers = [0.0; G];
        for (scores, r) in scores.chunks_exact_mut(stride).zip(&mut normalisers) {
            let scores = &mut scores[skip..skip + count];
            map_in_place!(s, scores, |x| s.mul(x, s.splat(scale)));
            *r = 1.0 / softmax_parts(s, scores);
        }
        let probabilities: [&[f32]; G] =
            std::array::from_fn(|g| &scores[g * stride + skip..][..count]);
        self.weigh_values(s, &probabilities, &normalisers, out);
    }

    /// out[g][i] := (chain over j of fma(p[g][j], v[j][i])) * r[g], up to four vectors of dimensions at
    /// a time.
    #[inline(always)]
    fn weigh_values<S: Simd, const G: usize>(
        &self,
        s: S,
        p: &[&[f32]; G],
        r: &[f32; G],
        out: &mut [f32],
    ) {
        let vectors = self.seen.cache.value_vectors();
        let mut from = 0;
        while from < vectors {
            from += match vectors - from {
                4.. if stay_in_registers::<S>(4 * G) => self.weigh::<S, G, 4>(s, p, r, from, out),
                2.. if stay_in_registers::<S>(2 * G) => self.weigh::<S, G, 2>(s, p, r, from, out),
                _ => self.weigh::<S, G, 1>(s, p, r, from, out),
            };
        }
    }

    /// Dimensions `16 * from..16 * (from + N)` of [`Heads::weigh_values`]; returns N.
    #[inline(always)]
    fn weigh<S: Simd, const G: usize, const N: usize>(
        &self,
        s: S,
        p: &[&[f32]; G],
        r: &[f32; G],
        from: usize,
        out: &mut [f32],
    ) -> usize {
        let vectors = self.seen.cache.value_vectors();
        let [before, after] = self.seen.values();
        let (wrap, count) = (before.len() / vectors, self.seen.count);
        let mut acc = [[s.splat(0.0); N]; G];
        for (js, values) in [(0..wrap, before), (wrap..count, after)] {
            add_weighed(s, p, js, values.chunks_exact(vectors), from, &mut acc);
        }
        if let Some(also_seen) = self.also_seen {
            let [values, _] = also_seen.values();
            let js = count..count + also_seen.count;
            add_weighed(s, p, js, values.chunks_exact(vectors), from, &mut acc);
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
}

/// acc[g][n] := chain over j of fma(p[g][j], v[j][from + n]) from acc[g][n] on. rows: those of `js`.
#[inline(always)]
fn add_weighed<'v, S: Simd, E: KvElement, const G: usize, const N: usize>(
    s: S,
    p: &[&[f32]; G],
    js: Range<usize>,
    rows: impl Iterator<Item = &'v [[E; LANES]]>,
    from: usize,
    acc: &mut [[S::V; N]; G],
) {
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

/// Whether so many sums stay in registers, with a widened operand: the more there are, the less one waits for the last.
#[inline(always)]
const fn stay_in_registers<S: Simd>(sums: usize) -> bool {
    sums < S::ACCUMULATORS
}

#[inline(always)]
fn block_mut(x: &mut [f32], at: usize) -> &mut [f32; LANES] {
    x[at..].first_chunk_mut().expect("scores are whole blocks")
}
