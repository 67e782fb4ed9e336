//! Decompression: an archive to any writer, in bounded memory.
//!
//! One driver decodes chunks and gives them out in order, wherever they come from: from an archive
//! read forward ([`decompress`]), or from what is left of a damaged one (`repair`).

use super::format::{
    ChunkHeader, Extent, Footer, Header, LongHeader, Setup, SingleHeader, Source, index_bytes,
    read_and_compare,
};
use super::frame::{Frame, StreamDecoder};
use super::held::Held;
use super::options::Options;
use super::place::at_chunk;
use super::pool::Pool;
use super::{BatchLoad, ModelSource, Progress, Summary};
use crate::error::{Error, Result};
use crate::profile::{Part, enter};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

/// Decompresses all streams of `input` to `output`; to [`std::io::sink`] this is a test.
///
/// Holds `options.threads` chunks in memory, more where they are small, fewer where `options.memory` is too
/// little for them, and runs on the caller's rayon
/// pool. Writes only chunks that passed their checksum, in order; where it fails, all those before
/// the fault.
/// `models` is asked only where a chunk needs a language model.
///
/// # Errors
/// All of [`ErrorKind`](crate::ErrorKind) but `InvalidArgument`. After `TrailingData` all of the content is out.
pub fn decompress(
    input: impl Read,
    output: impl Write,
    models: &dyn ModelSource,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Summary> {
    let mut archive = Forward::new(input);
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
    options: &Options,
    progress: Progress<'_>,
) -> Result<Summary> {
    let models = Held::Borrowed(models);
    let mut driver = Driver::new(output, models, options.clone(), progress)?;
    let result = loop {
        match driver.step(source) {
            Ok(true) => (),
            Ok(false) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    let flushed = driver.output.flush().map_err(write_error);
    result.and(flushed).map(|()| driver.summary)
}

/// Decodes the chunks of a source, a batch at a step.
pub(super) struct Driver<'a, W> {
    pub(super) output: W,
    models: Held<'a, dyn ModelSource + 'a>,
    options: Options,
    pool: Pool,
    progress: Progress<'a>,
    summary: Summary,
    /// The decoder of the stream that has begun, if one has.
    decoder: Option<StreamDecoder>,
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

impl<'a, W: Write> Driver<'a, W> {
    /// # Errors
    /// Io where no threads can be started.
    pub(super) fn new(
        output: W,
        models: Held<'a, dyn ModelSource + 'a>,
        options: Options,
        progress: Progress<'a>,
    ) -> Result<Self> {
        Ok(Self {
            output,
            models,
            pool: Pool::of(&options)?,
            options,
            progress,
            summary: Summary::default(),
            decoder: None,
            hasher: blake3::Hasher::new(),
            n_decoded: 0,
        })
    }

    /// Decodes the next batch of chunks; false at the archive's end.
    pub(super) fn step(&mut self, source: &mut dyn ChunkSource) -> Result<bool> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => {
                let Some(setup) = source.next_stream()? else { return Ok(false) };
                self.hasher.reset();
                StreamDecoder::new(setup)
            }
        };
        let batch = self.read_batch(source);
        self.give_batch(source, &mut decoder, batch.chunks)?;
        match batch.end {
            None => self.decoder = Some(decoder),
            Some(end) => {
                end?;
                source.end_stream(self.hasher.finalize().into())?;
                self.summary.n_streams += 1;
            }
        }
        Ok(true)
    }

    /// Reads as many chunks as keep all threads busy, or fit in memory.
    fn read_batch(&mut self, source: &mut dyn ChunkSource) -> Batch {
        let _io = enter(Part::Io);
        let mut batch = Batch { chunks: Vec::new(), end: None };
        let mut load = BatchLoad::default();
        while batch.end.is_none() && !load.is_full(self.options.threads, self.options.memory) {
            match source.next_chunk() {
                Ok(Some(chunk)) => {
                    let plain_len = chunk.as_ref().map_or(0, |frame| frame.extent.plain_len.into());
                    load.add(plain_len, chunk.as_ref().ok().and_then(Frame::adaptive).as_ref());
                    let fits = self.options.check_limit(self.n_decoded + plain_len);
                    match fits.and_then(|()| load.check(self.options.memory)) {
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
        decoder: &mut StreamDecoder,
        chunks: Vec<Result<Frame>>,
    ) -> Result<()> {
        let frames: Vec<&Frame> = chunks.iter().flatten().collect();
        let resources = self.options.resources(self.progress);
        let plains = decoder.decode(&frames, &*self.models, &self.pool, resources)?;
        let mut plains = plains.into_iter();
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
                Err(e) if e.is_of_the_run() => return Err(e), // no damage of the archive
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

/// A reader of an archive's content ([`decompress`] for what is needed and held). Gives an error in
/// place of the first byte that is not good; the bytes before it have passed their checksum.
///
/// ```
/// use llmzip::{Decoder, LocalModels};
/// use std::io::Read;
///
/// # let model = llmzip::Model::builtin()?;
/// # let options = llmzip::Options::default().level(1);
/// # let mut encoder = llmzip::Encoder::new(Vec::new(), &model, &options)?;
/// # std::io::Write::write_all(&mut encoder, b"hello")?;
/// # let (archive, _) = encoder.finish()?;
/// # let archive = &archive[..];
/// let models = LocalModels::from_env();
/// let mut text = String::new();
/// Decoder::new(archive, &models, &Default::default())?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder<'a, R> {
    archive: Forward<BufReader<R>>,
    driver: Driver<'a, Vec<u8>>,
    /// Bytes of the driver's output that were read.
    n_read: usize,
    /// The error that comes after all good bytes, at every call from then on.
    error: Option<Error>,
}

impl<'a, R: Read> Decoder<'a, R> {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where no threads can be started.
    pub fn new(archive: R, models: &'a dyn ModelSource, options: &Options) -> Result<Self> {
        Self::of(archive, Held::Borrowed(models), options)
    }

    /// The same with a share of the source of models in place of a reference.
    ///
    /// # Errors
    /// Those of [`Decoder::new`].
    pub fn with_shared(
        archive: R,
        models: Arc<dyn ModelSource + 'a>,
        options: &Options,
    ) -> Result<Self> {
        Self::of(archive, Held::Shared(models), options)
    }

    fn of(archive: R, models: Held<'a, dyn ModelSource + 'a>, options: &Options) -> Result<Self> {
        let driver = Driver::new(Vec::new(), models, options.clone(), &|_| ())?;
        Ok(Self { archive: Forward::new(archive), driver, n_read: 0, error: None })
    }

    /// Plain bytes of the chunks that were decoded last, side by side.
    #[cfg(test)]
    pub(super) fn n_held(&self) -> usize {
        self.driver.output.len()
    }
}

impl<R: Read> Read for Decoder<'_, R> {
    /// # Errors
    /// Those of [`decompress`], as the inner error of an [`io::Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Decoder<'_, R> {
    /// The plain bytes that are decoded and not yet read, of one or more whole chunks; empty at the end.
    ///
    /// # Errors
    /// Those of [`decompress`], as the inner error of an [`io::Error`].
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.n_read == self.driver.output.len() {
            if let Some(error) = &self.error {
                return Err(error.duplicate().into());
            }
            self.driver.output.clear();
            self.n_read = 0;
            match self.driver.step(&mut self.archive) {
                Ok(true) => (),
                Ok(false) => break,
                Err(error) => self.error = Some(error),
            }
        }
        Ok(&self.driver.output[self.n_read..])
    }

    fn consume(&mut self, n: usize) {
        self.n_read = self.driver.output.len().min(self.n_read + n);
    }
}

/// An archive read forward; its first damage ends all work.
struct Forward<R> {
    source: Source<R>,
    stream: OpenStream,
    n_streams: u64,
    /// Chunks of the stream that were read.
    n_read: usize,
    /// Their plain bytes.
    plain_len: u64,
    /// Those of them that were given out.
    given: Vec<Extent>,
    /// Damage of the stream's header that costs no content: named once that is out.
    header_fault: Option<Error>,
}

/// The rest of a stream, as far as its form tells.
enum OpenStream {
    Single(Box<SingleHeader>),
    Long { chunk_size: u32, block_len: Option<u32> },
    Ended,
}

impl<R: Read> Forward<BufReader<R>> {
    fn new(input: R) -> Self {
        let source = Source::new(BufReader::new(input));
        let (stream, given) = (OpenStream::Ended, Vec::new());
        Self { source, stream, n_streams: 0, n_read: 0, plain_len: 0, given, header_fault: None }
    }
}

impl<R: Read> Forward<R> {
    fn read_frame(&mut self) -> Result<Option<Frame>> {
        match std::mem::replace(&mut self.stream, OpenStream::Ended) {
            OpenStream::Ended => Ok(None),
            OpenStream::Single(header) => Frame::read_single(*header, &mut self.source).map(Some),
            OpenStream::Long { chunk_size, block_len } => {
                self.stream = OpenStream::Long { chunk_size, block_len };
                let Some(header) = ChunkHeader::read(chunk_size, &mut self.source)? else {
                    return Ok(None);
                };
                header.check_block(block_len, self.plain_len)?;
                self.plain_len += u64::from(header.extent.plain_len);
                Frame::read(header, &mut self.source).map(Some)
            }
        }
    }
}

impl<R: Read> ChunkSource for Forward<R> {
    fn next_stream(&mut self) -> Result<Option<Setup>> {
        (self.n_read, self.plain_len, self.given) = (0, 0, Vec::new());
        let Some(header) = Header::read(&mut self.source, self.n_streams == 0)? else {
            return Ok(None);
        };
        let setup = header.setup().clone();
        self.stream = match header {
            Header::Single(header) => OpenStream::Single(Box::new(header)),
            Header::Long(header) => {
                self.header_fault = header.padding_fault();
                let LongHeader { chunk_size, setup, .. } = header;
                OpenStream::Long { chunk_size, block_len: setup.block_len }
            }
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
        if let OpenStream::Ended = self.stream {
            return Ok(());
        }
        read_and_compare(&mut self.source, &self.given)?;
        let index_len = index_bytes(&self.given).len() as u32;
        Footer::read_and_compare(&mut self.source, &Footer { content, index_len })?;
        self.header_fault.take().map_or(Ok(()), Err)
    }
}

pub(super) fn write_error(error: std::io::Error) -> Error {
    Error::io("cannot write the output", error)
}
