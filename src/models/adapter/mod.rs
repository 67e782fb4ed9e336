//! Low-rank adapters (LoRA) beside the linear layers of a transformer, whose own weights stay as they are
//! (`docs/numerics.md`, section 24), in the layout of Hugging Face's PEFT.
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).

mod config;
mod files;
mod layers;
mod modules;

pub use files::AdapterFiles;
pub(super) use layers::LayerAdapters;
pub use modules::AdaptableModule;

use super::{Architecture, Config, Model, Transformer, invalid};
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Matrices beside some linear layers of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Rows of A.
    pub rank: usize,
    /// Factor of A's outputs is `alpha / rank`, or by the root of the rank.
    pub alpha: f64,
    /// Whether the factor is `alpha / sqrt(rank)` (Kalajdzievski, "A Rank Stabilization Scaling Factor
    /// for Fine-Tuning with LoRA", 2023).
    pub is_rank_stabilized: bool,
    /// Its parts, one for each module.
    pub modules: Vec<AdaptedModule>,
}

/// A linear layer, or a part of one, with its matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptedModule {
    /// The linear layer.
    pub module: AdaptableModule,
    /// `[rank][inputs]`
    pub a: Vec<f32>,
    /// `[outputs][rank]`, outputs in the order of this program.
    pub b: Vec<f32>,
}

/// The identity by which archives name an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterIdentity {
    /// BLAKE3 over configuration and weights ([`AdapterFiles::digest`]).
    pub digest: [u8; 32],
    /// Human-readable; decides nothing.
    pub label: String,
}

impl Adapter {
    /// Most rows of A.
    pub const MAX_RANK: usize = 1024;

    /// Returns the factor of A's outputs.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        let divisor = if self.is_rank_stabilized { rank.sqrt() } else { rank };
        (self.alpha / divisor) as f32
    }
}

impl Architecture {
    /// Returns the linear layers that can have an adapter, layer by layer.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the network is recurrent.
    pub fn adaptable_modules(&self) -> Result<Vec<AdaptableModule>> {
        Ok(modules::modules(transformer(self)?))
    }
}

impl Model {
    /// Returns the model with an adapter in place of any that it had; the weights are shared.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the model takes none, [`ErrorKind::InvalidModel`] where it is
    /// malformed or for another kind of network.
    pub fn with_adapter(&self, files: &AdapterFiles) -> Result<Self> {
        let adapter = files.parse(transformer(self.architecture())?)?;
        let network = self.network().as_transformer().expect("its architecture says so");
        let identity = AdapterIdentity { digest: files.digest(), label: files.label().to_owned() };
        Ok(self.with_network(Box::new(network.with_adapter(&adapter)), Some(identity)))
    }

    /// Returns the model without its adapter; the weights are shared.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    pub fn without_adapter(&self) -> Self {
        let network = self.network().as_transformer().expect("no other has an adapter");
        self.with_network(Box::new(network.without_adapter()), None)
    }
}

impl Transformer {
    /// Returns the network with `adapter`, which is of its shape, in place of any that it had.
    #[must_use]
    pub fn with_adapter(&self, adapter: &Adapter) -> Self {
        let mut adapted = self.clone();
        adapted.adapters = Arc::new(LayerAdapters::of(adapter, self.shape().layers));
        adapted
    }

    fn without_adapter(&self) -> Self {
        let mut bare = self.clone();
        bare.adapters = Arc::default();
        bare
    }
}

fn transformer(architecture: &Architecture) -> Result<&Config> {
    match architecture {
        Architecture::Transformer(config) => Ok(config),
        Architecture::Recurrent(_) => {
            let message = "a recurrent model takes no low-rank adapter";
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}
