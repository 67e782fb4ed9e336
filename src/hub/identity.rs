//! What names a model: its digest, from its files and without loading them.

use super::cache::failed;
use super::form::Form;
use crate::error::Result;
use std::fs::File;
use std::path::Path;

/// BLAKE3 over the length (64 bits, little-endian) and bytes of each file that makes up the model in
/// `folder`: what [`Model::open`](crate::models::Model::open) finds.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where there is no whole model in it,
/// [`ErrorKind::Io`](crate::ErrorKind::Io).
pub fn folder_digest(folder: &Path) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for name in Form::of_folder(folder)?.identity_files() {
        let path = folder.join(name);
        let mut hash = || {
            let file = File::open(&path)?;
            hasher.update(&file.metadata()?.len().to_le_bytes()).update_reader(file).map(drop)
        };
        hash().map_err(|e| failed("reading", &path, e))?;
    }
    Ok(hasher.finalize().into())
}

/// `digest` in hexadecimal.
pub fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// Digests in JSON: as hexadecimal text.
pub mod hexadecimal {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Writes `digest`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::hex(digest))
    }

    /// Reads a digest.
    ///
    /// # Errors
    /// Where it is not 64 hexadecimal digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        blake3::Hash::from_hex(text).map(Into::into).map_err(D::Error::custom)
    }
}
