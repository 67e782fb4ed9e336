//! Parts of an archive: one chunk, one block, or a range of bytes.

use super::decompress::write_error;
use super::format::{ChunkHeader, Header, LongHeader, MAX_CHUNK_SIZE, Source, Tail};
use super::frame::{Frame, StreamDecoder};
use super::list::{ChunkInfo, StreamInfo, streams};
use super::options::Options;
use super::pool::Pool;
use super::{ModelSource, Progress, Summary};
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::io::{BufReader, Read, Seek, Write};
use std::ops::Range;

/// No bytes are read ahead: they would be the next chunk's.
const READ_AHEAD: usize = 0;

/// The plain bytes of chunk `chunk` of `stream`, one of those that [`list`](super::list()) found in
/// `input`. Reads that chunk only.
///
/// # Errors
/// InvalidArgument where there is no such chunk; Io, Truncated, Corrupt, ModelMissing,
/// InvalidModel.
pub fn read_chunk(
    input: impl Read + Seek,
    stream: &StreamInfo,
    chunk: usize,
    models: &dyn ModelSource,
    options: &Options,
) -> Result<Vec<u8>> {
    let n_chunks = stream.chunks.len();
    let out_of_range = || invalid(format!("chunk {chunk} asked for, there are {n_chunks}"));
    let info = stream.chunks.get(chunk).ok_or_else(out_of_range)?;
    let mut source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
    let start = stream.chunks[..chunk].iter().map(|chunk| chunk.plain_len).sum();
    let frame = read_frame(&mut source, stream, info, start)?;
    let mut decoder = StreamDecoder::new(stream.setup.clone());
    let pool = Pool::of(options)?;
    let plains = decoder.decode(&[&frame], models, &pool, options.resources(&|_| ()))?;
    plains.into_iter().next().expect("one frame was decoded").map(Cow::into_owned)
}

/// Writes the bytes `range` of the content of `input`, all streams joined, to `output`; a range past the
/// end is cut there. Reads the indexes, and decodes only the chunks that have these bytes.
///
/// # Errors
/// All of [`ErrorKind`].
pub fn read_range(
    mut input: impl Read + Seek,
    range: Range<u64>,
    mut output: impl Write,
    models: &dyn ModelSource,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Summary> {
    let (streams, _) = streams(&mut input)?;
    let mut source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
    let pool = Pool::of(options)?;
    let mut summary = Summary::default();
    let mut begin = 0; // of the chunk, in the content
    for stream in &streams {
        let mut decoder = StreamDecoder::new(stream.setup.clone());
        let stream_begin = begin;
        let chunks = stream.chunks.iter().map(|chunk| {
            let at = begin..begin + chunk.plain_len;
            begin = at.end;
            (chunk, range.start.max(at.start)..range.end.min(at.end), at.start)
        });
        let wanted: Vec<_> = chunks.filter(|(_, part, _)| !part.is_empty()).collect();
        summary.n_streams += u64::from(!wanted.is_empty());
        for (chunk, part, at) in wanted {
            summary.plain_len += part.end - part.start;
            options.check_limit(summary.plain_len)?;
            let frame = read_frame(&mut source, stream, chunk, at - stream_begin)?;
            let plains = decoder.decode(&[&frame], models, &pool, options.resources(&|_| ()))?;
            let plain = plains.into_iter().next().expect("one frame was decoded")?;
            let part = (part.start - at) as usize..(part.end - at) as usize;
            let part = plain.get(part).ok_or_else(changed)?;
            output.write_all(part).map_err(write_error)?;
            progress(part.len() as u64);
            summary.archive_len += chunk.archive_len;
            summary.n_chunks += 1;
        }
    }
    output.flush().map_err(write_error)?;
    Ok(summary)
}

/// A block of an archive, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Where its plain bytes begin in the content.
    pub start: u64,
    /// Plain bytes.
    pub plain: Vec<u8>,
    /// Its figures.
    pub summary: Summary,
}

impl Block {
    fn new(start: u64, plain: Vec<u8>, archive_len: u64, is_stored: bool) -> Self {
        let summary = Summary {
            plain_len: plain.len() as u64,
            archive_len,
            n_streams: 1,
            n_chunks: 1,
            n_stored: is_stored.into(),
            ..Summary::default()
        };
        Self { start, plain, summary }
    }
}

/// Block `number` of `input`, counted from 0 through all its streams; those of chunks have none (`Options::block_len`).
///
/// Of a file that is one stream it reads the header, the block, which it finds by multiplication, and the last bytes, which tell that
/// there is one stream; where they are damaged it takes the file for one. Else it reads what [`list`](super::list()) does, too.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where there are no blocks, or not so many; all others of [`ErrorKind`] but
/// `TrailingData`.
pub fn read_block(
    mut input: impl Read + Seek,
    number: u64,
    models: &dyn ModelSource,
    options: &Options,
) -> Result<Block> {
    let mut source = Source::new(BufReader::with_capacity(READ_AHEAD, &mut input));
    let end = source.seek_to_end()?;
    source.seek_to(0)?;
    let place = Place::read(&mut source)?;
    let tail = Tail::read(&mut source, end)?;
    let is_alone = |place: &Place| {
        tail.as_ref().is_none_or(|tail| tail.follows_blocks(place.first, place.block_len))
    };
    match place {
        Some(place) if is_alone(&place) => match tail.filter(|tail| tail.n_chunks <= number) {
            Some(tail) => Err(past_the_last(number, tail.n_chunks)),
            None => place.block(&mut source, number, models, options),
        },
        place => match (streams(&mut input), place) {
            (Ok((streams, _)), _) => block_of(input, &streams, number, models, options),
            (Err(e), None) => Err(e),
            (Err(_), Some(place)) => {
                let mut source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
                place.block(&mut source, number, models, options)
            }
        },
    }
}

/// Where the blocks of a file's first stream stand.
struct Place {
    header: LongHeader,
    block_len: u32,
    /// Where the first begins in the file.
    first: u64,
}

impl Place {
    /// Reads the first header; `None` where that is none of blocks.
    fn read<R: Read>(source: &mut Source<R>) -> Result<Option<Self>> {
        let Some(Header::Long(header)) = Header::read(source, true)? else { return Ok(None) };
        let block_len = header.setup.block_len;
        Ok(block_len.map(|block_len| Self { header, block_len, first: source.offset() }))
    }

    /// Reads block `number` and decodes it.
    fn block<R: Read + Seek>(
        self,
        source: &mut Source<BufReader<R>>,
        number: u64,
        models: &dyn ModelSource,
        options: &Options,
    ) -> Result<Block> {
        let Self { header, block_len, first } = self;
        let read = || {
            let offset = number.checked_mul(block_len.into());
            let offset = offset.and_then(|offset| offset.checked_add(first));
            source.seek_to(offset.filter(|&at| i64::try_from(at).is_ok()).ok_or_else(changed)?)?;
            let chunk = ChunkHeader::read(header.chunk_size, source)?.ok_or_else(changed)?;
            chunk.check_block(Some(block_len), chunk.start.unwrap_or(0))?;
            options.check_limit(chunk.extent.plain_len.into())?;
            let frame = Frame::read(chunk, source)?;
            let (mut decoder, pool) = (StreamDecoder::new(header.setup), Pool::of(options)?);
            let plains = decoder.decode(&[&frame], models, &pool, options.resources(&|_| ()))?;
            let plain = plains.into_iter().next().expect("one frame was decoded")?.into_owned();
            let is_stored = chunk.extent.is_stored();
            Ok(Block::new(chunk.start.unwrap_or(0), plain, block_len.into(), is_stored))
        };
        read().map_err(|e: Error| e.at(format!("block {number}")))
    }
}

/// Block `number` of all `streams` of `input`.
fn block_of(
    input: impl Read + Seek,
    streams: &[StreamInfo],
    number: u64,
    models: &dyn ModelSource,
    options: &Options,
) -> Result<Block> {
    let (mut start, mut n_blocks) = (0, 0);
    for stream in streams {
        let n = stream.block_len.map_or(0, |_| stream.chunks.len() as u64);
        if number < n_blocks + n {
            let chunk = (number - n_blocks) as usize;
            let info = stream.chunks[chunk];
            options.check_limit(info.plain_len)?;
            let plain = read_chunk(input, stream, chunk, models, options)
                .map_err(|e| e.at(format!("block {number}")))?;
            start += stream.chunks[..chunk].iter().map(|chunk| chunk.plain_len).sum::<u64>();
            return Ok(Block::new(start, plain, info.archive_len, info.coding.is_stored()));
        }
        n_blocks += n;
        start += stream.plain_len();
    }
    match streams.iter().any(|stream| stream.block_len.is_some()) {
        true => Err(past_the_last(number, n_blocks)),
        false => Err(invalid("the archive is not one of blocks".into())),
    }
}

fn past_the_last(number: u64, n_blocks: u64) -> Error {
    invalid(format!("block {number} asked for, there are {n_blocks}"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Reads the chunk of `stream` that `info` says where to find, whose plain bytes begin at `start` of it.
fn read_frame<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    stream: &StreamInfo,
    info: &ChunkInfo,
    start: u64,
) -> Result<Frame> {
    source.seek_to(info.offset)?;
    match stream.content {
        None => match Header::read(source, true)? {
            Some(Header::Single(header)) => Frame::read_single(header, source),
            _ => Err(changed()),
        },
        Some(_) => {
            let header = ChunkHeader::read(MAX_CHUNK_SIZE, source)?.ok_or_else(changed)?;
            header.check_block(stream.block_len, start)?;
            Frame::read(header, source)
        }
    }
}

fn changed() -> Error {
    Error::new(ErrorKind::Corrupt, "the archive is not the one listed")
}
