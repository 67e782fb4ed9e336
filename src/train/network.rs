//! Interface of trainable networks.

use crate::error::Result;
use crate::nn::parameter::{Gradients, Parameter};
use crate::nn::recurrence::RecurrentState;
use serde_json::Value;

/// Tokens of some streams: rows are `[steps][streams]`.
#[derive(Debug, Clone)]
pub struct TokenShard {
    /// Streams.
    pub streams: usize,
    /// Input tokens.
    pub inputs: Vec<u32>,
    /// Token after each input.
    pub targets: Vec<u32>,
}

/// A trainable network.
pub trait TrainableNetwork: Send + Sync {
    /// Returns the trainable parameters.
    fn parameters(&self) -> &[Parameter];

    /// Lets `change` modify the parameters' values.
    ///
    /// # Errors
    /// Errors of `change`; [`ErrorKind::Io`](crate::error::ErrorKind::Io) where a device fails.
    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()>;

    /// Returns the initial states of the layers.
    fn states(&self, streams: usize) -> Vec<RecurrentState>;

    /// Returns the sum of the costs of the targets, in nats. Updates the states to those after the
    /// shard, and adds the gradients of the sum to `gradients`, if given.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where a device fails.
    fn run(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64>;

    /// Returns the content of `config.json`.
    fn config(&self) -> Value;

    /// Returns the tensors of `model.safetensors`: names, shapes and values.
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)>;
}
