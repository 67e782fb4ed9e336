//! Folders of low-rank adapters: those that were imported, `adapters/NAME` in the folder of imported
//! models, and any other.

use super::cache::{failed, names};
use super::identity::label_of;
use super::store::Store;
use crate::error::Result;
use crate::models::AdapterFiles;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of those that were imported.
const FOLDER: &str = "adapters";

/// An adapter on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAdapter {
    /// Its name, which archives have as label.
    pub name: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Whether it was imported.
    pub is_stored: bool,
}

impl FoundAdapter {
    /// The adapter in `folder`, which is not one of the store's.
    pub fn of_folder(folder: &Path) -> Self {
        let whole = folder.canonicalize().unwrap_or(folder.to_owned());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy();
        Self { name: label_of(&name), folder: folder.to_owned(), is_stored: false }
    }

    /// Whether `folder` has an adapter's configuration.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(AdapterFiles::NAMES[0]).is_file()
    }

    /// Reads its files.
    ///
    /// # Errors
    /// Those of [`AdapterFiles::open`].
    pub fn read(&self) -> Result<AdapterFiles> {
        AdapterFiles::open(&self.folder, self.name.clone())
    }
}

impl Store {
    /// The folder of imported adapters.
    ///
    /// # Errors
    /// Those of [`Store::imports`].
    pub fn adapter_folder(&self) -> Result<PathBuf> {
        Ok(self.imports()?.join(FOLDER))
    }

    /// The imported adapters, in order of name.
    pub fn adapters(&self) -> Vec<FoundAdapter> {
        let Ok(root) = self.adapter_folder() else { return Vec::new() };
        let mut names = names(&root);
        names.retain(|name| is_adapter_name(name));
        names.sort();
        let found = |name: String| {
            let folder = root.join(&name);
            FoundAdapter { name, folder, is_stored: true }
        };
        names.into_iter().map(found).filter(|found| FoundAdapter::is_in(&found.folder)).collect()
    }

    /// The imported adapter `name`.
    pub fn find_adapter(&self, name: &str) -> Option<FoundAdapter> {
        self.adapters().into_iter().find(|found| found.name == name)
    }

    /// Removes an imported adapter.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn remove_adapter(&self, found: &FoundAdapter) -> Result<()> {
        fs::remove_dir_all(&found.folder).map_err(|e| failed("removing", &found.folder, e))
    }
}

/// Whether an imported adapter may have this name: one that archives can have as label, not hidden.
pub fn is_adapter_name(name: &str) -> bool {
    !name.is_empty() && label_of(name) == name && !name.contains('/') && !name.starts_with('.')
}
