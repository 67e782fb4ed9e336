//! Header of the single form: content of one chunk, with the least overhead (`docs/format.md`,
//! section 5).

use super::MAX_CHUNK_SIZE;
use super::checksum::{Checksum, crc32};
use super::chunk_header::Extent;
use super::setup::{SINGLE, Setup, UncheckedSetup};
use super::source::Source;
use crate::codec::Coded;
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;

/// Fields before the payload of a stream in single form.
#[derive(Debug, Clone)]
pub(in crate::archive) struct SingleHeader {
    pub(in crate::archive) setup: Setup,
    pub(in crate::archive) extent: Extent,
    /// CRC-32 of all fields before it, up to and including the header CRC.
    fields_crc: u32,
    /// CRC-32 of fields, plain bytes and payload, as the file has it.
    content_crc: u32,
}

impl SingleHeader {
    /// The header for content `plain` in one chunk.
    ///
    /// # Errors
    /// InvalidArgument where the model's label cannot be written.
    pub(in crate::archive) fn to_bytes(
        setup: &Setup,
        plain: &[u8],
        coded: &Coded<'_>,
    ) -> Result<Vec<u8>> {
        let mut out = setup.to_bytes(SINGLE)?;
        let extent = Extent::of(coded);
        extent.put(&mut out);
        out.push(Checksum::of(&out).crc8());
        let crc = content_crc(crc32(&out), &extent, plain, &coded.payload);
        out.extend(crc.to_le_bytes());
        Ok(out)
    }

    /// Reads the fields that follow `setup`.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt, Unsupported.
    pub(super) fn read<R: Read>(setup: UncheckedSetup, source: &mut Source<R>) -> Result<Self> {
        let extent = Extent::read(0..=MAX_CHUNK_SIZE, source)?;
        let expected = source.checksum().crc8();
        let got = source.byte("the header's CRC-8")?;
        let checked = source.expect("the header's CRC-8", got.into(), expected.into());
        checked.map_err(|e| setup.damage(e))?;
        let (setup, extent) = (setup.checked()?, extent.known()?);
        if setup.block_len.is_some() || extent.block_len().is_some() {
            return Err(source.corrupt("the single form has no blocks"));
        }
        let fields_crc = source.checksum().crc32();
        let content_crc = source.u32("the content's CRC")?;
        Ok(Self { setup, extent, fields_crc, content_crc })
    }

    /// Checks the whole stream.
    ///
    /// # Errors
    /// Corrupt.
    pub(in crate::archive) fn check(&self, plain: &[u8], payload: &[u8]) -> Result<()> {
        let expected = content_crc(self.fields_crc, &self.extent, plain, payload);
        if self.content_crc == expected {
            return Ok(());
        }
        let got = self.content_crc;
        let message = format!("the content's CRC is {got:#010x}, expected {expected:#010x}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}

/// CRC-32 of fields with `fields_crc`, then `plain`, then `payload` unless stored.
fn content_crc(fields_crc: u32, extent: &Extent, plain: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(fields_crc);
    crc.update(plain);
    if !extent.is_stored() {
        crc.update(payload);
    }
    crc.finalize()
}
