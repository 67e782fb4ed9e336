//! Files, links and directories out of a tar archive, each at its place in an open folder.

use super::folder::Folder;
use super::names::shown;
use super::sparse::copy_with_holes;
use filetime::FileTime;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use tar::Entry;

/// Permission bits of files.
const MODE_BITS: u32 = 0o777;

/// Mode of folders that lead to an entry and have none of their own, before the umask.
const MODE_OF_IMPLIED: u32 = 0o777;

/// Modes and times that the file system refused, as FAT does: they cost no content.
#[derive(Default)]
pub struct Refused {
    n: usize,
    first: Option<String>,
}

impl Refused {
    /// Counts the entry `path` where its attributes were not `set`.
    pub fn note(&mut self, path: &Path, set: io::Result<()>) {
        let Err(error) = set else { return };
        self.n += 1;
        self.first.get_or_insert_with(|| format!("{}: {error}", shown(path)));
    }

    /// Warns of them, if there are any.
    pub fn say(&self) {
        if let Some(first) = &self.first {
            let n = self.n;
            say!("llmzip: warning: {n} modes or times cannot be set, the first that of {first}");
        }
    }
}

/// A name in an open folder.
pub struct Place<'a> {
    folder: Folder,
    name: &'a OsStr,
}

impl<'a> Place<'a> {
    /// Opens the folder in `root` that `path` is in, and makes those that lead there. `None` where `path` is not in
    /// `root`.
    ///
    /// # Errors
    /// I/O errors; an error where a link leads there.
    pub fn of(root: &Folder, path: &'a Path) -> io::Result<Option<Self>> {
        let mut place = Self { folder: root.enter(OsStr::new("."))?, name: OsStr::new("") };
        for part in path.components() {
            match part {
                Component::CurDir | Component::RootDir => continue, // as GNU tar reads them
                Component::Normal(name) if place.name.is_empty() => place.name = name,
                Component::Normal(name) => {
                    place.folder = place.make_folders()?;
                    place.name = name;
                }
                _ => return Ok(None),
            }
        }
        Ok((!place.name.is_empty()).then_some(place))
    }

    /// Opens the folder that has the name, which is made where nothing has it.
    fn make_folders(&self) -> io::Result<Folder> {
        let Self { folder, name } = self;
        match folder.enter(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder.create_folder(name, MODE_OF_IMPLIED)?;
                folder.enter(name)
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(io::Error::new(error.kind(), "a file or a symbolic link stands in its path"))
            }
            entered => entered,
        }
    }

    /// Calls `create`, once more where an earlier entry has the name: the last one wins, as in GNU tar. A folder stays.
    fn replacing<T>(&self, create: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.folder.remove(self.name)?;
                create()
            }
            created => created,
        }
    }

    /// Writes the content of `entry` to a new file, with holes for zeros if `sparse`. Returns whether mode and time
    /// could be set.
    ///
    /// # Errors
    /// I/O errors; an error where the entry is not there to its end.
    pub fn write_file(
        &self,
        entry: &mut Entry<'_, impl Read>,
        sparse: bool,
    ) -> io::Result<io::Result<()>> {
        let (mode, mtime, len) = (entry.header().mode()?, entry.header().mtime()?, entry.size());
        // Until it has its own mode, nobody else reads it.
        let mut file = self.replacing(|| self.folder.create(self.name))?;
        let n = match sparse {
            true => copy_with_holes(entry, &file)?,
            false => io::copy(entry, &mut file)?,
        };
        if n != len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar archive ends in it"));
        }
        Ok(set_attributes(&file, mode & MODE_BITS, mtime as i64))
    }

    /// Makes a folder, for its owner alone, where there is none.
    ///
    /// # Errors
    /// I/O errors; an error where a file or a link has its name.
    pub fn make_folder(&self) -> io::Result<()> {
        match self.folder.create_folder(self.name, 0o700) {
            Err(_) if self.folder.has_folder(self.name) => Ok(()),
            made => made,
        }
    }

    /// Makes a symbolic link to `target`. Returns whether its time could be set.
    ///
    /// # Errors
    /// I/O errors.
    pub fn make_link(&self, target: &[u8], mtime: i64) -> io::Result<io::Result<()>> {
        self.replacing(|| self.folder.create_link(self.name, target))?;
        Ok(self.folder.set_link_time(self.name, mtime))
    }

    /// Makes another name of the file at `first`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn link(&self, first: &Self) -> io::Result<()> {
        if self.folder.has_same(self.name, &first.folder, first.name) {
            return Ok(());
        }
        self.replacing(|| self.folder.link(self.name, &first.folder, first.name))
    }

    /// Sets mode and time of the folder that has the name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn set_folder_attributes(&self, mode: u32, mtime: i64) -> io::Result<()> {
        set_attributes(&self.folder.open_readable(self.name)?, mode, mtime)
    }
}

fn set_attributes(file: &File, mode: u32, mtime: i64) -> io::Result<()> {
    let time = FileTime::from_unix_time(mtime, 0);
    let has_time = filetime::set_file_handle_times(file, None, Some(time));
    file.set_permissions(Permissions::from_mode(mode)).and(has_time)
}
