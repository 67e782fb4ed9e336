//! Probabilities of bits: those of the language model, mixed with those of an adaptive model of the
//! text so far.
//!
//! ```text
//! logits -> P(bit)  --+
//!                      +-- logistic mixer -- correction maps -- P(bit), 16 bits
//! bit histories by context, matches  --+
//! ```
//!
//! A token is coded as its bytes, most significant bit first, with the decision "the token ends
//! here" wherever it might. The language model knows P of each decision; [`Mixed`] improves on it.
//! Everything here is integer arithmetic in a fixed order: the same bits on every target. Encoder
//! and decoder make the same calls in the same order.

mod apm;
mod bit_history;
mod boundary;
mod byte_model;
pub mod cdf;
mod config;
mod context_set;
mod contexts;
pub(crate) mod counters;
mod fields;
mod hash;
mod hash_table;
mod history;
pub mod logistic;
mod match_model;
mod mixer;
#[cfg(test)]
mod tests;

pub use config::MixingConfig;

use crate::ops::arch::Isa;
use boundary::BoundaryModel;
use byte_model::{ByteModel, byte_model};
use contexts::LaneContext;
use history::History;

/// Decision that [`Mixed::update`] completes.
#[derive(Clone, Copy)]
enum OpenDecision {
    /// The next bit of a lane's byte.
    Bit(usize),
    /// Whether a lane's token ends.
    End(usize),
}

/// Adaptive state of one chunk, shared by its lanes.
///
/// For every decision on a lane's way, in the order of the text, call either [`bit`](Self::bit) or
/// [`end`](Self::end) and then [`update`](Self::update), or, where the decision is certain and not
/// coded, [`force_bit`](Self::force_bit) or [`force_end`](Self::force_end). That a token does *not*
/// end, where it cannot, needs no call. A lane's turn ends on a whole byte. Without a language
/// model there are only bits.
///
/// ```
/// use llmzip::ops::Isa;
/// use llmzip::predict::{MixingConfig, Mixed};
///
/// let table_log2 = MixingConfig::TABLE_LOG2;
/// let config = MixingConfig { tier: 1, table_log2, with_lm: false, n_lanes: 1, lane_len: 1000 };
/// let mut mixed = Mixed::new(Isa::detect(), &config);
/// let mut p = 0;
/// for _ in 0..1000 * 8 {
///     p = mixed.bit(0, None);
///     mixed.update(true);
/// }
/// assert!(p > 65500);
/// ```
pub struct Mixed {
    history: History,
    lanes: Vec<LaneContext>,
    bytes: Box<dyn ByteModel>,
    boundaries: BoundaryModel,
    open: Option<OpenDecision>,
}

impl Mixed {
    /// Creates an untrained model. `isa` changes no bit.
    pub fn new(isa: Isa, config: &MixingConfig) -> Self {
        let history = History::new(config.n_lanes, config.lane_len);
        let lanes = (0..config.n_lanes as usize).map(|lane| LaneContext::new(history.end(lane)));
        Mixed {
            lanes: lanes.collect(),
            history,
            bytes: byte_model(isa, config),
            boundaries: BoundaryModel::new(isa, config),
            open: None,
        }
    }

    /// Returns P(1), in `1..=65535` of 65536, of `lane`'s next bit. `lm`: the language model's.
    ///
    /// # Panics
    /// If `lane` has had its `lane_len` bytes, or does not exist.
    pub fn bit(&mut self, lane: usize, lm: Option<u16>) -> u16 {
        self.open = Some(OpenDecision::Bit(lane));
        self.bytes.predict(lane, &self.lanes[lane], &self.history, lm)
    }

    /// Returns P(`lane`'s token ends here), in `1..=65535` of 65536, after at least one byte of it.
    /// `lm`: the language model's.
    pub fn end(&mut self, lane: usize, lm: u16) -> u16 {
        self.open = Some(OpenDecision::End(lane));
        let expected = self.bytes.expected(lane, &self.history);
        self.boundaries.predict(&self.lanes[lane], expected, &self.history, lm)
    }

    /// Updates the model with the outcome of the last predicted decision.
    #[inline]
    pub fn update(&mut self, outcome: bool) {
        match self.open.take() {
            Some(OpenDecision::Bit(lane)) => {
                self.bytes.update(outcome);
                self.advance(lane, outcome);
            }
            Some(OpenDecision::End(lane)) => {
                self.boundaries.update(outcome);
                if outcome {
                    self.force_end(lane);
                }
            }
            None => debug_assert!(false, "no decision to update"),
        }
    }

    /// Records the next bit of `lane`'s byte, which was certain.
    pub fn force_bit(&mut self, lane: usize, bit: bool) {
        self.bytes.pass(lane, &self.lanes[lane], &self.history, bit);
        self.advance(lane, bit);
    }

    /// Records that `lane`'s token ends here, which was certain.
    pub fn force_end(&mut self, lane: usize) {
        self.history.mark_boundary(lane);
        self.lanes[lane].close_token();
    }

    /// Makes every lane continue from where lane 0 is, the only one that has read anything so far:
    /// from the end of a prefix, on a whole byte.
    pub fn spread(&mut self) {
        self.history.spread();
        let [first, others @ ..] = &mut self.lanes[..] else { return };
        let start = self.history.end(0);
        for (lane, state) in others.iter_mut().enumerate() {
            *state = first.moved(self.history.end(lane + 1) - start);
        }
        self.bytes.spread();
    }

    fn advance(&mut self, lane: usize, bit: bool) {
        let state = &mut self.lanes[lane];
        state.partial = state.partial << 1 | bit as u32;
        if state.partial >= 256 {
            let byte = state.partial as u8;
            self.history.push(lane, byte);
            state.advance(byte, self.history.end(lane));
            self.bytes.advance(lane, state, &self.history);
        }
    }
}
