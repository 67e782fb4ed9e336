//! Loaded models whose logits candle computes, to evaluate texts: not the same bits on every machine,
//! so nothing is coded by them.

use super::decoder::{self, KeyValues};
use super::functions::{embed, failed, message};
use super::recurrent;
use crate::error::{Error, Result};
use crate::models::{Model, Network, Row, Session, Transformer};
use crate::nn::parameter::Parameter;
use crate::nn::recurrence::RecurrentState;
use crate::nn::recurrent::RecurrentShape;
use crate::nn::shape::DecoderShape;
use candle_core::{Device, Result as CandleResult, Tensor};
use std::sync::OnceLock;

/// A model's network on a device. Linear layers are in float32: integers times their scales, with no
/// rounding of activations.
pub struct CandleModel {
    kind: Kind,
    /// In the order of the network over `nn`.
    parameters: Vec<Tensor>,
    /// Rows of the output head by output, transposed: `[H][V]`, and its biases.
    head: (Tensor, Option<Tensor>),
    outputs: usize,
    window: usize,
    failure: OnceLock<String>,
}

#[derive(Clone, Copy)]
enum Kind {
    Decoder(DecoderShape),
    Recurrent(RecurrentShape),
}

impl CandleModel {
    /// Copies the network of `model` to `device`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where the device fails.
    pub fn new(model: &Model, device: &Device) -> Result<Self> {
        let (network, outputs) = (model.network(), model.vocabulary().ids());
        let load = |parameters: &[Parameter]| -> CandleResult<Vec<Tensor>> {
            let tensor = |p: &Parameter| Tensor::from_slice(&p.values, &p.shape[..], device);
            parameters.iter().map(tensor).collect()
        };
        let (kind, parameters) = match (network.as_transformer(), network.as_recurrent()) {
            (Some(transformer), _) => {
                let decoder = transformer.decoder(&|_| true);
                (Kind::Decoder(*decoder.shape()), load(decoder.parameters()))
            }
            (_, Some(recurrent)) => {
                let network = recurrent.trainable(&|_| true);
                (Kind::Recurrent(*network.shape()), load(network.parameters()))
            }
            _ => unreachable!("a network is a transformer or recurrent"),
        };
        let place = || {
            let parameters = parameters?;
            let (head, bias) = match kind {
                Kind::Decoder(shape) => (decoder::head(&parameters, &shape), None),
                Kind::Recurrent(_) => recurrent::head(&parameters),
            };
            let bias = bias.map(|bias| embed(bias, outputs)).transpose()?;
            let head = (embed(head, outputs)?.t()?.contiguous()?, bias);
            let (outputs, window) = (network.outputs(), network.window());
            let failure = OnceLock::new();
            Ok(Self { kind, parameters, head, outputs, window, failure })
        };
        place().map_err(failed)
    }

    /// Checks that no pass has failed, which a session cannot say: then its logits are no numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) where one has.
    pub fn check(&self) -> Result<()> {
        let failed = |message| Error::io("computing on the device", std::io::Error::other(message));
        self.failure.get().map_or(Ok(()), |message| Err(failed(message.clone())))
    }
}

impl Network for CandleModel {
    fn outputs(&self) -> usize {
        self.outputs
    }

    fn window(&self) -> usize {
        self.window
    }

    fn as_transformer(&self) -> Option<&Transformer> {
        None
    }

    fn session(&self, lanes: usize, _steps: usize, _window: usize) -> Box<dyn Session + '_> {
        assert_eq!(lanes, 1, "candle evaluates one lane");
        Box::new(CandleSession { model: self, state: self.state() })
    }
}

impl CandleModel {
    fn state(&self) -> State {
        match self.kind {
            Kind::Decoder(shape) => State::Decoder(shape, KeyValues::new(&shape)),
            Kind::Recurrent(shape) => {
                let state = RecurrentState::new(shape.cell, 1, shape.hidden_size);
                State::Recurrent(shape, vec![state; shape.layers])
            }
        }
    }
}

/// One lane.
struct CandleSession<'a> {
    model: &'a CandleModel,
    state: State,
}

enum State {
    Decoder(DecoderShape, KeyValues),
    Recurrent(RecurrentShape, Vec<RecurrentState>),
}

impl CandleSession<'_> {
    fn logits(&mut self, tokens: &[u32]) -> CandleResult<Vec<f32>> {
        let CandleModel { parameters, head: (head, bias), .. } = self.model;
        let x = match &mut self.state {
            State::Decoder(shape, past) => decoder::continued(parameters, shape, past, tokens)?,
            State::Recurrent(shape, states) => {
                recurrent::continued(parameters, *shape, states, 1, tokens)?
            }
        };
        let logits = x.matmul(head)?;
        let logits = bias.as_ref().map_or(Ok(logits.clone()), |bias| logits.broadcast_add(bias))?;
        logits.flatten_all()?.to_vec1()
    }
}

impl Session for CandleSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        if rows.first().is_some_and(|row| row.position == 0) {
            self.state = self.model.state();
        }
        match self.logits(&rows.iter().map(|row| row.token).collect::<Vec<_>>()) {
            Ok(found) if !logits.is_empty() => logits.copy_from_slice(&found),
            Ok(_) => (),
            Err(e) => {
                logits.fill(f32::NAN);
                self.model.failure.get_or_init(|| message(&e));
            }
        }
    }

    fn steer(&mut self, _vectors: &[f32]) {
        panic!("candle evaluates no steering vectors");
    }

    fn copy_lane(&mut self, _from: usize, _to: usize, _fed: usize) {
        panic!("candle evaluates one lane");
    }
}
