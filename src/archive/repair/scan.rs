//! Where the chunks of a damaged archive are, as far as that can still be told.
//!
//! Walks from chunk to chunk; where a chunk's header or what follows it makes no sense, looks at each
//! offset for the next thing whose checksum fits. Reads every payload, decodes none.
//!
//! The work is bounded by the archive's size: one that makes the scan read its bytes again and again,
//! as no accident does, is given up in the middle.

use super::segments::{Fragment, LongStream, Segment};
use crate::archive::format::{
    ChunkHeader, END_TAG, Extent, FOOTER_LEN, Footer, Header, IndexAtEnd, MAGIC, MAX_CHUNK_SIZE,
    Source, crc32, read_index, room_for_damaged,
};
use crate::error::{Error, ErrorKind, Result};
use std::io::{BufReader, Read, Seek};

/// Bytes looked through at a time: few at first, since most gaps are as long as a small chunk.
const FIRST_WINDOW: usize = 1 << 6;
const LAST_WINDOW: usize = 1 << 16;

/// Bytes that may be read for each byte of the archive, and on top of that. Whatever happened to an
/// archive by accident, each of its bytes is read a few times at most: as part of a damaged payload, of
/// a gap, of what follows.
const WORK_PER_BYTE: u64 = 32;
const FREE_WORK: u64 = 1 << 20;

/// Structure that stands at an offset.
enum Landmark {
    Chunk(ChunkHeader),
    Index(Vec<Extent>),
    Footer(Footer),
    /// The next stream, or nothing more.
    End,
    Nothing(Error),
}

/// Finds one part after the other.
pub(super) struct Scanner<R> {
    pub(super) source: Source<BufReader<R>>,
    /// Bytes in the input.
    pub(super) end: u64,
    index_at_end: IndexAtEnd,
}

impl<R: Read + Seek> Scanner<R> {
    /// # Errors
    /// Io.
    pub(super) fn new(input: R) -> Result<Self> {
        let mut source = Source::new(BufReader::new(input));
        let end = source.seek_to_end()?;
        Ok(Self { source, end, index_at_end: IndexAtEnd::default() })
    }

    /// The part that begins at `offset`, and where the next one does.
    ///
    /// # Errors
    /// Io.
    pub(super) fn part(&mut self, offset: u64) -> Result<(Segment, u64)> {
        if self.budget_exhausted() {
            return Ok((Segment::Junk(given_up(offset)), self.end));
        }
        self.source.seek_to(offset)?;
        let fault = match Header::read(&mut self.source, offset == 0) {
            Ok(Some(Header::Single(header))) => {
                let next = self.source.offset() + u64::from(header.extent.payload_len);
                return Ok((Segment::Single(Box::new(header)), next));
            }
            Ok(Some(Header::Long(header))) => {
                let stream = LongStream::new(header, self.source.offset());
                return self.long(stream);
            }
            Ok(None) => return Ok((Segment::Padding, self.end)),
            Err(e) if e.kind() == ErrorKind::Io => return Err(e),
            Err(e) => e,
        };
        let next = self.scan(offset)?;
        if self.is_stream_boundary(next)? {
            return Ok((Segment::Junk(fault), next));
        }
        self.source.seek_to(offset)?;
        let room = room_for_damaged(&mut self.source)?;
        self.walk(LongStream::without_header(offset..next, room, fault))
    }

    /// Reads the segment that follows the header of `stream`: where the index at the end says, or chunk by chunk.
    fn long(&mut self, mut stream: LongStream) -> Result<(Segment, u64)> {
        let index = self.index_at_end.take(stream.first_chunk, &mut self.source, self.end)?;
        let Some((chunks, footer)) = index else { return self.walk(stream) };
        let mut offset = stream.first_chunk;
        for extent in &chunks {
            let Some(piece) = self.expected_chunk(offset, *extent)? else {
                stream.pieces.clear(); // the index lies
                return self.walk(stream);
            };
            offset = piece.archive.end;
            stream.pieces.push(piece);
        }
        stream.footer = Some(footer);
        stream.index = Some((offset, chunks));
        stream.lose_misplaced_blocks();
        Ok((Segment::Long(Box::new(stream)), self.end))
    }

    /// The chunk at `offset` that an index tells of; `None` where there is a good one, but another.
    fn expected_chunk(&mut self, offset: u64, extent: Extent) -> Result<Option<Fragment>> {
        self.source.seek_to(offset)?;
        let mut start = None;
        let checked = match ChunkHeader::read(MAX_CHUNK_SIZE, &mut self.source) {
            Ok(Some(header)) if header.extent == extent => {
                start = header.start;
                self.check_payload(&header)?
            }
            Err(e) if e.kind() == ErrorKind::Io => return Err(e),
            Err(e) => Err(e),
            Ok(Some(_)) => return Ok(None),
            Ok(None) => Err(self.source.corrupt("an end tag where the index has a chunk")),
        };
        let archive = offset..offset + u64::from(extent.frame_len());
        Ok(Some(Fragment { archive, extent: Some(extent), start, error: checked.err() }))
    }

    /// Follows `stream` from its first chunk on.
    fn walk(&mut self, mut stream: LongStream) -> Result<(Segment, u64)> {
        let mut offset = stream.first_chunk;
        loop {
            if self.budget_exhausted() {
                stream.pieces.push(Fragment::gap(offset..self.end, given_up(offset)));
                offset = self.end;
                break;
            }
            match self.landmark(offset)? {
                Landmark::Chunk(header) => {
                    let piece = self.chunk(offset, &header)?;
                    offset = piece.archive.end;
                    stream.pieces.push(piece);
                }
                Landmark::Index(chunks) => {
                    stream.index = Some((offset, chunks));
                    offset = self.source.offset();
                    offset = self.after_footer(&mut stream, offset)?;
                    break;
                }
                Landmark::Footer(footer) => {
                    stream.index = self.index_before(offset, &footer)?;
                    stream.footer = Some(footer);
                    offset += FOOTER_LEN;
                    break;
                }
                Landmark::End => {
                    let message = format!("the stream breaks off at offset {offset}");
                    let error = Error::new(ErrorKind::Truncated, message);
                    stream.pieces.push(Fragment::gap(offset..offset, error));
                    break;
                }
                Landmark::Nothing(error) => {
                    let next = match self.after_lost_blocks(offset, stream.block_len())? {
                        Some(next) => next,
                        None => self.scan(offset + 1)?,
                    };
                    stream.pieces.push(Fragment::gap(offset..next, error));
                    offset = next;
                }
            }
        }
        stream.trim_trailing_gap();
        stream.lose_misplaced_blocks();
        Ok((Segment::Long(Box::new(stream)), offset))
    }

    /// Identifies the structure at `offset`. After an index the source stands behind it.
    fn landmark(&mut self, offset: u64) -> Result<Landmark> {
        if offset >= self.end || self.is_stream_boundary(offset)? {
            return Ok(Landmark::End);
        }
        self.source.seek_to(offset)?;
        let fault = match ChunkHeader::read(MAX_CHUNK_SIZE, &mut self.source) {
            Ok(Some(header)) => return Ok(Landmark::Chunk(header)),
            Ok(None) => {
                self.source.seek_to(offset)?;
                match read_index(&mut self.source) {
                    Ok(chunks) => return Ok(Landmark::Index(chunks)),
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        if fault.kind() == ErrorKind::Io {
            return Err(fault);
        }
        self.source.seek_to(offset)?;
        Ok(match Footer::read(&mut self.source) {
            Ok(footer) => Landmark::Footer(footer),
            Err(_) => Landmark::Nothing(fault),
        })
    }

    /// The chunk with `header` at `offset`. Where its payload is damaged and nothing known follows,
    /// bytes were lost or added: then the piece ends where the next known thing begins.
    fn chunk(&mut self, offset: u64, header: &ChunkHeader) -> Result<Fragment> {
        let ChunkHeader { extent, start, .. } = *header;
        let next = offset + u64::from(extent.frame_len());
        let checked = self.check_payload(header)?;
        let goes_on = checked.is_ok()
            || (next <= self.end && !matches!(self.landmark(next)?, Landmark::Nothing(_)))
            || self.after_lost_blocks(offset, extent.block_len())?.is_some();
        let end = if goes_on { next } else { self.scan(offset + 1)? };
        Ok(Fragment { archive: offset..end, extent: Some(extent), start, error: checked.err() })
    }

    /// Where the next thing known begins that is a whole number of blocks of `block_len` after the lost one at
    /// `offset`; `None` where bytes were lost or added, or there are no blocks.
    fn after_lost_blocks(&mut self, offset: u64, block_len: Option<u32>) -> Result<Option<u64>> {
        let Some(block_len) = block_len else { return Ok(None) };
        let mut at = offset + u64::from(block_len);
        while at <= self.end && !self.budget_exhausted() {
            if !matches!(self.landmark(at)?, Landmark::Nothing(_)) {
                return Ok(Some(at));
            }
            at += u64::from(block_len);
        }
        Ok(None)
    }

    /// Reads and checks the payload that follows `header`: damage is inside, Io outside.
    fn check_payload(&mut self, header: &ChunkHeader) -> Result<Result<()>> {
        let checked = self.source.payload(header.extent.payload_len).and_then(|mut payload| {
            self.source.expect("the payload's CRC", header.payload_crc, crc32(&payload))?;
            header.extent.strip(&mut payload)
        });
        match checked {
            Err(e) if e.kind() == ErrorKind::Io => Err(e),
            checked => Ok(checked),
        }
    }

    /// The next offset from `from` on at which a chunk, a footer or a stream begins; else, or where the
    /// work is spent, the end.
    ///
    /// # Errors
    /// Io.
    pub(super) fn scan(&mut self, from: u64) -> Result<u64> {
        let (mut window, mut len, mut start) = (Vec::new(), FIRST_WINDOW, from);
        while start < self.end && !self.budget_exhausted() {
            self.source.seek_to(start)?;
            window.resize(len + FOOTER_LEN as usize, 0);
            let n = self.source.fill(&mut window)?;
            for at in 0..n.min(len) {
                let offset = start + at as u64;
                if begins_chunk_or_footer(&window[at..n])
                    || (window[at..n].starts_with(&MAGIC)
                        && !self.budget_exhausted()
                        && self.is_stream(offset)?)
                {
                    return Ok(offset);
                }
            }
            start += len as u64;
            len = (2 * len).min(LAST_WINDOW);
        }
        Ok(self.end)
    }

    /// Whether the archive had its share of work.
    fn budget_exhausted(&self) -> bool {
        self.source.n_read() > self.end.saturating_mul(WORK_PER_BYTE).saturating_add(FREE_WORK)
    }

    /// Whether a stream can have ended at `offset`: there is another, or nothing but padding.
    ///
    /// # Errors
    /// Io.
    pub(super) fn is_stream_boundary(&mut self, offset: u64) -> Result<bool> {
        Ok(offset == self.end || (offset < self.end && self.read_header(offset)?.is_some()))
    }

    /// Whether a stream's header is at `offset`.
    fn is_stream(&mut self, offset: u64) -> Result<bool> {
        Ok(matches!(self.read_header(offset)?, Some(Some(_))))
    }

    /// The header at `offset`; inner `None`: padding up to the end. Outer `None`: neither.
    fn read_header(&mut self, offset: u64) -> Result<Option<Option<Header>>> {
        self.source.seek_to(offset)?;
        match Header::read(&mut self.source, false) {
            Err(e) if e.kind() == ErrorKind::Io => Err(e),
            result => Ok(result.ok()),
        }
    }

    /// Reads the footer at `offset`, after the index of `stream`; returns where the next part begins.
    /// Where bytes of the footer were lost, that is sooner than after a whole one.
    fn after_footer(&mut self, stream: &mut LongStream, offset: u64) -> Result<u64> {
        let next = (offset + FOOTER_LEN).min(self.end);
        match self.read_footer(stream, offset) {
            Ok(()) => return Ok(next),
            Err(e) if e.kind() == ErrorKind::Io => return Err(e),
            Err(e) => stream.footer_fault = Some(e),
        }
        stream.is_end_lost = next < offset + FOOTER_LEN || !self.is_stream_boundary(next)?;
        if stream.is_end_lost { Ok(self.scan(offset)?.min(next)) } else { Ok(next) }
    }

    /// Reads the footer at `offset` into `stream`.
    fn read_footer(&mut self, stream: &mut LongStream, offset: u64) -> Result<()> {
        self.source.seek_to(offset)?;
        let footer = Footer::read(&mut self.source)?;
        stream.footer = Some(footer);
        match stream.index {
            Some((start, _)) if offset - start != u64::from(footer.index_len) => {
                Err(self.source.corrupt("index_len is not the length of the index"))
            }
            _ => Ok(()),
        }
    }

    /// The index that ends where `footer` begins.
    fn index_before(&mut self, offset: u64, footer: &Footer) -> Result<Option<(u64, Vec<Extent>)>> {
        let Some(start) = offset.checked_sub(footer.index_len.into()) else { return Ok(None) };
        self.source.seek_to(start)?;
        match read_index(&mut self.source) {
            Ok(chunks) if self.source.offset() == offset => Ok(Some((start, chunks))),
            Err(e) if e.kind() == ErrorKind::Io => Err(e),
            _ => Ok(None),
        }
    }
}

/// Why nothing is looked for from `offset` on.
fn given_up(offset: u64) -> Error {
    let message = format!(
        "recovery aborted at offset {offset}: its read budget, {WORK_PER_BYTE} times the archive, is \
         exhausted; the archive looks crafted"
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// Whether `bytes` begin with a chunk's header or a footer. The end tag is none: an index is found
/// from its footer.
fn begins_chunk_or_footer(bytes: &[u8]) -> bool {
    let is_chunk = bytes[0] != END_TAG
        && matches!(ChunkHeader::read(MAX_CHUNK_SIZE, &mut Source::new(bytes)), Ok(Some(_)));
    is_chunk || (Footer::ends(bytes) && Footer::read(&mut Source::new(bytes)).is_ok())
}

#[cfg(test)]
mod tests;
