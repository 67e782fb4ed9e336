//! Outputs that are no files: devices, pipes, sockets, what is open under a number; they are written into directly.

#[cfg(target_os = "linux")]
use crate::cli::folder::folder_of;
use crate::cli::input::is_same;
use crate::cli::standard::{Stream, stdout};
use anyhow::{Context, Result, bail};
#[cfg(target_os = "linux")]
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

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
    /// The file that is open under this number (`/dev/fd/3`).
    #[cfg(target_os = "linux")]
    Descriptor(i32),
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
        #[cfg(target_os = "linux")]
        match descriptor(named) {
            Some(1) => return Ok(Self::Stream(OutputStream::Stdout)),
            Some(number) if is_own(number) => bail!("is not open"),
            Some(number) => return Ok(Self::Stream(OutputStream::Descriptor(number))),
            None => (),
        }
        if let Ok(stdout) = stdout()
            && is_same(&there, &stdout.file().metadata()?)
        {
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
    pub fn open(&self) -> io::Result<Stream> {
        match self {
            Self::Stdout => stdout(),
            #[cfg(target_os = "linux")]
            Self::Descriptor(number) => duplicate(*number),
            Self::Special(path) => File::options().write(true).open(path).map(Stream::new),
        }
    }
}

/// The number of the open file that `path` names, as `/dev/fd/3` does. The link there leads to the
/// file's name, but means the open file with its position.
#[cfg(target_os = "linux")]
fn descriptor(path: &Path) -> Option<i32> {
    let own = Path::new("/proc/self/fd").canonicalize().ok()?;
    let numbered = |path: &Path| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        (folder_of(path).canonicalize().ok()? == own).then_some(number)
    };
    // /dev/stderr is a link to it.
    numbered(path).or_else(|| numbered(&path.read_link().ok()?))
}

/// Whether this process opened `number` itself: what it was given stays open in a program that it runs.
#[cfg(target_os = "linux")]
fn is_own(number: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC)
}

#[cfg(target_os = "linux")]
fn duplicate(number: i32) -> io::Result<Stream> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(Stream::new(File::from(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)))
}
