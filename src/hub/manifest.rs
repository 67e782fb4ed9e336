//! The manifest of a model that is carried by hand: its label, its digest, and the BLAKE3 of each
//! file.

use super::cache::failed;
use super::id::Reference;
use super::identity::{folder_digest, hex, hexadecimal, label_of};
use crate::error::{Error, ErrorKind, Result};
use crate::models::WeightsFormat;
use crate::models::checkpoint_files::{CheckpointFiles, is_file_name};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

/// Name of the manifest, in the file and in an imported model's folder.
pub const MANIFEST: &str = "llmzip-model.json";

/// Raised when a field changes its name or meaning.
const SCHEMA: u32 = 1;

/// Most files of a model.
const MAX_FILES: usize = 2000;

/// The manifest of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// The model's label in archives.
    pub label: String,
    /// The model's digest.
    #[serde(with = "hexadecimal")]
    pub digest: [u8; 32],
    pub(super) files: Vec<ManifestFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    pub name: String,
    pub len: u64,
    #[serde(with = "hexadecimal")]
    pub blake3: [u8; 32],
}

impl Manifest {
    /// Describes the model in `folder`, or the GGUF file `folder`; reads all of it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where there is no whole model in it,
    /// [`ErrorKind::InvalidArgument`] where the label is not a folder's, [`ErrorKind::Io`].
    pub fn of_folder(folder: &Path, label: &str) -> Result<Self> {
        if !is_label(label) {
            let message = format!("the label of a model cannot be {label:?}: rename its folder");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let is_file = folder.is_file();
        let form = match is_file {
            true => CheckpointFiles::gguf(WeightsFormat::Gguf.file()),
            false => CheckpointFiles::of_folder(folder)?,
        };
        let file = |name: &str| {
            let path = if is_file { folder.to_owned() } else { folder.join(name) };
            let (len, blake3) = hash(&path)?;
            Ok(ManifestFile { name: name.to_owned(), len, blake3 })
        };
        let files = form.files().into_iter().map(file).collect::<Result<_>>()?;
        let digest = folder_digest(folder)?;
        Ok(Self { schema: SCHEMA, label: label_of(label), digest, files })
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Unsupported`].
    pub fn parse(json: &[u8]) -> Result<Self> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|e| corrupt(format!("{MANIFEST}: {e}")))?;
        if manifest.schema != SCHEMA {
            let message = format!("{MANIFEST} has schema {}, known is {SCHEMA}", manifest.schema);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let names: HashSet<_> = manifest.files.iter().map(|file| &file.name).collect();
        if manifest.files.len() > MAX_FILES || names.len() != manifest.files.len() {
            return Err(corrupt(format!(
                "{MANIFEST} lists more than {MAX_FILES} files, or one twice"
            )));
        }
        let is_bad = |name: &&ManifestFile| !is_file_name(&name.name) || name.name == MANIFEST;
        if let Some(file) = manifest.files.iter().find(is_bad) {
            return Err(corrupt(format!("{MANIFEST} has {:?}, expected a file's name", file.name)));
        }
        if !is_label(&manifest.label) || label_of(&manifest.label) != manifest.label {
            let label = &manifest.label;
            return Err(corrupt(format!("{MANIFEST} has the label {label:?}, expected a name")));
        }
        Ok(manifest)
    }

    /// Name for a folder with this model and no other: the label with all odd characters replaced,
    /// and the digest's first digits.
    pub fn folder_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._@".contains(c) { c } else { '-' };
        let name: String = self.label.chars().map(plain).take(100).collect();
        format!("{}-{}", name.trim_start_matches('.'), &hex(&self.digest)[..12])
    }

    #[cfg(any(test, feature = "cli"))]
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings and numbers")
    }
}

/// Whether a model that was carried by hand may be called `label`: as a folder may, but not what
/// stands for another model, the compiled-in one or one of the hub.
fn is_label(label: &str) -> bool {
    let is_taken = ["", ".", "..", "default"].contains(&label);
    !is_taken && !label.contains('/') && Reference::of_label(label).is_none()
}

/// Length and hash of the file `path`.
fn hash(path: &Path) -> Result<(u64, [u8; 32])> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(|e| failed("reading", path, e))?;
    hasher.update_reader(file).map_err(|e| failed("reading", path, e))?;
    Ok((hasher.count(), hasher.finalize().into()))
}

pub fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
