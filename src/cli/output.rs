//! Output files, which get their name only when complete, and outputs that are no files: devices,
//! pipes, sockets.
//!
//! Files are written under another name in the same folder with mode 0600, then given the input's
//! mode, time, group and owner, synchronised, and renamed. Until then a failure, a signal or a
//! crash leaves nothing under the name.

use super::input::is_same;
use super::names::shown;
use super::signals::unfinished;
use anyhow::{Context, Result, bail};
use filetime::FileTime;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Permission bits that are copied: no set-user-id, no set-group-id, no sticky bit.
const MODE_BITS: u32 = 0o777;

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
    /// Returns whether files are named after their inputs.
    pub fn is_beside(&self) -> bool {
        matches!(self.target, Target::BesideInput | Target::InFolder(_))
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

/// Resolved name of an output that the user gave. Links are followed only there: for names that the
/// program makes itself, `-f` replaces a link.
pub enum OutputPlace {
    /// A destination that is written into directly.
    Stream(OutputStream),
    /// A file to create; the path that a link leads to.
    File(PathBuf),
}

/// Destination that is written into directly, not yet open.
pub enum OutputStream {
    /// The same file or device as standard output.
    Stdout,
    /// A device, a pipe, a socket.
    Special(PathBuf),
}

impl OutputPlace {
    /// Resolves `named` without opening it. A block device counts as a file to `overwrite`.
    ///
    /// # Errors
    /// I/O errors; an error on a dangling link, or a block device that must not be overwritten.
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
    /// Opens the destination. A pipe waits for its reader.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Self::Stdout => stdout(),
            Self::Special(path) => File::options().write(true).open(path),
        }
    }
}

/// Opens standard output without a buffer.
///
/// # Errors
/// I/O errors.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Unfinished output file, removed when dropped.
pub struct OutputFile {
    temp: Option<NamedTempFile>,
    target: PathBuf,
    overwrite: bool,
    hasher: blake3::Hasher,
}

impl OutputFile {
    /// Creates a file that will be named `target`; replaces an existing one only if `overwrite`.
    ///
    /// # Errors
    /// I/O errors; those of [`refuse_name`].
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

    /// Changes the final name.
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
    /// I/O errors; an error where it differs.
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

    /// Gives the file the mode, time, group and owner of `input`, and its name; syncs it to disk where
    /// `syncs`.
    ///
    /// # Errors
    /// I/O errors; an error where a file of that name appeared meanwhile.
    pub fn finish(mut self, input: Option<&Metadata>, syncs: bool) -> Result<()> {
        let file = self.file()?;
        take_over_attributes(file, input).context("cannot set the output file's mode and time")?;
        if !syncs {
            return self.rename();
        }
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

/// Refuses a name that the finished file could not get, before any work is done.
///
/// # Errors
/// I/O errors; an error where `target` is a folder, a device, a pipe or a socket, or a file that
/// must not be overwritten.
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

/// Returns whether only a folder can have this name.
fn names_folder(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Sets mode, modification time, group and owner of `input`; without one, the mode of any new file.
/// Only a privileged process may set any owner and group; failures to set them are ignored.
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

/// Returns the part of `mode` that is safe for a file in another group: its members were `other`
/// before, and those of the old group are `other` now, so both get the permissions that both had.
fn mode_in_other_group(mode: u32) -> u32 {
    let both = mode >> 3 & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Returns read and write permission for all, minus the umask.
fn mode_of_new_files() -> u32 {
    use rustix::fs::Mode;
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    0o666 & !mask.bits()
}

/// Returns the parent folder of `path`.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
