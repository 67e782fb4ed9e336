//! Low-rank adapters as typed, and their resolution on this machine.

use super::model_ref::{invalid, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{FoundAdapter, Store};
use std::path::{Path, PathBuf};

/// Reference to an adapter: a folder, or the name of an imported one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterRef(PathBuf);

impl AdapterRef {
    /// Parses a reference.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a path leads to no folder.
    pub fn parse(typed: &Path) -> Result<Self> {
        let is_path =
            typed.components().count() != 1 || typed.is_absolute() || typed.starts_with("..");
        match is_path && !typed.is_dir() {
            true => Err(invalid(format!("no such folder: {}", shown(typed)))),
            false => Ok(Self(typed.to_owned())),
        }
    }

    /// Finds the adapter on this machine: one in that folder takes precedence over an imported one.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`].
    pub fn find(&self, store: &Store) -> Result<FoundAdapter> {
        let Self(typed) = self;
        let stored = || store.find_adapter(typed.to_str()?);
        if FoundAdapter::is_in(typed) {
            return Ok(FoundAdapter::of_folder(typed));
        }
        if let Some(stored) = stored() {
            return Ok(stored);
        }
        if typed.is_dir() {
            return Ok(FoundAdapter::of_folder(typed)); // reading it says what is missing
        }
        let message = format!(
            "there is no adapter '{}': neither a folder nor an imported one of that name",
            shown(typed)
        );
        Err(Error::new(ErrorKind::ModelMissing, message))
    }
}
