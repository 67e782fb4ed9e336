//! Transfer from one input to its output, as compression and decompression share it.

use super::exit::{Kept, UsageError};
use super::input::{InputFile, OpenInput, is_same};
use super::names::{shown, with_suffix};
use super::output::{Output, OutputFile, OutputPlace, Target, refuse_name};
use super::sparse::SparseStream;
use super::standard::{Stream, stdout};
use super::voice::{ProgressStyle, Voice};
use crate::ErrorKind;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Size of the write buffer.
const WRITE_BUFFER: usize = 1 << 16;

/// Suffix of a file with only part of its content.
const PART_SUFFIX: &str = ".recovered";

/// Completeness of an output.
pub enum Completeness {
    Complete,
    /// A part, which never gets the name of the whole unless the user gave it.
    Partial,
    Nothing,
}

/// Open input with its destination.
pub struct Transfer<'a> {
    pub input: OpenInput,
    /// Name of the input in messages.
    pub name: String,
    output: &'a Output,
    sink: Sink,
}

/// Destination of the result.
enum Sink {
    /// Standard output, or a named destination that is no file.
    Stream { file: Stream, named: Option<PathBuf> },
    /// A file that gets this path.
    File(PathBuf),
}

impl<'a> Transfer<'a> {
    /// Resolves where `input`, called `name` in messages, goes; `beside` names the file beside it.
    ///
    /// # Errors
    /// I/O errors; errors on refused inputs and outputs.
    pub fn new(
        input: OpenInput,
        name: String,
        output: &'a Output,
        beside: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<Self> {
        if output.remove_input && input.path.is_some() {
            input.refuse_removal(output.force)?;
        }
        let sink = match (&output.target, &input.path) {
            (Target::Stdout, _) | (Target::BesideInput, None) => {
                Sink::Stream { file: stdout()?, named: None }
            }
            (Target::InFolder(_), None) => bail!(
                "has no name for a file in the directory of -C; -o names one, -c writes to standard output"
            ),
            (Target::BesideInput | Target::InFolder(_), Some(path)) => {
                Sink::File(output.claim(output.moved(beside(path)?)?)?)
            }
            (Target::Named(named), _) => {
                refuse_input_as_target(&input, named)?;
                Sink::named(named, output).with_context(|| shown(named))?
            }
        };
        Ok(Self { input, name, output, sink })
    }

    /// Refuses to fill a terminal with binary data.
    ///
    /// # Errors
    /// UsageError.
    pub fn refuse_terminal(&self) -> Result<()> {
        match &self.sink {
            Sink::Stream { file, .. } if !self.output.force && file.file().is_terminal() => {
                let message = "refusing to write compressed data to a terminal; use -f to force it or -o to name a file";
                Err(UsageError(message.into()).into())
            }
            _ => Ok(()),
        }
    }

    /// Chooses the form of progress: none by default where the result goes to a terminal, because the
    /// two would destroy each other.
    pub fn progress(&self, wanted: ProgressStyle) -> ProgressStyle {
        match (wanted, &self.sink) {
            (ProgressStyle::Auto, Sink::Stream { file, .. }) if file.file().is_terminal() => {
                ProgressStyle::Never
            }
            _ => wanted,
        }
    }

    /// Returns the name of the output, where it has one.
    pub fn target(&self) -> Option<String> {
        match &self.sink {
            Sink::Stream { named, .. } => named.as_deref().map(shown),
            Sink::File(target) => Some(shown(target)),
        }
    }

    /// Returns the verbosity that prints a summary: with standard output, usually another program's pipe,
    /// only verbose.
    pub fn voice_of_summary(&self) -> Voice {
        if self.target().is_some() { Voice::Normal } else { Voice::Verbose }
    }

    /// Runs `copy`, which reads its first argument and writes its second.
    ///
    /// # Errors
    /// I/O errors; those of `copy`. No output file is left then.
    pub fn run<T>(
        &self,
        copy: impl FnOnce(&InputFile, &mut dyn Write) -> Result<T, crate::Error>,
    ) -> Result<T> {
        self.run_as(copy, |_| Completeness::Complete)
    }

    /// Runs `copy` where the output may be only a part of the whole.
    ///
    /// # Errors
    /// Errors as for [`Transfer::run`].
    pub fn run_as<T>(
        &self,
        copy: impl FnOnce(&InputFile, &mut dyn Write) -> Result<T, crate::Error>,
        outcome: impl FnOnce(&T) -> Completeness,
    ) -> Result<T> {
        match &self.sink {
            Sink::Stream { file, .. } => self.to_stream(file, copy),
            Sink::File(target) => self.to_file(target, copy, outcome),
        }
    }

    /// Returns the name of an output with only part of the content.
    pub fn target_of_part(&self) -> Option<String> {
        match &self.sink {
            Sink::Stream { .. } => self.target(),
            Sink::File(target) => Some(shown(&self.part_path(target))),
        }
    }

    /// Refuses a name that the partial output could not get, before any work is done.
    ///
    /// # Errors
    /// Errors of [`refuse_name`] for the partial output.
    pub fn refuse_part(&self) -> Result<()> {
        let Sink::File(target) = &self.sink else { return Ok(()) };
        let part = self.part_path(target);
        refuse_name(&part, self.output.force).with_context(|| shown(&part))
    }

    fn part_path(&self, target: &Path) -> PathBuf {
        match self.output.target {
            Target::Named(_) => target.to_owned(),
            _ => with_suffix(target, PART_SUFFIX),
        }
    }

    fn to_stream<T>(
        &self,
        stream: &Stream,
        copy: impl FnOnce(&InputFile, &mut dyn Write) -> Result<T, crate::Error>,
    ) -> Result<T> {
        let mut holes = SparseStream::new(stream, self.output.sparse);
        let mut buffered = BufWriter::with_capacity(WRITE_BUFFER, &mut holes);
        let done = copy(&self.input.file, &mut buffered);
        drop(buffered);
        holes.finish()?; // what came before an error, too
        let done = done?;
        self.input.check_unchanged()?;
        Ok(done)
    }

    fn to_file<T>(
        &self,
        target: &Path,
        copy: impl FnOnce(&InputFile, &mut dyn Write) -> Result<T, crate::Error>,
        outcome: impl FnOnce(&T) -> Completeness,
    ) -> Result<T> {
        refuse_input_as_target(&self.input, target)?;
        let file = OutputFile::create(target, self.output.force).with_context(|| shown(target))?;
        let file = file.sparse(self.output.sparse);
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, file);
        let done = copy(&self.input.file, &mut file);
        if done.as_ref().is_err_and(|e| !self.is_kept(e)) {
            drop(file.into_parts()); // what is in the buffer is not wanted any more
            return Ok(done?);
        }
        self.input.check_unchanged()?;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut is_complete = done.is_ok();
        match done.as_ref().map(outcome) {
            Ok(Completeness::Nothing) => return Ok(done?),
            Ok(Completeness::Partial) => {
                is_complete = false;
                file.rename_to(self.part_path(target));
            }
            Ok(Completeness::Complete) | Err(_) => (),
        }
        let remove = self.output.remove_input && is_complete;
        let is_durable = self.finish(file, remove).with_context(|| shown(target))?;
        if remove {
            let kept = || format!("is not removed; its content as read is in {}", shown(target));
            let removed = match is_durable {
                true => self.input.remove(),
                false => Err(anyhow!("the output may not outlast a power failure")),
            };
            removed.with_context(kept)?;
        }
        done.map_err(|e| anyhow::Error::from(e).context(Kept(shown(target))))
    }

    /// Completes the output file; reads it back where the input is to `be_removed`. Returns
    /// whether its name is on disk.
    fn finish(&self, mut file: OutputFile, be_removed: bool) -> Result<bool> {
        if be_removed {
            file.read_back()?;
        }
        file.finish(self.input.path.as_ref().map(|_| &self.input), self.output.syncs)
    }

    /// Returns whether the output file is kept in spite of `error`.
    fn is_kept(&self, error: &crate::Error) -> bool {
        error.kind() == ErrorKind::TrailingData && self.output.force
    }
}

impl Sink {
    /// Resolves the name that the user gave.
    fn named(named: &Path, output: &Output) -> Result<Self> {
        let stream = match OutputPlace::of(named, output.force)? {
            OutputPlace::File(path) => return Ok(Self::File(path)),
            OutputPlace::Stream(stream) => stream,
        };
        if output.remove_input {
            bail!("cannot be read back after writing, as --rm requires");
        }
        let file = stream.open().context("cannot open")?;
        Ok(Self::Stream { file, named: Some(named.to_owned()) })
    }
}

fn refuse_input_as_target(input: &OpenInput, target: &Path) -> Result<()> {
    match &input.metadata {
        Some(input) if target.metadata().is_ok_and(|target| is_same(input, &target)) => {
            bail!("input and output are the same file")
        }
        _ => Ok(()),
    }
}
