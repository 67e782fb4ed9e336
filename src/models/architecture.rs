//! The network that `config.json` describes: a transformer or a recurrent one.

use super::checkpoint_files::CONFIG;
use super::quantization::Quantization;
use super::{Config, Footprint, Network, Recurrent, RecurrentConfig, Transformer, Weights, json};
use crate::error::Result;
use crate::ops::Isa;
use serde::Deserialize;

/// The configuration of a network that llmzip runs.
#[derive(Debug, Clone)]
pub enum Architecture {
    /// One of the families of decoder-only transformers.
    Transformer(Config),
    /// A GRU or an LSTM.
    Recurrent(RecurrentConfig),
}

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
}

impl Architecture {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is not JSON, of another
    /// family, or a number is out of bounds.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let kind: Kind = json::parse(CONFIG, text)?;
        Ok(match kind.model_type.as_deref() {
            Some("gru" | "lstm") => Self::Recurrent(RecurrentConfig::parse(text)?),
            _ => Self::Transformer(Config::parse(text)?),
        })
    }

    /// The same as its weights have it ([`Config::with_weights`]).
    #[must_use]
    pub fn with_weights(self, weights: &Weights<'_>) -> Self {
        match self {
            Self::Transformer(config) => Self::Transformer(config.with_weights(weights)),
            recurrent => recurrent,
        }
    }

    /// Tokens that have an embedding.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Transformer(config) => config.vocab_size,
            Self::Recurrent(config) => config.vocab_size,
        }
    }

    /// The id of the token that opens every lane.
    pub fn first_token(&self) -> u32 {
        match self {
            Self::Transformer(config) => config.first_token,
            Self::Recurrent(config) => config.first_token,
        }
    }

    /// How its linear layers are computed, where it is in integers.
    pub fn quantization(&self) -> Option<Quantization> {
        match self {
            Self::Transformer(config) => config.quantization,
            Self::Recurrent(config) => config.quantization,
        }
    }

    /// The same with linear layers in `quantization`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where they are too wide for it.
    pub fn quantized(self, quantization: Quantization) -> Result<Self> {
        Ok(match self {
            Self::Transformer(config) => Self::Transformer(config.quantized(quantization)?),
            Self::Recurrent(config) => Self::Recurrent(config.quantized(quantization)),
        })
    }

    /// Positions that a lane may have, unless the network's window slides or it needs none.
    pub fn max_positions(&self) -> Option<usize> {
        match self {
            Self::Transformer(config) if config.sliding_window.is_none() => {
                Some(config.max_positions)
            }
            _ => None,
        }
    }

    /// The memory that the network takes.
    pub fn footprint(&self) -> Footprint {
        match self {
            Self::Transformer(config) => Footprint::of(config),
            Self::Recurrent(config) => config.footprint(),
        }
    }

    /// Loads the network, with the output head's rows in the order of `outputs`: token ids.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a tensor is missing,
    /// misshapen or not finite; [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read.
    pub fn load(
        &self,
        weights: &Weights<'_>,
        outputs: &[u32],
        isa: Isa,
    ) -> Result<Box<dyn Network>> {
        Ok(match self {
            Self::Transformer(config) => {
                Box::new(Transformer::load(config, weights, outputs, isa)?)
            }
            Self::Recurrent(config) => Box::new(Recurrent::load(config, weights, outputs, isa)?),
        })
    }
}
