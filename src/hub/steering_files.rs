//! Files of steering vectors: those that were imported, `steering/NAME.steer` in the folder of imported
//! models, and any other.

use super::cache::{failed, names};
use super::identity::label_of;
use super::store::Store;
use crate::error::Result;
use crate::models::Steering;
use crate::models::checkpoint_files::read_limited;
use std::fs;
use std::path::{Path, PathBuf};

/// Suffix of files of steering vectors.
pub const STEERING_SUFFIX: &str = ".steer";

/// Folder of those that were imported.
const FOLDER: &str = "steering";

/// A file of steering vectors on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSteering {
    /// Its name, which archives have as label.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was imported.
    pub is_stored: bool,
}

impl FoundSteering {
    /// The file `path`, which is not one of the store's.
    pub fn of_path(path: &Path) -> Self {
        let name = label_of(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
        Self { name, path: path.to_owned(), is_stored: false }
    }

    /// Reads its bytes, of which there are at most [`Steering::MAX_FILE_LEN`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is longer, or not a regular
    /// file; [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn read(&self) -> Result<Vec<u8>> {
        read_limited(&self.path, Steering::MAX_FILE_LEN)
    }
}

impl Store {
    /// The folder of imported files of steering vectors.
    ///
    /// # Errors
    /// Those of [`Store::imports`].
    pub fn steering_folder(&self) -> Result<PathBuf> {
        Ok(self.imports()?.join(FOLDER))
    }

    /// The imported files of steering vectors, in order of name.
    pub fn steering_files(&self) -> Vec<FoundSteering> {
        let Ok(folder) = self.steering_folder() else { return Vec::new() };
        let mut names = names(&folder);
        names.retain(|name| is_steering_name(name));
        names.sort();
        let found = |name: String| {
            let path = folder.join(&name);
            FoundSteering { name, path, is_stored: true }
        };
        names.into_iter().map(found).collect()
    }

    /// The imported file of steering vectors `name`, with or without its suffix.
    pub fn find_steering_file(&self, name: &str) -> Option<FoundSteering> {
        let is_it = |found: &FoundSteering| {
            found.name == name || found.name.strip_suffix(STEERING_SUFFIX) == Some(name)
        };
        self.steering_files().into_iter().find(is_it)
    }

    /// Removes an imported file of steering vectors.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn remove_steering(&self, found: &FoundSteering) -> Result<()> {
        fs::remove_file(&found.path).map_err(|e| failed("removing", &found.path, e))
    }
}

/// Whether a file that is imported may have this name: one that archives can have as label, not hidden,
/// with the suffix.
pub fn is_steering_name(name: &str) -> bool {
    let is_plain = label_of(name) == name && !name.contains('/') && !name.starts_with('.');
    is_plain && name.ends_with(STEERING_SUFFIX)
}
