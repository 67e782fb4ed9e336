//! Operands of the kernels: layers, tables, places and shapes, which say how long their buffers must be.
//!
//! Legend: as in `launch`.

use super::driver::{Buffer, Element, Stream};
use crate::error::Result;
use crate::ops::AttentionShape;

/// Keys that stand together: a ring has a multiple of so many positions.
const KEYS: usize = 32;

/// Weights of a linear layer: `[K][N]`, of integers `[ceil(K / 4)][N]` words of four.
pub enum Weights {
    /// Floats.
    F32(Buffer<f32>),
    /// Bits of binary16.
    F16(Buffer<u16>),
    /// Bits of bfloat16.
    Bf16(Buffer<u16>),
    /// Integers; activations of so many planes of 8 bits, one or two.
    Int8 {
        /// As bytes.
        words: Buffer<i8>,
        /// `[N]`
        scales: Buffer<f32>,
        /// Sums of each output's weights: `[N]`.
        sums: Buffer<i32>,
        /// 1 for activations of 8 bits, 2 for those of 16.
        planes: usize,
    },
}

/// A linear layer.
pub struct Product {
    /// Inputs.
    pub k: usize,
    /// Outputs.
    pub n: usize,
    /// Its weights.
    pub weights: Weights,
    /// `[N]`
    pub bias: Buffer<f32>,
}

impl Product {
    /// Panics unless the buffers are of the layer's size.
    pub(super) fn check(&self) {
        let Self { k, n, weights, bias } = self;
        assert_eq!(bias.len(), *n, "a bias for each output");
        match weights {
            Weights::F32(w) => assert_eq!(w.len(), k * n),
            Weights::F16(w) | Weights::Bf16(w) => assert_eq!(w.len(), k * n),
            Weights::Int8 { words, scales, sums, .. } => {
                assert_eq!(words.len(), k.next_multiple_of(4) * n);
                assert_eq!((scales.len(), sums.len()), (*n, *n));
            }
        }
    }
}

/// Rows of a table of vectors: number i of row t is at `t * row_stride + i * step`.
pub enum Table<'a> {
    /// Floats.
    F32(&'a Buffer<f32>, [usize; 2]),
    /// Bits of binary16.
    F16(&'a Buffer<u16>, [usize; 2]),
    /// Bits of bfloat16.
    Bf16(&'a Buffer<u16>, [usize; 2]),
    /// Outputs of a layer of integers, times their scales.
    Int8(&'a Product),
}

/// Numbers of rows of a call that were checked before they were written: each is one of what they count.
pub(super) struct Index {
    pub(super) buffer: Buffer<i32>,
    /// The greatest; 0 of none.
    pub(super) most: usize,
}

impl Index {
    fn new(stream: &Stream) -> Result<Self> {
        Ok(Self { buffer: stream.zeros(0)?, most: 0 })
    }

    fn write(&mut self, stream: &Stream, numbers: &[i32]) -> Result<()> {
        grow(stream, &mut self.buffer, numbers.len())?;
        self.most = numbers.iter().max().map_or(0, |&most| usize::try_from(most).unwrap_or(0));
        stream.write(&mut self.buffer, numbers)
    }
}

/// Where the rows of a call stand; kept between calls.
pub struct Places {
    pub(super) lanes: Index,
    pub(super) positions: Index,
    /// Rows of the tables of embeddings and of rotations.
    pub(super) entries: Index,
    pub(super) turns: Index,
    pub(super) rows: usize,
}

impl Places {
    /// No rows.
    pub fn new(stream: &Stream) -> Result<Self> {
        let index = || Index::new(stream);
        Ok(Self {
            lanes: index()?,
            positions: index()?,
            entries: index()?,
            turns: index()?,
            rows: 0,
        })
    }

    /// Becomes those of rows with these lanes and positions, rows of the table of embeddings (-1 for the first token's
    /// own vector), and rows of the tables of rotations: `[R]` each.
    ///
    /// # Panics
    /// Where the lengths differ, or a lane, position or turn is negative.
    pub fn write(
        &mut self,
        stream: &Stream,
        [lanes, positions, entries, turns]: [&[i32]; 4],
    ) -> Result<()> {
        self.rows = lanes.len();
        assert!([positions, entries, turns].iter().all(|numbers| numbers.len() == self.rows));
        let is_negative = |numbers: &[i32]| numbers.iter().any(|&number| number < 0);
        assert!(![lanes, positions, turns].into_iter().any(is_negative), "below 2^31");
        self.lanes.write(stream, lanes)?;
        self.positions.write(stream, positions)?;
        self.entries.write(stream, entries)?;
        self.turns.write(stream, turns)
    }

    /// Returns how many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Heads, and the ring of positions that keys and values have.
#[derive(Clone, Copy)]
pub struct HeadsShape {
    /// Dimensions of attention; the window is that of the session.
    pub attention: AttentionShape,
    /// Positions in the ring.
    pub ring: usize,
}

impl HeadsShape {
    /// Rings for lanes that see `attention.window` positions while up to `ahead` newer ones are already stored.
    pub fn new(attention: AttentionShape, ahead: usize) -> Self {
        Self { attention, ring: attention.window.saturating_add(ahead).div_ceil(KEYS) * KEYS }
    }

    /// Numbers that the keys of a lane take, and so do its values; `None` where no device has room.
    pub fn lane_len(&self) -> Option<usize> {
        let AttentionShape { kv_heads, head_dim, .. } = self.attention;
        self.ring.checked_mul(kv_heads * head_dim).filter(|&len| (len as u64) < 1 << 40)
    }

    /// Width of a row of queries, keys and values.
    pub(super) fn qkv(&self) -> usize {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.attention;
        (heads + 2 * kv_heads) * head_dim
    }
}

/// Panics unless the buffers have all rows and lanes.
pub(super) fn check_places(
    qkv: &Buffer<f32>,
    shape: &HeadsShape,
    places: &Places,
    caches: [&Buffer<u16>; 2],
) {
    assert!(qkv.len() >= places.rows * shape.qkv());
    let lane_len = shape.lane_len().expect("there are buffers of that length");
    let lanes = places.lanes.most + 1;
    assert!(caches.iter().all(|cache| cache.len() >= lanes * lane_len), "room for every lane");
}

/// Makes `buffer` at least `len` long; what it held is lost where it grows.
pub fn grow<T: Element>(stream: &Stream, buffer: &mut Buffer<T>, len: usize) -> Result<()> {
    if buffer.len() < len {
        *buffer = stream.zeros(len)?;
    }
    Ok(())
}
