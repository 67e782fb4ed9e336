//! Files and directories out of a tar archive.

use super::names::shown;
use super::sparse::copy_with_holes;
use filetime::FileTime;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tar::Entry;

/// Permission bits of files.
const MODE_BITS: u32 = 0o777;

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

/// Writes the content of `entry` to a new file that has the name `path` in `folder`, with holes for zeros if `sparse`.
/// Returns false where that would be outside.
///
/// # Errors
/// I/O errors; an error where the entry is not there to its end.
pub fn write_file(
    entry: &mut Entry<'_, impl Read>,
    folder: &Path,
    path: &Path,
    sparse: bool,
    refused: &mut Refused,
) -> io::Result<bool> {
    let Some(place) = place_in(folder, path)? else { return Ok(false) };
    let (mode, mtime, len) = (entry.header().mode()?, entry.header().mtime()?, entry.size());
    // Until it has its own mode, nobody else reads it.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(place)?;
    let n = match sparse {
        true => copy_with_holes(entry, &file)?,
        false => io::copy(entry, &mut file)?,
    };
    if n != len {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar archive ends in it"));
    }
    let mtime = FileTime::from_unix_time(mtime as i64, 0);
    let has_time = filetime::set_file_handle_times(&file, None, Some(mtime));
    let has_mode = file.set_permissions(Permissions::from_mode(mode & MODE_BITS));
    refused.note(path, has_mode.and(has_time));
    Ok(true)
}

/// Makes the directory `path` in `folder`, for its owner alone. Returns false where that would be outside.
///
/// # Errors
/// I/O errors; an error where a file or a link has its name.
pub fn make_directory(folder: &Path, path: &Path) -> io::Result<bool> {
    let Some(place) = place_in(folder, path)? else { return Ok(false) };
    match DirBuilder::new().mode(0o700).create(&place) {
        Err(_) if place.symlink_metadata().is_ok_and(|there| there.is_dir()) => Ok(true),
        made => made.map(|()| true),
    }
}

/// Returns the place that `path` has in `folder`, makes the directories that lead there, and follows links among them;
/// `None` where it is not inside.
fn place_in(folder: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let root = folder.canonicalize()?;
    let mut place = root.clone();
    let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = parts.next() {
        match part {
            Component::Normal(name) => place.push(name),
            Component::RootDir => continue, // as GNU tar reads it
            _ => return Ok(None),
        }
        if parts.peek().is_none() {
            return Ok(Some(place));
        }
        match fs::create_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => place = place.canonicalize()?,
        }
        if !place.starts_with(&root) {
            return Ok(None);
        }
    }
    Ok(None)
}
