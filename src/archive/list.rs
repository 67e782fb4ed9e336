//! What an archive holds, without decoding it.

use super::ModelName;
use super::chunk_header::{ChunkHeader, Extent};
use super::damage::at_chunk;
use super::footer::Footer;
use super::header::{Header, LongHeader};
use super::index::{self, Entry, IndexAtEnd};
use super::single::SingleHeader;
use super::source::Source;
use crate::codec::{Method, Parameters};
use crate::error::{Error, Result};
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Bytes read ahead: a chunk's header, and little of the payload that is passed over.
const READ_AHEAD: usize = 64;

/// One stream of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// All its bytes in the file.
    pub archive_len: u64,
    /// The model it names; needed only where a chunk is not stored.
    pub model: ModelName,
    /// What its chunks are coded with.
    pub parameters: Parameters,
    /// BLAKE3 of the content; `None` in the single form, which has a CRC-32.
    pub content: Option<[u8; 32]>,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkInfo>,
}

/// One chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Where its header begins in the file, in bytes; in the single form, where the stream begins.
    pub offset: u64,
    /// Header and payload, in bytes.
    pub archive_len: u64,
    /// Plain bytes.
    pub plain_len: u64,
    /// How it is coded.
    pub method: Method,
    /// Lanes it is coded in.
    pub lanes: u8,
}

impl StreamInfo {
    /// Plain bytes in all chunks.
    pub fn plain_len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.plain_len).sum()
    }
}

/// The streams of `input`, from their headers and indexes alone.
///
/// Passes over payloads; takes the index from the end where the last stream has one. Contents are
/// not checked, models not loaded.
///
/// # Errors
/// Io, NotAnArchive, Truncated, Corrupt, Unsupported, TrailingData.
pub fn list(mut input: impl Read + Seek) -> Result<Vec<StreamInfo>> {
    let end = input.seek(SeekFrom::End(0)).and_then(|end| input.rewind().map(|()| end));
    let end = end.map_err(|e| Error::io("cannot seek in the archive", e))?;
    let source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
    let mut lister = Lister { source, end, index_at_end: IndexAtEnd::default() };
    let mut streams = Vec::new();
    while let Some(stream) = lister.next_stream(streams.len() as u64)? {
        streams.push(stream);
    }
    Ok(streams)
}

struct Lister<R> {
    source: Source<BufReader<R>>,
    /// Bytes in the input.
    end: u64,
    index_at_end: IndexAtEnd,
}

impl<R: Read + Seek> Lister<R> {
    /// Reads the figures of the next stream, `number`; `None` at the end.
    fn next_stream(&mut self, number: u64) -> Result<Option<StreamInfo>> {
        let offset = self.source.offset();
        let mut stream = match Header::read(&mut self.source, number == 0)? {
            None => return Ok(None),
            Some(Header::Single(header)) => {
                self.single(offset, &header).map_err(|e| at_chunk(e, number, 0))?
            }
            Some(Header::Long(header)) => self.long(number, offset, header)?,
        };
        stream.archive_len = self.source.offset() - offset;
        Ok(Some(stream))
    }

    fn single(&mut self, offset: u64, header: &SingleHeader) -> Result<StreamInfo> {
        self.source.skip(header.extent.payload_len, self.end)?;
        let archive_len = self.source.offset() - offset;
        let Extent { tag, plain_len, .. } = header.extent;
        let entry = Entry { tag, frame_len: archive_len as u32, plain_len };
        let chunks = chunk_infos(offset, &[entry]);
        let (model, parameters) = (header.model(), Parameters::default());
        Ok(StreamInfo { offset, archive_len, model, parameters, content: None, chunks })
    }

    fn long(&mut self, number: u64, offset: u64, header: LongHeader) -> Result<StreamInfo> {
        let first_chunk = self.source.offset();
        let at_end = self.index_at_end.take(first_chunk, &mut self.source, self.end)?;
        let (entries, footer) = match at_end {
            Some(found) => found,
            None => {
                self.source.seek_to(first_chunk)?;
                self.walk(number, &header)?
            }
        };
        let content = Some(footer.content);
        let chunks = chunk_infos(first_chunk, &entries);
        let LongHeader { model, parameters, .. } = header;
        Ok(StreamInfo { offset, archive_len: 0, model, parameters, content, chunks })
    }

    /// Reads forward over all chunks of stream `number`, its index and its footer.
    fn walk(&mut self, number: u64, header: &LongHeader) -> Result<(Vec<Entry>, Footer)> {
        let mut entries = Vec::new();
        loop {
            let entry = self.walk_chunk(header).map_err(|e| at_chunk(e, number, entries.len()))?;
            let Some(entry) = entry else { break };
            entries.push(entry);
        }
        let index_start = self.source.offset() - 1;
        index::read_and_compare(&mut self.source, &entries)?;
        let index_len = self.source.offset() - index_start;
        let footer = Footer::read(&mut self.source)?;
        if u64::from(footer.index_len) != index_len {
            let got = footer.index_len;
            return Err(self.source.corrupt(format!("index_len is {got}, expected {index_len}")));
        }
        Ok((entries, footer))
    }

    /// Reads a chunk's header and passes over its payload; `None` at the end tag.
    fn walk_chunk(&mut self, header: &LongHeader) -> Result<Option<Entry>> {
        let Some(chunk) = ChunkHeader::read(header.chunk_size, &mut self.source)? else {
            return Ok(None);
        };
        self.source.skip(chunk.extent.payload_len, self.end)?;
        Ok(Some(Entry::of(&chunk)))
    }
}

/// The chunks of `entries`, the first of which begins at `offset`.
fn chunk_infos(mut offset: u64, entries: &[Entry]) -> Vec<ChunkInfo> {
    let chunk_info = |&Entry { tag, frame_len, plain_len }: &Entry| {
        let (here, archive_len, plain_len) = (offset, frame_len.into(), plain_len.into());
        offset += archive_len;
        ChunkInfo { offset: here, archive_len, plain_len, method: tag.method, lanes: tag.lanes }
    };
    entries.iter().map(chunk_info).collect()
}
