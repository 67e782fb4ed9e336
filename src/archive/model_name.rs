//! Names of models in archives, and sources that find them.

use super::{AdapterName, SteeringName};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{AdapterFiles, Identity, Model, Steering};
use crate::ops::Isa;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Name of a model in a stream's header (`docs/format.md`, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelName {
    /// The code of a compiled-in model, 1..=62.
    Builtin(u8),
    /// Any other model.
    Digest {
        /// BLAKE3 identity; decides alone.
        digest: [u8; 32],
        /// For people; at most 255 bytes, no control characters.
        label: String,
    },
}

impl ModelName {
    /// The name that an archive made with the model of `identity` carries.
    pub fn of(identity: &Identity) -> Self {
        match identity.builtin_code {
            Some(code) => Self::Builtin(code),
            None => Self::Digest { digest: identity.digest, label: identity.label.clone() },
        }
    }

    /// Whether the model of `identity` is meant.
    pub fn matches(&self, identity: &Identity) -> bool {
        match self {
            Self::Builtin(code) => identity.builtin_code == Some(*code),
            Self::Digest { digest, .. } => identity.digest == *digest,
        }
    }

    /// The error of a reader that has no such model.
    pub fn missing(&self) -> Error {
        Error::new(ErrorKind::ModelMissing, format!("the archive needs {self}, not found here"))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(code) => write!(f, "compiled-in model {code}"),
            Self::Digest { digest, label } => {
                // Labels are foreign text: what steers a terminal or the direction of text is escaped.
                let (label, digest) = (label.escape_debug(), blake3::Hash::from_bytes(*digest));
                write!(f, "model '{label}' ({})", digest.to_hex())
            }
        }
    }
}

/// Where a reader looks for models. Asked only when a chunk needs one.
pub trait ModelSource: Send + Sync {
    /// The model that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none; errors of loading it.
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>>;

    /// The steering vectors of the file that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none; errors of reading it.
    fn find_steering(&self, wanted: &SteeringName) -> Result<Arc<Steering>> {
        Err(wanted.missing())
    }

    /// The files of the adapter that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none; errors of reading it.
    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles> {
        Err(wanted.missing())
    }
}

/// This one model and no other.
impl ModelSource for Arc<Model> {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if wanted.matches(self.identity()) { Ok(Self::clone(self)) } else { Err(wanted.missing()) }
    }
}

/// The model compiled into the program, loaded on first use.
pub struct BuiltinModels {
    isa: Isa,
    default: OnceLock<Arc<Model>>,
}

impl BuiltinModels {
    /// Loads nothing yet; models will run on the instruction set `isa`.
    pub fn new(isa: Isa) -> Self {
        Self { isa, default: OnceLock::new() }
    }

    /// The default model.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where it cannot be loaded.
    pub fn default_model(&self) -> Result<Arc<Model>> {
        if let Some(model) = self.default.get() {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::default_model(self.isa)?);
        Ok(Arc::clone(self.default.get_or_init(|| model)))
    }

    /// Whether `wanted` names a compiled-in model.
    pub fn has(wanted: &ModelName) -> bool {
        wanted.matches(&Model::default_identity())
    }
}

impl ModelSource for BuiltinModels {
    /// Loads a model only if it is the one.
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if Self::has(wanted) { self.default_model() } else { Err(wanted.missing()) }
    }
}
