//! Compression: plain bytes to an archive of one stream, in bounded memory.

use super::chunk::{self, EncodedChunk, Framing};
use super::format::{ChunkHeader, Extent, Footer, LongHeader, Setup, SingleHeader, index_bytes};
use super::held::Held;
use super::options::Options;
use super::place::at_chunk;
use super::pool::Pool;
use super::{AdapterName, BatchLoad, ModelName, Progress, Resources, Summary};
use crate::codec::{self, ChunkOptions, Codec, Parameters, Prefix, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Steering};
use crate::profile::{Part, enter};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Plain bytes read at a time.
const READ_LEN: usize = 1 << 16;

/// Compresses all of `input` into one stream on `output`.
///
/// Holds in memory as many chunks as there are threads, more if they are small, fewer where
/// `options.memory` is too little for them. `progress` is called
/// for each plain byte once, and once more where `options.verify` is set. The archive names `model`
/// only where a chunk may run it.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::InvalidArgument`] for options out of range; errors of the codec.
pub fn compress(
    mut input: impl Read,
    output: impl Write,
    model: &Model,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Summary> {
    let mut encoder = Encoder::with_progress(output, Held::Borrowed(model), options, progress)?;
    let mut buffer = vec![0; READ_LEN];
    loop {
        let reading = enter(Part::Io);
        let n = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("cannot read the input", e)),
        };
        drop(reading);
        encoder.push(&buffer[..n])?;
    }
    encoder.finish().map(|(_, summary)| summary)
}

/// A writer that compresses what is written to it ([`compress`] for what it holds and names).
///
/// ```
/// use llmzip::{Encoder, Model, Options};
/// use std::io::Write;
///
/// let model = Model::builtin()?;
/// let mut encoder = Encoder::new(Vec::new(), &model, &Options::default())?;
/// encoder.write_all(b"hello")?;
/// let (archive, summary) = encoder.finish()?;
/// assert_eq!(summary.archive_len, archive.len() as u64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an archive is complete once finish was called"]
pub struct Encoder<'a, W: Write> {
    output: W,
    /// `None` where no chunk may run it.
    model: Option<Held<'a, Model>>,
    setup: Setup,
    prefix: Prefix,
    steering: Option<Arc<Steering>>,
    options: ChunkOptions,
    chunk_size: usize,
    verify: bool,
    /// `memory` beside the model.
    resources: Resources<'a>,
    pool: Pool,
    /// Full chunks to be encoded side by side.
    batch: Vec<Vec<u8>>,
    load: BatchLoad,
    /// The chunk that is being filled; encoded once it is full and more follows, or at the end.
    chunk: Vec<u8>,
    /// Chunks written so far; none: neither is the header.
    extents: Vec<Extent>,
    hasher: blake3::Hasher,
    summary: Summary,
}

impl<'a, W: Write> Encoder<'a, W> {
    /// Writes nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for options out of range; [`ErrorKind::Io`] where threads
    /// cannot be started; errors of coding the prefix.
    pub fn new(output: W, model: &'a Model, options: &Options) -> Result<Self> {
        Self::with_progress(output, Held::Borrowed(model), options, &|_| ())
    }

    /// The same with a share of the model in place of a reference.
    ///
    /// # Errors
    /// Those of [`Encoder::new`].
    pub fn with_shared(output: W, model: Arc<Model>, options: &Options) -> Result<Self> {
        Self::with_progress(output, Held::Shared(model), options, &|_| ())
    }

    fn with_progress(
        output: W,
        model: Held<'a, Model>,
        options: &Options,
        progress: Progress<'a>,
    ) -> Result<Self> {
        options.check()?;
        let Options { context, table_log2, learning, .. } = *options;
        let resources = Resources { isa: model.isa(), ..options.resources(progress) };
        let held = Some(model).filter(|_| options.may_run_model());
        let model = held.as_deref();
        let parameters = match model {
            Some(model) => Parameters::new(model, context, table_log2, learning)?,
            None => Parameters { table_log2, ..Parameters::DEFAULT },
        };
        let name = model.map(|model| ModelName::of(model.identity()));
        let steering = options.steering.as_ref().zip(model);
        let steering = steering.map(|(steering, model)| steering.check(model).map(|()| steering));
        let steering = steering.transpose()?.cloned();
        let resources = resources.beside(model);
        let adapter = model.and_then(Model::adapter).map(AdapterName::of);
        let mut encoder = Self {
            output,
            model: held,
            setup: Setup {
                model: name,
                adapter,
                parameters,
                steering: steering.as_ref().map(|steering| steering.name.clone()),
                prefix: None,
                block_len: options.block_len,
            },
            steering: steering.map(|steering| steering.vectors),
            prefix: Prefix::default(),
            options: options.chunk_options(),
            chunk_size: options.resolved_chunk_size() as usize,
            verify: options.verify,
            resources,
            pool: Pool::of(options)?,
            batch: Vec::new(),
            load: BatchLoad::default(),
            chunk: Vec::new(),
            extents: Vec::new(),
            hasher: blake3::Hasher::new(),
            summary: Summary { n_streams: 1, ..Summary::default() },
        };
        if !options.prefix.is_empty() {
            let (codec, text, options) = (encoder.codec(), &options.prefix, &encoder.options);
            let (coded, prefix) = encoder.pool.run(|stop| {
                let codec = Codec { stop, ..codec };
                Prefix::encode(codec, text, options)
            })?;
            (encoder.setup.prefix, encoder.prefix) = (Some(coded), prefix);
        }
        Ok(encoder)
    }

    fn codec(&self) -> Codec<'_> {
        let Resources { isa, threads, memory, progress } = self.resources;
        let (prefix, parameters) = (&self.prefix, &self.setup.parameters);
        let model = self.model.as_deref();
        let steering = self.steering.as_deref().unwrap_or(Steering::NONE);
        let stop = Stop::never();
        Codec { model, isa, parameters, prefix, steering, threads, memory, progress, stop }
    }

    /// Takes in plain bytes.
    fn push(&mut self, mut plain: &[u8]) -> Result<()> {
        while !plain.is_empty() {
            if self.chunk.len() == self.chunk_size {
                self.close_chunk();
                if self.load.is_full(self.resources.threads, self.resources.memory) {
                    self.write_batch()?;
                }
            }
            let (now, later) = plain.split_at(plain.len().min(self.chunk_size - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            plain = later;
        }
        Ok(())
    }

    fn close_chunk(&mut self) {
        let _hashing = enter(Part::Io);
        self.hasher.update(&self.chunk);
        let adaptive = codec::adaptive_for(self.codec(), &self.options, self.chunk.len());
        self.load.add(self.chunk.len() as u64, adaptive.as_ref());
        self.batch.push(std::mem::take(&mut self.chunk));
    }

    /// Writes all that is left; returns the output and the figures of the archive.
    ///
    /// # Errors
    /// Those of [`compress`].
    pub fn finish(mut self) -> Result<(W, Summary)> {
        let is_one = self.setup.block_len.is_none() || self.chunk.is_empty();
        if self.extents.is_empty() && self.batch.is_empty() && is_one {
            self.write_only_chunk()?;
        } else {
            self.close_chunk();
            self.write_batch()?;
            self.write_index()?;
        }
        self.output.flush().map_err(write_error)?;
        Ok((self.output, self.summary))
    }

    /// Encodes chunks side by side.
    fn encode<'p>(
        &self,
        plains: &'p [Vec<u8>],
        framing: Framing,
    ) -> Vec<Result<Vec<EncodedChunk<'p>>>> {
        let (codec, options, verify) = (self.codec(), &self.options, self.verify);
        self.pool.run(|stop| {
            let codec = Codec { stop, ..codec };
            chunk::encode_all(codec, plains, options, framing, verify)
        })
    }

    /// Writes content of one chunk in single form, with no more of the setup than that chunk needs.
    fn write_only_chunk(&mut self) -> Result<()> {
        let plains = [std::mem::take(&mut self.chunk)];
        let mut load = BatchLoad::default();
        let adaptive = codec::adaptive_for(self.codec(), &self.options, plains[0].len());
        load.add(plains[0].len() as u64, adaptive.as_ref());
        load.check(self.resources.memory)?;
        let chunk = self.encode(&plains, Framing::Chunks).remove(0)?.remove(0);
        if chunk.coded.coding.is_stored() {
            self.setup = Setup::default();
        }
        if !chunk.coded.needs_model(self.setup.prefix.as_ref()) {
            self.setup.model = None;
            self.setup.adapter = None;
            self.setup.steering = None;
            self.setup.parameters = Parameters::DEFAULT;
        }
        let header = SingleHeader::to_bytes(&self.setup, chunk.plain, &chunk.coded)?;
        self.write_chunk(&header, &chunk)
    }

    /// Encodes the chunks of the batch side by side and writes them in order, after the header of the
    /// long form where they are the first.
    fn write_batch(&mut self) -> Result<()> {
        if self.extents.is_empty() {
            let (setup, chunk_size) = (self.setup.clone(), self.chunk_size as u32);
            self.write_bytes(&LongHeader { setup, chunk_size, bad_padding: None }.to_bytes()?)?;
        }
        self.load.check(self.resources.memory)?;
        let batch = std::mem::take(&mut self.batch);
        self.load = BatchLoad::default();
        let framing = self.setup.block_len.map_or(Framing::Chunks, Framing::Blocks);
        for chunks in self.encode(&batch, framing) {
            for chunk in chunks.map_err(|e| at_chunk(e, 0, self.extents.len()))? {
                self.write_framed(&chunk, framing)?;
            }
        }
        Ok(())
    }

    /// Writes a chunk of the long form, with its header, and fills its block up.
    fn write_framed(&mut self, chunk: &EncodedChunk<'_>, framing: Framing) -> Result<()> {
        let EncodedChunk { plain, coded, .. } = chunk;
        let (header, zeros) = match framing {
            Framing::Chunks => (ChunkHeader::of(plain, coded), Vec::new()),
            Framing::Blocks(block_len) => {
                let extent = Extent::of_block(coded, block_len).expect("it was made to fit");
                ChunkHeader::of_block(plain, coded, extent, self.summary.plain_len)
            }
        };
        self.extents.push(header.extent);
        self.write_chunk(&header.to_bytes(), chunk)?;
        self.write_bytes(&zeros)
    }

    /// Writes index and footer.
    fn write_index(&mut self) -> Result<()> {
        let index = index_bytes(&self.extents);
        let index_len = u32::try_from(index.len()).map_err(|_| {
            let message = "the index would be larger than 4 GiB: take larger chunks";
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
        self.write_bytes(&index)?;
        let content = self.hasher.finalize().into();
        self.write_bytes(&Footer { content, index_len }.to_bytes())
    }

    /// Writes a chunk after its `header`.
    fn write_chunk(&mut self, header: &[u8], chunk: &EncodedChunk<'_>) -> Result<()> {
        self.write_bytes(header)?;
        self.write_bytes(&chunk.coded.payload)?;
        self.summary.plain_len += chunk.coded.plain_len as u64;
        self.summary.n_chunks += 1;
        self.summary.n_stored += u64::from(chunk.coded.coding.is_stored());
        self.summary.verify_failures += u64::from(chunk.verify_failed);
        Ok(())
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let _io = enter(Part::Io);
        self.output.write_all(bytes).map_err(write_error)?;
        self.summary.archive_len += bytes.len() as u64;
        Ok(())
    }
}

impl<W: Write> Write for Encoder<'_, W> {
    /// # Errors
    /// Those of [`compress`], as the inner error of an [`io::Error`].
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        self.push(plain)?;
        Ok(plain.len())
    }

    /// Flushes the chunks that are written; not those that are being filled.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn write_error(error: io::Error) -> Error {
    Error::io("cannot write the archive", error)
}
