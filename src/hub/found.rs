//! A model on this machine, wherever it is: compiled in, in the store, or any folder.

use super::identity::{folder_digest, hex, label_of};
use super::store::{Place, Store, StoredModel};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use std::path::{Path, PathBuf};

/// A model on this machine.
#[derive(Debug, Clone)]
pub enum FoundModel {
    /// The compiled-in one.
    Default,
    /// One that the store has.
    Stored(StoredModel),
    /// Any other folder.
    Folder {
        /// Where its files are.
        folder: PathBuf,
        /// Its label in archives.
        label: String,
    },
}

impl FoundModel {
    /// The model in `folder`, which may be one of the store's.
    pub fn of_folder(folder: &Path, store: &Store) -> Self {
        let folder = folder.canonicalize().unwrap_or(folder.to_owned());
        let is_it =
            |model: &StoredModel| model.folder.canonicalize().is_ok_and(|own| own == folder);
        if let Some(model) = store.models().into_iter().find(is_it) {
            return Self::Stored(model);
        }
        let label = label_of(&folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
        Self::Folder { folder, label }
    }

    /// Its label in archives.
    pub fn label(&self) -> &str {
        match self {
            Self::Default => "default",
            Self::Stored(model) => &model.label,
            Self::Folder { label, .. } => label,
        }
    }

    /// Its name once it is carried away: of a model of the hub that without organisation and commit,
    /// which nobody could check any more.
    pub fn name(&self) -> &str {
        match self {
            Self::Stored(StoredModel { place: Place::Hub { id, .. }, .. }) => id.name(),
            _ => self.label(),
        }
    }

    /// Where its files are; the compiled-in model has none.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Default => None,
            Self::Stored(StoredModel { folder, .. }) | Self::Folder { folder, .. } => Some(folder),
        }
    }

    /// The kind of place that it is in, in words.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Default => "compiled in",
            Self::Stored(StoredModel { place: Place::Hub { .. }, .. }) => "hub cache",
            Self::Stored(StoredModel { place: Place::Imported, .. }) => "imported",
            Self::Folder { .. } => "folder",
        }
    }

    /// Computes its digest from its files.
    ///
    /// # Errors
    /// Those of [`folder_digest`].
    pub fn digest(&self) -> Result<[u8; 32]> {
        match self.folder() {
            Some(folder) => folder_digest(folder),
            None => Ok(Model::default_identity().digest),
        }
    }
}

/// The error of a model whose files are not those that were recorded.
pub fn digest_mismatch(label: &str, got: &[u8; 32], recorded: &[u8; 32]) -> Error {
    let message = format!(
        "the files of the model '{}' have the digest {}, recorded was {}: modified or corrupted; \
         remove the model (llmzip models rm) and fetch it again",
        label.escape_debug(),
        hex(got),
        hex(recorded)
    );
    Error::new(ErrorKind::Corrupt, message)
}
