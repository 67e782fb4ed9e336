//! Decompression that goes on after damage, and says what is missing.

use super::chunk_header::ChunkHeader;
use super::damage::{Damage, Missing};
use super::found::{Found, LongStream};
use super::frame::Frame;
use super::header::LongHeader;
use super::random_access::read_single;
use super::reader::{DecompressOptions, find_model};
use super::single::SingleHeader;
use super::slots::{Layout, Slot};
use super::survey::Surveyor;
use super::{MAX_CHUNK_SIZE, ModelName, ModelSource, Progress, Resources, Summary};
use crate::codec::Parameters;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{BUILTIN_CODES, DEFAULT_CODE, Model};
use std::io::{Read, Seek, Write};
use std::sync::Arc;

/// What [`recover`] gave out, and what it could not.
#[derive(Debug)]
pub struct Recovery {
    /// `n_chunks` and `plain_len` count what was given out.
    pub summary: Summary,
    /// Empty where the archive is good.
    pub damage: Vec<Damage>,
}

/// Decompresses all chunks of `input` that are not damaged to `output`, in order; what is missing is
/// left out. Gives out no chunk whose checksum is wrong.
///
/// A stream whose header is lost is tried with the compiled-in models.
///
/// # Errors
/// What damage is not: Io, ModelMissing, InvalidModel, LimitExceeded; where there is nothing of an
/// archive, the error of [`decompress`](super::decompress()).
pub fn recover(
    input: impl Read + Seek,
    output: impl Write,
    models: &dyn ModelSource,
    options: &DecompressOptions,
    progress: Progress<'_>,
) -> Result<Recovery> {
    let surveyor = Surveyor::new(input)?;
    let summary = Summary { archive_len: surveyor.end, ..Summary::default() };
    let recovery = Recovery { summary, damage: Vec::new() };
    let mut recoverer = Recoverer {
        surveyor,
        output,
        models,
        options,
        progress,
        recovery,
        is_joined: false,
        start: Some(0),
        n_decoded: 0,
    };
    recoverer.parts()?;
    recoverer.output.flush().map_err(write_error)?;
    Ok(recoverer.recovery)
}

struct Recoverer<'a, R, W> {
    surveyor: Surveyor<R>,
    output: W,
    models: &'a dyn ModelSource,
    options: &'a DecompressOptions,
    progress: Progress<'a>,
    recovery: Recovery,
    /// Whether there is more than one part.
    is_joined: bool,
    /// Where the part's content begins in the whole, where that is known.
    start: Option<u64>,
    /// Plain bytes decoded so far, those that came to nothing too.
    n_decoded: u64,
}

impl<'a, R: Read + Seek, W: Write> Recoverer<'a, R, W> {
    fn parts(&mut self) -> Result<()> {
        let end = self.surveyor.end;
        let mut offset = 0;
        while offset < end || offset == 0 {
            let (part, next) = self.surveyor.part(offset)?;
            self.is_joined |= next < end;
            offset = match part {
                Found::Single(header) => self.single(offset, &header, next)?,
                Found::Long(stream) => self.long(*stream).map(|()| next)?,
                Found::Junk(error) if offset == 0 && next == end => return Err(error),
                Found::Junk(error) => self.junk(error, next),
            };
        }
        Ok(())
    }

    /// Notes what is no stream; returns where the next part begins.
    fn junk(&mut self, error: Error, next: u64) -> u64 {
        let missing = Missing { start: self.start.take(), len: None };
        self.note(None, missing, error);
        next
    }

    /// Gives out the stream in single form at `offset`; returns where the next part begins, which its
    /// header says is at `next`.
    fn single(&mut self, offset: u64, header: &SingleHeader, next: u64) -> Result<u64> {
        let plain_len = u64::from(header.extent.plain_len);
        self.reserve(plain_len)?;
        self.surveyor.source.seek_to(offset)?;
        let resources = self.resources();
        let plain = read_single(&mut self.surveyor.source, self.models, resources);
        let (len, next) = match survivable(plain)? {
            Ok(plain) => {
                self.give(&plain, header.extent.tag.is_stored())?;
                (Some(plain_len), next)
            }
            Err(error) => {
                let is_sure = self.surveyor.leads_on(next)?;
                let len = is_sure.then_some(plain_len);
                let next = if is_sure { next } else { self.surveyor.scan(offset + 1)? };
                self.is_joined |= next < self.surveyor.end;
                self.note(Some(0), Missing { start: self.start, len }, error);
                (len, next)
            }
        };
        self.start = self.start.zip(len).map(|(start, len)| start + len);
        self.recovery.summary.n_streams += 1;
        Ok(next)
    }

    fn long(&mut self, stream: LongStream) -> Result<()> {
        let (n_before, given_before) =
            (self.recovery.damage.len(), self.recovery.summary.plain_len);
        let Layout { slots, is_indexed, may_hide } = stream.layout();
        let (has_index, flaw) = (stream.index.is_some(), stream.flaw());
        let LongStream { header, footer, footer_fault, is_end_lost, .. } = stream;
        let header = match header {
            Some(header) => header,
            None => self.guessed_header(&slots)?,
        };
        let len = slots.iter().map(|slot| slot.plain_len).sum::<Option<u64>>();
        let mut hasher = blake3::Hasher::new();
        let mut model = None;
        let mut slots = slots.into_iter().peekable();
        while slots.peek().is_some() {
            let batch: Vec<Slot> = slots.by_ref().take(self.options.threads.max(1)).collect();
            self.batch(batch, &header, &mut model, &mut hasher)?;
        }
        let is_whole = footer.map(|footer| footer.content == <[u8; 32]>::from(hasher.finalize()));
        let damage = &mut self.recovery.damage[n_before..];
        if is_whole == Some(true) && !may_hide {
            // Then a gap was one of header or index.
            for gap in damage.iter_mut().filter(|damage| damage.missing.len.is_none()) {
                gap.missing = Missing::NOTHING;
            }
        }
        let is_all_there = damage.iter().all(|damage| damage.missing == Missing::NOTHING);
        let given = self.recovery.summary.plain_len - given_before;
        let len = match is_whole == Some(true) && is_all_there {
            true => Some(given),
            false => len.filter(|_| is_indexed),
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
            && self.recovery.damage.len() == n_before
        {
            self.note(None, Missing::NOTHING, error);
        }
        self.recovery.summary.n_streams += 1;
        Ok(())
    }

    /// What a stream's header said, most likely: of the compiled-in models, newest first, it named the
    /// one that the first chunk coded by a language model decodes with.
    fn guessed_header(&mut self, slots: &[Slot]) -> Result<LongHeader> {
        let header = |code| {
            let (model, parameters) = (ModelName::Builtin(code), Parameters::DEFAULT);
            LongHeader { model, chunk_size: MAX_CHUNK_SIZE, parameters }
        };
        for offset in slots.iter().filter_map(|slot| slot.offset.as_ref().ok()) {
            let frame = self.frame(*offset)?;
            if !frame.is_of_a_language_model() {
                continue;
            }
            // Not counted, since it is decoded once more: that does not give more than the limit.
            self.options.check_limit(self.n_decoded + u64::from(frame.header.extent.plain_len))?;
            for header in BUILTIN_CODES.into_iter().rev().map(header) {
                let Ok(model) = find_model(self.models, &header.model) else { continue };
                let resources = self.resources().beside(Some(&model));
                let plain =
                    Frame::decode_all(&[&frame], Some(&model), &header.parameters, resources);
                if plain.iter().all(Result::is_ok) {
                    return Ok(header);
                }
            }
            break;
        }
        Ok(header(DEFAULT_CODE))
    }

    /// Decodes chunks side by side, gives out the good ones in order and notes the others.
    fn batch(
        &mut self,
        slots: Vec<Slot>,
        header: &LongHeader,
        model: &mut Option<Arc<Model>>,
        hasher: &mut blake3::Hasher,
    ) -> Result<()> {
        let mut frames = Vec::new();
        for slot in &slots {
            frames.push(match &slot.offset {
                Ok(offset) => Some(self.frame(*offset)?),
                Err(_) => None,
            });
        }
        let read = || frames.iter().flatten();
        self.reserve(read().map(|frame| u64::from(frame.header.extent.plain_len)).sum())?;
        if model.is_none() && read().any(Frame::is_coded) {
            *model = Some(find_model(self.models, &header.model)?);
        }
        let model = model.as_deref();
        let resources = self.resources().beside(model);
        let all: Vec<&Frame> = read().collect();
        let mut plains = Frame::decode_all(&all, model, &header.parameters, resources).into_iter();
        for (slot, frame) in slots.into_iter().zip(&frames) {
            let plain = frame.as_ref().and_then(|_| plains.next());
            let error = match (plain.map(survivable).transpose()?, slot.offset) {
                (Some(Ok(plain)), _) => {
                    hasher.update(&plain);
                    self.give(&plain, frame.as_ref().is_some_and(|frame| !frame.is_coded()))?;
                    continue;
                }
                (Some(Err(error)), _) | (None, Err(error)) => error,
                (None, Ok(_)) => continue, // each chunk that is there was read
            };
            let start = self.start.zip(slot.start).map(|(stream, chunk)| stream + chunk);
            self.note(slot.chunk, Missing { start, len: slot.plain_len }, error);
        }
        Ok(())
    }

    /// Reads the chunk at `offset` again.
    fn frame(&mut self, offset: u64) -> Result<Frame> {
        self.surveyor.source.seek_to(offset)?;
        let changed = || {
            let changed = std::io::Error::other("it changed meanwhile");
            Error::io("cannot read the archive again", changed)
        };
        let header = survivable(ChunkHeader::read(MAX_CHUNK_SIZE, &mut self.surveyor.source))?;
        let header = header.ok().flatten().ok_or_else(changed)?;
        survivable(Frame::read(header, &mut self.surveyor.source))?.map_err(|_| changed())
    }

    fn give(&mut self, plain: &[u8], is_stored: bool) -> Result<()> {
        self.output.write_all(plain).map_err(write_error)?;
        let summary = &mut self.recovery.summary;
        summary.plain_len += plain.len() as u64;
        summary.n_chunks += 1;
        summary.n_stored += u64::from(is_stored);
        Ok(())
    }

    fn note(&mut self, chunk: Option<usize>, missing: Missing, error: Error) {
        let stream = self.is_joined.then_some(self.recovery.summary.n_streams as usize);
        self.recovery.damage.push(Damage { stream, chunk, missing, error });
    }

    /// What all that is decoded at a time may take.
    fn resources(&self) -> Resources<'a> {
        let DecompressOptions { threads, memory, .. } = *self.options;
        Resources { threads: threads.max(1), memory, progress: self.progress }
    }

    /// Refuses to decode `n_plain` bytes more where that would exceed the limit on the output. What is
    /// decoded in vain counts: a hostile archive can have much of that.
    fn reserve(&mut self, n_plain: u64) -> Result<()> {
        self.n_decoded += n_plain;
        self.options.check_limit(self.n_decoded)
    }
}

/// Tells damage (inside) from what ends all work (outside).
fn survivable<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(e) if !matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Truncated) => Err(e),
        result => Ok(result),
    }
}

fn write_error(error: std::io::Error) -> Error {
    Error::io("cannot write the output", error)
}
