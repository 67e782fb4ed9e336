//! Compression: any reader to an archive of one stream, in bounded memory.

use super::chunk::{self, EncodedChunk};
use super::format::{
    ChunkHeader, Extent, Footer, LongHeader, MAX_CHUNK_SIZE, Setup, SingleHeader, index_bytes,
};
use super::repair::at_chunk;
use super::{
    DEFAULT_LEVEL, ModelName, Progress, Resources, Summary, default_chunk_size, keeps_busy,
};
use crate::codec::{ChunkOptions, Codec, MAX_LANES, Parameters, Prefix};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use crate::profile::{Part, enter};
use std::io::{Read, Write};

/// How to compress. All but `threads`, `memory` and `verify` show in the archive's bytes.
#[derive(Debug, Clone, Copy)]
pub struct CompressOptions<'a> {
    /// Plain bytes in a chunk, 1..=[`MAX_CHUNK_SIZE`].
    pub chunk_size: u32,
    /// Effort, 1..=9 (docs/levels.md); levels 1 to 3 run no language model.
    pub level: u8,
    /// Lanes of a chunk, 1..=[`MAX_LANES`]; `None` chooses by level and the chunk's length.
    pub lanes: Option<u8>,
    /// Whether the adaptive model may be mixed in.
    pub mix: bool,
    /// A text that every chunk goes on from, up to [`Prefix::MAX_LEN`] bytes; it stands in the archive.
    pub prefix: &'a [u8],
    /// Tokens until a lane starts afresh, where the model's window does not slide; `None`: the
    /// model's positions, up to [`Context::DEFAULT_LEN`](crate::models::Context::DEFAULT_LEN).
    pub context: Option<u32>,
    /// Greatest size of the adaptive model's table in a chunk, log2 of bytes.
    pub table_log2: u8,
    /// Threads to use, at least 1. As many chunks are in memory at once; more where they are small,
    /// up to 256 KiB of plain bytes for each thread.
    pub threads: usize,
    /// Memory that the language model and its lanes may take, in bytes.
    pub memory: u64,
    /// Decode each chunk before it is written; store it where that fails.
    pub verify: bool,
}

impl Default for CompressOptions<'_> {
    /// Chunks of 1 MiB, level 6, lanes chosen, mixing, one thread, verified.
    fn default() -> Self {
        let level = DEFAULT_LEVEL;
        let chunk_size = default_chunk_size(level);
        let Parameters { table_log2, .. } = Parameters::default();
        Self {
            chunk_size,
            level,
            lanes: None,
            mix: true,
            prefix: b"",
            context: None,
            table_log2,
            threads: 1,
            memory: u64::MAX,
            verify: true,
        }
    }
}

impl CompressOptions<'_> {
    /// Whether a language model may code; else the archive needs and names none.
    pub fn may_run_model(&self) -> bool {
        self.chunk_options().may_run_model()
    }

    fn chunk_options(&self) -> ChunkOptions {
        let Self { level, lanes, mix, .. } = *self;
        ChunkOptions { level, lanes, mix }
    }

    /// # Errors
    /// InvalidArgument where a field is out of range.
    fn check(&self) -> Result<()> {
        let lanes = self.lanes.unwrap_or(1);
        let message = if !(1..=MAX_CHUNK_SIZE).contains(&self.chunk_size) {
            format!("chunk_size is {}, expected 1 to {MAX_CHUNK_SIZE}", self.chunk_size)
        } else if !(1..=MAX_LANES).contains(&lanes) {
            format!("lanes is {lanes}, expected 1 to {MAX_LANES}")
        } else if !(1..=9).contains(&self.level) {
            format!("level is {}, expected 1 to 9", self.level)
        } else if !Parameters::TABLE_LOG2.contains(&self.table_log2) {
            format!("table_log2 is {}, expected {:?}", self.table_log2, Parameters::TABLE_LOG2)
        } else if self.threads == 0 {
            "threads is 0, expected at least 1".into()
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }
}

/// Compresses all of `input` into one stream on `output`.
///
/// Holds in memory as many chunks as there are threads, more if they are small, and runs on the caller's rayon pool. `progress`
/// is called for each plain byte once, and once more where `options.verify` is set.
///
/// The archive names `model` only where a chunk may run it.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::InvalidArgument`] for options out of range; errors of the codec.
pub fn compress(
    input: impl Read,
    output: impl Write,
    model: &Model,
    options: &CompressOptions<'_>,
    progress: Progress<'_>,
) -> Result<Summary> {
    options.check()?;
    let chunk_options = options.chunk_options();
    let CompressOptions { prefix, context, table_log2, threads, memory, .. } = *options;
    let isa = model.isa();
    let model = Some(model).filter(|_| chunk_options.may_run_model());
    let parameters = match model {
        Some(model) => Parameters::new(model, context, table_log2)?,
        None => Parameters { context: None, table_log2 },
    };
    let Resources { threads, memory, .. } =
        Resources { isa, threads, memory, progress }.beside(model);
    let (parameters, isa) = (&parameters, isa);
    let codec = Codec { model, parameters, memory, progress, ..Codec::without_model(isa, threads) };
    let prefix = match prefix {
        [] => None,
        text => Some(Prefix::encode(codec, text, &chunk_options)?),
    };
    let (coded_prefix, prefix) = prefix.unzip();
    let prefix = prefix.as_ref().unwrap_or(Prefix::none());
    let setup = Setup {
        model: model.map(|model| ModelName::of(model.identity())),
        parameters: *parameters,
        prefix: coded_prefix,
    };
    let summary = Summary { n_streams: 1, ..Summary::default() };
    let mut writer = Writer { output, codec: Codec { prefix, ..codec }, options, setup, summary };
    let mut content = Content { input, chunk_size: options.chunk_size, ahead: None, ended: false };
    let first = content.next_chunk()?;
    if content.ended {
        writer.only_chunk(first)?
    } else {
        writer.long(first, content)?
    }
    writer.output.flush().map_err(write_error)?;
    Ok(writer.summary)
}

/// The input, cut into chunks.
struct Content<R> {
    input: R,
    chunk_size: u32,
    /// First byte of the next chunk, read to learn that there is one.
    ahead: Option<u8>,
    ended: bool,
}

impl<R: Read> Content<R> {
    /// The next chunk, full unless it is the last. Not called again once `ended`.
    fn next_chunk(&mut self) -> Result<Vec<u8>> {
        let mut plain: Vec<u8> = self.ahead.take().into_iter().collect();
        self.read_to(self.chunk_size as usize, &mut plain)?;
        if plain.len() == self.chunk_size as usize {
            let mut ahead = Vec::new();
            self.read_to(1, &mut ahead)?;
            self.ahead = ahead.pop();
        }
        self.ended = self.ahead.is_none();
        Ok(plain)
    }

    /// Adds chunks to `batch` until it keeps `threads` threads busy, or the content ends.
    fn fill(&mut self, batch: &mut Vec<Vec<u8>>, threads: usize) -> Result<()> {
        let mut len = batch.iter().map(|plain| plain.len() as u64).sum();
        while !self.ended && !keeps_busy(threads, batch.len(), len) {
            let plain = self.next_chunk()?;
            len += plain.len() as u64;
            batch.push(plain);
        }
        Ok(())
    }

    /// Reads until `buffer` has `len` bytes or the input ends.
    fn read_to(&mut self, len: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let _io = enter(Part::Io);
        let missing = (len - buffer.len()) as u64;
        let read = (&mut self.input).take(missing).read_to_end(buffer);
        read.map(drop).map_err(|e| Error::io("cannot read the input", e))
    }
}

struct Writer<'a, W> {
    output: W,
    /// What all chunks are encoded with.
    codec: Codec<'a>,
    options: &'a CompressOptions<'a>,
    setup: Setup,
    summary: Summary,
}

impl<W: Write> Writer<'_, W> {
    /// Encodes chunks side by side.
    fn encode_all<'p>(&self, plains: &'p [Vec<u8>]) -> Vec<Result<EncodedChunk<'p>>> {
        let (options, verify) = (self.options.chunk_options(), self.options.verify);
        chunk::encode_all(self.codec, plains, &options, verify)
    }

    /// Writes content of one chunk in single form, with no more of the setup than that chunk needs.
    fn only_chunk(&mut self, plain: Vec<u8>) -> Result<()> {
        let plains = [plain];
        let chunk = self.encode_all(&plains).remove(0)?;
        let [plain] = &plains;
        if chunk.coded.coding.is_stored() {
            self.setup = Setup::default();
        }
        if !chunk.coded.needs_model(self.setup.prefix.as_ref()) {
            self.setup.model = None;
            self.setup.parameters = Parameters::DEFAULT;
        }
        let header = SingleHeader::to_bytes(&self.setup, plain, &chunk.coded)?;
        self.write_chunk(&header, &chunk)
    }

    /// Writes `first` and all other chunks of `content` in long form.
    fn long<R: Read>(&mut self, first: Vec<u8>, mut content: Content<R>) -> Result<()> {
        let header = LongHeader { setup: self.setup.clone(), chunk_size: content.chunk_size };
        self.write(&header.to_bytes()?)?;
        let mut extents = Vec::new();
        let mut hasher = blake3::Hasher::new();
        let mut batch = vec![first];
        content.fill(&mut batch, self.codec.threads)?;
        while !batch.is_empty() {
            let hashing = enter(Part::Io);
            for plain in &batch {
                hasher.update(plain);
            }
            drop(hashing);
            self.write_batch(&batch, &mut extents)?;
            batch.clear();
            content.fill(&mut batch, self.codec.threads)?;
        }
        self.finish(&extents, hasher.finalize().into())
    }

    /// Encodes the chunks of `batch` side by side and writes them in order.
    fn write_batch(&mut self, batch: &[Vec<u8>], extents: &mut Vec<Extent>) -> Result<()> {
        for (plain, chunk) in batch.iter().zip(self.encode_all(batch)) {
            let chunk = chunk.map_err(|e| at_chunk(e, 0, extents.len()))?;
            let header = ChunkHeader::of(plain, &chunk.coded);
            extents.push(header.extent);
            self.write_chunk(&header.to_bytes(), &chunk)?;
        }
        Ok(())
    }

    /// Writes index and footer.
    fn finish(&mut self, extents: &[Extent], content: [u8; 32]) -> Result<()> {
        let index = index_bytes(extents);
        let index_len = u32::try_from(index.len()).map_err(|_| {
            let message = "the index would be larger than 4 GiB: take larger chunks";
            Error::new(ErrorKind::LimitExceeded, message)
        })?;
        self.write(&index)?;
        self.write(&Footer { content, index_len }.to_bytes())
    }

    /// Writes a chunk after its `header`.
    fn write_chunk(&mut self, header: &[u8], chunk: &EncodedChunk<'_>) -> Result<()> {
        self.write(header)?;
        self.write(&chunk.coded.payload)?;
        self.summary.plain_len += chunk.coded.plain_len as u64;
        self.summary.n_chunks += 1;
        self.summary.n_stored += u64::from(chunk.coded.coding.is_stored());
        self.summary.verify_failures += u64::from(chunk.verify_failed);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _io = enter(Part::Io);
        self.output.write_all(bytes).map_err(write_error)?;
        self.summary.archive_len += bytes.len() as u64;
        Ok(())
    }
}

fn write_error(error: std::io::Error) -> Error {
    Error::io("cannot write the archive", error)
}
