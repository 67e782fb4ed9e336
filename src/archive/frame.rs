//! A chunk of the long form as it was read: its header and its payload, whole and checked.

use super::checksum::crc32;
use super::chunk_header::ChunkHeader;
use super::source::Source;
use super::{Resources, chunk};
use crate::codec::{Method, Parameters};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use std::borrow::Cow;
use std::io::Read;

/// Header and payload.
///
/// The payload's checksum is right.
pub(super) struct Frame {
    pub(super) header: ChunkHeader,
    payload: Vec<u8>,
}

impl Frame {
    /// Reads the payload that follows `header`.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where its checksum differs.
    pub(super) fn read<R: Read>(header: ChunkHeader, source: &mut Source<R>) -> Result<Self> {
        let payload = source.payload(header.extent.payload_len)?;
        source.expect("the payload's CRC", header.payload_crc, crc32(&payload))?;
        Ok(Self { header, payload })
    }

    /// Whether decoding needs a model.
    pub(super) fn is_coded(&self) -> bool {
        !self.header.extent.tag.is_stored()
    }

    /// Whether decoding needs a model's weights.
    pub(super) fn is_of_a_language_model(&self) -> bool {
        matches!(self.header.extent.tag.method, Method::Model | Method::Mixed)
    }

    /// The plain bytes of `frames`. `model` may be `None` where none [`is_coded`](Frame::is_coded).
    ///
    /// # Errors
    /// Each frame's: those of the codec; Corrupt where the checksum differs.
    pub(super) fn decode_all<'a>(
        frames: &[&'a Self],
        model: Option<&Model>,
        parameters: &Parameters,
        resources: Resources<'_>,
    ) -> Vec<Result<Cow<'a, [u8]>>> {
        let chunks: Vec<_> =
            frames.iter().map(|frame| (frame.header.extent, &frame.payload[..])).collect();
        let plains = chunk::decode_all(model, parameters, &chunks, resources).into_iter();
        plains.zip(frames).map(|(plain, frame)| frame.checked(plain?)).collect()
    }

    fn checked<'a>(&self, plain: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>> {
        let (got, expected) = (crc32(&plain), self.header.plain_crc);
        if got == expected {
            return Ok(plain);
        }
        let message = format!("decoded to bytes of CRC {got:#010x}, expected {expected:#010x}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}
