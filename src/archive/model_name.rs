//! How an archive names its model, and how a reader finds it.

use crate::error::{Error, ErrorKind, Result};
use crate::models::{BUILTIN_CODES, DEFAULT_CODE, Identity, Model};
use crate::ops::Isa;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What a stream's header names its model by (`docs/format.md`, sections 3 and 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelName {
    /// The code of a compiled-in model, 1..=127.
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
pub trait ModelSource {
    /// The model that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none; errors of loading it.
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>>;
}

/// This one model and no other.
impl ModelSource for Arc<Model> {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if wanted.matches(self.identity()) { Ok(Self::clone(self)) } else { Err(wanted.missing()) }
    }
}

/// The models compiled into the program, loaded on first use.
pub struct BuiltinModels {
    isa: Isa,
    /// In the order of [`BUILTIN_CODES`].
    loaded: [OnceLock<Arc<Model>>; BUILTIN_CODES.len()],
}

impl BuiltinModels {
    /// Loads nothing yet; models will run on the instruction set `isa`.
    pub fn new(isa: Isa) -> Self {
        Self { isa, loaded: Default::default() }
    }

    /// The default model.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where it cannot be loaded.
    pub fn default_model(&self) -> Result<Arc<Model>> {
        self.get(DEFAULT_CODE)
    }

    fn get(&self, code: u8) -> Result<Arc<Model>> {
        let place = BUILTIN_CODES.iter().position(|&builtin| builtin == code);
        let loaded = place.map(|place| &self.loaded[place]);
        if let Some(model) = loaded.and_then(OnceLock::get) {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::of_code(code, self.isa)?);
        Ok(loaded.map_or(Arc::clone(&model), |loaded| Arc::clone(loaded.get_or_init(|| model))))
    }

    /// The code of the compiled-in model that `wanted` names, if it is one.
    pub fn code_of(wanted: &ModelName) -> Option<u8> {
        let is_meant = |code: &&u8| {
            Model::builtin_identity(**code).is_some_and(|identity| wanted.matches(&identity))
        };
        BUILTIN_CODES.iter().find(is_meant).copied()
    }
}

impl ModelSource for BuiltinModels {
    /// Loads a model only if it is the one.
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        match Self::code_of(wanted) {
            Some(code) => self.get(code),
            None => Err(wanted.missing()),
        }
    }
}
