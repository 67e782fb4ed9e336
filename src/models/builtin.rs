//! The models that are compiled in: the default one, and what was the default, for its archives.

use super::{Architecture, Identity, Model, ModelFiles, Parts, Quantization};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{ActivationBits, Isa};
use std::sync::LazyLock;

/// A compiled-in model. A code, once given, means the same bytes forever (docs/format.md, section
/// 3).
struct Builtin {
    code: u8,
    label: &'static str,
    /// The digest that archives would name it by, were there no code. Written down, because hashing
    /// megabytes would take a good part of a short run.
    digest: &'static str,
    files: ModelFiles<'static>,
    /// In place of what its configuration says.
    quantization: Option<Quantization>,
}

/// The files of a folder in `models/`.
macro_rules! files {
    ($folder:literal) => {
        ModelFiles {
            config: include_bytes!(concat!("../../models/", $folder, "/config.json")),
            weights: include_bytes!(concat!("../../models/", $folder, "/model.safetensors")),
            tokenizer: include_bytes!(concat!("../../models/", $folder, "/tokenizer.json")),
        }
    };
}

/// A static, so that the binary has it once.
static DEFAULT_0: ModelFiles<'static> = files!("default-0");

static BUILTINS: [Builtin; 3] = [
    Builtin {
        code: FLOAT_CODE,
        label: "default-0-float",
        digest: "512bddface84c700168ef41a4f9a66f1bffc1b6ffb83c1f6d23d37cc2c509c9b",
        files: DEFAULT_0,
        quantization: None,
    },
    Builtin {
        code: INT8_CODE,
        label: "default-0",
        digest: "5c23859dcdfcea68256081243f9fae5f5a44fdfe40973e6b1818dddc8131c8b3",
        files: DEFAULT_0,
        quantization: Some(Quantization { activations: ActivationBits::Eight }),
    },
    Builtin {
        code: DEFAULT_CODE,
        label: "default",
        digest: "88a6cc52c3618c14afed182ece6097dbb8d7bdec04b67b8aaf036b80a52ad7a3",
        files: files!("default"),
        quantization: None,
    },
];

/// Codes of the compiled-in models.
pub const BUILTIN_CODES: [u8; BUILTINS.len()] = [FLOAT_CODE, INT8_CODE, DEFAULT_CODE];

/// The first default model, `models/default-0`, computed with as floats.
pub const FLOAT_CODE: u8 = 1;

/// The same model in int8.
pub const INT8_CODE: u8 = 2;

/// The default model, `models/default`: int8, two to three times as fast as floats.
pub const DEFAULT_CODE: u8 = 3;

impl Builtin {
    fn of(code: u8) -> Option<&'static Self> {
        BUILTINS.iter().find(|builtin| builtin.code == code)
    }

    fn identity(&self) -> Identity {
        let digest = blake3::Hash::from_hex(self.digest).expect("64 digits");
        let label = self.label.to_owned();
        Identity { digest: digest.into(), label, builtin_code: Some(self.code) }
    }

    fn architecture(&self) -> Result<Architecture> {
        let architecture = Architecture::parse(self.files.config)?;
        match self.quantization {
            Some(quantization) => architecture.quantized(quantization),
            None => Ok(architecture),
        }
    }

    fn load(&self, isa: Isa) -> Result<Parts> {
        Parts::of_files(&self.architecture()?, self.files, isa)
    }
}

impl Model {
    /// The default model, compiled into the binary, on the best instruction set of this machine;
    /// loaded when it is first used.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn builtin() -> Result<Self> {
        Self::default_model(Isa::detect())
    }

    /// The default model, compiled into the binary, on the instruction set `isa`; loaded when it is
    /// first used.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn default_model(isa: Isa) -> Result<Self> {
        Self::of_code(DEFAULT_CODE, isa)
    }

    /// The compiled-in model of `code`, to be loaded when it is first used: much of what is done
    /// with archives needs no more than its name.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none.
    pub fn of_code(code: u8, isa: Isa) -> Result<Self> {
        let Some(builtin) = Builtin::of(code) else {
            let message = format!("there is no compiled-in model {code}");
            return Err(Error::new(ErrorKind::ModelMissing, message));
        };
        let (identity, architecture) = (builtin.identity(), builtin.architecture()?);
        let load = move || builtin.load(isa).expect("the compiled-in model is intact");
        Ok(Self { identity, isa, architecture, parts: LazyLock::new(Box::new(load)) })
    }

    /// The identity that archives name the default model by; loads nothing.
    pub fn default_identity() -> Identity {
        Self::builtin_identity(DEFAULT_CODE).expect("the default model is compiled in")
    }

    /// The identity that archives name the compiled-in model of `code` by, if there is one; loads
    /// nothing.
    pub fn builtin_identity(code: u8) -> Option<Identity> {
        Builtin::of(code).map(Builtin::identity)
    }

    /// The files of the default model.
    pub fn default_files() -> ModelFiles<'static> {
        Builtin::of(DEFAULT_CODE).expect("the default model is compiled in").files
    }
}
