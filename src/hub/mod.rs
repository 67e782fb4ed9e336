//! Models from elsewhere: the Hugging Face hub, its cache on this machine, and models carried by
//! hand.
//!
//! Nothing here downloads unless the caller names a model: what is read from an archive never leads
//! to the network. [`Store`] finds models on this machine, [`pull`] fetches
//! them, [`export`] and [`import`] carry one in a file.

mod adapter_folders;
#[cfg(feature = "cli")]
mod bundle;
#[cfg_attr(not(feature = "hub"), allow(dead_code, reason = "only downloads write there"))]
mod cache;
mod environment;
mod found;
mod id;
mod identity;
mod manifest;
mod model_card;
mod records;
mod steering_files;
mod store;

#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "hub")]
mod retry;

pub use adapter_folders::{FoundAdapter, is_adapter_name};
#[cfg(feature = "cli")]
pub use bundle::{copy, export, import};
pub use environment::{AccessToken, Environment};
pub use found::{FoundModel, digest_mismatch};
pub use id::{ModelId, Reference};
pub use identity::{folder_digest, hex, label_of};
pub use manifest::Manifest;
pub use model_card::Facts;
pub use records::Records;
pub use steering_files::{FoundSteering, STEERING_SUFFIX, is_steering_name};
pub use store::{Place, Store, StoredModel};

#[cfg(feature = "hub")]
pub use pull::pull;

use crate::error::{Error, ErrorKind};
use std::time::Duration;

/// Progress callbacks of a download.
pub trait Watch {
    /// `file` begins, with `done` of its `total` bytes here already.
    fn begin(&self, file: &str, done: u64, total: u64);

    /// `n` more bytes of it are here.
    fn add(&self, n: u64);

    /// Nothing happens for `pause`; `why` says what failed before.
    fn pause(&self, why: &str, pause: Duration);
}

/// The error of a model that is not on this machine, with the command that fetches it.
pub fn not_here(reference: &Reference) -> Error {
    let message = format!(
        "the model {reference} is not on this machine; get it with:  llmzip models pull {reference}"
    );
    Error::new(ErrorKind::ModelMissing, message)
}

/// This build cannot download.
///
/// # Errors
/// [`ErrorKind::ModelMissing`].
#[cfg(not(feature = "hub"))]
pub fn pull(
    _: &Environment,
    _: &Store,
    reference: &Reference,
    _: &dyn Watch,
) -> crate::error::Result<StoredModel> {
    let message = format!(
        "this build of llmzip cannot download {reference}: it was made without the feature `hub`; \
         models import takes a folder or a file"
    );
    Err(Error::new(ErrorKind::ModelMissing, message))
}
