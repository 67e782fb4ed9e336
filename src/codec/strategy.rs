//! Levels, and which chunks are worth running the language model for.
//!
//! All of it is the encoder's choice and written to the file, so it may change in any version.

use super::tokens;
use super::{ChunkOptions, Codec};
use crate::error::Result;

/// A way to code a chunk.
pub enum Strategy {
    /// By the adaptive model alone.
    Bytes {
        /// Tier of the adaptive model.
        tier: u8,
    },
    /// By the language model.
    Tokens {
        /// Lanes to step together.
        lanes: u8,
        /// Whether the adaptive model is mixed in.
        mix: bool,
        /// Whether to run the language model whatever a probe says of it.
        try_both: bool,
        /// Whether the head of the language model learns from the chunk, unless the stream says how it learns.
        learns: bool,
    },
}

/// In chunks up to this length the language model is run whatever a probe says: it costs little.
const SHORT: usize = 1 << 15;

/// In chunks from this length on what the head of the language model learns pays (docs/learning.md).
const LONG: usize = 1 << 19;

impl Strategy {
    /// The strategy of `options` for a chunk of `len` bytes.
    pub fn of(options: &ChunkOptions, len: usize) -> Self {
        match options.level {
            tier @ 1..=3 if options.mix => Self::Bytes { tier },
            level => Self::Tokens {
                lanes: options.lanes.unwrap_or_else(|| lanes(level, len)),
                mix: options.mix,
                try_both: level >= 7 || len <= SHORT,
                learns: level >= 8 && len >= LONG,
            },
        }
    }
}

/// Lanes for a chunk, 1 to 64: one for every so many bytes, up to what the level allows. Each costs
/// some bytes at its start, and together they make decoding fast (docs/levels.md has the
/// measurements).
fn lanes(level: u8, len: usize) -> u8 {
    let (bytes_per_lane, most) = match level {
        0..=4 => (1 << 12, 64),
        5 => (1 << 13, 32),
        6 | 7 => (1 << 14, 16),
        8 => (1 << 15, 16),
        _ => (1 << 16, 16),
    };
    (len / bytes_per_lane).clamp(1, most) as u8
}

/// Bytes of each piece of a chunk that the language model is tried on: it is slow, and knows all that it will ever know.
const LM_PROBE: usize = 1 << 10;

/// Returns the number of those pieces in a chunk of `len` bytes, 4 to 64: one lane each.
fn lm_probes(len: usize) -> u8 {
    (len >> 18).clamp(4, 64) as u8
}

/// The language model's cost at which it no longer helps the adaptive model, in multiples of the
/// latter's. Measured: at 2.2 times (a Russian text) mixing still gains 5 %, at 3.5 times (seismic
/// data) it loses 1 %, at 5 times (a log) it gains 1 %.
const LM_COST_RATIO_LIMIT: f64 = 6.0;

/// Bits per byte above which data is noise to the adaptive model, and mixing gains only what the
/// language model does.
const NOISE: f64 = 5.5;

/// Whether running the language model over `plain` (longer than [`SHORT`]), which the adaptive model alone
/// codes in `adaptive_len` bytes, may be worth its time: by its cost on a few pieces.
///
/// # Errors
/// Those of the language model.
pub fn lm_may_pay_off(codec: Codec<'_>, plain: &[u8], adaptive_len: usize) -> Result<bool> {
    let bits = |coded_len: usize, len: usize| 8.0 * coded_len as f64 / len as f64;
    let adaptive = bits(adaptive_len, plain.len());
    let probes = lm_probes(plain.len());
    let sample = pieces(plain, (probes.into(), LM_PROBE));
    let codec = Codec { parameters: &codec.parameters.fixed(), ..codec };
    let coded = tokens::encode(codec.quiet(), &sample, probes, false)?;
    let alone = bits(coded.payload.len(), sample.len());
    Ok(alone < if adaptive > NOISE { adaptive } else { LM_COST_RATIO_LIMIT * adaptive })
}

/// `n` pieces of `len` bytes, evenly over `plain`, or all of it where that is no more.
fn pieces(plain: &[u8], (n, len): (usize, usize)) -> Vec<u8> {
    if plain.len() <= n * len {
        return plain.to_vec();
    }
    let at = |i: usize| (plain.len() - len) / (n - 1) * i;
    (0..n).flat_map(|i| &plain[at(i)..][..len]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::{ChunkOptions, LONG, Strategy, lanes, pieces};

    #[test]
    fn long_chunks_learn_at_the_highest_levels() {
        for (level, len, expected) in
            [(9, LONG, true), (8, LONG, true), (8, LONG - 1, false), (7, LONG, false)]
        {
            let options = ChunkOptions { level, lanes: None, mix: true };
            let Strategy::Tokens { learns, .. } = Strategy::of(&options, len) else { panic!() };
            assert_eq!(learns, expected, "level {level}, {len} bytes");
        }
    }

    #[test]
    fn higher_levels_never_take_more_lanes() {
        for len in [1, 1000, 1 << 14, 1 << 16, 1 << 20, 1 << 24] {
            let by_level: Vec<u8> = (4..=9).map(|level| lanes(level, len)).collect();
            assert!(by_level.is_sorted_by(|a, b| a >= b), "{len}: {by_level:?}");
            assert!(by_level.iter().all(|lanes| (1..=64).contains(lanes)));
        }
    }

    #[test]
    fn pieces_are_spread_over_the_whole() {
        let plain: Vec<u8> = (0..100).collect();
        assert_eq!(pieces(&plain, (3, 2)), [0, 1, 49, 50, 98, 99]);
        assert_eq!(pieces(&plain, (4, 25)), plain);
    }
}
