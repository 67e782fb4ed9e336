//! Names of low-rank adapters in archives.

use super::ModelSource;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{AdapterIdentity, Model};
use std::fmt;
use std::sync::Arc;

/// Name of a stream's adapter (`docs/format.md`, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterName {
    /// BLAKE3 of its files; decides alone.
    pub digest: [u8; 32],
    /// For people; at most 255 bytes, no control characters.
    pub label: String,
}

impl AdapterName {
    /// The name that an archive made with the adapter of `identity` carries.
    pub fn of(identity: &AdapterIdentity) -> Self {
        Self { digest: identity.digest, label: identity.label.clone() }
    }

    /// The error of a reader that has no such adapter.
    pub fn missing(&self) -> Error {
        let message = format!(
            "the archive needs {self}, not found here; name its folder with --adapter, or import it with:  \
             llmzip models import FOLDER"
        );
        Error::new(ErrorKind::ModelMissing, message)
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, label } = self;
        let (label, digest) = (label.escape_debug(), blake3::Hash::from_bytes(*digest));
        write!(f, "adapter '{label}' ({})", digest.to_hex())
    }
}

/// Returns `model` with the adapter that `name` names, if any, and no other.
///
/// # Errors
/// Those of `source`; Corrupt where the adapter is not for this model.
pub(super) fn adapted(
    model: Arc<Model>,
    name: Option<&AdapterName>,
    source: &dyn ModelSource,
) -> Result<Arc<Model>> {
    let name = match (name, model.adapter()) {
        (None, None) => return Ok(model),
        (None, Some(_)) => return Ok(Arc::new(model.without_adapter())),
        (Some(name), Some(own)) if name.digest == own.digest => return Ok(model),
        (Some(name), _) => name,
    };
    let files = source.find_adapter(name)?;
    if files.digest() != name.digest {
        return Err(name.missing());
    }
    let adapted = model.with_adapter(&files);
    adapted.map(Arc::new).map_err(|e| Error::new(ErrorKind::Corrupt, e.to_string()))
}
