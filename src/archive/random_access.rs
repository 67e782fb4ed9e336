//! Parts of an archive: one chunk, one block, or a range of bytes.

use super::decompress::write_error;
use super::format::{ChunkHeader, Header, MAX_CHUNK_SIZE, Source};
use super::frame::{Frame, StreamDecoder};
use super::list::{ChunkInfo, StreamInfo, list};
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
    let streams = list(&mut input)?;
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

/// Block `number` of `input`, an archive of one stream of blocks (`Options::block_len`). Reads the header,
/// finds the block by multiplication and reads nothing else.
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
    read_block_by_place(&mut input, number, models, options).map_err(|error| {
        // Past the last block is the index: only now is it worth reading.
        let n_blocks = list(&mut input).ok().map(|s| s.iter().map(|s| s.chunks.len() as u64).sum());
        match n_blocks.filter(|&n: &u64| n <= number) {
            Some(n) => invalid(format!("block {number} asked for, there are {n}")),
            None => error.at(format!("block {number}")),
        }
    })
}

fn read_block_by_place(
    input: impl Read + Seek,
    number: u64,
    models: &dyn ModelSource,
    options: &Options,
) -> Result<Block> {
    let mut source = Source::new(BufReader::with_capacity(READ_AHEAD, input));
    source.seek_to(0)?;
    let header = match Header::read(&mut source, true)? {
        Some(Header::Long(header)) => Some(header),
        _ => None,
    };
    let blocks = header.and_then(|header| header.setup.block_len.map(|len| (header, len)));
    let Some((header, block_len)) = blocks else {
        return Err(invalid("the archive is not one of blocks".into()));
    };
    let offset = number.checked_mul(block_len.into());
    let offset = offset.and_then(|offset| offset.checked_add(source.offset()));
    source.seek_to(offset.filter(|&at| i64::try_from(at).is_ok()).ok_or_else(changed)?)?;
    let chunk = ChunkHeader::read(header.chunk_size, &mut source)?.ok_or_else(changed)?;
    let start = chunk.start.unwrap_or(0);
    chunk.check_block(Some(block_len), start)?;
    options.check_limit(chunk.extent.plain_len.into())?;
    let frame = Frame::read(chunk, &mut source)?;
    let summary = Summary {
        plain_len: chunk.extent.plain_len.into(),
        archive_len: block_len.into(),
        n_streams: 1,
        n_chunks: 1,
        n_stored: chunk.extent.is_stored().into(),
        ..Summary::default()
    };
    let (mut decoder, pool) = (StreamDecoder::new(header.setup), Pool::of(options)?);
    let plains = decoder.decode(&[&frame], models, &pool, options.resources(&|_| ()))?;
    let plain = plains.into_iter().next().expect("one frame was decoded")?.into_owned();
    Ok(Block { start, plain, summary })
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
