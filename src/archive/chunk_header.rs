//! The header of a chunk in long form, and the tag that all chunks begin with.

use super::checksum::seal;
use super::source::Source;
use super::varint;
use crate::codec::{Code, MAX_LANES, Method};
use crate::error::Result;
use std::io::Read;
use std::ops::RangeInclusive;

/// Stands where a chunk's tag would: a stored chunk of 64 lanes, which cannot be.
pub(super) const END_TAG: u8 = 0x3F;

/// Method and lanes (`docs/format.md`, section 6). A stored chunk has one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) method: Method,
    pub(super) lanes: u8,
}

impl Tag {
    /// The tag of a stored chunk.
    pub(super) const STORED: Self = Self { method: Method::Stored, lanes: 1 };

    /// Whether the payload is the plain bytes.
    pub(super) fn is_stored(self) -> bool {
        self.method == Method::Stored
    }

    /// The byte in the file.
    pub(super) fn to_byte(self) -> u8 {
        debug_assert!((1..=MAX_LANES).contains(&self.lanes));
        (self.method as u8) << 6 | (self.lanes - 1)
    }

    /// The tag that `byte` stands for; `None` where it says stored with lanes.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let method = match byte >> 6 {
            0 => Method::Stored,
            1 => Method::Model,
            2 => Method::Mixed,
            _ => Method::Adaptive,
        };
        let tag = Self { method, lanes: (byte & 0x3F) + 1 };
        (tag.lanes == 1 || !tag.is_stored()).then_some(tag)
    }

    /// Reads a tag.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<Self> {
        let byte = source.byte("a chunk's tag")?;
        Self::check(byte, source)
    }

    /// The tag of a byte just read from `source`.
    ///
    /// # Errors
    /// Corrupt.
    pub(super) fn check<R: Read>(byte: u8, source: &Source<R>) -> Result<Self> {
        Self::from_byte(byte).ok_or_else(|| {
            source.corrupt(format!("a chunk's tag is {byte:#04x}: stored chunks have no lanes"))
        })
    }
}

/// Tag and lengths, as both forms write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) tag: Tag,
    pub(super) plain_len: u32,
    /// Length of the payload; `plain_len` where stored.
    pub(super) payload_len: u32,
}

impl Extent {
    /// What the codec needs to decode `payload`.
    pub(super) fn code<'a>(&self, payload: &'a [u8]) -> Code<'a> {
        let Tag { method, lanes } = self.tag;
        Code { method, lanes, bytes: payload, plain_len: self.plain_len as usize }
    }

    /// Appends tag, plain_len and, unless stored, coded_len.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.tag.to_byte());
        varint::put(out, self.plain_len.into());
        if !self.tag.is_stored() {
            varint::put(out, self.payload_len.into());
        }
    }

    /// Reads the lengths that follow `tag`.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where plain_len is not in `plain_lens` or the payload not shorter.
    pub(super) fn read<R: Read>(
        tag: Tag,
        plain_lens: RangeInclusive<u32>,
        source: &mut Source<R>,
    ) -> Result<Self> {
        let plain_len = source.varint_in("plain_len", plain_lens)?;
        let payload_len = match tag.is_stored() {
            true => plain_len,
            false => source.varint_in("coded_len", 1..=plain_len.saturating_sub(1))?,
        };
        Ok(Self { tag, plain_len, payload_len })
    }
}

/// All that stands before a chunk's payload in long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub(super) extent: Extent,
    pub(super) plain_crc: u32,
    pub(super) payload_crc: u32,
}

impl ChunkHeader {
    /// The header's bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.extent.put(&mut out);
        out.extend(self.plain_crc.to_le_bytes());
        out.extend(self.payload_crc.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads the next chunk's header; `None` at the end tag, whose checksum has then begun.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(super) fn read<R: Read>(chunk_size: u32, source: &mut Source<R>) -> Result<Option<Self>> {
        source.begin_check();
        let byte = source.byte("a chunk's tag")?;
        if byte == END_TAG {
            return Ok(None);
        }
        let extent = Extent::read(Tag::check(byte, source)?, 1..=chunk_size, source)?;
        let plain_crc = source.u32("the plain CRC")?;
        let payload_crc = source.u32("the payload CRC")?;
        source.expect_crc32("the chunk header's CRC")?;
        Ok(Some(Self { extent, plain_crc, payload_crc }))
    }
}
