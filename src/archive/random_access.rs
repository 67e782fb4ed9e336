//! One chunk of an archive alone.

use super::ModelSource;
use super::format::{ChunkHeader, Header, MAX_CHUNK_SIZE, Source};
use super::frame::{Frame, StreamDecoder};
use super::list::StreamInfo;
use super::options::Options;
use super::pool::Pool;
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::io::{BufReader, Read, Seek};

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
    let changed = || Error::new(ErrorKind::Corrupt, "the archive is not the one listed");
    let mut source = Source::new(BufReader::new(input));
    source.seek_to(info.offset)?;
    let frame = match stream.content {
        None => match Header::read(&mut source, true)? {
            Some(Header::Single(header)) => Frame::read_single(header, &mut source)?,
            _ => return Err(changed()),
        },
        Some(_) => {
            let header = ChunkHeader::read(MAX_CHUNK_SIZE, &mut source)?;
            Frame::read(header.ok_or_else(changed)?, &mut source)?
        }
    };
    let mut decoder = StreamDecoder::new(stream.setup.clone());
    let pool = Pool::of(options.threads)?;
    let plains = decoder.decode(&[&frame], models, &pool, options.resources(&|_| ()))?;
    plains.into_iter().next().expect("one frame was decoded").map(Cow::into_owned)
}
