//! The index: what the chunks say, once more, where a reader finds it from the end.

use super::checksum::seal;
use super::chunk_header::{ChunkHeader, END_TAG, Tag};
use super::footer::{FOOTER_LEN, Footer};
use super::source::Source;
use super::{MAX_CHUNK_SIZE, varint};
use crate::error::{ErrorKind, Result};
use std::fmt;
use std::io::{BufReader, Read, Seek};

/// A chunk's header is shorter than this, in bytes.
const MAX_HEADER_LEN: u32 = 64;

/// One chunk in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    /// Bytes of header and payload.
    pub(super) frame_len: u32,
    pub(super) plain_len: u32,
}

impl Entry {
    /// The entry of a chunk with `header`.
    pub(super) fn of(header: &ChunkHeader) -> Self {
        let extent = header.extent;
        let frame_len = header.to_bytes().len() as u32 + extent.payload_len;
        Self { tag: extent.tag, frame_len, plain_len: extent.plain_len }
    }

    /// Reads the next entry.
    fn read<R: Read>(source: &mut Source<R>) -> Result<Self> {
        let tag = Tag::read(source)?;
        let frame_lens = 1..=MAX_CHUNK_SIZE + MAX_HEADER_LEN;
        let frame_len = source.varint_in("frame_len", frame_lens)?;
        let plain_len = source.varint_in("plain_len", 1..=MAX_CHUNK_SIZE)?;
        Ok(Self { tag, frame_len, plain_len })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, frame_len, plain_len } = self;
        write!(f, "tag {:#04x}, frame_len {frame_len}, plain_len {plain_len}", tag.to_byte())
    }
}

/// The bytes from the end tag up to and including the index CRC.
pub(super) fn to_bytes(entries: &[Entry]) -> Vec<u8> {
    let mut out = vec![END_TAG];
    varint::put(&mut out, entries.len() as u64);
    for entry in entries {
        out.push(entry.tag.to_byte());
        varint::put(&mut out, entry.frame_len.into());
        varint::put(&mut out, entry.plain_len.into());
    }
    seal(&mut out);
    out
}

/// Reads an index whose end tag has been read, and compares it with the chunks read.
///
/// # Errors
/// Io, Truncated; Corrupt where it differs from `expected`.
pub(super) fn read_and_compare<R: Read>(source: &mut Source<R>, expected: &[Entry]) -> Result<()> {
    let n_chunks = source.varint("the number of chunks")?;
    if n_chunks != expected.len() as u64 {
        let n_read = expected.len();
        return Err(source.corrupt(format!("the index has {n_chunks} chunks, read were {n_read}")));
    }
    for (chunk, expected) in expected.iter().enumerate() {
        let got = Entry::read(source)?;
        if got != *expected {
            let message = format!("chunk {chunk}: the index says {got}, read was {expected}");
            return Err(source.corrupt(message));
        }
    }
    source.expect_crc32("the index's CRC")
}

/// Reads an index from its end tag on. Memory grows as entries arrive.
///
/// # Errors
/// Io, Truncated, Corrupt.
pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<Vec<Entry>> {
    source.begin_check();
    if source.byte("the end tag")? != END_TAG {
        return Err(source.corrupt("no end tag before the index"));
    }
    let n_chunks = source.varint("the number of chunks")?;
    let entries = (0..n_chunks).map(|_| Entry::read(source)).collect::<Result<_>>()?;
    source.expect_crc32("the index's CRC")?;
    Ok(entries)
}

/// Index and footer that the last bytes of an input lead to. Read once, however many streams are asked
/// whether they are theirs: an archive of many streams would take the square of its size.
#[derive(Default)]
pub(super) struct IndexAtEnd {
    is_read: bool,
    found: Option<Found>,
}

struct Found {
    /// Where its chunks begin in the file, if they fill all up to the index.
    first_chunk: u64,
    entries: Vec<Entry>,
    footer: Footer,
}

impl IndexAtEnd {
    /// Those of the stream whose chunks begin at `first_chunk`, in an input of `end` bytes. Then
    /// leaves the source at the end, else anywhere.
    ///
    /// # Errors
    /// Io.
    pub(super) fn take<R: Read + Seek>(
        &mut self,
        first_chunk: u64,
        source: &mut Source<BufReader<R>>,
        end: u64,
    ) -> Result<Option<(Vec<Entry>, Footer)>> {
        if !self.is_read {
            self.found = match read_at_end(source, end) {
                Err(e) if e.kind() == ErrorKind::Io => return Err(e),
                found => found.ok().flatten(),
            };
            self.is_read = true;
        }
        let Some(found) = self.found.take_if(|found| found.first_chunk == first_chunk) else {
            return Ok(None);
        };
        source.seek_to(end)?;
        Ok(Some((found.entries, found.footer)))
    }
}

fn read_at_end<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    end: u64,
) -> Result<Option<Found>> {
    let Some(footer_start) = end.checked_sub(FOOTER_LEN) else { return Ok(None) };
    source.seek_to(footer_start)?;
    let footer = Footer::read(source)?;
    let Some(start) = footer_start.checked_sub(footer.index_len.into()) else { return Ok(None) };
    source.seek_to(start)?;
    let entries = read(source)?;
    let frames = entries.iter().map(|entry| u64::from(entry.frame_len)).sum();
    let is_whole = source.offset() == footer_start;
    let first_chunk = start.checked_sub(frames).filter(|_| is_whole);
    Ok(first_chunk.map(|first_chunk| Found { first_chunk, entries, footer }))
}
