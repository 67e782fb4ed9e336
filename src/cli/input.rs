//! Inputs: files or standard input.

use super::exit::UsageError;
use super::names::shown;
use super::standard::{self, Stream};
use anyhow::{Context, Result, bail};
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Input as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Stdin { named: bool },
    File(PathBuf),
}

/// An open input.
pub struct OpenInput {
    pub file: InputFile,
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
        let file = InputFile::new(Stream::new(pipe));
        Self { file, path: Some(path), metadata: None, named: None }
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
            Ok(start) => file.seek(SeekFrom::Start(start)).map(|_| (head, false)),
            Err(_) => Ok((head, true)),
        }
    }

    fn stdin(named: bool) -> Result<Self> {
        let stream = standard::stdin()?;
        if !named && stream.file().is_terminal() {
            let message = "no file given, and standard input is a terminal; see llmzip --help";
            return Err(UsageError(message.into()).into());
        }
        let metadata = regular(stream.file())?;
        Ok(Self { file: InputFile::new(stream), path: None, metadata, named: None })
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
        let (file, path) = (InputFile::new(Stream::new(file)), Some(path.to_owned()));
        Ok(Self { file, path, metadata, named: Some(named) })
    }

    /// Refuses a file that was written to since it was opened. Where only its time is another, as a
    /// server may set it late, what was read is compared with what is there.
    ///
    /// # Errors
    /// I/O errors; an error where it changed.
    pub fn check_unchanged(&self) -> Result<()> {
        let Some(before) = &self.metadata else { return Ok(()) };
        let after = self.file.stream.file().metadata()?;
        let has_len = before.len() == after.len();
        let has_time = before.modified()? == after.modified()?;
        if !has_len || !(has_time || self.file.is_as_read(after.len())?) {
            bail!("changed while it was read");
        }
        Ok(())
    }

    /// Refuses to remove what is more than this name, as gzip and xz do: a file with other links, or
    /// with a mode bit that the output would not get.
    ///
    /// # Errors
    /// An error on such a file, and on what is not a regular one.
    pub fn refuse_removal(&self, force: bool) -> Result<()> {
        let Some(metadata) = &self.metadata else {
            bail!("is not a regular file, the only kind that --rm removes");
        };
        let message = match metadata.mode() & 0o7000 {
            _ if force => return Ok(()),
            _ if metadata.nlink() > 1 => "has other names (hard links)",
            bits if bits & 0o4000 > 0 => "is set-user-ID",
            bits if bits & 0o2000 > 0 => "is set-group-ID",
            0 => return Ok(()),
            _ => "has the sticky bit",
        };
        bail!("{message}; -f removes it all the same");
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

/// A file that keeps the hash of what is read from it without a leap.
pub struct InputFile {
    stream: Stream,
    read: Mutex<Span>,
}

/// Bytes of a file, and their hash.
#[derive(Default)]
struct Span {
    begin: u64,
    len: u64,
    hasher: blake3::Hasher,
}

impl InputFile {
    fn new(stream: Stream) -> Self {
        let begin = stream.file().stream_position().unwrap_or(0);
        Self { stream, read: Mutex::new(Span { begin, ..Span::default() }) }
    }

    /// The file, to read from it what need not be compared later.
    pub fn file(&self) -> &File {
        self.stream.file()
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file's first `len` bytes were read without a leap, and are the same now.
    fn is_as_read(&self, len: u64) -> io::Result<bool> {
        let read = self.span();
        if (read.begin, read.len) != (0, len) {
            return Ok(false);
        }
        Ok(hash_of(self.file(), len)? == read.hasher.finalize())
    }
}

impl Read for &InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (&self.stream).read(buffer)?;
        let mut read = self.span();
        read.hasher.update(&buffer[..n]);
        read.len += n as u64;
        Ok(n)
    }
}

impl Seek for &InputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let begin = (&self.stream).seek(to)?;
        let mut read = self.span();
        if begin != read.begin + read.len {
            *read = Span { begin, ..Span::default() };
        }
        Ok(begin)
    }
}

/// Hashes the first `len` bytes of `file`; fewer where it ends before.
///
/// # Errors
/// I/O errors.
pub fn hash_of(file: &File, len: u64) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    while offset < len {
        let n_wanted = buffer.len().min((len - offset) as usize);
        match file.read_at(&mut buffer[..n_wanted], offset) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize())
}

/// Copies the rest of a pipe to a temporary file, which is seekable, and rewinds it.
///
/// # Errors
/// I/O errors.
pub fn spool(mut pipe: &InputFile) -> io::Result<File> {
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

/// Refuses a folder where a command takes one file, and has no -r.
///
/// # Errors
/// An error that says so.
pub fn expect_no_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("is a directory, expected a file");
    }
    Ok(())
}

fn refuse_folder(file_type: FileType) -> Result<()> {
    if file_type.is_dir() {
        bail!("is a directory; -r takes the files in it");
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
