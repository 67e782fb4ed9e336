//! Tensor functions that candle-core lacks, and its errors.

use crate::error::Error;
use candle_core::{D, Result, Tensor};
use std::io;

/// Returns rows of a table: `[ids.len()][width]`.
pub fn embed(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    table.index_select(&Tensor::new(ids, table.device())?, 0)
}

/// Computes `x - ln(sum(exp(x)))` along the last dimension.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Returns the cross-entropy summed over the targets, in nats. logits: `[targets.len()][V]`
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let targets = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    log_softmax(logits)?.gather(&targets, 1)?.sum_all()?.neg()
}

/// Returns the error of a device that fails.
pub fn failed(e: candle_core::Error) -> Error {
    Error::io("computing on the device", io::Error::other(message(&e)))
}

/// Returns the error message without the backtrace that candle may add.
pub fn message(e: &candle_core::Error) -> String {
    e.to_string().lines().next().unwrap_or_default().to_owned()
}
