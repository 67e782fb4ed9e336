//! Blocks of integers, each with its scales: those of four bits as they are, all to halves.
//!
//! A half is computed in binary32, each operation rounded, then rounded to binary16: its integer has at
//! most 8 bits, so that binary16 loses nothing that the block had to say.

use half::f16;

/// How a tensor's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// Values in the blocks of types whose names end in K.
const SUPER: usize = 256;

/// Values that share a scale in types of four bits.
pub const GROUP: usize = 32;

/// Groups of four-bit integers: value k of a group is (q - 8) * scale + offset.
#[derive(Default)]
pub struct FourBitGroups {
    /// Two a byte, the first in its low bits.
    pub integers: Vec<u8>,
    /// Of each group.
    pub scales: Vec<f32>,
    /// Of each group; none where all are 0.
    pub offsets: Vec<f32>,
}

impl FourBitGroups {
    /// Adds 32 integers, of which `integer` gives each.
    fn push_integers(&mut self, integer: impl Fn(usize) -> u8) {
        let pair = |i: usize| integer(2 * i) | integer(2 * i + 1) << 4;
        self.integers.extend((0..GROUP / 2).map(pair));
    }

    /// Adds a block of Q4_0, or of Q4_1, which has a minimum.
    fn push_block(&mut self, block: &[u8], has_minimum: bool) {
        let d = half(block, 0);
        self.scales.push(d);
        if has_minimum {
            self.offsets.push(8.0 * d + half(block, 2));
        }
        let nibbles = &block[if has_minimum { 4 } else { 2 }..];
        self.push_integers(|i| nibbles[i % 16] >> (i / 16 * 4) & 15);
    }

    /// Adds a block of Q4_K: eight groups, pairs of which share bytes.
    fn push_super_block(&mut self, block: &[u8]) {
        let (d, least) = (half(block, 0), half(block, 2));
        for group in 0..SUPER / GROUP {
            let (scale, minimum) = scale_and_minimum(&block[4..16], group);
            let d = d * f32::from(scale);
            self.scales.push(d);
            self.offsets.push(8.0 * d - least * f32::from(minimum));
            let nibbles = &block[16 + group / 2 * GROUP..];
            self.push_integers(|i| nibbles[i] >> (group % 2 * 4) & 15);
        }
    }
}

impl BlockType {
    /// Numbers in files, and names.
    const ALL: [(u32, Self, &str); 11] = [
        (0, Self::F32, "F32"),
        (1, Self::F16, "F16"),
        (2, Self::Q4_0, "Q4_0"),
        (3, Self::Q4_1, "Q4_1"),
        (6, Self::Q5_0, "Q5_0"),
        (7, Self::Q5_1, "Q5_1"),
        (8, Self::Q8_0, "Q8_0"),
        (12, Self::Q4K, "Q4_K"),
        (13, Self::Q5K, "Q5_K"),
        (14, Self::Q6K, "Q6_K"),
        (30, Self::Bf16, "BF16"),
    ];

    /// Returns the type of that number.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|(n, ..)| *n == number).map(|&(_, kind, _)| kind)
    }

    /// Returns the names of all types, for errors.
    pub fn names() -> String {
        Self::ALL.map(|(.., name)| name).join(", ")
    }

    /// Returns the values in a block and its bytes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (SUPER, 144),
            Self::Q5K => (SUPER, 176),
            Self::Q6K => (SUPER, 210),
        }
    }

    /// Whether values are integers of four bits, in groups of [`GROUP`].
    pub fn is_four_bits(self) -> bool {
        matches!(self, Self::Q4_0 | Self::Q4_1 | Self::Q4K)
    }

    /// Returns whole blocks of four-bit integers as they are computed with (`docs/numerics.md`, section 26).
    ///
    /// # Panics
    /// For other types.
    pub fn to_groups(self, bytes: &[u8]) -> FourBitGroups {
        assert!(self.is_four_bits(), "{self:?}");
        let (len, size) = self.block();
        let mut groups = FourBitGroups::default();
        let n = bytes.len() / size * len;
        groups.integers.reserve_exact(n / 2);
        groups.scales.reserve_exact(n / GROUP);
        groups.offsets.reserve_exact(if self == Self::Q4_0 { 0 } else { n / GROUP });
        for block in bytes.chunks_exact(size) {
            match self {
                Self::Q4K => groups.push_super_block(block),
                _ => groups.push_block(block, self == Self::Q4_1),
            }
        }
        groups
    }

    /// Returns the values of whole blocks as halves, little-endian.
    ///
    /// # Panics
    /// For types that are no blocks.
    pub fn to_halves(self, bytes: &[u8]) -> Vec<u8> {
        let (len, size) = self.block();
        let mut halves = Vec::with_capacity(bytes.len() / size * len * 2);
        let mut values = vec![0.0; len];
        for block in bytes.chunks_exact(size) {
            self.widen(block, &mut values);
            halves.extend(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()));
        }
        halves
    }

    /// Writes the values of a block.
    fn widen(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => unreachable!("floats are read as they are"),
            Self::Q8_0 => {
                let (d, q) = (half(block, 0), &block[2..]);
                out.iter_mut().zip(q).for_each(|(x, &q)| *x = d * f32::from(q as i8));
            }
            Self::Q4_0 => {
                let d = half(block, 0);
                nibbles(&block[2..], out, |q, _| d * (f32::from(q) - 8.0));
            }
            Self::Q4_1 => {
                let (d, m) = (half(block, 0), half(block, 2));
                nibbles(&block[4..], out, |q, _| d * f32::from(q) + m);
            }
            Self::Q5_0 => {
                let (d, high) = (half(block, 0), word(block, 2));
                nibbles(&block[6..], out, |q, i| d * (f32::from(fifth(q, high, i)) - 16.0));
            }
            Self::Q5_1 => {
                let (d, m, high) = (half(block, 0), half(block, 2), word(block, 4));
                nibbles(&block[8..], out, |q, i| d * f32::from(fifth(q, high, i)) + m);
            }
            Self::Q4K | Self::Q5K => self.widen_k(block, out),
            Self::Q6K => widen_q6_k(block, out),
        }
    }

    /// Eight groups of 32 with a scale and a minimum each, of Q4_K and Q5_K.
    fn widen_k(self, block: &[u8], out: &mut [f32]) {
        let (d, least, scales) = (half(block, 0), half(block, 2), &block[4..16]);
        let (high, low) = match self {
            Self::Q5K => (Some(&block[16..48]), &block[48..]),
            _ => (None, &block[16..]),
        };
        for (group, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, minimum) = scale_and_minimum(scales, group);
            let (d, m) = (d * f32::from(scale), least * f32::from(minimum));
            let low = &low[group / 2 * 32..][..32];
            for (i, (x, &byte)) in out.iter_mut().zip(low).enumerate() {
                let nibble = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
                let fifth = high.map_or(0, |high| high[i] >> group & 1);
                *x = d * f32::from(nibble | fifth << 4) - m;
            }
        }
    }
}

/// Sixteen groups of 16 with a scale each.
fn widen_q6_k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half(block, 208);
    for (i, x) in out.iter_mut().enumerate() {
        // In each half, 32 values share their bits' bytes with the 32 after, and so on.
        let (part, row, column) = (i / 128, i % 128 / 32, i % 32);
        let byte = low[64 * part + 32 * (row % 2) + column];
        let nibble = if row < 2 { byte & 15 } else { byte >> 4 };
        let two = high[32 * part + column] >> (2 * row) & 3;
        let q = f32::from(nibble | two << 4) - 32.0;
        *x = d * f32::from(scales[i / 16] as i8) * q;
    }
}

/// The 6-bit scale and minimum of a group, of which there are eight in twelve bytes.
fn scale_and_minimum(bytes: &[u8], group: usize) -> (u8, u8) {
    match group.checked_sub(4) {
        None => (bytes[group] & 63, bytes[group + 4] & 63),
        Some(upper) => (
            bytes[group + 4] & 15 | (bytes[upper] >> 6) << 4,
            bytes[group + 4] >> 4 | (bytes[group] >> 6) << 4,
        ),
    }
}

/// Writes 32 values of 16 bytes: the low nibbles first.
fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(u8, usize) -> f32) {
    for (i, x) in out.iter_mut().enumerate() {
        let byte = bytes[i % 16];
        *x = value(if i < 16 { byte & 15 } else { byte >> 4 }, i);
    }
}

/// A nibble with its fifth bit.
fn fifth(nibble: u8, high: u32, i: usize) -> u8 {
    nibble | ((high >> i & 1) as u8) << 4
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::Random;
    use crate::ops::four_bit_weight;

    /// Hashes by another implementation: `tests/oracle/gguf_blocks.py`.
    #[test]
    fn blocks_are_those_of_the_package_gguf() {
        let cases: [(BlockType, &[usize], &str); 8] = [
            (BlockType::Q4_0, &[0], "79016817743e9fef"),
            (BlockType::Q4_1, &[0, 2], "954e6f5c821ba9ad"),
            (BlockType::Q5_0, &[0], "36003d4b423807d4"),
            (BlockType::Q5_1, &[0, 2], "b4bbb65bf23ddc04"),
            (BlockType::Q8_0, &[0], "0ae7caedbd921c5d"),
            (BlockType::Q4K, &[0, 2], "1a69ecd181a03d88"),
            (BlockType::Q5K, &[0, 2], "1a01de954d804699"),
            (BlockType::Q6K, &[208], "2c0597ed468b3220"),
        ];
        for (kind, halves, expected) in cases {
            let (len, size) = kind.block();
            let mut random = Random::from_state(0);
            let mut bytes: Vec<u8> = (0..64 * size).map(|_| (random.bits() >> 56) as u8).collect();
            for block in bytes.chunks_exact_mut(size) {
                halves.iter().for_each(|at| block[at + 1] = block[at + 1] & 0x87 | 0x20);
            }
            let values = kind.to_halves(&bytes);
            assert_eq!(values.len(), 64 * len * 2, "{kind:?}");
            assert_eq!(blake3::hash(&values).to_hex()[..16], *expected, "{kind:?}");
            if kind.is_four_bits() {
                let groups = kind.to_groups(&bytes);
                assert_eq!(groups.integers.len(), 64 * len / 2, "{kind:?}");
                for (i, value) in values.as_chunks().0.iter().enumerate() {
                    let q = groups.integers[i / 2] >> (i % 2 * 4) & 15;
                    let offset = groups.offsets.get(i / GROUP).copied().unwrap_or(0.0);
                    let scale = groups.scales[i / GROUP];
                    let (found, half) =
                        (four_bit_weight(q, scale, offset), f16::from_le_bytes(*value).to_f32());
                    let near = 16.0 * scale.abs().max(offset.abs()) / 2048.0;
                    assert!((found - half).abs() <= near, "{kind:?}, {i}: {found} for {half}");
                }
            }
        }
    }
}
