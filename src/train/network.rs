//! What a training run needs of a network.

use super::nn::parameter::{Gradients, Parameter};
use super::nn::recurrence::RecurrentState;
use crate::error::Result;
use serde_json::Value;

/// Tokens of some streams: rows are `[steps][streams]`.
#[derive(Debug, Clone)]
pub struct TokenShard {
    /// Streams.
    pub streams: usize,
    /// What the network reads.
    pub inputs: Vec<u32>,
    /// What comes after each input.
    pub targets: Vec<u32>,
}

/// A network that learns.
pub trait TrainableNetwork: Send + Sync {
    /// What it learns.
    fn parameters(&self) -> &[Parameter];

    /// Lets `change` change the parameters' values.
    ///
    /// # Errors
    /// Those of `change`; [`ErrorKind::Io`](crate::error::ErrorKind::Io) where a device fails.
    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()>;

    /// States of its layers before a text begins.
    fn states(&self, streams: usize) -> Vec<RecurrentState>;

    /// The sum of the costs of the targets, in nats. States become those after the shard; gradients
    /// of the sum are added, where they are wanted.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where a device fails.
    fn run(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64>;

    /// `config.json`
    fn config(&self) -> Value;

    /// The tensors of `model.safetensors`: names, shapes and values.
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)>;
}
