//! Header of a chunk in long form, and the tag and lengths that all chunks begin with
//! (`docs/format.md`, section 7).

use super::checksum::{crc32, seal};
use super::source::Source;
use super::{MAX_BLOCK_LEN, unsupported, varint};
use crate::codec::{Coded, Coding, MAX_LANES, Method};
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;

/// The byte in place of a tag after the last chunk.
pub(in crate::archive) const END_TAG: u8 = 0x3F;

/// The byte before the tag of a block.
const BLOCK: u8 = 0x01;

/// Bytes of a chunk's three checksums.
const CRCS_LEN: u32 = 12;

/// Bytes of the field that says where a block's text begins.
const START_LEN: u32 = 8;

/// Method and lanes as a tag has them; the method may be one that this release does not know.
///
/// The first four methods take one byte: the method in bits 6 and 7, lanes - 1 in the others. Of those
/// bytes all that say stored, but in several lanes, are free: the first stands before the tag of a block,
/// the others for methods 4 to 64, and a byte of lanes - 1 follows. To add a method: a [`Method`], a row in
/// [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    method: u8,
    lanes: u8,
    is_block: bool,
}

/// The methods that this release knows, by number.
const METHODS: [Method; 5] =
    [Method::Stored, Method::Model, Method::Mixed, Method::Adaptive, Method::Learning];

impl Tag {
    pub(super) fn of(Coding { method, lanes }: Coding) -> Self {
        Self { method: method as u8, lanes, is_block: false }
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
        if self.is_block {
            out.push(BLOCK);
        }
        match self.method {
            method @ 0..=3 => out.push(method << 6 | (self.lanes - 1)),
            method => out.extend([method - 2, self.lanes - 1]),
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
        if first == BLOCK {
            let tag = match source.byte("a block's tag")? {
                BLOCK => return Err(source.corrupt("a block in a block")),
                first => Self::read_after(first, source)?,
            };
            return Ok(Self { is_block: true, ..tag });
        }
        let (method, lanes) = match first {
            END_TAG => return Err(source.corrupt("an end tag in place of a chunk's")),
            0x02..0x3F => (first + 2, source.byte("a chunk's lanes")?),
            _ => (first >> 6, first & 0x3F),
        };
        let has_lanes = !matches!(method, 0 | 3);
        if lanes >= MAX_LANES || (lanes > 0 && !has_lanes) {
            let message =
                format!("a chunk's tag is {first:#04x}, with {lanes} lanes more than one");
            return Err(source.corrupt(message));
        }
        Ok(Self { method, lanes: lanes + 1, is_block: false })
    }
}

/// Tag and lengths of a chunk, as both forms and the index have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Extent {
    tag: Tag,
    pub(in crate::archive) plain_len: u32,
    /// Length of the payload; `plain_len` where stored, unless it is a block's.
    pub(in crate::archive) payload_len: u32,
}

impl Extent {
    /// The extent of `coded`.
    pub(in crate::archive) fn of(coded: &Coded<'_>) -> Self {
        let tag = Tag::of(coded.coding);
        let (plain_len, payload_len) = (coded.plain_len as u32, coded.payload.len() as u32);
        Self { tag, plain_len, payload_len }
    }

    /// The extent of `coded` as a block of `block_len` bytes, if it fits.
    pub(in crate::archive) fn of_block(coded: &Coded<'_>, block_len: u32) -> Option<Self> {
        let tag = Tag { is_block: true, ..Tag::of(coded.coding) };
        let extent = Self { tag, plain_len: coded.plain_len as u32, payload_len: 0 };
        let extent = Self { payload_len: extent.room(block_len), ..extent };
        (coded.payload.len() <= extent.payload_len as usize).then_some(extent)
    }

    /// Most coded bytes in a block of `block_len` bytes and `plain_len` plain ones.
    pub(in crate::archive) fn room_in_block(block_len: u32, plain_len: usize) -> usize {
        let tag = Tag { is_block: true, ..Tag::of(Coding::STORED) };
        Self { tag, plain_len: plain_len as u32, payload_len: 0 }.room(block_len) as usize
    }

    /// Bytes of the payload with which it is a block of `block_len` bytes, a multiple of
    /// [`BLOCK_UNIT`](super::BLOCK_UNIT).
    fn room(&self, block_len: u32) -> u32 {
        let room = |coded_len_len| block_len - self.header_len(coded_len_len);
        let fits = |len: &u32| varint::len(room(*len).into()) == *len;
        room((1..=4).find(fits).expect("no multiple of the unit is at a varint's limit"))
    }

    /// Bytes of the block that it is, header and all; `None`: it is none.
    pub(in crate::archive) fn block_len(&self) -> Option<u32> {
        self.tag.is_block.then(|| self.frame_len())
    }

    /// Checks that it is a block of `block_len` bytes, or none.
    ///
    /// # Errors
    /// Corrupt.
    pub(in crate::archive) fn check_block(&self, block_len: Option<u32>) -> Result<()> {
        let got = self.block_len();
        if got == block_len {
            return Ok(());
        }
        let name = |len: Option<u32>| {
            len.map_or("no blocks".to_owned(), |len| format!("blocks of {len} bytes"))
        };
        let message = format!("{}, the stream is of {}", name(got), name(block_len));
        Err(Error::new(ErrorKind::Corrupt, message))
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
        let coded_len_len =
            if self.has_coded_len() { varint::len(self.payload_len.into()) } else { 0 };
        self.header_len(coded_len_len) + self.payload_len
    }

    /// Whether the header says how long the payload is.
    fn has_coded_len(&self) -> bool {
        self.tag.is_block || !self.is_stored()
    }

    /// Bytes of the header in long form, where coded_len takes `coded_len_len`.
    fn header_len(&self, coded_len_len: u32) -> u32 {
        let tag_len = if self.tag.method > 3 { 2 } else { 1 };
        let block_len = if self.tag.is_block { 1 + START_LEN } else { 0 };
        block_len + tag_len + varint::len(self.plain_len.into()) + coded_len_len + CRCS_LEN
    }

    /// Appends tag, plain_len and, where there is one, coded_len.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.tag.put(out);
        varint::put(out, self.plain_len.into());
        if self.has_coded_len() {
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
        let is_coded = |extent: &Self| extent.payload_lens().contains(&extent.payload_len);
        let found = match extent.has_coded_len() {
            false => Some(extent).filter(fits),
            true => (1..=4).filter_map(with_payload).filter(is_coded).find(fits),
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
        let extent = Self { tag, plain_len, payload_len: plain_len };
        if !extent.has_coded_len() {
            return Ok(extent);
        }
        let payload_len = source.varint_in("coded_len", extent.payload_lens())?;
        Ok(Self { payload_len, ..extent })
    }

    /// The payload's lengths that there can be. A block's is filled up.
    fn payload_lens(&self) -> RangeInclusive<u32> {
        1..=if self.tag.is_block { MAX_BLOCK_LEN } else { self.plain_len.saturating_sub(1) }
    }

    /// Cuts a good payload of a block down to the code in it.
    ///
    /// # Errors
    /// Corrupt where something else than zeros follows that, or it is not shorter than the plain bytes.
    pub(in crate::archive) fn strip(&self, payload: &mut Vec<u8>) -> Result<()> {
        if !self.tag.is_block {
            return Ok(());
        }
        let plain_len = self.plain_len as usize;
        let used = payload.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let (len, fits) = match self.is_stored() {
            true => (plain_len, used <= plain_len && plain_len <= payload.len()),
            false => (used, used < plain_len),
        };
        payload.truncate(len);
        if fits {
            return Ok(());
        }
        let message = format!("a block of {plain_len} plain bytes has {used} before its padding");
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tag { method, lanes, is_block } = self.tag;
        let (frame_len, plain_len) = (self.frame_len(), self.plain_len);
        let block = if is_block { "block, " } else { "" };
        write!(
            f,
            "{block}method {method}, lanes {lanes}, frame_len {frame_len}, plain_len {plain_len}"
        )
    }
}

/// Header of a chunk in long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct ChunkHeader {
    pub(in crate::archive) extent: Extent,
    /// Of a block: where its plain bytes begin in the stream's content.
    pub(in crate::archive) start: Option<u64>,
    pub(in crate::archive) plain_crc: u32,
    pub(in crate::archive) payload_crc: u32,
}

impl ChunkHeader {
    /// The header of `coded`, a chunk of `plain`.
    pub(in crate::archive) fn of(plain: &[u8], coded: &Coded<'_>) -> Self {
        let extent = Extent::of(coded);
        let plain_crc = crc32(plain);
        let payload_crc = if extent.is_stored() { plain_crc } else { crc32(&coded.payload) };
        Self { extent, start: None, plain_crc, payload_crc }
    }

    /// The header of `coded`, a chunk of `plain`, which begins at `start` of the content, as a block of
    /// `extent`, and the zeros that fill the block.
    pub(in crate::archive) fn of_block(
        plain: &[u8],
        coded: &Coded<'_>,
        extent: Extent,
        start: u64,
    ) -> (Self, Vec<u8>) {
        let zeros = vec![0; extent.payload_len as usize - coded.payload.len()];
        let mut payload_crc = crc32fast::Hasher::new();
        payload_crc.update(&coded.payload);
        payload_crc.update(&zeros);
        let (plain_crc, payload_crc) = (crc32(plain), payload_crc.finalize());
        (Self { extent, start: Some(start), plain_crc, payload_crc }, zeros)
    }

    /// The header's bytes.
    pub(in crate::archive) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        self.extent.put(&mut out);
        out.extend(self.start.iter().flat_map(|start| start.to_le_bytes()));
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
        let start = match tag.is_block {
            true => Some(u64::from_le_bytes(source.bytes("a block's start")?)),
            false => None,
        };
        let plain_crc = source.u32("the plain CRC")?;
        let payload_crc = source.u32("the payload CRC")?;
        source.expect_crc32("the chunk header's CRC")?;
        Ok(Some(Self { extent: extent.known()?, start, plain_crc, payload_crc }))
    }

    /// Checks that it is a chunk of a stream of blocks of `block_len` bytes, or of one without, and that
    /// a block's plain bytes begin at `start`.
    ///
    /// # Errors
    /// Corrupt.
    pub(in crate::archive) fn check_block(&self, block_len: Option<u32>, start: u64) -> Result<()> {
        self.extent.check_block(block_len)?;
        match self.start {
            Some(got) if got != start => {
                let message = format!("a block's text begins at {got}, expected {start}");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BLOCK_UNIT;
    use super::*;

    fn extents() -> Vec<Extent> {
        let lens = [(1, 1), (2, 1), (100, 99), (1 << 26, 127), (1 << 26, (1 << 26) - 1)];
        let tags = [(0, 1), (1, 64), (2, 1), (3, 1), (5, 1), (5, 64), (64, 64)];
        let extent = |(method, lanes): (u8, u8), (plain_len, payload_len): (u32, u32)| {
            let payload_len = if method == 0 { plain_len } else { payload_len };
            Extent { tag: Tag { method, lanes, is_block: false }, plain_len, payload_len }
        };
        let all = tags.iter().flat_map(|&tag| lens.iter().map(move |&lens| extent(tag, lens)));
        all.filter(|e| e.is_stored() || e.payload_len < e.plain_len).collect()
    }

    #[test]
    fn every_extent_comes_back_from_chunk_and_index() {
        for extent in extents().into_iter().chain(blocks()) {
            let (mut fields, mut entry) = (Vec::new(), Vec::new());
            extent.put(&mut fields);
            extent.put_entry(&mut entry);
            let read = Extent::read(0..=1 << 26, &mut Source::new(&fields[..])).unwrap();
            assert_eq!(read, extent);
            let read = Extent::read_entry(1..=1 << 26, &mut Source::new(&entry[..])).unwrap();
            assert_eq!(read, extent);
            let start_len = if extent.tag.is_block { START_LEN } else { 0 };
            let header_len = fields.len() as u32 + start_len + CRCS_LEN;
            assert_eq!(extent.frame_len(), header_len + extent.payload_len);
        }
    }

    /// Blocks of each length there is, with text of each length of its varint.
    fn blocks() -> Vec<Extent> {
        let lens = (1..=MAX_BLOCK_LEN / BLOCK_UNIT).map(|n| n * BLOCK_UNIT);
        let block = |block_len: u32| {
            [(Method::Adaptive, 1), (Method::Mixed, 200), (Method::Stored, 1 << 20)].map(
                |(method, plain_len)| {
                    let coding = Coding { method, lanes: 1 };
                    let coded = Coded { coding, plain_len, payload: vec![].into() };
                    let extent = Extent::of_block(&coded, block_len).unwrap();
                    assert_eq!(extent.block_len(), Some(block_len));
                    let room = Extent::room_in_block(block_len, plain_len);
                    assert_eq!(extent.payload_len as usize, room);
                    extent
                },
            )
        };
        lens.step_by(if cfg!(miri) { 500 } else { 1 }).flat_map(block).collect()
    }

    #[test]
    fn blocks_are_cut_to_their_code() {
        let strip = |method, plain_len, payload: &[u8]| {
            let coding = Coding { method, lanes: 1 };
            let coded = Coded { coding, plain_len, payload: vec![].into() };
            let mut payload = payload.to_vec();
            let stripped = Extent::of_block(&coded, 512).unwrap().strip(&mut payload);
            stripped.map(|()| payload)
        };
        assert_eq!(strip(Method::Adaptive, 9, &[1, 2, 0, 0]).unwrap(), [1, 2]);
        assert!(strip(Method::Model, 9, &[0, 0]).unwrap().is_empty());
        assert_eq!(strip(Method::Stored, 3, &[1, 2, 0, 0]).unwrap(), [1, 2, 0]);
        for (method, plain_len) in [(Method::Adaptive, 2), (Method::Stored, 1), (Method::Stored, 5)]
        {
            let error = strip(method, plain_len, &[1, 2, 0, 0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn methods_to_come_are_unsupported_not_damage() {
        for method in 5..=64 {
            let tag = Tag { method, lanes: 3, is_block: false };
            let extent = Extent { tag, plain_len: 9, payload_len: 2 };
            let header =
                ChunkHeader { extent, start: None, plain_crc: 1, payload_crc: 2 }.to_bytes();
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
        let tags =
            [&[0xC1, 9, 2][..], &[0x02, 64, 9, 2], &[END_TAG, 9, 2], &[1, 1, 0, 9], &[1, END_TAG]];
        for bytes in tags {
            let error = Extent::read(0..=9, &mut Source::new(bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes:02x?}");
        }
    }
}
