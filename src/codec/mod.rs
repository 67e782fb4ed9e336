//! One chunk in memory: plain bytes to coded bytes and back. No files.
//!
//! A chunk's bytes are cut into [`lanes`], each lane into tokens, each token into binary
//! [`decisions`], and those into bytes by the [`range_coder`].

mod chunk;
mod decisions;
mod lanes;
mod range_coder;

pub use chunk::{decode, encode};

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
