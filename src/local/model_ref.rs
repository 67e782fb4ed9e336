//! References to models as people type them, and their resolution on this machine.

use crate::error::{Error, ErrorKind, Result};
use crate::hub::{FoundModel, Reference, Store, StoredModel, not_here};
use crate::train::SeededModel;
use std::path::{Path, PathBuf};

/// Reference to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// The compiled-in one.
    Default,
    /// A folder with its files, or a GGUF file.
    Folder(PathBuf),
    /// One that is drawn from a seed.
    Seeded(SeededModel),
    /// `ORG/NAME[@REVISION]`, or the name of an imported model.
    Named {
        /// Name as typed.
        name: String,
        /// Reference on the hub; `None` where the name can only be that of an imported model.
        reference: Option<Reference>,
    },
}

impl ModelRef {
    /// Parses a reference. A folder of that name takes precedence.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a missing folder or an impossible seed.
    pub fn parse(typed: &Path) -> Result<Self> {
        if typed.is_dir() {
            return Ok(Self::Folder(typed.to_owned()));
        }
        if is_gguf(typed) && typed.is_file() {
            return Ok(Self::Folder(typed.to_owned()));
        }
        let name = typed.to_str().filter(|name| !name.is_empty());
        let is_path = typed.is_absolute() || typed.starts_with(".") || typed.starts_with("..");
        match name.filter(|_| !is_path) {
            Some("default") => Ok(Self::Default),
            Some(name) if SeededModel::is_named(name) => name.parse().map(Self::Seeded),
            Some(name) => {
                // A file that is missing is not looked for on the hub.
                let reference = Reference::parse(name).ok().filter(|_| !is_gguf(typed));
                Ok(Self::Named { name: name.to_owned(), reference })
            }
            None => Err(invalid(format!("no such folder: {}", shown(typed)))),
        }
    }

    /// Finds the model on this machine.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`]; [`ErrorKind::InvalidArgument`] for an ambiguous or impossible name.
    pub fn find(&self, store: &Store) -> Result<FoundModel> {
        match self {
            Self::Default => Ok(FoundModel::Default),
            Self::Folder(folder) => Ok(FoundModel::of_folder(folder, store)),
            Self::Seeded(seeded) => {
                Err(invalid(format!("{seeded} is drawn from its seed and has no files")))
            }
            Self::Named { name, reference } => {
                let mut imported = store.imported(name);
                if imported.len() > 1 {
                    return Err(ambiguous(name, &imported));
                }
                let by_reference = || store.find(reference.as_ref()?);
                match (imported.pop().or_else(by_reference), reference) {
                    (Some(model), _) => Ok(FoundModel::Stored(model)),
                    (None, _) if Path::new(name).is_file() => {
                        let message = "is a file: name the model's folder or a .gguf file, or import a bundle \
                                       with:  llmzip models import";
                        let name = shown(name.as_ref());
                        Err(invalid(format!("{name} {message} {name}")))
                    }
                    (None, Some(reference)) if name.contains('/') => Err(not_here(reference)),
                    (None, Some(_)) => {
                        let message = format!(
                            "there is neither a folder '{name}' nor a model of that name on this machine; \
                             models of the hub are named ORG/NAME"
                        );
                        Err(Error::new(ErrorKind::ModelMissing, message))
                    }
                    (None, None) if is_gguf(Path::new(name)) => {
                        let name = shown(name.as_ref());
                        let message =
                            format!("no such file: {name}; nor is a model of that name here");
                        Err(invalid(message))
                    }
                    (None, None) => {
                        let name = name.escape_debug();
                        let message =
                            format!("'{name}' is neither a folder nor the name of a model");
                        Err(invalid(format!("{message}, expected ORG/NAME")))
                    }
                }
            }
        }
    }
}

/// Returns whether a path is that of a GGUF file, by its name.
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

/// Returns the error for a name that several imported models have.
fn ambiguous(name: &str, models: &[StoredModel]) -> Error {
    let folder = |model: &StoredModel| shown(model.folder.file_name().unwrap_or_default().as_ref());
    let folders: Vec<String> = models.iter().map(folder).collect();
    let (name, folders) = (name.escape_debug(), folders.join(", "));
    invalid(format!("{} models are named '{name}': choose one of {folders}", models.len()))
}

/// Returns `path` with the characters escaped that control a terminal.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// An [`ErrorKind::InvalidArgument`] error.
pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
