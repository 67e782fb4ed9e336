//! Training of models on a user's own files (`llmzip train`).
//!
//! Beside the layers, used by `cli`, and by `local` for models drawn from a seed. It knows tokenizers and kernels, and writes folders that
//! `models` reads; it does not know archives. Backward passes are those of `nn`, which are faster on a CPU than candle's (docs/training.md); on CUDA, candle
//! computes them.

pub mod awq;
#[cfg(feature = "candle")]
pub mod candle;
mod checkpoint;
mod corpus;
mod curve;
mod device;
mod export;
mod ids;
mod llama;
pub mod lora;
mod material;
mod network;
mod optimiser;
mod options;
mod recurrent;
mod run;
mod seeded;
mod shape;
pub mod steering;
mod vocabulary;

pub use crate::nn::recurrent::{RecurrentNetwork, RecurrentShape};
#[cfg(feature = "cli")]
pub(crate) use checkpoint::remove_drafts;
pub use device::Device;
pub use ids::{IdMaterial, TokenIds};
pub use llama::{LlamaNetwork, LlamaShape};
pub use network::{TokenShard, TrainableNetwork};
pub use optimiser::{Optimiser, OptimiserOptions, orthogonal, reduce};
pub use options::{Arch, Budget, Size, TrainOptions};
pub use run::{TrainReport, TrainSummary, train, train_ids};
pub use seeded::SeededModel;
pub use shape::NetworkShape;
pub use vocabulary::Tokens;
