//! Keys and values of past positions, laid out for the attention kernel; a ring over positions.

use super::arch::{LANES, Simd};

/// How a key or value is kept.
pub trait KvElement: Copy + Default + Send + Sync + 'static {
    /// Rounds `x` to what is kept.
    fn round(x: f32) -> Self;
    /// The kept value, widened exactly.
    fn widen(self) -> f32;
    /// Sixteen kept values, widened exactly.
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V;
}

/// The bits of a bfloat16.
pub type Bf16 = u16;

/// bfloat16, as in coded archives: rule 7's round to nearest even on the bits.
impl KvElement for Bf16 {
    #[inline(always)]
    fn round(x: f32) -> Self {
        let bits = x.to_bits();
        (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V {
        s.load_bf16(x)
    }
}

/// Full precision, for parity tests with other implementations.
impl KvElement for f32 {
    #[inline(always)]
    fn round(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V {
        s.load(x)
    }
}

/// The keys and values of one layer: `L` lanes, `H` key/value heads of `D` dimensions.
///
/// Keys stand in blocks of sixteen positions, dimension-major (`[lane][head][block][D][16]`), so
/// that one vector holds one dimension of sixteen keys; values stand position-major
/// (`[lane][head][position][D rounded up to 16]`). Position p lives at p modulo the ring's length,
/// a multiple of sixteen.
pub struct KvCache<E> {
    heads: usize,
    head_dim: usize,
    blocks: usize,
    keys: Vec<[E; LANES]>,
    values: Vec<[E; LANES]>,
}

impl<E: KvElement> KvCache<E> {
    /// Room for `lanes` lanes, each to see `window` positions while up to `ahead` newer ones are
    /// already stored.
    pub fn new(lanes: usize, heads: usize, head_dim: usize, window: usize, ahead: usize) -> Self {
        let blocks = (window + ahead).div_ceil(LANES) + 1;
        let rings = lanes * heads * blocks;
        Self {
            heads,
            head_dim,
            blocks,
            keys: vec![[E::default(); LANES]; rings * head_dim],
            values: vec![[E::default(); LANES]; rings * head_dim.next_multiple_of(LANES)],
        }
    }

    /// Vectors of one position's values of one head.
    pub(super) fn value_vectors(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Positions in the ring.
    pub(super) fn positions(&self) -> usize {
        self.blocks * LANES
    }

    /// The key block that holds `position`: [D][16].
    #[inline(always)]
    pub(super) fn key_block(&self, lane: usize, head: usize, position: usize) -> &[[E; LANES]] {
        let block = position / LANES % self.blocks;
        let at = ((lane * self.heads + head) * self.blocks + block) * self.head_dim;
        &self.keys[at..at + self.head_dim]
    }

    /// The values of all positions of the ring: [positions][vectors][16].
    #[inline(always)]
    pub(super) fn values(&self, lane: usize, head: usize) -> &[[E; LANES]] {
        let ring = self.positions() * self.value_vectors();
        &self.values[(lane * self.heads + head) * ring..][..ring]
    }

    /// Stores one row. k, v: `[H][D]`.
    pub fn store(&mut self, lane: usize, position: usize, k: &[f32], v: &[f32]) {
        let (d, vectors, ring) = (self.head_dim, self.value_vectors(), self.positions());
        let slot = position % ring;
        for (head, (k, v)) in k.chunks_exact(d).zip(v.chunks_exact(d)).enumerate() {
            let at = (lane * self.heads + head) * self.blocks + slot / LANES;
            for (column, &k) in self.keys[at * d..][..d].iter_mut().zip(k) {
                column[slot % LANES] = E::round(k);
            }
            let at = ((lane * self.heads + head) * ring + slot) * vectors;
            let row = self.values[at..][..vectors].as_flattened_mut();
            row.iter_mut().zip(v).for_each(|(kept, &v)| *kept = E::round(v));
        }
    }

    /// Reads one row that is still in the ring. k, v: `[H][D]`.
    pub fn read(&self, lane: usize, position: usize, k: &mut [f32], v: &mut [f32]) {
        let (d, slot) = (self.head_dim, position % self.positions());
        for (head, (k, v)) in k.chunks_exact_mut(d).zip(v.chunks_exact_mut(d)).enumerate() {
            let columns = self.key_block(lane, head, slot);
            k.iter_mut().zip(columns).for_each(|(k, column)| *k = column[slot % LANES].widen());
            let vectors = self.value_vectors();
            let row = self.values(lane, head)[slot * vectors..][..vectors].as_flattened();
            v.iter_mut().zip(row).for_each(|(v, kept)| *v = kept.widen());
        }
    }

    /// Copies keys and values of lane `from`, into which nothing past its first `positions`
    /// positions was stored, to lane `to`.
    pub fn copy_lane(&mut self, from: usize, to: usize, positions: usize) {
        let blocks = positions.div_ceil(LANES).min(self.blocks);
        let (key, value) = (self.head_dim, LANES * self.value_vectors());
        for head in 0..self.heads {
            let [from, to] = [from, to].map(|lane| (lane * self.heads + head) * self.blocks);
            self.keys.copy_within(from * key..(from + blocks) * key, to * key);
            self.values.copy_within(from * value..(from + blocks) * value, to * value);
        }
    }
}
