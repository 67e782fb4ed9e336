//! The header of the single form: content of one chunk, with the least overhead.

use super::checksum::{Checksum, crc32};
use super::chunk_header::{Extent, Tag};
use super::header::single_start;
use super::source::Source;
use super::{MAX_CHUNK_SIZE, ModelName};
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;

/// What stands before the payload of a stream in single form.
#[derive(Debug, Clone)]
pub(super) struct SingleHeader {
    /// Code of a compiled-in model.
    code: u8,
    pub(super) extent: Extent,
    /// CRC-32 of all fields before it, up to and including the header CRC.
    fields_crc: u32,
    /// CRC-32 of fields, plain bytes and payload, as the file has it.
    content_crc: u32,
}

impl SingleHeader {
    /// The header for content in one chunk; `payload` is `None` where stored.
    pub(super) fn to_bytes(
        code: u8,
        extent: Extent,
        plain: &[u8],
        payload: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut out = single_start(code);
        extent.put(&mut out);
        out.push(Checksum::of(&out).crc8());
        let crc = content_crc(crc32(&out), plain, payload);
        out.extend(crc.to_le_bytes());
        out
    }

    /// Reads what follows the model byte.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(super) fn read<R: Read>(code: u8, source: &mut Source<R>) -> Result<Self> {
        let tag = Tag::read(source)?;
        let extent = Extent::read(tag, 0..=MAX_CHUNK_SIZE, source)?;
        let expected = source.checksum().crc8();
        let got = source.byte("the header's CRC-8")?;
        source.expect("the header's CRC-8", got.into(), expected.into())?;
        if code == 0 {
            return Err(source.corrupt("the single form names no model"));
        }
        let fields_crc = source.checksum().crc32();
        let content_crc = source.u32("the content's CRC")?;
        Ok(Self { code, extent, fields_crc, content_crc })
    }

    /// The model that a payload needs that is not stored.
    pub(super) fn model(&self) -> ModelName {
        ModelName::Builtin(self.code)
    }

    /// Checks the whole stream; `payload` is `None` where stored.
    ///
    /// # Errors
    /// Corrupt.
    pub(super) fn check(&self, plain: &[u8], payload: Option<&[u8]>) -> Result<()> {
        let expected = content_crc(self.fields_crc, plain, payload);
        if self.content_crc == expected {
            return Ok(());
        }
        let got = self.content_crc;
        let message = format!("the content's CRC is {got:#010x}, expected {expected:#010x}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}

/// CRC-32 of fields with `fields_crc`, then `plain`, then `payload`.
fn content_crc(fields_crc: u32, plain: &[u8], payload: Option<&[u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(fields_crc);
    crc.update(plain);
    crc.update(payload.unwrap_or_default());
    crc.finalize()
}
