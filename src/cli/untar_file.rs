//! Files out of a tar archive.

use super::sparse::copy_with_holes;
use filetime::FileTime;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tar::Entry;

/// Permission bits of files.
const MODE_BITS: u32 = 0o777;

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
    filetime::set_file_handle_times(&file, None, Some(FileTime::from_unix_time(mtime as i64, 0)))?;
    file.set_permissions(Permissions::from_mode(mode & MODE_BITS))?;
    Ok(true)
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
