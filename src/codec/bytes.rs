//! A chunk coded byte by byte, by the adaptive model alone.
//!
//! Layout: a byte with the model's tier - 1 in its low two bits and the log2 of its table's size
//! limit in the others, then the range coder's bytes (docs/format.md, section 7).

use super::range_coder::{RangeDecoder, RangeEncoder};
use super::token_trie::{BitCoder, Known};
use super::{Codec, Coded, Coding, Method, corrupt};
use crate::error::Result;
use crate::predict::{Mixed, MixingConfig};
use crate::profile::{Part, enter};

/// The adaptive model's strongest tier, the one that is mixed with the language model.
pub const BEST_TIER: u8 = 4;

/// Plain bytes between calls of `progress`, and looks at `stop`.
const PROGRESS_STEP: usize = 1 << 12;

/// The model of `tier` that a chunk of `plain_len` bytes begins with: it has read the prefix.
fn model(codec: Codec<'_>, tier: u8, table_log2: u32, plain_len: usize) -> Mixed {
    let _mixing = enter(Part::Mixing);
    let prefix = &codec.prefix.text;
    let lane_len = (prefix.len() + plain_len) as u32;
    let config = MixingConfig { tier, table_log2, with_lm: false, n_lanes: 1, lane_len };
    let mut mixed = Mixed::new(codec.isa, &config);
    prefix.iter().for_each(|&byte| _ = code_byte(&mut mixed, &mut Known, byte));
    mixed
}

/// The tier and the size limit of the table, log2, in a chunk's first byte.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where no encoder writes such a byte.
pub fn parameters(byte: u8) -> Result<(u8, u32)> {
    let (tier, table_log2) = ((byte & 3) + 1, u32::from(byte >> 2));
    if !(10..=MixingConfig::TABLE_LOG2).contains(&table_log2) {
        return Err(corrupt(format!("parameters of the adaptive model are {byte:#04x}")));
    }
    Ok((tier, table_log2))
}

/// Codes one byte: an encoder codes `byte`, a decoder returns what was coded.
fn code_byte(mixed: &mut Mixed, coder: &mut impl BitCoder, byte: u8) -> u8 {
    let mut coded = 0;
    for shift in (0..8).rev() {
        let p1 = mixed.bit(0, None);
        let bit = coder.code(byte >> shift & 1 == 1, p1);
        mixed.update(bit);
        coded = coded << 1 | u8::from(bit);
    }
    coded
}

/// Encodes `plain` (not empty) by the adaptive model of `tier`, 1..=4.
///
/// # Errors
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
pub fn encode(codec: Codec<'_>, plain: &[u8], tier: u8) -> Result<Coded<'static>> {
    let table_log2 = codec.parameters.table_log2;
    let mut mixed = model(codec, tier, table_log2.into(), plain.len());
    let mut encoder = RangeEncoder::default();
    let _mixing = enter(Part::Mixing); // and the coder, some 1 % of it: no span in so short a loop
    for part in plain.chunks(PROGRESS_STEP) {
        codec.stop.check()?;
        part.iter().for_each(|&byte| _ = code_byte(&mut mixed, &mut encoder, byte));
        (codec.progress)(part.len() as u64);
    }
    let parameters = table_log2 << 2 | (tier - 1);
    let payload = [&[parameters][..], &encoder.finish()].concat().into();
    let coding = Coding { method: Method::Adaptive, lanes: 1 };
    Ok(Coded { coding, plain_len: plain.len(), payload })
}

/// Bytes at the beginning of `plain` whose code has at most `room` bytes, while all of it is coded.
///
/// # Errors
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
pub fn fitting(codec: Codec<'_>, plain: &[u8], tier: u8, room: usize) -> Result<usize> {
    let mut mixed = model(codec, tier, codec.parameters.table_log2.into(), plain.len());
    let mut encoder = RangeEncoder::default();
    let _mixing = enter(Part::Mixing);
    for (i, &byte) in plain.iter().enumerate() {
        if i % PROGRESS_STEP == 0 {
            codec.stop.check()?;
        }
        code_byte(&mut mixed, &mut encoder, byte);
        if encoder.coded_len() >= room {
            return Ok(i); // the parameters have a byte, too
        }
    }
    Ok(plain.len())
}

/// Decodes `plain_len` bytes.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where `coded` cannot be the code of any chunk;
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
pub fn decode(codec: Codec<'_>, coded: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    let Some((parameters, coded)) = coded.split_first() else {
        return Err(corrupt("an adaptive chunk has no parameters"));
    };
    let (tier, table_log2) = self::parameters(*parameters)?;
    let mut mixed = model(codec, tier, table_log2, plain_len);
    let mut decoder = RangeDecoder::new(coded);
    let mut plain = Vec::new();
    let _mixing = enter(Part::Mixing);
    while plain.len() < plain_len {
        if decoder.is_spent() {
            (codec.progress)((plain_len - plain.len()) as u64);
            plain.resize(plain_len, 0xff); // all bits are true
            break;
        }
        codec.stop.check()?;
        decoder.expect_more()?;
        let step = PROGRESS_STEP.min(plain_len - plain.len());
        plain.extend((0..step).map(|_| code_byte(&mut mixed, &mut decoder, 0)));
        (codec.progress)(step as u64);
    }
    decoder.expect_end(plain_len)?;
    Ok(plain)
}
