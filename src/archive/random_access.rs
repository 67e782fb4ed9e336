//! Parts of an archive: one chunk, or a range of bytes.

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
    let out_of_range = || {
        let message = format!("chunk {chunk} asked for, there are {n_chunks}");
        Error::new(ErrorKind::InvalidArgument, message)
    };
    let info = stream.chunks.get(chunk).ok_or_else(out_of_range)?;
    let mut source = Source::new(BufReader::new(input));
    let frame = read_frame(&mut source, stream, info)?;
    let mut decoder = StreamDecoder::new(stream.setup.clone());
    let pool = Pool::of(options.threads)?;
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
    let mut source = Source::new(BufReader::new(input));
    let pool = Pool::of(options.threads)?;
    let mut summary = Summary::default();
    let mut begin = 0; // of the chunk, in the content
    for stream in &streams {
        let mut decoder = StreamDecoder::new(stream.setup.clone());
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
            let frame = read_frame(&mut source, stream, chunk)?;
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

/// Reads the chunk of `stream` that `info` says where to find.
fn read_frame<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    stream: &StreamInfo,
    info: &ChunkInfo,
) -> Result<Frame> {
    source.seek_to(info.offset)?;
    match stream.content {
        None => match Header::read(source, true)? {
            Some(Header::Single(header)) => Frame::read_single(header, source),
            _ => Err(changed()),
        },
        Some(_) => {
            let header = ChunkHeader::read(MAX_CHUNK_SIZE, source)?;
            Frame::read(header.ok_or_else(changed)?, source)
        }
    }
}

fn changed() -> Error {
    Error::new(ErrorKind::Corrupt, "the archive is not the one listed")
}
