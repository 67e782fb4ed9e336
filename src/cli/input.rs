//! Inputs: files or standard input.

use super::exit::UsageError;
use super::names::shown;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Input as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Stdin { named: bool },
    File(PathBuf),
}

/// An open input.
pub struct OpenInput {
    pub file: File,
    /// `None`: standard input.
    pub path: Option<PathBuf>,
    /// Metadata at the time of opening; only of regular files.
    pub metadata: Option<Metadata>,
    /// Metadata of the path itself at the time of opening: the file, or a symbolic link to it.
    named: Option<Metadata>,
}

impl OpenInput {
    /// Opens `input`. One that a result is to be put beside must be a regular file, and a symbolic
    /// link only if `follow`.
    ///
    /// # Errors
    /// I/O errors; errors on a directory or a terminal.
    pub fn open(input: &Input, is_beside: bool, follow: bool) -> Result<Self> {
        match input {
            Input::Stdin { named } => Self::stdin(*named),
            Input::File(path) => Self::path(path, is_beside, follow),
        }
    }

    /// Takes `pipe`, the content of a file that would have the path `path`.
    pub fn packed(pipe: File, path: PathBuf) -> Self {
        Self { file: pipe, path: Some(path), metadata: None, named: None }
    }

    /// Reads the first `n` bytes, fewer where there are no more, and returns them with whether they are gone: of
    /// a file they can be read again.
    ///
    /// # Errors
    /// I/O errors.
    pub fn head(&self, n: u64) -> io::Result<(Vec<u8>, bool)> {
        let (mut file, mut head) = (&self.file, Vec::new());
        let start = file.stream_position();
        file.take(n).read_to_end(&mut head)?;
        match start {
            Ok(start) => file.seek(io::SeekFrom::Start(start)).map(|_| (head, false)),
            Err(_) => Ok((head, true)),
        }
    }

    fn stdin(named: bool) -> Result<Self> {
        let stdin = io::stdin();
        if !named && stdin.is_terminal() {
            let message = "no file given, and standard input is a terminal; see llmzip --help";
            return Err(UsageError(message.into()).into());
        }
        let file = File::from(stdin.as_fd().try_clone_to_owned()?);
        let metadata = regular(&file)?;
        Ok(Self { file, path: None, metadata, named: None })
    }

    fn path(path: &Path, is_beside: bool, follow: bool) -> Result<Self> {
        let named = path.symlink_metadata().context("cannot open")?;
        if is_beside && named.file_type().is_symlink() && !follow {
            bail!("is a symbolic link; -f follows it");
        }
        let file_type = path.metadata().context("cannot open")?.file_type();
        refuse_folder(file_type)?;
        if is_beside && !file_type.is_file() {
            bail!("is not a regular file; -c or -o names the output"); // a pipe would wait for its writer
        }
        let file = File::open(path).context("cannot open")?;
        let metadata = regular(&file)?;
        Ok(Self { file, path: Some(path.to_owned()), metadata, named: Some(named) })
    }

    /// Refuses a file that was written to since it was opened.
    ///
    /// # Errors
    /// I/O errors; an error where size or time changed.
    pub fn check_unchanged(&self) -> Result<()> {
        let Some(before) = &self.metadata else { return Ok(()) };
        let after = self.file.metadata()?;
        if before.len() != after.len() || before.modified()? != after.modified()? {
            bail!("changed while it was read");
        }
        Ok(())
    }

    /// Removes the name that a regular file was opened by; standard input stays.
    ///
    /// # Errors
    /// I/O errors; an error where the file changed or another has its name. Nothing is removed
    /// then.
    pub fn remove(&self) -> Result<()> {
        let (Some(path), Some(named)) = (&self.path, &self.named) else { return Ok(()) };
        let Some(opened) = &self.metadata else { return Ok(()) };
        self.check_unchanged()?;
        if !is_same(named, &path.symlink_metadata()?) || !is_same(opened, &path.metadata()?) {
            bail!("another file has this name now");
        }
        Ok(fs::remove_file(path)?)
    }

    /// Returns the length in bytes, where known.
    pub fn len(&self) -> Option<u64> {
        self.metadata.as_ref().map(Metadata::len)
    }
}

/// Copies the rest of a pipe to a temporary file, which is seekable, and rewinds it.
///
/// # Errors
/// I/O errors.
pub fn spool(mut pipe: &File) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut pipe, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Returns the name of `input` in messages.
pub fn name_of(input: &Input) -> String {
    match input {
        Input::Stdin { .. } => "(stdin)".into(),
        Input::File(path) => shown(path),
    }
}

fn refuse_folder(file_type: FileType) -> Result<()> {
    if file_type.is_dir() {
        bail!("is a directory; -r takes the files in it, and compress packs it");
    }
    Ok(())
}

/// Returns whether both belong to the same file.
pub fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn regular(file: &File) -> Result<Option<Metadata>> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some(metadata))
}
