//! Models that are drawn from a seed: both sides draw the same weights, which learn while they code.
//! Nothing but the program is shared; their tokens are bytes.

use super::export;
use super::llama::LlamaShape;
use super::options::Arch;
use super::shape::NetworkShape;
use super::vocabulary::Tokens;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Cell, Identity, Learning, LearningKind, Model, ModelFiles};
use crate::nn::random::Random;
use crate::nn::recurrent::RecurrentShape;
use crate::ops::Isa;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A model that is drawn; as text `seed:KIND:WIDTH:SEED`, or `seed:KIND:WIDTHxLAYERS:SEED`.
///
/// ```
/// use llmzip::train::SeededModel;
///
/// let model: SeededModel = "seed:gru:512:42".parse()?;
/// assert_eq!(model.to_string(), "seed:gru:512:42");
/// assert!("seed:gru:0:42".parse::<SeededModel>().is_err());
/// # Ok::<(), llmzip::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededModel {
    arch: Arch,
    width: usize,
    layers: usize,
    seed: u64,
}

/// Bytes of memory that a weight takes while they are drawn: as a parameter, packed for both passes, in the
/// files that are loaded, and loaded.
const BYTES_OF_NUMBER: u64 = 20;

/// Beginning of all names.
const PREFIX: &str = "seed:";

/// Tokens: the bytes.
const VOCABULARY: usize = 256;

/// Widths that a network can have: multiples of the first.
const WIDTHS: RangeInclusive<usize> = 64..=4096;

/// Layers that a network can have.
const LAYERS: RangeInclusive<usize> = 1..=16;

/// Positions that a decoder sees.
const WINDOW: usize = 256;

impl SeededModel {
    /// Returns whether `name` is meant to be that of such a model.
    pub fn is_named(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Returns the model that an archive names, if it is one.
    pub fn of_archive(digest: &[u8; 32], label: &str) -> Option<Self> {
        let model: Self = label.parse().ok()?;
        (model.identity().digest == *digest).then_some(model)
    }

    /// Returns its identity: the digest is that of its name, by which its weights are drawn.
    pub fn identity(&self) -> Identity {
        let label = self.to_string();
        Identity { digest: blake3::hash(label.as_bytes()).into(), label, builtin_code: None }
    }

    /// Returns how such a model learns unless told otherwise, as measured (`docs/learning.md`).
    pub fn learning(&self, kind: Option<LearningKind>) -> Learning {
        let rate = match self.arch {
            Arch::Gru | Arch::Llama => 1000,
            Arch::Lstm => 2000,
        };
        Learning { kind: kind.unwrap_or(LearningKind::All), tokens_log2: 7, rate }
    }

    /// Draws the weights, unless that takes more than `memory` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`]
    pub fn draw(&self, isa: Isa, memory: u64) -> Result<Model> {
        let needed = BYTES_OF_NUMBER * self.numbers() as u64;
        if needed > memory {
            let (needed, memory) = (needed >> 20, memory >> 20);
            let message = format!(
                "drawing the weights of {self} takes about {needed} MiB of memory, and {memory} MiB may be used"
            );
            return Err(Error::new(ErrorKind::MemoryExceeded, message));
        }
        let network = self.shape().network(isa, &mut Random::new(&[self.seed]));
        let tokens = Tokens::for_sample(&[], VOCABULARY)?;
        let files = export::floats(&*network)?;
        let files =
            ModelFiles { config: &files.config, weights: &files.weights, tokenizer: tokens.json() };
        Model::from_files(files, self.identity(), isa)
    }

    fn shape(&self) -> NetworkShape {
        let &Self { arch, width, layers, .. } = self;
        let recurrent = |cell| {
            NetworkShape::Recurrent(RecurrentShape {
                cell,
                vocab_size: VOCABULARY,
                embedding_size: width.min(128),
                hidden_size: width,
                layers,
            })
        };
        match arch {
            Arch::Gru => recurrent(Cell::Gru),
            Arch::Lstm => recurrent(Cell::Lstm),
            Arch::Llama => NetworkShape::Llama(LlamaShape {
                vocab_size: VOCABULARY,
                hidden_size: width,
                intermediate_size: 3 * width,
                layers,
                heads: width / 64,
                window: WINDOW,
            }),
        }
    }

    /// Returns the number of its weights, about.
    fn numbers(&self) -> usize {
        let of_layer = match self.arch {
            Arch::Gru => 6,
            Arch::Lstm => 8,
            Arch::Llama => 12,
        };
        self.layers * of_layer * self.width * self.width + VOCABULARY * self.width
    }
}

impl fmt::Display for SeededModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arch, width, layers, seed } = self;
        write!(f, "{PREFIX}{}:{width}", arch.name())?;
        if *layers != default_layers(*arch) {
            write!(f, "x{layers}")?;
        }
        write!(f, ":{seed}")
    }
}

fn default_layers(arch: Arch) -> usize {
    match arch {
        Arch::Gru | Arch::Lstm => 1,
        Arch::Llama => 4,
    }
}

impl FromStr for SeededModel {
    type Err = Error;

    /// Parses a name. Each model has one: that which [`SeededModel`] displays.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]
    fn from_str(text: &str) -> Result<Self> {
        let failed = |expected: String| {
            let message = format!("model '{}': expected {expected}", text.escape_debug());
            Error::new(ErrorKind::InvalidArgument, message)
        };
        let form = || failed("seed:KIND:WIDTH:SEED or seed:KIND:WIDTHxLAYERS:SEED".into());
        let parts: Vec<&str> = text.strip_prefix(PREFIX).ok_or_else(form)?.split(':').collect();
        let [kind, size, seed] = parts[..] else { return Err(form()) };
        let kinds = [Arch::Gru, Arch::Lstm, Arch::Llama];
        let arch = kinds.into_iter().find(|arch| arch.name() == kind);
        let arch = arch.ok_or_else(|| failed("gru, lstm or llama as its kind".into()))?;
        let (width, layers) = match size.split_once('x') {
            Some((width, layers)) => (width, layers.parse().map_err(|_| form())?),
            None => (size, default_layers(arch)),
        };
        let width: usize = width.parse().map_err(|_| form())?;
        let seed = seed.parse().map_err(|_| form())?;
        if !WIDTHS.contains(&width) || !width.is_multiple_of(*WIDTHS.start()) {
            let (least, most) = WIDTHS.into_inner();
            return Err(failed(format!("a width that is a multiple of {least} up to {most}")));
        }
        if !LAYERS.contains(&layers) {
            return Err(failed(format!("1 to {} layers", LAYERS.end())));
        }
        let model = Self { arch, width, layers, seed };
        let name = model.to_string();
        if name == text { Ok(model) } else { Err(failed(format!("it to be written {name}"))) }
    }
}
