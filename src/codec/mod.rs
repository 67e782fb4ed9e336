//! One chunk in memory: plain bytes to coded bytes and back. No files.
//!
//! Two ways to code a chunk: as `tokens` of the language model, whose predictions may be mixed
//! with the adaptive model's, or as plain `bytes` by the adaptive model alone. `effort`
//! chooses. Tokens are cut into `lanes` and spelled as binary `decisions`; the `range_coder`
//! makes bytes of decisions.

mod bytes;
mod decisions;
mod effort;
mod lanes;
mod range_coder;
mod tokens;

use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use effort::Effort;

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
    /// Threads that this call may use; changes no byte.
    pub threads: usize,
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

/// Is told of plain bytes as they are done, in any order, from any thread; they add up to the
/// chunk's length.
type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Encodes `plain` (not empty).
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if the model's logits overflow, [`ErrorKind::InvalidArgument`] for
/// options out of range.
pub fn encode(
    model: &Model,
    plain: &[u8],
    options: &ChunkOptions,
    progress: Progress<'_>,
) -> Result<Coded> {
    check_options(options)?;
    match Effort::of(options, plain.len()) {
        Effort::Bytes { tier } => Ok(bytes::encode(model.isa(), plain, tier, progress)),
        Effort::Tokens { lanes, mix: false, .. } => {
            tokens::encode(model, plain, lanes, false, options.threads, progress)
        }
        Effort::Tokens { lanes, try_both, .. } => {
            encode_best(model, plain, lanes, try_both, options.threads, progress)
        }
    }
}

/// The smaller of both ways to code a chunk: measured in full, one after the other so that one
/// adaptive model is in memory at a time, or by a probe where that is enough.
fn encode_best(
    model: &Model,
    plain: &[u8],
    lanes: u8,
    try_both: bool,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Coded> {
    if !try_both {
        return match effort::is_for_the_language_model(model, plain, threads)? {
            true => tokens::encode(model, plain, lanes, true, threads, progress),
            false => Ok(bytes::encode(model.isa(), plain, effort::BEST_TIER, progress)),
        };
    }
    let by_tokens = tokens::encode(model, plain, lanes, true, threads, progress)?;
    let by_bytes = bytes::encode(model.isa(), plain, effort::BEST_TIER, &|_| ());
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

/// Decodes `plain_len` (not 0) bytes from `coded`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where `coded` cannot be the code of any chunk. Most damage gives wrong
/// bytes instead: check them. [`ErrorKind::InvalidModel`] if the model's logits overflow.
pub fn decode(
    model: &Model,
    method: Method,
    lanes: u8,
    coded: &[u8],
    plain_len: usize,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Vec<u8>> {
    match method {
        Method::Stored => Err(corrupt("a stored chunk has no code")),
        Method::Adaptive if lanes != 1 => Err(corrupt("an adaptive chunk has no lanes")),
        Method::Adaptive => bytes::decode(model.isa(), coded, plain_len, progress),
        Method::Model | Method::Mixed if !(1..=MAX_LANES).contains(&lanes) => {
            Err(corrupt(format!("{lanes} lanes, expected 1 to {MAX_LANES}")))
        }
        Method::Model | Method::Mixed => {
            let mix = method == Method::Mixed;
            tokens::decode(model, coded, plain_len, lanes, mix, threads, progress)
        }
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
