//! The model that is compiled in.

use super::{Architecture, Identity, Model, ModelFiles, Parts};
use crate::error::Result;
use crate::ops::Isa;
use std::sync::LazyLock;

/// The code of the default model, `models/default`. From the first release on a code means the same
/// bytes for ever (docs/format.md, section 3).
pub const DEFAULT_CODE: u8 = 1;

/// Its digest, by which archives would name it, were there no code. Written down, because hashing megabytes would
/// take a good part of a short run.
const DIGEST: &str = "88a6cc52c3618c14afed182ece6097dbb8d7bdec04b67b8aaf036b80a52ad7a3";

/// A static, so that the binary has it once.
static FILES: ModelFiles<'static> = ModelFiles {
    config: include_bytes!("../../models/default/config.json"),
    weights: include_bytes!("../../models/default/model.safetensors"),
    tokenizer: include_bytes!("../../models/default/tokenizer.json"),
};

impl Model {
    /// The default model, compiled into the binary, on the best instruction set of this machine;
    /// loaded when it is first used.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn builtin() -> Result<Self> {
        Self::default_model(Isa::detect())
    }

    /// The default model, compiled into the binary, on the instruction set `isa`. It is loaded when it
    /// is first used: much of what is done with archives needs no more than its name.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn default_model(isa: Isa) -> Result<Self> {
        let (identity, architecture) =
            (Self::default_identity(), Architecture::parse(FILES.config)?);
        let load = move || {
            let architecture = Architecture::parse(FILES.config);
            let parts = architecture.and_then(|a| Parts::of_files(&a, FILES, isa));
            parts.expect("the compiled-in model is intact")
        };
        let parts: LazyLock<Parts, Box<dyn FnOnce() -> Parts + Send>> =
            LazyLock::new(Box::new(load));
        Ok(Self { identity, isa, architecture, adapter: None, parts })
    }

    /// The identity of the default model; loads nothing.
    pub fn default_identity() -> Identity {
        let digest = blake3::Hash::from_hex(DIGEST).expect("64 digits").into();
        Identity { digest, label: "default".into(), builtin_code: Some(DEFAULT_CODE) }
    }

    /// The files of the default model.
    pub fn default_files() -> ModelFiles<'static> {
        FILES
    }
}
