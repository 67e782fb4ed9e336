//! One chunk between the codec and the file: coded where that shrinks it, else stored.

use super::Resources;
use super::checksum::crc32;
use super::chunk_header::{ChunkHeader, Extent, Tag};
use crate::codec::{self, ChunkOptions, Codec, Coded, Parameters};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use crate::profile::{Part, enter};
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

/// Encodes `plain`, and with `verify` decodes it again. Each pass tells `progress` of each byte.
///
/// # Errors
/// Those of the codec's encoder.
pub(super) fn encode(
    codec: Codec<'_>,
    plain: &[u8],
    options: &ChunkOptions,
    verify: bool,
) -> Result<EncodedChunk> {
    let _other = enter(Part::Other);
    let mut chunk =
        EncodedChunk { coded: None, plain_len: plain.len() as u32, verify_failed: false };
    if plain.is_empty() {
        return Ok(chunk);
    }
    let coded = codec::encode(codec, plain, options)?;
    if coded.bytes.is_empty() || coded.bytes.len() >= plain.len() {
        (codec.progress)(if verify { plain.len() as u64 } else { 0 });
        return Ok(chunk);
    }
    chunk.verify_failed = verify && !decodes_to(plain, codec, &coded);
    chunk.coded = (!chunk.verify_failed).then_some(coded);
    Ok(chunk)
}

/// Whether a reader would get `plain` back.
fn decodes_to(plain: &[u8], codec: Codec<'_>, coded: &Coded) -> bool {
    let Coded { method, lanes, bytes } = coded;
    let decoded = codec::decode(codec, *method, *lanes, bytes, plain.len());
    decoded.is_ok_and(|decoded| decoded == plain)
}

/// The plain bytes of a chunk. `model` may be `None` where the chunk is stored. Checks no content.
///
/// # Errors
/// Those of the codec's decoder.
pub(super) fn decode<'a>(
    model: Option<&Model>,
    parameters: &Parameters,
    extent: &Extent,
    payload: &'a [u8],
    resources: Resources<'_>,
) -> Result<Cow<'a, [u8]>> {
    let _other = enter(Part::Other);
    let Resources { threads, memory, progress } = resources;
    let Extent { tag, plain_len, .. } = *extent;
    if tag.is_stored() {
        progress(plain_len.into());
        return Ok(Cow::Borrowed(payload));
    }
    let no_model = || Error::new(ErrorKind::ModelMissing, "no model for a coded chunk");
    let model = model.ok_or_else(no_model)?;
    let plain_len = plain_len as usize;
    let codec = Codec { model, parameters, threads, memory, progress };
    let plain = codec::decode(codec, tag.method, tag.lanes, payload, plain_len)?;
    if plain.len() != plain_len {
        let message = format!("decoded to {} bytes, expected {plain_len}", plain.len());
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(Cow::Owned(plain))
}
