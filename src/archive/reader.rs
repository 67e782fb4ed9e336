//! Decompression: an archive to any writer, in bounded memory.

use super::chunk;
use super::chunk_header::{ChunkHeader, Extent};
use super::damage::at_chunk;
use super::footer::Footer;
use super::frame::Frame;
use super::header::{Header, LongHeader};
use super::index::{self, Entry};
use super::single::SingleHeader;
use super::source::Source;
use super::{ModelName, ModelSource, Progress, Resources, Summary, keeps_busy};
use crate::codec::Parameters;
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use crate::profile::{Part, enter};
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

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
}

impl Default for DecompressOptions {
    /// One thread, no limit.
    fn default() -> Self {
        Self { threads: 1, max_output: None, memory: u64::MAX }
    }
}

impl DecompressOptions {
    /// Refuses content of `total` bytes where that is more than the limit.
    ///
    /// # Errors
    /// LimitExceeded.
    pub(super) fn check_limit(&self, total: u64) -> Result<()> {
        match self.max_output {
            Some(limit) if total > limit => {
                let message =
                    format!("the content has at least {total} bytes, the limit is {limit}");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ => Ok(()),
        }
    }
}

/// Decompresses all streams of `input` to `output`; to [`std::io::sink`] this is a test.
///
/// Holds `options.threads` chunks in memory, more where they are small, and runs on the caller's rayon
/// pool. Gives out whole chunks whose checksum is right, in order; where it fails, all those before
/// the fault.
/// `models` is asked only where a chunk is not stored.
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
    let summary = Summary::default();
    let mut reader = Reader { source, output, models, options, progress, summary };
    let result = reader.streams();
    let flushed = reader.output.flush().map_err(write_error);
    result.and(flushed)?;
    reader.summary.archive_len = reader.source.offset();
    Ok(reader.summary)
}

struct Reader<'a, R, W> {
    source: Source<R>,
    output: W,
    models: &'a dyn ModelSource,
    options: &'a DecompressOptions,
    progress: Progress<'a>,
    summary: Summary,
}

/// Chunks that were read whole, and why there are no more of them in this batch.
struct Batch {
    frames: Vec<Frame>,
    /// `None`: it is full.
    end: Option<Result<()>>,
}

impl<'a, R: Read, W: Write> Reader<'a, R, W> {
    fn streams(&mut self) -> Result<()> {
        while let Some(header) = Header::read(&mut self.source, self.summary.n_streams == 0)? {
            match header {
                Header::Single(header) => self.single(&header)?,
                Header::Long(header) => self.long(&header)?,
            }
            self.summary.n_streams += 1;
        }
        Ok(())
    }

    /// Reads and gives out what follows the header of a single form.
    fn single(&mut self, header: &SingleHeader) -> Result<()> {
        self.check_limit(header.extent.plain_len.into())?;
        let resources = self.resources();
        let plain = decode_single(header, &mut self.source, self.models, resources);
        let plain = plain.map_err(|e| match e.kind() {
            ErrorKind::ModelMissing => e,
            _ => self.at_chunk(e, 0),
        })?;
        let _io = enter(Part::Io);
        self.give(&header.extent, &plain)
    }

    /// Reads and gives out what follows the header of a long form.
    fn long(&mut self, header: &LongHeader) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let mut entries = Vec::new();
        let mut model = None;
        loop {
            let batch = self.read_batch(header.chunk_size, entries.len());
            let needs_model = batch.frames.iter().any(Frame::is_coded);
            if needs_model && model.is_none() {
                model = Some(find_model(self.models, &header.model)?);
            }
            let model = (model.as_deref(), &header.parameters);
            self.give_frames(&batch.frames, model, &mut hasher, &mut entries)?;
            match batch.end {
                Some(end) => break end?,
                None => continue,
            }
        }
        index::read_and_compare(&mut self.source, &entries)?;
        let index_len = index::to_bytes(&entries).len() as u32;
        let footer = Footer { content: hasher.finalize().into(), index_len };
        Footer::read_and_compare(&mut self.source, &footer)
    }

    /// Reads as many chunks as keep all threads busy.
    fn read_batch(&mut self, chunk_size: u32, first_chunk: usize) -> Batch {
        let _io = enter(Part::Io);
        let mut batch = Batch { frames: Vec::new(), end: None };
        let mut n_plain = 0;
        while batch.end.is_none() && !keeps_busy(self.options.threads, batch.frames.len(), n_plain)
        {
            match self.read_frame(chunk_size, &mut n_plain) {
                Ok(Some(frame)) => batch.frames.push(frame),
                Ok(None) => batch.end = Some(Ok(())),
                Err(e) => {
                    let chunk = first_chunk + batch.frames.len();
                    batch.end = Some(Err(self.at_chunk(e, chunk)));
                }
            }
        }
        batch
    }

    /// Reads a chunk whole; `None` at the end tag. Adds its plain length to `n_plain`.
    fn read_frame(&mut self, chunk_size: u32, n_plain: &mut u64) -> Result<Option<Frame>> {
        let Some(header) = ChunkHeader::read(chunk_size, &mut self.source)? else {
            return Ok(None);
        };
        *n_plain += u64::from(header.extent.plain_len);
        self.check_limit(*n_plain)?;
        Frame::read(header, &mut self.source).map(Some)
    }

    /// Decodes chunks side by side and gives them out in order, up to the first that fails.
    fn give_frames(
        &mut self,
        frames: &[Frame],
        (model, parameters): (Option<&Model>, &Parameters),
        hasher: &mut blake3::Hasher,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        let resources = self.resources().beside(model);
        let all: Vec<&Frame> = frames.iter().collect();
        let plains = Frame::decode_all(&all, model, parameters, resources);
        for (frame, plain) in frames.iter().zip(plains) {
            let plain = plain.map_err(|e| self.at_chunk(e, entries.len()))?;
            let _io = enter(Part::Io);
            hasher.update(&plain);
            self.give(&frame.header.extent, &plain)?;
            entries.push(Entry::of(&frame.header));
        }
        Ok(())
    }

    /// Names the place where `error` is.
    fn at_chunk(&self, error: Error, chunk: usize) -> Error {
        at_chunk(error, self.summary.n_streams, chunk)
    }

    /// What all that is decoded at a time may take.
    fn resources(&self) -> Resources<'a> {
        let DecompressOptions { threads, memory, .. } = *self.options;
        Resources { threads: threads.max(1), memory, progress: self.progress }
    }

    /// Writes a chunk's plain bytes.
    fn give(&mut self, extent: &Extent, plain: &[u8]) -> Result<()> {
        self.output.write_all(plain).map_err(write_error)?;
        self.summary.plain_len += plain.len() as u64;
        self.summary.n_chunks += 1;
        self.summary.n_stored += u64::from(extent.tag.is_stored());
        Ok(())
    }

    /// Refuses `n_plain` bytes more than were given out where they would exceed the limit.
    fn check_limit(&self, n_plain: u64) -> Result<()> {
        self.options.check_limit(self.summary.plain_len + n_plain)
    }
}

/// The model that `name` names, and no other.
///
/// # Errors
/// Those of `models`; ModelMissing where it gives another model.
pub(super) fn find_model(models: &dyn ModelSource, name: &ModelName) -> Result<Arc<Model>> {
    let model = models.find(name)?;
    if name.matches(model.identity()) { Ok(model) } else { Err(name.missing()) }
}

/// Reads and decodes what follows the header of a single form, and checks it.
///
/// # Errors
/// Io, Truncated, Corrupt, ModelMissing, InvalidModel.
pub(super) fn decode_single<R: Read>(
    header: &SingleHeader,
    source: &mut Source<R>,
    models: &dyn ModelSource,
    resources: Resources<'_>,
) -> Result<Vec<u8>> {
    let extent = header.extent;
    let payload = source.payload(extent.payload_len)?;
    if extent.tag.is_stored() {
        header.check(&payload, None)?;
        (resources.progress)(extent.plain_len.into());
        return Ok(payload);
    }
    let model = find_model(models, &header.model())?;
    let resources = resources.beside(Some(&model));
    let chunks = [(extent, &payload[..])];
    let plain =
        chunk::decode_all(Some(&model), &Parameters::DEFAULT, &chunks, resources).remove(0)?;
    header.check(&plain, Some(&payload))?;
    Ok(plain.into_owned())
}

fn write_error(error: std::io::Error) -> Error {
    Error::io("cannot write the output", error)
}
