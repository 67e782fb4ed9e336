//! llmzip: lossless compression with a language model and arithmetic coding, decodable bit for bit
//! on any machine.
//!
//! Layers, imports point down only (`docs/architecture.md`):
//!
//! ```text
//! archive -> codec -> predict -> models -> ops        error, profile: visible to all
//! hub -> models; train -> models, ops
//! ```

pub mod archive;
pub mod codec;
pub mod error;
pub mod hub;
pub mod models;
pub mod ops;
pub mod predict;
pub mod profile;
pub mod train;

pub use error::{Error, ErrorKind, Result};
