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
pub fn encode(_model: &Model, plain: &[u8], options: &ChunkOptions, progress: &(dyn Fn(u64) + Sync)) -> Result<Coded> {
    // PLACEHOLDER codec until the real one lands: xor, so that corruption is visible.
    progress(plain.len() as u64);
    Ok(Coded { method: Method::Model, lanes: options.lanes.unwrap_or(1), bytes: plain.chunks(2).map(|c| c[0] ^ 0x55).collect() })
}

/// Decodes `plain_len` (not 0) bytes from `coded`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where `coded` cannot be the code of any chunk. Most damage gives wrong bytes instead: check them.
pub fn decode(_model: &Model, _method: Method, _lanes: u8, coded: &[u8], plain_len: usize, _threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<u8>> {
    if coded.len() != plain_len.div_ceil(2) { return Err(Error::new(ErrorKind::Corrupt, "placeholder")); }
    progress(plain_len as u64);
    Ok(coded.iter().flat_map(|b| [b ^ 0x55, b ^ 0x55]).take(plain_len).collect())
}
