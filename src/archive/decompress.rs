//! Decompression: an archive to any writer, in bounded memory.
//!
//! One driver decodes chunks and gives them out in order, wherever they come from: from an archive
//! read forward ([`decompress`]), or from what is left of a damaged one (`repair`).

use super::format::{
    ChunkHeader, Extent, Footer, Header, Setup, SingleHeader, Source, index_bytes, read_and_compare,
};
use super::frame::{Frame, StreamDecoder};
use super::repair::at_chunk;
use super::{ModelSource, Progress, Resources, Summary, keeps_busy};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Isa;
use crate::profile::{Part, enter};
use std::io::{BufReader, Read, Write};

/// How to decompress.
#[derive(Debug, Clone, Copy)]
pub struct DecompressOptions {
    /// Threads to use, at least 1. As many chunks are in memory at once; more where they are small,
    /// up to 256 KiB of plain bytes for each thread.
    pub threads: usize,
    /// Most plain bytes to give out.
    pub max_output: Option<u64>,
    /// Memory that the language model and its lanes may take, in bytes.
    pub memory: u64,
    /// The instruction set of chunks that run no language model.
    pub isa: Isa,
}

impl Default for DecompressOptions {
    /// One thread, no limit, this machine's best instruction set.
    fn default() -> Self {
        Self { threads: 1, max_output: None, memory: u64::MAX, isa: Isa::detect() }
    }
}

impl DecompressOptions {
    /// Refuses content of `total` bytes where that is more than the limit.
    fn check_limit(&self, total: u64) -> Result<()> {
        match self.max_output {
            Some(limit) if total > limit => {
                let message =
                    format!("the content has at least {total} bytes, the limit is {limit}");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ => Ok(()),
        }
    }

    /// Resources of all that is decoded at a time.
    pub(super) fn resources<'a>(&self, progress: Progress<'a>) -> Resources<'a> {
        let Self { threads, memory, isa, .. } = *self;
        Resources { isa, threads: threads.max(1), memory, progress }
    }
}

/// Decompresses all streams of `input` to `output`; to [`std::io::sink`] this is a test.
///
/// Holds `options.threads` chunks in memory, more where they are small, and runs on the caller's rayon
/// pool. Writes only chunks that passed their checksum, in order; where it fails, all those before
/// the fault.
/// `models` is asked only where a chunk needs a language model.
///
/// # Errors
/// All of [`ErrorKind`] but `InvalidArgument`. After `TrailingData` all of the content is out.
pub fn decompress(
    input: impl Read,
    output: impl Write,
    models: &dyn ModelSource,
    options: &DecompressOptions,
    progress: Progress<'_>,
) -> Result<Summary> {
    let source = Source::new(BufReader::new(input));
    let (stream, given) = (Stream::Ended, Vec::new());
    let mut archive = Forward { source, stream, n_streams: 0, n_read: 0, given };
    let mut summary = drive(&mut archive, output, models, options, progress)?;
    summary.archive_len = archive.source.offset();
    Ok(summary)
}

/// Chunks of an archive, stream by stream.
///
/// For each stream, [`next_chunk`](Self::next_chunk) is called until it returns `None`, several chunks
/// ahead; meanwhile each chunk or damage that it returned is settled in order by
/// [`given`](Self::given) or [`lost`](Self::lost).
pub(super) trait ChunkSource {
    /// Begins the next stream; `None` at the archive's end.
    fn next_stream(&mut self) -> Result<Option<Setup>>;

    /// The stream's next chunk, or the damage in its place; `None` at the stream's end. An outer error
    /// ends all work.
    fn next_chunk(&mut self) -> Result<Option<Result<Frame>>>;

    /// The next unsettled chunk was given out, of `extent`.
    fn given(&mut self, extent: Extent) -> Result<()>;

    /// The next unsettled chunk is lost to `error`. Returns that where it ends all work.
    fn lost(&mut self, error: Error) -> Result<()>;

    /// Ends a stream of which chunks with BLAKE3 hash `content` were given out.
    fn end_stream(&mut self, content: [u8; 32]) -> Result<()>;
}

/// Decodes all chunks of `source` to `output`. On an error, all chunks before it are out.
pub(super) fn drive(
    source: &mut dyn ChunkSource,
    output: impl Write,
    models: &dyn ModelSource,
    options: &DecompressOptions,
    progress: Progress<'_>,
) -> Result<Summary> {
    let (summary, hasher) = (Summary::default(), blake3::Hasher::new());
    let mut driver = Driver { output, models, options, progress, summary, hasher, n_decoded: 0 };
    let result = driver.streams(source);
    let flushed = driver.output.flush().map_err(write_error);
    result.and(flushed).map(|()| driver.summary)
}

struct Driver<'a, W> {
    output: W,
    models: &'a dyn ModelSource,
    options: &'a DecompressOptions,
    progress: Progress<'a>,
    summary: Summary,
    /// Of the stream's chunks that were given out.
    hasher: blake3::Hasher,
    /// Plain bytes decoded so far, those that came to nothing too: a hostile archive can have many.
    n_decoded: u64,
}

/// Chunks and damage in their places, and why there are no more of them in this batch.
struct Batch {
    chunks: Vec<Result<Frame>>,
    /// `None`: it is full.
    end: Option<Result<()>>,
}

impl<W: Write> Driver<'_, W> {
    fn streams(&mut self, source: &mut dyn ChunkSource) -> Result<()> {
        while let Some(setup) = source.next_stream()? {
            self.stream(source, setup)?;
            self.summary.n_streams += 1;
        }
        Ok(())
    }

    fn stream(&mut self, source: &mut dyn ChunkSource, setup: Setup) -> Result<()> {
        let mut decoder = StreamDecoder::new(setup, self.models);
        self.hasher.reset();
        loop {
            let batch = self.read_batch(source);
            self.give_batch(source, &mut decoder, batch.chunks)?;
            if let Some(end) = batch.end {
                end?;
                return source.end_stream(self.hasher.finalize().into());
            }
        }
    }

    /// Reads as many chunks as keep all threads busy.
    fn read_batch(&mut self, source: &mut dyn ChunkSource) -> Batch {
        let _io = enter(Part::Io);
        let mut batch = Batch { chunks: Vec::new(), end: None };
        let mut n_plain = 0;
        while batch.end.is_none() && !keeps_busy(self.options.threads, batch.chunks.len(), n_plain)
        {
            match source.next_chunk() {
                Ok(Some(chunk)) => {
                    let plain_len = chunk.as_ref().map_or(0, |frame| frame.extent.plain_len.into());
                    n_plain += plain_len;
                    match self.options.check_limit(self.n_decoded + plain_len) {
                        Ok(()) => batch.chunks.push(chunk),
                        Err(e) => batch.end = Some(Err(e)),
                    }
                    self.n_decoded += plain_len;
                }
                Ok(None) => batch.end = Some(Ok(())),
                Err(e) => batch.end = Some(Err(e)),
            }
        }
        batch
    }

    /// Decodes chunks side by side and gives them out in order.
    fn give_batch(
        &mut self,
        source: &mut dyn ChunkSource,
        decoder: &mut StreamDecoder<'_>,
        chunks: Vec<Result<Frame>>,
    ) -> Result<()> {
        let frames: Vec<&Frame> = chunks.iter().flatten().collect();
        let mut plains =
            decoder.decode(&frames, self.options.resources(self.progress))?.into_iter();
        for chunk in &chunks {
            let plain = match chunk {
                Ok(frame) => {
                    plains.next().expect("each chunk was decoded").map(|p| (frame.extent, p))
                }
                Err(e) => Err(e.duplicate()),
            };
            match plain {
                Ok((extent, plain)) => {
                    let _io = enter(Part::Io);
                    self.give(&extent, &plain)?;
                    source.given(extent)?;
                }
                Err(e) => source.lost(e)?,
            }
        }
        Ok(())
    }

    /// Writes a chunk's plain bytes.
    fn give(&mut self, extent: &Extent, plain: &[u8]) -> Result<()> {
        self.hasher.update(plain);
        self.output.write_all(plain).map_err(write_error)?;
        self.summary.plain_len += plain.len() as u64;
        self.summary.n_chunks += 1;
        self.summary.n_stored += u64::from(extent.is_stored());
        Ok(())
    }
}

/// An archive read forward; its first damage ends all work.
struct Forward<R> {
    source: Source<R>,
    stream: Stream,
    n_streams: u64,
    /// Chunks of the stream that were read.
    n_read: usize,
    /// Those of them that were given out.
    given: Vec<Extent>,
}

/// The rest of a stream, as far as its form tells.
enum Stream {
    Single(SingleHeader),
    Long { chunk_size: u32 },
    Ended,
}

impl<R: Read> Forward<R> {
    fn read_frame(&mut self) -> Result<Option<Frame>> {
        match std::mem::replace(&mut self.stream, Stream::Ended) {
            Stream::Ended => Ok(None),
            Stream::Single(header) => Frame::read_single(header, &mut self.source).map(Some),
            Stream::Long { chunk_size } => {
                self.stream = Stream::Long { chunk_size };
                match ChunkHeader::read(chunk_size, &mut self.source)? {
                    Some(header) => Frame::read(header, &mut self.source).map(Some),
                    None => Ok(None),
                }
            }
        }
    }
}

impl<R: Read> ChunkSource for Forward<R> {
    fn next_stream(&mut self) -> Result<Option<Setup>> {
        (self.n_read, self.given) = (0, Vec::new());
        let Some(header) = Header::read(&mut self.source, self.n_streams == 0)? else {
            return Ok(None);
        };
        let setup = header.setup().clone();
        self.stream = match header {
            Header::Single(header) => Stream::Single(header),
            Header::Long(header) => Stream::Long { chunk_size: header.chunk_size },
        };
        Ok(Some(setup))
    }

    fn next_chunk(&mut self) -> Result<Option<Result<Frame>>> {
        let frame = self.read_frame().map_err(|e| at_chunk(e, self.n_streams, self.n_read))?;
        self.n_read += 1;
        Ok(frame.map(Ok))
    }

    fn given(&mut self, extent: Extent) -> Result<()> {
        self.given.push(extent);
        Ok(())
    }

    fn lost(&mut self, error: Error) -> Result<()> {
        Err(at_chunk(error, self.n_streams, self.given.len()))
    }

    fn end_stream(&mut self, content: [u8; 32]) -> Result<()> {
        self.n_streams += 1;
        if let Stream::Ended = self.stream {
            return Ok(());
        }
        read_and_compare(&mut self.source, &self.given)?;
        let index_len = index_bytes(&self.given).len() as u32;
        Footer::read_and_compare(&mut self.source, &Footer { content, index_len })
    }
}

fn write_error(error: std::io::Error) -> Error {
    Error::io("cannot write the output", error)
}
