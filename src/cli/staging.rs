//! Temporary folders, which get their name, or what is in them does, only when complete.

use super::folder::Folder;
use super::signals::{Unfinished, unfinished};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Temporary folder that is removed unless renamed, also on a signal.
pub struct Staging(Option<TempDir>);

impl Staging {
    /// Creates a folder in `root`, which need not exist.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut path = unfinished();
        let mut builder = tempfile::Builder::new();
        builder.prefix(".llmzip-").suffix(".tmp").permissions(Permissions::from_mode(0o777));
        let folder = builder.tempdir_in(root)?;
        *path = Some(folder.path().to_owned().into());
        Ok(Self(Some(folder)))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Renames it to `folder`, in the same parent folder.
    ///
    /// # Errors
    /// I/O errors.
    pub fn rename(mut self, folder: &Path) -> std::io::Result<()> {
        let mut path = unfinished();
        fs::rename(self.path(), folder)?;
        *path = None;
        self.0.take().map(TempDir::keep);
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let mut path = unfinished();
        if self.0.take().is_some() {
            *path = None;
        }
    }
}

/// Temporary folder in an open one, wherever that is by now; removed with all that is left in it, also on a signal.
pub struct StagingIn {
    pub folder: Folder,
}

impl StagingIn {
    /// Creates a folder in `root`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(root: &Arc<Folder>) -> std::io::Result<Self> {
        let mut unfinished = unfinished();
        let (name, folder) = root.create_draft_folder()?;
        *unfinished = Some(Unfinished::FolderIn(Arc::clone(root), name));
        Ok(Self { folder })
    }
}

impl Drop for StagingIn {
    fn drop(&mut self) {
        if let Some(unfinished) = unfinished().take() {
            unfinished.remove();
        }
    }
}
