//! Decompression that goes on after damage, and reports the loss.

use super::chunk_layout::{Layout, Slot};
use super::report::{Damage, Missing};
use super::scan::Scanner;
use super::segments::{LongStream, Segment};
use crate::archive::decompress::{ChunkSource, drive};
use crate::archive::format::{ChunkHeader, Extent, MAX_CHUNK_SIZE, Setup, SingleHeader};
use crate::archive::frame::Frame;
use crate::archive::options::Options;
use crate::archive::{ModelName, ModelSource, Progress, Summary};
use crate::error::{Error, ErrorKind, Result};
use crate::models::DEFAULT_CODE;
use std::collections::VecDeque;
use std::io::{Read, Seek, Write};

/// Result of [`recover`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// `n_chunks` and `plain_len` count the chunks that were given out.
    pub summary: Summary,
    /// Empty where the archive is good.
    pub damage: Vec<Damage>,
}

/// Decompresses all chunks of `input` that are not damaged to `output`, in order; what is missing is
/// left out. Writes only chunks that passed their checksum.
///
/// A stream whose header is lost is tried with the default model.
///
/// # Errors
/// Errors other than damage: Io, ModelMissing, InvalidModel, Unsupported, LimitExceeded, MemoryExceeded; where there
/// is nothing of an archive, the error of [`decompress`](crate::archive::decompress()).
pub fn recover(
    input: impl Read + Seek,
    output: impl Write,
    models: &dyn ModelSource,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Recovery> {
    let scanner = Scanner::new(input)?;
    let archive_len = scanner.end;
    let mut archive = Damaged {
        scanner,
        damage: Vec::new(),
        n_streams: 0,
        is_joined: false,
        start: Some(0),
        offset: 0,
        stream: None,
        pending: VecDeque::new(),
        given_len: 0,
    };
    let summary = drive(&mut archive, output, models, options, progress)?;
    let summary = Summary { archive_len, n_streams: archive.n_streams, ..summary };
    Ok(Recovery { summary, damage: archive.damage })
}

/// The chunks that are left of an archive.
struct Damaged<R> {
    scanner: Scanner<R>,
    damage: Vec<Damage>,
    /// Streams that ended.
    n_streams: u64,
    /// Whether there is more than one segment.
    is_joined: bool,
    /// Where the segment's content begins in the whole, where that is known.
    start: Option<u64>,
    /// Where the next segment begins.
    offset: u64,
    stream: Option<DamagedStream>,
    /// Slots whose chunk is being decoded, or whose damage is yet to be noted.
    pending: VecDeque<Slot>,
    /// Plain bytes of the stream that were given out.
    given_len: u64,
}

enum DamagedStream {
    /// Offset, and header unless its chunk has been read.
    Single(u64, Option<Box<SingleHeader>>),
    Long(Box<Long>),
}

/// A stream in long form whose chunks are being read.
struct Long {
    stream: LongStream,
    slots: std::vec::IntoIter<Slot>,
    is_indexed: bool,
    may_precede_stream: bool,
    /// Plain bytes of all slots, where that is known.
    plain_len: Option<u64>,
    /// Damage noted before this stream.
    n_before: usize,
}

impl Long {
    fn new(stream: LongStream, n_before: usize) -> Self {
        let Layout { slots, is_indexed, may_precede_stream } = stream.layout();
        let plain_len = slots.iter().map(|slot| slot.plain_len).sum();
        let slots = slots.into_iter();
        Self { stream, slots, is_indexed, may_precede_stream, plain_len, n_before }
    }

    /// The stream's setup; where its header is lost, the most likely one.
    fn setup(&self) -> Setup {
        let default =
            || Setup { model: Some(ModelName::Builtin(DEFAULT_CODE)), ..Setup::default() };
        self.stream.header.as_ref().map_or_else(default, |header| header.setup.clone())
    }
}

impl<R: Read + Seek> ChunkSource for Damaged<R> {
    fn next_stream(&mut self) -> Result<Option<Setup>> {
        self.given_len = 0;
        let end = self.scanner.end;
        while self.offset < end || self.offset == 0 {
            let offset = self.offset;
            let (segment, next) = self.scanner.part(offset)?;
            self.is_joined |= next < end;
            self.offset = next;
            match segment {
                Segment::Single(header) => {
                    let setup = header.setup.clone();
                    self.stream = Some(DamagedStream::Single(offset, Some(header)));
                    return Ok(Some(setup));
                }
                Segment::Long(stream) => {
                    if let Some(fault) = stream.header_fault() {
                        self.note(None, Missing::NOTHING, fault);
                    }
                    let long = Long::new(*stream, self.damage.len());
                    let setup = long.setup();
                    self.stream = Some(DamagedStream::Long(Box::new(long)));
                    return Ok(Some(setup));
                }
                Segment::Padding => (),
                Segment::Junk(error) if offset == 0 && next == end => return Err(error),
                Segment::Junk(error) => {
                    let missing = Missing { start: self.start.take(), len: None };
                    self.note(None, missing, error);
                }
            }
        }
        Ok(None)
    }

    fn next_chunk(&mut self) -> Result<Option<Result<Frame>>> {
        let slot = match &mut self.stream {
            Some(DamagedStream::Single(offset, header)) => {
                let (offset, header) = (*offset, header.take());
                return header.map(|header| self.read_single(offset, *header)).transpose();
            }
            Some(DamagedStream::Long(long)) => long.slots.next(),
            None => None,
        };
        let Some(slot) = slot else { return Ok(None) };
        let frame = match &slot.offset {
            Ok(offset) => self.read_again(*offset).map(Ok)?,
            Err(e) => Err(e.duplicate()),
        };
        self.pending.push_back(slot);
        Ok(Some(frame))
    }

    fn given(&mut self, extent: Extent) -> Result<()> {
        self.pending.pop_front();
        let plain_len = u64::from(extent.plain_len);
        self.given_len += plain_len;
        if let Some(DamagedStream::Single(..)) = self.stream {
            self.start = self.start.map(|start| start + plain_len);
        }
        Ok(())
    }

    fn lost(&mut self, error: Error) -> Result<()> {
        let slot = self.pending.pop_front().expect("each chunk has a slot");
        // A gap's error is damage of whatever kind; that of decoding a chunk may be another.
        let error = match slot.offset {
            Err(_) => error,
            Ok(_) => split_recoverable::<()>(Err(error))?.expect_err("it is an error"),
        };
        let mut missing = Missing {
            start: self.start.zip(slot.start).map(|(stream, chunk)| stream + chunk),
            len: slot.plain_len,
        };
        let Some(DamagedStream::Single(offset, _)) = self.stream else {
            self.note(slot.chunk, missing, error);
            return Ok(());
        };
        // Unless something known follows, its header lied about where it ends.
        if !self.scanner.is_stream_boundary(self.offset)? {
            missing.len = None;
            self.offset = self.scanner.scan(offset + 1)?;
        }
        self.is_joined |= self.offset < self.scanner.end;
        self.note(slot.chunk, missing, error);
        self.start = self.start.zip(missing.len).map(|(start, len)| start + len);
        Ok(())
    }

    fn end_stream(&mut self, content: [u8; 32]) -> Result<()> {
        match self.stream.take() {
            Some(DamagedStream::Long(long)) => self.end_long(*long, content),
            Some(DamagedStream::Single(..)) | None => (),
        }
        self.n_streams += 1;
        Ok(())
    }
}

impl<R: Read + Seek> Damaged<R> {
    /// Reads the chunk of the single form at `offset`, which ends where the next segment begins.
    fn read_single(&mut self, offset: u64, header: SingleHeader) -> Result<Result<Frame>> {
        let Extent { plain_len, payload_len, .. } = header.extent;
        let plain_len = Some(plain_len.into());
        let slot = Slot { chunk: Some(0), start: Some(0), plain_len, offset: Ok(offset) };
        self.pending.push_back(slot);
        self.scanner.source.seek_to(self.offset - u64::from(payload_len))?;
        split_recoverable(Frame::read_single(header, &mut self.scanner.source))
    }

    /// Reads the good chunk at `offset`, which the scan has read before.
    fn read_again(&mut self, offset: u64) -> Result<Frame> {
        self.scanner.source.seek_to(offset)?;
        let header = ChunkHeader::read(MAX_CHUNK_SIZE, &mut self.scanner.source);
        let header = split_recoverable(header)?.ok().flatten().ok_or_else(changed)?;
        split_recoverable(Frame::read(header, &mut self.scanner.source))?.map_err(|_| changed())
    }

    /// Notes what the end of a stream tells of its loss, and where the next one's content begins.
    ///
    /// | index | hash of the given chunks | noted |
    /// | --- | --- | --- |
    /// | any | right | gaps held no content, but for another stream's |
    /// | good | wrong, and a chunk is missing | the missing chunks, which are noted already |
    /// | good | wrong, though none is missing | the hash |
    /// | lost | unknown or wrong | content may be missing from here on |
    fn end_long(&mut self, long: Long, content: [u8; 32]) {
        let Long { stream, is_indexed, may_precede_stream, plain_len, n_before, .. } = long;
        let (has_index, flaw) = (stream.index.is_some(), stream.flaw());
        let LongStream { footer, footer_fault, is_end_lost, .. } = stream;
        let is_whole = footer.map(|footer| footer.content == content);
        let damage = &mut self.damage[n_before..];
        if is_whole == Some(true) && !may_precede_stream {
            for gap in damage.iter_mut().filter(|damage| damage.missing.len.is_none()) {
                gap.missing = Missing::NOTHING;
            }
        }
        let is_all_there = damage.iter().all(|damage| damage.missing == Missing::NOTHING);
        let len = match is_whole == Some(true) && is_all_there {
            true => Some(self.given_len),
            false => plain_len.filter(|_| is_indexed),
        };
        let from_here = Missing { start: self.start, len: None };
        let rest = if len.is_some() { Missing::NOTHING } else { from_here };
        self.start = self.start.zip(len).map(|(start, len)| start + len);
        if let Some(fault) = footer_fault {
            let missing = match is_end_lost && rest == Missing::NOTHING {
                true => Missing { start: self.start.take(), len: None },
                false => rest,
            };
            self.note(None, missing, fault);
        }
        if has_index && !is_indexed {
            let error = Error::new(ErrorKind::Corrupt, "the index disagrees with the chunks");
            self.note(None, rest, error);
        }
        if is_whole == Some(false) && is_all_there && rest == Missing::NOTHING {
            let error = Error::new(ErrorKind::Corrupt, "the content's hash differs");
            self.note(None, from_here, error);
            self.start = None;
        }
        if let Some(error) = flaw
            && self.damage.len() == n_before
        {
            self.note(None, Missing::NOTHING, error);
        }
    }

    fn note(&mut self, chunk: Option<usize>, missing: Missing, error: Error) {
        let stream = self.is_joined.then_some(self.n_streams as usize);
        self.damage.push(Damage { stream, chunk, missing, error });
    }
}

/// Splits a result: an inner error is damage, an outer one ends all work.
fn split_recoverable<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(e) if !matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Truncated) => Err(e),
        result => Ok(result),
    }
}

/// The error where the archive is another than a moment ago.
fn changed() -> Error {
    Error::io("cannot read the archive again", std::io::Error::other("it changed meanwhile"))
}
