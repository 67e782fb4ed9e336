//! Language models: weights and tokens to logits, and bytes to tokens.
//!
//! [`Model`] is what the codec works with: a [`Network`] whose outputs stand in the order of its
//! [`Vocabulary`], and the [`Tokenizer`] that the encoder uses. One file per family of networks.

mod adapter;
mod architecture;
mod blocks;
mod builtin;
pub(crate) mod checkpoint_files;
mod config;
mod context;
mod cuda;
mod decoder;
mod evaluate;
mod folder;
mod footprint;
mod four_bits;
mod gguf;
mod gpt2;
mod gpt_neox;
pub(crate) mod json;
mod learning;
mod linear;
mod llama;
mod matrix;
mod pickle;
mod quantization;
mod quantize;
mod read_once;
mod recording;
mod recurrent;
mod session;
mod steering;
mod tokenizer;
mod transformer;
mod vocabulary;
mod weights;

pub use crate::nn::feed_forward::Activation;
pub use crate::nn::shape::RotaryConfig;
pub use adapter::{AdaptableModule, AdaptedModule, Adapter, AdapterFiles, AdapterIdentity};
pub use architecture::Architecture;
pub use builtin::DEFAULT_CODE;
pub use checkpoint_files::{CheckpointFiles, WeightsFormat};
pub use config::{Config, Family};
pub use context::{Context, RestartingSession};
pub use evaluate::{TextCost, TokenCost};
pub use folder::{ModelFolder, TokenizerFiles};
pub use footprint::Footprint;
pub use learning::{Learner, Learning, LearningKind, LearningSession};
pub use quantization::{Int4Format, Int4Layout, QUANT_METHOD, QuantWeights, Quantization};
pub use quantize::{RoundedLinear, RoundedWeights};
pub use recurrent::{Cell, Recurrent, RecurrentConfig};
pub use session::TransformerSession;
pub use steering::{Steering, SteeringFile};
pub use tokenizer::{Tokenizer, TokenizerFile, stand_ins};
pub use transformer::Transformer;
pub use vocabulary::{Token, TokenKind, Vocabulary};
pub use weights::Weights;

use crate::cuda::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Isa;
use cuda::CudaNetwork;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use weights::hashed;

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

    /// Positions that are kept at most of a lane, its own included.
    fn window(&self) -> usize;

    /// Whether it computes on a device, which takes the rows of many lanes better in one session than in several.
    fn is_on_device(&self) -> bool {
        false
    }

    /// The network, where it is a transformer: one that takes steering vectors, and whose gradients
    /// can be had.
    fn as_transformer(&self) -> Option<&Transformer>;

    /// The network, where it is recurrent.
    fn as_recurrent(&self) -> Option<&Recurrent> {
        None
    }

    /// Starts `lanes` empty lanes that take up to `steps` rows each in one call and see at most
    /// `window` positions, own included.
    fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session + '_>;
}

/// The state of some lanes of one [`Network`].
pub trait Session: Send {
    /// Feeds `rows` and writes each one's prediction of the next token.
    ///
    /// logits: `[rows][outputs]`, or empty where no prediction is wanted. Rows of different lanes
    /// may come in any order; how rows are spread over calls changes no bit of the logits. A session on
    /// a device that failed gives NaNs, which no coder takes; [`check`](Self::check) says why.
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]);

    /// Returns whether the session computes counts itself ([`counts`](Self::counts)), as one on a device does.
    fn gives_counts(&self) -> bool {
        false
    }

    /// Feeds `rows` and writes the cumulative counts (`docs/numerics.md`, section 9) that follow from each one's
    /// logits, which stay where they are: all of them, or at the places `asked`, where there are any, and anything
    /// elsewhere. cumulative: `[rows][outputs + 1]`; asked: places in it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where a logit is not finite, [`ErrorKind::Device`].
    ///
    /// # Panics
    /// Where [`gives_counts`](Self::gives_counts) is false.
    fn counts(&mut self, _rows: &[Row], _asked: &[u64], _cumulative: &mut [u32]) -> Result<()> {
        panic!("a session on the processor gives logits");
    }

    /// Puts steering vectors, `[k][C]`, before all lanes, none of which was fed any row.
    ///
    /// # Panics
    /// Where the network takes none ([`Network::as_transformer`]).
    fn steer(&mut self, vectors: &[f32]);

    /// Returns the session of the network itself, where it learns.
    fn learning(&mut self) -> Option<&mut LearningSession> {
        None
    }

    /// Returns the error that ended the session, if it is on a device that failed.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Copies the state of lane `from`, which was fed `fed` rows, to lane `to`, which was fed none.
    fn copy_lane(&mut self, from: usize, to: usize, fed: usize);
}

/// The identity by which archives name a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// BLAKE3 over configuration, weights and tokenizer.
    pub digest: [u8; 32],
    /// Human-readable; decides nothing.
    pub label: String,
    /// The code of a compiled-in model, 1..=62; `None` for a model from a folder.
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

impl ModelFiles<'_> {
    /// BLAKE3 over each file's length (64 bits, little-endian) and bytes, in the order of the
    /// fields.
    pub fn digest(&self) -> [u8; 32] {
        let files = [self.config, self.weights, self.tokenizer].into_iter();
        files.fold(blake3::Hasher::new(), hashed).finalize().into()
    }
}

/// A language model with its tokenizer.
pub struct Model {
    identity: Identity,
    isa: Isa,
    architecture: Architecture,
    adapter: Option<AdapterIdentity>,
    /// Loaded when a compiled-in model is first used, at once for any other.
    parts: LazyLock<Parts, Box<dyn FnOnce() -> Parts + Send>>,
}

/// The parts that take time and memory to load.
struct Parts {
    network: Box<dyn Network>,
    tokenizer: Arc<Tokenizer>,
    vocabulary: Arc<Vocabulary>,
}

impl Model {
    /// Loads the model in `folder` ([`ModelFolder::find`]), to run on the best instruction set of
    /// this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::InvalidModel`] if one is malformed.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_on(folder, Isa::detect())
    }

    /// Loads the model in `folder`, to run on the instruction set `isa`.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn open_on(folder: &Path, isa: Isa) -> Result<Self> {
        Self::open_if(folder, isa, |_| Ok(()))
    }

    /// Loads the model in `folder`, unless `admit` refuses its architecture. Each file is read
    /// once: the digest is that of the bytes that were loaded.
    ///
    /// # Errors
    /// Those of [`Model::open`] and of `admit`.
    pub fn open_if(
        folder: &Path,
        isa: Isa,
        admit: impl FnOnce(&Architecture) -> Result<()>,
    ) -> Result<Self> {
        let files = ModelFolder::find(folder)?;
        let load = || {
            if let Some(path) = files.gguf() {
                return Self::open_gguf(&files, &path, isa, admit);
            }
            let config = files.config_json()?;
            let architecture = Architecture::parse(&config)?;
            let weights = files.weights(hashed(blake3::Hasher::new(), &config))?;
            let architecture = architecture.with_weights(&weights);
            admit(&architecture)?;
            let tokenizer = files.tokenizer()?;
            let parts = Parts::of_tokenizer_file(&architecture, &weights, tokenizer.file(), isa)?;
            let hasher = tokenizer.bytes().fold(weights.finish()?, hashed);
            Ok(Self::of_parts(files.identity_of(&hasher), isa, architecture, parts))
        };
        load().map_err(|e: Error| e.at(folder.display()))
    }

    /// Loads a GGUF file, which is read once.
    fn open_gguf(
        files: &ModelFolder,
        path: &Path,
        isa: Isa,
        admit: impl FnOnce(&Architecture) -> Result<()>,
    ) -> Result<Self> {
        let (header, weights) = Weights::open_gguf(path)?;
        let architecture = Architecture::parse(&header.config()?)?.with_weights(&weights);
        admit(&architecture)?;
        let tokenizer = Tokenizer::of_gguf(&header.tokenizer()?, architecture.vocab_size())?;
        let parts = Parts::load(&architecture, &weights, tokenizer, isa)?;
        Ok(Self::of_parts(files.identity_of(&weights.finish()?), isa, architecture, parts))
    }

    /// Loads the model in `files`, under the identity that archives shall carry.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if they are malformed.
    pub fn from_files(files: ModelFiles<'_>, identity: Identity, isa: Isa) -> Result<Self> {
        let architecture = Architecture::parse(files.config)?;
        let parts = Parts::of_files(&architecture, files, isa)?;
        Ok(Self::of_parts(identity, isa, architecture, parts))
    }

    fn of_parts(identity: Identity, isa: Isa, architecture: Architecture, parts: Parts) -> Self {
        let adapter = None;
        Self { identity, isa, architecture, adapter, parts: LazyLock::new(Box::new(|| parts)) }
    }

    /// Returns the same model with another network of its architecture.
    fn with_network(&self, network: Box<dyn Network>, adapter: Option<AdapterIdentity>) -> Self {
        let (identity, architecture) = (self.identity.clone(), self.architecture.clone());
        let Parts { tokenizer, vocabulary, .. } = &*self.parts;
        let (tokenizer, vocabulary) = (Arc::clone(tokenizer), Arc::clone(vocabulary));
        let parts = Parts { network, tokenizer, vocabulary };
        Self { adapter, ..Self::of_parts(identity, self.isa, architecture, parts) }
    }

    /// Sets the label that archives carry: at most 255 bytes, no control characters.
    #[must_use]
    pub fn with_label(mut self, label: String) -> Self {
        self.identity.label = label;
        self
    }

    /// The identity that archives made with this model carry.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The adapter beside its weights, which archives made with it name too.
    pub fn adapter(&self) -> Option<&AdapterIdentity> {
        self.adapter.as_ref()
    }

    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The kind of network, and its size.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Returns the same model on a CUDA device.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it is none that runs there; [`ErrorKind::Device`], also where the device's
    /// memory is too small.
    pub fn on_cuda(&self, device: &Device) -> Result<Self> {
        let network = self.network().as_transformer().filter(|_| self.adapter.is_none());
        let network = network.ok_or_else(|| {
            let message = "only transformers without adapters run on a CUDA device";
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
        Ok(self.with_network(Box::new(CudaNetwork::new(network, device)?), None))
    }

    /// Its network.
    pub fn network(&self) -> &dyn Network {
        &*self.parts.network
    }

    /// Its tokenizer; only encoders need it.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// The tokens that can be coded.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.parts.vocabulary
    }

    /// The id of the token that every lane begins with; it is context only, never coded.
    pub fn first_token(&self) -> u32 {
        self.architecture.first_token()
    }
}

impl Parts {
    fn load(
        architecture: &Architecture,
        weights: &Weights<'_>,
        (tokenizer, vocabulary): (Tokenizer, Vocabulary),
        isa: Isa,
    ) -> Result<Self> {
        let network = architecture.load(weights, vocabulary.ids(), isa)?;
        let (tokenizer, vocabulary) = (Arc::new(tokenizer), Arc::new(vocabulary));
        Ok(Self { network, tokenizer, vocabulary })
    }

    fn of_files(architecture: &Architecture, files: ModelFiles<'_>, isa: Isa) -> Result<Self> {
        let tokenizer = TokenizerFile::Json(files.tokenizer);
        Self::of_tokenizer_file(architecture, &Weights::parse(files.weights)?, tokenizer, isa)
    }

    fn of_tokenizer_file(
        architecture: &Architecture,
        weights: &Weights<'_>,
        file: TokenizerFile<'_>,
        isa: Isa,
    ) -> Result<Self> {
        Self::load(architecture, weights, Tokenizer::load(file, architecture.vocab_size())?, isa)
    }
}

/// The error of a model whose logits overflow.
pub(crate) fn non_finite() -> Error {
    invalid("the model produced a non-finite logit")
}

/// An [`ErrorKind::InvalidModel`] error.
fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidModel, message)
}
