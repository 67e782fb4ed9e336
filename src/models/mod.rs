//! Language models: weights and tokens to logits, and bytes to tokens.
//!
//! [`Model`] is what the codec works with: a [`Network`] whose outputs stand in the order of its
//! [`Vocabulary`], and the [`Tokenizer`] that the encoder uses. One file per family of networks.

mod architecture;
mod config;
mod context;
mod folder;
mod footprint;
mod gpt2;
mod gpt_neox;
mod linear;
mod llama;
mod quantise;
mod recurrent;
mod session;
mod tokenizer;
mod transformer;
mod vocabulary;
mod weights;

pub use architecture::Architecture;
pub use config::{Activation, Config, Family, QUANT_METHOD, Quantization, RotaryConfig};
pub use context::{Context, RestartingSession};
pub use folder::{ModelFolder, TokenizerFiles};
pub use footprint::Footprint;
pub use recurrent::{Cell, Recurrent, RecurrentConfig};
pub use session::TransformerSession;
pub use tokenizer::{Tokenizer, TokenizerFile};
pub use transformer::Transformer;
pub use vocabulary::{Token, TokenKind, Vocabulary};
pub use weights::Weights;

use crate::error::{Error, ErrorKind, Result};
use crate::ops::{ActivationBits, Isa};
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

/// One input of a network: the `position`-th token of a lane, counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The lane, below the session's number of lanes.
    pub lane: u32,
    /// The position of `token`; a lane's rows come in order of position, without gaps.
    pub position: u32,
    /// The token's id.
    pub token: u32,
}

/// Weights that turn tokens into logits.
pub trait Network: Send + Sync {
    /// Logits per row: the tokens that can be coded, in the order of the vocabulary.
    fn outputs(&self) -> usize;

    /// Positions that a lane may have, unless the network's window slides or it needs none.
    fn max_positions(&self) -> Option<usize>;

    /// Positions that are kept at most of a lane, its own included.
    fn window(&self) -> usize;

    /// What it takes of memory.
    fn footprint(&self) -> Footprint;

    /// Starts `lanes` empty lanes that take up to `steps` rows each in one call and see at most
    /// `window` positions, own included.
    fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session + '_>;
}

/// The state of some lanes of one [`Network`].
pub trait Session: Send {
    /// Feeds `rows` and writes each one's prediction of the next token.
    ///
    /// logits: `[rows][outputs]`, or empty where no prediction is wanted. Rows of different lanes may come in any order; how rows are spread
    /// over calls changes no bit of the logits.
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]);
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

impl Identity {
    /// The digest in hexadecimal.
    pub fn hex(&self) -> String {
        self.digest.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string");
            hex
        })
    }
}

/// The three files of a model, as bytes.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// `config.json`
    pub config: &'a [u8],
    /// `model.safetensors`
    pub weights: &'a [u8],
    /// `tokenizer.json`
    pub tokenizer: &'a [u8],
}

/// The default model, compiled in: a static, so that the binary has it once.
static DEFAULT: ModelFiles<'static> = ModelFiles {
    config: include_bytes!("../../models/default/config.json"),
    weights: include_bytes!("../../models/default/model.safetensors"),
    tokenizer: include_bytes!("../../models/default/tokenizer.json"),
};

/// Codes of the compiled-in models in archives (docs/format.md, section 3).
pub const BUILTIN_CODES: [u8; 2] = [FLOAT_CODE, DEFAULT_CODE];

/// The default model's weights, computed with as floats.
pub const FLOAT_CODE: u8 = 1;

/// The default model: the same weights in int8, two to three times as fast; archives are 0.02 %
/// larger (docs/levels.md).
pub const DEFAULT_CODE: u8 = 2;

/// How the default model's weights become the default model.
const DEFAULT_QUANTIZATION: Quantization = Quantization { activations: ActivationBits::Eight };

/// That of the default model's files.
static DEFAULT_DIGEST: LazyLock<[u8; 32]> = LazyLock::new(|| DEFAULT.digest());

/// BLAKE3 over the digest of the default model's files and a byte: the bits of activations.
fn quantised_digest(bits: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&*DEFAULT_DIGEST).update(&[bits as u8]);
    hasher.finalize().into()
}

impl ModelFiles<'_> {
    /// BLAKE3 over each file's length (64 bits, little-endian) and bytes, in the order of the
    /// fields.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for file in [self.config, self.weights, self.tokenizer] {
            hasher.update(&(file.len() as u64).to_le_bytes()).update(file);
        }
        hasher.finalize().into()
    }
}

/// A language model with its tokenizer, ready to code with.
pub struct Model {
    identity: Identity,
    isa: Isa,
    network: Box<dyn Network>,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    first_token: u32,
}

impl Model {
    /// The default model, compiled into the binary, on the instruction set `isa`.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn default_model(isa: Isa) -> Result<Self> {
        Self::builtin(DEFAULT_CODE, isa)
    }

    /// The compiled-in model of `code`.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is none.
    pub fn builtin(code: u8, isa: Isa) -> Result<Self> {
        let Some(identity) = Self::builtin_identity(code) else {
            let message = format!("there is no compiled-in model {code}");
            return Err(Error::new(ErrorKind::ModelMissing, message));
        };
        match code {
            FLOAT_CODE => Self::from_files(DEFAULT, identity, isa),
            _ => Ok(Self { identity, ..Self::default_model_as(DEFAULT_QUANTIZATION, isa)? }),
        }
    }

    /// The default model's weights in `quantization`, quantised as they are loaded.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn default_model_as(quantization: Quantization, isa: Isa) -> Result<Self> {
        let config = Architecture::parse(DEFAULT.config)?.quantised(quantization)?;
        let weights = Weights::parse(DEFAULT.weights)?;
        let bits = quantization.activations.bits();
        let (digest, label) = (quantised_digest(bits), format!("default-w8a{bits}"));
        let identity = Identity { digest, label, builtin_code: None };
        Self::load(&config, &weights, TokenizerFile::Json(DEFAULT.tokenizer), identity, isa)
    }

    /// What archives name the default model by; loads nothing.
    pub fn default_identity() -> Identity {
        Self::builtin_identity(DEFAULT_CODE).expect("the default model is compiled in")
    }

    /// What archives name the compiled-in model of `code` by, if there is one; loads nothing.
    pub fn builtin_identity(code: u8) -> Option<Identity> {
        let (digest, label) = match code {
            FLOAT_CODE => (*DEFAULT_DIGEST, "default-float"),
            DEFAULT_CODE => (quantised_digest(DEFAULT_QUANTIZATION.activations.bits()), "default"),
            _ => return None,
        };
        Some(Identity { digest, label: label.to_owned(), builtin_code: Some(code) })
    }

    /// The files of the default model.
    pub fn default_files() -> ModelFiles<'static> {
        DEFAULT
    }

    /// The model in `folder` ([`ModelFolder::find`]).
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::InvalidModel`] if one makes no
    /// sense.
    pub fn open(folder: &Path, isa: Isa) -> Result<Self> {
        let files = ModelFolder::find(folder)?;
        let load = || {
            let tokenizer = files.tokenizer()?;
            let (config, weights) = (files.architecture()?, files.weights()?);
            Self::load(&config, &weights, tokenizer.file(), files.identity()?, isa)
        };
        load().map_err(|e: Error| e.at(folder.display()))
    }

    /// The model that `files` hold, under the name that archives shall give it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if they make no sense.
    pub fn from_files(files: ModelFiles<'_>, identity: Identity, isa: Isa) -> Result<Self> {
        let (config, weights) =
            (Architecture::parse(files.config)?, Weights::parse(files.weights)?);
        Self::load(&config, &weights, TokenizerFile::Json(files.tokenizer), identity, isa)
    }

    fn load(
        architecture: &Architecture,
        weights: &Weights<'_>,
        tokenizer: TokenizerFile<'_>,
        identity: Identity,
        isa: Isa,
    ) -> Result<Self> {
        let (tokenizer, vocabulary) = Tokenizer::load(tokenizer, architecture.vocab_size())?;
        let network = architecture.load(weights, vocabulary.ids(), isa)?;
        let first_token = architecture.first_token();
        Ok(Self { identity, isa, network, tokenizer, vocabulary, first_token })
    }

    /// The same model, which archives call `label`: at most 255 bytes, no control characters.
    #[must_use]
    pub fn with_label(mut self, label: String) -> Self {
        self.identity.label = label;
        self
    }

    /// What archives made with this model name it by.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Its network.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// Its tokenizer; only encoders need it.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens that can be coded.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The id of the token that every lane begins with; it is context only, never coded.
    pub fn first_token(&self) -> u32 {
        self.first_token
    }
}

/// An [`ErrorKind::InvalidModel`] error.
fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidModel, message)
}
