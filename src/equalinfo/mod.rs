//! Equal-information windows: text cut into windows of equal coded length, by a model of bytes and an
//! arithmetic coder that both begin afresh at each window, so that a second model can learn on the code
//! (Lester et al., "Training LLMs over Neurally Compressed Text", 2024; `docs/equal-info.md`).
//!
//! A window of W bits is a *dyadic* interval, of length 2^-W, and stands for the longest text whose interval in
//! the coder contains it: so much text that no more would fit, with characters at its end that cost no bits.
//! Not an archive format: files of tokens are for training.

mod dictionary;
mod distribution;
mod interval;
mod npy;
mod predictions;
mod windows;

pub use dictionary::Dictionary;
pub use npy::{read_npy, write_npy};
pub use windows::{Coding, Layout, decode, encode};

use crate::error::{Error, ErrorKind};

/// Fewest bits of a window: each of the 256 bytes needs one of its own.
pub const LEAST_BITS: usize = 8;

/// Most bits of a window.
pub const MOST_BITS: usize = 1 << 16;

/// Bytes that are cut into windows at a time, as in the paper; the last window of each may be short.
pub const DEFAULT_SEGMENT: usize = 10_240;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
