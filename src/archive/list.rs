//! Contents of an archive: streams and chunks, without decoding them.

use super::format::{
    ChunkHeader, Extent, Footer, Header, IndexAtEnd, LongHeader, Setup, SingleHeader, Source,
    read_and_compare,
};
use super::place::at_chunk;
use super::{AdapterName, ModelName, SteeringName};
use crate::codec::{Coding, Parameters};
use crate::error::{Error, Result};
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Bytes read ahead: a chunk's header, and little of the payload that is passed over.
const READ_AHEAD: usize = 64;

/// One stream of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// All its bytes in the file.
    pub archive_len: u64,
    /// The model it names, if any; needed only where [`needs_model`](Self::needs_model).
    pub model: Option<ModelName>,
    /// The adapter beside the model's weights, if any.
    pub adapter: Option<AdapterName>,
    /// Parameters of its chunks.
    pub parameters: Parameters,
    /// Plain bytes of its prefix; 0: it has none.
    pub prefix_len: u64,
    /// Its steering vectors, if any.
    pub steering: Option<SteeringName>,
    /// Bytes of a block, where its chunks are blocks: they and the header fill one or several each.
    pub block_len: Option<u32>,
    /// All that its chunks are coded with.
    pub(super) setup: Setup,
    /// BLAKE3 of the content; `None` in the single form, which has a CRC-32.
    pub content: Option<[u8; 32]>,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkInfo>,
}

/// One chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkInfo {
    /// Where its header begins in the file, in bytes; in the single form, where the stream begins.
    pub offset: u64,
    /// Header and payload, in bytes.
    pub archive_len: u64,
    /// Plain bytes.
    pub plain_len: u64,
    /// Method and lanes.
    pub coding: Coding,
}

impl StreamInfo {
    fn new(offset: u64, setup: Setup, content: Option<[u8; 32]>, chunks: Vec<ChunkInfo>) -> Self {
        let Setup { model, adapter, parameters, steering, prefix, block_len } = &setup;
        let prefix_len = prefix.as_ref().map_or(0, |prefix| prefix.plain_len as u64);
        Self {
            offset,
            archive_len: 0,
            model: model.clone(),
            adapter: adapter.clone(),
            parameters: *parameters,
            prefix_len,
            steering: steering.clone(),
            block_len: *block_len,
            setup,
            content,
            chunks,
        }
    }

    /// Whether some chunk runs a language model.
    pub fn needs_model(&self) -> bool {
        let by_prefix = self.setup.prefix.as_ref().is_some_and(|prefix| prefix.coding.runs_model());
        let needs_model =
            |c: &ChunkInfo| c.coding.runs_model() || (by_prefix && !c.coding.is_stored());
        self.chunks.iter().any(needs_model)
    }

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
pub fn list(input: impl Read + Seek) -> Result<Vec<StreamInfo>> {
    let (streams, header_fault) = streams(input)?;
    header_fault.map_or(Ok(streams), Err)
}

/// The same; damage of headers that costs no content is no error, but returned beside the streams.
pub(super) fn streams(mut input: impl Read + Seek) -> Result<(Vec<StreamInfo>, Option<Error>)> {
    let end = input.seek(SeekFrom::End(0)).and_then(|end| input.rewind().map(|()| end));
    let end = end.map_err(|e| Error::io("cannot seek in the archive", e))?;
    let source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
    let index_at_end = IndexAtEnd::default();
    let mut lister = Lister { source, end, index_at_end, header_fault: None };
    let mut streams = Vec::new();
    while let Some(stream) = lister.next_stream(streams.len() as u64)? {
        streams.push(stream);
    }
    Ok((streams, lister.header_fault))
}

struct Lister<R> {
    source: Source<BufReader<R>>,
    /// Bytes in the input.
    end: u64,
    index_at_end: IndexAtEnd,
    /// Damage of a header that costs no content: the first there is.
    header_fault: Option<Error>,
}

impl<R: Read + Seek> Lister<R> {
    /// Reads the figures of the next stream, `number`; `None` at the end.
    fn next_stream(&mut self, number: u64) -> Result<Option<StreamInfo>> {
        let offset = self.source.offset();
        let mut stream = match Header::read(&mut self.source, number == 0)? {
            None => return Ok(None),
            Some(Header::Single(header)) => {
                self.single(offset, header).map_err(|e| at_chunk(e, number, 0))?
            }
            Some(Header::Long(header)) => self.long(number, offset, header)?,
        };
        stream.archive_len = self.source.offset() - offset;
        Ok(Some(stream))
    }

    fn single(&mut self, offset: u64, header: SingleHeader) -> Result<StreamInfo> {
        let SingleHeader { extent, setup, .. } = header;
        self.source.skip(extent.payload_len, self.end)?;
        let (archive_len, plain_len) = (self.source.offset() - offset, extent.plain_len.into());
        let chunk = ChunkInfo { offset, archive_len, plain_len, coding: extent.coding() };
        Ok(StreamInfo::new(offset, setup, None, vec![chunk]))
    }

    fn long(&mut self, number: u64, offset: u64, header: LongHeader) -> Result<StreamInfo> {
        let first_chunk = self.source.offset();
        let at_end = self.index_at_end.take(first_chunk, &mut self.source, self.end)?;
        let (extents, footer) = match at_end {
            Some(found) => found,
            None => {
                self.source.seek_to(first_chunk)?;
                self.walk(number, &header)?
            }
        };
        self.header_fault = self.header_fault.take().or_else(|| header.padding_fault());
        for (chunk, extent) in extents.iter().enumerate() {
            extent.check_block(header.setup.block_len).map_err(|e| at_chunk(e, number, chunk))?;
        }
        let chunks = chunk_infos(first_chunk, &extents);
        Ok(StreamInfo::new(offset, header.setup, Some(footer.content), chunks))
    }

    /// Reads forward over all chunks of stream `number`, its index and its footer.
    fn walk(&mut self, number: u64, header: &LongHeader) -> Result<(Vec<Extent>, Footer)> {
        let mut extents = Vec::new();
        loop {
            let extent = self.walk_chunk(header).map_err(|e| at_chunk(e, number, extents.len()))?;
            let Some(extent) = extent else { break };
            extents.push(extent);
        }
        let index_start = self.source.offset() - 1;
        read_and_compare(&mut self.source, &extents)?;
        let index_len = self.source.offset() - index_start;
        let footer = Footer::read(&mut self.source)?;
        if u64::from(footer.index_len) != index_len {
            let got = footer.index_len;
            return Err(self.source.corrupt(format!("index_len is {got}, expected {index_len}")));
        }
        Ok((extents, footer))
    }

    /// Reads a chunk's header and passes over its payload; `None` at the end tag.
    fn walk_chunk(&mut self, header: &LongHeader) -> Result<Option<Extent>> {
        let Some(chunk) = ChunkHeader::read(header.chunk_size, &mut self.source)? else {
            return Ok(None);
        };
        self.source.skip(chunk.extent.payload_len, self.end)?;
        Ok(Some(chunk.extent))
    }
}

/// The chunks of `extents`, the first of which begins at `offset`.
fn chunk_infos(mut offset: u64, extents: &[Extent]) -> Vec<ChunkInfo> {
    let chunk_info = |extent: &Extent| {
        let (here, archive_len) = (offset, extent.frame_len().into());
        offset += archive_len;
        let (plain_len, coding) = (extent.plain_len.into(), extent.coding());
        ChunkInfo { offset: here, archive_len, plain_len, coding }
    };
    extents.iter().map(chunk_info).collect()
}
