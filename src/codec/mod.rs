//! One chunk in memory: plain bytes to coded bytes and back. No files.

use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;

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
    /// Lanes stepped in lockstep, 1..=[`MAX_LANES`]; `None` chooses by the chunk's length.
    pub lanes: Option<u8>,
    /// Whether the adaptive model may be mixed in.
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

/// Encodes `plain` (not empty). `progress` is told of plain bytes as they are done, in any order, from any thread.
pub fn encode(
    _model: &Model,
    plain: &[u8],
    options: &ChunkOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Coded> {
    // PLACEHOLDER until the real codec lands: text of one repeated byte shrinks, all else grows by one byte.
    progress(plain.len() as u64);
    let same = plain.iter().all(|&b| b == plain[0]);
    let bytes = if same { vec![plain[0]] } else { [b"+", plain].concat() };
    Ok(Coded { method: Method::Model, lanes: options.lanes.unwrap_or(1), bytes })
}

/// Decodes `plain_len` (not 0) bytes from `coded`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where `coded` cannot be the code of any chunk. Most damage gives wrong bytes instead: check them.
pub fn decode(
    _model: &Model,
    _method: Method,
    _lanes: u8,
    coded: &[u8],
    plain_len: usize,
    _threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<u8>> {
    progress(plain_len as u64);
    match coded {
        [byte] => Ok(vec![*byte; plain_len]),
        [b'+', rest @ ..] if rest.len() == plain_len => Ok(rest.to_vec()),
        _ => Err(Error::new(ErrorKind::Corrupt, "placeholder")),
    }
}
