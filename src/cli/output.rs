//! Output files, which get their name only when complete, and outputs that are no files: devices,
//! pipes, sockets.
//!
//! Files are written under another name in the same folder with mode 0600, then given the input's
//! mode, time, group, owner and access list, synchronised, and renamed. Until then a failure, a signal
//! or a crash leaves nothing under the name. The folder is opened once: it may move meanwhile. Where a
//! file system has not what all this takes, the output is kept with less of it, and a warning.

use super::input::{OpenInput, hash_of, is_same};
use super::names::shown;
use super::signals::{Unfinished, unfinished};
use super::sparse::write_or_skip;
use super::standard::{Stream, stdout};
use anyhow::{Context, Result, bail};
use filetime::FileTime;
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{accessat, fstat, mkdirat, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.target != Target::BesideInput && !claimed.insert(path.clone()) {
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
    /// What is open under this number (`/dev/fd/3`).
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

/// Unfinished output file, removed when dropped.
pub struct OutputFile {
    folder: Arc<File>,
    file: File,
    /// Name until it is finished; `None` afterwards.
    draft: Option<String>,
    target: PathBuf,
    overwrite: bool,
    sparse: bool,
    len: u64,
    hasher: blake3::Hasher,
}

impl OutputFile {
    /// Creates a file that will be named `target`; replaces an existing one only if `overwrite`.
    ///
    /// # Errors
    /// I/O errors; those of [`refuse_name`].
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        refuse_name(target, overwrite)?;
        let cannot = "cannot create the output file";
        let folder = Arc::new(open_folder(folder_of(target)).context(cannot)?);
        refuse_foreign(&folder, name_in_folder(target))?;
        let mut unfinished = unfinished();
        let (name, file) = create_draft(&folder).context(cannot)?;
        *unfinished = Some(Unfinished::File(Arc::clone(&folder), name.clone()));
        let (draft, target, hasher) = (Some(name), target.to_owned(), blake3::Hasher::new());
        Ok(Self { folder, file, draft, target, overwrite, sparse: false, len: 0, hasher })
    }

    /// Leaves holes for zeros if `sparse`.
    #[must_use]
    pub fn sparse(mut self, sparse: bool) -> Self {
        self.sparse = sparse;
        self
    }

    /// Changes the final name.
    pub fn rename_to(&mut self, target: PathBuf) {
        self.target = target;
    }

    /// Reads the file back and compares it with what was written.
    ///
    /// # Errors
    /// I/O errors; an error where it differs.
    pub fn read_back(&mut self) -> Result<()> {
        self.file.set_len(self.len)?; // it may end in a hole
        if hash_of(&self.file, self.len)? != self.hasher.finalize() {
            bail!("the output file differs from the data written to it");
        }
        Ok(())
    }

    /// Gives the file the mode, time, group, owner and access list of `input`, and its name; syncs both to
    /// disk where `syncs`. Returns whether they are on disk: some file systems cannot tell.
    ///
    /// # Errors
    /// I/O errors; an error where a file of that name appeared meanwhile.
    pub fn finish(mut self, input: Option<&OpenInput>, syncs: bool) -> Result<bool> {
        self.file.set_len(self.len)?;
        if let Err(error) = take_over_attributes(&self.file, input) {
            let target = shown(&self.target);
            say!("llmzip: warning: {target}: cannot set mode and time: {error}");
        }
        if !syncs {
            self.rename().context("cannot name the output file")?;
            return Ok(false);
        }
        let is_synced = is_supported(self.file.sync_all());
        let is_synced = is_synced.context("cannot sync the output file to disk")?;
        self.rename().context("cannot name the output file")?;
        let is_synced = is_synced
            & is_supported(sync_folder(&self.folder))
                .context("cannot sync the output folder to disk")?;
        if !is_synced {
            let target = shown(&self.target);
            say!("llmzip: warning: {target}: written, but cannot be synced to disk here");
        }
        Ok(is_synced)
    }

    fn rename(&mut self) -> Result<()> {
        let mut unfinished = unfinished();
        let draft = self.draft.as_deref().context("it has its name already")?;
        let (folder, name) = (&*self.folder, name_in_folder(&self.target));
        let renamed = match self.overwrite {
            true => renameat(folder, draft, folder, name),
            false => rename_new(folder.as_fd(), draft, name, false),
        };
        match renamed {
            Ok(()) => (),
            // It is a mount point, or another's file that others may only write to.
            Err(Errno::BUSY | Errno::PERM | Errno::ACCESS) if self.overwrite => {
                write_into(folder, name, &self.file)?;
                unlinkat(folder, draft, AtFlags::empty())?;
            }
            Err(error) => return Err(error.into()),
        }
        (self.draft, *unfinished) = (None, None);
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = match self.sparse {
            true => write_or_skip(&mut self.file, self.len, bytes)?,
            false => self.file.write(bytes)?,
        };
        self.hasher.update(&bytes[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.draft.is_none() {
            return;
        }
        if let Some(unfinished) = unfinished().take() {
            unfinished.remove();
        }
    }
}

/// Opens a folder to name files in; it need not be readable.
///
/// # Errors
/// I/O errors.
pub fn open_folder(path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Creates a file for its owner alone, under a new name.
fn create_draft(folder: &File) -> io::Result<(String, File)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    loop {
        let name = format!(".llmzip-{:016x}.tmp", RandomState::new().build_hasher().finish());
        match openat(folder, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok((name, File::from(file))),
            Err(Errno::EXIST) => (),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Renames `draft`, a directory if `is_folder`, to `name`, which no file may have; both in `folder`. Where the file
/// system cannot do that at once, the name is taken first by a file or directory with nothing in it.
///
/// # Errors
/// I/O errors.
pub fn rename_new(
    folder: BorrowedFd<'_>,
    draft: impl Arg + Copy,
    name: impl Arg + Copy,
    is_folder: bool,
) -> rustix::io::Result<()> {
    match renameat_with(folder, draft, folder, name, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => return Err(Errno::EXIST),
        Err(_) => (),
    }
    let (mode, flags) = (Mode::RUSR | Mode::WUSR, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY);
    match is_folder {
        true => mkdirat(folder, name, mode | Mode::XUSR)?,
        false => drop(openat(folder, name, flags | OFlags::CLOEXEC, mode)?),
    }
    renameat(folder, draft, folder, name).inspect_err(|_| {
        let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let _ = unlinkat(folder, name, flags);
    })
}

/// Writes the content of `draft` into the file `name`, which stays the same file.
fn write_into(folder: &File, name: &OsStr, mut draft: &File) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::empty())?);
    draft.rewind()?;
    let len = io::copy(&mut draft, &mut file)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Syncs the names in a folder to disk.
///
/// # Errors
/// I/O errors.
pub fn sync_folder(folder: &File) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    File::from(openat(folder, ".", flags, Mode::empty())?).sync_all()
}

/// Whether the file system, or the folder's mode, let a call be done at all.
///
/// # Errors
/// I/O errors of another kind.
pub fn is_supported(done: io::Result<()>) -> io::Result<bool> {
    match done.map_err(|error| (Errno::from_io_error(&error), error)) {
        Ok(()) => Ok(true),
        Err((Some(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::ACCESS), _)) => Ok(false),
        Err((_, error)) => Err(error),
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

/// Refuses another's file that could neither be replaced, in a folder with the sticky bit, nor written
/// into: it would fail after all the work.
fn refuse_foreign(folder: &File, name: &OsStr) -> Result<()> {
    let Ok(there) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let own = rustix::process::geteuid();
    let Stat { st_mode, st_uid, .. } = fstat(folder)?;
    let is_sticky = Mode::from_raw_mode(st_mode).contains(Mode::SVTX);
    let may_replace = !is_sticky || own.is_root() || [there.st_uid, st_uid].contains(&own.as_raw());
    let is_file = FileType::from_raw_mode(there.st_mode) == FileType::RegularFile;
    let may_write = || accessat(folder, name, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    if may_replace || is_file && may_write() {
        return Ok(());
    }
    bail!("belongs to another user, and the directory has the sticky bit");
}

/// Sets mode, modification time, group, owner and access list of `input`; without one, the mode of any
/// new file. Only a privileged process may set any owner and group; failures to set them are ignored.
/// On an error nobody gains access.
fn take_over_attributes(file: &File, input: Option<&OpenInput>) -> io::Result<()> {
    let Some(OpenInput { file: source, metadata: Some(input), .. }) = input else {
        return file.set_permissions(Permissions::from_mode(mode_of_new_files()));
    };
    let has_group =
        file.metadata()?.gid() == input.gid() || fchown(file, None, Some(input.gid())).is_ok();
    let mode = match copy_access_list(source.file(), file, has_group) {
        AccessList::None if has_group => input.mode() & MODE_BITS,
        AccessList::None => mode_in_other_group(input.mode()),
        AccessList::Copied => input.mode() & MODE_BITS,
        AccessList::Lost => input.mode() & 0o700,
    };
    let has_mode = file.set_permissions(Permissions::from_mode(mode));
    let time = FileTime::from_last_modification_time(input);
    let has_time = filetime::set_file_handle_times(file, None, Some(time));
    let _ = fchown(file, Some(input.uid()), None); // last: the rest may be for the owner alone to set
    has_mode.and(has_time)
}

/// POSIX access list of an output: with one, the mode's bits for the group are only the most that
/// anybody on the list may do.
enum AccessList {
    None,
    Copied,
    /// The input has one, and the output has not.
    Lost,
}

#[cfg(target_os = "linux")]
fn copy_access_list(from: &File, to: &File, has_group: bool) -> AccessList {
    use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
    const NAME: &str = "system.posix_acl_access";
    const MOST: usize = 1 << 16; // what Linux allows an attribute
    let mut list = Vec::with_capacity(MOST);
    match fgetxattr(from, NAME, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) if has_group && fsetxattr(to, NAME, &list, XattrFlags::empty()).is_ok() => {
            AccessList::Copied
        }
        Ok(_) => AccessList::Lost,
        Err(_) => {
            let _ = fremovexattr(to, NAME); // one that the folder gave it
            AccessList::None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn copy_access_list(_: &File, _: &File, _: bool) -> AccessList {
    AccessList::None
}

/// Returns the part of `mode` that is safe for a file in another group: its members were `other`
/// before, and those of the old group are `other` now, so both get the permissions that both had.
fn mode_in_other_group(mode: u32) -> u32 {
    let both = mode >> 3 & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Returns read and write permission for all, minus the umask.
fn mode_of_new_files() -> u32 {
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

/// Returns the name of `path` in its parent folder.
fn name_in_folder(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}
