//! Cost of texts after steering vectors, and its gradient with respect to them.

use super::pieces::Piece;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Transformer};
use crate::nn::decoder::Decoder;
use crate::nn::matrix::accumulate;
use crate::nn::parameter::{Parameter, zeros};
use crate::ops::Isa;
use crate::train::optimiser::{Optimiser, OptimiserOptions, orthogonal};
use rayon::prelude::*;

/// A model that stays as it is, and texts' costs as a function of steering vectors.
pub struct SteeringObjective<'a> {
    isa: Isa,
    network: &'a Transformer,
    decoder: Decoder,
}

impl<'a> SteeringObjective<'a> {
    /// Takes the network of `model`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it is recurrent.
    pub fn new(model: &'a Model) -> Result<Self> {
        let message = "a recurrent model takes no steering vectors";
        let none = || Error::new(ErrorKind::InvalidArgument, message);
        let network = model.network().as_transformer().ok_or_else(none)?;
        Ok(Self { isa: model.isa(), network, decoder: network.decoder(&|_| false) })
    }

    /// Returns the network.
    pub fn network(&self) -> &'a Transformer {
        self.network
    }

    /// Creates an optimiser of vectors, at a rate in units of the embeddings' root mean square.
    pub(super) fn adam(&self, rate: f32, vectors: &Parameter) -> Optimiser {
        let (isa, adam_rate) = (self.isa, rate * self.network.embedding_scale());
        let options = OptimiserOptions { adam_rate, muon_rate: 0.0, clip: f32::INFINITY };
        let orthogonal = Box::new(move |x, columns| Ok(orthogonal(isa, x, columns)));
        Optimiser::new(orthogonal, options, std::slice::from_ref(vectors))
    }

    /// Returns the width of vectors.
    pub fn width(&self) -> usize {
        self.decoder.shape().hidden_size
    }

    /// Returns the embeddings of tokens: `[tokens][C]`.
    pub fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        self.decoder.embed(tokens)
    }

    /// Returns the bits that all pieces cost.
    pub fn bits(&self, vectors: &[f32], pieces: &[Piece]) -> f64 {
        let costs = pieces.par_iter().map(|piece| {
            let (inputs, count) = self.inputs(vectors, piece);
            self.decoder.cost(inputs, count, &piece.targets, None).0
        });
        // In the order of pieces, whatever the threads do.
        costs.collect::<Vec<f64>>().iter().sum::<f64>() / std::f64::consts::LN_2
    }

    /// Returns the bits that all pieces cost, and their gradient: `[k][C]`. No sum depends on the
    /// number of threads.
    pub fn gradient(&self, vectors: &[f32], pieces: &[&Piece]) -> (f64, Vec<f32>) {
        let costs = pieces.par_iter().map(|piece| {
            let (inputs, count) = self.inputs(vectors, piece);
            let mut none = zeros(self.decoder.parameters());
            self.decoder.cost(inputs, count, &piece.targets, Some(&mut none))
        });
        let (mut nats, mut sum) = (0.0, vec![0.0; vectors.len()]);
        for (of_piece, gradient) in costs.collect::<Vec<_>>() {
            nats += of_piece;
            accumulate(&mut sum, &gradient[..vectors.len()]);
        }
        let bits = std::f64::consts::LOG2_E as f32;
        sum.iter_mut().for_each(|g| *g *= bits);
        (nats / std::f64::consts::LN_2, sum)
    }

    fn inputs(&self, vectors: &[f32], piece: &Piece) -> (Vec<f32>, usize) {
        let inputs = [vectors, &self.decoder.embed(&piece.inputs)].concat();
        (inputs, vectors.len() / self.width())
    }
}
