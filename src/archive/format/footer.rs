//! The footer of the long form: the content's hash, and the way back to the index.

use super::checksum::seal;
use super::source::Source;
use crate::error::Result;
use std::io::Read;

/// The footer's size in bytes.
pub(in crate::archive) const FOOTER_LEN: u64 = 44;

/// Last bytes of a stream in long form: the magic, backwards.
const TAIL_MAGIC: [u8; 4] = [b'\n', b'\r', b'L', 0x9C];

/// Last part of a stream in long form (`docs/format.md`, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Footer {
    /// BLAKE3 of the plain bytes.
    pub(in crate::archive) content: [u8; 32],
    /// Bytes from the end tag up to and including the index CRC.
    pub(in crate::archive) index_len: u32,
}

impl Footer {
    /// The footer's bytes.
    pub(in crate::archive) fn to_bytes(self) -> Vec<u8> {
        let mut out = self.content.to_vec();
        out.extend(self.index_len.to_le_bytes());
        seal(&mut out);
        out.extend(TAIL_MAGIC);
        out
    }

    /// Whether `bytes` have the tail magic where that of a footer would be.
    pub(in crate::archive) fn ends(bytes: &[u8]) -> bool {
        let len = FOOTER_LEN as usize;
        bytes.len() >= len && bytes[len - TAIL_MAGIC.len()..len] == TAIL_MAGIC
    }

    /// Reads a footer.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(in crate::archive) fn read<R: Read>(source: &mut Source<R>) -> Result<Self> {
        source.begin_check();
        let content = source.bytes("the content's hash")?;
        let index_len = source.u32("the index's length")?;
        source.expect_crc32("the footer's CRC")?;
        let tail: [u8; 4] = source.bytes("the tail magic")?;
        if tail != TAIL_MAGIC {
            let message = format!("the tail magic is {tail:02x?}, expected {TAIL_MAGIC:02x?}");
            return Err(source.corrupt(message));
        }
        Ok(Self { content, index_len })
    }

    /// Reads a footer and compares it with what was read before it.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where it differs from `expected`.
    pub(in crate::archive) fn read_and_compare<R: Read>(
        source: &mut Source<R>,
        expected: &Self,
    ) -> Result<()> {
        let got = Self::read(source)?;
        if got.index_len != expected.index_len {
            let (got, expected) = (got.index_len, expected.index_len);
            return Err(source.corrupt(format!("index_len is {got}, expected {expected}")));
        }
        if got.content != expected.content {
            return Err(source.corrupt("the content's hash differs"));
        }
        Ok(())
    }
}
