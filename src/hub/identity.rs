//! Digests of models, from their files and without loading them.

use crate::error::Result;
use crate::models::ModelFolder;
use std::path::Path;

/// The digest of the model in `folder`, as [`Model::open`](crate::models::Model::open) finds it.
/// Reads all of its files.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where there is no whole model in it,
/// [`ErrorKind::Io`](crate::ErrorKind::Io).
pub fn folder_digest(folder: &Path) -> Result<[u8; 32]> {
    Ok(ModelFolder::find(folder)?.identity()?.digest)
}

/// `digest` in hexadecimal.
pub fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// `name` as the label of an archive: without control characters, at most 255 bytes.
pub fn label_of(name: &str) -> String {
    let mut label: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    label.truncate(label.floor_char_boundary(255));
    label
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
