//! The index: what the chunks say, once more, where a reader finds it from the end
//! (`docs/format.md`, section 8).

use super::checksum::seal;
use super::chunk_header::{END_TAG, Extent};
use super::footer::{FOOTER_LEN, Footer};
use super::padding::content_end;
use super::source::Source;
use super::{MAX_CHUNK_SIZE, varint};
use crate::error::{ErrorKind, Result};
use std::io::{BufReader, Read, Seek};

/// Reads the next entry.
fn read_entry<R: Read>(source: &mut Source<R>) -> Result<Extent> {
    Extent::read_entry(1..=MAX_CHUNK_SIZE, source)
}

/// The bytes from the end tag up to and including the index CRC.
pub(in crate::archive) fn index_bytes(chunks: &[Extent]) -> Vec<u8> {
    let mut out = vec![END_TAG];
    varint::put(&mut out, chunks.len() as u64);
    for chunk in chunks {
        chunk.put_entry(&mut out);
    }
    seal(&mut out);
    out
}

/// Reads an index whose end tag has been read, and compares it with the chunks read.
///
/// # Errors
/// Io, Truncated; Corrupt where it differs from `expected`.
pub(in crate::archive) fn read_and_compare<R: Read>(
    source: &mut Source<R>,
    expected: &[Extent],
) -> Result<()> {
    let n_chunks = source.varint("the number of chunks")?;
    if n_chunks != expected.len() as u64 {
        let n_read = expected.len();
        return Err(source.corrupt(format!("the index has {n_chunks} chunks, read were {n_read}")));
    }
    for (chunk, expected) in expected.iter().enumerate() {
        let got = read_entry(source)?;
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
/// Io, Truncated, Corrupt; Unsupported where a method is not known.
pub(in crate::archive) fn read_index<R: Read>(source: &mut Source<R>) -> Result<Vec<Extent>> {
    source.begin_check();
    if source.byte("the end tag")? != END_TAG {
        return Err(source.corrupt("no end tag before the index"));
    }
    let n_chunks = source.varint("the number of chunks")?;
    let chunks = (0..n_chunks).map(|_| read_entry(source)).collect::<Result<Vec<_>>>()?;
    source.expect_crc32("the index's CRC")?;
    chunks.into_iter().map(Extent::known).collect()
}

/// Index and footer that the last bytes of an input lead to. Read once, however many streams are asked
/// whether they are theirs: an archive of many streams would take the square of its size.
#[derive(Default)]
pub(in crate::archive) struct IndexAtEnd {
    is_read: bool,
    found: Option<Found>,
}

struct Found {
    /// Where its chunks begin in the file, if they fill all up to the index.
    first_chunk: u64,
    /// Where its footer ends.
    end: u64,
    chunks: Vec<Extent>,
    footer: Footer,
}

impl IndexAtEnd {
    /// Those of the stream whose chunks begin at `first_chunk`, in an input of `end` bytes. Then
    /// leaves the source behind the footer, else anywhere.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn take<R: Read + Seek>(
        &mut self,
        first_chunk: u64,
        source: &mut Source<BufReader<R>>,
        end: u64,
    ) -> Result<Option<(Vec<Extent>, Footer)>> {
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
        source.seek_to(found.end)?;
        Ok(Some((found.chunks, found.footer)))
    }
}

fn read_at_end<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    end: u64,
) -> Result<Option<Found>> {
    let Some((start, footer, end)) = seek_index_at_end(source, end)? else { return Ok(None) };
    let chunks = read_index(source)?;
    let frames = chunks.iter().map(|chunk| u64::from(chunk.frame_len())).sum();
    let is_whole = source.offset() == end - FOOTER_LEN;
    let first_chunk = start.checked_sub(frames).filter(|_| is_whole);
    Ok(first_chunk.map(|first_chunk| Found { first_chunk, end, chunks, footer }))
}

/// Goes to where the index begins by the footer that an input of `end` bytes ends with. Returns that place, the footer, and where it ends.
fn seek_index_at_end<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    end: u64,
) -> Result<Option<(u64, Footer, u64)>> {
    let end = content_end(source, end)?;
    let Some(footer_start) = end.checked_sub(FOOTER_LEN) else { return Ok(None) };
    source.seek_to(footer_start)?;
    let footer = Footer::read(source)?;
    let Some(start) = footer_start.checked_sub(footer.index_len.into()) else { return Ok(None) };
    source.seek_to(start)?;
    Ok(Some((start, footer, end)))
}

/// Place and length of the last stream's index, as the last bytes of an input and the first of that index tell.
pub(in crate::archive) struct Tail {
    /// Where the index begins in the file.
    index_start: u64,
    /// Chunks of the last stream.
    pub(in crate::archive) n_chunks: u64,
}

impl Tail {
    /// Reads it; `None` where an input of `end` bytes does not end so.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn read<R: Read + Seek>(
        source: &mut Source<BufReader<R>>,
        end: u64,
    ) -> Result<Option<Self>> {
        let mut read = || -> Result<Option<Self>> {
            let Some((index_start, ..)) = seek_index_at_end(source, end)? else { return Ok(None) };
            if source.byte("the end tag")? != END_TAG {
                return Ok(None);
            }
            let n_chunks = source.varint("the number of chunks")?;
            Ok(Some(Self { index_start, n_chunks }))
        };
        match read() {
            Err(e) if e.kind() == ErrorKind::Io => Err(e),
            tail => Ok(tail.ok().flatten()),
        }
    }

    /// Whether the last stream's chunks are blocks of `block_len` bytes of which the first begins at `first`.
    pub(in crate::archive) fn follows_blocks(&self, first: u64, block_len: u32) -> bool {
        let blocks = self.n_chunks.checked_mul(block_len.into());
        blocks.and_then(|blocks| blocks.checked_add(first)) == Some(self.index_start)
    }
}
