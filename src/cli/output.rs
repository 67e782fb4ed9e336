//! A file that appears under its name only when it is complete; and what is written straight into
//! because it is no file: a device, a pipe, a socket.
//!
//! Written under another name in the same folder with mode 0600, then given the input's mode, time,
//! group and owner, synchronised, and renamed. Until then a failure, a signal or a crash leaves
//! nothing under the name.

use super::input::is_same;
use super::signals::unfinished;
use anyhow::{Context, Result, bail};
use filetime::FileTime;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Permission bits that are taken over: no set-user-id, no set-group-id, no sticky bit.
const MODE_BITS: u32 = 0o777;

/// Where results go, and at what cost.
#[derive(Debug)]
pub struct Output {
    pub target: Target,
    pub remove_input: bool,
    pub force: bool,
    /// Suffix of archives, with its dot.
    pub suffix: String,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Stdout,
    Named(PathBuf),
    /// A file beside the input, named after it.
    BesideInput,
}

/// What the name that was given for an output leads to. Names that the program makes itself are not
/// followed: there `-f` replaces a link.
pub enum OutputPlace {
    /// What is written straight into.
    Stream(OutputStream),
    /// What is to be a file; the path that a link leads to.
    File(PathBuf),
}

/// What is written straight into, not yet open.
pub enum OutputStream {
    /// What standard output is, too, a file or not.
    Stdout,
    /// A device, a pipe, a socket.
    Special(PathBuf),
}

impl OutputPlace {
    /// Follows `named` and opens nothing. A block device is `overwrite`n like a file.
    ///
    /// # Errors
    /// The system's; a link that leads to nothing; a block device that is not to be overwritten.
    pub fn of(named: &Path, overwrite: bool) -> Result<Self> {
        let is_link = named.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let there = match named.metadata() {
            Err(error) if is_link => return Err(error).context("cannot follow the symbolic link"),
            Err(_) => return Ok(Self::File(named.to_owned())),
            Ok(there) => there,
        };
        if is_same(&there, &stdout()?.metadata()?) {
            return Ok(Self::Stream(OutputStream::Stdout));
        }
        if there.is_file() || there.is_dir() {
            let path = if is_link { named.canonicalize()? } else { named.to_owned() };
            return Ok(Self::File(path));
        }
        if there.file_type().is_block_device() && !overwrite {
            bail!("is a block device; -f overwrites it");
        }
        Ok(Self::Stream(OutputStream::Special(named.to_owned())))
    }
}

impl OutputStream {
    /// Opens it. A pipe waits for its reader.
    ///
    /// # Errors
    /// The system's.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Self::Stdout => stdout(),
            Self::Special(path) => File::options().write(true).open(path),
        }
    }
}

/// Standard output without a buffer.
///
/// # Errors
/// The system's.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// An unfinished output file; dropped, it leaves nothing.
pub struct OutputFile {
    temp: Option<NamedTempFile>,
    target: PathBuf,
    overwrite: bool,
    hasher: blake3::Hasher,
}

impl OutputFile {
    /// Begins a file that is to be called `target`; replaces one of that name only to `overwrite`.
    ///
    /// # Errors
    /// The system's; those of [`refuse_name`].
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        refuse_name(target, overwrite)?;
        let mut path = unfinished();
        let temp = tempfile::Builder::new()
            .prefix(".llmzip-")
            .suffix(".tmp")
            .tempfile_in(folder_of(target))
            .context("cannot create the output file")?;
        *path = Some(temp.path().to_owned());
        let (temp, target) = (Some(temp), target.to_owned());
        Ok(Self { temp, target, overwrite, hasher: blake3::Hasher::new() })
    }

    /// Changes the name that it is to get.
    pub fn rename_to(&mut self, target: PathBuf) {
        self.target = target;
    }

    fn file(&self) -> io::Result<&File> {
        let closed = || io::Error::other("the output file is closed");
        self.temp.as_ref().map(NamedTempFile::as_file).ok_or_else(closed)
    }

    /// Reads the file back and compares it with what was written.
    ///
    /// # Errors
    /// The system's; where it differs.
    pub fn read_back(&self) -> Result<()> {
        let mut file = File::open(self.temp.as_ref().context("the output file is closed")?.path())?;
        file.rewind()?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            };
        }
        if hasher.finalize() != self.hasher.finalize() {
            bail!("the output file differs from the data written to it");
        }
        Ok(())
    }

    /// Puts the file on disk with the mode, time, group and owner of `input`, and gives it its name.
    ///
    /// # Errors
    /// The system's; where a file of that name appeared meanwhile.
    pub fn finish(mut self, input: Option<&Metadata>) -> Result<()> {
        let file = self.file()?;
        take_over_attributes(file, input).context("cannot set the output file's mode and time")?;
        file.sync_all().context("cannot sync the output file to disk")?;
        self.rename()?;
        let folder = File::open(folder_of(&self.target)).and_then(|folder| folder.sync_all());
        folder.context("cannot sync the output folder to disk")
    }

    fn rename(&mut self) -> Result<()> {
        let mut path = unfinished();
        let temp = self.temp.take().context("the output file is closed")?;
        let renamed = match self.overwrite {
            true => temp.persist(&self.target),
            false => temp.persist_noclobber(&self.target),
        };
        *path = None;
        renamed.map(drop).map_err(|e| e.error).context("cannot name the output file")
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file()?.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        let mut path = unfinished();
        if self.temp.take().is_some() {
            *path = None;
        }
    }
}

/// Refuses a name that the finished file could not get, so that no work is lost.
///
/// # Errors
/// The system's; where `target` is a folder, a device, a pipe or a socket, or a file that is not to be
/// overwritten.
pub fn refuse_name(target: &Path, overwrite: bool) -> Result<()> {
    let there = match target.symlink_metadata() {
        Ok(there) => there,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot be the output file's name");
        }
        Err(_) if names_folder(target) => bail!("names a directory that does not exist"),
        Err(_) => return Ok(()),
    };
    if there.is_dir() {
        bail!("is a directory");
    }
    if !(there.is_file() || there.is_symlink()) {
        bail!("exists already and is not a regular file; use -o to write into it");
    }
    if !overwrite {
        bail!("exists already; -f overwrites it");
    }
    Ok(())
}

/// Whether only a folder can have this name.
fn names_folder(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Sets mode, modification time, group and owner of `input`; without one, the mode of any new file.
/// Only a privileged process sets any owner and group, and that others cannot is no error.
fn take_over_attributes(file: &File, input: Option<&Metadata>) -> io::Result<()> {
    let Some(input) = input else {
        return file.set_permissions(Permissions::from_mode(mode_of_new_files()));
    };
    let has_group =
        file.metadata()?.gid() == input.gid() || fchown(file, None, Some(input.gid())).is_ok();
    let mode = if has_group { input.mode() & MODE_BITS } else { mode_in_other_group(input.mode()) };
    file.set_permissions(Permissions::from_mode(mode))?;
    let time = FileTime::from_last_modification_time(input);
    filetime::set_file_handle_times(file, None, Some(time))?;
    let _ = fchown(file, Some(input.uid()), None); // last: the rest may be for the owner alone to set
    Ok(())
}

/// What of `mode` a file may have whose group is not the one that `mode` is meant for: its group was
/// `other` before, and who was in the old one is `other` now, so both get what both had.
fn mode_in_other_group(mode: u32) -> u32 {
    let both = mode >> 3 & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Read and write for all, less the process's mask.
fn mode_of_new_files() -> u32 {
    use rustix::fs::Mode;
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    0o666 & !mask.bits()
}

/// The folder that `path` stands in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
