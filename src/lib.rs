//! llmzip: lossless compression with a language model and arithmetic coding, decodable bit for bit
//! on any machine.
//!
//! Layers, imports point down only (`docs/architecture.md`):
//!
//! ```text
//! archive -> codec -> predict -> models -> nn -> ops  error, profile: visible to all
//! local -> archive, hub; hub -> models; train -> models, nn, ops; equalinfo -> predict, models
//! ```
//!
//! Programs need [`Encoder`], [`Decoder`], [`archive`] and the sources of models; what is hidden from
//! this page is public for benches, tests and the program, and may change in any release.

#[forbid(unsafe_code)]
pub mod archive;
#[cfg(feature = "cli")]
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod cli;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod codec;
#[doc(hidden)]
pub mod cuda; // unsafe code: the driver's interface
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod equalinfo;
#[forbid(unsafe_code)]
pub mod error;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod explain;
#[forbid(unsafe_code)]
pub mod hub;
#[forbid(unsafe_code)]
mod local;
#[forbid(unsafe_code)]
pub mod models;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod nn;
#[doc(hidden)]
pub mod ops; // all the unsafe code is in `ops::arch` and `ops::fma`
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod predict;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod profile;
#[doc(hidden)]
#[forbid(unsafe_code)]
pub mod train;

/// The examples of README.md, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use archive::{Decoder, Encoder, ModelSource, Options};
pub use codec::{Coding, Method, Parameters};
pub use error::{Error, ErrorKind, Result};
pub use local::{DeviceChoice, LocalModels};
pub use models::Model;
pub use ops::Isa;

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    /// In every profile: `Cargo.toml` asks for it in releases.
    #[test]
    #[should_panic(expected = "attempt to add with overflow")]
    fn a_sum_that_does_not_fit_is_no_other_sum() {
        black_box(black_box(u32::MAX) + black_box(1));
    }
}
