//! Steering vectors as typed, and their resolution on this machine.

use super::model_ref::{invalid, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{FoundSteering, Store};
use std::path::{Path, PathBuf};

/// Reference to a file of steering vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteeringRef(PathBuf);

impl SteeringRef {
    /// Parses a reference: a file, or the name of an imported one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a path leads to nothing.
    pub fn parse(typed: &Path) -> Result<Self> {
        match is_path(typed) && typed.symlink_metadata().is_err() {
            true => Err(invalid(format!("no such file: {}", shown(typed)))),
            false => Ok(Self(typed.to_owned())),
        }
    }

    /// Finds the file on this machine: one of that path takes precedence over an imported one.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`].
    pub fn find(&self, store: &Store) -> Result<FoundSteering> {
        let Self(typed) = self;
        if typed.is_file() {
            return Ok(FoundSteering::of_path(typed));
        }
        if let Some(stored) = self.find_stored(store) {
            return Ok(stored);
        }
        if typed.symlink_metadata().is_ok() {
            return Ok(FoundSteering::of_path(typed)); // reading it says what it is
        }
        let message = format!(
            "there are no steering vectors '{}': neither a file nor an imported one of that name",
            shown(typed)
        );
        Err(Error::new(ErrorKind::ModelMissing, message))
    }

    /// Finds the imported file of that name.
    pub fn find_stored(&self, store: &Store) -> Option<FoundSteering> {
        let Self(typed) = self;
        store.find_steering_file(typed.to_str().filter(|_| !is_path(typed))?)
    }
}

/// Whether `typed` can only be a path.
fn is_path(typed: &Path) -> bool {
    typed.components().count() != 1 || typed.is_absolute() || typed.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_names() {
        for path in ["./a", "../a", "/a", "a/b", "..", ""] {
            assert!(is_path(Path::new(path)), "{path}");
        }
        assert!(!is_path(Path::new("a.steer")));
    }
}
