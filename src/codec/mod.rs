//! One chunk in memory: plain bytes to coded bytes and back. No files.
//!
//! Two ways to code a chunk: as `tokens` of the language model, whose predictions may be mixed
//! with the adaptive model's, or as plain `bytes` by the adaptive model alone. `strategy`
//! chooses. Tokens are cut into `lanes` and spelled as binary decisions (`token_trie`); the
//! `range_coder` makes bytes of decisions. A `prefix` can stand before every chunk's text.

mod batch;
mod blocks;
mod bytes;
mod lane_layout;
mod lanes;
mod parameters;
mod prefix;
mod prefix_coding;
pub mod range_coder;
mod steering_code;
mod steering_integers;
mod stop;
mod strategy;
pub mod token_trie;
mod tokens;

use crate::error::{Error, ErrorKind, Result};
use crate::models::{Learner, Model, Steering};
use crate::ops::Isa;
use crate::predict::MixingConfig;
pub use batch::{decode, decode_all};
pub use blocks::fill;
pub use parameters::Parameters;
pub use prefix::Prefix;
use std::borrow::Cow;
pub use steering_code::{Quantizer, SteeringCode};
pub use steering_integers::MAX_INTEGER;
pub use stop::Stop;
use strategy::Strategy;

/// Most lanes a chunk can have.
pub const MAX_LANES: u8 = 64;

/// Memory of a learning head, in bytes, above which a model learns only where it is asked to.
const MOST_UNASKED_LEARNING: u64 = 1 << 26;

/// Coding method of a chunk; the numbers are those of `docs/format.md`, section 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Method {
    /// The plain bytes themselves.
    Stored = 0,
    /// The language model alone.
    Model = 1,
    /// The language model mixed with the adaptive model.
    Mixed = 2,
    /// The adaptive model alone.
    Adaptive = 3,
    /// The language model, whose head learns from the chunk, mixed with the adaptive model.
    Learning = 4,
}

/// Method and lanes of a chunk: its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    /// The method.
    pub method: Method,
    /// Lanes, 1..=[`MAX_LANES`]; 1 where the method has none.
    pub lanes: u8,
}

impl Coding {
    /// The coding of stored bytes.
    pub const STORED: Self = Self { method: Method::Stored, lanes: 1 };

    /// Whether the payload is the plain bytes.
    pub fn is_stored(self) -> bool {
        self.method == Method::Stored
    }

    /// Whether the language model runs.
    pub fn runs_model(self) -> bool {
        matches!(self.method, Method::Model | Method::Mixed | Method::Learning)
    }
}

/// A chunk as a file has it. A decoder trusts nothing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded<'a> {
    /// Method and lanes.
    pub coding: Coding,
    /// Plain bytes.
    pub plain_len: usize,
    /// Coded bytes; the plain bytes where stored.
    pub payload: Cow<'a, [u8]>,
}

impl<'a> Coded<'a> {
    /// The stored chunk of `plain`.
    pub fn stored(plain: &'a [u8]) -> Self {
        Self { coding: Coding::STORED, plain_len: plain.len(), payload: Cow::Borrowed(plain) }
    }

    /// Whether decoding needs the language model, in a stream with `prefix` before its chunks.
    pub fn needs_model(&self, prefix: Option<&Coded<'_>>) -> bool {
        let Self { coding, .. } = self;
        let by_prefix = prefix.is_some_and(|prefix| prefix.coding.runs_model());
        coding.runs_model() || (by_prefix && !coding.is_stored())
    }
}

/// Choices of the encoder.
#[derive(Debug, Clone, Copy)]
pub struct ChunkOptions {
    /// Effort, 1..=9 (docs/levels.md).
    pub level: u8,
    /// Lanes stepped in lockstep, 1..=[`MAX_LANES`]; `None` chooses by level and length.
    pub lanes: Option<u8>,
    /// Whether the adaptive model may take part; else the language model codes alone, at any
    /// level.
    pub mix: bool,
}

impl ChunkOptions {
    /// Whether any chunk can be coded by the language model.
    pub fn may_run_model(&self) -> bool {
        !matches!(self, Self { level: 1..=3, mix: true, .. })
    }
}

/// Models, parameters and limits that both sides work with.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    /// The language model; `None` where no chunk runs it.
    pub model: Option<&'a Model>,
    /// The instruction set; changes no byte.
    pub isa: Isa,
    /// Parameters of the stream.
    pub parameters: &'a Parameters,
    /// The text before every chunk's.
    pub prefix: &'a Prefix,
    /// Vectors before every lane's tokens; none, or as wide as the model's embeddings.
    pub steering: &'a Steering,
    /// Threads that a call may use; changes no byte.
    pub threads: usize,
    /// Memory budget, in bytes, for the language model's lanes in all that is coded at a time; each
    /// of several chunks side by side gets its share (`shared_by`).
    pub memory: u64,
    /// Progress callback.
    pub progress: Progress<'a>,
    /// Ends the work of a call with [`ErrorKind::Interrupted`].
    pub stop: &'a Stop,
}

/// Progress callback: called with the number of plain bytes just processed, from any thread, in
/// any order; the calls add up to the chunk's length.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

impl<'a> Codec<'a> {
    /// Default parameters, no prefix, no memory limit, no progress callback.
    pub fn new(model: &'a Model, threads: usize) -> Self {
        Self { model: Some(model), ..Self::without_model(model.isa(), threads) }
    }

    /// The same for chunks that do not run a language model.
    pub fn without_model(isa: Isa, threads: usize) -> Self {
        let (parameters, prefix) = (&Parameters::DEFAULT, Prefix::none());
        let (steering, memory, progress) = (Steering::NONE, u64::MAX, &|_| ());
        let (model, stop) = (None, Stop::never());
        Self { model, isa, parameters, prefix, steering, threads, memory, progress, stop }
    }

    /// The language model.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where there is none.
    fn language_model(&self) -> Result<&'a Model> {
        self.model.ok_or_else(|| corrupt("it runs a language model, and the stream names none"))
    }

    /// The share of one of `n` that work side by side, if there are as many threads.
    pub(crate) fn shared_by(self, n: usize) -> Self {
        let n = n.clamp(1, self.threads.max(1));
        Self { threads: (self.threads / n).max(1), memory: self.memory / n as u64, ..self }
    }

    /// The same without a progress callback.
    fn quiet(self) -> Self {
        Self { progress: &|_| (), ..self }
    }
}

/// Encodes `plain` (not empty). Never stores it: whether storing is cheaper is the archive's choice.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if the model's logits overflow, [`ErrorKind::InvalidArgument`] for
/// options out of range, [`ErrorKind::MemoryExceeded`] if the lanes would take too much memory,
/// [`ErrorKind::Interrupted`].
pub fn encode(codec: Codec<'_>, plain: &[u8], options: &ChunkOptions) -> Result<Coded<'static>> {
    check_options(options)?;
    encode_by(Strategy::of(options, plain.len()), codec, plain)
}

fn encode_by(strategy: Strategy, codec: Codec<'_>, plain: &[u8]) -> Result<Coded<'static>> {
    match strategy {
        Strategy::Bytes { tier } => bytes::encode(codec, plain, tier),
        Strategy::Tokens { lanes, mix: false, .. } => tokens::encode(codec, plain, lanes, false),
        Strategy::Tokens { lanes, learns, .. } if learns && learning_fits(codec, lanes) => {
            let parameters = codec.parameters.for_method(Method::Learning);
            let codec = Codec { parameters: &parameters, ..codec };
            let mut coded = encode_best(codec, plain, lanes, true)?;
            if coded.coding.method == Method::Mixed {
                coded.coding.method = Method::Learning;
            }
            Ok(coded)
        }
        Strategy::Tokens { lanes, try_both, .. } => encode_best(codec, plain, lanes, try_both),
    }
}

/// Whether a chunk of `lanes` lanes may learn without being asked to: the stream says nothing of learning, and the
/// state that learns is small.
fn learning_fits(codec: Codec<'_>, lanes: u8) -> bool {
    let is_small = |model: &Model| {
        let learning = Parameters::METHOD_LEARNING;
        Learner::footprint(model.network(), learning, lanes.into()) <= MOST_UNASKED_LEARNING
    };
    codec.parameters.learning.is_none() && codec.model.is_some_and(is_small)
}

/// The smaller of both ways to code a chunk, one after the other so that one adaptive model is in memory
/// at a time. Unless `try_both`, the language model is left out where a probe says that it would only lose.
fn encode_best(
    codec: Codec<'_>,
    plain: &[u8],
    lanes: u8,
    try_both: bool,
) -> Result<Coded<'static>> {
    let by_bytes = bytes::encode(codec.quiet(), plain, bytes::BEST_TIER)?;
    if !try_both && !strategy::lm_may_pay_off(codec, plain, by_bytes.payload.len())? {
        (codec.progress)(plain.len() as u64);
        return Ok(by_bytes);
    }
    let by_tokens = tokens::encode(codec, plain, lanes, true)?;
    Ok(if by_bytes.payload.len() < by_tokens.payload.len() { by_bytes } else { by_tokens })
}

/// The adaptive model of a chunk of `len` bytes with `options`, where one takes part.
pub(crate) fn adaptive_for(
    codec: Codec<'_>,
    options: &ChunkOptions,
    len: usize,
) -> Option<MixingConfig> {
    let tier = options.level.min(bytes::BEST_TIER);
    options.mix.then(|| MixingConfig {
        tier,
        table_log2: codec.parameters.table_log2.into(),
        with_lm: tier == bytes::BEST_TIER,
        n_lanes: 1,
        lane_len: (codec.prefix.text.len() + len) as u32,
    })
}

/// The adaptive model that `coded` was made with, where one takes part; of one that is mixed in, the largest.
pub(crate) fn adaptive(coded: &Coded<'_>) -> Option<MixingConfig> {
    let lane_len = coded.plain_len as u32;
    let largest = MixingConfig {
        tier: bytes::BEST_TIER,
        table_log2: MixingConfig::TABLE_LOG2,
        with_lm: true,
        n_lanes: 1,
        lane_len,
    };
    match coded.coding.method {
        Method::Stored | Method::Model => None,
        Method::Mixed | Method::Learning => Some(largest),
        Method::Adaptive => {
            let (tier, table_log2) = bytes::parameters(*coded.payload.first()?).ok()?;
            Some(MixingConfig { tier, table_log2, with_lm: false, ..largest })
        }
    }
}

fn check_options(options: &ChunkOptions) -> Result<()> {
    let lanes = options.lanes.unwrap_or(1);
    let message = if !(1..=MAX_LANES).contains(&lanes) {
        format!("{lanes} lanes, expected 1 to {MAX_LANES}")
    } else if !(1..=9).contains(&options.level) {
        format!("level {}, expected 1 to 9", options.level)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk that learns says so in its tag, and is what a stream that learns has; where the stream says how
    /// it learns, its tag says nothing.
    #[test]
    fn a_chunk_can_learn_by_itself() {
        let model = Model::builtin().unwrap();
        let plain = b"the cat and the hat in the box, again and again.\n".repeat(60);
        let learns = |learns| Strategy::Tokens { lanes: 3, mix: true, try_both: true, learns };
        let encode = |strategy, learning| {
            let parameters = Parameters { learning, ..Parameters::DEFAULT };
            let codec = Codec { parameters: &parameters, ..Codec::new(&model, 2) };
            encode_by(strategy, codec, &plain).unwrap()
        };
        let by_itself = encode(learns(true), None);
        let by_stream = encode(learns(true), Some(Parameters::METHOD_LEARNING));
        let fixed = encode(learns(false), None);
        assert_eq!(by_itself.coding, Coding { method: Method::Learning, lanes: 3 });
        assert_eq!(by_stream.coding, Coding { method: Method::Mixed, lanes: 3 });
        assert_eq!(fixed.coding, by_stream.coding);
        assert!(by_itself.payload == by_stream.payload && by_itself.payload != fixed.payload);
        // Beside chunks that do not learn.
        let codes = [fixed, by_itself.clone(), by_itself];
        for (i, decoded) in decode_all(Codec::new(&model, 2), &codes).into_iter().enumerate() {
            assert!(decoded.unwrap() == plain, "chunk {i}");
        }
    }
}
