//! The cost of texts by a network alone: the cross-entropy of their tokens, which nothing codes.

use super::{Context, Model, Network, RestartingSession, Row, Session};
use crate::nn::loss::cross_entropy;
use std::f64::consts::LN_2;
use std::iter::{Sum, once};

/// The cost of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TextCost {
    /// Tokens of the text.
    pub n_tokens: u64,
    /// Bits of information.
    pub bits: f64,
}

impl Sum for TextCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |a, b| Self {
            n_tokens: a.n_tokens + b.n_tokens,
            bits: a.bits + b.bits,
        })
    }
}

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCost<'m> {
    /// The bytes that it stands for; those of all tokens joined are the text.
    pub bytes: &'m [u8],
    /// Bits of information, after all tokens before it.
    pub bits: f64,
}

/// Tokens that a call takes.
const STEPS: usize = 128;

impl Model {
    /// Returns the cost of `text` in one lane, as a chunk of it has: after the model's first token, and
    /// starting afresh as `context` says. `network` is the model's, or the same computed elsewhere.
    pub fn cost(&self, network: &dyn Network, context: Option<Context>, text: &[u8]) -> TextCost {
        let (mut n_tokens, mut nats) = (0, 0.0);
        self.predict(network, context, text, |targets, logits| {
            n_tokens += targets.len() as u64;
            nats += cross_entropy(self.isa(), logits, targets);
        });
        TextCost { n_tokens, bits: nats / LN_2 }
    }

    /// Returns the tokens of `text` with what each costs by the model alone, in one lane as in [`Model::cost`].
    pub fn token_costs(&self, context: Option<Context>, text: &[u8]) -> Vec<TokenCost<'_>> {
        let (outputs, mut costs) = (self.network().outputs(), Vec::new());
        self.predict(self.network(), context, text, |targets, logits| {
            costs.extend(targets.iter().zip(logits.chunks_exact_mut(outputs)).map(
                |(&rank, row)| {
                    let bits = cross_entropy(self.isa(), row, &[rank]) / LN_2;
                    TokenCost { bytes: self.vocabulary().bytes(rank), bits }
                },
            ));
        });
        costs
    }

    /// Predicts the tokens of `text` in one lane, and calls `visit` with the ranks of up to [`STEPS`] of them
    /// and their logits, `[rows][V]`, until there are no more.
    fn predict(
        &self,
        network: &dyn Network,
        context: Option<Context>,
        text: &[u8],
        mut visit: impl FnMut(&[u32], &mut [f32]),
    ) {
        let targets = self.tokenizer().encode(text, self.vocabulary());
        let ids = targets.iter().map(|&rank| self.vocabulary().id(rank));
        let inputs: Vec<u32> = once(self.first_token()).chain(ids).collect();
        let mut session: Box<dyn Session + '_> = match context {
            None => network.session(1, STEPS, network.window().min(inputs.len())),
            Some(context) => {
                Box::new(RestartingSession::new(network, 1, STEPS, inputs.len(), context))
            }
        };
        let mut logits = Vec::new();
        for (i, targets) in targets.chunks(STEPS).enumerate() {
            let inputs = (0..).zip(&inputs).skip(i * STEPS).take(targets.len());
            let row = |(position, &token)| Row { lane: 0, position, token };
            logits.resize(targets.len() * network.outputs(), 0.0);
            session.forward(&inputs.map(row).collect::<Vec<_>>(), &mut logits);
            visit(targets, &mut logits);
        }
    }
}
