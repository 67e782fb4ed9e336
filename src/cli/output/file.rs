//! Output files, which get their name only when complete.
//!
//! They are written under another name in the same folder with mode 0600, then given the input's
//! mode, time, group, owner and access list, synchronised, and renamed. Until then a failure, a signal
//! or a crash leaves nothing under the name. Where a file system has not what all this takes, the output
//! is kept with less of it, and a warning.

use super::attributes;
use crate::cli::folder::{Folder, folder_of, is_supported, name_in_folder};
use crate::cli::input::{OpenInput, hash_of};
use crate::cli::names::shown;
use crate::cli::signals::{Unfinished, unfinished};
use crate::cli::sparse::write_or_skip;
use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Unfinished output file, removed when dropped.
pub struct OutputFile {
    folder: Arc<Folder>,
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
        let folder = Arc::new(Folder::open(folder_of(target)).context(cannot)?);
        folder.refuse_foreign(name_in_folder(target))?;
        let mut unfinished = unfinished();
        let (name, file) = folder.create_draft().context(cannot)?;
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
        if let Err(error) = attributes::take_over(&self.file, input) {
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
        let has_name = self.folder.sync().context("cannot sync the output folder to disk")?;
        let is_synced = is_synced & has_name;
        if !is_synced {
            let target = shown(&self.target);
            say!("llmzip: warning: {target}: written, but cannot be synced to disk here");
        }
        Ok(is_synced)
    }

    fn rename(&mut self) -> Result<()> {
        let mut unfinished = unfinished();
        let draft = self.draft.as_deref().context("it has its name already")?;
        let (folder, draft) = (&self.folder, OsStr::new(draft));
        let name = name_in_folder(&self.target);
        let renamed = match self.overwrite {
            true => folder.rename_over(draft, name),
            false => folder.rename_new(folder, draft, name, false),
        };
        match renamed.map_err(|error| (Errno::from_io_error(&error), error)) {
            Ok(()) => (),
            // It is a mount point, or another's file that others may only write to.
            Err((Some(Errno::BUSY | Errno::PERM | Errno::ACCESS), _)) if self.overwrite => {
                folder.write_into(name, &self.file)?;
                folder.remove(draft)?;
            }
            Err((_, error)) => return Err(error.into()),
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
