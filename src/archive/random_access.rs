//! One chunk of an archive alone.

use super::chunk_header::ChunkHeader;
use super::frame::Frame;
use super::header::Header;
use super::list::StreamInfo;
use super::reader::{decode_single, find_model};
use super::source::Source;
use super::{MAX_CHUNK_SIZE, ModelSource, Resources};
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
    threads: usize,
) -> Result<Vec<u8>> {
    let n_chunks = stream.chunks.len();
    let out_of_range = || {
        let message = format!("chunk {chunk} asked for, there are {n_chunks}");
        Error::new(ErrorKind::InvalidArgument, message)
    };
    let info = stream.chunks.get(chunk).ok_or_else(out_of_range)?;
    let mut source = Source::new(BufReader::new(input));
    source.seek_to(info.offset)?;
    if stream.content.is_none() {
        return read_single(&mut source, models, Resources::of(threads));
    }
    let changed = || Error::new(ErrorKind::Corrupt, "the archive is not the one listed");
    let header = ChunkHeader::read(MAX_CHUNK_SIZE, &mut source)?.ok_or_else(changed)?;
    let frame = Frame::read(header, &mut source)?;
    let model = match frame.is_coded() {
        true => Some(find_model(models, &stream.model)?),
        false => None,
    };
    let resources = Resources::of(threads);
    let plains = Frame::decode_all(&[&frame], model.as_deref(), &stream.parameters, resources);
    plains.into_iter().next().expect("one frame was decoded").map(Cow::into_owned)
}

/// The content of the stream in single form at which `source` stands.
pub(super) fn read_single<R: Read>(
    source: &mut Source<R>,
    models: &dyn ModelSource,
    resources: Resources<'_>,
) -> Result<Vec<u8>> {
    match Header::read(source, true)? {
        Some(Header::Single(header)) => decode_single(&header, source, models, resources),
        _ => Err(Error::new(ErrorKind::Corrupt, "the archive is not the one listed")),
    }
}
