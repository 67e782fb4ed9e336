//! One chunk in memory: plain bytes to coded bytes and back. No files.
//!
//! Two ways to code a chunk: as `tokens` of the language model, whose predictions may be mixed
//! with the adaptive model's, or as plain `bytes` by the adaptive model alone. `effort`
//! chooses. Tokens are cut into `lanes` and spelled as binary `decisions`; the `range_coder`
//! makes bytes of decisions.

mod bytes;
pub mod decisions;
mod effort;
mod lanes;
mod parameters;
pub mod range_coder;
mod together;
mod tokens;

use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use effort::Effort;
pub use parameters::Parameters;
pub use together::{decode, decode_all};

/// Most lanes a chunk can have.
pub const MAX_LANES: u8 = 64;

/// How a chunk's bytes were coded; the numbers stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

/// What the encoder may choose.
#[derive(Debug, Clone, Copy)]
pub struct ChunkOptions {
    /// 1..=9: what to spend on size (docs/levels.md).
    pub level: u8,
    /// Lanes stepped in lockstep, 1..=[`MAX_LANES`]; `None` chooses by level and length.
    pub lanes: Option<u8>,
    /// Whether the adaptive model may take part; else the language model codes alone, at any
    /// level.
    pub mix: bool,
}

/// What both sides work with.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    /// The language model.
    pub model: &'a Model,
    /// What all chunks of the stream are coded with.
    pub parameters: &'a Parameters,
    /// Threads that a call may use; changes no byte.
    pub threads: usize,
    /// Memory that the language model's lanes may take in all that is coded at a time, in bytes; each
    /// of several chunks side by side has its part of it (`shared_by`).
    pub memory: u64,
    /// Is told of plain bytes as they are done.
    pub progress: Progress<'a>,
}

impl<'a> Codec<'a> {
    /// With the default parameters and any memory, telling nobody of its progress.
    pub fn new(model: &'a Model, threads: usize) -> Self {
        static PARAMETERS: Parameters = Parameters::DEFAULT;
        Self { model, parameters: &PARAMETERS, threads, memory: u64::MAX, progress: &|_| () }
    }

    /// The part of one of `n` that work side by side, if there are as many threads.
    pub(crate) fn shared_by(self, n: usize) -> Self {
        let n = n.clamp(1, self.threads.max(1));
        Self { threads: (self.threads / n).max(1), memory: self.memory / n as u64, ..self }
    }

    /// The same, telling nobody of its progress.
    fn quiet(self) -> Self {
        Self { progress: &|_| (), ..self }
    }
}

/// A coded chunk. Never [`Method::Stored`]: whether storing is cheaper is the archive's choice.
pub struct Coded {
    /// How it was coded.
    pub method: Method,
    /// Lanes it was coded in.
    pub lanes: u8,
    /// The coded bytes.
    pub bytes: Vec<u8>,
}

impl Coded {
    /// What a reader needs to decode it to `plain_len` bytes.
    pub fn code(&self, plain_len: usize) -> Code<'_> {
        Code { method: self.method, lanes: self.lanes, bytes: &self.bytes, plain_len }
    }
}

/// A coded chunk as a reader has it. Nothing in it is to be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// How it was coded.
    pub method: Method,
    /// Lanes it was coded in.
    pub lanes: u8,
    /// The coded bytes.
    pub bytes: &'a [u8],
    /// Plain bytes, not 0.
    pub plain_len: usize,
}

impl Code<'_> {
    /// Bytes of the longest lane; `lanes` is not 0.
    fn lane_len(&self) -> usize {
        self.plain_len.div_ceil(self.lanes.into())
    }
}

/// Is told of plain bytes as they are done, in any order, from any thread; they add up to the
/// chunk's length.
type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Encodes `plain` (not empty).
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if the model's logits overflow, [`ErrorKind::InvalidArgument`] for
/// options out of range, [`ErrorKind::LimitExceeded`] if the lanes would take too much memory.
pub fn encode(codec: Codec<'_>, plain: &[u8], options: &ChunkOptions) -> Result<Coded> {
    check_options(options)?;
    match Effort::of(options, plain.len()) {
        Effort::Bytes { tier } => Ok(bytes::encode(codec, plain, tier)),
        Effort::Tokens { lanes, mix: false, .. } => tokens::encode(codec, plain, lanes, false),
        Effort::Tokens { lanes, try_both, .. } => encode_best(codec, plain, lanes, try_both),
    }
}

/// The smaller of both ways to code a chunk: measured in full, one after the other so that one
/// adaptive model is in memory at a time, or by a probe where that is enough.
fn encode_best(codec: Codec<'_>, plain: &[u8], lanes: u8, try_both: bool) -> Result<Coded> {
    if !try_both && !effort::is_for_the_language_model(codec, plain)? {
        return Ok(bytes::encode(codec, plain, effort::BEST_TIER));
    }
    let by_tokens = tokens::encode(codec, plain, lanes, true)?;
    if !try_both {
        return Ok(by_tokens);
    }
    let by_bytes = bytes::encode(codec.quiet(), plain, effort::BEST_TIER);
    Ok(if by_bytes.bytes.len() < by_tokens.bytes.len() { by_bytes } else { by_tokens })
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
