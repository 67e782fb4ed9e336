//! GRU and LSTM networks, step by step (docs/numerics.md, section 17).

use super::functions::embed;
use crate::models::Cell;
use crate::nn::recurrence::RecurrentState;
use crate::nn::recurrent::RecurrentShape;
use crate::train::network::TokenShard;
use candle_core::{Result, Tensor};

/// Computes the logits of all rows: `[T * B][V]`. States become those after the last step.
pub fn logits(
    parameters: &[Tensor],
    shape: RecurrentShape,
    shard: &TokenShard,
    states: &mut [RecurrentState],
) -> Result<Tensor> {
    let x = continued(parameters, shape, states, shard.streams, &shard.inputs)?;
    let (head, bias) = head(parameters);
    let logits = x.matmul(&head.t()?)?;
    bias.map_or(Ok(logits.clone()), |bias| logits.broadcast_add(bias))
}

/// Returns the output head's weights, `[V][H]`, and biases.
pub fn head(parameters: &[Tensor]) -> (&Tensor, Option<&Tensor>) {
    let [.., head, bias] = parameters else { unreachable!("it has a head") };
    (head, Some(bias))
}

/// Computes the last layer's outputs, `[T * B][H]`, of streams' next tokens. States become those after
/// them.
pub fn continued(
    parameters: &[Tensor],
    shape: RecurrentShape,
    states: &mut [RecurrentState],
    streams: usize,
    tokens: &[u32],
) -> Result<Tensor> {
    let [table, layers @ .., _, _] = parameters else { unreachable!("it has a head") };
    let mut x = embed(table, tokens)?;
    for (weights, state) in layers.chunks_exact(4).zip(states) {
        x = layer(weights, shape, streams, &x, state)?;
    }
    Ok(x)
}

/// Computes a layer's outputs, `[T * B][H]`, from its inputs, `[T * B][I]`.
fn layer(
    weights: &[Tensor],
    shape: RecurrentShape,
    streams: usize,
    inputs: &Tensor,
    state: &mut RecurrentState,
) -> Result<Tensor> {
    let [w_x, w_h, bias_x, bias_h] = weights else { unreachable!("four tensors a layer") };
    let (b, h_size) = (streams, shape.hidden_size);
    let xs = inputs.matmul(&w_x.t()?)?.broadcast_add(bias_x)?;
    let w_h = w_h.t()?;
    let old = |values: &[f32]| Tensor::from_slice(values, (b, h_size), xs.device());
    let mut h = old(&state.h)?;
    // A GRU has no cells.
    let mut c = if shape.cell == Cell::Lstm { old(&state.c)? } else { h.clone() };
    let mut outputs = Vec::new();
    for step in 0..xs.dim(0)? / b {
        let x = xs.narrow(0, step * b, b)?;
        let y = h.matmul(&w_h)?.broadcast_add(bias_h)?;
        match shape.cell {
            Cell::Gru => h = gru(&x, &y, &h)?,
            Cell::Lstm => (h, c) = lstm(&x, &y, &c)?,
        }
        outputs.push(h.clone());
    }
    let values = |state: &Tensor| state.flatten_all()?.to_vec1();
    state.h = values(&h)?;
    if shape.cell == Cell::Lstm {
        state.c = values(&c)?;
    }
    Tensor::cat(&outputs, 0)
}

/// Computes the state after a step. x, y: `[B][3 * H]`
fn gru(x: &Tensor, y: &Tensor, h: &Tensor) -> Result<Tensor> {
    let (x, y) = (x.chunk(3, 1)?, y.chunk(3, 1)?);
    let r = sigmoid(&(&x[0] + &y[0])?)?;
    let z = sigmoid(&(&x[1] + &y[1])?)?;
    let new = (&x[2] + (r * &y[2])?)?.tanh()?;
    &new + (z * (h - &new)?)?
}

/// Computes output and cells after a step. x, y: `[B][4 * H]`
fn lstm(x: &Tensor, y: &Tensor, c: &Tensor) -> Result<(Tensor, Tensor)> {
    let gates = (x + y)?.chunk(4, 1)?;
    let c = ((sigmoid(&gates[1])? * c)? + (sigmoid(&gates[0])? * gates[2].tanh()?)?)?;
    Ok(((sigmoid(&gates[3])? * c.tanh()?)?, c))
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x * 0.5)?.tanh()?.affine(0.5, 0.5)
}
