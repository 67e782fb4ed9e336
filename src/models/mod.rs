//! Language models: weights and tokens to logits.

use crate::error::Result;
use std::sync::Arc;

/// A language model with its tokenizer, ready to code with.
pub struct Model {
    identity: Identity,
}

/// What an archive names a model by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// BLAKE3 over configuration, weights and tokenizer.
    pub digest: [u8; 32],
    /// For people only; decides nothing.
    pub label: String,
    /// The code of a compiled-in model, 1..=127; `None` for a model from a folder.
    pub builtin_code: Option<u8>,
}

impl Model {
    /// The default model, compiled into the binary.
    pub fn default_model() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            identity: Identity { digest: [0; 32], label: "default".into(), builtin_code: Some(1) },
        }))
    }

    /// What archives made with this model name it by.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}
