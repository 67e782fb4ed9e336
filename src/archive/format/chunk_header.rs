//! Header of a chunk in long form, and the tag and lengths that all chunks begin with
//! (`docs/format.md`, section 7).

use super::checksum::{crc32, seal};
use super::source::Source;
use super::{unsupported, varint};
use crate::codec::{Coded, Coding, MAX_LANES, Method};
use crate::error::Result;
use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;

/// The byte in place of a tag after the last chunk.
pub(in crate::archive) const END_TAG: u8 = 0x3F;

/// Bytes of a chunk's three checksums.
const CRCS_LEN: u32 = 12;

/// Method and lanes as a tag has them; the method may be one that this release does not know.
///
/// The first four methods take one byte: the method in bits 6 and 7, lanes - 1 in the others. Of those
/// bytes all that say stored, but in several lanes, are free: they stand for methods 4 to 65, and a
/// byte of lanes - 1 follows. To add a method: a [`Method`], a row in [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    method: u8,
    lanes: u8,
}

/// The methods that this release knows, by number.
const METHODS: [Method; 5] =
    [Method::Stored, Method::Model, Method::Mixed, Method::Adaptive, Method::Learning];

impl Tag {
    pub(super) fn of(Coding { method, lanes }: Coding) -> Self {
        Self { method: method as u8, lanes }
    }

    /// The same tag, whose method is sure to be known.
    ///
    /// # Errors
    /// Unsupported.
    pub(super) fn known(self) -> Result<Self> {
        match METHODS.get(usize::from(self.method)) {
            Some(_) => Ok(self),
            None => {
                let method = self.method;
                Err(unsupported(format!("a chunk has method {method}, which is not known")))
            }
        }
    }

    /// Method and lanes of a [known](Self::known) tag.
    pub(super) fn coding(self) -> Coding {
        Coding { method: METHODS[usize::from(self.method)], lanes: self.lanes }
    }

    fn is_stored(self) -> bool {
        self.method == Method::Stored as u8
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        debug_assert!((1..=MAX_LANES).contains(&self.lanes));
        match self.method {
            method @ 0..=3 => out.push(method << 6 | (self.lanes - 1)),
            method => out.extend([method - 3, self.lanes - 1]),
        }
    }

    /// Reads a tag.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<Self> {
        let first = source.byte("a chunk's tag")?;
        Self::read_after(first, source)
    }

    /// Reads the rest of a tag after its `first` byte.
    fn read_after<R: Read>(first: u8, source: &mut Source<R>) -> Result<Self> {
        let (method, lanes) = match first {
            END_TAG => return Err(source.corrupt("an end tag in place of a chunk's")),
            0x01..0x3F => (first + 3, source.byte("a chunk's lanes")?),
            _ => (first >> 6, first & 0x3F),
        };
        let has_lanes = !matches!(method, 0 | 3);
        if lanes >= MAX_LANES || (lanes > 0 && !has_lanes) {
            let message =
                format!("a chunk's tag is {first:#04x}, with {lanes} lanes more than one");
            return Err(source.corrupt(message));
        }
        Ok(Self { method, lanes: lanes + 1 })
    }
}

/// Tag and lengths of a chunk, as both forms and the index have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Extent {
    tag: Tag,
    pub(in crate::archive) plain_len: u32,
    /// Length of the payload; `plain_len` where stored.
    pub(in crate::archive) payload_len: u32,
}

impl Extent {
    /// The extent of `coded`.
    pub(in crate::archive) fn of(coded: &Coded<'_>) -> Self {
        let tag = Tag::of(coded.coding);
        let (plain_len, payload_len) = (coded.plain_len as u32, coded.payload.len() as u32);
        Self { tag, plain_len, payload_len }
    }

    /// The same extent, whose method is sure to be known.
    ///
    /// # Errors
    /// Unsupported.
    pub(in crate::archive) fn known(self) -> Result<Self> {
        self.tag.known().map(|_| self)
    }

    /// Method and lanes of a [known](Self::known) extent.
    pub(in crate::archive) fn coding(&self) -> Coding {
        self.tag.coding()
    }

    /// Whether the payload is the plain bytes.
    pub(in crate::archive) fn is_stored(&self) -> bool {
        self.tag.is_stored()
    }

    /// The chunk of this extent with `payload`.
    pub(in crate::archive) fn coded<'a>(&self, payload: Cow<'a, [u8]>) -> Coded<'a> {
        Coded { coding: self.coding(), plain_len: self.plain_len as usize, payload }
    }

    /// Bytes of a chunk in long form: header and payload.
    pub(in crate::archive) fn frame_len(&self) -> u32 {
        let coded_len_len = if self.is_stored() { 0 } else { varint::len(self.payload_len.into()) };
        self.header_len(coded_len_len) + self.payload_len
    }

    /// Bytes of the header in long form, where coded_len takes `coded_len_len`.
    fn header_len(&self, coded_len_len: u32) -> u32 {
        let tag_len = if self.tag.method > 3 { 2 } else { 1 };
        tag_len + varint::len(self.plain_len.into()) + coded_len_len + CRCS_LEN
    }

    /// Appends tag, plain_len and, unless stored, coded_len.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.tag.put(out);
        varint::put(out, self.plain_len.into());
        if !self.is_stored() {
            varint::put(out, self.payload_len.into());
        }
    }

    /// Appends the index's entry: tag, frame_len, plain_len.
    pub(super) fn put_entry(&self, out: &mut Vec<u8>) {
        self.tag.put(out);
        varint::put(out, self.frame_len().into());
        varint::put(out, self.plain_len.into());
    }

    /// Reads an entry of the index.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where a length is out of range, or no chunk has such a frame.
    pub(super) fn read_entry<R: Read>(
        plain_lens: RangeInclusive<u32>,
        source: &mut Source<R>,
    ) -> Result<Self> {
        let tag = Tag::read(source)?;
        let frame_len = source.varint_in("frame_len", 1..=u32::MAX)?;
        let plain_len = source.varint_in("plain_len", plain_lens)?;
        let extent = Self { tag, plain_len, payload_len: plain_len };
        let fits = |extent: &Self| extent.frame_len() == frame_len;
        let with_payload = |coded_len_len: u32| {
            let payload_len = frame_len.checked_sub(extent.header_len(coded_len_len))?;
            Some(Self { payload_len, ..extent })
        };
        let is_coded = |extent: &Self| (1..plain_len).contains(&extent.payload_len);
        let found = match extent.is_stored() {
            true => Some(extent).filter(fits),
            false => (1..=4).filter_map(with_payload).filter(is_coded).find(fits),
        };
        found.ok_or_else(|| {
            source.corrupt(format!("no chunk of {plain_len} bytes has a frame of {frame_len}"))
        })
    }

    /// Reads tag and lengths.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where plain_len is not in `plain_lens` or the payload not shorter.
    pub(super) fn read<R: Read>(
        plain_lens: RangeInclusive<u32>,
        source: &mut Source<R>,
    ) -> Result<Self> {
        let tag = Tag::read(source)?;
        Self::read_lens(tag, plain_lens, source)
    }

    fn read_lens<R: Read>(
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

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tag { method, lanes } = self.tag;
        let (frame_len, plain_len) = (self.frame_len(), self.plain_len);
        write!(f, "method {method}, lanes {lanes}, frame_len {frame_len}, plain_len {plain_len}")
    }
}

/// Header of a chunk in long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct ChunkHeader {
    pub(in crate::archive) extent: Extent,
    pub(in crate::archive) plain_crc: u32,
    pub(in crate::archive) payload_crc: u32,
}

impl ChunkHeader {
    /// The header of `coded`, a chunk of `plain`.
    pub(in crate::archive) fn of(plain: &[u8], coded: &Coded<'_>) -> Self {
        let extent = Extent::of(coded);
        let plain_crc = crc32(plain);
        let payload_crc = if extent.is_stored() { plain_crc } else { crc32(&coded.payload) };
        Self { extent, plain_crc, payload_crc }
    }

    /// The header's bytes.
    pub(in crate::archive) fn to_bytes(self) -> Vec<u8> {
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
    /// Io, Truncated, Corrupt; Unsupported where its method is not known.
    pub(in crate::archive) fn read<R: Read>(
        chunk_size: u32,
        source: &mut Source<R>,
    ) -> Result<Option<Self>> {
        source.begin_check();
        let first = source.byte("a chunk's tag")?;
        if first == END_TAG {
            return Ok(None);
        }
        let tag = Tag::read_after(first, source)?;
        let extent = Extent::read_lens(tag, 1..=chunk_size, source)?;
        let plain_crc = source.u32("the plain CRC")?;
        let payload_crc = source.u32("the payload CRC")?;
        source.expect_crc32("the chunk header's CRC")?;
        Ok(Some(Self { extent: extent.known()?, plain_crc, payload_crc }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn extents() -> Vec<Extent> {
        let lens = [(1, 1), (2, 1), (100, 99), (1 << 26, 127), (1 << 26, (1 << 26) - 1)];
        let tags = [(0, 1), (1, 64), (2, 1), (3, 1), (4, 1), (4, 64), (65, 64)];
        let extent = |(method, lanes): (u8, u8), (plain_len, payload_len): (u32, u32)| {
            let payload_len = if method == 0 { plain_len } else { payload_len };
            Extent { tag: Tag { method, lanes }, plain_len, payload_len }
        };
        let all = tags.iter().flat_map(|&tag| lens.iter().map(move |&lens| extent(tag, lens)));
        all.filter(|e| e.is_stored() || e.payload_len < e.plain_len).collect()
    }

    #[test]
    fn every_extent_comes_back_from_chunk_and_index() {
        for extent in extents() {
            let (mut fields, mut entry) = (Vec::new(), Vec::new());
            extent.put(&mut fields);
            extent.put_entry(&mut entry);
            let read = Extent::read(0..=1 << 26, &mut Source::new(&fields[..])).unwrap();
            assert_eq!(read, extent);
            let read = Extent::read_entry(1..=1 << 26, &mut Source::new(&entry[..])).unwrap();
            assert_eq!(read, extent);
            assert_eq!(extent.frame_len(), fields.len() as u32 + CRCS_LEN + extent.payload_len);
        }
    }

    #[test]
    fn methods_to_come_are_unsupported_not_damage() {
        for method in 5..=65 {
            let tag = Tag { method, lanes: 3 };
            let extent = Extent { tag, plain_len: 9, payload_len: 2 };
            let header = ChunkHeader { extent, plain_crc: 1, payload_crc: 2 }.to_bytes();
            assert_ne!(header[0], END_TAG);
            let error = ChunkHeader::read(9, &mut Source::new(&header[..])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(&format!("method {method}")), "{error}");
            let damaged = [&header[..5], &[!header[5]], &header[6..]].concat();
            let error = ChunkHeader::read(9, &mut Source::new(&damaged[..])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn tags_of_no_chunk_are_refused() {
        for bytes in [&[0xC1, 9, 2][..], &[0x01, 64, 9, 2], &[END_TAG, 9, 2]] {
            let error = Extent::read(0..=9, &mut Source::new(bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes:02x?}");
        }
    }
}
