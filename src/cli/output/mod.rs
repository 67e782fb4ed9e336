//! Where results go: the options of it, and the kinds of destination.

mod attributes;
mod file;
mod place;

pub use file::{OutputFile, refuse_name};
pub use place::OutputPlace;

use super::exit::UsageError;
use super::input::{OpenInput, is_same};
use super::names::shown;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes collected before they are written.
const BUFFER_LEN: usize = 1 << 16;

/// Output options, resolved.
#[derive(Debug)]
pub struct Output {
    pub target: Target,
    pub remove_input: bool,
    pub force: bool,
    /// Whether files are on disk before the program ends.
    pub syncs: bool,
    /// Suffix of archives, with its dot.
    pub suffix: String,
    /// Whether holes are left for zeros.
    pub sparse: bool,
    /// Results of this run in the folder of -C, where inputs of one name meet.
    pub claimed: Mutex<HashSet<PathBuf>>,
}

/// Destination of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Stdout,
    Named(PathBuf),
    /// A file beside the input, named after it.
    BesideInput,
    /// A file in this folder, named after the input.
    InFolder(PathBuf),
}

impl Output {
    /// Refuses several inputs whose results would be one file.
    ///
    /// # Errors
    /// UsageError.
    pub fn check_inputs(&self, n: usize) -> Result<()> {
        match self.target {
            Target::Named(_) if n > 1 => {
                let message =
                    "-o takes a single input; -c concatenates several, -C DIR takes a file of each";
                Err(UsageError(message.into()).into())
            }
            _ => Ok(()),
        }
    }

    /// Returns whether files are named after their inputs.
    pub fn is_beside(&self) -> bool {
        matches!(self.target, Target::BesideInput | Target::InFolder(_))
    }

    /// Refuses an input that `--rm` could not remove, before it is opened: a pipe would wait for its writer.
    ///
    /// # Errors
    /// An error on what is not a regular file.
    pub fn refuse_special(&self, input: &Path) -> Result<()> {
        if self.remove_input && input.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            bail!("is not a regular file, the only kind that --rm removes");
        }
        Ok(())
    }

    /// Notes that `path` is the result of an input.
    ///
    /// # Errors
    /// An error where another input of this run has it.
    pub fn claim(&self, path: PathBuf) -> Result<PathBuf> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        let place = folder.map(|folder| folder.join(path.file_name().unwrap_or_default()));
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if !claimed.insert(place.unwrap_or(path.clone())) {
            bail!("{} is the result of another input already", shown(&path));
        }
        Ok(path)
    }

    /// Returns the path beside the input, `path`, moved to the folder of -C, which is created where it is
    /// missing.
    ///
    /// # Errors
    /// I/O errors.
    pub fn moved(&self, path: PathBuf) -> Result<PathBuf> {
        let Target::InFolder(folder) = &self.target else { return Ok(path) };
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", shown(folder)))?;
        Ok(folder.join(path.file_name().unwrap_or_default()))
    }
}

/// Writes into what `file` names; a file gets its name once all is written, and the mode, times and owner of `like`.
///
/// # Errors
/// Those of `write`; I/O errors.
pub fn write_to<T>(
    file: &Path,
    force: bool,
    like: Option<&OpenInput>,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    match OutputPlace::of(file, force).with_context(|| shown(file))? {
        OutputPlace::Stream(stream) => {
            let out = stream.open().context("cannot open").with_context(|| shown(file))?;
            let mut out = BufWriter::with_capacity(BUFFER_LEN, out);
            let written = write(&mut out)?;
            out.flush()?;
            Ok(written)
        }
        OutputPlace::File(file) => {
            let out = OutputFile::create(&file, force).with_context(|| shown(&file))?;
            let mut out = BufWriter::with_capacity(BUFFER_LEN, out);
            let written = write(&mut out)?;
            let out = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            out.finish(like, true).with_context(|| shown(&file))?;
            Ok(written)
        }
    }
}

/// Refuses an output that is one of `inputs`, under any name: `-f` would replace what is read.
///
/// # Errors
/// UsageError.
pub fn refuse_inputs(output: &Path, inputs: &[&Path]) -> Result<()> {
    let Ok(there) = output.metadata() else { return Ok(()) };
    let is_it = |input: &&&Path| input.metadata().is_ok_and(|input| is_same(&there, &input));
    match inputs.iter().find(is_it) {
        Some(input) if there.is_file() => {
            let message = format!("{} is read: the output needs another name", shown(input));
            Err(UsageError(message).into())
        }
        _ => Ok(()),
    }
}
