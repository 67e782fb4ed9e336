//! One chunk between the codec and the file: coded where that shrinks it, else stored.

use super::Resources;
use super::checksum::crc32;
use super::chunk_header::{ChunkHeader, Extent, Tag};
use crate::codec::{self, ChunkOptions, Code, Codec, Coded, Parameters};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use crate::profile::{Part, enter};
use rayon::prelude::*;
use std::borrow::Cow;

/// A chunk as the file will have it.
pub(super) struct EncodedChunk {
    /// `None`: stored.
    coded: Option<Coded>,
    plain_len: u32,
    /// Whether it is stored because it did not decode to what was encoded.
    pub(super) verify_failed: bool,
}

impl EncodedChunk {
    /// Tag and lengths.
    pub(super) fn extent(&self) -> Extent {
        let (tag, payload_len) = match &self.coded {
            Some(c) => (Tag { method: c.method, lanes: c.lanes }, c.bytes.len() as u32),
            None => (Tag::STORED, self.plain_len),
        };
        Extent { tag, plain_len: self.plain_len, payload_len }
    }

    /// The coded bytes; `None` where stored.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.coded.as_ref().map(|coded| &coded.bytes[..])
    }

    /// The header in long form of this chunk of `plain`.
    pub(super) fn header(&self, plain: &[u8]) -> ChunkHeader {
        let plain_crc = crc32(plain);
        let payload_crc = self.payload().map_or(plain_crc, crc32);
        ChunkHeader { extent: self.extent(), plain_crc, payload_crc }
    }
}

/// Encodes chunks side by side, and with `verify` decodes them again. Each pass tells `progress` of
/// each byte.
///
/// # Errors
/// Each chunk's: those of the codec's encoder.
pub(super) fn encode_all(
    codec: Codec<'_>,
    plains: &[Vec<u8>],
    options: &ChunkOptions,
    verify: bool,
) -> Vec<Result<EncodedChunk>> {
    let share = codec.shared_by(plains.len());
    let chunks = plains.par_iter().map(|plain| encode(share, plain, options));
    let mut chunks: Vec<Result<EncodedChunk>> = chunks.collect();
    if verify {
        verify_all(codec, plains, &mut chunks);
    }
    chunks
}

fn encode(codec: Codec<'_>, plain: &[u8], options: &ChunkOptions) -> Result<EncodedChunk> {
    let _other = enter(Part::Other);
    let mut chunk =
        EncodedChunk { coded: None, plain_len: plain.len() as u32, verify_failed: false };
    if !plain.is_empty() {
        let coded = codec::encode(codec, plain, options)?;
        chunk.coded = Some(coded).filter(|c| !c.bytes.is_empty() && c.bytes.len() < plain.len());
    }
    Ok(chunk)
}

/// Stores those of `chunks` from which a reader would not get its plain bytes back.
fn verify_all(codec: Codec<'_>, plains: &[Vec<u8>], chunks: &mut [Result<EncodedChunk>]) {
    let _other = enter(Part::Other);
    let (mut coded, mut originals) = (Vec::new(), Vec::new());
    for (chunk, plain) in chunks.iter_mut().zip(plains) {
        match chunk {
            Ok(chunk) if chunk.coded.is_some() => {
                coded.push(chunk);
                originals.push(plain);
            }
            _ => (codec.progress)(plain.len() as u64),
        }
    }
    let codes = coded
        .iter()
        .zip(&originals)
        .filter_map(|(chunk, plain)| chunk.coded.as_ref().map(|coded| coded.code(plain.len())));
    let decoded = codec::decode_all(codec, &codes.collect::<Vec<_>>());
    for ((chunk, plain), decoded) in coded.into_iter().zip(originals).zip(decoded) {
        chunk.verify_failed = !decoded.is_ok_and(|decoded| decoded == *plain);
        if chunk.verify_failed {
            chunk.coded = None;
        }
    }
}

/// The plain bytes of `chunks`, each given by its extent and payload. `model` may be `None` where all
/// are stored. Checks no content.
///
/// # Errors
/// Each chunk's: those of the codec's decoder.
pub(super) fn decode_all<'a>(
    model: Option<&Model>,
    parameters: &Parameters,
    chunks: &[(Extent, &'a [u8])],
    resources: Resources<'_>,
) -> Vec<Result<Cow<'a, [u8]>>> {
    let _other = enter(Part::Other);
    let Resources { threads, memory, progress } = resources;
    let coded = chunks.iter().filter(|(extent, _)| !extent.tag.is_stored());
    let codes: Vec<Code> = coded.map(|(extent, payload)| extent.code(payload)).collect();
    let mut decoded = match model {
        Some(model) => {
            let codec = Codec { model, parameters, threads, memory, progress };
            codec::decode_all(codec, &codes)
        }
        None => Vec::new(),
    }
    .into_iter();
    let plain = |(extent, payload): &(Extent, &'a [u8])| {
        if extent.tag.is_stored() {
            progress(extent.plain_len.into());
            return Ok(Cow::Borrowed(*payload));
        }
        let no_model = || Error::new(ErrorKind::ModelMissing, "no model for a coded chunk");
        decoded.next().ok_or_else(no_model)?.map(Cow::Owned)
    };
    chunks.iter().map(plain).collect()
}
