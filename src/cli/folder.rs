//! Folders that are opened once, to give names in: they may move meanwhile, or be too deep for a path.

use anyhow::{Result, bail};
use rustix::fs::utimensat;
use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, RawMode, RenameFlags, Stat, Timespec, Timestamps,
};
use rustix::fs::{
    accessat, fstat, linkat, mkdirat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Flags of an open folder, which need not be readable.
#[cfg(target_os = "linux")]
const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Permissions for the owner alone.
const OWNER: u32 = 0o700;

/// An open folder.
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, FLAGS, Mode::empty())?))
    }

    /// Opens the folder `name` in it, which no link may stand for.
    ///
    /// # Errors
    /// I/O errors; an error where `name` is no folder.
    pub fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Opens the folder `name` in it to read its names or set its attributes; `.` is this folder itself.
    ///
    /// # Errors
    /// I/O errors; an error where `name` is no folder.
    pub fn open_readable(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.0, name.as_ref(), flags, Mode::empty())?))
    }

    /// Returns whether anything has the name `name`.
    pub fn has(&self, name: &OsStr) -> bool {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Returns whether `name` is a folder.
    pub fn has_folder(&self, name: &OsStr) -> bool {
        let there = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| FileType::from_raw_mode(there.st_mode) == FileType::Directory)
    }

    /// Returns whether `name` and the `other_name` in `other` are one file.
    pub fn has_same(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> bool {
        let id = |folder: &Self, name| {
            let there = statat(&folder.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((there.st_dev, there.st_ino))
        };
        let there = id(self, name);
        there.is_some() && there == id(other, other_name)
    }

    /// Returns the names in it, sorted.
    ///
    /// # Errors
    /// I/O errors.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_readable(".")?)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_owned());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Creates a file for its owner alone, under a new name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create_draft(&self) -> io::Result<(String, File)> {
        under_new_name(|name| self.create(OsStr::new(name)))
    }

    /// Creates a folder, under a new name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create_draft_folder(&self) -> io::Result<(String, Self)> {
        let (name, ()) = under_new_name(|name| self.create_folder(OsStr::new(name), OWNER))?;
        let folder = self.enter(OsStr::new(&name));
        let folder = folder.inspect_err(|_| drop(self.remove_all(OsStr::new(&name))))?;
        Ok((name, folder))
    }

    /// Creates the file `name` for its owner alone.
    ///
    /// # Errors
    /// I/O errors; an error where anything has that name.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Creates the folder `name` with `mode`, less what the umask takes away.
    ///
    /// # Errors
    /// I/O errors; an error where anything has that name.
    pub fn create_folder(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::from_raw_mode(mode as RawMode))?)
    }

    /// Creates the symbolic link `name` to `target`.
    ///
    /// # Errors
    /// I/O errors; an error where anything has that name.
    pub fn create_link(&self, name: &OsStr, target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(OsStr::from_bytes(target), &self.0, name)?)
    }

    /// Gives the file `old_name` in `from`, a link itself if it is one, the name `name` in this folder, too.
    ///
    /// # Errors
    /// I/O errors; an error where anything has that name.
    pub fn link(&self, name: &OsStr, from: &Self, old_name: &OsStr) -> io::Result<()> {
        Ok(linkat(&from.0, old_name, &self.0, name, AtFlags::empty())?)
    }

    /// Sets the modification time of the link `name`, in seconds since 1970.
    ///
    /// # Errors
    /// I/O errors.
    pub fn set_link_time(&self, name: &OsStr, seconds: i64) -> io::Result<()> {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Removes the folder `name` with all that is in it. What is deep in it is moved up first where that can be, so
    /// that no depth needs more than two open folders.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove_all(&self, name: &OsStr) -> io::Result<()> {
        let top = self.enter(name)?;
        loop {
            let names = top.names()?;
            if names.is_empty() {
                return Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?);
            }
            for name in names.iter().filter(|name| top.remove(name).is_err()) {
                let folder = top.enter(name)?;
                for inner in folder.names()?.iter().filter(|name| folder.remove(name).is_err()) {
                    let moved = |name: &str| Ok(renameat(&folder.0, inner, &top.0, name)?);
                    if under_new_name(moved).is_err() {
                        folder.remove_all(inner)?;
                    }
                }
                unlinkat(&top.0, name, AtFlags::REMOVEDIR)?;
            }
        }
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Renames `draft` to `name`, in place of any file of that name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn rename_over(&self, draft: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, draft, &self.0, name)?)
    }

    /// Renames `draft` in the folder `from`, a folder itself if `is_folder`, to `name` in this one, which no file may
    /// have. Where the file system cannot do that at once, the name is taken first by a file or folder with nothing in it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn rename_new(
        &self,
        from: &Self,
        draft: &OsStr,
        name: &OsStr,
        is_folder: bool,
    ) -> io::Result<()> {
        match renameat_with(&from.0, draft, &self.0, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            Err(_) => (),
        }
        match is_folder {
            true => self.create_folder(name, OWNER)?,
            false => drop(self.create(name)?),
        }
        let renamed = renameat(&from.0, draft, &self.0, name).inspect_err(|_| {
            let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let _ = unlinkat(&self.0, name, flags);
        });
        Ok(renamed?)
    }

    /// Writes the content of `draft` into the file `name`, which stays the same file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write_into(&self, name: &OsStr, mut draft: &File) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        draft.rewind()?;
        let len = io::copy(&mut draft, &mut file)?;
        file.set_len(len)?;
        file.sync_all()
    }

    /// Syncs the names in it to disk. Returns false where the file system cannot do that.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sync(&self) -> io::Result<bool> {
        is_supported(self.open_readable(".").and_then(|folder| folder.sync_all()))
    }

    /// Refuses another's file `name` that could neither be replaced, in a folder with the sticky bit, nor
    /// written into: it would fail after all the work.
    ///
    /// # Errors
    /// I/O errors; that one.
    pub fn refuse_foreign(&self, name: &OsStr) -> Result<()> {
        let Ok(there) = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let own = rustix::process::geteuid();
        let Stat { st_mode, st_uid, .. } = fstat(&self.0)?;
        let is_sticky = Mode::from_raw_mode(st_mode).contains(Mode::SVTX);
        let may_replace =
            !is_sticky || own.is_root() || [there.st_uid, st_uid].contains(&own.as_raw());
        let is_file = FileType::from_raw_mode(there.st_mode) == FileType::RegularFile;
        let may_write = || accessat(&self.0, name, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
        if may_replace || is_file && may_write() {
            return Ok(());
        }
        bail!("belongs to another user, and the directory has the sticky bit");
    }
}

/// Calls `create` with names that no file should have, until none has.
fn under_new_name<T>(mut create: impl FnMut(&str) -> io::Result<T>) -> io::Result<(String, T)> {
    loop {
        let name = format!(".llmzip-{:016x}.tmp", RandomState::new().build_hasher().finish());
        match create(&name) {
            Ok(created) => return Ok((name, created)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(error),
        }
    }
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

/// Returns the parent folder of `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Returns the name of `path` in its parent folder.
pub fn name_in_folder(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}
