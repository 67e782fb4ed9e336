//! Forward and backward passes by candle, for devices that `ops` has no kernels for.
//!
//! The same networks as on the CPU, with gradients by candle's automatic differentiation: the
//! parameters stay with the network that they were made for, a copy is on the device.
//! `tests/library/gradients.rs` holds both to each other.

mod decoder;
mod evaluate;
mod functions;
mod recurrent;

pub use evaluate::CandleModel;

use super::network::{TokenShard, TrainableNetwork};
use super::optimiser::{ITERATIONS, NEWTON_SCHULZ, Orthogonal};
use super::shape::NetworkShape;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::matrix::accumulate;
use crate::nn::parameter::{Gradients, Parameter};
use crate::nn::recurrence::RecurrentState;
use crate::nn::shape::DecoderShape;
use candle_core::{Device, Result as CandleResult, Tensor, Var};
use functions::{cross_entropy, failed, message};
use serde_json::Value;

/// Stack of the thread of a pass: candle walks the graph by recursion, and drops it so, and that of
/// a recurrent network is thousands of operations deep. Only what is used takes memory.
const STACK: usize = 1 << 28;

/// Moves a network, and Muon's products, to `device`.
///
/// # Errors
/// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where the device fails.
pub fn place(
    network: Box<dyn TrainableNetwork>,
    shape: NetworkShape,
    device: &Device,
) -> Result<(Box<dyn TrainableNetwork>, Orthogonal)> {
    let var = |p: &Parameter| Var::from_slice(&p.values, &p.shape[..], device);
    let vars: CandleResult<Vec<Var>> = network.parameters().iter().map(var).collect();
    let vars = vars.map_err(failed)?;
    let network = CandleNetwork { network, shape, device: device.clone(), vars };
    let device = device.clone();
    let orthogonal = move |x: Vec<f32>, columns| orthogonal(&device, &x, columns).map_err(failed);
    Ok((Box::new(network), Box::new(orthogonal)))
}

/// Computes the cost of the targets, which are places among `outputs`, in float64, and the gradients of a
/// decoder's parameters, then of steering vectors, `[K][C]`, before the tokens.
///
/// # Errors
/// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where candle fails.
pub fn decoder_gradients(
    shape: &DecoderShape,
    outputs: &[u32],
    parameters: &[Parameter],
    vectors: &[f32],
    shard: &TokenShard,
) -> Result<(f64, Vec<Vec<f64>>)> {
    let pass = || {
        let var = |values: &[f32], shape: &[usize]| {
            let values: Vec<f64> = values.iter().map(|&x| x.into()).collect();
            Var::from_slice(&values, shape, &Device::Cpu)
        };
        let width = shape.hidden_size;
        let of_parameters = parameters.iter().map(|p| var(&p.values, &p.shape));
        let of_vectors = vectors.chunks(vectors.len().max(1));
        let of_vectors = of_vectors.map(|values| var(values, &[values.len() / width, width]));
        let vars = of_parameters.chain(of_vectors).collect::<CandleResult<Vec<Var>>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let (tensors, vectors) = tensors.split_at(parameters.len());
        let logits = decoder::logits(tensors, shape, Some(outputs), vectors.first(), shard)?;
        let cost = cross_entropy(&logits, &shard.targets)?;
        let found = cost.backward()?;
        let gradient = |var: &Var| match found.get(var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        let gradients = vars.iter().map(gradient).collect::<CandleResult<_>>()?;
        Ok((cost.to_scalar()?, gradients))
    };
    pass().map_err(failed)
}

/// Network whose passes candle computes.
struct CandleNetwork {
    network: Box<dyn TrainableNetwork>,
    shape: NetworkShape,
    device: Device,
    /// Parameters, in order.
    vars: Vec<Var>,
}

impl CandleNetwork {
    fn pass(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> CandleResult<f64> {
        let parameter = |var: &Var| match gradients {
            Some(_) => var.as_tensor().clone(),
            None => var.as_detached_tensor(),
        };
        let parameters: Vec<Tensor> = self.vars.iter().map(parameter).collect();
        let logits = match self.shape {
            NetworkShape::Recurrent(shape) => recurrent::logits(&parameters, shape, shard, states)?,
            NetworkShape::Llama(shape) => {
                decoder::logits(&parameters, &shape.decoder(), None, None, shard)?
            }
        };
        let cost = cross_entropy(&logits, &shard.targets)?;
        if let Some(gradients) = gradients {
            let found = cost.backward()?;
            for (var, sum) in self.vars.iter().zip(gradients) {
                if let Some(gradient) = found.get(var) {
                    accumulate(sum, &gradient.flatten_all()?.to_vec1()?);
                }
            }
        }
        Ok(f64::from(cost.to_scalar::<f32>()?))
    }
}

impl TrainableNetwork for CandleNetwork {
    fn parameters(&self) -> &[Parameter] {
        self.network.parameters()
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        self.network.update(change)?;
        for (parameter, var) in self.network.parameters().iter().zip(&self.vars) {
            let new = Tensor::from_slice(&parameter.values, &parameter.shape[..], &self.device);
            new.and_then(|new| var.set(&new)).map_err(failed)?;
        }
        Ok(())
    }

    fn states(&self, streams: usize) -> Vec<RecurrentState> {
        self.network.states(streams)
    }

    fn run(
        &self,
        shard: &TokenShard,
        states: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        std::thread::scope(|scope| {
            let pass = || self.pass(shard, states, gradients);
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, pass);
            let thread = thread.map_err(|e| Error::io("starting a thread", e))?;
            match thread.join() {
                Ok(cost) => cost.map_err(failed),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn config(&self) -> Value {
        self.network.config()
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        self.network.tensors()
    }
}

/// The CPU.
pub const CPU: Device = Device::Cpu;

/// Returns the CUDA device of that number.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where there is none.
pub fn cuda(number: usize) -> Result<Device> {
    Device::new_cuda(number).map_err(|e| {
        Error::new(ErrorKind::InvalidArgument, message(&e)).at(format!("CUDA device {number}"))
    })
}

/// Computes [`super::optimiser::orthogonal`] on a device.
fn orthogonal(device: &Device, x: &[f32], columns: usize) -> CandleResult<Vec<f32>> {
    let x = Tensor::from_slice(x, (x.len() / columns, columns), device)?;
    let is_tall = x.dim(0)? > columns;
    let mut x = if is_tall { x.t()?.contiguous()? } else { x };
    let norm = (x.sqr()?.sum_all()?.sqrt()? + 1e-7)?;
    x = x.broadcast_div(&norm)?;
    let (first, second, third) = NEWTON_SCHULZ;
    for _ in 0..ITERATIONS {
        let a = x.matmul(&x.t()?)?;
        let b = ((a.matmul(&a)? * f64::from(third))? + (&a * f64::from(second))?)?;
        x = (b.matmul(&x)? + (x * f64::from(first))?)?;
    }
    if is_tall { x.t()? } else { x }.flatten_all()?.to_vec1()
}
